/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What this node's log has promised to others, kept beside it in DIR/mark: how
 * far it acknowledged entries, and its term and vote. The engine takes the end
 * of a damaged log for a write that was cut short, and begins anew where a file
 * of its is missing; a voter that comes back so could undo what the cluster had
 * agreed on. Whoever opens a log compares it with the mark first.
 *
 * Term and vote are on disk before the promise is given. The index is written
 * before each acknowledgement and reaches the disk a moment later: exact when
 * netd was killed, at most KDDM_MARK_SYNC_MS old after a power cut. (What lies
 * within that moment cannot be told from a write that was cut short.)
 * Two slots in turns, each with a checksum in a disk sector of its own: one of
 * them is always whole. One thread; the disk is waited for elsewhere.
 */
#ifndef SSI_KDDM_MARK_H
#define SSI_KDDM_MARK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define KDDM_MARK_SYNC_MS 100

struct kddm_mark;

/* 0; -ENODATA: there is none, or none that can be read; -errno. With `fresh`
 * an empty one is made where none is. */
int kddm_mark_open(uv_loop_t *loop, const char *dir, bool fresh, struct kddm_mark **out);
/* Synced and let go; `closed` (may be NULL) when the loop is free of it. */
void kddm_mark_close(struct kddm_mark *m, void (*closed)(void *arg), void *arg);

uint64_t kddm_mark_index(const struct kddm_mark *m);
/* Can a whole log say this? The last promise may have been made and not kept. */
bool kddm_mark_agrees(struct kddm_mark *m, uint64_t term, uint64_t vote);

/* Entries up to `index` are on disk and will be acknowledged. */
int kddm_mark_acked(struct kddm_mark *m, uint64_t index);
/* Entries from `index` on will be cut off, because the leader has others. */
int kddm_mark_cut(struct kddm_mark *m, uint64_t index);
/* About to become the engine's term and vote; on disk when this returns 0. */
int kddm_mark_vote(struct kddm_mark *m, uint64_t term, uint64_t vote);
/* ... and now they are. */
void kddm_mark_voted(struct kddm_mark *m);

#endif
