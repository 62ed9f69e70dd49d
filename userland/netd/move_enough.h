/* SPDX-License-Identifier: GPL-2.0 */
/* When the rounds of a move end: what the last one sent tells what the next would. */
#ifndef SSI_MOVE_ENOUGH_H
#define SSI_MOVE_ENOUGH_H

#include <stdint.h>

#define ROUNDS_MAX 8

enum enough {
	ENOUGH_NOT,    /* another round */
	ENOUGH_SMALL,  /* what is left takes no longer than a round's start */
	ENOUGH_STEADY, /* the program writes as fast as we send */
	ENOUGH_LIMIT,  /* ROUNDS_MAX */
};

/* memory: bytes of the application before the first. sent: bytes of the n rounds there were, at most ROUNDS_MAX. */
enum enough move_enough(uint64_t memory, const uint64_t *sent, unsigned int n);
const char *move_enough_name(enum enough e);

#endif
