// SPDX-License-Identifier: GPL-2.0
/*
 * The nftables table "netdev netssi"; see bearer_filter.h. In words, per bearer:
 *
 *	IPv4, ARP, IPv6                       accept
 *	meta protocol tipc, @nh,0,3 == 7      accept
 *	meta protocol tipc                    drop
 *	one more tag, then tipc               the same, four bytes further on
 *	two more tags, the first with id 0    drop
 *
 * A frame is told by `meta protocol`, not by `ether type`: for a frame in a priority
 * tag (VLAN id 0) the latter is the tag's, the former what the kernel goes on with.
 * Each write is one transaction: there is no moment without the rules.
 */
#include "bearer_filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "userland/lib/log.h"

#define BEARERS_MAX  16
#define BUFFER	     163840 /* of all messages of a transaction: 7 KiB a bearer */
#define PRIORITY     -500   /* before whoever might forward a frame */
#define PROTO_TIPC   0x88ca
#define PROTO_8021Q  0x8100
#define PROTO_8021AD 0x88a8
#define TIPC_CRYPTED 0xe0 /* version 7, in the first three bits of the header */

struct bearer_filter {
	struct mnl_socket *rules, *events; /* the first one owns the table */
	uv_poll_t poll;
	char bearer[BEARERS_MAX][IF_NAMESIZE];
	size_t n_bearers;
	bool owned, broken;
};

/* The messages of one transaction. */
struct batch {
	char buf[BUFFER];
	size_t len;
	uint32_t seq, first;
};

/* ---- messages ---- */

static struct nlmsghdr *batch_message(struct batch *b, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(b->buf + b->len);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_seq = b->seq++;
	nfg->nfgen_family = NFPROTO_NETDEV;
	nfg->version = NFNETLINK_V0;
	return nlh;
}

static void batch_add(struct batch *b, const struct nlmsghdr *nlh)
{
	b->len += MNL_ALIGN(nlh->nlmsg_len);
}

static void batch_edge(struct batch *b, uint16_t type)
{
	struct nlmsghdr *nlh = batch_message(b, 0, 0);
	struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);

	nlh->nlmsg_type = type;
	nfg->nfgen_family = AF_UNSPEC;
	nfg->res_id = htons(NFNL_SUBSYS_NFTABLES);
	batch_add(b, nlh);
}

static void batch_begin(struct batch *b)
{
	b->len = 0;
	b->first = b->seq;
	batch_edge(b, NFNL_MSG_BATCH_BEGIN);
}

/* Reads until the answer to the last message; the first error counts. */
static int batch_answers(struct batch *b, struct mnl_socket *nl, uint32_t last)
{
	char buf[8192];
	int error = 0;

	for (;;) {
		ssize_t len = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		const struct nlmsghdr *nlh = (void *)buf;
		int left = (int)len;

		if (len < 0)
			return error ? error : -errno;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type != NLMSG_ERROR || nlh->nlmsg_seq - b->first > last - b->first)
				continue;
			if (e->error && !error)
				error = e->error;
			if (nlh->nlmsg_seq == last)
				return error;
		}
	}
}

static int batch_send(struct batch *b, struct mnl_socket *nl, struct nlmsghdr *last)
{
	uint32_t seq = last->nlmsg_seq;

	last->nlmsg_flags |= NLM_F_ACK;
	batch_edge(b, NFNL_MSG_BATCH_END);
	if (mnl_socket_sendto(nl, b->buf, b->len) < 0)
		return -errno;
	return batch_answers(b, nl, seq);
}

/* ---- expressions: each a nest of name and data ---- */

struct expression {
	struct nlattr *element, *data;
};

static struct expression expression_start(struct nlmsghdr *nlh, const char *name)
{
	struct expression e;

	e.element = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, name);
	e.data = mnl_attr_nest_start(nlh, NFTA_EXPR_DATA);
	return e;
}

static void expression_end(struct nlmsghdr *nlh, struct expression e)
{
	mnl_attr_nest_end(nlh, e.data);
	mnl_attr_nest_end(nlh, e.element);
}

static void put_be32(struct nlmsghdr *nlh, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(nlh, type, htonl(value));
}

static void put_value(struct nlmsghdr *nlh, uint16_t type, const void *value, size_t len)
{
	struct nlattr *nest = mnl_attr_nest_start(nlh, type);

	mnl_attr_put(nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(nlh, nest);
}

static void match_equal(struct nlmsghdr *nlh, const void *value, size_t len)
{
	struct expression e = expression_start(nlh, "cmp");

	put_be32(nlh, NFTA_CMP_SREG, NFT_REG_1);
	put_be32(nlh, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(nlh, NFTA_CMP_DATA, value, len);
	expression_end(nlh, e);
}

/*
 * Always as a range: nft 1.1 takes one protocol for the start of what follows and ends in an assertion
 * when it lists a rule with bytes of that.
 */
static void match_protocol(struct nlmsghdr *nlh, uint16_t from, uint16_t to)
{
	struct expression e = expression_start(nlh, "meta");
	uint16_t first = htons(from), last = htons(to);

	put_be32(nlh, NFTA_META_KEY, NFT_META_PROTOCOL);
	put_be32(nlh, NFTA_META_DREG, NFT_REG_1);
	expression_end(nlh, e);
	e = expression_start(nlh, "range");
	put_be32(nlh, NFTA_RANGE_SREG, NFT_REG_1);
	put_be32(nlh, NFTA_RANGE_OP, NFT_RANGE_EQ);
	put_value(nlh, NFTA_RANGE_FROM_DATA, &first, sizeof(first));
	put_value(nlh, NFTA_RANGE_TO_DATA, &last, sizeof(last));
	expression_end(nlh, e);
}

static void load(struct nlmsghdr *nlh, unsigned int offset, size_t len)
{
	struct expression e = expression_start(nlh, "payload");

	put_be32(nlh, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_be32(nlh, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
	put_be32(nlh, NFTA_PAYLOAD_OFFSET, offset);
	put_be32(nlh, NFTA_PAYLOAD_LEN, (uint32_t)len);
	expression_end(nlh, e);
}

static void match_bytes(struct nlmsghdr *nlh, unsigned int offset, uint16_t value)
{
	uint16_t wire = htons(value);

	load(nlh, offset, sizeof(wire));
	match_equal(nlh, &wire, sizeof(wire));
}

static void match_masked(struct nlmsghdr *nlh, const void *mask, const void *value, size_t len)
{
	static const uint8_t zero[4];
	struct expression e = expression_start(nlh, "bitwise");

	put_be32(nlh, NFTA_BITWISE_SREG, NFT_REG_1);
	put_be32(nlh, NFTA_BITWISE_DREG, NFT_REG_1);
	put_be32(nlh, NFTA_BITWISE_LEN, (uint32_t)len);
	put_value(nlh, NFTA_BITWISE_MASK, mask, len);
	put_value(nlh, NFTA_BITWISE_XOR, zero, len);
	expression_end(nlh, e);
	match_equal(nlh, value, len);
}

static void match_crypted(struct nlmsghdr *nlh, unsigned int offset)
{
	static const uint8_t crypted = TIPC_CRYPTED;

	load(nlh, offset, sizeof(crypted));
	match_masked(nlh, &crypted, &crypted, sizeof(crypted));
}

static void match_vlan_zero(struct nlmsghdr *nlh)
{
	static const uint8_t mask[2] = {0x0f, 0xff}, zero[2];

	load(nlh, 0, sizeof(zero));
	match_masked(nlh, mask, zero, sizeof(zero));
}

/* Drops are counted: `nft list table netdev netssi` shows whether somebody tried. */
static void conclude(struct nlmsghdr *nlh, uint32_t verdict)
{
	struct nlattr *data, *nest;
	struct expression e;

	if (verdict == NF_DROP)
		expression_end(nlh, expression_start(nlh, "counter"));
	e = expression_start(nlh, "immediate");
	put_be32(nlh, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = mnl_attr_nest_start(nlh, NFTA_IMMEDIATE_DATA);
	nest = mnl_attr_nest_start(nlh, NFTA_DATA_VERDICT);
	put_be32(nlh, NFTA_VERDICT_CODE, verdict);
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_nest_end(nlh, data);
	expression_end(nlh, e);
}

/* ---- rules ---- */

struct rule {
	struct nlmsghdr *nlh;
	struct nlattr *expressions;
};

static struct rule rule_start(struct batch *b, const char *chain)
{
	struct rule r = {.nlh = batch_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)};

	mnl_attr_put_strz(r.nlh, NFTA_RULE_TABLE, BEARER_FILTER_TABLE);
	mnl_attr_put_strz(r.nlh, NFTA_RULE_CHAIN, chain);
	r.expressions = mnl_attr_nest_start(r.nlh, NFTA_RULE_EXPRESSIONS);
	return r;
}

static struct nlmsghdr *rule_end(struct batch *b, struct rule r, uint32_t verdict)
{
	conclude(r.nlh, verdict);
	mnl_attr_nest_end(r.nlh, r.expressions);
	batch_add(b, r.nlh);
	return r.nlh;
}

/* IPv4 and ARP are done with the first rule, IPv6 with the second. */
static void rules_others(struct batch *b, const char *chain)
{
	struct rule r = rule_start(b, chain);

	match_protocol(r.nlh, 0, PROTO_8021Q - 1);
	rule_end(b, r, NF_ACCEPT);
	r = rule_start(b, chain);
	match_protocol(r.nlh, PROTO_8021Q + 1, PROTO_8021AD - 1);
	rule_end(b, r, NF_ACCEPT);
}

static void rules_plain(struct batch *b, const char *chain)
{
	struct rule r = rule_start(b, chain);

	match_protocol(r.nlh, PROTO_TIPC, PROTO_TIPC);
	match_crypted(r.nlh, 0);
	rule_end(b, r, NF_ACCEPT);
	r = rule_start(b, chain);
	match_protocol(r.nlh, PROTO_TIPC, PROTO_TIPC);
	rule_end(b, r, NF_DROP);
}

/* The network header is the second tag: two bytes of id, two of protocol. */
static struct nlmsghdr *rules_tagged(struct batch *b, const char *chain, uint16_t tag)
{
	static const uint16_t third[] = {PROTO_8021Q, PROTO_8021AD};
	struct rule r = rule_start(b, chain);
	struct nlmsghdr *last = NULL;

	match_protocol(r.nlh, tag, tag);
	match_bytes(r.nlh, 2, PROTO_TIPC);
	match_crypted(r.nlh, 4);
	rule_end(b, r, NF_ACCEPT);
	r = rule_start(b, chain);
	match_protocol(r.nlh, tag, tag);
	match_bytes(r.nlh, 2, PROTO_TIPC);
	rule_end(b, r, NF_DROP);
	for (size_t i = 0; i < sizeof(third) / sizeof(third[0]); i++) {
		r = rule_start(b, chain);
		match_protocol(r.nlh, tag, tag);
		match_vlan_zero(r.nlh);
		match_bytes(r.nlh, 2, third[i]);
		last = rule_end(b, r, NF_DROP);
	}
	return last;
}

static void put_table(struct batch *b, uint16_t type, uint32_t table_flags)
{
	struct nlmsghdr *nlh = batch_message(b, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, BEARER_FILTER_TABLE);
	if (type == NFT_MSG_NEWTABLE)
		put_be32(nlh, NFTA_TABLE_FLAGS, table_flags);
	batch_add(b, nlh);
}

static void put_chain(struct batch *b, const char *interface)
{
	struct nlmsghdr *nlh = batch_message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nlattr *hook;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, BEARER_FILTER_TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, interface);
	hook = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	put_be32(nlh, NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
	put_be32(nlh, NFTA_HOOK_PRIORITY, (uint32_t)PRIORITY);
	mnl_attr_put_strz(nlh, NFTA_HOOK_DEV, interface);
	mnl_attr_nest_end(nlh, hook);
	put_be32(nlh, NFTA_CHAIN_POLICY, NF_ACCEPT);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	batch_add(b, nlh);
}

/* The rules that may stand there go in the same transaction as the new ones come. */
static void put_no_rules(struct batch *b, const char *chain)
{
	struct nlmsghdr *nlh = batch_message(b, NFT_MSG_DELRULE, 0);

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, BEARER_FILTER_TABLE);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
	batch_add(b, nlh);
}

/* `anew`: what stands there now is not ours to change; replace it. */
static int write_table(struct bearer_filter *f, struct batch *b, uint32_t flags, bool anew)
{
	struct nlmsghdr *last = NULL;

	batch_begin(b);
	if (anew) {
		put_table(b, NFT_MSG_NEWTABLE, 0);
		put_table(b, NFT_MSG_DELTABLE, 0);
	}
	put_table(b, NFT_MSG_NEWTABLE, flags);
	for (size_t i = 0; i < f->n_bearers; i++) {
		if (!if_nametoindex(f->bearer[i])) /* its chain went with it, and its bearer */
			continue;
		put_chain(b, f->bearer[i]);
		put_no_rules(b, f->bearer[i]);
		rules_others(b, f->bearer[i]);
		rules_plain(b, f->bearer[i]);
		rules_tagged(b, f->bearer[i], PROTO_8021Q);
		last = rules_tagged(b, f->bearer[i], PROTO_8021AD);
	}
	return last ? batch_send(b, f->rules, last) : 0;
}

static int filter_write(struct bearer_filter *f)
{
	const uint32_t owned = NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST;
	struct batch *b = calloc(1, sizeof(*b));
	int r = -EOPNOTSUPP;

	if (!b)
		return -ENOMEM;
	b->seq = 1;
	if (f->owned) {
		r = write_table(f, b, owned, false);
		if (r < 0)
			r = write_table(f, b, owned, true);
	}
	if (r == -EOPNOTSUPP || r == -EINVAL)
		r = write_table(f, b, 0, false);
	free(b);
	f->broken = r < 0;
	return r;
}

/* ---- who else changes it ---- */

static int table_name(const struct nlattr *attr, void *data)
{
	/* NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE: all 1 */
	if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME && !mnl_attr_validate(attr, MNL_TYPE_NUL_STRING))
		*(const char **)data = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static bool is_foreign_change(const struct bearer_filter *f, const struct nlmsghdr *nlh)
{
	const char *table = NULL;
	const struct nfgenmsg *nfg;

	if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
	    nlh->nlmsg_len < NLMSG_LENGTH(sizeof(*nfg)) || nlh->nlmsg_pid == mnl_socket_get_portid(f->rules))
		return false;
	nfg = mnl_nlmsg_get_payload(nlh);
	switch (NFNL_MSG_TYPE(nlh->nlmsg_type)) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_DELTABLE:
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		break;
	default:
		return false;
	}
	mnl_attr_parse(nlh, sizeof(*nfg), table_name, &table);
	return nfg->nfgen_family == NFPROTO_NETDEV && table && !strcmp(table, BEARER_FILTER_TABLE);
}

static void filter_repair(struct bearer_filter *f)
{
	bool was_broken = f->broken;
	int r = filter_write(f);

	if (!r)
		log_warn("the filter against plain TIPC frames (nftables, table netdev " BEARER_FILTER_TABLE
			 ") was changed by another program; it is in place again");
	else if (!was_broken)
		log_err("the filter against plain TIPC frames cannot be put back: %s; who changed the table "
			"netdev " BEARER_FILTER_TABLE "?",
			strerror(-r));
}

static void on_events(uv_poll_t *p, int status, int events)
{
	struct bearer_filter *f = p->data;
	bool changed = false;
	char buf[8192];
	ssize_t len;

	(void)status;
	(void)events;
	for (;;) {
		const struct nlmsghdr *nlh = (void *)buf;
		int left;

		len = recv(mnl_socket_get_fd(f->events), buf, sizeof(buf), MSG_DONTWAIT);
		if (len < 0 && errno == ENOBUFS) /* what was missed may have been about us */
			changed = true;
		else if (len <= 0)
			break;
		for (left = (int)len; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			changed |= is_foreign_change(f, nlh);
	}
	if (changed)
		filter_repair(f);
}

/* ---- life ---- */

static struct mnl_socket *nl_open(unsigned int groups)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	const struct timeval limit = {.tv_sec = 1};

	if (!nl)
		return NULL;
	if (mnl_socket_bind(nl, groups, MNL_SOCKET_AUTOPID) < 0) {
		mnl_socket_close(nl);
		return NULL;
	}
	setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return nl;
}

int bearer_filter_new(uv_loop_t *loop, bool owned, struct bearer_filter **out)
{
	struct bearer_filter *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->owned = owned;
	f->rules = nl_open(0);
	f->events = f->rules ? nl_open(1u << (NFNLGRP_NFTABLES - 1)) : NULL;
	if (!f->events) {
		int r = -errno;

		if (f->rules)
			mnl_socket_close(f->rules);
		free(f);
		return r ? r : -EPROTONOSUPPORT;
	}
	uv_poll_init(loop, &f->poll, mnl_socket_get_fd(f->events));
	f->poll.data = f;
	uv_poll_start(&f->poll, UV_READABLE, on_events);
	*out = f;
	return 0;
}

int bearer_filter_add(struct bearer_filter *f, const char *interface)
{
	int r;

	for (size_t i = 0; i < f->n_bearers; i++)
		if (!strcmp(f->bearer[i], interface))
			return f->broken ? filter_write(f) : 0;
	if (f->n_bearers == BEARERS_MAX || strlen(interface) >= IF_NAMESIZE)
		return -ENOSPC;
	strcpy(f->bearer[f->n_bearers++], interface);
	r = filter_write(f);
	if (r < 0)
		f->n_bearers--;
	return r;
}

bool bearer_filter_check(struct bearer_filter *f)
{
	if (f->broken)
		filter_repair(f);
	return !f->broken;
}

static int remove_table(struct mnl_socket *nl)
{
	struct batch *b = calloc(1, sizeof(*b));
	struct nlmsghdr *last;
	int r;

	if (!b)
		return -ENOMEM;
	b->seq = 1;
	batch_begin(b);
	last = (void *)(b->buf + b->len);
	put_table(b, NFT_MSG_DELTABLE, 0);
	r = batch_send(b, nl, last);
	free(b);
	return r == -ENOENT ? 0 : r;
}

static void on_closed(uv_handle_t *h)
{
	struct bearer_filter *f = h->data;

	mnl_socket_close(f->events);
	mnl_socket_close(f->rules);
	free(f);
}

void bearer_filter_free(struct bearer_filter *f, bool remove)
{
	if (!f)
		return;
	if (remove && remove_table(f->rules) < 0)
		log_warn("the nftables table netdev " BEARER_FILTER_TABLE " could not be removed");
	uv_close((uv_handle_t *)&f->poll, on_closed);
}

int bearer_filter_cleanup(void)
{
	struct mnl_socket *nl = nl_open(0);
	int r = nl ? remove_table(nl) : -errno;

	if (nl)
		mnl_socket_close(nl);
	return r;
}
