// SPDX-License-Identifier: GPL-2.0
/*
 * Questions about the cluster, and its settings (the set `conf`).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ssi/core.h>

#include "member_int.h"
#include "userland/lib/notice.h"

#define IDLE_MS	      10000 /* so long a node may take to set up its data path */
#define LEADERLESS_MS 1000  /* and an election */

static bool conf_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	(void)key;
	return key_len < 64 && value_len < 256 && !memchr(value, 0, value_len);
}

const struct kddm_type member_conf_type = {
	.id = 2,
	.name = "conf",
	.valid = conf_valid,
};

/* ---- settings ---- */

const char *member_conf(struct member *m, const char *key, char *buf, size_t size)
{
	const struct kddm_object *obj = kddm_find(m->conf, key, strlen(key));

	if (!obj || obj->value_len >= size)
		return NULL;
	memcpy(buf, obj->value, obj->value_len);
	buf[obj->value_len] = 0;
	return buf;
}

unsigned int member_conf_uint(struct member *m, const char *key, unsigned int absent)
{
	char text[32], *end;
	unsigned long n;

	if (!member_conf(m, key, text, sizeof(text)))
		return absent;
	n = strtoul(text, &end, 10);
	return end == text || *end ? absent : (unsigned int)n;
}

static const struct member_setting settings[] = {
	{"lease_ms", LEASE_MS_MIN, LEASE_MS_MAX, LEASE_MS_DEFAULT, false,
	 "how long a node that is cut off may still answer; after it its death is declared"},
	{"voters", 1, 5, 3, true, "how many nodes vote: 1, 3 or 5"},
	{"nodes_min", 0, NODES_MAX, 0, false, "status warns when fewer nodes are up"},
	{"source_block", 64, 16384, 512, false, "source ports that a node leases at a time"},
	{"answer_ms", SSI_CLAIM_LIMIT_MS_MIN, SSI_CLAIM_LIMIT_MS_MAX, SSI_CLAIM_LIMIT_MS, false,
	 "how long listen() and bind() wait for the cluster before they fail with EAGAIN"},
	{"notice_ms", 0, NOTICE_LIMIT_MS_MAX, NOTICE_LIMIT_MS, false,
	 "how long a move waits for programs that want to get ready for it"},
	{"tolerance_ms", 50, 30000, 500, false, "silence after which TIPC gives up a link"},
};

const struct member_setting *member_setting(size_t i)
{
	return i < sizeof(settings) / sizeof(settings[0]) ? &settings[i] : NULL;
}

static const char *range_text(const struct member_setting *s)
{
	static char text[64];

	snprintf(text, sizeof(text), "must be from %lu to %lu", s->min, s->max);
	return text;
}

/* NULL: fine; else what is wrong. */
static const char *setting_check(const char *key, const char *value)
{
	char *end;
	unsigned long n;

	if (!strcmp(key, "cluster_key"))
		return "is changed by `netctl key rotate`, not by hand";
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		const struct member_setting *s = &settings[i];

		if (strcmp(s->key, key))
			continue;
		n = strtoul(value, &end, 10);
		if (end == value || *end || n < s->min || n > s->max || (s->odd && n % 2 == 0))
			return s->odd ? "must be 1, 3 or 5" : range_text(s);
	}
	return NULL;
}

/* ---- the lease, and a longer one that may still be held ---- */

#define HELD "lease_held_ms"

static uint64_t version_of(struct member *m, const char *key)
{
	const struct kddm_object *obj = kddm_find(m->conf, key, strlen(key));

	return obj ? obj->version : KDDM_ABSENT;
}

static int put_conf(struct member *m, struct kddm_batch *b, const char *key, const char *value)
{
	return kddm_put(b, m->conf, key, strlen(key), value, strlen(value), version_of(m, key));
}

/*
 * Leases that were granted before the change run on. So the longer one is kept
 * beside the new until the leader has seen it run out.
 */
static int put_lease(struct member *m, struct kddm_batch *b, const char *value)
{
	uint32_t held = member_lease_held_ms(m);
	char text[16];
	int r = put_conf(m, b, "lease_ms", value);

	if (r < 0 || held <= strtoul(value, NULL, 10))
		return r;
	snprintf(text, sizeof(text), "%u", held);
	return put_conf(m, b, HELD, text);
}

void member_lease_settle(struct member *m)
{
	uint32_t held = member_conf_uint(m, HELD, 0);
	uint64_t now = member_now_ms();
	struct kddm_batch *b;

	if (!held || held != m->held_ms || m->held_since_ms < m->elected_ms) {
		m->held_ms = held;
		m->held_since_ms = now;
		return;
	}
	if (now - m->held_since_ms < held + held / 32 + 100)
		return;
	m->held_since_ms = now; /* if it fails: the same again */
	b = kddm_batch_new(m->kddm, false);
	kddm_remove(b, m->conf, HELD, strlen(HELD), version_of(m, HELD));
	kddm_submit(b, NULL, NULL);
}

struct conf_job {
	member_done_fn *done;
	void *arg;
};

static void on_conf_set(void *arg, const struct kddm_result *result)
{
	struct conf_job *job = arg;
	int r = result->status;

	for (size_t i = 0; !r && i < result->n_ops; i++)
		r = result->op[i];
	if (!r)
		job->done(job->arg, NULL);
	else if (r == -ESTALE || r == -EEXIST || r == -ENOENT || r == -ECANCELED)
		member_fail(job->done, job->arg, 1, "look at it and try again",
			    "somebody else changed it at the same moment");
	else
		member_fail(job->done, job->arg, r == -EAGAIN || r == -ETIMEDOUT ? 3 : 1,
			    "look at netctl status", "the setting was not changed: %s", strerror(-r));
	free(job);
}

void member_conf_set(struct member *m, const char *key, const char *value, member_done_fn *done, void *arg)
{
	const char *wrong = setting_check(key, value);
	struct kddm_batch *b;
	struct conf_job *job;

	if (wrong) {
		member_fail(done, arg, 2, "`netctl set` lists them", "%s %s, not \"%s\"", key, wrong, value);
		return;
	}
	b = kddm_batch_new(m->kddm, true);
	if ((!strcmp(key, "lease_ms") ? put_lease(m, b, value) : put_conf(m, b, key, value)) < 0) {
		kddm_batch_free(b);
		member_fail(done, arg, 2, "see netctl(8), set", "bad key or value");
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job)
		abort();
	job->done = done;
	job->arg = arg;
	kddm_submit(b, on_conf_set, job);
}

uint32_t member_lease_ms(struct member *m)
{
	unsigned int ms = member_conf_uint(m, "lease_ms", LEASE_MS_DEFAULT);

	return ms < LEASE_MS_MIN ? LEASE_MS_MIN : ms > LEASE_MS_MAX ? LEASE_MS_MAX : ms;
}

uint32_t member_lease_held_ms(struct member *m)
{
	uint32_t ms = member_lease_ms(m), held = member_conf_uint(m, HELD, 0);

	return held > ms ? held : ms;
}

/* ---- who is who ---- */

/* A lease ends by the clock: who asks before the timer has run must not hear that it goes on. */
enum member_status member_status(const struct member *m)
{
	return m->status == MEMBER_LIVE ? member_status_due(m) : m->status;
}

const char *member_status_name(enum member_status s)
{
	static const char *const names[] = {"idle", "joining", "up", "fenced"};

	return (size_t)s < sizeof(names) / sizeof(names[0]) ? names[s] : "?";
}

uint32_t member_self(const struct member *m)
{
	return m->self;
}

const char *member_self_name(const struct member *m)
{
	return m->in_cluster ? m->id.name : "";
}

const char *member_name(const struct member *m, uint32_t node)
{
	const struct node_info *info = node ? nodes_get(m->nodes, node) : NULL;

	return info ? info->name : node ? "?" : "-";
}

uint32_t member_find(const struct member *m, const char *name)
{
	const struct node_info *info = nodes_by_name(m->nodes, name);

	return info && info->state != NODE_LEFT ? info->number : 0;
}

bool member_alive(const struct member *m, uint32_t node)
{
	const struct node_info *info = nodes_get(m->nodes, node);

	return info && info->state == NODE_UP;
}

bool member_witness(const struct member *m, uint32_t node)
{
	const struct node_info *info = nodes_get(m->nodes, node);

	return info ? info->flags & NODE_WITNESS : node == m->self && m->id.witness;
}

uint64_t member_lease_expiry_ns(const struct member *m)
{
	return m->holder.expiry_ns;
}

bool member_is_leader(const struct member *m)
{
	return m->leads;
}

static uint64_t own_lease_left_ms(const struct member *m)
{
	uint64_t now = member_now_ns();

	return m->holder.expiry_ns > now ? (m->holder.expiry_ns - now) / 1000000 : 0;
}

static const char *role_name(struct member *m, const struct node_info *info)
{
	switch (m->raft ? kddm_raft_role(m->raft, info->raft_id) : -1) {
	case RAFT_VOTER:
		return "voter";
	case RAFT_STANDBY:
		return "standby";
	default:
		return "-";
	}
}

void member_each(struct member *m, void (*fn)(void *arg, const struct member_node *node), void *arg)
{
	const struct kddm_object *obj;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;
		struct member_node n = {.info = info, .latency_us = -1};

		if (info->state == NODE_LEFT)
			continue;
		n.role = role_name(m, info);
		n.leader = info->raft_id == m->leader_id;
		n.suspect = member_suspected(m, info);
		n.idle = info->state == NODE_UP && !(info->flags & (NODE_SERVES | NODE_WITNESS)) &&
			 member_unix_ms() - info->changed_ms > IDLE_MS;
		n.latency_us = peers_latency_us(m->peers, info->number);
		if (m->leads) {
			n.applied = m->keeper.node[info->number].applied;
			n.lease_left_ms = lease_keeper_left_ms(&m->keeper, info, member_lease_held_ms(m),
							       member_now_ns());
		}
		if (info->number == m->self) {
			n.applied = kddm_fsm_of(m->kddm)->index;
			n.lease_left_ms = own_lease_left_ms(m);
			n.latency_us = 0;
		}
		fn(arg, &n);
	}
}

static void count_nodes(struct member *m, struct member_cluster *out)
{
	const struct kddm_object *obj;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;
		bool voter = m->raft && kddm_raft_role(m->raft, info->raft_id) == RAFT_VOTER;
		bool up = info->state == NODE_UP;

		if (info->state == NODE_LEFT)
			continue;
		out->nodes++;
		out->up += up;
		out->voters += voter;
		out->voters_up += voter && up;
	}
}

void member_cluster(struct member *m, struct member_cluster *out)
{
	memset(out, 0, sizeof(*out));
	out->transport = m->in_cluster ? m->id.transport : "";
	out->insecure = m->insecure;
	if (!m->in_cluster)
		return;
	snprintf(out->id, sizeof(out->id), "%s", m->id.cluster);
	count_nodes(m, out);
	out->leader = m->leader;
	out->generation = m->id.generation.number;
	out->nodes_min = member_conf_uint(m, "nodes_min", 0);
	out->lease_ms = member_lease_ms(m);
	out->lease_left_ms = own_lease_left_ms(m);
	out->quorum = lease_holder_valid(&m->holder, member_now_ns());
	out->leaderless = out->quorum && !m->leader && m->holder.granted_ns &&
			  member_now_ns() - m->holder.granted_ns > LEADERLESS_MS * 1000000ull;
	out->ready = m->ready;
	out->one_death_from_loss = out->voters_up < 1 || (out->voters_up - 1) * 2 <= out->voters;
	out->applied_index = kddm_fsm_of(m->kddm)->index;
	out->failure = member_disk_failure(m, &out->failure_remedy);
	if (!out->failure)
		out->failure = member_twin_failure(m, &out->failure_remedy);
	if (!out->failure)
		out->failure = member_generation_failure(m, &out->failure_remedy);
	if (!m->raft)
		return;
	out->term = kddm_raft_term(m->raft);
	out->last_index = kddm_raft_last_index(m->raft);
	out->commit_index = kddm_raft_commit_index(m->raft);
}
