// SPDX-License-Identifier: GPL-2.0
/*
 * Connections of membership: what comes in is told apart by its hello (query,
 * join, raft, peer, stream).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member_int.h"
#include "userland/lib/log.h"

json_t *member_make_hello(void *arg, const char *purpose)
{
	struct member *m = arg;
	json_t *hello;
	char raft_id[17];

	snprintf(raft_id, sizeof(raft_id), "%016llx", (unsigned long long)m->id.raft_id);
	hello = json_pack("{si si ss ss ss ss si ss}", "v", (int)member_protocol, "vmin",
			  (int)member_protocol_min, "cluster", m->id.cluster, "purpose", purpose, "raft_id",
			  raft_id, "address", m->id.address, "node", (int)m->self, "tcp", m->id.tcp);
	generation_pack(hello, &m->id.generation);
	member_twin_pack(m, hello);
	return hello;
}

static uint64_t hash_of(const char *text)
{
	uint64_t h = 14695981039346656037ull;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211ull;
	return h;
}

/* Refusals come with every attempt. */
bool member_says_anew(struct member *m, const char *text)
{
	uint64_t h = hash_of(text);

	for (size_t i = 0; i < N_SAID; i++)
		if (m->said[i] == h)
			return false;
	m->said[m->said_next++ % N_SAID] = h;
	return true;
}

void member_refuse(struct member *m, struct secure_conn *c, const char *remedy, const char *text)
{
	if (member_says_anew(m, text))
		log_warn("%s is refused: %s; %s", secure_peer(c), text, remedy);
	secure_answer(c, json_pack("{ss si ss}", "error", text, "code", 1, "remedy", remedy));
}

void member_refused(struct member *m, json_t *reply)
{
	const char *error = json_string_value(json_object_get(reply, "error"));
	const char *remedy = json_string_value(json_object_get(reply, "remedy"));

	if (!error)
		return;
	member_generation_refused(m, reply);
	member_twin_refused(m, reply);
	if (member_says_anew(m, error))
		log_warn("another node refuses this one: %s; %s", error,
			 remedy ? remedy : "see netd's log there");
}

const char *member_version_differs(json_t *hello)
{
	static char text[128];
	json_int_t v = json_integer_value(json_object_get(hello, "v"));

	if (member_version_common(hello))
		return "";
	snprintf(text, sizeof(text), "this node speaks protocol %u to %u, the other %lld to %lld",
		 member_protocol_min, member_protocol,
		 (long long)(json_integer_value(json_object_get(hello, "vmin")) ?: v), (long long)v);
	return text;
}

static uint64_t hex_field(json_t *obj, const char *name)
{
	const char *text = json_string_value(json_object_get(obj, name));

	return text ? strtoull(text, NULL, 16) : 0;
}

/*
 * Those that left, or were replaced under their name, are told so. A node that
 * is not caught up knows nobody and believes all who have the key.
 */
static bool is_stranger(struct member *m, uint64_t raft_id)
{
	const struct node_info *info = nodes_by_raft_id(m->nodes, raft_id);

	if (kddm_raft_role(m->raft, raft_id) >= 0 || !m->ready)
		return false;
	return !info || info->state == NODE_LEFT;
}

static void hello_member(struct member *m, struct secure_conn *c, const char *purpose, json_t *hello)
{
	uint32_t from = (uint32_t)json_integer_value(json_object_get(hello, "node"));

	if (member_twin_differs(m, c, hello))
		return;
	/* Raft decides by its own configuration who is heard. */
	if (!strcmp(purpose, "raft")) {
		member_raft_hello(m, c, hex_field(hello, "raft_id"),
				  json_string_value(json_object_get(hello, "address")));
		return;
	}
	if (is_stranger(m, hex_field(hello, "raft_id"))) {
		secure_refuse(c, 4, "join the cluster again", "this node is not a member any more");
		return;
	}
	if (!strcmp(purpose, "key"))
		member_hello_key(m, c);
	else if (!strcmp(purpose, "generation")) /* it is ours */
		member_twin_answer(m, c);
	else if (!strcmp(purpose, "peer"))
		peers_hello_link(m->peers, c, from);
	else if (!strcmp(purpose, "stream"))
		peers_hello_stream(m->peers, c, from, hello);
	else
		secure_refuse(c, 1, "run the same version on all nodes", "unknown purpose");
}

/* Newcomers have our generation. One that lost its log knows an older one; it joins anew when we talk to it. */
static void hello_join(struct member *m, struct secure_conn *c, json_t *hello)
{
	struct generation theirs;

	generation_unpack(hello, &theirs);
	if (generation_compare(&theirs, &m->id.generation) != GENERATION_OTHER ||
	    !member_generation_differs(m, c, hello))
		member_hello_join(m, c, hello);
}

void member_hello(void *arg, struct secure_conn *c, const char *identity, json_t *hello)
{
	const char *purpose = json_string_value(json_object_get(hello, "purpose"));
	const char *cluster = json_string_value(json_object_get(hello, "cluster"));
	struct member *m = arg;

	if (!purpose || *member_version_differs(hello)) {
		member_refuse(m, c, "run neighbouring versions of netssi on all nodes",
			      purpose ? member_version_differs(hello) : "a hello without purpose");
		return;
	}
	if (m->stopping || !m->running) {
		secure_refuse(c, 1, "try again later", "this node is stopping");
		return;
	}
	if (!strcmp(purpose, "query")) {
		member_hello_query(m, c, identity, hello);
		return;
	}
	if (!cluster || strcmp(cluster, m->id.cluster)) {
		secure_refuse(c, 1, "check the address", "that node belongs to another cluster");
		return;
	}
	/* A token lets in; it does not make a member. */
	if (!strcmp(purpose, "join"))
		hello_join(m, c, hello);
	else if (member_is_token(identity) && !m->insecure)
		secure_refuse(c, 1, "use the cluster's key", "a token only serves to join");
	else if (!member_generation_differs(m, c, hello))
		hello_member(m, c, purpose, hello);
}
