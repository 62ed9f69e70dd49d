/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Settings of interfaces that are not netd's own, changed while a cluster
 * address is there. What they were is remembered as files in NETD_RUN_DIR/undo,
 * for the netd that comes next, or `netd --cleanup`.
 */
#ifndef SSI_UNDO_H
#define SSI_UNDO_H

#include "rtnl.h"

/* What a program of this node sends to a cluster address of this node comes in
 * with this node's own address as its source. 0 or -errno. */
int undo_accept_local(const struct rtnl_link *link);
/* Everything that passes comes up. */
int undo_promisc(struct rtnl *r, const struct rtnl_link *link);
/* As it was. */
void undo_link(struct rtnl *r, int index);
void undo_all(struct rtnl *r);

#endif
