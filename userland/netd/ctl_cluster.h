/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The commands about the cluster itself: init join leave token nodes status sets
 * version, and live events about nodes ("node").
 */
#ifndef SSI_CTL_CLUSTER_H
#define SSI_CTL_CLUSTER_H

#include <jansson.h>

struct netd;

/* After member_new() (n->ctl, n->kddm, n->member and n->peers are set) and before
 * member_boot(). 0 or -errno. */
int ctl_cluster_start(struct netd *n);
/* Between ctl_cluster.c and ctl_status.c: the one object of `status`. */
json_t *ctl_status_object(struct netd *n);

/* key rotate */
int ctl_key_start(struct netd *n);

#endif
