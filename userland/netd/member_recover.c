// SPDX-License-Identifier: GPL-2.0
/*
 * Rebuilding a cluster whose majority of voters is lost for good.
 *
 * One survivor begins again as the only voter, from its own copy of the sets and
 * in a new *generation* of the cluster (member_generation.c): all others are given
 * up, and whatever they owned goes. Nodes of an older generation are heard by nobody.
 * So an old majority that was only cut off does not go on beside the new cluster for
 * longer than the two do not see each other: that is the risk which the command names.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define ASK_MS 1500

/* ---- the command ---- */

struct copy {
	uint64_t term, last, commit; /* `term` and `last` of its last entry */
};

struct survivor {
	uint32_t node;
	bool answered, leased;
	struct copy copy;
};

struct recovery {
	struct member *m;
	bool force;
	member_recover_fn *done;
	void *arg;
	size_t n, pending;
	struct survivor of[NODES_MAX];
};

struct question {
	struct recovery *r;
	struct survivor *s;
};

static void fail(struct recovery *r, int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void fail(struct recovery *r, int code, const char *remedy, const char *fmt, ...)
{
	struct member_error e = {.code = code};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	snprintf(e.remedy, sizeof(e.remedy), "%s", remedy);
	r->done(r->arg, &e, NULL, NULL);
	free(r);
}

static bool is_voter(struct member *m, uint32_t node)
{
	const struct node_info *info = nodes_get(m->nodes, node);

	return info && kddm_raft_role(m->raft, info->raft_id) == RAFT_VOTER;
}

static void count_voters(struct recovery *r, unsigned int *all, unsigned int *here)
{
	const struct raft_configuration *conf = kddm_raft_members(r->m->raft);

	*all = 0;
	for (unsigned int i = 0; i < conf->n; i++)
		*all += conf->servers[i].role == RAFT_VOTER;
	*here = is_voter(r->m, r->m->self);
	for (size_t i = 0; i < r->n; i++)
		*here += r->of[i].answered && is_voter(r->m, r->of[i].node);
}

static struct copy own_copy(const struct member *m)
{
	return (struct copy){kddm_raft_last_term(m->raft), kddm_raft_last_index(m->raft),
			     kddm_raft_commit_index(m->raft)};
}

/* As in an election: what a leader who was cut off wrote alone is long, and worth nothing. */
static bool is_newer(const struct copy *a, const struct copy *than)
{
	if (a->term != than->term)
		return a->term > than->term;
	return a->last != than->last ? a->last > than->last : a->commit > than->commit;
}

/* Whose copy has more of what was acknowledged? NULL: ours is as good as any. */
static const struct survivor *better_copy(const struct recovery *r)
{
	const struct survivor *best = NULL;
	struct copy copy = own_copy(r->m);

	for (size_t i = 0; i < r->n; i++) {
		const struct survivor *s = &r->of[i];

		if (!s->answered || !is_newer(&s->copy, &copy))
			continue;
		best = s;
		copy = s->copy;
	}
	return best;
}

static json_t *names(const struct recovery *r, bool answered)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n; i++)
		if (r->of[i].answered == answered)
			json_array_append_new(list, json_string(member_name(r->m, r->of[i].node)));
	return list;
}

static void name_risk(struct recovery *r)
{
	char text[160] = "";

	for (size_t i = 0; i < r->n; i++) {
		size_t len = strlen(text);

		if (!r->of[i].answered)
			snprintf(text + len, sizeof(text) - len, "%s%s", len ? ", " : "",
				 member_name(r->m, r->of[i].node));
	}
	fail(r, 1, "make sure that they are off and stay off, then `netctl recover --force` here",
	     "this gives up %s: what only they know is lost, what they run ends; if they still run "
	     "together, both clusters answer",
	     text);
}

static void begin(struct recovery *r)
{
	json_t *given_up = names(r, false), *rejoining = names(r, true);
	struct member *m = r->m;
	struct generation was = m->id.generation;
	int err = generation_next(&m->id.generation);

	m->id.recover = true;
	if (!err)
		err = member_state_save(m);
	if (err < 0) {
		m->id.generation = was;
		m->id.recover = false;
		fail(r, 1, "make it writable", "%s: %s", m->state_dir, strerror(-err));
	} else {
		log_warn("the cluster is rebuilt from this node's copy, generation %u; netd starts anew",
			 m->id.generation.number);
		r->done(r->arg, NULL, given_up, rejoining);
		free(r);
		m->params.events->restart(m->params.arg);
	}
	json_decref(given_up);
	json_decref(rejoining);
}

/* All have answered or cannot. */
static void decide(struct recovery *r)
{
	const struct survivor *better = better_copy(r);
	unsigned int all, here;

	count_voters(r, &all, &here);
	for (size_t i = 0; i < r->n; i++) {
		if (!r->of[i].leased)
			continue;
		fail(r, 1, "mend the network to it; nothing needs to be rebuilt",
		     "%s holds a lease: a quorum is alive", member_name(r->m, r->of[i].node));
		return;
	}
	if (here * 2 > all)
		fail(r, 1, "wait for them to agree; see `netctl status`",
		     "%u of %u voters can be reached: that is a quorum", here, all);
	else if (better)
		fail(r, 1, "run `netctl recover` there", "%s has a newer copy than this node",
		     member_name(r->m, better->node));
	else if (!r->force)
		name_risk(r);
	else
		begin(r);
}

static void on_answer(void *arg, int status, json_t *answer)
{
	struct question *q = arg;
	struct recovery *r = q->r;

	if (!status && json_is_integer(json_object_get(answer, "last"))) {
		q->s->answered = true;
		q->s->copy.term = (uint64_t)json_integer_value(json_object_get(answer, "term"));
		q->s->copy.last = (uint64_t)json_integer_value(json_object_get(answer, "last"));
		q->s->copy.commit = (uint64_t)json_integer_value(json_object_get(answer, "commit"));
		q->s->leased = json_is_true(json_object_get(answer, "leased"));
	}
	free(q);
	if (!--r->pending)
		decide(r);
}

void member_recover(struct member *m, bool force, member_recover_fn *done, void *arg)
{
	struct recovery *r = calloc(1, sizeof(*r));
	const struct kddm_object *obj;
	json_t *request;

	if (!r)
		abort();
	*r = (struct recovery){.m = m, .force = force, .done = done, .arg = arg, .pending = 1};
	if (!m->raft || !m->self) {
		fail(r, 4, "`netctl init` or `netctl join`", "this machine has no cluster to rebuild");
		return;
	}
	if (lease_holder_valid(&m->holder, member_now_ns()) || m->leader) {
		fail(r, 1, "nothing needs to be rebuilt; see `netctl status`", "a quorum is alive");
		return;
	}
	request = json_object();
	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;
		struct question *q;

		if (info->state == NODE_LEFT || info->number == m->self || r->n >= NODES_MAX)
			continue;
		q = calloc(1, sizeof(*q));
		if (!q)
			abort();
		q->r = r;
		q->s = &r->of[r->n++];
		q->s->node = info->number;
		r->pending++;
		peer_call(m->peers, info->number, "member.survivor", request, ASK_MS, on_answer, q);
	}
	json_decref(request);
	if (!--r->pending)
		decide(r);
}

static void handle_survivor(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct member *m = arg;
	struct copy copy = m->raft ? own_copy(m) : (struct copy){0};

	(void)from;
	(void)request;
	peer_call_answer(call, json_pack("{sI sI sI sb}", "term", (json_int_t)copy.term, "last",
					 (json_int_t)copy.last, "commit", (json_int_t)copy.commit, "leased",
					 lease_holder_valid(&m->holder, member_now_ns())));
}

void member_recover_handlers(struct member *m)
{
	peer_handle(m->peers, "member.survivor", handle_survivor, m);
}

/* ---- the first leader of a generation ---- */

bool member_recover_settled(struct member *m)
{
	const struct kddm_object *obj;
	uint64_t now = member_now_ms();
	bool settled = true;

	if (!m->recovered)
		return true;
	kddm_for_each(m->nodes, obj)
	{
		struct node_info info = *(const struct node_info *)obj->value;

		if (info.raft_id == m->id.raft_id || (info.state != NODE_UP && info.state != NODE_JOINING))
			continue;
		settled = false;
		if (now - m->deaths_asked_ms[info.number] < ASK_MS)
			continue;
		m->deaths_asked_ms[info.number] = now;
		info.changed_ms = member_unix_ms();
		kddm_submit_node_op(m->kddm, info.state == NODE_UP ? KDDM_OP_NODE_DEAD : KDDM_OP_NODE_LEAVE,
				    &info, NULL, NULL);
	}
	m->recovered = !settled;
	return settled;
}
