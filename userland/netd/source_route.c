// SPDX-License-Identifier: GPL-2.0
/*
 * Two tables, each behind a rule: SOURCE_TABLE_VIP has the cluster addresses themselves and comes before the
 * rule for what programs of this node send to them; SOURCE_TABLE_MAIN is the copy and comes right before `main`,
 * so that rules of the operator's come first. A copied route is sent as it was read, but for table, protocol
 * and source. A family without cluster addresses has none of this.
 */
#include "source_route.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/icmpv6.h>
#include <stdlib.h>
#include <string.h>

#include <ssi/dip.h>

#include "rtnl_int.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"

#define SOURCE_TABLE_VIP  7947
#define SOURCE_TABLE_MAIN 7948
#define SOURCE_PREF_VIP	  49
#define SOURCE_PREF_MAIN  32765
#define METRIC6		  1024 /* what the kernel takes for IPv6 where none is named */
#define ROUTE_MAX	  4096 /* bytes of one */
#define ROUTES_MAX	  512 /* a machine with more is a router, whose programs leave from its own address */

/* Routes one behind the other, as messages. */
struct routes {
	char *data;
	size_t len, size, n;
};

struct reading {
	const struct source_vip *vips;
	size_t n_vips;
	struct routes main, ours;
};

static void routes_add(struct routes *l, const struct nlmsghdr *nlh)
{
	size_t len = MNL_ALIGN(nlh->nlmsg_len);

	if (++l->n > ROUTES_MAX)
		return;
	l->data = grow(l->data, &l->size, l->len, len);
	memset(l->data + l->len, 0, len);
	memcpy(l->data + l->len, nlh, nlh->nlmsg_len);
	l->len += len;
}

#define for_each_route(l, nlh)                                                   \
	for (nlh = (void *)(l)->data; nlh && (char *)nlh < (l)->data + (l)->len; \
	     nlh = (void *)((char *)nlh + MNL_ALIGN(nlh->nlmsg_len)))

/* ---- copying ----------------------------------------------------------------------------- */
struct attrs {
	const struct nlattr *of[RTA_MAX + 1];
};

static struct attrs attrs_of(const struct nlmsghdr *nlh)
{
	struct attrs t = {};
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct rtmsg)) if (mnl_attr_get_type(a) <= RTA_MAX)
		t.of[mnl_attr_get_type(a)] = a;
	return t;
}

static uint32_t table_of(const struct nlmsghdr *nlh, const struct attrs *t)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);

	return t->of[RTA_TABLE] ? mnl_attr_get_u32(t->of[RTA_TABLE]) : rtm->rtm_table;
}

static bool any_vip(const struct reading *rd, int af)
{
	for (size_t i = 0; i < rd->n_vips; i++)
		if (ipaddr_af(&rd->vips[i].addr) == af)
			return true;
	return false;
}

/* fe80::/10: what is called there knows nobody's address but that of the link. */
static bool is_link_local(int af, const struct attrs *t)
{
	struct ipaddr dst = {};

	return af == AF_INET6 && t->of[RTA_DST] && rtnl_attr_addr(t->of[RTA_DST], af, &dst) &&
	       dst.addr[0] == 0xfe && (dst.addr[1] & 0xc0) == 0x80;
}

/* The cluster address that leaves where this route leads, or NULL. */
static const struct ipaddr *source_of(const struct reading *rd, int af, const struct attrs *t)
{
	int index = t->of[RTA_OIF] ? (int)mnl_attr_get_u32(t->of[RTA_OIF]) : 0;

	if (is_link_local(af, t))
		return NULL;
	for (size_t i = 0; i < rd->n_vips && index; i++)
		if (rd->vips[i].index == index && ipaddr_af(&rd->vips[i].addr) == af)
			return &rd->vips[i].addr;
	return NULL;
}

static bool is_copied(int attr, const struct attrs *t, const struct ipaddr *source)
{
	switch (attr) {
	case RTA_TABLE:
	case RTA_CACHEINFO:
		return false;
	case RTA_PREFSRC:
		return !source;
	case RTA_OIF:
	case RTA_GATEWAY:
	case RTA_VIA:
	case RTA_MULTIPATH:
	case RTA_ENCAP:
	case RTA_ENCAP_TYPE:
		return !t->of[RTA_NH_ID]; /* the kernel tells what stands behind the number */
	}
	return true;
}

static struct nlmsghdr *route_begin(char *buf, const struct rtmsg *like, uint32_t table)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	nlh->nlmsg_type = RTM_NEWROUTE;
	*rtm = *like;
	rtm->rtm_table = RT_TABLE_UNSPEC;
	rtm->rtm_protocol = RTNL_PROTO;
	rtm->rtm_flags &= RTNH_F_ONLINK;
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	return nlh;
}

static void copy_route(struct reading *rd, const struct nlmsghdr *from, const struct attrs *t)
{
	char buf[ROUTE_MAX] __attribute__((aligned(8)));
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(from);
	struct nlmsghdr *nlh = route_begin(buf, rtm, SOURCE_TABLE_MAIN);
	const struct ipaddr *source = source_of(rd, rtm->rtm_family, t);
	const struct nlattr *a;

	if (from->nlmsg_len > sizeof(buf) - 64)
		return;
	mnl_attr_for_each(a, from, sizeof(struct rtmsg)) if (is_copied(mnl_attr_get_type(a), t, source))
		mnl_attr_put(nlh, mnl_attr_get_type(a), mnl_attr_get_payload_len(a), mnl_attr_get_payload(a));
	if (source)
		rtnl_put_addr(nlh, RTA_PREFSRC, source);
	routes_add(&rd->main, nlh);
}

static void vip_routes(struct reading *rd)
{
	char buf[ROUTE_MAX] __attribute__((aligned(8)));

	for (size_t i = 0; i < rd->n_vips; i++) {
		const struct ipaddr *addr = &rd->vips[i].addr;
		const struct rtmsg like = {
			.rtm_family = (unsigned char)ipaddr_af(addr),
			.rtm_dst_len = (unsigned char)ipaddr_bits(addr),
			.rtm_type = RTN_UNICAST,
			/* IPv6 has no scopes of routes: the kernel would tell another one */
			.rtm_scope = addr->family == DIP_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		};
		struct nlmsghdr *nlh = route_begin(buf, &like, SOURCE_TABLE_VIP);

		rtnl_put_addr(nlh, RTA_DST, addr);
		mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)rd->vips[i].index);
		rtnl_put_addr(nlh, RTA_PREFSRC, addr);
		if (addr->family == DIP_INET6) {
			mnl_attr_put_u32(nlh, RTA_PRIORITY, METRIC6);
			mnl_attr_put_u8(nlh, RTA_PREF, ICMPV6_ROUTER_PREF_MEDIUM);
		}
		routes_add(&rd->main, nlh);
	}
}

static int read_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct attrs t = attrs_of(nlh);
	struct reading *rd = arg;
	uint32_t table = table_of(nlh, &t);

	if (rtm->rtm_flags & RTM_F_CLONED)
		return MNL_CB_OK;
	if (table == RT_TABLE_MAIN && any_vip(rd, rtm->rtm_family))
		copy_route(rd, nlh, &t);
	else if ((table == SOURCE_TABLE_VIP || table == SOURCE_TABLE_MAIN) && rtm->rtm_protocol == RTNL_PROTO)
		routes_add(&rd->ours, nlh);
	return MNL_CB_OK;
}

/* A kernel without IPv6 has nothing of it. */
static bool no_ipv6(int af, int err)
{
	return af == AF_INET6 && (err == -EAFNOSUPPORT || err == -EOPNOTSUPP);
}

static int read_family(struct rtnl *r, struct reading *rd, int af)
{
	char buf[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	int err;

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_DUMP;
	rtm->rtm_family = (unsigned char)af;
	err = rtnl_talk(r, nlh, read_cb, rd);
	return no_ipv6(af, err) ? 0 : err;
}

static int read_routes(struct rtnl *r, struct reading *rd)
{
	return read_family(r, rd, AF_INET) ?: read_family(r, rd, AF_INET6);
}

/* ---- comparing ----------------------------------------------------------------------------- */
static bool same_attr(const struct nlattr *a, const struct nlattr *b)
{
	if (!a || !b)
		return a == b;
	return mnl_attr_get_payload_len(a) == mnl_attr_get_payload_len(b) &&
	       !memcmp(mnl_attr_get_payload(a), mnl_attr_get_payload(b), mnl_attr_get_payload_len(a));
}

/* The same place of the same table (`exact`: and the same there). */
static bool same_route(const struct nlmsghdr *a, const struct nlmsghdr *b, bool exact)
{
	const struct rtmsg *ra = mnl_nlmsg_get_payload(a), *rb = mnl_nlmsg_get_payload(b);
	struct attrs ta, tb;

	if (ra->rtm_family != rb->rtm_family || ra->rtm_dst_len != rb->rtm_dst_len ||
	    ra->rtm_tos != rb->rtm_tos)
		return false;
	ta = attrs_of(a);
	tb = attrs_of(b);
	if (table_of(a, &ta) != table_of(b, &tb) || !same_attr(ta.of[RTA_DST], tb.of[RTA_DST]) ||
	    !same_attr(ta.of[RTA_PRIORITY], tb.of[RTA_PRIORITY]))
		return false;
	if (!exact)
		return true;
	for (int i = 0; i <= RTA_MAX; i++)
		if (i != RTA_CACHEINFO && !(ta.of[RTA_NH_ID] && !is_copied(i, &ta, NULL)) &&
		    !same_attr(ta.of[i], tb.of[i]))
			return false;
	return ra->rtm_type == rb->rtm_type && ra->rtm_scope == rb->rtm_scope;
}

static bool among(const struct routes *l, const struct nlmsghdr *route, bool exact)
{
	struct nlmsghdr *nlh;

	for_each_route(l, nlh) if (same_route(nlh, route, exact)) return true;
	return false;
}

static int send_route(struct rtnl *r, struct nlmsghdr *nlh, bool add)
{
	int err;

	nlh->nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
	nlh->nlmsg_flags = NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	err = rtnl_talk(r, nlh, NULL, NULL);
	return !add && err == -ESRCH ? 0 : err;
}

/* New ones first: there is always a way out. */
static int bring_in_line(struct rtnl *r, struct reading *rd)
{
	struct nlmsghdr *nlh;
	int err, first = 0, n = 0;

	for_each_route(&rd->main, nlh)
	{
		if (among(&rd->ours, nlh, true))
			continue;
		err = send_route(r, nlh, true);
		if (err && !first)
			first = err;
		n += !err;
	}
	for_each_route(&rd->ours, nlh)
	{
		if (among(&rd->main, nlh, false))
			continue;
		err = send_route(r, nlh, false);
		if (err && !first)
			first = err;
		n += !err;
	}
	return first ?: n;
}

/* ---- rules ----------------------------------------------------------------------------------- */
/* 1: done; 0: it was so. */
static int rule(struct rtnl *r, bool add, int af, uint32_t pref, uint32_t table)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));
	int err;

	nlh->nlmsg_type = add ? RTM_NEWRULE : RTM_DELRULE;
	nlh->nlmsg_flags = NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	frh->family = (unsigned char)af;
	frh->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_TABLE, table);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, pref);
	mnl_attr_put_u32(nlh, FRA_FWMARK, DIP_SOURCE_MARK);
	mnl_attr_put_u32(nlh, FRA_FWMASK, ~0u);
	mnl_attr_put_strz(nlh, FRA_IIFNAME, "lo");
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, RTNL_PROTO);
	err = rtnl_talk(r, nlh, NULL, NULL);
	if (err == -EEXIST || err == -ENOENT || (!add && no_ipv6(af, err)))
		return 0;
	return err ?: 1;
}

/* Of the families that have a cluster address; the others' go. */
static int rules(struct rtnl *r, const struct reading *rd)
{
	static const int families[] = {AF_INET, AF_INET6};
	int n = 0;

	for (int i = 0; i < 2; i++) {
		int af = families[i], add = any_vip(rd, af);
		int a = rule(r, add, af, SOURCE_PREF_VIP, SOURCE_TABLE_VIP);
		int b = rule(r, add, af, SOURCE_PREF_MAIN, SOURCE_TABLE_MAIN);

		if (a < 0 || b < 0)
			return a < 0 ? a : b;
		n += a + b;
	}
	return n;
}

int source_route_set(struct rtnl *r, const struct source_vip *vips, size_t n)
{
	struct reading rd = {.vips = vips, .n_vips = n};
	int err;

	vip_routes(&rd);
	err = read_routes(r, &rd);
	if (!err && rd.main.n > ROUTES_MAX)
		err = -E2BIG;
	if (!err)
		err = bring_in_line(r, &rd);
	if (err >= 0)
		err = rules(r, &rd);
	free(rd.main.data);
	free(rd.ours.data);
	return err < 0 ? err : 0;
}

int source_route_clear(struct rtnl *r)
{
	struct reading rd = {};
	int n = rules(r, &rd), err = read_routes(r, &rd);

	if (!err)
		err = bring_in_line(r, &rd);
	free(rd.main.data);
	free(rd.ours.data);
	return n < 0 ? n : err < 0 ? err : n + err;
}
