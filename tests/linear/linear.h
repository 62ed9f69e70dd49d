/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Is a history of one register linearizable? Search for an order of its operations that agrees with time
 * and with what each returned (Wing and Gong), never twice from the same set of operations done and the same
 * state (Lowe). Registers are independent of each other, so each key is checked alone. Pure.
 *
 * Values are numbers, each written at most once in a history; 0: absent.
 */
#ifndef SSI_TEST_LINEAR_H
#define SSI_TEST_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum linear_kind {
	LINEAR_READ,  /* saw value */
	LINEAR_WRITE, /* value, whatever was there */
	LINEAR_CAS,   /* value, if `expect` was there */
};

enum linear_outcome {
	LINEAR_DONE,
	LINEAR_REFUSED, /* CAS: something else was there */
	LINEAR_UNKNOWN, /* done at some time after `begin`, or never */
};

struct linear_op {
	uint64_t begin, end; /* end: of no meaning when the outcome is unknown */
	uint32_t kind, outcome;
	uint64_t expect, value;
};

enum linear_verdict {
	LINEAR_YES,
	LINEAR_NO,
	LINEAR_TOO_HARD, /* more than `limit` states */
};

/* The register is absent at first. Reads of unknown outcome say nothing. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t n, size_t limit);

#ifdef __cplusplus
}
#endif
#endif
