/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Routes for sockets with DIP_SOURCE_MARK: a copy of the table `main` of both families in which what leaves through the
 * interface of a cluster address names that address as the source. Rules lead marked packets there. Loop thread.
 */
#ifndef SSI_SOURCE_ROUTE_H
#define SSI_SOURCE_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "userland/lib/ipaddr.h"

struct rtnl;

/* A cluster address and its interface. */
struct source_vip {
	struct ipaddr addr;
	int index;
};

/* Rules and routes follow `vips` and the table `main`; called again whenever either changed. An address of IPv6 has to be
 * on its interface. 0 or -errno. */
int source_route_set(struct rtnl *r, const struct source_vip *vips, size_t n);
/* Takes out what is there. How many, or -errno. */
int source_route_clear(struct rtnl *r);

#endif
