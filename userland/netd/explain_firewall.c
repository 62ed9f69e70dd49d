// SPDX-License-Identifier: GPL-2.0
#include "explain_firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#include <ssi/dip.h>

#define CHAINS_MAX 64

struct search {
	uint8_t other; /* NFPROTO_ of the family that is not asked for */
	struct found {
		uint8_t family;
		char table[64], name[64];
		bool drops;
	} chains[CHAINS_MAX];
	int n;
};

static void close_socket(struct mnl_socket **nl)
{
	if (*nl)
		mnl_socket_close(*nl);
}

static int dump(struct mnl_socket *nl, uint16_t what, mnl_cb_t cb, struct search *s)
{
	char buf[32768];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;
	ssize_t n;
	int rc;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | what;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = what;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = NFPROTO_UNSPEC;
	nfg->version = NFNETLINK_V0;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, n, what, mnl_socket_get_portid(nl), cb, s);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

static const struct nlattr *within(const struct nlattr *nested, uint16_t type)
{
	const struct nlattr *a;

	if (nested)
		mnl_attr_for_each_nested(a, nested) if (mnl_attr_get_type(a) == type) return a;
	return NULL;
}

static const struct nlattr *attr_of(const struct nlmsghdr *nlh, uint16_t type)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(a) == type) return a;
	return NULL;
}

static const char *string_of(const struct nlattr *a)
{
	return a ? mnl_attr_get_str(a) : "";
}

/* ---- base chains on the way in ---- */
static int chain_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *hook = within(attr_of(nlh, NFTA_CHAIN_HOOK), NFTA_HOOK_HOOKNUM);
	const struct nlattr *policy = attr_of(nlh, NFTA_CHAIN_POLICY);
	struct search *s = arg;
	struct found *f;
	uint32_t at = hook ? ntohl(mnl_attr_get_u32(hook)) : UINT32_MAX;

	if (nfg->nfgen_family != NFPROTO_IPV4 && nfg->nfgen_family != NFPROTO_IPV6 &&
	    nfg->nfgen_family != NFPROTO_INET)
		return MNL_CB_OK;
	if (nfg->nfgen_family == s->other || (at != NF_INET_LOCAL_IN && at != NF_INET_PRE_ROUTING))
		return MNL_CB_OK;
	if (s->n == CHAINS_MAX)
		return MNL_CB_OK;
	f = &s->chains[s->n++];
	f->family = nfg->nfgen_family;
	f->drops = policy && ntohl(mnl_attr_get_u32(policy)) == NF_DROP;
	snprintf(f->table, sizeof(f->table), "%s", string_of(attr_of(nlh, NFTA_CHAIN_TABLE)));
	snprintf(f->name, sizeof(f->name), "%s", string_of(attr_of(nlh, NFTA_CHAIN_NAME)));
	return MNL_CB_OK;
}

/* ---- rules that let nothing pass ---- */
enum effect { NOTHING, ENDS, DEPENDS };

/* What an expression does to a packet that comes to it. */
static enum effect effect_of(const struct nlattr *expr)
{
	const char *name = string_of(within(expr, NFTA_EXPR_NAME));
	const struct nlattr *data = within(expr, NFTA_EXPR_DATA), *code;

	if (!strcmp(name, "counter") || !strcmp(name, "log"))
		return NOTHING;
	if (!strcmp(name, "reject"))
		return ENDS;
	if (!strcmp(name, "target")) { /* of iptables */
		const char *target = string_of(within(data, NFTA_TARGET_NAME));

		return !strcmp(target, "REJECT") || !strcmp(target, "DROP") ? ENDS : DEPENDS;
	}
	if (strcmp(name, "immediate"))
		return DEPENDS;
	code = within(within(within(data, NFTA_IMMEDIATE_DATA), NFTA_DATA_VERDICT), NFTA_VERDICT_CODE);
	return code && ntohl(mnl_attr_get_u32(code)) == NF_DROP ? ENDS : DEPENDS;
}

static bool drops_all(const struct nlattr *exprs)
{
	enum effect effect = NOTHING;
	const struct nlattr *e;

	if (!exprs)
		return false;
	mnl_attr_for_each_nested(e, exprs) if (effect == NOTHING) effect = effect_of(e);
	return effect == ENDS;
}

static int rule_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const char *table = string_of(attr_of(nlh, NFTA_RULE_TABLE));
	const char *chain = string_of(attr_of(nlh, NFTA_RULE_CHAIN));
	struct search *s = arg;

	for (int i = 0; i < s->n; i++) {
		struct found *f = &s->chains[i];

		if (!f->drops && f->family == nfg->nfgen_family && !strcmp(f->table, table) &&
		    !strcmp(f->name, chain))
			f->drops = drops_all(attr_of(nlh, NFTA_RULE_EXPRESSIONS));
	}
	return MNL_CB_OK;
}

int firewall_chains(uint8_t family, void (*fn)(void *arg, const struct firewall_chain *chain), void *arg)
{
	__attribute__((cleanup(close_socket))) struct mnl_socket *nl =
		mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct search s = {.other = family == DIP_INET6 ? NFPROTO_IPV4 : NFPROTO_IPV6};
	int err, n = 0;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	err = dump(nl, NFT_MSG_GETCHAIN, chain_cb, &s);
	err = err || !s.n ? err : dump(nl, NFT_MSG_GETRULE, rule_cb, &s);
	for (int i = 0; i < s.n && !err; i++) {
		if (!s.chains[i].drops)
			continue;
		fn(arg, &(struct firewall_chain){s.chains[i].table, s.chains[i].name});
		n++;
	}
	return err ? err : n;
}
