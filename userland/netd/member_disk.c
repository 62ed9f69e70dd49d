// SPDX-License-Identifier: GPL-2.0
/*
 * When the disk, or what else a start needs, fails this node. Five cases:
 *   the disk cannot be written (full, read-only, errors) at the start: wait and
 *     try again, visible in `netctl status`; nothing is given up
 *   the same while running: netd starts anew and waits as above
 *   the log is damaged, or not all is there that it promised: it is never used
 *     again. The node takes a fresh raft id, as a machine made anew would, and asks
 *     the members it knew (STATE_DIR/peers) to take it back; they remove the old id.
 *     What was left of the log stays in STATE_DIR/raft.damaged until it is back.
 *   the disks of others: what they agree on is not what this node has committed. It ends what it runs and takes no
 *     part any more, nor after a restart: which history is the good one, a person says.
 *   this machine does not have the address under which it is a member: wait and try again
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define RETRY_MS   3000
#define STALLED_MS 2000
#define ASK_MS	   1000
#define REMIND_MS  30000
#define FORGOT_MS  3000 /* longer than a refusal is on its way */
#define TELL_MS	   500

#define LOOK_AT_OTHERS \
	"look at `netctl status` on the other voters, at their disks first; it goes on by itself"

/* ---- what is told ---- */

static void __attribute__((format(printf, 3, 4))) set_failure(struct member *m, const char *remedy,
							      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->disk.failure, sizeof(m->disk.failure), fmt, ap);
	va_end(ap);
	snprintf(m->disk.remedy, sizeof(m->disk.remedy), "%s", remedy);
	log_err("%s; %s", m->disk.failure, m->disk.remedy);
}

const char *member_disk_failure(const struct member *m, const char **remedy)
{
	*remedy = m->disk.remedy;
	return m->disk.failure[0] ? m->disk.failure : NULL;
}

/* ---- back under a fresh id ---- */

static void rejoin_lost(struct member *m)
{
	set_failure(
		m,
		"restore it from a backup, or `netctl leave` and begin anew: what the cluster knew is lost",
		"the log of this node is damaged (%s) and no other node is known that has a copy",
		m->disk.why);
}

static void rejoin(struct member *m)
{
	int r;

	m->disk.rejoining = true;
	set_failure(m, "this takes until the others have given up its old life; see `netctl status` there",
		    "the log of this node is damaged (%s); it asks to be taken back with an empty one",
		    m->disk.why);
	/* What ran under the old log is a life that ends. */
	member_disown(m);
	member_log_set_aside(m);
	r = member_raft_dir(m, true);
	if (!r && !strcmp(m->id.transport, "tipc"))
		transport_tipc_address((uint32_t)(m->id.raft_id & 0x7fffffff), m->id.address);
	if (!r)
		r = member_state_save(m);
	if (!r)
		r = member_run(m, false);
	if (r < 0 && member_disk_failed(m, r) < 0)
		log_err("cannot begin with an empty log: %s", strerror(-r));
}

static void on_asked(void *arg, int status, json_t *reply, int fd)
{
	const char *error = json_string_value(json_object_get(reply, "error"));
	struct member *m = arg;
	uint64_t now = member_now_ms();

	if (fd >= 0)
		close(fd);
	m->disk.asking = false;
	if (!status || !m->disk.rejoining || now - m->disk.reminded_ms < REMIND_MS)
		return;
	m->disk.reminded_ms = now;
	log_warn("not taken back yet: %s", error ? error : strerror(-status));
}

static void ask_to_be_taken(struct member *m, uint64_t now)
{
	const struct member_key_state *known = &m->key_state;
	struct secure_connect c = {.done = on_asked, .arg = m};
	char text[2 * sizeof(struct node_info) + 1];
	struct node_info info;

	if (m->disk.asking || now - m->disk.asked_ms < ASK_MS || !known->n_peers)
		return;
	c.address = known->peers[m->disk.next++ % known->n_peers];
	m->disk.asked_ms = now;
	member_fill_own(m, &info);
	member_hex(&info, sizeof(info), text);
	c.hello = member_make_hello(m, "join");
	json_object_set_new(c.hello, "info", json_string(text));
	m->disk.asking = secure_connect(m->secure, &c);
	json_decref(c.hello);
}

static void rejoin_tick(struct member *m, uint64_t now)
{
	if (m->ready) {
		m->disk.rejoining = false;
		m->disk.failure[0] = 0;
		member_log_forget_aside(m);
		log_notice("taken back by the cluster, with a whole log");
	} else if (m->running && !member_own(m)) {
		ask_to_be_taken(m, now);
	}
}

/* ---- failures ---- */

static bool can_wait(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -EIO || r == -EACCES || r == -EPERM;
}

/* Not there yet, or this machine is a copy. */
static void without_address(struct member *m)
{
	if (!m->disk.failure[0])
		set_failure(m,
			    "give it that address, netd tries again by itself; when it is a copy of that "
			    "machine: "
			    "`netctl leave` here, then `netctl join`",
			    "this machine does not have %s, the address of node %s, which it is", m->id.tcp,
			    m->id.name);
}

static void try_again_later(struct member *m, int r)
{
	const char *text = m->raft ? kddm_raft_failure(m->raft) : NULL;
	char now[sizeof(m->disk.failure)];

	m->disk.retry_ms = member_now_ms() + RETRY_MS;
	if (r == -EADDRNOTAVAIL) {
		without_address(m);
		return;
	}
	snprintf(now, sizeof(now), "the replicated log cannot be written: %s", text ? text : strerror(-r));
	if (strcmp(now, m->disk.failure)) /* once */
		set_failure(m,
			    "free space in /var/lib/netssi or make it writable; netd tries again by itself",
			    "%s", now);
}

static void on_halted(struct member *m)
{
	if (m->stopping)
		return;
	member_rotate_start(m); /* reads whom we knew */
	if (m->disk.damaged && m->key_state.n_peers)
		rejoin(m);
	else if (m->disk.damaged)
		rejoin_lost(m);
}

static int damaged(struct member *m, const char *why)
{
	m->disk.damaged = true;
	snprintf(m->disk.why, sizeof(m->disk.why), "%s", why);
	member_halt(m, on_halted);
	return 0;
}

/* ---- another history ---- */

static void say_diverged(struct member *m)
{
	set_failure(m,
		    "most voters lost what they had acknowledged, see their disks; what only this node knows "
		    "ends "
		    "with `netctl leave` here, then `netctl join`",
		    "this node has another history than the cluster: %s", m->id.diverged);
}

static void end_diverged(struct member *m)
{
	snprintf(m->id.diverged, sizeof(m->id.diverged), "%s", kddm_raft_failure(m->raft));
	say_diverged(m);
	if (member_state_save(m) < 0)
		log_err("%s is not written: a restart will not know of it", m->state_dir);
	member_disown(m);
	m->disk.stalled = m->disk.uncommitted = false;
	member_halt(m, NULL);
}

/* ---- the beginning ---- */

int member_disk_failed(struct member *m, int r)
{
	bool wait = can_wait(r) || r == -EADDRNOTAVAIL;

	if (m->raft && kddm_raft_damaged(m->raft))
		return damaged(m, kddm_raft_failure(m->raft));
	if (!wait)
		return r;
	m->disk.damaged = false;
	try_again_later(m, r);
	member_halt(m, on_halted);
	return 0;
}

int member_disk_boot(struct member *m)
{
	int r;

	m->in_cluster = true;
	if (m->id.diverged[0]) {
		say_diverged(m);
		return 0;
	}
	r = member_raft_dir(m, false);
	if (r == -ENODATA || r == -EILSEQ)
		return damaged(m, "it is gone, or its first files are cut short");
	if (!r)
		r = member_run(m, false);
	if (r < 0)
		return member_disk_failed(m, r);
	/* Killed while it was being taken in: its log is empty, or knows nothing of it yet. */
	m->disk.rejoining = kddm_raft_role(m->raft, m->id.raft_id) < 0;
	return 0;
}

/* ---- a disk that takes nothing ---- */

/* The engine waits for room without a word; the cluster goes on without us. */
static void handed_over(void *arg, int status)
{
	(void)arg;
	(void)status;
}

static bool others_vote(struct member *m)
{
	const struct raft_configuration *conf = kddm_raft_members(m->raft);
	unsigned int n = 0;

	for (unsigned int i = 0; i < conf->n; i++)
		n += conf->servers[i].role == RAFT_VOTER;
	return n > 1;
}

static void look_at_writes(struct member *m, uint64_t now)
{
	uint64_t done;
	bool running = m->running && m->raft, waiting = running && kddm_raft_writes(m->raft, &done);

	/* Nobody asks it any more, since another leads: that is no sign of room. */
	if (running && !waiting && m->disk.stalled && member_disk_full(m))
		return;
	if (!waiting || done + 1 != m->disk.writes) {
		m->disk.writes = waiting ? done + 1 : 0;
		m->disk.progress_ms = now;
		if (m->disk.stalled)
			log_notice("the disk takes the log again");
		if (m->disk.stalled)
			m->disk.failure[0] = 0;
		m->disk.stalled = false;
		return;
	}
	if (m->disk.stalled)
		kddm_raft_kick(m->raft); /* is there room again? */
	if (m->disk.stalled || m->disk.failure[0] || now - m->disk.progress_ms < STALLED_MS)
		return;
	m->disk.stalled = true;
	if (!member_disk_full(m) && kddm_raft_refused(m->raft)) {
		set_failure(m, LOOK_AT_OTHERS,
			    "nothing can be changed: the disks of most voters have no room for the "
			    "replicated log");
		return;
	}
	set_failure(m, "free space in /var/lib/netssi; it goes on by itself",
		    "the disk has not taken the replicated log for %d s%s", STALLED_MS / 1000,
		    member_disk_full(m) ? ": it is full" : "");
	if (m->leads && others_vote(m))
		kddm_raft_transfer(m->raft, handed_over, m);
}

/* We lead, hold a lease, and yet what we wrote is stored by too few. */
static void look_at_commits(struct member *m, uint64_t now)
{
	uint64_t commit = m->running && m->raft && m->leads ? kddm_raft_commit_index(m->raft) : 0;
	bool waiting = commit && commit < kddm_raft_last_index(m->raft) &&
		       lease_holder_valid(&m->holder, member_now_ns());

	if (!waiting || commit != m->disk.commit) {
		m->disk.commit = waiting ? commit : 0;
		m->disk.commit_ms = now;
		if (m->disk.uncommitted)
			log_notice("most voters take the log again");
		if (m->disk.uncommitted)
			m->disk.failure[0] = 0;
		m->disk.uncommitted = false;
		return;
	}
	if (m->disk.failure[0] || now - m->disk.commit_ms < STALLED_MS)
		return;
	m->disk.uncommitted = true;
	set_failure(m, LOOK_AT_OTHERS,
		    "nothing can be changed: most voters have not taken the replicated log for %d s",
		    STALLED_MS / 1000);
}

/* ---- what the disk forgot ---- */

static void on_told(void *arg, int status, json_t *answer)
{
	(void)arg;
	(void)status;
	(void)answer;
}

/*
 * The mark beside the log is written at once, but synced a moment later: when the power and the end of the log go in
 * that moment, nothing here says that entries are missing which were acknowledged. The leader knows, and would wait
 * for them for ever.
 */
void member_disk_tell_forgot(struct member *m, uint64_t raft_id, uint64_t stored)
{
	const struct node_info *info = nodes_by_raft_id(m->nodes, raft_id);
	uint64_t now = member_now_ms();
	json_t *request;

	if (!info || now - m->disk.forgot_told_ms < TELL_MS)
		return;
	m->disk.forgot_told_ms = now;
	request = json_pack("{sI sI sI}", "raft_id", (json_int_t)raft_id, "stored", (json_int_t)stored,
			    "term", (json_int_t)kddm_raft_term(m->raft));
	peer_call(m->peers, info->number, "member.forgot", request, ASK_MS, on_told, m);
	json_decref(request);
}

static void handle_forgot(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	uint64_t stored = (uint64_t)json_integer_value(json_object_get(request, "stored"));
	uint64_t id = (uint64_t)json_integer_value(json_object_get(request, "raft_id"));
	uint64_t term = (uint64_t)json_integer_value(json_object_get(request, "term"));
	struct member *m = arg;

	(void)from; /* before it can apply anything it knows no numbers */
	if (m->raft && id == m->id.raft_id && term == kddm_raft_term(m->raft) &&
	    (stored != m->disk.forgot || term != m->disk.forgot_term)) {
		m->disk.forgot = stored;
		m->disk.forgot_term = term;
		m->disk.forgot_ms = member_now_ms();
	}
	peer_call_answer(call, json_object());
}

void member_disk_handlers(struct member *m)
{
	peer_handle(m->peers, "member.forgot", handle_forgot, m);
}

/* While one leads, a log has all that it acknowledged to that one; the next one may have it cut off. */
static bool has_forgotten(struct member *m, uint64_t now)
{
	uint64_t last = m->running && m->raft ? kddm_raft_last_index(m->raft) : UINT64_MAX;
	char why[120];

	if (!m->disk.forgot || last >= m->disk.forgot || kddm_raft_term(m->raft) != m->disk.forgot_term) {
		m->disk.forgot = 0;
		return false;
	}
	if (now - m->disk.forgot_ms < FORGOT_MS)
		return false;
	snprintf(why, sizeof(why), "entries up to %llu were acknowledged, it ends at %llu",
		 (unsigned long long)m->disk.forgot, (unsigned long long)last);
	m->disk.forgot = 0;
	damaged(m, why);
	return true;
}

/* ---- time ---- */

static void retry(struct member *m)
{
	m->disk.retry_ms = 0;
	if (member_disk_boot(m) < 0)
		m->disk.retry_ms = member_now_ms() + RETRY_MS;
	else if (m->running)
		m->disk.failure[0] = 0;
}

void member_disk_tick(struct member *m)
{
	uint64_t now = member_now_ms();
	const char *text;

	if (m->stopping || !m->in_cluster || m->id.diverged[0])
		return;
	if (m->running && m->raft && kddm_raft_diverged(m->raft)) {
		end_diverged(m);
		return;
	}
	if (m->disk.rejoining)
		rejoin_tick(m, now);
	if (has_forgotten(m, now))
		return;
	look_at_writes(m, now);
	look_at_commits(m, now);
	if (m->disk.retry_ms && now >= m->disk.retry_ms && !m->secure)
		retry(m);
	text = m->running && m->raft ? kddm_raft_failure(m->raft) : NULL;
	if (text && !m->disk.failure[0]) {
		set_failure(m, "netd starts anew; when this comes again, see the disk of /var/lib/netssi",
			    "the replicated log cannot go on: %s", text);
		m->disk.restart_ms = now + RETRY_MS; /* not faster than that, when it comes again */
	}
	if (m->disk.restart_ms && now >= m->disk.restart_ms && m->params.events->restart)
		m->params.events->restart(m->params.arg);
}
