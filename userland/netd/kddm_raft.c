// SPDX-License-Identifier: GPL-2.0
/*
 * Glue to the C raft library; see kddm_raft.h. What to know about it:
 * buffers it takes over come from raft_malloc() and are multiples of 8 bytes;
 * apply() is not told the index (it is last_applied + 1); "leadership lost"
 * means "outcome unknown"; requests must live until their callback.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_history.h"
#include "kddm_log.h"
#include "kddm_message.h"
#include "kddm_raft.h"
#include "kddm_tell.h"
#include "userland/lib/log.h"

#define SNAPSHOT_THRESHOLD	4096
#define SNAPSHOT_TRAILING	1024
#define SNAPSHOT_TRAILING_LARGE 16
#define SNAPSHOT_BYTES		(16u << 20) /* a log of large entries gets one earlier */
#define DISK_RETRY_MS		1000
#define INSTALL_SNAPSHOT_MS	10000
#define SAY_AGAIN_MS		30 /* well below a heartbeat */

struct kddm_raft {
	struct raft raft;
	struct kddm_log log;
	/* raft's own, behind ours */
	int (*io_start)(struct raft_io *io, unsigned int msecs, raft_io_tick_cb tick, raft_io_recv_cb recv);
	raft_io_tick_cb tick;
	raft_io_recv_cb recv;
	struct kddm_tell tell;
	struct { /* the last result that was sent */
		uint64_t to, at_ms;
		struct raft_append_entries_result result;
	} said;
	struct { /* who was last seen to lead */
		raft_term term;
		raft_id by;
		uint64_t heard_ms;
	} led;
	struct { /* what a leader has on its disk, as it says */
		raft_id id;
		raft_term term;
		raft_index index;
	} lead_stored;
	bool told;  /* the message that is being looked at has no entries */
	bool leads; /* and in a term of its own */
	struct raft_fsm fsm;
	struct raft_tracer tracer;
	const struct kddm_raft_events *events;
	void *arg;
	bool opened, failed, kicking, changing, large;
	bool diverged;		 /* nothing more is heard or said: who has another history is no peer */
	uint64_t snapshot_bytes; /* of the last one */
	char failure[300];
	void (*closed)(void *arg);
	void *closed_arg;
};

struct proposal {
	struct raft_apply req;
	struct kddm_raft *kr;
};

struct change {
	struct raft_change req;
	struct kddm_raft *kr;
	kddm_raft_done_fn *done;
	void *arg;
};

struct transfer {
	struct raft_transfer req;
	struct kddm_raft *kr;
	kddm_raft_done_fn *done;
	void *arg;
};

static int to_errno(int rv)
{
	switch (rv) {
	case 0:
		return 0;
	case RAFT_NOMEM:
		return -ENOMEM;
	case RAFT_NOTLEADER:
	case RAFT_LEADERSHIPLOST:
		return -EAGAIN;
	case RAFT_CANTCHANGE:
	case RAFT_BUSY:
		return -EBUSY;
	case RAFT_NOSPACE:
		return -ENOSPC;
	case RAFT_CORRUPT:
	case RAFT_MALFORMED:
		return -EILSEQ;
	case RAFT_SHUTDOWN:
	case RAFT_CANCELED:
		return -ESHUTDOWN;
	case RAFT_NOTFOUND:
	case RAFT_BADID:
		return -ENOENT;
	default:
		return -EIO;
	}
}

static void __attribute__((format(printf, 2, 3))) fail(struct kddm_raft *kr, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(kr->failure, sizeof(kr->failure), fmt, ap);
	va_end(ap);
	kr->failed = true;
	log_err("the replicated log cannot go on: %s", kr->failure);
}

/* ---- the state machine's side ---- */

/* The disk holds the log since the last snapshot, and as many bytes as that has. */
static void limit_log(struct kddm_raft *kr)
{
	uint64_t limit = SNAPSHOT_BYTES > 2 * kr->snapshot_bytes ? SNAPSHOT_BYTES : 2 * kr->snapshot_bytes;
	bool large = kr->log.bytes > limit;

	if (large == kr->large)
		return;
	kr->large = large;
	raft_set_snapshot_threshold(&kr->raft, large ? 1 : SNAPSHOT_THRESHOLD);
	raft_set_snapshot_trailing(&kr->raft, large ? SNAPSHOT_TRAILING_LARGE : SNAPSHOT_TRAILING);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct kddm_raft *kr = fsm->data;
	uint64_t index = raft_last_applied(&kr->raft) + 1;
	int r = kr->events->apply(kr->arg, index, buf->base, buf->len);

	*result = NULL;
	limit_log(kr);
	if (r == 0)
		return 0;
	fail(kr, "entry %llu cannot be applied (%s); is this netd older than the cluster's?",
	     (unsigned long long)index, strerror(-r));
	return RAFT_MALFORMED;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned int *n_bufs)
{
	struct kddm_raft *kr = fsm->data;
	struct kddm_buf out = {0};

	*bufs = raft_malloc(sizeof(**bufs));
	if (!*bufs)
		return RAFT_NOMEM;
	kr->events->snapshot(kr->arg, &out);
	kr->snapshot_bytes = out.len;
	kr->log.bytes = 0;
	(*bufs)[0].base = raft_malloc(out.len);
	(*bufs)[0].len = out.len;
	*n_bufs = 1;
	if (!(*bufs)[0].base) {
		raft_free(*bufs);
		kddm_buf_free(&out);
		return RAFT_NOMEM;
	}
	memcpy((*bufs)[0].base, out.data, out.len);
	kddm_buf_free(&out);
	return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct kddm_raft *kr = fsm->data;
	int r = kr->events->restore(kr->arg, buf->base, buf->len);

	if (r < 0) {
		fail(kr, "a snapshot cannot be read: %s", strerror(-r));
		kr->log.damaged = true;
		return RAFT_CORRUPT;
	}
	raft_free(buf->base);
	return 0;
}

static void trace(struct raft_tracer *t, int type, const void *data)
{
	const struct raft_tracer_info *info = data;

	(void)t;
	if (type != RAFT_TRACER_DIAGNOSTIC || info->diagnostic.level > 2)
		return;
	log_line(info->diagnostic.level == 1 ? LOG_ERR : LOG_WARNING, "raft: %s", info->diagnostic.message);
}

/* ---- who knows of which commit ---- */

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

/* After all that may have made us leader. */
static int watch_state(struct kddm_raft *kr)
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
		fail(kr, "entry %llu, which this node knows as agreed on, is another one at %s, which leads",
		     (unsigned long long)index, m->server_address);
	else if (two_lead(kr, m))
		fail(kr, "%s leads in term %llu, in which another one led", m->server_address,
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
	watch_state(kr);
}

static void on_tick(struct raft_io *io)
{
	struct kddm_raft *kr = raft_of(io);

	if (kr->diverged)
		return;
	kr->tick(io);
	watch_state(kr);
}

static int on_start(struct raft_io *io, unsigned int msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	struct kddm_raft *kr = raft_of(io);

	kr->tick = tick;
	kr->recv = recv;
	return kr->io_start(io, msecs, on_tick, on_recv);
}

static void watch_io(struct kddm_raft *kr)
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

/* ---- life ---- */

static void on_log_closed(void *arg)
{
	struct kddm_raft *kr = arg;

	if (kr->closed)
		kr->closed(kr->closed_arg);
	free(kr);
}

static void on_closed(struct raft *raft)
{
	struct kddm_raft *kr = raft->data;

	kddm_log_close(&kr->log, on_log_closed, kr);
}

void kddm_raft_stop(struct kddm_raft *kr, void (*closed)(void *arg), void *arg)
{
	kr->closed = closed;
	kr->closed_arg = arg;
	if (kr->opened)
		raft_close(&kr->raft, on_closed);
	else if (kr->log.mark)
		kddm_log_close(&kr->log, on_log_closed, kr);
	else
		on_log_closed(kr);
}

/* An empty log, or one whose voters are lost, becomes a cluster of this node alone. */
static int begin_alone(struct kddm_raft *kr, const struct kddm_raft_config *c)
{
	struct raft_configuration conf;
	int rv;

	raft_configuration_init(&conf);
	rv = raft_configuration_add(&conf, c->id, c->address, RAFT_VOTER);
	if (!rv)
		rv = c->recover ? raft_recover(&kr->raft, &conf) : raft_bootstrap(&kr->raft, &conf);
	raft_configuration_close(&conf);
	return rv;
}

static int configure_and_start(struct kddm_raft *kr, const struct kddm_raft_config *c, bool bootstrap)
{
	int rv;

	kr->raft.data = kr;
	watch_io(kr);
	kr->raft.tracer = &kr->tracer;
	raft_uv_set_segment_size(&kr->log.io, KDDM_SEGMENT_BYTES);
	raft_uv_set_disk_retry(&kr->log.io, DISK_RETRY_MS);
	raft_uv_set_auto_recovery(&kr->log.io, false); /* it throws away what it cannot read */
	raft_uv_set_tracer(&kr->log.io, &kr->tracer);
	raft_set_election_timeout(&kr->raft, c->election_ms);
	raft_set_heartbeat_timeout(&kr->raft, c->heartbeat_ms);
	raft_set_install_snapshot_timeout(&kr->raft, INSTALL_SNAPSHOT_MS);
	raft_set_snapshot_threshold(&kr->raft, SNAPSHOT_THRESHOLD);
	raft_set_snapshot_trailing(&kr->raft, SNAPSHOT_TRAILING);
	raft_set_pre_vote(&kr->raft, true);
	rv = bootstrap || c->recover ? begin_alone(kr, c) : 0;
	if (!rv)
		rv = raft_start(&kr->raft);
	return rv ? rv : watch_state(kr);
}

/* What is wrong with the files themselves does not go away by waiting. */
static int start_failed(struct kddm_raft *kr, const struct kddm_raft_config *c, int rv, const char *text)
{
	if (rv == RAFT_CORRUPT || rv == RAFT_MALFORMED)
		kr->log.damaged = true;
	snprintf(kr->failure, sizeof(kr->failure), "%s: %s", c->dir,
		 text && text[0] ? text : raft_strerror(rv));
	kr->failed = true;
	log_err("cannot start from the log in %s", kr->failure);
	return kr->log.damaged ? -EILSEQ : to_errno(rv);
}

int kddm_raft_start(const struct kddm_raft_config *c, bool bootstrap, struct kddm_raft **out)
{
	struct kddm_raft *kr = calloc(1, sizeof(*kr));
	int rv;

	if (!kr)
		return -ENOMEM;
	*out = kr;
	kr->events = c->events;
	kr->arg = c->arg;
	kr->tracer = (struct raft_tracer){.impl = kr, .version = 2, .emit = trace};
	kr->fsm = (struct raft_fsm){.version = 1,
				    .data = kr,
				    .apply = fsm_apply,
				    .snapshot = fsm_snapshot,
				    .restore = fsm_restore};
	rv = kddm_log_open(&kr->log, c->loop, c->dir);
	if (rv)
		return start_failed(kr, c, rv, kr->log.io.errmsg);
	rv = raft_init(&kr->raft, &kr->log.io, &kr->fsm, c->id, c->address);
	if (rv)
		return start_failed(kr, c, rv, raft_errmsg(&kr->raft));
	kr->opened = true;
	rv = configure_and_start(kr, c, bootstrap);
	return rv ? start_failed(kr, c, rv, raft_errmsg(&kr->raft)) : 0;
}

/* ---- what it knows ---- */

bool kddm_raft_leads(struct kddm_raft *kr)
{
	return kr->leads && raft_state(&kr->raft) == RAFT_LEADER;
}

uint64_t kddm_raft_leader(struct kddm_raft *kr)
{
	const char *address;
	raft_id id = 0;

	raft_leader(&kr->raft, &id, &address);
	return id;
}

uint64_t kddm_raft_term(struct kddm_raft *kr)
{
	return raft_current_term(&kr->raft);
}

uint64_t kddm_raft_last_index(struct kddm_raft *kr)
{
	return raft_last_index(&kr->raft);
}

uint64_t kddm_raft_last_term(const struct kddm_raft *kr)
{
	return kr->log.last_term;
}

uint64_t kddm_raft_commit_index(struct kddm_raft *kr)
{
	return raft_commit_index(&kr->raft);
}

uint64_t kddm_raft_applied(struct kddm_raft *kr)
{
	return raft_last_applied(&kr->raft);
}

const struct raft_configuration *kddm_raft_members(struct kddm_raft *kr)
{
	return &kr->raft.configuration;
}

int kddm_raft_role(struct kddm_raft *kr, uint64_t id)
{
	const struct raft_configuration *conf = &kr->raft.configuration;

	for (unsigned int i = 0; i < conf->n; i++)
		if (conf->servers[i].id == id)
			return conf->servers[i].role;
	return -1;
}

const char *kddm_raft_failure(struct kddm_raft *kr)
{
	if (kr->failed)
		return kr->failure;
	return raft_state(&kr->raft) == RAFT_UNAVAILABLE ? raft_errmsg(&kr->raft) : NULL;
}

bool kddm_raft_damaged(const struct kddm_raft *kr)
{
	return kr->log.damaged;
}

bool kddm_raft_diverged(const struct kddm_raft *kr)
{
	return kr->diverged;
}

bool kddm_raft_writes(const struct kddm_raft *kr, uint64_t *done)
{
	*done = kr->log.done;
	return kr->log.appends || kr->log.refused;
}

bool kddm_raft_refused(const struct kddm_raft *kr)
{
	return kr->log.refused;
}

/* ---- writing ---- */

static void on_proposed(struct raft_apply *req, int status, void *result)
{
	struct proposal *p = req->data;

	(void)result;
	if (status && status != RAFT_LEADERSHIPLOST && status != RAFT_SHUTDOWN)
		log_warn("raft: %s", raft_strerror(status));
	p->kr->events->proposed(p->kr->arg);
	free(p);
}

int kddm_raft_propose(struct kddm_raft *kr, const void *data, size_t len)
{
	struct raft_buffer buf = {.base = raft_malloc(len), .len = len};
	struct proposal *p = calloc(1, sizeof(*p));
	int rv;

	if (!buf.base || !p)
		abort();
	memcpy(buf.base, data, len);
	p->kr = kr;
	p->req.data = p;
	rv = raft_apply(&kr->raft, &p->req, &buf, 1, on_proposed);
	kr->log.refused = rv == RAFT_NOSPACE;
	if (rv) {
		raft_free(buf.base);
		free(p);
	}
	return to_errno(rv);
}

static void on_kicked(struct raft_barrier *req, int status)
{
	struct kddm_raft *kr = req->data;

	(void)status;
	kr->kicking = false;
	free(req);
}

bool kddm_raft_kick(struct kddm_raft *kr)
{
	struct raft_barrier *req;
	int rv;

	if (kr->kicking || !kddm_raft_leads(kr))
		return false;
	req = calloc(1, sizeof(*req));
	if (!req)
		return false;
	req->data = kr;
	kr->kicking = true;
	rv = raft_barrier(&kr->raft, req, on_kicked);
	kr->log.refused = rv == RAFT_NOSPACE;
	if (rv) {
		kr->kicking = false;
		free(req);
	}
	return kr->kicking;
}

/* ---- members ---- */

static void on_changed(struct raft_change *req, int status)
{
	struct change *c = req->data;

	c->kr->changing = false;
	c->done(c->arg, to_errno(status));
	free(c);
}

/*
 * After restarts the engine may go on to believe that a configuration is under
 * way which it has committed and applied long ago, and refuses all others for
 * ever. It uses that configuration already; only its note is wrong.
 */
static void settle_configuration(struct kddm_raft *kr)
{
	struct raft *r = &kr->raft;
	struct raft_configuration copy;

	if (!r->configuration_uncommitted_index || r->last_applied < r->configuration_uncommitted_index)
		return;
	raft_configuration_init(&copy);
	for (unsigned int i = 0; i < r->configuration.n; i++)
		if (raft_configuration_add(&copy, r->configuration.servers[i].id,
					   r->configuration.servers[i].address,
					   r->configuration.servers[i].role)) {
			raft_configuration_close(&copy);
			return;
		}
	raft_configuration_close(&r->configuration_committed);
	r->configuration_committed = copy;
	r->configuration_committed_index = r->configuration_uncommitted_index;
	r->configuration_uncommitted_index = 0;
}

static struct change *change_new(struct kddm_raft *kr, kddm_raft_done_fn *done, void *arg)
{
	struct change *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->req.data = c;
	c->kr = kr;
	c->done = done;
	c->arg = arg;
	return c;
}

static int change_begun(struct change *c, int rv)
{
	c->kr->changing = !rv;
	if (rv)
		free(c);
	return to_errno(rv);
}

int kddm_raft_add(struct kddm_raft *kr, uint64_t id, const char *address, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	settle_configuration(kr);
	c = change_new(kr, done, arg);
	return change_begun(c, raft_add(&kr->raft, &c->req, id, address, on_changed));
}

int kddm_raft_assign(struct kddm_raft *kr, uint64_t id, int role, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	settle_configuration(kr);
	c = change_new(kr, done, arg);
	return change_begun(c, raft_assign(&kr->raft, &c->req, id, role, on_changed));
}

int kddm_raft_remove(struct kddm_raft *kr, uint64_t id, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	settle_configuration(kr);
	c = change_new(kr, done, arg);
	return change_begun(c, raft_remove(&kr->raft, &c->req, id, on_changed));
}

static void on_transferred(struct raft_transfer *req)
{
	struct transfer *t = req->data;

	t->done(t->arg, kddm_raft_leads(t->kr) ? -EBUSY : 0);
	free(t);
}

int kddm_raft_transfer(struct kddm_raft *kr, kddm_raft_done_fn *done, void *arg)
{
	struct transfer *t = calloc(1, sizeof(*t));
	int rv;

	if (!t)
		abort();
	t->req.data = t;
	t->kr = kr;
	t->done = done;
	t->arg = arg;
	rv = raft_transfer(&kr->raft, &t->req, 0, on_transferred);
	if (rv)
		free(t);
	return to_errno(rv);
}
