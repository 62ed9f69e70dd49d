/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The commands about the cluster itself: init join leave token nodes status sets
 * version, the gates of all commands, and live events about nodes ("node",
 * "member").
 */
#ifndef SSI_CTL_CLUSTER_H
#define SSI_CTL_CLUSTER_H

#include <jansson.h>

#include "userland/netd/member.h"

struct netd;

/* After member_new() (n->ctl, n->kddm, n->member and n->peers are set) and before
 * member_boot(). 0 or -errno. */
int ctl_cluster_start(struct netd *n);
/* From main's member_events.status: tells watchers. */
void ctl_cluster_status(struct netd *n, enum member_status status);

/* Between ctl_cluster.c and ctl_status.c: the one object of `status`. */
json_t *ctl_status_object(struct netd *n);

#endif
