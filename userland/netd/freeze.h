/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Applications that stand still where they are. The supervisor stops and continues them, the set `apps` only says
 * so (APP_FROZEN). Commands: freeze, thaw.
 */
#ifndef SSI_FREEZE_H
#define SSI_FREEZE_H

struct netd;

int freeze_start(struct netd *n);
/* What the set says follows what the supervisor of this node's application `name` says. */
void freeze_settle(struct netd *n, const char *name);

#endif
