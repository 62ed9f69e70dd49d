// SPDX-License-Identifier: GPL-2.0
/*
 * Is a leader's log ours? See kddm_history.h. An entry is named by its index and its term: two with the same
 * of both are the same.
 */
#include "kddm_history.h"

/* The engine's own notes, of runs of entries of one term; 0: it is not in the log, or no more. */
static raft_term term_at(const struct raft_trail *t, raft_index index)
{
	if (index && index == t->snapshot.index)
		return t->snapshot.term;
	if (index <= t->offset)
		return 0;
	for (unsigned int i = t->front; i != t->back; i = (i + 1) % t->size)
		if (index <= t->records[i].index)
			return t->records[i].term;
	return 0;
}

/*
 * The engine takes its commit index back to the end of a message that says less than it has, so what was
 * applied counts, too.
 */
static raft_index agreed_on(const struct raft *raft)
{
	return raft->commit_index > raft->last_applied ? raft->commit_index : raft->last_applied;
}

static bool differs(const struct raft *raft, raft_index index, raft_term term)
{
	raft_term ours = index <= agreed_on(raft) ? term_at(&raft->trail, index) : 0;

	return ours && ours != term;
}

static raft_index entries_conflict(const struct raft *raft, const struct raft_append_entries *a)
{
	if (differs(raft, a->prev_log_index, a->prev_log_term))
		return a->prev_log_index;
	for (unsigned int i = 0; i < a->n_entries && a->prev_log_index + i < agreed_on(raft); i++)
		if (differs(raft, a->prev_log_index + 1 + i, a->entries[i].term))
			return a->prev_log_index + 1 + i;
	return 0;
}

raft_index kddm_history_conflict(const struct raft *raft, const struct raft_message *m)
{
	const struct raft_install_snapshot *s = &m->install_snapshot;

	/* Who led in an older term may have what was never agreed on. */
	if (m->type == RAFT_APPEND_ENTRIES && m->append_entries.term >= raft->current_term)
		return entries_conflict(raft, &m->append_entries);
	if (m->type == RAFT_INSTALL_SNAPSHOT && s->term >= raft->current_term &&
	    differs(raft, s->last_index, s->last_term))
		return s->last_index;
	return 0;
}
