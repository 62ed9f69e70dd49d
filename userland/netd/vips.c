// SPDX-License-Identifier: GPL-2.0
/*
 * The set `vips` on this node: which interface, the table entry, the programs,
 * the address filter, routes and rules, and the announcement. Everything is
 * set again whenever the kernel's configuration changes, so that what others
 * delete comes back; each step is harmless when it was done before.
 */
#include "datapath_int.h"

#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "claims.h"
#include "member.h"
#include "source_ports.h"
#include "undo.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

struct ipaddr vips_addr(const struct vip *v)
{
	return ipaddr_of(v->key.family, v->key.addr);
}

static const char *vip_text(const struct vip *v)
{
	struct ipaddr addr = vips_addr(v);

	return ipaddr_text(&addr);
}

struct vip *vips_find(struct datapath *dp, const struct ipaddr *addr)
{
	for (int i = 0; i < DATAPATH_VIPS; i++) {
		struct ipaddr has = vips_addr(&dp->vips[i]);

		if (dp->vips[i].used && ipaddr_equal(&has, addr))
			return &dp->vips[i];
	}
	return NULL;
}

/* ---- which interface ----------------------------------------------------------- */
void vips_dev_of(const char *devs, const char *node, char out[IFNAMSIZ])
{
	size_t node_len = strlen(node), len;
	const char *at = devs, *colon;

	out[0] = '\0';
	while (*at) {
		len = strcspn(at, ",");
		colon = memchr(at, ':', len);
		if (!colon && len < IFNAMSIZ && !out[0])
			snprintf(out, IFNAMSIZ, "%.*s", (int)len, at);
		if (colon && (size_t)(colon - at) == node_len && !memcmp(at, node, node_len)) {
			snprintf(out, IFNAMSIZ, "%.*s", (int)(len - node_len - 1), colon + 1);
			return;
		}
		at += len + (at[len] == ',');
	}
}

__attribute__((format(printf, 3, 4))) static int refuse(struct vips_why *why, const char *remedy,
							const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	snprintf(why->remedy, sizeof(why->remedy), "%s", remedy);
	return -EINVAL;
}

static int check_link(struct datapath *dp, const struct ipaddr *addr, unsigned int prefix, const char *dev,
		      struct rtnl_link *link, struct ipaddr *own, struct vips_why *why)
{
	const char *text = ipaddr_text(addr), *net;
	struct ipaddr network;
	uint8_t net_prefix;
	char remedy[128];
	int index = 0, err;

	if (dev[0] && rtnl_link_get(dp->rtnl, 0, dev, link))
		return refuse(why, "`ip link` lists the interfaces", "there is no interface %s", dev);
	if (dev[0])
		index = link->index;
	err = rtnl_addr_network(dp->rtnl, index, addr, &index, &net_prefix, own);
	if (err == -ENODEV && dev[0])
		return refuse(why, "choose an address of the interface's network, or another interface",
			      "%s is not on a network of interface %s", text, dev);
	if (err == -ENODEV)
		return refuse(why, "choose an address of one of this node's networks, or name an interface",
			      "no interface is on the network of %s", text);
	if (err || (err = rtnl_link_get(dp->rtnl, index, NULL, link)))
		return refuse(why, "see the log of netd there", "cannot read the interfaces: %s",
			      strerror(-err));
	network = ipaddr_network(own, net_prefix);
	net = ipaddr_text(&network);
	if (!ipaddr_is_host(addr, net_prefix))
		return refuse(why, "choose a free host address of the network",
			      "%s is no address of a host in %s/%u of interface %s", text, net, net_prefix,
			      link->name);
	snprintf(remedy, sizeof(remedy), "say %s/%u", text, net_prefix);
	if (prefix != ipaddr_bits(addr) && prefix != net_prefix)
		return refuse(why, remedy, "the network of interface %s is %s/%u, not /%u", link->name, net,
			      net_prefix, prefix);
	return 0;
}

int vips_check(struct datapath *dp, const struct ipaddr *addr, unsigned int prefix, const char *devs,
	       const uint8_t mac[6], struct rtnl_link *link, struct vips_why *why)
{
	char dev[IFNAMSIZ], remedy[64];
	struct rtnl_link found = {};
	struct ipaddr own;
	int err;

	vips_dev_of(devs, datapath_node_name(dp, datapath_self(dp)), dev);
	err = check_link(dp, addr, prefix, dev, &found, &own, why);
	if (err)
		return err;
	snprintf(remedy, sizeof(remedy), "ip link set %s up", found.name);
	if (!found.up)
		return refuse(why, remedy, "interface %s is down", found.name);
	if (!found.ethernet || found.loopback)
		return refuse(why, "name an Ethernet interface", "interface %s is not Ethernet", found.name);
	if (!memcmp(found.mac, mac, 6))
		return refuse(why, "give another --mac", "the MAC is that of interface %s itself",
			      found.name);
	if (found.shares && !(mac[0] & 1))
		return refuse(why, "give a multicast MAC, such as --mac 03:00:5e:00:00:01",
			      "interface %s is a macvlan or ipvlan, which hears no unicast MAC but its own",
			      found.name);
	if (rtnl_is_gateway(dp->rtnl, addr) > 0)
		return refuse(why, "choose a free address", "%s is the gateway of a route of that node",
			      ipaddr_text(addr));
	if (rtnl_addr_exists(dp->rtnl, addr) > 0)
		return refuse(why, "choose a free address, or `ip addr del` it there",
			      "%s is an address of that node itself", ipaddr_text(addr));
	*link = found;
	return 0;
}

/* ---- programs on an interface ----------------------------------------------------- */
static const char *xdp_mode(int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (bpf_xdp_query(ifindex, 0, &q))
		return "none";
	switch (q.attach_mode) {
	case XDP_ATTACHED_DRV:
	case XDP_ATTACHED_HW:
		return "native";
	case XDP_ATTACHED_SKB:
		return "generic";
	}
	return "none";
}

/*
 * Native XDP or none: where the driver has none, tc decides alone. Generic XDP
 * would have to copy nearly every packet first, and the copy has lost the length
 * of its MAC header (6.12 to 6.18): tc programs behind it see the packet shifted.
 */
static void attach_xdp(struct datapath *dp, struct vip *v)
{
	char name[IFNAMSIZ + 8];

	snprintf(name, sizeof(name), "xdp-%s", v->link.name);
	if (dip_bpf_attach(dp->bpf, DIP_PROG_XDP, v->link.index, XDP_FLAGS_DRV_MODE, name)) {
		log_notice("no native XDP on %s, tc decides alone: %s", v->link.name, dip_bpf_error());
		v->xdp = "none";
		return;
	}
	v->xdp = xdp_mode(v->link.index);
}

static int attach_link(struct datapath *dp, struct vip *v)
{
	char name[IFNAMSIZ + 8];
	int err;

	snprintf(name, sizeof(name), "out-%s", v->link.name);
	err = dip_bpf_attach(dp->bpf, DIP_PROG_TC_OUT, v->link.index, 0, name);
	if (!err) {
		snprintf(name, sizeof(name), "in-%s", v->link.name);
		err = dip_bpf_attach(dp->bpf, DIP_PROG_TC_IN, v->link.index, 0, name);
	}
	if (err)
		snprintf(v->state, sizeof(v->state), "cannot attach to %s: %s", v->link.name,
			 dip_bpf_error());
	else
		attach_xdp(dp, v);
	return err;
}

static bool link_in_use(const struct datapath *dp, const char *ifname)
{
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed && !strcmp(dp->vips[i].link.name, ifname))
			return true;
	return false;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Programs on interfaces that no VIP is on, also those of an earlier netd. */
static void detach_unused(struct datapath *dp)
{
	static const char *const prefix[] = {"xdp-", "in-", "out-"};
	_cleanup_(close_dir) DIR *dir = opendir(NETD_BPF_DIR "/links");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		for (size_t i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++) {
			size_t n = strlen(prefix[i]);

			if (!strncmp(e->d_name, prefix[i], n) && !link_in_use(dp, e->d_name + n))
				dip_bpf_detach(dp->bpf, e->d_name);
		}
	}
}

/* ---- expose and withdraw --------------------------------------------------------------- */
/*
 * Frames to the shared MAC must come up. A bridge that were given the MAC as its
 * own would keep what this node sends to the other nodes, too; so a bridge
 * listens to everything instead.
 */
static int set_filter(struct datapath *dp, struct vip *v)
{
	if (v->link.bridge)
		return undo_promisc(dp->rtnl, &v->link);
	return rtnl_filter(dp->rtnl, true, v->link.index, v->value.mac);
}

/* The order matters: nothing is let in before it can be decided, and the local
 * route comes last. */
static int set_network(struct datapath *dp, struct vip *v)
{
	struct ipaddr addr = vips_addr(v);
	const char *what = "the rules";
	int err = rtnl_rule_local(dp->rtnl, addr.family, true);

	if (!err && addr.family == DIP_INET) {
		what = "accept_local";
		err = undo_accept_local(&v->link);
	}
	if (!err)
		err = rtnl_rule_vip(dp->rtnl, true, &addr);
	if (!err) {
		what = "the route";
		err = rtnl_route_dev(dp->rtnl, true, &addr, v->link.index, &v->own);
	}
	if (!err) {
		what = "the neighbour entry";
		err = rtnl_neigh(dp->rtnl, true, v->link.index, &addr, v->value.mac);
	}
	if (!err) {
		what = "the MAC filter";
		err = set_filter(dp, v);
	}
	if (!err) {
		what = "the local address";
		err = rtnl_local(dp->rtnl, true, &addr, v->link.index);
	}
	if (err)
		snprintf(v->state, sizeof(v->state), "cannot set %s on %s: %s", what, v->link.name,
			 strerror(-err));
	return err;
}

static int set_table(struct datapath *dp, struct vip *v)
{
	struct dip_vip_spec spec = {.family = v->key.family, .ifindex = v->link.index};
	struct ipaddr addr = vips_addr(v);
	int slot;

	spec.addr = ipaddr_dip(&addr);
	memcpy(spec.mac, v->value.mac, 6);
	slot = dip_vip_add(dip_bpf_mem(dp->bpf), &spec);
	if (slot < 0)
		snprintf(v->state, sizeof(v->state), "no room in the table of cluster addresses: %s",
			 strerror(-slot));
	v->slot = slot;
	return slot < 0 ? slot : 0;
}

static bool any_exposed(const struct datapath *dp)
{
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed)
			return true;
	return false;
}

static void withdraw(struct datapath *dp, struct vip *v)
{
	struct ipaddr addr = vips_addr(v);

	if (!v->exposed)
		return;
	v->exposed = false;
	rtnl_local(dp->rtnl, false, &addr, v->link.index);
	if (!v->link.bridge)
		rtnl_filter(dp->rtnl, false, v->link.index, v->value.mac);
	rtnl_neigh(dp->rtnl, false, v->link.index, &addr, NULL);
	rtnl_route_dev(dp->rtnl, false, &addr, v->link.index, NULL);
	rtnl_rule_vip(dp->rtnl, false, &addr);
	if (!link_in_use(dp, v->link.name))
		undo_link(dp->rtnl, v->link.index);
	if (dp->bpf) {
		union dip_addr a = ipaddr_dip(&addr);

		dip_vip_del(dip_bpf_mem(dp->bpf), addr.family, &a);
		if (any_exposed(dp)) /* else all are taken out, elsewhere and later */
			detach_unused(dp);
	}
	v->xdp = "none";
	if (!strcmp(v->state, "up"))
		log_notice("%s withdrawn from %s", vip_text(v), v->link.name);
}

/* Brings one VIP up, or keeps it so. */
static void expose(struct datapath *dp, struct vip *v)
{
	const char *self = datapath_node_name(dp, datapath_self(dp));
	struct ipaddr addr = vips_addr(v), own = {};
	struct rtnl_link link = {};
	struct vips_why why = {};
	bool fresh;
	char dev[IFNAMSIZ];
	int err;

	vips_dev_of(v->value.devs, self, dev);
	if (check_link(dp, &addr, ipaddr_bits(&addr), dev, &link, &own, &why) || !link.up) {
		withdraw(dp, v);
		v->link = (struct rtnl_link){};
		snprintf(v->state, sizeof(v->state), "%.200s",
			 why.text[0] ? why.text : "the interface is down");
		return;
	}
	/* another interface, or another name: programs are pinned by it */
	if (v->exposed && (v->link.index != link.index || strcmp(v->link.name, link.name)))
		withdraw(dp, v);
	fresh = !v->exposed;
	v->link = link;
	v->own = own;
	err = datapath_load(dp);
	if (err) {
		snprintf(v->state, sizeof(v->state), "%s", err == -EINPROGRESS ? "starting" : dp->error);
		return;
	}
	if (fresh)
		datapath_nodes_apply(dp);
	if (set_table(dp, v))
		return;
	v->exposed = true;
	if (fresh)
		datapath_ports_apply(dp, v);
	if (datapath_attach(dp) || (fresh && attach_link(dp, v)) || set_network(dp, v)) {
		withdraw(dp, v);
		if (!dp->attached)
			snprintf(v->state, sizeof(v->state), "%s", dp->error);
		return;
	}
	snprintf(v->state, sizeof(v->state), "up");
	datapath_set_error(dp, "%s", "");
	if (memcmp(dp->pushed_mac, v->link.mac, 6))
		datapath_nodes_push(dp);
	if (!fresh)
		return;
	log_notice("%s exposed on %s, XDP %s", vip_text(v), v->link.name, v->xdp);
	if (dp->lease_ns)
		vips_announce(v);
}

/* What an earlier netd set up goes on while the programs are loaded. */
static bool stands(void *arg, const struct ipaddr *addr)
{
	const struct datapath *dp = arg;
	const struct vip *v = vips_find(arg, addr);

	return v && (v->exposed || dp->loading);
}

/* Table entries of an earlier netd that the set no longer has. */
static void purge_tables(struct datapath *dp)
{
	struct dip_vip old;

	for (unsigned int i = 0; i < DIP_VIPS_MAX && dp->bpf; i++) {
		struct ipaddr addr;
		const struct vip *v;

		if (dip_vip_at(dip_bpf_mem(dp->bpf), i, &old))
			continue;
		addr = ipaddr_of(old.family, &old.addr);
		v = vips_find(dp, &addr);
		if (!v || !v->exposed)
			dip_vip_del(dip_bpf_mem(dp->bpf), old.family, &old.addr);
	}
}

/* The rules of a family without a cluster address are as the kernel made them. */
static void restore_rules(struct datapath *dp, bool all)
{
	static const uint8_t families[] = {DIP_INET, DIP_INET6};

	for (size_t i = 0; i < sizeof(families); i++) {
		bool used = false;

		for (int j = 0; j < DATAPATH_VIPS; j++)
			used |= dp->vips[j].used && dp->vips[j].key.family == families[i];
		if (all || !used)
			rtnl_rule_local(dp->rtnl, families[i], false);
	}
}

/* Until the programs are loaded nothing is known; what an earlier netd left goes on. */
static void tell_serving(struct datapath *dp)
{
	bool serving = true;

	if (dp->loading || dp->unloading)
		return;
	for (int i = 0; i < DATAPATH_VIPS; i++)
		serving &= !dp->vips[i].used || dp->vips[i].exposed;
	member_set_serving(dp->netd->member, serving);
}

void vips_apply(struct datapath *dp)
{
	bool any = false, was = false;

	if (!dp->synced || member_witness(dp->netd->member, datapath_self(dp)))
		return;
	for (int i = 0; i < DATAPATH_VIPS; i++) {
		was |= dp->vips[i].exposed;
		if (!dp->vips[i].used)
			continue;
		any = true;
		expose(dp, &dp->vips[i]);
	}
	tell_serving(dp);
	rtnl_purge(dp->rtnl, stands, dp);
	sources_apply(dp);
	restore_rules(dp, false);
	datapath_keep_hold(dp);
	if (any) {
		purge_tables(dp);
		if (dp->bpf)
			detach_unused(dp);
		if (!was)
			claims_resync(dp->netd->claims);
		return;
	}
	/* Loaded and not attached: somebody is about to add one. */
	if (dp->attached || dp->leftovers)
		datapath_detach(dp);
	dp->leftovers = false;
}

void vips_withdraw(struct datapath *dp)
{
	for (int i = 0; i < DATAPATH_VIPS; i++)
		withdraw(dp, &dp->vips[i]);
	rtnl_purge(dp->rtnl, stands, dp);
	restore_rules(dp, true);
}

/* ---- linker ---------------------------------------------------------------------------- */
static void take(struct datapath *dp, const struct kddm_object *obj)
{
	const struct vip_key *key = obj->key;
	struct vip_value value;
	struct vip *v;

	object_read(obj, &value, sizeof(value));
	if (value.index >= DATAPATH_VIPS || (key->family != DIP_INET && key->family != DIP_INET6))
		return;
	v = &dp->vips[value.index];
	v->used = true;
	v->value = value;
	v->key = *key;
	v->xdp = v->xdp ? v->xdp : "none";
}

static void drop(struct datapath *dp, const struct vip_key *key)
{
	struct ipaddr addr = ipaddr_of(key->family, key->addr);
	struct vip *v = vips_find(dp, &addr);

	if (!v)
		return;
	withdraw(dp, v);
	memset(v, 0, sizeof(*v));
}

static void publish(struct datapath *dp, const char *change, const struct kddm_object *obj)
{
	const struct vip_key *key = obj->key;
	struct ipaddr addr = ipaddr_of(key->family, key->addr);

	if (!dp->synced)
		return;
	ctl_publish(dp->netd->ctl, "vip", json_pack("{ss,ss}", "change", change, "addr", ipaddr_text(&addr)));
}

static void changed_insert(void *arg, const struct kddm_object *obj)
{
	take(arg, obj);
	vips_apply(arg);
	publish(arg, "added", obj);
}

static void changed_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	struct datapath *dp = arg;

	drop(dp, old->key);
	take(dp, obj);
	vips_apply(dp);
	publish(dp, "changed", obj);
}

static void changed_remove(void *arg, const struct kddm_object *old)
{
	drop(arg, old->key);
	vips_apply(arg);
	publish(arg, "removed", old);
}

static void changed_reset(void *arg)
{
	struct datapath *dp = arg;
	const struct kddm_object *obj;

	for (int i = 0; i < DATAPATH_VIPS; i++) {
		struct vip *v = &dp->vips[i];

		if (v->used && !kddm_find(dp->netd->sets.vips, &v->key, sizeof(v->key)))
			drop(dp, &v->key);
	}
	kddm_for_each(dp->netd->sets.vips, obj) take(dp, obj);
	vips_apply(dp);
}

static const struct kddm_linker linker = {
	.insert = changed_insert,
	.update = changed_update,
	.remove = changed_remove,
	.reset = changed_reset,
};

void vips_start(struct datapath *dp)
{
	if (kddm_link(dp->netd->sets.vips, &linker, dp))
		datapath_set_error(dp, "cannot follow the cluster addresses");
}
