/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What stands against a move on the target: files that are not there, instructions
 * that its processor does not have. A refusal is {"reason","fd","path","pid","remedy"},
 * as ckpt_check() makes them for the source.
 */
#ifndef SSI_MOVE_CHECK_H
#define SSI_MOVE_CHECK_H

#include <jansson.h>

struct netd;

/* The instructions of this node's processor that programs may use: names. */
json_t *move_check_cpu(void);

/*
 * Does this node have `cpu` (from move_check_cpu()) and `files` (from ckpt_files())? NULL: not asked.
 * Looks in another thread: a file may be far away. Both are borrowed; `done` gets an array
 * of refusals, borrowed, when the loop runs again.
 */
typedef void move_check_fn(void *arg, json_t *refusals);
void move_check(struct netd *n, json_t *cpu, json_t *files, move_check_fn *done, void *arg);

/* All of an array of refusals as one error: {"error","code","remedy"}. */
json_t *move_check_error(json_t *refusals);

#endif
