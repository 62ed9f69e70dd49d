/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The consensus engine (C raft on libuv) behind a small face: what the rest of
 * netd sees of it. Log and snapshots lie in `dir`. One thread, the loop's.
 */
#ifndef SSI_KDDM_RAFT_H
#define SSI_KDDM_RAFT_H

#include <raft.h>
#include <raft/uv.h>
#include <stdbool.h>
#include <stdint.h>

#include "kddm_op.h"

struct kddm_raft;

struct kddm_raft_events {
	int (*apply)(void *arg, uint64_t index, const void *data, size_t len);
	int (*restore)(void *arg, const void *data, size_t len);
	void (*snapshot)(void *arg, struct kddm_buf *out);
	void (*proposed)(void *arg); /* the fate of one kddm_raft_propose() is known */
	/* Leader: a server refuses what follows entry `stored`, which it had acknowledged. Comes again while that
	 * lasts; once, it may be old news. */
	void (*forgot)(void *arg, uint64_t id, uint64_t stored);
	/* To m->server_id at m->server_address; all of it is copied or sent when this
	 * returns. It may be lost. */
	void (*send)(void *arg, const struct raft_message *m);
};

#define KDDM_SEGMENT_BYTES (4u << 20) /* the files of the log */

struct kddm_raft_config {
	uv_loop_t *loop;
	const char *dir;
	uint64_t id;
	const char *address;
	unsigned int heartbeat_ms, election_ms;
	bool recover; /* the log's voters are lost: begin again as the only one */
	const struct kddm_raft_events *events;
	void *arg;
};

/* 0 or negative errno, with the reason logged: -EILSEQ when the log is damaged
 * and must not be used again. With `bootstrap` an empty log becomes a cluster of
 * this node alone. What stands in *out after a failure (NULL at first) can only
 * be asked for it and stopped. */
int kddm_raft_start(const struct kddm_raft_config *c, bool bootstrap, struct kddm_raft **out);
/* `closed` is called when everything is released; nothing is sent from now on, nothing may be received. */
void kddm_raft_stop(struct kddm_raft *kr, void (*closed)(void *arg), void *arg);

bool kddm_raft_leads(struct kddm_raft *kr);
uint64_t kddm_raft_leader(struct kddm_raft *kr); /* raft id or 0 */
uint64_t kddm_raft_term(struct kddm_raft *kr);
uint64_t kddm_raft_last_index(struct kddm_raft *kr);
/* Of the last entry: of two logs the one with the later term has more of what was agreed on, however long they are. */
uint64_t kddm_raft_last_term(const struct kddm_raft *kr);
uint64_t kddm_raft_commit_index(struct kddm_raft *kr);
uint64_t kddm_raft_applied(struct kddm_raft *kr);
/* RAFT_VOTER, RAFT_STANDBY, RAFT_SPARE or -1 when not in the configuration. */
int kddm_raft_role(struct kddm_raft *kr, uint64_t id);
const struct raft_configuration *kddm_raft_members(struct kddm_raft *kr);
/* The engine gave up (disk, corrupt log): the text, or NULL. */
const char *kddm_raft_failure(struct kddm_raft *kr);
/* Are there writes that the disk has not taken yet? In *done how many it took. */
bool kddm_raft_writes(const struct kddm_raft *kr, uint64_t *done);
/* The engine took the last write not even into its log: too few voters have said that they have room. */
bool kddm_raft_refused(const struct kddm_raft *kr);
/* The engine gave up: its log must not be used again. */
bool kddm_raft_damaged(const struct kddm_raft *kr);
/* The engine stands still: a leader's log contradicts what this node has committed (kddm_history.h). */
bool kddm_raft_diverged(const struct kddm_raft *kr);

/* From m->server_id at m->server_address; what the message holds is the engine's. */
void kddm_raft_receive(struct kddm_raft *kr, struct raft_message *m);
int kddm_raft_propose(struct kddm_raft *kr, const void *data, size_t len);
/* The leader, each time round the loop: followers learn of commits at once. */
void kddm_raft_tell(struct kddm_raft *kr);
/*
 * Of three voters, or two, the leader and one more are a majority. So a follower that knows what the leader has on its disk,
 * and has it on its own, knows that it is agreed on before the leader does: it needs not wait for its answer to get there
 * and for the leader's to come back.
 */
/* The leader: the last entry of its own term on its own disk, for server `id`; 0: there is none, or the two are not enough. */
uint64_t kddm_raft_stored(const struct kddm_raft *kr, uint64_t id);
/* That was told it: it is told nothing else about these entries. */
void kddm_raft_stored_told(struct kddm_raft *kr, uint64_t id, uint64_t index);
/* A follower: server `id` leads in `term` and has stored all up to `index`. */
void kddm_raft_leader_stored(struct kddm_raft *kr, uint64_t id, uint64_t term, uint64_t index);
/* Each time round the loop: apply what this node knows to be agreed on. */
void kddm_raft_settle(struct kddm_raft *kr);
/* Commit what former terms left. False: it is under way already. */
bool kddm_raft_kick(struct kddm_raft *kr);

/* One change at a time: -EBUSY. `done` gets 0 or a negative errno. */
typedef void kddm_raft_done_fn(void *arg, int status);
int kddm_raft_add(struct kddm_raft *kr, uint64_t id, const char *address, kddm_raft_done_fn *done, void *arg);
int kddm_raft_assign(struct kddm_raft *kr, uint64_t id, int role, kddm_raft_done_fn *done, void *arg);
int kddm_raft_remove(struct kddm_raft *kr, uint64_t id, kddm_raft_done_fn *done, void *arg);
/* Let another voter lead; `done` in any case. */
int kddm_raft_transfer(struct kddm_raft *kr, kddm_raft_done_fn *done, void *arg);

#endif
