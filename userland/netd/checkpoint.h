/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Checkpoints: an application as it was, in DIR/1, DIR/2 … on the disk of a node, and started from there
 * on any node that has the directory. Connections are not part of it. Commands: checkpoint, restart.
 */
#ifndef SSI_CHECKPOINT_H
#define SSI_CHECKPOINT_H

#include <stdbool.h>

struct keeper;
struct netd;

/* checkpoint.c */
int checkpoint_start(struct netd *n);
/* What a checkpoint or a restart that nobody is behind any more holds of an application here is given back; and, it runs
 * or is about to, what was kept of it. */
void checkpoint_settle(struct netd *n, const char *app, bool runs);

/* restart.c */
int restart_start(struct netd *n);
/* Is an application of this name on its way here? Then its keeper is not to be settled, its name not given back. */
bool restart_pending(struct netd *n, const char *name);
/* A keeper that waits for images said hello. False: not ours. */
bool restart_hello(struct netd *n, struct keeper *k);

#endif
