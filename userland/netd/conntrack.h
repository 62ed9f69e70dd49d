/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's connection tracking, where it is in use: a connection that comes back to a node is far from where
 * that node saw it last, and would be called invalid. So what it knows is forgotten first. Loop thread.
 */
#ifndef SSI_CONNTRACK_H
#define SSI_CONNTRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "userland/lib/ipaddr.h"

/* Forgets the connections of `vip` whose own port `forget` says. How many, or -errno. */
int conntrack_forget(const struct ipaddr *vip, bool (*forget)(void *arg, uint8_t proto, uint16_t port),
		     void *arg);

#endif
