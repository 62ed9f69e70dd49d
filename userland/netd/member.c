// SPDX-License-Identifier: GPL-2.0
/*
 * Membership of this node; see member.h and member_int.h. This file: starting
 * and stopping the engine, the hooks into the loop, and what this node makes of
 * its own entry in the set `nodes`: come up, hold the lease, be fenced.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define STOP_PATIENCE_MS 3000
#define STOP_TOGETHER_MS 300
#define STOP_ORPHAN_MS	 200
#define STALL_MS	 500
#define CATCH_UP_MS	 15000
#define BEHIND_MS	 500

/* ---- what the request core needs ---- */

static uint64_t env_now(void *arg)
{
	(void)arg;
	return member_now_ms();
}

static uint32_t env_leader(void *arg)
{
	struct member *m = arg;

	if (!m->raft)
		return 0;
	if (kddm_raft_leads(m->raft))
		return m->leads ? m->named : 0;
	return m->leader == m->self ? 0 : m->leader;
}

static bool env_quorum(void *arg)
{
	struct member *m = arg;

	return lease_holder_valid(&m->holder, member_now_ns());
}

static int env_forward(void *arg, uint32_t leader, const void *entry, size_t len)
{
	struct member *m = arg;

	return peers_send(m->peers, leader, PEER_KDDM_REQUESTS, 0, entry, len);
}

static int env_propose(void *arg, const void *entry, size_t len)
{
	struct member *m = arg;

	return m->raft ? kddm_raft_propose(m->raft, entry, len) : -ENOTCONN;
}

static int env_ask_applied(void *arg, uint32_t node, uint64_t index, uint64_t id)
{
	struct member *m = arg;

	return peers_send(m->peers, node, PEER_ASK_APPLIED, id, &index, sizeof(index));
}

static int env_tell_applied(void *arg, uint32_t node, uint64_t id)
{
	struct member *m = arg;

	return peers_send(m->peers, node, PEER_TELL_APPLIED, id, NULL, 0);
}

static const struct kddm_env env = {
	.now_ms = env_now,
	.leader = env_leader,
	.has_quorum = env_quorum,
	.forward = env_forward,
	.propose = env_propose,
	.ask_applied = env_ask_applied,
	.tell_applied = env_tell_applied,
};

/* ---- what the log brings ---- */

static int on_apply(void *arg, uint64_t index, const void *data, size_t len)
{
	struct member *m = arg;

	return kddm_apply(m->kddm, index, data, len);
}

static int on_restore(void *arg, const void *data, size_t len)
{
	struct member *m = arg;

	return kddm_restore(m->kddm, data, len);
}

static void on_snapshot(void *arg, struct kddm_buf *out)
{
	struct member *m = arg;

	kddm_fsm_snapshot(kddm_fsm_of(m->kddm), out);
}

static void on_proposed(void *arg)
{
	struct member *m = arg;

	kddm_proposed(m->kddm);
}

static void on_send(void *arg, const struct raft_message *message)
{
	struct member *m = arg;

	if (m->raft)
		member_raft_send(m, message);
}

static void on_forgot(void *arg, uint64_t id, uint64_t stored)
{
	member_disk_tell_forgot(arg, id, stored);
}

static const struct kddm_raft_events raft_events = {
	.forgot = on_forgot,
	.apply = on_apply,
	.restore = on_restore,
	.snapshot = on_snapshot,
	.proposed = on_proposed,
	.send = on_send,
};

/* ---- what peers say ---- */

static const char *peer_address(void *arg, uint32_t node)
{
	struct member *m = arg;
	const struct node_info *info = nodes_get(m->nodes, node);

	return info && info->state != NODE_LEFT ? info->address : NULL;
}

static void answer_round(struct member *m, uint32_t from, uint64_t round)
{
	uint64_t term = kddm_raft_term(m->raft);

	peers_send(m->peers, from, PEER_ROUND_ACK, round, &term, sizeof(term));
}

static void heard_stored(struct member *m, uint32_t from, uint64_t term, uint64_t index)
{
	const struct node_info *info = nodes_get(m->nodes, from);

	if (info)
		kddm_raft_leader_stored(m->raft, info->raft_id, term, index);
}

static void on_message(void *arg, uint32_t from, uint8_t type, uint64_t id, const void *data, size_t len)
{
	struct member *m = arg;
	const uint64_t *word = len == sizeof(uint64_t) ? data : NULL;

	if (!m->raft)
		return;
	if (type == PEER_KDDM_REQUESTS) {
		member_raft_prefer(m, from);
		member_lead_asked(m, from);
		if (m->leads && kddm_receive(m->kddm, from, data, len) < 0)
			peers_complain(m->peers, from,
				       "sends requests that cannot be read; same version there?");
	} else if (type == PEER_ASK_APPLIED && word) {
		kddm_asked_applied(m->kddm, from, *word, id);
	} else if (type == PEER_STORED && word) {
		heard_stored(m, from, *word, id);
	} else if (type == PEER_TELL_APPLIED) {
		kddm_told_applied(m->kddm, from, id);
	} else if (type == PEER_LEASE_RENEW && len == sizeof(struct lease_renew)) {
		member_lead_renew(m, from, data);
	} else if (type == PEER_LEASE_GRANT && len == sizeof(struct lease_grant)) {
		member_take_grant(m, data);
	} else if (type == PEER_ROUND && word) {
		answer_round(m, from, id);
	} else if (type == PEER_ROUND_ACK && word) {
		member_lead_ack(m, from, id, *word);
	}
}

static void on_link(void *arg, uint32_t node, bool up)
{
	struct member *m = arg;

	if (up && node == m->leader)
		kddm_resend(m->kddm);
}

static void on_refused(void *arg, uint32_t node, json_t *reply)
{
	(void)node;
	if (json_integer_value(json_object_get(reply, "code")) == 4)
		member_leave_told(arg);
	member_refused(arg, reply);
}

/* ---- this node's own life ---- */

const struct node_info *member_own(struct member *m)
{
	return m->id.raft_id ? nodes_by_raft_id(m->nodes, m->id.raft_id) : NULL;
}

/* Until the data path is known, it is what it was when this netd began. */
static uint8_t own_flags(struct member *m)
{
	const struct node_info *own = member_own(m);
	bool serves = m->serving < 0 ? own && (own->flags & NODE_SERVES) : m->serving;

	serves &= !m->behind;
	return (m->id.witness ? NODE_WITNESS : 0) | (serves ? NODE_SERVES : 0);
}

void member_set_serving(struct member *m, bool serving)
{
	m->serving = serving;
}

void member_fill_own(struct member *m, struct node_info *info)
{
	char host[64];

	memset(info, 0, sizeof(*info));
	info->number = m->self;
	info->raft_id = m->id.raft_id;
	info->incarnation = m->incarnation;
	info->joined_ms = info->changed_ms = member_unix_ms();
	snprintf(info->name, sizeof(info->name), "%s", m->id.name);
	snprintf(info->address, sizeof(info->address), "%s", m->id.address);
	memcpy(info->mac, m->mac, sizeof(info->mac));
	info->flags = own_flags(m);
	snprintf(host, sizeof(host), "%s", m->id.tcp[0] == '[' ? m->id.tcp + 1 : m->id.tcp);
	if (m->id.tcp[0] == '[') {
		host[strcspn(host, "]")] = 0;
		inet_pton(AF_INET6, host, info->ipv6);
	} else {
		host[strcspn(host, ":")] = 0;
		inet_pton(AF_INET, host, &info->ipv4);
	}
}

static void set_status(struct member *m, enum member_status status)
{
	if (status == m->status)
		return;
	if (status == MEMBER_FENCED)
		log_err("no lease: this node is cut off or the cluster has no quorum; it serves "
			"nothing until that ends");
	else if (m->status == MEMBER_FENCED && status == MEMBER_LIVE)
		log_notice("the lease is back");
	m->status = status;
	if (m->params.events->status)
		m->params.events->status(m->params.arg, status);
}

/* What the lease and the sets make of this node now. */
enum member_status member_status_due(const struct member *m)
{
	bool valid = lease_holder_valid(&m->holder, member_now_ns());

	if (!m->in_cluster)
		return MEMBER_IDLE;
	if (m->leaving_ms || (!valid && member_leave_asked(m)))
		return MEMBER_JOINING; /* no lease is what it asked for: not a node that is cut off */
	if (m->ready && valid)
		return MEMBER_LIVE;
	if (m->ready || m->status == MEMBER_FENCED || m->status == MEMBER_LIVE)
		return MEMBER_FENCED;
	return MEMBER_JOINING;
}

static void update_status(struct member *m)
{
	set_status(m, member_status_due(m));
}

/*
 * A log that lost entries which it had acknowledged is not filled up again by
 * the engine. The node serves nothing, which is safe; a person must help.
 */
static void note_slow_start(struct member *m)
{
	uint64_t now = member_now_ms();

	if (m->ready || !m->has_grant) {
		m->waiting_ms = 0;
		return;
	}
	if (!m->waiting_ms)
		m->waiting_ms = now;
	if (now - m->waiting_ms < CATCH_UP_MS)
		return;
	m->waiting_ms = now;
	log_err("still at entry %llu, the cluster was at %llu when this node came up; if this does not move, "
		"its "
		"log is damaged: stop netd, remove %s/raft and %s/identity, and join again",
		(unsigned long long)kddm_fsm_of(m->kddm)->index, (unsigned long long)m->ready_index,
		m->state_dir, m->state_dir);
}

/* The first grant of a life says how far the cluster is; when we have applied
 * as much the sets are its present. */
static void look_whether_ready(struct member *m)
{
	if (m->ready || !m->has_grant || kddm_fsm_of(m->kddm)->index < m->ready_index)
		return;
	m->ready = true;
	m->params.events->ready(m->params.arg);
	m->params.events->lease(m->params.arg, m->holder.expiry_ns);
	update_status(m);
	log_notice("%s is a live member (node %u)", m->id.name, m->self);
}

/*
 * A node that does not apply what is committed must not be home for ports: it would refuse clients of ports that
 * others have claimed since. The engine does not say how far the cluster is before our disk has it; grants do.
 */
static void look_whether_behind(struct member *m)
{
	uint64_t applied = kddm_fsm_of(m->kddm)->index, owed = m->owed_index;
	bool behind;

	if (applied >= owed)
		m->owed_index = 0;
	behind = m->ready && m->owed_index && member_now_ms() - m->owed_ms >= BEHIND_MS;
	if (behind == m->behind)
		return;
	m->behind = behind;
	if (behind)
		log_err("this node is behind: the cluster was at entry %llu, it is at %llu; others answer "
			"for ports "
			"that nobody has",
			(unsigned long long)owed, (unsigned long long)applied);
	else
		log_notice("this node has caught up with the cluster");
	if (m->params.events->behind)
		m->params.events->behind(m->params.arg, behind);
}

static void note_owed(struct member *m, const struct lease_grant *g)
{
	if (m->owed_index || g->applied <= kddm_fsm_of(m->kddm)->index)
		return;
	m->owed_index = g->applied;
	m->owed_ms = member_now_ms();
}

void member_take_grant(struct member *m, const struct lease_grant *g)
{
	note_owed(m, g);
	if (g->sent_ns <= m->silent_ns || !lease_holder_granted(&m->holder, g))
		return;
	if (!m->has_grant) {
		m->has_grant = true;
		m->ready_index = g->applied;
	}
	if (m->ready)
		m->params.events->lease(m->params.arg, m->holder.expiry_ns);
	update_status(m);
}

static void new_life(struct member *m, bool next)
{
	m->incarnation = member_incarnation(m, next);
	lease_holder_init(&m->holder, m->incarnation);
	m->ready = m->has_grant = false;
	m->up_asked_ms = 0;
}

/* Declared dead while alive: nothing of that life may go on. */
static void be_fenced(struct member *m)
{
	log_err("%s was declared dead; giving up what it held and coming back as a new life", m->id.name);
	kddm_identify(m->kddm, 0, 0);
	m->named = KDDM_LEADER_UNNUMBERED;
	m->params.events->lease(m->params.arg, 0);
	m->params.events->fenced(m->params.arg);
	new_life(m, true);
	update_status(m);
}

static void on_up_answer(void *arg, int status, json_t *answer)
{
	struct member *m = arg;
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (status || !error || !strcmp(error, m->up_refused))
		return;
	snprintf(m->up_refused, sizeof(m->up_refused), "%s", error);
	log_warn("the leader does not let us come up: %s", error);
}

static void ask_to_come_up(struct member *m)
{
	uint64_t now = member_now_ms();
	struct node_info info;
	char text[2 * sizeof(info) + 1];
	json_t *request;

	if (now - m->up_asked_ms < MEMBER_UP_RETRY_MS)
		return;
	member_fill_own(m, &info);
	if (m->leads) {
		m->up_asked_ms = now;
		kddm_submit_node_op(m->kddm, KDDM_OP_NODE_UP, &info, NULL, NULL);
	} else if (m->leader) {
		m->up_asked_ms = now;
		member_hex(&info, sizeof(info), text);
		request = json_pack("{ss}", "info", text);
		peer_call(m->peers, m->leader, "member.up", request, 2000, on_up_answer, m);
		json_decref(request);
	}
}

/* It asks again until it has applied the answer itself. */
static bool is_up_so(struct member *m, const struct node_info *info)
{
	const struct node_info *known = nodes_get(m->nodes, info->number);

	return known && known->state == NODE_UP && known->incarnation == info->incarnation &&
	       known->raft_id == info->raft_id && known->ipv4 == info->ipv4 &&
	       !((known->flags ^ info->flags) & NODE_SERVES) &&
	       !memcmp(known->mac, info->mac, sizeof(known->mac)) &&
	       !memcmp(known->ipv6, info->ipv6, sizeof(known->ipv6));
}

static void handle_up(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	const char *text = json_string_value(json_object_get(request, "info"));
	struct member *m = arg;
	struct node_info info;

	if (!m->leads || !text || strlen(text) != 2 * sizeof(info) ||
	    member_unhex(text, &info, sizeof(info)) < 0 || info.number != from) {
		peer_call_answer(call, json_pack("{ss si ss}", "error", "not the leader", "code", 1, "remedy",
						 "it is asked again"));
		return;
	}
	info.changed_ms = member_unix_ms();
	if (!is_up_so(m, &info))
		kddm_submit_node_op(m->kddm, KDDM_OP_NODE_UP, &info, NULL, NULL);
	peer_call_answer(call, json_object());
}

static void renew_lease(struct member *m)
{
	uint64_t now = member_now_ns();
	struct lease_renew r;

	if (!lease_holder_due(&m->holder, now, member_lease_ms(m)) || (!m->leads && !m->leader))
		return;
	r = lease_holder_renew(&m->holder, now);
	r.applied = kddm_fsm_of(m->kddm)->index;
	r.term = kddm_raft_term(m->raft);
	r.flags = LEASE_STORED | (m->ready && (m->serving > 0 || m->id.witness) ? LEASE_SETTLED : 0);
	if (m->leads)
		member_lead_renew(m, m->self, &r);
	else if (peers_send(m->peers, m->leader, PEER_LEASE_RENEW, 0, &r, sizeof(r)) < 0)
		m->holder.sent_ns = 0;
}

static void look_after_self(struct member *m)
{
	const struct node_info *own = member_own(m);

	if (!own)
		return;
	if (own->number != m->self) {
		m->self = own->number;
		peers_identify(m->peers, m->self);
	}
	if (own->state == NODE_LEFT) {
		member_leave_progress(m);
		return;
	}
	if (own->state == NODE_DEAD && own->incarnation == m->incarnation) {
		be_fenced(m);
		return;
	}
	if (own->state != NODE_UP || own->incarnation != m->incarnation) {
		if (!member_leave_asked(m))
			ask_to_come_up(m);
		return;
	}
	m->named = m->self;
	m->up_refused[0] = 0;
	kddm_identify(m->kddm, m->self, m->incarnation);
	if (member_leave_asked(m))
		member_leave_silence(m);
	else
		renew_lease(m);
	look_whether_ready(m);
	if (m->ready && m->serving >= 0 && ((own_flags(m) ^ own->flags) & NODE_SERVES))
		ask_to_come_up(m); /* says so */
}

/* ---- the loop ---- */

static void on_prepare(uv_prepare_t *h)
{
	struct member *m = h->data;

	if (m->raft)
		kddm_raft_settle(m->raft);
	kddm_reap(m->kddm);
	if (m->raft)
		kddm_flush(m->kddm);
	if (m->raft && m->leads)
		member_lead_stored(m);
	member_raft_flush(m);
	peers_flush(m->peers);
}

/* Not from within the linker: closing links ends calls. */
static void drop_links(struct member *m)
{
	m->drops = false;
	for (uint32_t i = 1; i <= NODES_MAX; i++) {
		if (m->drop[i])
			peers_drop(m->peers, i);
		m->drop[i] = false;
	}
}

static void on_check(uv_check_t *h)
{
	struct member *m = h->data;

	if (m->drops)
		drop_links(m);

	if (m->raft) {
		member_lead_check(m);
		look_whether_ready(m);
	}
	kddm_reap(m->kddm);
}

static void stop_tick(struct member *m);

/* Who does not run cannot renew: say so before somebody wonders about a lost lease. */
static void note_stall(struct member *m)
{
	uint64_t now = member_now_ms(), gap = now - m->ticked_ms;

	if (m->raft && m->ticked_ms && gap > STALL_MS)
		log_warn("netd did not get to run for %llu ms", (unsigned long long)gap);
	m->ticked_ms = now;
}

static void on_tick(uv_timer_t *t)
{
	struct member *m = t->data;

	note_stall(m);
	peers_tick(m->peers);
	member_raft_tick(m);
	if (m->raft) {
		kddm_tick(m->kddm);
		look_after_self(m);
	}
	if (m->raft)
		member_lead_tick(m);
	note_slow_start(m);
	member_rotate_tick(m);
	update_status(m);
	member_job_tick(m);
	member_generation_tick(m);
	member_twin_tick(m);
	member_disk_tick(m);
	look_whether_behind(m);
	if (m->stopping)
		stop_tick(m);
}

/* Nodes that are declared dead or left are not talked to any more. */
static void nodes_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	const struct node_info *was = old->value, *is = obj->value;
	struct member *m = arg;

	if (is->flags & ~was->flags & NODE_AWAY) {
		m->away_ms = member_now_ms();
		if (is->number == m->self)
			m->holder.sent_ns = 0; /* the longer lease may be had now */
	}
	if (was->state == is->state && was->incarnation == is->incarnation)
		return;
	/* Before we are ready this is the past. */
	log_line(m->ready ? LOG_NOTICE : LOG_DEBUG, "node %s is %s%s", is->name, nodes_state_name(is->state),
		 is->state == NODE_UP && was->state == NODE_UP ? " (again)" : "");
	if (is->state == NODE_DEAD && is->number != m->self)
		m->drop[is->number] = m->drops = true;
}

static void nodes_insert(void *arg, const struct kddm_object *obj)
{
	const struct node_info *info = obj->value;
	struct member *m = arg;

	log_line(m->ready ? LOG_NOTICE : LOG_DEBUG, "node %s joins as number %u", info->name, info->number);
}

static const struct kddm_linker nodes_linker = {
	.insert = nodes_insert,
	.update = nodes_update,
};

/* ---- start and stop ---- */

static int start_listening(struct member *m)
{
	int r = secure_listen(m->secure, m->id.tcp, &m->listen_tcp);

	if (r < 0) {
		log_err("cannot listen on %s: %s", m->id.tcp, strerror(-r));
		return r;
	}
	if (!strcmp(m->id.tcp, m->id.address))
		return 0;
	r = secure_listen(m->secure, m->id.address, &m->listen_transport);
	if (r < 0)
		log_err("cannot listen on %s: %s", m->id.address, strerror(-r));
	return r;
}

static int start_raft(struct member *m, bool bootstrap)
{
	char dir[256];
	struct kddm_raft_config c = {
		.loop = m->params.loop,
		.dir = dir,
		.id = m->id.raft_id,
		.address = m->id.address,
		.heartbeat_ms = MEMBER_HEARTBEAT_MS,
		.election_ms = m->params.election_ms ? m->params.election_ms : MEMBER_ELECTION_MS,
		.recover = m->id.recover,
		.events = &raft_events,
		.arg = m,
	};

	snprintf(dir, sizeof(dir), "%s/raft", m->state_dir);
	return kddm_raft_start(&c, bootstrap, &m->raft);
}

static void start_hooks(struct member *m)
{
	uv_timer_start(&m->tick, on_tick, MEMBER_TICK_MS, MEMBER_TICK_MS);
	uv_prepare_start(&m->prepare, on_prepare);
	uv_check_start(&m->check, on_check);
}

static int start_bearer(struct member *m)
{
	const struct bearer_params p = {.loop = m->params.loop,
					.interface = m->id.bearer,
					.run_dir = m->run_dir,
					.secret = m->insecure ? NULL : m->keys.key};

	return strcmp(m->id.transport, "tipc") ? 0 : bearer_start(&p, &m->bearer);
}

int member_run(struct member *m, bool bootstrap)
{
	struct secure_params sp = {.loop = m->params.loop,
				   .insecure = m->insecure,
				   .identity = member_identity,
				   .find_key = member_find_key,
				   .hello = member_hello,
				   .arg = m};
	int r = start_bearer(m);

	if (r < 0)
		return r;
	r = secure_new(&sp, &m->secure);
	if (r < 0) {
		bearer_stop(m->bearer, true);
		m->bearer = NULL;
		return r;
	}
	m->in_cluster = m->running = true;
	member_rotate_start(m);
	member_suspect_start(m);
	m->named = KDDM_LEADER_UNNUMBERED;
	m->self = 0;
	peers_start(m->peers, m->secure);
	kddm_start(m->kddm);
	new_life(m, false);
	r = start_listening(m);
	if (!r)
		r = start_raft(m, bootstrap);
	if (!r && m->id.recover) {
		m->recovered = true;
		m->id.recover = false;
		r = member_state_save(m);
	}
	update_status(m);
	return r;
}

static void on_secure_closed(void *arg)
{
	struct member *m = arg;

	m->secure = NULL;
	m->listen_tcp = m->listen_transport = NULL;
	if (m->halted)
		m->halted(m);
}

static void on_raft_closed(void *arg)
{
	struct member *m = arg;

	m->raft = NULL;
	if (m->secure)
		secure_close(m->secure, on_secure_closed, m);
	else
		on_secure_closed(m);
}

void member_halt(struct member *m, void (*halted)(struct member *m))
{
	struct kddm_raft *raft = m->raft;

	m->running = false;
	member_rotate_stop(m);
	member_suspect_stop(m);
	member_twin_forget(m);
	m->halted = halted;
	m->leads = false;
	m->leader = 0;
	m->leader_id = 0;
	m->changing = false;
	lease_keeper_resigned(&m->keeper);
	kddm_identify(m->kddm, 0, 0);
	kddm_reap(m->kddm);
	peers_stop(m->peers);
	member_raft_stop(m);
	m->raft = NULL;
	if (raft)
		kddm_raft_stop(raft, on_raft_closed, m);
	else
		on_raft_closed(m);
}

static void after_leaving(struct member *m)
{
	/* A leader that remembers this life by its last renewal must not take the next one for overdue. */
	member_incarnation(m, true);
	bearer_stop(m->bearer, true);
	m->bearer = NULL;
	member_state_wipe(m);
	m->in_cluster = false;
	m->self = 0;
	memset(&m->id, 0, sizeof(m->id));
	m->ready = m->has_grant = false;
	m->leaving_ms = 0;
	memset(&m->disk, 0, sizeof(m->disk));
	memset(&m->twin, 0, sizeof(m->twin));
	kddm_forget(m->kddm);
	update_status(m);
	log_notice("%s; netd is idle",
		   member_job_undone(m) ? "the attempt was undone" : "this machine has left the cluster");
	member_job_left(m);
}

void member_disown(struct member *m)
{
	member_incarnation(m, true);
	m->ready = m->has_grant = false;
	m->holder.expiry_ns = 0;
	m->params.events->lease(m->params.arg, 0);
	m->params.events->fenced(m->params.arg);
}

void member_leave_now(struct member *m)
{
	if (m->in_cluster && !m->running && !m->secure && !m->stopping)
		after_leaving(m); /* it took no part */
	if (!m->running || m->stopping)
		return;
	m->params.events->lease(m->params.arg, 0);
	m->holder.expiry_ns = 0;
	member_halt(m, after_leaving);
}

int member_new(const struct member_params *p, struct member **out)
{
	struct member *m = calloc(1, sizeof(*m));
	const struct peers_params pp = {.loop = p->loop,
					.address = peer_address,
					.hello = member_make_hello,
					.message = on_message,
					.link = on_link,
					.refused = on_refused,
					.arg = m};
	int r;

	if (!m)
		return -ENOMEM;
	m->params = *p;
	if (getrandom(&m->instance, sizeof(m->instance), 0) != sizeof(m->instance))
		return -EIO;
	m->insecure = p->insecure;
	m->serving = -1;
	snprintf(m->state_dir, sizeof(m->state_dir), "%s", p->state_dir);
	snprintf(m->keys.path, sizeof(m->keys.path), "%s", p->key_path);
	snprintf(m->keys.state_dir, sizeof(m->keys.state_dir), "%s", p->state_dir);
	snprintf(m->run_dir, sizeof(m->run_dir), "%s", p->run_dir);
	m->kddm = kddm_new(&env, m);
	m->nodes = kddm_nodes(m->kddm);
	kddm_set_register(m->kddm, &member_conf_type, &m->conf);
	r = peers_new(&pp, &m->peers);
	if (r < 0)
		return r;
	kddm_link(m->nodes, &nodes_linker, m);
	peer_handle(m->peers, "member.up", handle_up, m);
	member_join_handlers(m);
	member_leave_handlers(m);
	member_recover_handlers(m);
	member_disk_handlers(m);
	member_rotate_new(m);
	uv_timer_init(p->loop, &m->tick);
	uv_prepare_init(p->loop, &m->prepare);
	uv_check_init(p->loop, &m->check);
	m->tick.data = m->prepare.data = m->check.data = m;
	start_hooks(m);
	*out = m;
	return 0;
}

void member_free(struct member *m)
{
	if (!m)
		return;
	kddm_free(m->kddm);
	peers_free(m->peers);
	free(m->job);
	free(m);
}

struct kddm *member_kddm(struct member *m)
{
	return m->kddm;
}

struct peers *member_peers(struct member *m)
{
	return m->peers;
}

int member_boot(struct member *m)
{
	int r = member_state_load(m);

	if (r <= 0)
		return r;
	if (m->insecure && !m->params.insecure) {
		log_err("this cluster was made with --insecure; start netd with --insecure or leave it");
		return -EPERM;
	}
	r = member_key_load(m);
	if (r < 0 || (!r && !m->insecure)) {
		log_err("the cluster's key %s is missing; copy it from another node", m->keys.path);
		return r < 0 ? r : -ENOKEY;
	}
	if (m->id.rejoin[0])
		return 0; /* member_generation_tick() */
	return member_disk_boot(m);
}

void member_set_link(struct member *m, const uint8_t mac[6])
{
	if (m->has_mac && !memcmp(m->mac, mac, sizeof(m->mac)))
		return;
	memcpy(m->mac, mac, sizeof(m->mac));
	m->has_mac = true;
}

/* ---- the end of this netd ---- */

enum stop_step { STOP_HOLD, STOP_TRANSFER, STOP_HALT };

static void on_hook_closed(uv_handle_t *h)
{
	struct member *m = h->data;

	if (--m->hooks == 0 && m->stopped)
		m->stopped(m->stopped_arg);
}

static void close_hooks(struct member *m)
{
	m->hooks = 3;
	uv_close((uv_handle_t *)&m->tick, on_hook_closed);
	uv_close((uv_handle_t *)&m->prepare, on_hook_closed);
	uv_close((uv_handle_t *)&m->check, on_hook_closed);
}

static void on_transferred(void *arg, int status)
{
	(void)arg;
	(void)status;
}

/* Ours is granted, and whoever stops at the same time has had the time to get one. */
static bool hold_is_granted(struct member *m, uint64_t now)
{
	return m->holder.lease_ms >= m->stop_hold_ms && now - m->away_ms > STOP_TOGETHER_MS;
}

/* Nobody is left who could grant it: the sooner we are back, the better. */
static bool hold_is_hopeless(struct member *m, uint64_t now)
{
	if (m->leads || m->leader)
		m->orphan_ms = 0;
	else if (!m->orphan_ms)
		m->orphan_ms = now;
	return m->orphan_ms && now - m->orphan_ms > STOP_ORPHAN_MS;
}

static long long own_lease_left_ms(const struct member *m)
{
	return ((long long)m->holder.expiry_ns - (long long)member_now_ns()) / 1000000;
}

/* Get the long lease, hand leadership on, go. Each step has its end by time. */
static void stop_tick(struct member *m)
{
	uint64_t now = member_now_ms();

	if (m->stop_step == STOP_HOLD &&
	    (hold_is_granted(m, now) || hold_is_hopeless(m, now) || now >= m->stop_deadline_ms)) {
		log_info("the lease runs for %lld ms", own_lease_left_ms(m));
		m->stop_step = STOP_TRANSFER;
		m->stop_deadline_ms = now + STOP_PATIENCE_MS / 3;
		if (m->raft && m->leads)
			kddm_raft_transfer(m->raft, on_transferred, m);
	}
	if (m->stop_step == STOP_TRANSFER &&
	    (!m->leads || kddm_count(m->nodes) < 2 || now >= m->stop_deadline_ms)) {
		m->stop_step = STOP_HALT;
		member_halt(m, close_hooks);
	}
}

void member_stop(struct member *m, bool planned, unsigned int hold_ms, void (*stopped)(void *arg), void *arg)
{
	m->stopped = stopped;
	m->stopped_arg = arg;
	m->stopping = true;
	m->stop_deadline_ms = member_now_ms() + STOP_PATIENCE_MS;
	if (!m->running) {
		close_hooks(m);
		return;
	}
	if (!planned || m->status != MEMBER_LIVE) {
		m->stop_step = STOP_HALT;
		member_halt(m, close_hooks);
		return;
	}
	m->stop_hold_ms = hold_ms;
	m->holder.want_ms = hold_ms;
	m->holder.sent_ns = 0;
}
