// SPDX-License-Identifier: GPL-2.0
/*
 * rtnetlink requests over libmnl. A struct rtnl is one socket with one request
 * in flight; used from netd's loop only.
 */
#include "rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/cleanup.h"

#define BUF_SIZE 32768

struct rtnl {
	struct mnl_socket *nl;
	uint32_t seq;
	char buf[BUF_SIZE];
};

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

static struct nlmsghdr *request(struct rtnl *r, char *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = ++r->seq;
	return nlh;
}

/* Sends, then reads answers until the acknowledgement or the end of the dump. */
static int talk(struct rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
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

/* A change: what is already so is no error. */
static int change(struct rtnl *r, struct nlmsghdr *nlh, bool add)
{
	int err;

	nlh->nlmsg_flags |= NLM_F_ACK;
	err = talk(r, nlh, NULL, NULL);
	if (add && err == -EEXIST)
		return 0;
	if (!add && (err == -ENOENT || err == -ESRCH || err == -ENODEV || err == -ENXIO))
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
	struct nlmsghdr *nlh = request(r, buf, RTM_GETLINK, NLM_F_ACK);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	int err;

	if (!index && strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	ifi->ifi_index = index;
	if (!index)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	err = talk(r, nlh, link_cb, &link);
	if (err)
		return err;
	*out = link;
	return 0;
}

static int link_flags(struct rtnl *r, int index, unsigned int flags, unsigned int change_mask)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = request(r, buf, RTM_NEWLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = index;
	ifi->ifi_flags = flags;
	ifi->ifi_change = change_mask;
	return change(r, nlh, true);
}

int rtnl_link_up(struct rtnl *r, int index)
{
	return link_flags(r, index, IFF_UP, IFF_UP);
}

int rtnl_link_add(struct rtnl *r, const char *name, const char *kind)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = request(r, buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct nlattr *info;

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	mnl_attr_nest_end(nlh, info);
	return change(r, nlh, true);
}

int rtnl_link_del(struct rtnl *r, int index)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = request(r, buf, RTM_DELLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = index;
	return change(r, nlh, false);
}

int rtnl_promisc(struct rtnl *r, bool on, int index)
{
	return link_flags(r, index, on ? IFF_PROMISC : 0, IFF_PROMISC);
}

struct addr_search {
	__be32 addr;
	int index; /* 0: any */
	int found_index;
	int found_prefix;
	__be32 found_addr;
	bool exact; /* the address itself was met */
};

static bool same_network(__be32 a, __be32 b, int prefix)
{
	uint32_t mask = prefix ? ~0u << (32 - prefix) : 0;

	return !(ntohl(a ^ b) & mask);
}

static int addr_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct addr_search *s = arg;
	const struct nlattr *a;
	__be32 own = 0;

	if (ifa->ifa_family != AF_INET)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*ifa)) if (mnl_attr_get_type(a) == IFA_LOCAL)
		own = mnl_attr_get_u32(a);
	if (own == s->addr)
		s->exact = true;
	if (s->index && (int)ifa->ifa_index != s->index)
		return MNL_CB_OK;
	/* A /32 has no neighbours; loopback's 127/8 is no network to be met on. */
	if (ifa->ifa_prefixlen > 30 || ifa->ifa_scope >= RT_SCOPE_HOST)
		return MNL_CB_OK;
	if (ifa->ifa_prefixlen > s->found_prefix && same_network(own, s->addr, ifa->ifa_prefixlen)) {
		s->found_index = ifa->ifa_index;
		s->found_prefix = ifa->ifa_prefixlen;
		s->found_addr = own;
	}
	return MNL_CB_OK;
}

static int addr_search(struct rtnl *r, struct addr_search *s)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = request(r, buf, RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = AF_INET;
	return talk(r, nlh, addr_cb, s);
}

int rtnl_addr_network(struct rtnl *r, int index, __be32 addr, int *out_index, uint8_t *out_prefix,
		      __be32 *own)
{
	struct addr_search s = {.addr = addr, .index = index};
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

int rtnl_addr_exists(struct rtnl *r, __be32 addr)
{
	struct addr_search s = {.addr = addr};
	int err = addr_search(r, &s);

	return err ? err : s.exact;
}

static int dump(struct rtnl *r, uint16_t type, mnl_cb_t cb, void *arg)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = request(r, buf, type, NLM_F_DUMP);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = AF_INET;
	return talk(r, nlh, cb, arg);
}

struct gateway_search {
	__be32 addr;
	bool found;
};

static int gateway_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct gateway_search *s = arg;
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct rtmsg)) if (mnl_attr_get_type(a) == RTA_GATEWAY &&
							    mnl_attr_get_u32(a) == s->addr) s->found = true;
	return MNL_CB_OK;
}

int rtnl_is_gateway(struct rtnl *r, __be32 addr)
{
	struct gateway_search s = {.addr = addr};
	int err = dump(r, RTM_GETROUTE, gateway_cb, &s);

	return err ? err : s.found;
}

static int route(struct rtnl *r, bool add, __be32 addr, unsigned char type, uint32_t table, int index)
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh =
		request(r, buf, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = 32;
	rtm->rtm_table = table < 256 ? table : RT_TABLE_UNSPEC;
	rtm->rtm_protocol = RTNL_PROTO;
	rtm->rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
	rtm->rtm_type = type;
	mnl_attr_put_u32(nlh, RTA_DST, addr);
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	if (index)
		mnl_attr_put_u32(nlh, RTA_OIF, index);
	return change(r, nlh, add);
}

int rtnl_route_local(struct rtnl *r, bool add, __be32 addr)
{
	return route(r, add, addr, RTN_LOCAL, RT_TABLE_LOCAL, if_nametoindex("lo"));
}

int rtnl_route_dev(struct rtnl *r, bool add, __be32 addr, int index)
{
	return route(r, add, addr, RTN_UNICAST, RTNL_TABLE, index);
}

static int route_get_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct rtmsg)) if (mnl_attr_get_type(a) == RTA_OIF) * (int *)arg =
		mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

int rtnl_route_get(struct rtnl *r, __be32 addr, int *index)
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh = request(r, buf, RTM_GETROUTE, NLM_F_ACK);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = 32;
	mnl_attr_put_u32(nlh, RTA_DST, addr);
	*index = 0;
	return talk(r, nlh, route_get_cb, index);
}

static struct nlmsghdr *rule(struct rtnl *r, char *buf, bool add, uint32_t pref, uint32_t table)
{
	struct nlmsghdr *nlh =
		request(r, buf, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	struct fib_rule_hdr *frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));

	frh->family = AF_INET;
	frh->action = FR_ACT_TO_TBL;
	frh->table = table < 256 ? table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(nlh, FRA_TABLE, table);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, pref);
	return nlh;
}

int rtnl_rule_vip(struct rtnl *r, bool add, __be32 addr)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = rule(r, buf, add, RTNL_PREF_VIP, RTNL_TABLE);

	((struct fib_rule_hdr *)mnl_nlmsg_get_payload(nlh))->dst_len = 32;
	mnl_attr_put_u32(nlh, FRA_DST, addr);
	mnl_attr_put_strz(nlh, FRA_IIFNAME, "lo");
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, RTNL_PROTO);
	return change(r, nlh, add);
}

/* The kernel's own rule in another place, so the kernel's protocol number: what
 * removes foreign rules (systemd-networkd) leaves it, and the node its addresses. */
static int rule_local(struct rtnl *r, bool add, uint32_t pref)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = rule(r, buf, add, pref, RT_TABLE_LOCAL);

	mnl_attr_put_u8(nlh, FRA_PROTOCOL, RTPROT_KERNEL);
	return change(r, nlh, add);
}

int rtnl_rule_local(struct rtnl *r, bool behind)
{
	int err = rule_local(r, true, behind ? RTNL_PREF_LOCAL : 0);

	return err ? err : rule_local(r, false, behind ? 0 : RTNL_PREF_LOCAL);
}

int rtnl_neigh(struct rtnl *r, bool add, int index, __be32 addr, const uint8_t mac[6])
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh =
		request(r, buf, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = AF_INET;
	ndm->ndm_ifindex = index;
	ndm->ndm_state = NUD_PERMANENT;
	mnl_attr_put_u32(nlh, NDA_DST, addr);
	if (add) {
		mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
		mnl_attr_put_u8(nlh, NDA_PROTOCOL, RTNL_PROTO);
	}
	return change(r, nlh, add);
}

int rtnl_filter(struct rtnl *r, bool add, int index, const uint8_t mac[6])
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh =
		request(r, buf, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = PF_BRIDGE;
	ndm->ndm_ifindex = index;
	ndm->ndm_state = NUD_PERMANENT | NUD_NOARP;
	ndm->ndm_flags = NTF_SELF;
	mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
	return change(r, nlh, add);
}

/* ---- what is left over from before --------------------------------------- */
struct purge {
	bool (*keep)(void *arg, __be32 addr);
	void *arg;
	struct found {
		__be32 addr;
		uint32_t table; /* RTNL_TABLE, RT_TABLE_LOCAL; 0: a rule, or a neighbour */
		int neigh;	/* on this interface */
	} found[128];
	size_t n;
};

static void purge_note(struct purge *p, __be32 addr, uint32_t table, int neigh)
{
	if (addr && !(p->keep && p->keep(p->arg, addr)) && p->n < sizeof(p->found) / sizeof(p->found[0]))
		p->found[p->n++] = (struct found){addr, table, neigh};
}

static int purge_route_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	uint32_t table = rtm->rtm_table;
	const struct nlattr *a;
	__be32 dst = 0;

	if (rtm->rtm_protocol != RTNL_PROTO || rtm->rtm_dst_len != 32)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*rtm))
	{
		if (mnl_attr_get_type(a) == RTA_DST)
			dst = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_TABLE)
			table = mnl_attr_get_u32(a);
	}
	if (table == RTNL_TABLE || table == RT_TABLE_LOCAL) /* others are not of one address */
		purge_note(arg, dst, table, 0);
	return MNL_CB_OK;
}

static int purge_rule_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	uint8_t proto = 0;
	__be32 dst = 0;

	mnl_attr_for_each(a, nlh, sizeof(*frh))
	{
		if (mnl_attr_get_type(a) == FRA_DST)
			dst = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == FRA_PROTOCOL)
			proto = mnl_attr_get_u8(a);
	}
	if (proto == RTNL_PROTO)
		purge_note(arg, dst, 0, 0);
	return MNL_CB_OK;
}

static int purge_neigh_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	uint8_t proto = 0;
	__be32 dst = 0;

	mnl_attr_for_each(a, nlh, sizeof(*ndm))
	{
		if (mnl_attr_get_type(a) == NDA_DST && mnl_attr_get_payload_len(a) == sizeof(dst))
			dst = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == NDA_PROTOCOL)
			proto = mnl_attr_get_u8(a);
	}
	if (proto == RTNL_PROTO)
		purge_note(arg, dst, 0, ndm->ndm_ifindex);
	return MNL_CB_OK;
}

int rtnl_purge(struct rtnl *r, bool (*keep)(void *arg, __be32 addr), void *arg)
{
	struct purge p = {.keep = keep, .arg = arg};
	int err = dump(r, RTM_GETROUTE, purge_route_cb, &p);

	if (!err)
		err = dump(r, RTM_GETRULE, purge_rule_cb, &p);
	if (!err)
		err = dump(r, RTM_GETNEIGH, purge_neigh_cb, &p);
	for (size_t i = 0; i < p.n && !err; i++) {
		if (p.found[i].table == RT_TABLE_LOCAL)
			err = rtnl_route_local(r, false, p.found[i].addr);
		else if (p.found[i].table == RTNL_TABLE)
			err = rtnl_route_dev(r, false, p.found[i].addr, 0);
		else if (p.found[i].neigh)
			err = rtnl_neigh(r, false, p.found[i].neigh, p.found[i].addr, NULL);
		else
			err = rtnl_rule_vip(r, false, p.found[i].addr);
	}
	return err ? err : (int)p.n;
}

int rtnl_talk(struct rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	nlh->nlmsg_flags |= NLM_F_REQUEST;
	nlh->nlmsg_seq = ++r->seq;
	return talk(r, nlh, cb, arg);
}

/* ---- watching ------------------------------------------------------------ */
int rtnl_watch_open(struct rtnl **out)
{
	return open_groups(
		out, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_NEIGH,
		SOCK_NONBLOCK);
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

static bool any_interesting(const char *buf, int left)
{
	const struct nlmsghdr *nlh = (const void *)buf;
	bool found = false;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		found |= interesting(nlh);
	return found;
}

int rtnl_watch_read(struct rtnl *r)
{
	ssize_t n;

	while ((n = mnl_socket_recvfrom(r->nl, r->buf, sizeof(r->buf))) >= 0)
		if (any_interesting(r->buf, n))
			return 1;
	if (errno == ENOBUFS || errno == EINTR)
		return 1; /* something was lost: look at everything */
	return errno == EAGAIN ? 0 : -errno;
}
