/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The engine's disk I/O, with the mark (kddm_mark.h) held against
 * it: a log that lost what it had promised is refused with RAFT_CORRUPT instead
 * of being taken for a shorter one. One thread, the loop's.
 */
#ifndef SSI_KDDM_LOG_H
#define SSI_KDDM_LOG_H

#include <raft.h>
#include <raft/uv.h>
#include <stdbool.h>

#include "kddm_mark.h"

struct kddm_log_append;

struct kddm_log {
	struct raft_io io;		    /* for raft_init() */
	struct raft_io uv;		    /* its functions, as libraft made them */
	struct raft_uv_transport transport; /* none: messages do not go through libraft */
	struct kddm_mark *mark;
	struct kddm_log_append *appends; /* under way */
	char dir[256];
	raft_term term;
	raft_index last; /* of the entries given to the disk */
	raft_term last_term;
	struct { /* on the disk, the last entry that went there; 0: not known */
		raft_index index;
		raft_term term;
	} stored;
	uint64_t done;	/* how many writes */
	uint64_t bytes; /* given to the disk since the last snapshot */
	bool refused;	/* the last write was not even begun */
	bool damaged;	/* this log must not be used again */
};

/* 0, or RAFT_* with the reason in log->io.errmsg. */
int kddm_log_open(struct kddm_log *log, uv_loop_t *loop, const char *dir);
/* After raft_close(). */
void kddm_log_close(struct kddm_log *log, void (*closed)(void *arg), void *arg);

#endif
