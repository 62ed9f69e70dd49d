// SPDX-License-Identifier: GPL-2.0
/*
 * Two machines with one identity: a disk or a virtual machine was copied and both run. With two voters of one raft id
 * two leaders could have a majority each. Every start of netd draws a number, its *instance*, and says it in its
 * hellos. When another one comes under an id, whoever answers at the address of that node is the node: the old one is
 * gone or there are two. The second one is refused, told, and takes no part.
 *
 * When both have the address it is the switch that decides; then an instance comes back that was followed by
 * another one, which no restart does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define DIAL_MS	  1000
#define RETURN_MS 2000	 /* so long a hello may have been on its way */
#define SHOWN_MS  600000 /* after it was last heard */

#define COPY_REMEDY                                                                                       \
	"end the copy: `netctl leave` there takes only the copy out; then `netctl join` with a name and " \
	"an address of its own"
#define SECOND_REMEDY                                                                                    \
	"when this is the copy: `netctl leave` here, which the other one does not notice, then `netctl " \
	"join` with a name and an address of its own; when the other one is: end that one, then "        \
	"restart netd here"

struct member_twin {
	struct member_twin *next;
	struct member *m;
	uint64_t raft_id;
	uint64_t instance; /* that is the node */
	uint64_t former;   /* the one before, until when */
	uint64_t changed_ms;
	uint64_t second;    /* shown to be one too many */
	uint64_t candidate; /* while the node is dialed */
	struct secure_conn *dialing;
	char from[TRANSPORT_ADDRESS_MAX]; /* the candidate */
};

static uint64_t hex_field(json_t *obj, const char *name)
{
	const char *text = json_string_value(json_object_get(obj, name));

	return text ? strtoull(text, NULL, 16) : 0;
}

void member_twin_pack(const struct member *m, json_t *obj)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)m->instance);
	json_object_set_new(obj, "instance", json_string(text));
}

void member_twin_answer(const struct member *m, struct secure_conn *c)
{
	json_t *reply = json_object();

	member_twin_pack(m, reply);
	secure_answer(c, reply);
}

/* ---- what is known of whom ---- */

static struct member_twin *twin_of(struct member *m, uint64_t raft_id)
{
	struct member_twin **at = &m->twins, *t;

	while ((t = *at)) {
		if (t->raft_id == raft_id)
			return t;
		if (t->dialing || nodes_by_raft_id(m->nodes, t->raft_id)) {
			at = &t->next;
			continue;
		}
		*at = t->next; /* of a former life */
		free(t);
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	t->m = m;
	t->raft_id = raft_id;
	*at = t;
	return t;
}

void member_twin_forget(struct member *m)
{
	struct member_twin *t;

	while ((t = m->twins)) {
		m->twins = t->next;
		if (t->dialing)
			secure_cancel(t->dialing);
		free(t);
	}
}

static void end_connections(struct member *m, const struct node_info *info)
{
	peers_drop(m->peers, info->number);
	member_raft_drop(m, info->raft_id);
}

static void take(struct member_twin *t, uint64_t instance)
{
	t->former = t->instance;
	t->instance = instance;
	t->changed_ms = member_now_ms();
	if (t->second == instance)
		t->second = 0;
}

static void note(struct member *m, const char *name, const char *here, const char *there)
{
	snprintf(m->twin.text, sizeof(m->twin.text),
		 "two machines run as node %s: one answers at %s, another one was heard from %s", name, here,
		 there);
	if (!m->twin.seen_ms || member_now_ms() - m->twin.seen_ms > SHOWN_MS)
		log_err("%s; " COPY_REMEDY, m->twin.text);
	m->twin.seen_ms = member_now_ms();
}

/* ---- who answers at the address ---- */

static void on_dialed(void *arg, int status, json_t *reply, int fd)
{
	struct member_twin *t = arg;
	const struct node_info *info = nodes_by_raft_id(t->m->nodes, t->raft_id);
	uint64_t there = status ? 0 : hex_field(reply, "instance");

	(void)fd;
	t->dialing = NULL;
	if (!info)
		return;
	if (there && there != t->candidate) {
		if (t->instance == t->candidate || t->instance != there)
			end_connections(t->m, info);
		t->instance = there;
		t->second = t->candidate;
		note(t->m, info->name, info->address, t->from);
	} else if (t->instance != t->candidate) {
		end_connections(t->m, info); /* what is left of the old one */
		take(t, t->candidate);
	}
}

static void dial(struct member_twin *t, const struct node_info *info, struct secure_conn *c,
		 uint64_t instance)
{
	struct secure_connect how = {
		.address = info->address, .timeout_ms = DIAL_MS, .done = on_dialed, .arg = t};

	if (t->dialing)
		return;
	t->candidate = instance;
	snprintf(t->from, sizeof(t->from), "%s", secure_peer(c));
	how.hello = member_make_hello(t->m, "generation");
	t->dialing = secure_connect(t->m->secure, &how);
	json_decref(how.hello);
}

/* ---- hellos ---- */

/* It is at the address that the node has, as far as an address of TCP says so. */
static bool is_at_home(const struct node_info *info, struct secure_conn *c)
{
	const char *end = strrchr(info->address, ':'), *peer = secure_peer(c);
	size_t len = end ? (size_t)(end - info->address) : 0;

	return len && !strncmp(info->address, peer, len) && (peer[len] == ':' || !peer[len]);
}

static void refuse(struct member *m, struct secure_conn *c, const char *name, const char *address)
{
	note(m, name, address, secure_peer(c));
	secure_answer(c, json_pack("{ss si ss ss ss}", "error", "another machine runs as this node", "code",
				   1, "remedy", COPY_REMEDY, "twin", address, "from", secure_peer(c)));
}

static bool came_back(const struct member_twin *t, uint64_t instance)
{
	return instance == t->former && member_now_ms() - t->changed_ms > RETURN_MS;
}

bool member_twin_differs(struct member *m, struct secure_conn *c, json_t *hello)
{
	uint64_t raft_id = hex_field(hello, "raft_id"), instance = hex_field(hello, "instance");
	const struct node_info *info = nodes_by_raft_id(m->nodes, raft_id);
	struct member_twin *t;
	bool connected;

	if (!info || !instance || (raft_id == m->id.raft_id && instance == m->instance))
		return false; /* a newcomer, or a netd that does not say it */
	if (raft_id == m->id.raft_id) {
		refuse(m, c, info->name, m->id.address);
		return true;
	}
	t = twin_of(m, raft_id);
	if (instance == t->instance)
		return false;
	if (instance == t->second || came_back(t, instance)) {
		refuse(m, c, info->name, info->address);
		if (!t->dialing)
			dial(t, info, c, instance); /* is the other one still there? */
		return true;
	}
	connected = peers_linked(m->peers, info->number) || member_raft_linked(m, raft_id);
	if (!connected || is_at_home(info, c)) {
		take(t, instance);
		if (!is_at_home(info, c))
			dial(t, info, c, instance);
		return false;
	}
	dial(t, info, c, instance);
	secure_refuse(c, 1, "it tries again by itself", "another netd had this identity a moment ago");
	return true;
}

/* ---- the second one ---- */

void member_twin_refused(struct member *m, json_t *reply)
{
	const char *other = json_string_value(json_object_get(reply, "twin"));
	const char *from = json_string_value(json_object_get(reply, "from"));

	if (!other || !m->running || m->stopping || m->twin.end ||
	    lease_holder_valid(&m->holder, member_now_ns()))
		return; /* who has a lease is the node */
	snprintf(m->twin.failure, sizeof(m->twin.failure),
		 "another machine runs as %s: it answers at %s, this one was heard from %s", m->id.name,
		 other, from ?: "here");
	m->twin.end = true;
}

void member_twin_tick(struct member *m)
{
	if (!m->twin.end || !m->running)
		return;
	m->twin.end = false;
	log_err("%s; " SECOND_REMEDY, m->twin.failure);
	member_disown(m);
	member_halt(m, NULL);
}

const char *member_twin_failure(const struct member *m, const char **remedy)
{
	if (m->twin.failure[0] && !m->twin.end) {
		*remedy = SECOND_REMEDY;
		return m->twin.failure;
	}
	if (!m->twin.seen_ms || member_now_ms() - m->twin.seen_ms > SHOWN_MS)
		return NULL;
	*remedy = COPY_REMEDY;
	return m->twin.text;
}
