/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Moves: live migration of applications. The record in the set `moves` decides
 * who may run the application; each of its steps is committed by compare and
 * set, so the flip by the target and the abort by the source exclude each other:
 *
 *   source                               target
 *   record PREPARED
 *   ask to prepare                  ->   a keeper waits
 *   ports to HOLD, applied by both
 *   freeze, dump, send images       ->   receive
 *                                        record IMAGE_COMPLETE
 *                                        restore, not yet running
 *                                        one entry: FLIPPED, ports and name are ours
 *   discard the frozen copy         <-   run, release the held packets
 *   remove the record
 *
 * What follows a step is driven by the record's change as it is applied here,
 * never by the answer to the one who asked for it: an outcome that was unknown
 * for a while is handled like any other.
 */
#ifndef SSI_MOVES_H
#define SSI_MOVES_H

#include <jansson.h>

struct keeper;
struct netd;

int moves_start(struct netd *n);
void moves_stop(struct netd *n);

/* Moves that were under way when netd stopped, or the node was cut off: before
 * the tables follow the sets, and after. */
void moves_hold(struct netd *n);
void moves_reconcile(struct netd *n);

/* From apps.c: what the keepers of this node report. */
void moves_keeper_hello(struct netd *n, struct keeper *k);
void moves_keeper_event(struct netd *n, struct keeper *k, const char *kind, json_t *event);
void moves_keeper_gone(struct netd *n, struct keeper *k);

#endif
