/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few rtnetlink requests that netd makes: links, addresses, and the routes,
 * rules, neighbours and address filters of cluster addresses. All that netd
 * makes carries the protocol number RTNL_PROTO, so that it can be told from
 * what others made. Each call is synchronous and returns 0 or -errno; adding
 * what is there and removing what is not succeed.
 */
#ifndef SSI_RTNL_H
#define SSI_RTNL_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "userland/lib/ipaddr.h"

#define RTNL_PROTO	77   /* in addresses, routes, rules, neighbours */
#define RTNL_TABLE	7946 /* cluster address -> interface, for what this node sends */
#define RTNL_PREF_VIP	50   /* rule: to a cluster address, from here: RTNL_TABLE */
#define RTNL_PREF_GUARD 99   /* rule: ... and nowhere, while the one before is not there */
#define RTNL_PREF_LOCAL 100  /* rule: the kernel's table `local`, moved behind them */

struct rtnl;

struct rtnl_link {
	int index;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	bool ethernet, up, loopback, bridge, promisc;
	char kind[16];
	bool shares; /* macvlan or ipvlan: hears only what is its own or for all */
	uint32_t mtu;
};

int rtnl_open(struct rtnl **out);
void rtnl_close(struct rtnl *r);

/* By index, or by name when index is 0. -ENODEV. */
int rtnl_link_get(struct rtnl *r, int index, const char *name, struct rtnl_link *out);
int rtnl_link_up(struct rtnl *r, int index);
/* A device of this kind; -EOPNOTSUPP: the kernel does not know the kind. */
int rtnl_link_add(struct rtnl *r, const char *name, const char *kind);
int rtnl_link_del(struct rtnl *r, int index);

/*
 * rtnl_addr_network: the interface (restricted to `index` unless 0) that has an
 * address in whose network `addr` lies; the longest prefix wins. -ENODEV when there
 * is none. `*own` is the interface's address in that network.
 */
int rtnl_addr_network(struct rtnl *r, int index, const struct ipaddr *addr, int *out_index,
		      uint8_t *out_prefix, struct ipaddr *own);
/* Is `addr` configured on an interface, by others than us? 1, 0, -errno. */
int rtnl_addr_exists(struct rtnl *r, const struct ipaddr *addr);
/* Is `addr` the next hop of a route? 1, 0, -errno. */
int rtnl_is_gateway(struct rtnl *r, const struct ipaddr *addr);

/* This node takes packets to `addr` (IPv6: as an address of interface `index`). */
int rtnl_local(struct rtnl *r, bool add, const struct ipaddr *addr, int index);
/* What this node sends to `addr` leaves by `index`, with `own` as its source. */
int rtnl_route_dev(struct rtnl *r, bool add, const struct ipaddr *addr, int index, const struct ipaddr *own);
int rtnl_rule_vip(struct rtnl *r, bool add, const struct ipaddr *addr);
/* Moves a family's lookup of table `local` from preference 0 to RTNL_PREF_LOCAL
 * (`behind`), or back. There is never a moment without one of them. */
int rtnl_rule_local(struct rtnl *r, uint8_t family, bool behind);
int rtnl_neigh(struct rtnl *r, bool add, int index, const struct ipaddr *addr, const uint8_t mac[6]);
/* Let frames to `mac` through the interface's address filter. */
int rtnl_filter(struct rtnl *r, bool add, int index, const uint8_t mac[6]);

/* Let all frames through. Set by hand it has no count: whoever sets it, owns it. */
int rtnl_promisc(struct rtnl *r, bool on, int index);

/* The interface through which packets to `addr` leave. */
int rtnl_route_get(struct rtnl *r, const struct ipaddr *addr, int *index);

/* Removes the addresses, routes, rules and neighbours of RTNL_PROTO whose address
 * `keep` refuses, or all (NULL). How many, or -errno. */
int rtnl_purge(struct rtnl *r, bool (*keep)(void *arg, const struct ipaddr *addr), void *arg);

struct nlmsghdr;
/* Any request: NLM_F_REQUEST and the number are put in. `cb` is libmnl's, or NULL. 0 or -errno. */
int rtnl_talk(struct rtnl *r, struct nlmsghdr *nlh, int (*cb)(const struct nlmsghdr *nlh, void *arg),
	      void *arg);

/* Tells when the kernel's network configuration changes: a readable fd, and
 * what it said. rtnl_watch_read: 2 one of our routes, rules or neighbours is gone
 * without `own` having asked for it, 1 something else of interest (a link, an
 * address, a route of `main`), 0 nothing more, -errno. */
int rtnl_watch_open(struct rtnl **out);
int rtnl_watch_fd(const struct rtnl *r);
int rtnl_watch_read(struct rtnl *r, const struct rtnl *own);

#endif
