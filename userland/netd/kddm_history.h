/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One history: what this node has committed stands in the same place of every leader's log. When it does not, disks
 * of most voters have lost what they had acknowledged, or two clusters take each other for one. The engine notices
 * some of it, too late: it frees the entries of such a message twice. Pure: no I/O.
 */
#ifndef SSI_KDDM_HISTORY_H
#define SSI_KDDM_HISTORY_H

#include <raft.h>

/* The first entry that a leader's message has otherwise than this node committed it, as far as both still know
 * its term; 0: none. */
raft_index kddm_history_conflict(const struct raft *raft, const struct raft_message *m);

#endif
