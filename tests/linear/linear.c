// SPDX-License-Identifier: GPL-2.0
/* The search; see linear.h. */
#include "linear.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Calls and returns in the order of time; a call is taken out, with its return, when it is given its place. */
struct event {
	struct event *prev, *next;
	struct event *ret; /* of a call: its return, NULL when the outcome is unknown */
	const struct linear_op *op;
	size_t number;
	uint64_t time;
	bool is_call;
};

struct step { /* to be undone */
	struct event *call;
	uint64_t state;
};

struct search {
	struct event head, *events;
	uint64_t *done; /* bits */
	size_t words;
	struct step *stack;
	size_t depth;
	/* what was tried: {state, bits} each, in a hash table of indices + 1 */
	uint64_t *tried;
	size_t n_tried, tried_size;
	uint32_t *table;
	size_t table_size;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* Does the operation fit here? Then what it leaves behind. */
static bool step(const struct linear_op *op, uint64_t state, uint64_t *after)
{
	*after = state;
	switch (op->kind) {
	case LINEAR_READ:
		return state == op->value;
	case LINEAR_WRITE:
		*after = op->value;
		return true;
	default:
		if (op->outcome == LINEAR_REFUSED)
			return state != op->expect;
		*after = op->value;
		return state == op->expect;
	}
}

/* ---- the memory ---- */

static uint64_t hash(const uint64_t *words, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ words[i]) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	return h;
}

static uint32_t *slot_of(struct search *s, const uint64_t *entry)
{
	size_t n = s->words + 1, at = hash(entry, n) & (s->table_size - 1);

	while (s->table[at] && memcmp(s->tried + (s->table[at] - 1) * n, entry, n * sizeof(*entry)))
		at = (at + 1) & (s->table_size - 1);
	return &s->table[at];
}

static void grow_table(struct search *s)
{
	s->table_size *= 2;
	free(s->table);
	s->table = must(calloc(s->table_size, sizeof(s->table[0])));
	for (size_t i = 0; i < s->n_tried; i++)
		*slot_of(s, s->tried + i * (s->words + 1)) = (uint32_t)i + 1;
}

/* True: this state with these operations done is new. */
static bool remember(struct search *s, uint64_t state)
{
	size_t n = s->words + 1;
	uint64_t *entry;
	uint32_t *slot;

	if (s->n_tried == s->tried_size) {
		s->tried_size = s->tried_size ? 2 * s->tried_size : 64;
		s->tried = must(realloc(s->tried, s->tried_size * n * sizeof(s->tried[0])));
	}
	entry = s->tried + s->n_tried * n;
	entry[0] = state;
	memcpy(entry + 1, s->done, s->words * sizeof(s->done[0]));
	slot = slot_of(s, entry);
	if (*slot)
		return false;
	*slot = (uint32_t)++s->n_tried;
	if (2 * s->n_tried > s->table_size)
		grow_table(s);
	return true;
}

/* ---- the list ---- */

static void take_out(struct event *e)
{
	e->prev->next = e->next;
	if (e->next)
		e->next->prev = e->prev;
}

static void put_back(struct event *e)
{
	e->prev->next = e;
	if (e->next)
		e->next->prev = e;
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	/* at the same moment: at the same time */
	return y->is_call - x->is_call;
}

static void make_events(struct search *s, const struct linear_op *ops, size_t n)
{
	struct event **sorted = must(calloc(2 * n + 1, sizeof(*sorted))), *last = &s->head;
	size_t m = 0;

	s->events = must(calloc(2 * n + 1, sizeof(*s->events)));
	for (size_t i = 0; i < n; i++) {
		struct event *call = &s->events[2 * i], *ret = call + 1;

		if (ops[i].kind == LINEAR_READ && ops[i].outcome == LINEAR_UNKNOWN)
			continue;
		*call = (struct event){.op = &ops[i], .number = i, .time = ops[i].begin, .is_call = true};
		sorted[m++] = call;
		if (ops[i].outcome == LINEAR_UNKNOWN)
			continue;
		*ret = (struct event){.op = &ops[i], .number = i, .time = ops[i].end};
		call->ret = ret;
		sorted[m++] = ret;
	}
	qsort(sorted, m, sizeof(*sorted), by_time);
	for (size_t i = 0; i < m; i++) {
		sorted[i]->prev = last;
		last->next = sorted[i];
		last = sorted[i];
	}
	free(sorted);
}

/* ---- the search ---- */

/*
 * What expects a certain value fits at most once, as values do not come back: whether it was done or can
 * never be done makes no difference to the future. Remembering it would double the states each time.
 */
static void flip(struct search *s, const struct event *e)
{
	if (e->ret || e->op->kind != LINEAR_CAS || !e->op->expect)
		s->done[e->number / 64] ^= 1ull << e->number % 64;
}

/* Gives the call its place next. False: that was tried. */
static bool choose(struct search *s, struct event *e, uint64_t *state, uint64_t after)
{
	flip(s, e);
	if (!remember(s, after)) {
		flip(s, e);
		return false;
	}
	s->stack[s->depth++] = (struct step){e, *state};
	*state = after;
	take_out(e);
	if (e->ret)
		take_out(e->ret);
	return true;
}

static struct event *undo(struct search *s, uint64_t *state)
{
	struct event *e = s->stack[--s->depth].call;

	*state = s->stack[s->depth].state;
	flip(s, e);
	if (e->ret)
		put_back(e->ret);
	put_back(e);
	return e;
}

/*
 * First those whose outcome is known; what may as well never have been done is
 * tried where they do not get on.
 */
static enum linear_verdict run(struct search *s, size_t limit)
{
	struct event *e = s->head.next;
	bool unknown = false; /* which are tried now */
	uint64_t state = 0, after;

	while (e) {
		if (e->is_call) {
			if (!e->ret == unknown && step(e->op, state, &after) && choose(s, e, &state, after)) {
				if (s->n_tried > limit)
					return LINEAR_TOO_HARD;
				unknown = false;
				e = s->head.next;
			} else {
				e = e->next;
			}
			continue;
		}
		/* It returned before anything that fits began. */
		if (!unknown) {
			unknown = true;
			e = s->head.next;
			continue;
		}
		if (!s->depth)
			return LINEAR_NO;
		e = undo(s, &state); /* what was chosen last was wrong */
		unknown = !e->ret;
		e = e->next;
	}
	/* All that returned has its place, or, on the way through the known ones, nothing returned any more. */
	return LINEAR_YES;
}

enum linear_verdict linear_check(const struct linear_op *ops, size_t n, size_t limit)
{
	struct search s = {.words = n / 64 + 1, .table_size = 1024};
	enum linear_verdict v;

	s.done = must(calloc(s.words, sizeof(s.done[0])));
	s.stack = must(calloc(n + 1, sizeof(s.stack[0])));
	s.table = must(calloc(s.table_size, sizeof(s.table[0])));
	make_events(&s, ops, n);
	v = run(&s, limit);
	free(s.events);
	free(s.done);
	free(s.stack);
	free(s.tried);
	free(s.table);
	return v;
}
