/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of rtnl.h share: one request and its answers. */
#ifndef SSI_RTNL_INT_H
#define SSI_RTNL_INT_H

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "rtnl.h"

struct rtnl {
	struct mnl_socket *nl;
	uint32_t seq;
	char buf[32768];
};

/* A message in `buf`, which holds its attributes, too. */
struct nlmsghdr *rtnl_request(struct rtnl *r, char *buf, uint16_t type, uint16_t flags);
/* Sends, then reads answers until the acknowledgement or the end of the dump. */
int rtnl_exchange(struct rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);
/* A change: what is already so is no error. */
int rtnl_change(struct rtnl *r, struct nlmsghdr *nlh, bool add);

static inline void rtnl_put_addr(struct nlmsghdr *nlh, uint16_t type, const struct ipaddr *addr)
{
	mnl_attr_put(nlh, type, ipaddr_len(addr), addr->addr);
}

/* False, and *out untouched: not as long as an address of this family (AF_*) is. */
static inline bool rtnl_attr_addr(const struct nlattr *a, int af, struct ipaddr *out)
{
	uint8_t family = af == AF_INET6 ? DIP_INET6 : DIP_INET;

	if ((af != AF_INET && af != AF_INET6) || mnl_attr_get_payload_len(a) != (af == AF_INET6 ? 16 : 4))
		return false;
	*out = ipaddr_of(family, mnl_attr_get_payload(a));
	return true;
}

#endif
