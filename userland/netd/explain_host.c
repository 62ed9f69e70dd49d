// SPDX-License-Identifier: GPL-2.0
/* Listener, reverse path filter, way back and firewall of this node. */
#include "explain_host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "datapath_int.h"
#include "explain_firewall.h"
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
	uint8_t proto;
};

/* Neither well nor wrong: that depends on rules which are not weighed here. */
static void on_chain(void *arg, const struct firewall_chain *chain)
{
	const struct firewall *fw = arg;
	char text[256], remedy[256];

	snprintf(text, sizeof(text), "chain %s of nftables table %s drops what no rule there accepts",
		 chain->name, chain->table);
	snprintf(remedy, sizeof(remedy),
		 "make sure that a rule accepts `%s dport %u`; `netctl trace` shows whether answers leave",
		 fw->proto == IPPROTO_UDP ? "udp" : "tcp", fw->port);
	json_array_append_new(fw->list, json_pack("{ss,sn,ss,ss}", "what", "firewall", "ok", "text", text,
						  "remedy", remedy));
}

static void check_firewall(uint8_t family, uint8_t proto, uint16_t port, json_t *list)
{
	struct firewall fw = {.list = list, .proto = proto, .port = port};

	/* No nf_tables in the kernel: nothing of it can be in the way. */
	if (!firewall_chains(family, on_chain, &fw))
		add(list, "firewall", true, "no nftables chain drops or rejects by default on the way in",
		    "");
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
