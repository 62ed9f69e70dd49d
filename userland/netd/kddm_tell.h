/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A follower learns that an entry is committed from the next message of the
 * leader, and of that only what it had stored when the message came. This
 * keeps account of who can know what, and says who is to be told: by an
 * AppendEntries without entries, which a leader may send at any time. So
 * nobody waits for a heartbeat, and the log does not grow by it. Pure; servers
 * are named by their raft ids.
 */
#ifndef SSI_KDDM_TELL_H
#define SSI_KDDM_TELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nodes.h"

struct kddm_tell {
	uint64_t term;	/* that we lead in; 0: we do not lead */
	uint64_t floor; /* entries above are of this term */
	size_t n;
	struct kddm_told {
		uint64_t id;
		uint64_t stored; /* acknowledged by it */
		uint64_t knows;	 /* that it is committed */
	} server[NODES_MAX + 1];
};

/* Before the others, and as often as may be: the term that we lead in, or 0; the end of our log. */
void kddm_tell_term(struct kddm_tell *t, uint64_t term, uint64_t last_index);
/* An AppendEntries went out: entries prev + 1 to prev + n. */
void kddm_tell_sent(struct kddm_tell *t, uint64_t id, uint64_t prev, uint64_t n, uint64_t commit);
/*
 * Its answer came: the message that follows entry `refused` did not fit its log, or (0) all up to `last` is stored.
 * False: it refused what it has acknowledged since. A follower of one leader never loses that (one that lost its log
 * has another id), so the refusal is old news, of a connection that has ended, or the log lost its end together with
 * the mark that would say so (member_disk.c); the engine must not see it, for it would take the server for one that has more under way than was ever sent, and send it nothing again.
 */
bool kddm_tell_stored(struct kddm_tell *t, uint64_t id, uint64_t term, uint64_t refused, uint64_t last);
/* It finds out by itself that all up to `index` is committed, or with the next heartbeat. */
void kddm_tell_finds_out(struct kddm_tell *t, uint64_t id, uint64_t index);
/* Is this server to be told now? Up to *index, counted as told. */
bool kddm_tell_due(struct kddm_tell *t, uint64_t id, uint64_t commit, uint64_t *index);

#endif
