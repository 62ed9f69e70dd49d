/* SPDX-License-Identifier: GPL-2.0 */
/* Rounds of a move, on the source: memory goes to the target while the application runs. */
#ifndef SSI_MOVE_ROUNDS_H
#define SSI_MOVE_ROUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "netd.h"

struct move_sent {
	unsigned int rounds;
	uint64_t bytes;
	const char *end; /* why there were no more; static */
};

/* Once, `error` NULL or one line, valid during the call. After an error the target has given up. */
typedef void move_rounds_done_fn(void *arg, const struct move_sent *sent, const char *error);
/* memory: of the application, in bytes; 0: it does not go in rounds, only its directories do. data: it has
 * some. The record of the move `id` exists and is ours; each round is told by it. */
void move_rounds_run(struct netd *n, const char *app, uint64_t id, uint32_t dst, uint64_t memory, bool data,
		     move_rounds_done_fn *done, void *arg);

#endif
