// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel must know of a cluster address: that it is local, and the way to
 * it for what this node sends. Both families; they differ in one thing: IPv6
 * answers neighbours only for an address of the interface, so it becomes one.
 */
#include "rtnl_int.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <stdio.h>

/* A kernel without IPv6 has nothing of it. */
static bool no_ipv6(int af, int err)
{
	return af == AF_INET6 && (err == -EAFNOSUPPORT || err == -EOPNOTSUPP);
}

static int dump(struct rtnl *r, uint16_t type, int af, mnl_cb_t cb, void *arg)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = rtnl_request(r, buf, type, NLM_F_DUMP);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	int err;

	/* The family is the first byte of every such header. */
	rtm->rtm_family = af;
	err = rtnl_exchange(r, nlh, cb, arg);
	return no_ipv6(af, err) ? 0 : err;
}

/* ---- routes ---------------------------------------------------------------- */
struct gateway_search {
	struct ipaddr addr;
	bool found;
};

static int gateway_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct gateway_search *s = arg;
	const struct nlattr *a;
	struct ipaddr via;

	mnl_attr_for_each(a, nlh, sizeof(*rtm)) if (mnl_attr_get_type(a) == RTA_GATEWAY &&
						    rtnl_attr_addr(a, rtm->rtm_family, &via))
		s->found |= ipaddr_equal(&via, &s->addr);
	return MNL_CB_OK;
}

int rtnl_is_gateway(struct rtnl *r, const struct ipaddr *addr)
{
	struct gateway_search s = {.addr = *addr};
	int err = dump(r, RTM_GETROUTE, ipaddr_af(addr), gateway_cb, &s);

	return err ? err : s.found;
}

static int route(struct rtnl *r, bool add, const struct ipaddr *addr, unsigned char type, uint32_t table,
		 int index, const struct ipaddr *from)
{
	char buf[MNL_NLMSG_HDRLEN + 192];
	struct nlmsghdr *nlh = rtnl_request(r, buf, add ? RTM_NEWROUTE : RTM_DELROUTE,
					    add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = ipaddr_af(addr);
	rtm->rtm_dst_len = ipaddr_bits(addr);
	rtm->rtm_table = table < 256 ? table : RT_TABLE_UNSPEC;
	rtm->rtm_protocol = RTNL_PROTO;
	rtm->rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
	rtm->rtm_type = type;
	rtnl_put_addr(nlh, RTA_DST, addr);
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	if (index)
		mnl_attr_put_u32(nlh, RTA_OIF, index);
	if (from)
		rtnl_put_addr(nlh, RTA_PREFSRC, from);
	return rtnl_change(r, nlh, add);
}

/*
 * An address that is not for sending from: deprecated from the start. No DAD, for all
 * nodes have it; no route to a network that it does not bring.
 */
static int address(struct rtnl *r, bool add, const struct ipaddr *addr, int index)
{
	static const uint32_t flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE;
	static const struct ifa_cacheinfo life = {.ifa_prefered = 0, .ifa_valid = UINT32_MAX};
	char buf[MNL_NLMSG_HDRLEN + 192];
	struct nlmsghdr *nlh =
		rtnl_request(r, buf, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = ipaddr_af(addr);
	ifa->ifa_prefixlen = ipaddr_bits(addr);
	ifa->ifa_index = index;
	rtnl_put_addr(nlh, IFA_LOCAL, addr);
	if (add) {
		mnl_attr_put_u32(nlh, IFA_FLAGS, flags);
		mnl_attr_put(nlh, IFA_CACHEINFO, sizeof(life), &life);
		mnl_attr_put_u8(nlh, IFA_PROTO, RTNL_PROTO);
	}
	return rtnl_change(r, nlh, add);
}

int rtnl_local(struct rtnl *r, bool add, const struct ipaddr *addr, int index)
{
	if (addr->family == DIP_INET6)
		return address(r, add, addr, index);
	return route(r, add, addr, RTN_LOCAL, RT_TABLE_LOCAL, if_nametoindex("lo"), NULL);
}

int rtnl_route_dev(struct rtnl *r, bool add, const struct ipaddr *addr, int index, const struct ipaddr *own)
{
	/* IPv4 finds the interface's address by itself; IPv6 would take the one that it calls. */
	return route(r, add, addr, RTN_UNICAST, RTNL_TABLE, index, addr->family == DIP_INET6 ? own : NULL);
}

static int route_get_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct rtmsg)) if (mnl_attr_get_type(a) == RTA_OIF) * (int *)arg =
		mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

int rtnl_route_get(struct rtnl *r, const struct ipaddr *addr, int *index)
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh = rtnl_request(r, buf, RTM_GETROUTE, NLM_F_ACK);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = ipaddr_af(addr);
	rtm->rtm_dst_len = ipaddr_bits(addr);
	rtnl_put_addr(nlh, RTA_DST, addr);
	*index = 0;
	return rtnl_exchange(r, nlh, route_get_cb, index);
}

/* ---- rules, neighbours, filters ------------------------------------------------ */
static struct nlmsghdr *rule(struct rtnl *r, char *buf, bool add, int af, uint32_t pref, uint32_t table)
{
	struct nlmsghdr *nlh =
		rtnl_request(r, buf, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	struct fib_rule_hdr *frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));

	frh->family = af;
	frh->action = FR_ACT_TO_TBL;
	frh->table = table < 256 ? table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(nlh, FRA_TABLE, table);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, pref);
	return nlh;
}

static int rule_vip(struct rtnl *r, bool add, const struct ipaddr *addr, uint32_t pref, uint32_t table,
		    uint8_t proto)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = rule(r, buf, add, ipaddr_af(addr), pref, table);
	struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);

	frh->dst_len = ipaddr_bits(addr);
	if (!table)
		frh->action = FR_ACT_UNREACHABLE;
	rtnl_put_addr(nlh, FRA_DST, addr);
	mnl_attr_put_strz(nlh, FRA_IIFNAME, "lo");
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, proto);
	return rtnl_change(r, nlh, add);
}

/*
 * While the rule or its route is away, what this node sends to the address would come to its own stack, which
 * resets connections that it knows nothing of. So behind it stands another, as the kernel's own, for the reason
 * that rule_local() has.
 */
int rtnl_rule_vip(struct rtnl *r, bool add, const struct ipaddr *addr)
{
	int err = rule_vip(r, add, addr, RTNL_PREF_VIP, RTNL_TABLE, RTNL_PROTO);

	return err ? err : rule_vip(r, add, addr, RTNL_PREF_GUARD, RT_TABLE_UNSPEC, RTPROT_KERNEL);
}

/* The kernel's own rule in another place, so the kernel's protocol number: what
 * removes foreign rules (systemd-networkd) leaves it, and the node its addresses. */
static int rule_local(struct rtnl *r, bool add, int af, uint32_t pref)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = rule(r, buf, add, af, pref, RT_TABLE_LOCAL);

	mnl_attr_put_u8(nlh, FRA_PROTOCOL, RTPROT_KERNEL);
	return rtnl_change(r, nlh, add);
}

int rtnl_rule_local(struct rtnl *r, uint8_t family, bool behind)
{
	int af = family == DIP_INET6 ? AF_INET6 : AF_INET;
	int err = rule_local(r, true, af, behind ? RTNL_PREF_LOCAL : 0);

	if (!err)
		err = rule_local(r, false, af, behind ? 0 : RTNL_PREF_LOCAL);
	return !behind && no_ipv6(af, err) ? 0 : err;
}

int rtnl_neigh(struct rtnl *r, bool add, int index, const struct ipaddr *addr, const uint8_t mac[6])
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh = rtnl_request(r, buf, add ? RTM_NEWNEIGH : RTM_DELNEIGH,
					    add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = ipaddr_af(addr);
	ndm->ndm_ifindex = index;
	ndm->ndm_state = NUD_PERMANENT;
	rtnl_put_addr(nlh, NDA_DST, addr);
	if (add) {
		mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
		mnl_attr_put_u8(nlh, NDA_PROTOCOL, RTNL_PROTO);
	}
	return rtnl_change(r, nlh, add);
}

int rtnl_filter(struct rtnl *r, bool add, int index, const uint8_t mac[6])
{
	char buf[MNL_NLMSG_HDRLEN + 128];
	struct nlmsghdr *nlh =
		rtnl_request(r, buf, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = PF_BRIDGE;
	ndm->ndm_ifindex = index;
	ndm->ndm_state = NUD_PERMANENT | NUD_NOARP;
	ndm->ndm_flags = NTF_SELF;
	mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
	return rtnl_change(r, nlh, add);
}

/* ---- what is left over from before --------------------------------------- */
enum kind { LOCAL, ROUTE, RULE, NEIGH };

struct purge {
	bool (*keep)(void *arg, const struct ipaddr *addr);
	void *arg;
	struct found {
		struct ipaddr addr;
		enum kind kind;
		int index; /* LOCAL of IPv6, NEIGH: the interface */
	} found[128];
	size_t n;
};

static void note(struct purge *p, uint8_t proto, const struct ipaddr *addr, enum kind kind, int index)
{
	if (proto == RTNL_PROTO && addr->family && !(p->keep && p->keep(p->arg, addr)) &&
	    p->n < sizeof(p->found) / sizeof(p->found[0]))
		p->found[p->n++] = (struct found){*addr, kind, index};
}

static int route_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	uint32_t table = rtm->rtm_table;
	struct ipaddr dst = {};
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(*rtm))
	{
		if (mnl_attr_get_type(a) == RTA_DST)
			rtnl_attr_addr(a, rtm->rtm_family, &dst);
		else if (mnl_attr_get_type(a) == RTA_TABLE)
			table = mnl_attr_get_u32(a);
	}
	if (table == RTNL_TABLE || table == RT_TABLE_LOCAL)
		note(arg, rtm->rtm_protocol, &dst, table == RTNL_TABLE ? ROUTE : LOCAL, 0);
	return MNL_CB_OK;
}

static int addr_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct ipaddr addr = {};
	const struct nlattr *a;
	uint8_t proto = 0;

	mnl_attr_for_each(a, nlh, sizeof(*ifa))
	{
		if (mnl_attr_get_type(a) == IFA_ADDRESS)
			rtnl_attr_addr(a, ifa->ifa_family, &addr);
		else if (mnl_attr_get_type(a) == IFA_PROTO)
			proto = mnl_attr_get_u8(a);
	}
	note(arg, proto, &addr, LOCAL, ifa->ifa_index);
	return MNL_CB_OK;
}

static int rule_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);
	struct ipaddr dst = {};
	const struct nlattr *a;
	uint32_t pref = 0;
	uint8_t proto = 0;

	mnl_attr_for_each(a, nlh, sizeof(*frh))
	{
		if (mnl_attr_get_type(a) == FRA_DST)
			rtnl_attr_addr(a, frh->family, &dst);
		else if (mnl_attr_get_type(a) == FRA_PROTOCOL)
			proto = mnl_attr_get_u8(a);
		else if (mnl_attr_get_type(a) == FRA_PRIORITY)
			pref = mnl_attr_get_u32(a);
	}
	if (pref == RTNL_PREF_GUARD && frh->action == FR_ACT_UNREACHABLE && proto == RTPROT_KERNEL)
		proto = RTNL_PROTO;
	note(arg, proto, &dst, RULE, 0);
	return MNL_CB_OK;
}

static int neigh_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	struct ipaddr dst = {};
	const struct nlattr *a;
	uint8_t proto = 0;

	mnl_attr_for_each(a, nlh, sizeof(*ndm))
	{
		if (mnl_attr_get_type(a) == NDA_DST)
			rtnl_attr_addr(a, ndm->ndm_family, &dst);
		else if (mnl_attr_get_type(a) == NDA_PROTOCOL)
			proto = mnl_attr_get_u8(a);
	}
	note(arg, proto, &dst, NEIGH, ndm->ndm_ifindex);
	return MNL_CB_OK;
}

static int gather(struct rtnl *r, int af, struct purge *p)
{
	static const struct {
		uint16_t type;
		mnl_cb_t cb;
	} what[] = {{RTM_GETROUTE, route_cb},
		    {RTM_GETADDR, addr_cb},
		    {RTM_GETRULE, rule_cb},
		    {RTM_GETNEIGH, neigh_cb}};
	int err = 0;

	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]) && !err; i++)
		err = dump(r, what[i].type, af, what[i].cb, p);
	return err;
}

static int take_out(struct rtnl *r, const struct found *f)
{
	switch (f->kind) {
	case LOCAL:
		return rtnl_local(r, false, &f->addr, f->index);
	case ROUTE:
		return rtnl_route_dev(r, false, &f->addr, 0, NULL);
	case RULE:
		return rtnl_rule_vip(r, false, &f->addr);
	case NEIGH:
		return rtnl_neigh(r, false, f->index, &f->addr, NULL);
	}
	return -EINVAL;
}

int rtnl_purge(struct rtnl *r, bool (*keep)(void *arg, const struct ipaddr *addr), void *arg)
{
	struct purge p = {.keep = keep, .arg = arg};
	int err = gather(r, AF_INET, &p);

	if (!err)
		err = gather(r, AF_INET6, &p);
	for (size_t i = 0; i < p.n && !err; i++)
		err = take_out(r, &p.found[i]);
	return err ? err : (int)p.n;
}
