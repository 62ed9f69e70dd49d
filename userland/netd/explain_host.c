// SPDX-License-Identifier: GPL-2.0
/* Listener, reverse path filter, way back and firewall of this node. */
#include "explain_host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "datapath_int.h"
#include "userland/lib/cleanup.h"

static void add(json_t *list, const char *what, bool ok, const char *text, const char *remedy)
{
	json_array_append_new(list, json_pack("{ss,sb,ss,ss}", "what", what, "ok", ok, "text", text, "remedy",
					      ok ? "" : remedy));
}

/* ---- listener --------------------------------------------------------------------------- */
struct listener {
	struct ipaddr vip;
	uint16_t port;
	int found;	    /* 0 none, 1 elsewhere, 2 reachable */
	struct ipaddr addr; /* of the best */
};

static void listener_fn(void *arg, const struct sockdiag_sock *s)
{
	struct listener *l = arg;
	bool family = s->addr.family == l->vip.family || (s->addr.family == DIP_INET6 && !s->only6);
	int good = ipaddr_any(&s->addr) ? family : ipaddr_equal(&s->addr, &l->vip);

	if (s->port != l->port || l->found >= 1 + good)
		return;
	l->found = 1 + good;
	l->addr = s->addr;
}

static void check_listener(struct datapath *dp, const struct vip *v, uint8_t proto, uint16_t port,
			   json_t *list)
{
	struct listener l = {.vip = vips_addr(v), .port = port};
	char text[160];
	uint32_t states = proto == IPPROTO_TCP ? SOCKDIAG_LISTEN : SOCKDIAG_UDP;

	sockdiag_dump(dp->diag, AF_INET, proto, states, listener_fn, &l);
	sockdiag_dump(dp->diag, AF_INET6, proto, states, listener_fn, &l);
	if (!l.found) {
		add(list, "listener", false, "no socket has the port on this node", "start the server there");
		return;
	}
	snprintf(text, sizeof(text), "a socket has %s port %u", ipaddr_text(&l.addr), port);
	add(list, "listener", l.found == 2, text,
	    l.vip.family == DIP_INET6 ? "let it listen on :: or on the cluster address"
				      : "let it listen on 0.0.0.0 or on the cluster address");
}

/* ---- sysctls and routes ------------------------------------------------------------------- */
static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static int rp_filter_of(const char *dev)
{
	_cleanup_(close_file) FILE *f = NULL;
	char path[128];
	int value = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", dev);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &value) != 1)
		value = 0;
	return value;
}

/* IPv6 has no such filter of its own. */
static void check_rp_filter(const struct vip *v, int oif, json_t *list)
{
	int all = rp_filter_of("all"), own = rp_filter_of(v->link.name);
	int strict = (all > own ? all : own) == 1;
	char text[160], remedy[160];

	snprintf(text, sizeof(text), "rp_filter of %s is %s", v->link.name,
		 strict ? "strict (1)" : "off or loose");
	snprintf(remedy, sizeof(remedy), "sysctl net.ipv4.conf.%s.rp_filter=2", v->link.name);
	add(list, "rp_filter", !strict || oif == v->link.index, text, remedy);
}

static void check_way_back(struct datapath *dp, const struct vip *v, const struct ipaddr *client,
			   json_t *list)
{
	struct rtnl_link back = {};
	char text[160];
	int oif = 0, err = rtnl_route_get(dp->rtnl, client, &oif);

	if (!err && oif)
		err = rtnl_link_get(dp->rtnl, oif, NULL, &back);
	if (err) {
		add(list, "route", false, "there is no route back to the client", "add one with `ip route`");
		return;
	}
	snprintf(text, sizeof(text), "answers leave through %s", back.name);
	add(list, "route", back.loopback || oif == v->link.index, text,
	    "answers leave by another interface than requests come in: check the routes");
	if (client->family == DIP_INET)
		check_rp_filter(v, oif, list);
}

/* ---- firewall -------------------------------------------------------------------------------- */
struct firewall {
	json_t *list;
	uint16_t port;
	uint8_t proto, family;
	int found;
};

static int hook_of(const struct nlattr *nested)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, nested) if (mnl_attr_get_type(a) ==
						NFTA_HOOK_HOOKNUM) return ntohl(mnl_attr_get_u32(a));
	return -1;
}

/* A base chain on the way in that drops what no rule allows. */
static int chain_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const char *table = "?", *name = "?";
	struct firewall *fw = arg;
	char text[256], remedy[256];
	const struct nlattr *a;
	int hook = -1, policy = NF_ACCEPT;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		switch (mnl_attr_get_type(a)) {
		case NFTA_CHAIN_TABLE:
			table = mnl_attr_get_str(a);
			break;
		case NFTA_CHAIN_NAME:
			name = mnl_attr_get_str(a);
			break;
		case NFTA_CHAIN_HOOK:
			hook = hook_of(a);
			break;
		case NFTA_CHAIN_POLICY:
			policy = ntohl(mnl_attr_get_u32(a));
			break;
		}
	}
	if (nfg->nfgen_family == (fw->family == DIP_INET6 ? NFPROTO_IPV4 : NFPROTO_IPV6))
		return MNL_CB_OK;
	if (policy != NF_DROP || (hook != NF_INET_LOCAL_IN && hook != NF_INET_PRE_ROUTING))
		return MNL_CB_OK;
	fw->found++;
	snprintf(text, sizeof(text), "chain %s of nftables table %s drops what no rule allows", name, table);
	snprintf(remedy, sizeof(remedy), "make sure that a rule there accepts `%s dport %u`",
		 fw->proto == IPPROTO_UDP ? "udp" : "tcp", fw->port);
	add(fw->list, "firewall", false, text, remedy);
	return MNL_CB_OK;
}

static int list_chains(struct mnl_socket *nl, struct firewall *fw)
{
	char buf[32768];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;
	ssize_t n;
	int rc;

	nlh->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = time(NULL);
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = NFPROTO_UNSPEC;
	nfg->version = NFNETLINK_V0;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 || mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, n, 0, mnl_socket_get_portid(nl), chain_cb, fw);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

static void check_firewall(uint8_t family, uint8_t proto, uint16_t port, json_t *list)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct firewall fw = {.list = list, .family = family, .proto = proto, .port = port};

	/* No nf_tables in the kernel: nothing of it can be in the way. */
	if (nl && !list_chains(nl, &fw) && !fw.found)
		add(list, "firewall", true, "no nftables chain drops by default on the way in", "");
	if (nl)
		mnl_socket_close(nl);
}

json_t *explain_host(struct datapath *dp, const struct vip *v, const struct ipaddr *client, uint8_t proto,
		     uint16_t port, bool home)
{
	json_t *list = json_array();

	if (!home)
		check_listener(dp, v, proto, port, list);
	check_way_back(dp, v, client, list);
	check_firewall(v->key.family, proto, port, list);
	return list;
}
