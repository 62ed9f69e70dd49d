// SPDX-License-Identifier: GPL-2.0
/* See move_enough.h. A round costs about what it takes to dump and send some megabytes, whatever is in it. */
#include "move_enough.h"

#define WORTH_IT (16ULL << 20) /* memory from which on rounds are made */
#define SMALL	 (4ULL << 20)

enum enough move_enough(uint64_t memory, const uint64_t *sent, unsigned int n)
{
	if (n ? sent[n - 1] <= SMALL : memory < WORTH_IT)
		return ENOUGH_SMALL;
	if (n > 1 && sent[n - 1] > sent[n - 2] / 4 * 3)
		return ENOUGH_STEADY;
	return n < ROUNDS_MAX ? ENOUGH_NOT : ENOUGH_LIMIT;
}

const char *move_enough_name(enum enough e)
{
	static const char *const names[] = {"", "small", "steady", "limit"};

	return names[e];
}
