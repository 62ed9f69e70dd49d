// SPDX-License-Identifier: GPL-2.0
/*
 * What the engine hears and says, looked at on the way: where two leaders or two histories meet, who is told of which
 * commit and when, and what three voters know to be agreed on before the leader says so.
 */
#include <stdlib.h>

#include "kddm_history.h"
#include "kddm_message.h"
#include "kddm_raft_int.h"
#include "userland/lib/log.h"

#define SAY_AGAIN_MS 30 /* well below a heartbeat */

static struct kddm_raft *raft_of(struct raft_io *io)
{
	struct raft *r = io->data;

	return r->data;
}

static void note_term(struct kddm_raft *kr)
{
	bool leads = kr->leads && raft_state(&kr->raft) == RAFT_LEADER;

	kddm_tell_term(&kr->tell, leads ? raft_current_term(&kr->raft) : 0, raft_last_index(&kr->raft));
}

static bool votes_alone(const struct kddm_raft *kr)
{
	const struct raft_configuration *conf = &kr->raft.configuration;
	unsigned int voters = 0;

	for (unsigned int i = 0; i < conf->n; i++)
		voters += conf->servers[i].role == RAFT_VOTER;
	return voters == 1;
}

/*
 * The engine lets an only voter lead without an election, in the term that it led in before. What it had sent to
 * standbys then, but not stored itself, would get a second entry of the same index and term, and nobody
 * would notice. So it begins a term. Nothing was appended since it leads.
 */
static int begin_term(struct kddm_raft *kr)
{
	raft_term term = kr->raft.current_term + 1;
	int rv = kr->log.io.set_term(&kr->log.io, term);

	if (!rv)
		rv = kr->log.io.set_vote(&kr->log.io, kr->raft.id);
	if (rv) {
		log_err("cannot begin a term: %s", raft_strerror(rv));
		return rv;
	}
	kr->raft.current_term = term;
	kr->raft.voted_for = kr->raft.id;
	return 0;
}

int kddm_raft_watch(struct kddm_raft *kr)
{
	bool leads = raft_state(&kr->raft) == RAFT_LEADER;
	int rv = leads && !kr->leads && votes_alone(kr) ? begin_term(kr) : 0;

	kr->leads = leads && !rv;
	if (kr->leads) {
		kr->led.term = kr->raft.current_term;
		kr->led.by = kr->raft.id;
	}
	return rv;
}

/*
 * Who was only told of a commit has nothing new to say of its log. The leader takes results for a sign of life, too:
 * one every now and then is enough.
 */
static bool is_old_news(struct kddm_raft *kr, const struct raft_message *m)
{
	const struct raft_append_entries_result *is = &m->append_entries_result, *was = &kr->said.result;
	uint64_t now = kr->log.io.time(&kr->log.io);

	if (kr->told && m->server_id == kr->said.to && now - kr->said.at_ms < SAY_AGAIN_MS && !is->rejected &&
	    !was->rejected && is->term == was->term && is->last_log_index == was->last_log_index &&
	    is->capacity == was->capacity)
		return true;
	kr->said.to = m->server_id;
	kr->said.at_ms = now;
	kr->said.result = *is;
	return false;
}

/*
 * The engine answers a question before an election in the term of the question, though its own may be higher. Who has
 * the longer log and an old term would never learn of the new one: it is refused for ever, and it alone could be
 * elected.
 */
static struct raft_message with_own_term(struct kddm_raft *kr, const struct raft_message *m)
{
	struct raft_message copy = *m;
	struct raft_request_vote_result *v = &copy.request_vote_result;

	if (m->type == RAFT_REQUEST_VOTE_RESULT && v->pre_vote && !v->vote_granted &&
	    v->term < raft_current_term(&kr->raft))
		v->term = raft_current_term(&kr->raft);
	return copy;
}

static void send_message(struct kddm_raft *kr, const struct raft_message *m)
{
	const struct raft_append_entries *a = &m->append_entries;
	struct raft_message own;

	note_term(kr);
	if (m->type == RAFT_APPEND_ENTRIES_RESULT && is_old_news(kr, m))
		return;
	if (m->type == RAFT_APPEND_ENTRIES)
		kddm_tell_sent(&kr->tell, m->server_id, a->prev_log_index, a->n_entries, a->leader_commit);
	own = with_own_term(kr, m);
	kr->events->send(kr->arg, &own);
}

/* Nothing is kept of the message: the engine has it back at once. */
static int on_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
		   raft_io_send_cb cb)
{
	send_message(raft_of(io), m);
	if (cb)
		cb(req, 0);
	return 0;
}

static struct raft_server *own_server(struct kddm_raft *kr)
{
	struct raft_configuration *conf = &kr->raft.configuration;

	for (unsigned int i = 0; i < conf->n; i++)
		if (conf->servers[i].id == kr->raft.id)
			return &conf->servers[i];
	return NULL;
}

/*
 * Who has a leader does not vote. The engine lets go of a silent one when it stands for election itself, and a standby,
 * or who waits for its disk, never does.
 */
static void let_go_of_leader(struct kddm_raft *kr)
{
	struct raft *r = &kr->raft;

	if (r->state != RAFT_FOLLOWER || !r->follower_state.current_leader.id ||
	    kr->log.io.time(&kr->log.io) - kr->led.heard_ms < 2 * r->election_timeout)
		return;
	raft_free(r->follower_state.current_leader.address);
	r->follower_state.current_leader.address = NULL;
	r->follower_state.current_leader.id = 0;
}

/*
 * Whether we vote is for the candidate's configuration to say, not for ours: a
 * standby that was just made a voter may not know it yet, and a leader that
 * went down in that moment could never be elected again. The engine does not
 * answer then, so it is told otherwise while it looks at the question. One vote
 * a term, on disk, as ever; who does not count us does not count it.
 */
static void recv_question(struct kddm_raft *kr, struct raft_io *io, struct raft_message *m)
{
	struct raft_server *own = own_server(kr);
	int role = own ? own->role : RAFT_VOTER;

	let_go_of_leader(kr);
	if (own)
		own->role = RAFT_VOTER;
	kr->recv(io, m);
	own = own_server(kr);
	if (own)
		own->role = role;
}

static raft_term leaders_term(const struct raft_message *m)
{
	return m->type == RAFT_APPEND_ENTRIES	  ? m->append_entries.term
	       : m->type == RAFT_INSTALL_SNAPSHOT ? m->install_snapshot.term
						  : 0;
}

/* Voters that have forgotten their votes elect a second one in the same term: entries of both would look alike. */
static bool two_lead(struct kddm_raft *kr, const struct raft_message *m)
{
	raft_term term = leaders_term(m);

	if (term > kr->led.term) {
		kr->led.term = term;
		kr->led.by = m->server_id;
	}
	return term && term == kr->led.term && m->server_id != kr->led.by;
}

static bool diverges(struct kddm_raft *kr, const struct raft_message *m)
{
	raft_index index;

	if (kr->diverged)
		return true;
	index = kddm_history_conflict(&kr->raft, m);
	if (index)
		kddm_raft_fail(
			kr,
			"entry %llu, which this node knows as agreed on, is another one at %s, which leads",
			(unsigned long long)index, m->server_address);
	else if (two_lead(kr, m))
		kddm_raft_fail(kr, "%s leads in term %llu, in which another one led", m->server_address,
			       (unsigned long long)kr->led.term);
	else
		return false;
	kr->diverged = true;
	return true;
}

static void on_recv(struct raft_io *io, struct raft_message *m)
{
	const struct raft_append_entries_result *a = &m->append_entries_result;
	struct kddm_raft *kr = raft_of(io);

	if (diverges(kr, m)) {
		kddm_message_clear(m);
		return;
	}
	note_term(kr);
	if (leaders_term(m) && leaders_term(m) >= raft_current_term(&kr->raft))
		kr->led.heard_ms = kr->log.io.time(io);
	if (m->type == RAFT_APPEND_ENTRIES_RESULT &&
	    !kddm_tell_stored(&kr->tell, m->server_id, a->term, a->rejected, a->last_log_index)) {
		if (a->last_log_index < a->rejected)
			kr->events->forgot(kr->arg, m->server_id, a->rejected);
		return;
	}
	kr->told = m->type == RAFT_APPEND_ENTRIES && !m->append_entries.n_entries;
	if (m->type == RAFT_REQUEST_VOTE)
		recv_question(kr, io, m);
	else
		kr->recv(io, m);
	kr->told = false;
	kddm_raft_watch(kr);
}

static void on_tick(struct raft_io *io)
{
	struct kddm_raft *kr = raft_of(io);

	if (kr->diverged)
		return;
	kr->tick(io);
	kddm_raft_watch(kr);
}

static int on_start(struct raft_io *io, unsigned int msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct kddm_raft *kr = raft_of(io);

	kr->tick = tick;
	kr->recv = recv;
	return kr->io_start(io, msecs, on_tick, on_recv);
}

void kddm_raft_watch_io(struct kddm_raft *kr)
{
	kr->io_start = kr->log.io.start;
	kr->log.io.send = on_send;
	kr->log.io.start = on_start;
}

void kddm_raft_receive(struct kddm_raft *kr, struct raft_message *m)
{
	if (kr->recv)
		on_recv(&kr->log.io, m);
	else
		kddm_message_clear(m); /* it did not start */
}

/*
 * Not a word of what is committed above `index`: the engine commits up to what the leader says as far as its
 * log goes, and what it has above may be of another leader.
 */
static void tell(struct kddm_raft *kr, const struct raft_server *server, uint64_t index)
{
	struct raft_message m = {
		.type = RAFT_APPEND_ENTRIES, .server_id = server->id, .server_address = server->address};

	m.append_entries = (struct raft_append_entries){.term = kr->tell.term,
							.prev_log_index = index,
							.prev_log_term = kr->tell.term,
							.leader_commit = index};
	send_message(kr, &m);
}

void kddm_raft_tell(struct kddm_raft *kr)
{
	const struct raft_configuration *conf = &kr->raft.configuration;
	uint64_t index;

	note_term(kr);
	for (unsigned int i = 0; i < conf->n; i++)
		if (conf->servers[i].id != kr->raft.id &&
		    kddm_tell_due(&kr->tell, conf->servers[i].id, raft_commit_index(&kr->raft), &index))
			tell(kr, &conf->servers[i], index);
}

/* ---- agreed on, as a follower knows it ---- */

void kddm_raft_leader_stored(struct kddm_raft *kr, uint64_t id, uint64_t term, uint64_t index)
{
	if (kr->diverged || term != kr->raft.current_term)
		return; /* an old one, or the first of a new leader */
	kr->lead_stored.id = id;
	kr->lead_stored.term = term;
	kr->lead_stored.index = index;
}

/*
 * By the newest configuration that this log has. One that the leader has beyond it does no harm: who is elected by that has
 * it in its log, and with it all before it.
 */
static bool two_are_enough(const struct raft *r, raft_id other)
{
	const struct raft_configuration *conf = &r->configuration;
	unsigned int voters = 0, both = 0;

	for (unsigned int i = 0; i < conf->n; i++) {
		const struct raft_server *s = &conf->servers[i];

		voters += s->role == RAFT_VOTER;
		both += s->role == RAFT_VOTER && (s->id == other || s->id == r->id);
	}
	return !r->configuration_uncommitted_index && both == 2 && voters <= 3;
}

uint64_t kddm_raft_stored(const struct kddm_raft *kr, uint64_t id)
{
	const struct raft *r = &kr->raft;

	if (r->state != RAFT_LEADER || kr->log.stored.term != r->current_term || !two_are_enough(r, id))
		return 0;
	return kr->log.stored.index;
}

void kddm_raft_stored_told(struct kddm_raft *kr, uint64_t id, uint64_t index)
{
	note_term(kr);
	kddm_tell_finds_out(&kr->tell, id, index);
}

/*
 * An entry of the term that goes on, on the disks of a majority. Where ours ends in that term, it is the leader's log up to
 * there. The engine hears it as it hears of all commits.
 */
void kddm_raft_settle(struct kddm_raft *kr)
{
	struct raft *r = &kr->raft;
	raft_index ours = kr->log.stored.index, theirs = kr->lead_stored.index;
	raft_index index = ours < theirs ? ours : theirs;
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = kr->lead_stored.id};

	if (!kr->recv || kr->diverged || r->state != RAFT_FOLLOWER || index <= r->commit_index ||
	    index <= r->last_applied || kr->lead_stored.term != r->current_term ||
	    kr->log.stored.term != r->current_term ||
	    r->follower_state.current_leader.id != kr->lead_stored.id ||
	    !two_are_enough(r, kr->lead_stored.id))
		return;
	m.server_address = r->follower_state.current_leader.address;
	m.append_entries = (struct raft_append_entries){.term = r->current_term,
							.prev_log_index = index,
							.prev_log_term = r->current_term,
							.leader_commit = index};
	kr->told = true;
	kr->recv(&kr->log.io, &m);
	kr->told = false;
}
