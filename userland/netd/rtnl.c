// SPDX-License-Identifier: GPL-2.0
/*
 * rtnetlink requests over libmnl. A struct rtnl is one socket with one request
 * in flight; used from netd's loop only.
 */
#include "rtnl_int.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/cleanup.h"

static int open_groups(struct rtnl **out, unsigned int groups, int flags)
{
	struct rtnl *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);
	if (!r->nl || mnl_socket_bind(r->nl, groups, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		rtnl_close(r);
		return err;
	}
	*out = r;
	return 0;
}

int rtnl_open(struct rtnl **out)
{
	return open_groups(out, 0, 0);
}

void rtnl_close(struct rtnl *r)
{
	if (!r)
		return;
	if (r->nl)
		mnl_socket_close(r->nl);
	free(r);
}

struct nlmsghdr *rtnl_request(struct rtnl *r, char *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++r->seq;
	return nlh;
}

int rtnl_exchange(struct rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	unsigned int portid = mnl_socket_get_portid(r->nl);
	ssize_t n;
	int rc;

	if (mnl_socket_sendto(r->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(r->nl, r->buf, sizeof(r->buf));
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(r->buf, n, nlh->nlmsg_seq, portid, cb, arg);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

int rtnl_change(struct rtnl *r, struct nlmsghdr *nlh, bool add)
{
	int err;

	nlh->nlmsg_flags |= NLM_F_ACK;
	err = rtnl_exchange(r, nlh, NULL, NULL);
	if (add && err == -EEXIST)
		return 0;
	if (!add &&
	    (err == -ENOENT || err == -ESRCH || err == -ENODEV || err == -ENXIO || err == -EADDRNOTAVAIL))
		return 0;
	return err;
}

static void take_kind(struct rtnl_link *l, const struct nlattr *linkinfo)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, linkinfo)
	{
		const char *kind = mnl_attr_get_str(a);

		if (mnl_attr_get_type(a) != IFLA_INFO_KIND)
			continue;
		snprintf(l->kind, sizeof(l->kind), "%s", kind);
		l->bridge = !strcmp(kind, "bridge");
		l->shares = !strcmp(kind, "macvlan") || !strcmp(kind, "ipvlan");
	}
}

static int link_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct rtnl_link *l = arg;
	const struct nlattr *a;

	l->index = ifi->ifi_index;
	l->ethernet = ifi->ifi_type == ARPHRD_ETHER;
	l->up = ifi->ifi_flags & IFF_UP;
	l->loopback = ifi->ifi_flags & IFF_LOOPBACK;
	l->promisc = ifi->ifi_flags & IFF_PROMISC;
	mnl_attr_for_each(a, nlh, sizeof(*ifi))
	{
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			strncpy(l->name, mnl_attr_get_str(a), sizeof(l->name) - 1);
			break;
		case IFLA_ADDRESS:
			if (mnl_attr_get_payload_len(a) == sizeof(l->mac))
				memcpy(l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
			break;
		case IFLA_MTU:
			l->mtu = mnl_attr_get_u32(a);
			break;
		case IFLA_LINKINFO:
			take_kind(l, a);
			break;
		}
	}
	return MNL_CB_OK;
}

int rtnl_link_get(struct rtnl *r, int index, const char *name, struct rtnl_link *out)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct rtnl_link link = {};
	struct nlmsghdr *nlh = rtnl_request(r, buf, RTM_GETLINK, NLM_F_ACK);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	int err;

	if (!index && strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	ifi->ifi_index = index;
	if (!index)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	err = rtnl_exchange(r, nlh, link_cb, &link);
	if (err)
		return err;
	*out = link;
	return 0;
}

static int link_flags(struct rtnl *r, int index, unsigned int flags, unsigned int change_mask)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = rtnl_request(r, buf, RTM_NEWLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = index;
	ifi->ifi_flags = flags;
	ifi->ifi_change = change_mask;
	return rtnl_change(r, nlh, true);
}

int rtnl_link_up(struct rtnl *r, int index)
{
	return link_flags(r, index, IFF_UP, IFF_UP);
}

int rtnl_link_add(struct rtnl *r, const char *name, const char *kind)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = rtnl_request(r, buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *info;

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	mnl_attr_nest_end(nlh, info);
	return rtnl_change(r, nlh, true);
}

int rtnl_link_del(struct rtnl *r, int index)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = rtnl_request(r, buf, RTM_DELLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = index;
	return rtnl_change(r, nlh, false);
}

int rtnl_promisc(struct rtnl *r, bool on, int index)
{
	return link_flags(r, index, on ? IFF_PROMISC : 0, IFF_PROMISC);
}

struct addr_search {
	struct ipaddr addr;
	int index; /* 0: any */
	int found_index;
	int found_prefix;
	struct ipaddr found_addr;
	bool exact; /* the address itself was met, and is not of our making */
};

struct addr_seen {
	struct ipaddr own;
	uint32_t flags;
	uint8_t proto;
};

static void addr_attrs(const struct nlmsghdr *nlh, struct addr_seen *seen)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a, *own = NULL;

	*seen = (struct addr_seen){.flags = ifa->ifa_flags};
	mnl_attr_for_each(a, nlh, sizeof(*ifa))
	{
		switch (mnl_attr_get_type(a)) {
		case IFA_LOCAL:
			own = a;
			break;
		case IFA_ADDRESS: /* of the other end, where there is IFA_LOCAL */
			own = own ?: a;
			break;
		case IFA_FLAGS:
			seen->flags = mnl_attr_get_u32(a);
			break;
		case IFA_PROTO:
			seen->proto = mnl_attr_get_u8(a);
			break;
		}
	}
	if (own)
		rtnl_attr_addr(own, ifa->ifa_family, &seen->own);
}

static int addr_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct addr_search *s = arg;
	struct addr_seen seen;
	struct ipaddr net, want;

	if (ifa->ifa_family != ipaddr_af(&s->addr))
		return MNL_CB_OK;
	addr_attrs(nlh, &seen);
	if (seen.proto == RTNL_PROTO)
		return MNL_CB_OK;
	if (ipaddr_equal(&seen.own, &s->addr))
		s->exact = true;
	if (s->index && (int)ifa->ifa_index != s->index)
		return MNL_CB_OK;
	/* A /32 has no neighbours; loopback's 127/8 is no network to be met on. */
	if (ifa->ifa_prefixlen > ipaddr_bits(&s->addr) - 2 || ifa->ifa_scope >= RT_SCOPE_HOST)
		return MNL_CB_OK;
	/* Not yet, or no longer, an address to send from. */
	if (ifa->ifa_family == AF_INET6 &&
	    seen.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED))
		return MNL_CB_OK;
	net = ipaddr_network(&seen.own, ifa->ifa_prefixlen);
	want = ipaddr_network(&s->addr, ifa->ifa_prefixlen);
	if (ifa->ifa_prefixlen > s->found_prefix && ipaddr_equal(&net, &want)) {
		s->found_index = ifa->ifa_index;
		s->found_prefix = ifa->ifa_prefixlen;
		s->found_addr = seen.own;
	}
	return MNL_CB_OK;
}

static int addr_search(struct rtnl *r, struct addr_search *s)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = rtnl_request(r, buf, RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = ipaddr_af(&s->addr);
	return rtnl_exchange(r, nlh, addr_cb, s);
}

int rtnl_addr_network(struct rtnl *r, int index, const struct ipaddr *addr, int *out_index,
		      uint8_t *out_prefix, struct ipaddr *own)
{
	struct addr_search s = {.addr = *addr, .index = index};
	int err = addr_search(r, &s);

	if (err)
		return err;
	if (!s.found_index)
		return -ENODEV;
	*out_index = s.found_index;
	*out_prefix = s.found_prefix;
	*own = s.found_addr;
	return 0;
}

int rtnl_addr_exists(struct rtnl *r, const struct ipaddr *addr)
{
	struct addr_search s = {.addr = *addr};
	int err = addr_search(r, &s);

	return err ? err : s.exact;
}

int rtnl_talk(struct rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	nlh->nlmsg_flags |= NLM_F_REQUEST;
	nlh->nlmsg_seq = ++r->seq;
	return rtnl_exchange(r, nlh, cb, arg);
}

/* ---- watching ------------------------------------------------------------ */
int rtnl_watch_open(struct rtnl **out)
{
	static const unsigned int groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR |
					   RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV6_IFADDR |
					   RTMGRP_IPV6_ROUTE | 1u << (RTNLGRP_IPV6_RULE - 1);

	return open_groups(out, groups, SOCK_NONBLOCK);
}

int rtnl_watch_fd(const struct rtnl *r)
{
	return mnl_socket_get_fd(r->nl);
}

static bool neigh_is_ours(const struct nlmsghdr *nlh)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct ndmsg)) if (mnl_attr_get_type(a) == NDA_PROTOCOL &&
							    mnl_attr_get_u8(a) == RTNL_PROTO) return true;
	return false;
}

static bool interesting(const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);

	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
	case RTM_NEWADDR:
	case RTM_DELADDR:
	case RTM_DELRULE:
		return true;
	case RTM_NEWROUTE:
		return rtm->rtm_table == RT_TABLE_MAIN;
	case RTM_DELROUTE:
		return rtm->rtm_protocol == RTNL_PROTO || rtm->rtm_table == RT_TABLE_MAIN;
	case RTM_DELNEIGH:
		return (ndm->ndm_family == PF_BRIDGE && ndm->ndm_flags & NTF_SELF) || neigh_is_ours(nlh);
	}
	return false;
}

static bool rule_is_ours(const struct nlmsghdr *nlh)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh,
			  sizeof(struct fib_rule_hdr)) if (mnl_attr_get_type(a) == FRA_PROTOCOL &&
							   mnl_attr_get_u8(a) == RTNL_PROTO) return true;
	return false;
}

/* One of ours is gone, and `own` did not ask for it. */
static bool vanished(const struct nlmsghdr *nlh, const struct rtnl *own)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);

	if (own && nlh->nlmsg_pid == mnl_socket_get_portid(own->nl))
		return false;
	switch (nlh->nlmsg_type) {
	case RTM_DELRULE:
		return rule_is_ours(nlh);
	case RTM_DELROUTE:
		return rtm->rtm_protocol == RTNL_PROTO;
	case RTM_DELNEIGH:
		return neigh_is_ours(nlh);
	}
	return false;
}

static int any_interesting(const char *buf, int left, const struct rtnl *own)
{
	const struct nlmsghdr *nlh = (const void *)buf;
	int found = 0;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		if (vanished(nlh, own))
			found = 2;
		else if (!found && interesting(nlh))
			found = 1;
	return found;
}

int rtnl_watch_read(struct rtnl *r, const struct rtnl *own)
{
	ssize_t n;
	int found;

	while ((n = mnl_socket_recvfrom(r->nl, r->buf, sizeof(r->buf))) >= 0)
		if ((found = any_interesting(r->buf, n, own)))
			return found;
	if (errno == ENOBUFS || errno == EINTR)
		return 1; /* something was lost: look at everything */
	return errno == EAGAIN ? 0 : -errno;
}
