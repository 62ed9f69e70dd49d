/* SPDX-License-Identifier: GPL-2.0 */
/* An IP address of either family, compared and printed as one thing. */
#ifndef SSI_IPADDR_H
#define SSI_IPADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <ssi/dip.h>

struct ipaddr {
	uint8_t family;	  /* DIP_INET, DIP_INET6; 0: none */
	uint8_t addr[16]; /* network order; IPv4 in the first four bytes, the rest zero */
};

bool ipaddr_parse(const char *text, struct ipaddr *out);
/* Static storage, good for four addresses at once; one thread. */
const char *ipaddr_text(const struct ipaddr *a);
/* The network of an address: its first `prefix` bits. */
struct ipaddr ipaddr_network(const struct ipaddr *a, unsigned int prefix);
/* May a host have it, in a network of this prefix? No loopback, no group, no link-local, and not
 * the network's own (IPv6: its routers') or everybody's. */
bool ipaddr_is_host(const struct ipaddr *a, unsigned int prefix);
/* Ethernet's address of an IP multicast group. */
void ipaddr_group_mac(const struct ipaddr *group, uint8_t mac[6]);
/* IPv6: the group in which neighbours ask for an address. */
struct ipaddr ipaddr_solicited(const struct ipaddr *a);

static inline struct ipaddr ipaddr_of(uint8_t family, const void *addr)
{
	struct ipaddr a = {.family = family};

	memcpy(a.addr, addr, family == DIP_INET ? 4 : 16);
	return a;
}

static inline int ipaddr_af(const struct ipaddr *a)
{
	return a->family == DIP_INET6 ? AF_INET6 : AF_INET;
}

/* In bytes. */
static inline unsigned int ipaddr_len(const struct ipaddr *a)
{
	return a->family == DIP_INET6 ? 16 : 4;
}

static inline unsigned int ipaddr_bits(const struct ipaddr *a)
{
	return 8 * ipaddr_len(a);
}

static inline bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* 0.0.0.0 or :: */
static inline bool ipaddr_any(const struct ipaddr *a)
{
	static const uint8_t any[16];

	return !memcmp(a->addr, any, sizeof(any));
}

static inline union dip_addr ipaddr_dip(const struct ipaddr *a)
{
	union dip_addr d;

	memcpy(&d, a->addr, sizeof(d));
	return d;
}

#endif
