/* SPDX-License-Identifier: GPL-2.0 */
/* What nftables on this node may do to packets that come in. */
#ifndef SSI_EXPLAIN_FIREWALL_H
#define SSI_EXPLAIN_FIREWALL_H

#include <stdbool.h>
#include <stdint.h>

/* A chain on the way in that drops or rejects what no rule in it accepts. Strings end with the call. */
struct firewall_chain {
	const char *table, *name;
};

/*
 * Tells `fn` the chains that packets of a family (DIP_INET, DIP_INET6) meet. Their rules are not weighed. What
 * iptables-legacy has is not seen. How many, or -errno; -EOPNOTSUPP and the like: the kernel has no nf_tables.
 */
int firewall_chains(uint8_t family, void (*fn)(void *arg, const struct firewall_chain *chain), void *arg);

#endif
