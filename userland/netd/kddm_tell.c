// SPDX-License-Identifier: GPL-2.0
/*
 * Who knows of which commit; see kddm_tell.h.
 */
#include "kddm_tell.h"

static struct kddm_told *find(struct kddm_tell *t, uint64_t id)
{
	for (size_t i = 0; t->term && i < t->n; i++)
		if (t->server[i].id == id)
			return &t->server[i];
	if (!t->term || t->n == NODES_MAX + 1)
		return NULL;
	t->server[t->n] = (struct kddm_told){.id = id};
	return &t->server[t->n++];
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void kddm_tell_term(struct kddm_tell *t, uint64_t term, uint64_t last_index)
{
	if (t->term == term)
		return;
	t->term = term;
	t->floor = last_index;
	t->n = 0;
}

void kddm_tell_sent(struct kddm_tell *t, uint64_t id, uint64_t prev, uint64_t n, uint64_t commit)
{
	struct kddm_told *s = find(t, id);
	uint64_t learns = s ? min(commit, min(s->stored, prev + n)) : 0;

	if (s && learns > s->knows)
		s->knows = learns;
}

bool kddm_tell_stored(struct kddm_tell *t, uint64_t id, uint64_t term, uint64_t refused, uint64_t last)
{
	struct kddm_told *s = term == t->term ? find(t, id) : NULL;

	if (!s)
		return true;
	if (refused && refused <= s->stored)
		return false;
	if (refused)
		s->knows = 0; /* what told it may have been refused, too */
	else if (last > s->stored)
		s->stored = last;
	return true;
}

void kddm_tell_finds_out(struct kddm_tell *t, uint64_t id, uint64_t index)
{
	struct kddm_told *s = find(t, id);

	if (s && index > s->knows)
		s->knows = index;
}

bool kddm_tell_due(struct kddm_tell *t, uint64_t id, uint64_t commit, uint64_t *index)
{
	struct kddm_told *s = find(t, id);
	uint64_t learns = s ? min(commit, s->stored) : 0;

	if (!s || learns <= s->knows || learns <= t->floor)
		return false;
	s->knows = *index = learns;
	return true;
}
