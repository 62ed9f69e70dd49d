// SPDX-License-Identifier: GPL-2.0
/*
 * Judges a history that linear-load wrote:
 *
 *   linear-check FILE		exit status 0: linearizable; 1: not, with the operations of the key; 2: cannot tell
 *
 * A line an operation: KEY BEGIN END KIND OUTCOME EXPECT VALUE WHO; times in ns.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"

#define LIMIT 4000000

struct line {
	char key[40], who[24];
	struct linear_op op;
};

static struct {
	struct line *line;
	size_t n, size;
} history;

static const char *const kinds[] = {"read", "write", "cas"};
static const char *const outcomes[] = {"done", "refused", "unknown"};

static int by_key(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int d = strcmp(x->key, y->key);

	return d ? d : x->op.begin < y->op.begin ? -1 : x->op.begin > y->op.begin;
}

static bool read_history(FILE *f)
{
	struct line l;
	int r;

	while ((r = fscanf(f, "%39s %" SCNu64 " %" SCNu64 " %u %u %" SCNu64 " %" SCNu64 " %23s", l.key,
			   &l.op.begin, &l.op.end, &l.op.kind, &l.op.outcome, &l.op.expect, &l.op.value,
			   l.who)) == 8) {
		if (l.op.kind > LINEAR_CAS || l.op.outcome > LINEAR_UNKNOWN)
			return false;
		if (history.n == history.size) {
			history.size = history.size ? 2 * history.size : 4096;
			history.line = realloc(history.line, history.size * sizeof(l));
			if (!history.line)
				abort();
		}
		history.line[history.n++] = l;
	}
	return r == EOF;
}

static void show(const struct line *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("  %" PRIu64 " .. %" PRIu64 " us  %s: %s %" PRIu64 " (expected %" PRIu64 "): %s\n",
		       (l[i].op.begin - l[0].op.begin) / 1000,
		       l[i].op.outcome == LINEAR_UNKNOWN ? 0 : (l[i].op.end - l[0].op.begin) / 1000, l[i].who,
		       kinds[l[i].op.kind], l[i].op.value, l[i].op.expect, outcomes[l[i].op.outcome]);
}

/* How much of it can be told: the shortest beginning that is wrong by itself. */
static size_t shortest_wrong(const struct linear_op *ops, size_t n)
{
	size_t lo = 0, hi = n;

	while (lo + 1 < hi) {
		size_t mid = (lo + hi) / 2;

		if (linear_check(ops, mid, LIMIT) == LINEAR_NO)
			hi = mid;
		else
			lo = mid;
	}
	return hi;
}

static enum linear_verdict check_key(const struct line *l, size_t n)
{
	struct linear_op *ops = calloc(n, sizeof(*ops));
	enum linear_verdict v;

	if (!ops)
		abort();
	for (size_t i = 0; i < n; i++)
		ops[i] = l[i].op;
	v = linear_check(ops, n, LIMIT);
	if (v == LINEAR_NO) {
		n = shortest_wrong(ops, n);
		printf("%s: not linearizable; no order of these agrees with what they returned:\n", l->key);
		show(l, n);
	} else if (v == LINEAR_TOO_HARD) {
		printf("%s: too many orders of %zu operations to tell\n", l->key, n);
	}
	free(ops);
	return v;
}

int main(int argc, char **argv)
{
	size_t count[3] = {0}, keys = 0, ops[3] = {0}, end;
	FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;

	if (!f || !read_history(f)) {
		fputs("linear-check FILE: no history can be read\n", stderr);
		return 2;
	}
	fclose(f);
	qsort(history.line, history.n, sizeof(history.line[0]), by_key);
	for (size_t i = 0; i < history.n; i = end) {
		for (end = i; end < history.n && !strcmp(history.line[end].key, history.line[i].key); end++)
			ops[history.line[end].op.outcome]++;
		keys++;
		count[check_key(&history.line[i], end - i)]++;
	}
	printf("%zu operations on %zu keys (%zu done, %zu refused, %zu unknown): %zu keys linearizable, %zu "
	       "not, %zu "
	       "too hard\n",
	       history.n, keys, ops[0], ops[1], ops[2], count[LINEAR_YES], count[LINEAR_NO],
	       count[LINEAR_TOO_HARD]);
	free(history.line);
	return count[LINEAR_NO] ? 1 : count[LINEAR_TOO_HARD] || !keys ? 2 : 0;
}
