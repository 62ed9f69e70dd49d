// SPDX-License-Identifier: GPL-2.0
/*
 * Leaving a cluster: the leader commits it and takes us out of the raft configuration; when we lead ourselves,
 * somebody else must do that first.
 */
#include "member_job.h"

#define LEAVE_MS       20000
#define LEAVE_ASK_MS   300
#define LEAVE_ALONE_MS 6000 /* we are out; nobody tells us that we may go */

struct take_out {
	uint32_t node;
	uint64_t raft_id; /* 0: asked by a netd that does not say. Another one has the number now: it is gone */
	bool force, silent;
};

static json_t *take_out(struct member *m, uint32_t from, const struct take_out *t)
{
	const struct node_info *info = nodes_get(m->nodes, t->node);

	if (!m->leads)
		return json_pack("{sb}", "gone", 0);
	if (!info)
		return member_refusal(1, "see netctl nodes", "there is no such node");
	if (t->raft_id && t->raft_id != info->raft_id)
		return json_pack("{sb}", "gone", kddm_raft_role(m->raft, t->raft_id) < 0);
	if (info->state == NODE_UP && from != t->node && !t->force)
		return member_refusal(1, "run netctl leave there, or add --force", "%s is up", info->name);
	if (info->state != NODE_LEFT) {
		if (t->node == m->self)
			member_leave_silence(m);
		member_lead_take_out(m, info, t->node == m->self || (t->silent && from == t->node));
		return json_pack("{sb}", "gone", 0);
	}
	return json_pack("{sb}", "gone", kddm_raft_role(m->raft, info->raft_id) < 0);
}

static void handle_leave(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct take_out t = {
		.node = (uint32_t)json_integer_value(json_object_get(request, "node")),
		.raft_id = (uint64_t)json_integer_value(json_object_get(request, "raft_id")),
		.force = json_is_true(json_object_get(request, "force")),
		.silent = json_is_true(json_object_get(request, "silent")),
	};

	peer_call_answer(call, take_out(arg, from, &t));
}

static void leave_answered(struct member *m, json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	struct member_job *j = m->job;

	if (!j || j->kind != JOB_LEAVE || j->failed)
		return;
	if (error)
		member_job_refused(m, 0, answer);
	else if (json_is_true(json_object_get(answer, "gone")) && j->node != m->self)
		member_job_end(m, NULL);
	else if (json_is_true(json_object_get(answer, "gone")))
		member_leave_told(m); /* before the entry came here that says so: now it never will */
}

static void on_leave_answer(void *arg, int status, json_t *answer)
{
	if (!status)
		leave_answered(arg, answer);
}

void member_leave_ask(struct member *m)
{
	struct member_job *j = m->job;
	uint64_t now = member_now_ms();
	json_t *request;

	if (now - j->asked_ms < LEAVE_ASK_MS)
		return;
	j->asked_ms = now;
	if (j->node == m->self)
		member_leave_silence(m);
	if (m->leads) {
		const struct take_out t = {j->node, j->raft_id, j->force, true};
		json_t *answer = take_out(m, m->self, &t);

		leave_answered(m, answer);
		json_decref(answer);
	} else if (m->leader) {
		request = json_pack("{si sI sb sb}", "node", (int)j->node, "raft_id", (json_int_t)j->raft_id,
				    "force", j->force, "silent", j->node == m->self);
		peer_call(m->peers, m->leader, "member.leave", request, 2000, on_leave_answer, m);
		json_decref(request);
	}
}

static unsigned int others_up(struct member *m)
{
	const struct kddm_object *obj;
	unsigned int n = 0;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		n += info->state == NODE_UP && info->number != m->self;
	}
	return n;
}

static uint32_t lease_of(struct member *m, const struct node_info *info)
{
	uint32_t ms = member_lease_held_ms(m);

	return info && info->lease_ms > ms ? info->lease_ms : ms;
}

void member_leave(struct member *m, uint32_t node, bool force, member_done_fn *done, void *arg)
{
	const struct node_info *info;
	struct member_job *j;

	if (!m->in_cluster) {
		member_fail(done, arg, 4, "`netctl init` or `netctl join`", "this machine is in no cluster");
		return;
	}
	if (m->ready && m->self && (!node || node == m->self) && !force && !others_up(m)) {
		member_fail(done, arg, 1, "bring the others back first; --force when that is meant",
			    "no other node is up: the cluster, its addresses and settings end with this one");
		return;
	}
	j = member_job_new(m, JOB_LEAVE, LEAVE_MS, done, arg);
	if (!j)
		return;
	j->node = node ? node : m->self;
	j->own = j->node == m->self;
	j->force = force;
	info = nodes_get(m->nodes, j->node);
	j->raft_id = info ? info->raft_id : 0;
	j->deadline_ms += lease_of(m, info); /* it may have to run out first */
	if (!j->node || (j->node == m->self && !m->running))
		member_leave_now(m); /* never got a name, or takes no part: nobody waits for us */
}

static void on_gone_answer(void *arg, int status, json_t *answer)
{
	struct member *m = arg;

	if (!status && json_is_true(json_object_get(answer, "gone")))
		member_leave_now(m);
}

static void on_handed_over(void *arg, int status)
{
	(void)arg;
	(void)status;
}

/* The voters that are up are a quorum without us. */
static bool others_are_enough(struct member *m)
{
	const struct raft_configuration *conf = kddm_raft_members(m->raft);
	unsigned int all = 0, up = 0;

	for (unsigned int i = 0; i < conf->n; i++) {
		const struct node_info *info = nodes_by_raft_id(m->nodes, conf->servers[i].id);

		if (conf->servers[i].role != RAFT_VOTER)
			continue;
		all++;
		up += info && info->state == NODE_UP && info->number != m->self;
	}
	return up * 2 > all;
}

static bool others_belong(struct member *m)
{
	const struct kddm_object *obj;
	unsigned int n = 0;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		n += info->state != NODE_LEFT && info->number != m->self;
	}
	return n > 0;
}

/*
 * The last vote, and with it the last copy that counts, does not go with a node that others were to follow: those
 * that died meanwhile may come back. Whoever says --force means it.
 */
static bool may_go(struct member *m)
{
	bool forced = m->job && m->job->kind == JOB_LEAVE && m->job->force;

	if (kddm_raft_role(m->raft, m->id.raft_id) < 0)
		return true;
	if (!others_up(m))
		return forced || !others_belong(m);
	return others_are_enough(m) && member_now_ms() - m->leaving_ms > LEAVE_ALONE_MS;
}

static void ask_whether_gone(struct member *m, uint32_t node)
{
	json_t *request = json_pack("{si sI}", "node", (int)m->self, "raft_id", (json_int_t)m->id.raft_id);

	peer_call(m->peers, node, "member.leave", request, 2000, on_gone_answer, m);
	json_decref(request);
}

/* Who is out of the configuration is told of no leader. */
static void ask_all_whether_gone(struct member *m)
{
	const struct kddm_object *obj;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->state == NODE_UP && info->number != m->self)
			ask_whether_gone(m, info->number);
	}
}

/* Committed: we are out. Stay until the others can do without our vote. */
void member_leave_progress(struct member *m)
{
	uint64_t now = member_now_ms();

	if (!m->leaving_ms) {
		m->leaving_ms = now;
		member_leave_silence(m);
		kddm_identify(m->kddm, 0, 0);
		m->named = KDDM_LEADER_UNNUMBERED;
	}
	if (may_go(m)) {
		member_leave_now(m);
		return;
	}
	if (now - m->leave_asked_ms < LEAVE_ASK_MS)
		return;
	m->leave_asked_ms = now;
	if (m->leads)
		kddm_raft_transfer(m->raft, on_handed_over, m);
	else if (m->leader)
		ask_whether_gone(m, m->leader);
	else if (now - m->leaving_ms > LEAVE_ALONE_MS)
		ask_all_whether_gone(m);
}

/* The entry that says that we left may never reach us: we are out of the raft configuration. */
void member_leave_told(struct member *m)
{
	if (member_leave_asked(m))
		m->job->told = true;
}

bool member_leave_asked(const struct member *m)
{
	return m->job && !m->job->failed && m->job->kind == JOB_LEAVE && m->job->node == m->self;
}

/* Before others are told: what we own is theirs as soon as they agree. */
void member_leave_silence(struct member *m)
{
	m->params.events->lease(m->params.arg, 0);
	m->holder.expiry_ns = 0;
	m->silent_ns = member_now_ns();
}

void member_leave_handlers(struct member *m)
{
	peer_handle(m->peers, "member.leave", handle_leave, m);
}
