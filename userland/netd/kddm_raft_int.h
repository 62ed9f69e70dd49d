/* SPDX-License-Identifier: GPL-2.0 */
/* What kddm_raft*.c share. Loop thread. */
#ifndef SSI_KDDM_RAFT_INT_H
#define SSI_KDDM_RAFT_INT_H

#include "kddm_log.h"
#include "kddm_raft.h"
#include "kddm_tell.h"

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

/* A number of the library's as -errno. */
int kddm_raft_errno(int rv);
/* It cannot go on: kddm_raft_failure() and the log say why. */
__attribute__((format(printf, 2, 3))) void kddm_raft_fail(struct kddm_raft *kr, const char *fmt, ...);

/* kddm_raft_io.c: puts itself between the engine and its network, before the start. */
void kddm_raft_watch_io(struct kddm_raft *kr);
/* After all that may have made us leader. 0, or a number of the library's. */
int kddm_raft_watch(struct kddm_raft *kr);

#endif
