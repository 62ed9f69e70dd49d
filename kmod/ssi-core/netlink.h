/* SPDX-License-Identifier: GPL-2.0 */
/* The generic netlink family "ssi_core"; see ssi/core.h. */
#ifndef SSI_CORE_NETLINK_H
#define SSI_CORE_NETLINK_H

#include <ssi/core.h>

struct claim;
struct net;

/*
 * To the netlink port that serves. May sleep. 0; -ECONNREFUSED: it is closed; -EAGAIN: its queue
 * is full; -ENOMEM.
 */
int ssi_netlink_claim(struct net *net, u32 portid, const struct claim *claim);
void ssi_netlink_ended(struct net *net, u32 portid, u32 id, enum ssi_claim_reason reason);

int __init ssi_netlink_init(void);
void ssi_netlink_exit(void);

#endif
