// SPDX-License-Identifier: GPL-2.0
/*
 * The leader's duties: confirm leases, declare deaths, keep the raft
 * configuration in agreement with the set `nodes`. Every node runs this file;
 * only the leader's decisions are acted on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define DEATH_RETRY_MS 500
#define OUT_MS	       5000 /* who asked to take a node out asks again more often */
#define LEASE_RETRY_MS 200
#define JOIN_LIMIT_MS  60000
#define HAND_OVER_MS   2000

/* ---- leadership itself ---- */

/* Raft speaks of raft ids; requests and leases of numbers. */
static void note_leader(struct member *m)
{
	uint64_t id = m->raft ? kddm_raft_leader(m->raft) : 0;
	const struct node_info *info = id ? nodes_by_raft_id(m->nodes, id) : NULL;
	uint32_t number = info ? info->number : 0;

	if (id == m->leader_id && number == m->leader)
		return;
	m->leader_id = id;
	m->leader = number;
	if (number)
		log_info("%s leads", info->name);
	kddm_resend(m->kddm);
	m->holder.sent_ns = 0; /* renew with the new leader at once */
}

static void note_leadership(struct member *m)
{
	bool leads = m->raft && kddm_raft_leads(m->raft);

	if (leads && m->keeper.leading && m->keeper.term != kddm_raft_term(m->raft))
		m->leads = false; /* lost and won again between two looks */
	if (leads == m->leads)
		return;
	m->leads = leads;
	kddm_resigned(m->kddm);
	if (!leads) {
		lease_keeper_resigned(&m->keeper);
		return;
	}
	lease_keeper_elected(&m->keeper, kddm_raft_term(m->raft), member_now_ns());
	memset(m->deaths_asked_ms, 0, sizeof(m->deaths_asked_ms));
	memset(m->joining_id, 0, sizeof(m->joining_id));
	memset(m->out_ms, 0, sizeof(m->out_ms));
	m->lead_index = kddm_raft_last_index(m->raft);
	m->elected_ms = member_now_ms();
	kddm_resend(m->kddm);
	/* What former terms left behind is committed by an entry of ours. */
	kddm_raft_kick(m->raft);
}

/* ---- leases ---- */

static size_t list_voters(struct member *m, uint32_t *out)
{
	const struct raft_configuration *conf = kddm_raft_members(m->raft);
	size_t n = 0;

	for (unsigned int i = 0; i < conf->n && n < LEASE_VOTERS_MAX; i++) {
		const struct node_info *info;

		if (conf->servers[i].role != RAFT_VOTER)
			continue;
		info = nodes_by_raft_id(m->nodes, conf->servers[i].id);
		out[n++] = info ? info->number : UINT32_MAX;
	}
	return n;
}

static void give_grant(struct member *m, const struct node_info *info)
{
	struct lease_grant g;

	if (!lease_keeper_grant(&m->keeper, info, member_lease_ms(m), &g))
		return;
	g.applied = kddm_fsm_of(m->kddm)->index;
	if (info->number == m->self)
		member_take_grant(m, &g);
	else
		peers_send(m->peers, info->number, PEER_LEASE_GRANT, 0, &g, sizeof(g));
}

void member_lead_ack(struct member *m, uint32_t from, uint64_t round, uint64_t term)
{
	const struct kddm_object *obj;

	if (!m->leads || !lease_keeper_ack(&m->keeper, from, round, term))
		return;
	kddm_for_each(m->nodes, obj) give_grant(m, obj->value);
}

/*
 * Before an entry of our own term is applied, what former terms left may still say that a node is dead, and a
 * log that says so may still win an election against ours.
 */
static bool may_grant(struct member *m)
{
	return kddm_raft_applied(m->raft) > m->lead_index;
}

static void run_round(struct member *m)
{
	uint32_t voters[LEASE_VOTERS_MAX];
	size_t n = list_voters(m, voters);
	uint64_t term = m->keeper.term, round;

	if (!may_grant(m) || !lease_keeper_round(&m->keeper, voters, n, member_lease_ms(m), member_now_ns()))
		return;
	round = m->keeper.round;
	for (size_t i = 0; i < n; i++)
		if (voters[i] != m->self && voters[i] != UINT32_MAX)
			peers_send(m->peers, voters[i], PEER_ROUND, round, &term, sizeof(term));
	member_lead_ack(m, m->self, round, kddm_raft_term(m->raft));
}

void member_lead_renew(struct member *m, uint32_t from, const struct lease_renew *r)
{
	if (!m->leads)
		return;
	m->finds_out[from] = r->flags & LEASE_STORED;
	lease_keeper_renew(&m->keeper, nodes_get(m->nodes, from), r, member_now_ns());
}

static void adjust_lease(struct member *m, const struct node_info *info, uint64_t now_ns)
{
	struct node_info change = *info;
	uint32_t wanted;
	int away;

	if (info->state != NODE_UP)
		return;
	wanted = lease_keeper_wanted(&m->keeper, info, member_lease_ms(m), now_ns);
	away = lease_keeper_away(&m->keeper, info);
	if (away < 0)
		away = !!(info->flags & NODE_AWAY);
	if (wanted == info->lease_ms && away == !!(info->flags & NODE_AWAY))
		return;
	if (now_ns / 1000000 - m->lease_asked_ms < LEASE_RETRY_MS)
		return;
	m->lease_asked_ms = now_ns / 1000000;
	change.lease_ms = wanted;
	change.flags = (info->flags & ~NODE_AWAY) | (away ? NODE_AWAY : 0);
	kddm_submit_node_op(m->kddm, KDDM_OP_NODE_LEASE, &change, NULL, NULL);
}

/* ---- deaths ---- */

static void declare_dead(struct member *m, const struct node_info *info, uint64_t now_ms)
{
	struct node_info dead = *info;

	if (now_ms - m->deaths_asked_ms[info->number] < DEATH_RETRY_MS)
		return;
	m->deaths_asked_ms[info->number] = now_ms;
	log_warn("%s has been silent for its whole lease: declared dead", info->name);
	dead.changed_ms = member_unix_ms();
	lease_keeper_doom(&m->keeper, info); /* a renewal is faster than the log */
	kddm_submit_node_op(m->kddm, KDDM_OP_NODE_DEAD, &dead, NULL, NULL);
}

static void submit_leave(struct member *m, const struct node_info *info, uint64_t now_ms)
{
	struct node_info left = *info;

	if (now_ms - m->deaths_asked_ms[info->number] < DEATH_RETRY_MS)
		return;
	m->deaths_asked_ms[info->number] = now_ms;
	left.changed_ms = member_unix_ms();
	kddm_submit_node_op(m->kddm, KDDM_OP_NODE_LEAVE, &left, NULL, NULL);
}

/*
 * What it owns goes with it at once, so it must have stopped to answer: it said that it has, or its lease is over. Till
 * then it gets no other.
 */
void member_lead_take_out(struct member *m, const struct node_info *info, bool silent)
{
	uint64_t now = member_now_ms();

	m->out_ms[info->number] = now;
	m->out_id[info->number] = info->raft_id;
	if (info->state == NODE_UP)
		lease_keeper_doom(&m->keeper, info);
	if (info->state != NODE_UP || silent)
		submit_leave(m, info, now);
}

static void end_life(struct member *m, const struct node_info *info, uint64_t now_ms)
{
	uint64_t asked = m->out_id[info->number] == info->raft_id ? m->out_ms[info->number] : 0;

	if (asked && now_ms - asked < OUT_MS)
		submit_leave(m, info, now_ms);
	else
		declare_dead(m, info, now_ms);
}

/* A join that never came to an end must not count as a node for ever. */
static void expire_join(struct member *m, const struct node_info *info, uint64_t now_ms)
{
	uint64_t *since = &m->joining_ms[info->number];
	struct node_info left = *info;

	if (m->joining_id[info->number] != info->raft_id) {
		m->joining_id[info->number] = info->raft_id;
		*since = now_ms;
	}
	if (now_ms - *since < JOIN_LIMIT_MS)
		return;
	*since = now_ms;
	log_warn("%s never finished joining: forgotten", info->name);
	left.changed_ms = member_unix_ms();
	kddm_submit_node_op(m->kddm, KDDM_OP_NODE_LEAVE, &left, NULL, NULL);
}

static void look_after_nodes(struct member *m)
{
	uint64_t now = member_now_ns();
	const struct kddm_object *obj;

	lease_keeper_tick(&m->keeper, now);
	/* What former terms left may still lengthen a lease. */
	if (kddm_raft_applied(m->raft) < m->lead_index)
		return;
	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->state == NODE_JOINING)
			expire_join(m, info, now / 1000000);
		if (info->state != NODE_UP || info->number == m->self)
			continue;
		if (lease_keeper_overdue(&m->keeper, info, member_lease_held_ms(m), now))
			end_life(m, info, now / 1000000);
	}
	kddm_for_each(m->nodes, obj) adjust_lease(m, obj->value, now);
}

/* ---- the raft configuration ---- */

static void on_changed(void *arg, int status)
{
	struct member *m = arg;

	m->changing = false;
	if (status && status != -EAGAIN && status != -ESHUTDOWN)
		log_info("change of the voters did not succeed: %s; trying again", strerror(-status));
}

static int raft_role_of(enum member_role role)
{
	return role == MEMBER_VOTER ? RAFT_VOTER : RAFT_STANDBY;
}

static size_t list_servers(struct member *m, struct member_server *out)
{
	const struct raft_configuration *conf = kddm_raft_members(m->raft);
	size_t n = 0;

	for (unsigned int i = 0; i < conf->n && n < NODES_MAX; i++) {
		int role = conf->servers[i].role;

		out[n].raft_id = conf->servers[i].id;
		out[n++].role = role == RAFT_VOTER     ? MEMBER_VOTER
				: role == RAFT_STANDBY ? MEMBER_STANDBY
						       : MEMBER_SPARE;
	}
	return n;
}

static void change_configuration(struct member *m)
{
	struct member_server servers[NODES_MAX];
	struct member_change c;
	size_t n;
	int r = 0;

	/* Before what former terms left is applied, the sets lag behind the servers. */
	if (m->changing || kddm_raft_applied(m->raft) < m->lead_index)
		return;
	n = list_servers(m, servers);
	c = member_next_change(m->nodes, servers, n, m->id.raft_id, member_conf_uint(m, "voters", 3));
	if (c.kind == MEMBER_NO_CHANGE)
		return;
	m->changing = true;
	if (c.kind == MEMBER_ADD)
		r = kddm_raft_add(m->raft, c.raft_id, c.address, on_changed, m);
	else if (c.kind == MEMBER_ASSIGN)
		r = kddm_raft_assign(m->raft, c.raft_id, raft_role_of(c.role), on_changed, m);
	else
		r = kddm_raft_remove(m->raft, c.raft_id, on_changed, m);
	if (r < 0)
		m->changing = false;
}

/* A witness keeps the cluster going while nobody else leads, and no longer. */
static void hand_over(void *arg, int status)
{
	(void)arg;
	(void)status;
}

static void witness_lead(struct member *m)
{
	const struct kddm_object *obj;
	uint64_t now = member_now_ms();
	bool other = false;

	if (!m->id.witness || m->changing || now - m->handed_ms < HAND_OVER_MS)
		return;
	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		other |= info->state == NODE_UP && !(info->flags & (NODE_WITNESS | NODE_AWAY)) &&
			 kddm_raft_role(m->raft, info->raft_id) == RAFT_VOTER &&
			 m->keeper.node[info->number].sent_ns;
	}
	m->handed_ms = now;
	if (other)
		kddm_raft_transfer(m->raft, hand_over, m);
}

/* ---- who waits for our disk ---- */

void member_lead_asked(struct member *m, uint32_t node)
{
	if (!m->finds_out[node] || m->askers[0].node == node || m->askers[1].node == node)
		return;
	m->askers[1] = m->askers[0];
	m->askers[0] = (struct asker){.node = node, .told = kddm_raft_last_index(m->raft)};
}

/* Whoever asked for an entry, and has stored it like us, knows then that it is agreed on. */
void member_lead_stored(struct member *m)
{
	uint64_t term = kddm_raft_term(m->raft), index;

	for (size_t i = 0; i < 2; i++) {
		struct asker *a = &m->askers[i];
		const struct node_info *info = a->node ? nodes_get(m->nodes, a->node) : NULL;

		index = info ? kddm_raft_stored(m->raft, info->raft_id) : 0;
		if (!index || index == a->told)
			continue;
		if (!peers_send(m->peers, a->node, PEER_STORED, index, &term, sizeof(term)))
			kddm_raft_stored_told(m->raft, info->raft_id, index);
		a->told = index;
		if (index == kddm_raft_last_index(m->raft))
			a->node = 0;
	}
}

/* ---- when ---- */

void member_lead_check(struct member *m)
{
	note_leadership(m);
	note_leader(m);
	if (!m->leads)
		return;
	run_round(m);
	kddm_raft_tell(m->raft);
}

/* The first node of all names itself; later ones are named by member_join.c. */
static void name_first_node(struct member *m)
{
	struct node_info info;

	if (kddm_count(m->nodes) || !kddm_idle(m->kddm))
		return;
	member_fill_own(m, &info);
	kddm_submit_node_op(m->kddm, KDDM_OP_NODE_JOIN, &info, NULL, NULL);
}

void member_lead_tick(struct member *m)
{
	if (!m->leads)
		return;
	if (!may_grant(m))
		kddm_raft_kick(m->raft);
	name_first_node(m);
	look_after_nodes(m);
	member_lease_settle(m);
	if (member_recover_settled(m))
		change_configuration(m);
	witness_lead(m);
}
