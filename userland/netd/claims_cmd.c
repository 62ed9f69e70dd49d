// SPDX-License-Identifier: GPL-2.0
/* The commands ports, port-add and port-del. */
#include "claims_int.h"

#include <netinet/in.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps.h"
#include "member.h"
#include "source_ports.h"
#include "userland/lib/log.h"

#define APPLIED_MS 5000
#define PIN_RANGE  256 /* ports at once, on each address */
#define PINS_MAX   (PIN_RANGE * DATAPATH_VIPS)

/* ---- listing --------------------------------------------------------------------------- */
static const char *state_name(const struct port_key *k, const struct port_value *v, uint32_t owner)
{
	if (k->vip == PORT_VIP_LOCAL)
		return "local";
	if (v->state == PORT_HOLD)
		return "moving";
	if (v->flags & PORT_PINNED && !owner)
		return "down";
	return v->flags & PORT_PINNED ? "pinned" : v->flags & PORT_SOURCE ? "connection" : "owned";
}

static const struct vip_key *vip_of(struct netd *n, uint8_t index)
{
	const struct kddm_object *obj;
	struct vip_value v;

	kddm_for_each(n->sets.vips, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (v.index == index && index != PORT_VIP_LOCAL)
			return obj->key;
	}
	return NULL;
}

static json_t *vip_text(struct netd *n, uint8_t index)
{
	const struct vip_key *k = vip_of(n, index);
	struct ipaddr addr;

	if (!k)
		return json_null();
	addr = ipaddr_of(k->family, k->addr);
	return json_string(ipaddr_text(&addr));
}

struct ipaddr claims_addr(uint8_t family, const struct port_value *v)
{
	return ipaddr_of(family, family == DIP_INET6 ? v->addr6 : v->addr);
}

/* On a loopback: of the family that it has an address of. */
static struct ipaddr bound_addr(struct netd *n, const struct port_key *k, const struct port_value *v)
{
	const struct vip_key *vip = vip_of(n, k->vip);

	return claims_addr(vip ? vip->family : v->addr[0] ? DIP_INET : DIP_INET6, v);
}

json_t *claims_port_json(struct netd *n, const struct kddm_object *obj)
{
	const struct port_key *k = obj->key;
	struct ipaddr addr;
	struct port_value v;
	json_t *o;

	object_read(obj, &v, sizeof(v));
	addr = bound_addr(n, k, &v);
	o = json_pack("{ss,so,ss,si,ss,ss,si,ss,ss,si,sI}", "proto", k->proto == IPPROTO_UDP ? "udp" : "tcp",
		      "vip", vip_text(n, k->vip), "addr", ipaddr_text(&addr), "port", k->port, "node",
		      member_name(n->member, v.node), "app", v.app, "pid", (int)v.pid, "comm", v.comm,
		      "state", state_name(k, &v, obj->owner), "share", v.share, "epoch",
		      (json_int_t)obj->epoch);
	ctl_time_set(o, "since", v.since_ms);
	if (v.state == PORT_HOLD)
		json_object_set_new(o, "next", json_string(member_name(n->member, v.next)));
	return o;
}

static int by_port(const void *a, const void *b)
{
	const struct port_key *ka = (*(const struct kddm_object *const *)a)->key;
	const struct port_key *kb = (*(const struct kddm_object *const *)b)->key;

	if (ka->vip != kb->vip)
		return ka->vip < kb->vip ? -1 : 1;
	if (ka->port != kb->port)
		return ka->port < kb->port ? -1 : 1;
	if (ka->proto != kb->proto)
		return ka->proto < kb->proto ? -1 : 1;
	return ka->node - kb->node;
}

static bool wanted(const struct kddm_object *obj, int64_t port, uint32_t node, const char *app)
{
	const struct port_key *k = obj->key;
	struct port_value v;

	object_read(obj, &v, sizeof(v));
	return (!port || k->port == port) && (!node || v.node == node) && (!app || !strcmp(v.app, app));
}

/* Source ports, one row a node. */
struct lessees {
	struct netd *n;
	json_t *list;
	uint16_t port; /* of whoever has this one, or 0 */
	uint32_t node; /* of this node, or 0 */
};

static void add_lessee(void *arg, const struct member_node *node)
{
	const struct lessees *l = arg;
	uint32_t number = node->info->number;
	char *ranges;
	json_t *o;

	if ((l->node && l->node != number) || (l->port && sources_lessee(l->n->datapath, l->port) != number))
		return;
	ranges = sources_ranges(l->n->datapath, number);
	if (!ranges)
		return;
	o = json_pack("{ss,sn,ss,si,ss,ss,si,ss,ss,si,si,sn,ss}", "proto", "any", "vip", "addr", "", "port",
		      0, "node", node->info->name, "app", "", "pid", 0, "comm", "", "state", "leased",
		      "share", 0, "epoch", 0, "since", "ranges", ranges);
	json_array_append_new(l->list, o);
	free(ranges);
}

static void cmd_ports(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct claims *c = arg;
	struct netd *n = c->netd;
	bool bad = false;
	int64_t port = ctl_arg_int(args, "port", 0, 1, 65535, &bad);
	const char *node = ctl_arg_string(args, "node", NULL, &bad);
	const char *app = ctl_arg_string(args, "app", NULL, &bad);
	uint32_t number = node ? member_find(n->member, node) : 0;
	const struct kddm_object *obj, **all;
	json_t *list = json_array();
	size_t count = 0;

	if (!bad && app && !apps_find(n, app, NULL, NULL)) {
		ctl_fail(ctl, CTL_FAILED, "`netctl apps` lists them", "there is no application %s", app);
		json_decref(list);
		return;
	}
	if (bad || (node && !number)) {
		ctl_fail(ctl, bad ? CTL_USAGE : CTL_FAILED,
			 bad ? "usage: netctl ports [:PORT] [--node NODE] [--app APP]"
			     : "`netctl nodes` lists them",
			 bad ? "an argument was not understood" : "there is no node %s", node);
		json_decref(list);
		return;
	}
	all = calloc(kddm_count(n->sets.ports) + 1, sizeof(*all));
	kddm_for_each(n->sets.ports, obj) if (all && wanted(obj, port, number, app)) all[count++] = obj;
	if (all)
		qsort(all, count, sizeof(*all), by_port);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, claims_port_json(n, all[i]));
	free(all);
	if (!app)
		member_each(n->member, add_lessee, &(struct lessees){n, list, (uint16_t)port, number});
	ctl_ok(ctl, list);
}

/* ---- pinned claims -------------------------------------------------------------------------- */
struct pin {
	struct claims *c;
	struct ctl_request *ctl;
	bool add, changed;
	uint32_t node;
	uint16_t first, last;
	struct port_key *key; /* of each port on each address */
	size_t n;
};

static void pin_free(struct pin *p)
{
	free(p->key);
	free(p);
}

static json_t *pin_result(const struct pin *p)
{
	struct netd *n = p->c->netd;
	json_t *list = json_array();

	for (size_t i = 0; i < p->n; i++) {
		const struct kddm_object *obj = kddm_find(n->sets.ports, &p->key[i], sizeof(p->key[i]));
		json_t *o = obj ? claims_port_json(n, obj)
				: json_pack("{so,si,ss}", "vip", vip_text(n, p->key[i].vip), "port",
					    p->key[i].port, "proto",
					    p->key[i].proto == IPPROTO_UDP ? "udp" : "tcp");

		json_object_set_new(o, "changed", json_boolean(p->changed));
		json_array_append_new(list, o);
	}
	return list;
}

static void pin_applied(void *arg, int status)
{
	struct pin *p = arg;

	ctl_ok(p->ctl, pin_result(p));
	pin_free(p);
}

static void pin_committed(void *arg, const struct kddm_result *res)
{
	struct pin *p = arg;
	bool failed = false;

	for (size_t i = 0; i < res->n_ops && !res->status; i++)
		failed |= res->op[i] && res->op[i] != -ENOENT;
	if (res->status)
		ctl_fail_status(p->ctl, res->status,
				p->add ? "the port was not pinned" : "the port was not released");
	else if (failed)
		ctl_fail(p->ctl, CTL_FAILED, "look at `netctl ports` and try again",
			 "the port was taken by somebody else at the same moment");
	if (res->status || failed) {
		pin_free(p);
		return;
	}
	p->changed = true;
	kddm_wait_applied(p->c->netd->kddm, res->index, NULL, 0, APPLIED_MS, pin_applied, p);
}

/* The VIPs that are meant: the one named, or all. */
static bool pin_keys(struct pin *p, const char *vip, uint8_t proto)
{
	struct netd *n = p->c->netd;
	const struct kddm_object *obj;
	struct ipaddr want, addr;
	struct vip_value v;

	if (vip && !ipaddr_parse(vip, &want))
		return false;
	p->key = calloc((size_t)DATAPATH_VIPS * (p->last - p->first + 1u), sizeof(*p->key));
	kddm_for_each(n->sets.vips, obj)
	{
		const struct vip_key *k = obj->key;

		object_read(obj, &v, sizeof(v));
		addr = ipaddr_of(k->family, k->addr);
		if (!p->key || (vip && !ipaddr_equal(&addr, &want)))
			continue;
		for (unsigned int port = p->first; port <= p->last && p->n < PINS_MAX; port++)
			p->key[p->n++] =
				(struct port_key){.vip = v.index, .proto = proto, .port = (uint16_t)port};
	}
	return p->n;
}

/* 0: to be added; 1: stands already; -1: refused, and told. */
static int pin_conflict(struct pin *p, const struct port_key *k)
{
	const struct kddm_object *obj = kddm_find(p->c->netd->sets.ports, k, sizeof(*k));
	uint32_t lessee = sources_lessee(p->c->netd->datapath, k->port);
	struct port_value v;

	if (!obj && lessee && lessee != p->node) {
		ctl_fail(p->ctl, CTL_FAILED, "choose another outside of net.ipv4.ip_local_port_range",
			 "port %u is a source port of node %s: its programs may be calling from there",
			 k->port, member_name(p->c->netd->member, lessee));
		return -1;
	}
	if (!obj)
		return 0;
	object_read(obj, &v, sizeof(v));
	if (v.flags & PORT_PINNED && v.node == p->node)
		return 1;
	if (v.flags & PORT_PINNED)
		ctl_fail(p->ctl, CTL_FAILED, "`netctl port del` it first",
			 "port %u is pinned to node %s already", k->port,
			 member_name(p->c->netd->member, v.node));
	else
		ctl_fail(p->ctl, CTL_FAILED, "stop that application, or choose another port",
			 "port %u belongs to %s on node %s", k->port, v.app,
			 member_name(p->c->netd->member, v.node));
	return -1;
}

static void pin_submit(struct pin *p)
{
	struct netd *n = p->c->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, p->add);
	struct port_value v = {.node = p->node, .state = PORT_OWNED, .flags = PORT_PINNED};
	struct timespec ts;
	int err = b ? 0 : -ENOMEM, rc, ops = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	v.since_ms = ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
	for (size_t i = 0; i < p->n && !err; i++) {
		const struct port_key *k = &p->key[i];
		const struct kddm_object *obj = kddm_find(n->sets.ports, k, sizeof(*k));

		if (!p->add) {
			if (!obj)
				continue;
			err = kddm_remove(b, n->sets.ports, k, sizeof(*k), obj->version);
		} else {
			rc = pin_conflict(p, k);
			if (rc < 0)
				goto out;
			if (rc)
				continue;
			err = kddm_grab(b, n->sets.ports, k, sizeof(*k), &v, sizeof(v), KDDM_ABSENT, p->node);
		}
		ops++;
	}
	if (err) {
		ctl_fail_status(p->ctl, err, "the port was not changed");
		goto out;
	}
	if (ops) {
		kddm_submit(b, pin_committed, p);
		return;
	}
	ctl_ok(p->ctl, pin_result(p));
out:
	kddm_batch_free(b);
	pin_free(p);
}

/* Only what was pinned may be taken away by hand. */
static bool all_pinned(struct pin *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct kddm_object *obj =
			kddm_find(p->c->netd->sets.ports, &p->key[i], sizeof(p->key[i]));
		struct port_value v;

		if (!obj)
			continue;
		object_read(obj, &v, sizeof(v));
		if (v.flags & PORT_PINNED)
			continue;
		ctl_fail(p->ctl, CTL_FAILED, "stop the application instead",
			 "port %u is not pinned, %s has it", p->key[i].port, v.app);
		return false;
	}
	return true;
}

static bool pin_parse(struct pin *p, json_t *args)
{
	bool bad = false;
	const char *vip = ctl_arg_string(args, "vip", NULL, &bad);
	const char *proto = ctl_arg_string(args, "proto", "tcp", &bad);
	const char *node = ctl_arg_string(args, "node", "", &bad);
	int64_t port = ctl_arg_int(args, "port", 0, 1, 65535, &bad);
	int64_t last = ctl_arg_int(args, "last", port, 1, 65535, &bad);
	struct member *m = p->c->netd->member;

	p->node = node[0] ? member_find(m, node) : 0;
	p->first = (uint16_t)port;
	p->last = (uint16_t)last;
	if (bad || !port || last < port || (strcmp(proto, "tcp") && strcmp(proto, "udp")) ||
	    (p->add && !node[0]))
		ctl_fail(p->ctl, CTL_USAGE, "usage: netctl port add [VIP]:PORT[-LAST][/udp] node NODE",
			 "an argument was not understood");
	else if (p->add && (!p->node || !member_alive(m, p->node)))
		ctl_fail(p->ctl, CTL_FAILED, "`netctl nodes` lists them", "there is no living node %s", node);
	else if (p->add && member_witness(m, p->node))
		ctl_fail(p->ctl, CTL_FAILED, "name another node", "%s is a witness: it only votes", node);
	else if (last - port >= PIN_RANGE)
		ctl_fail(p->ctl, CTL_FAILED, "give several ranges",
			 "%d ports at once are too many, at most %d", (int)(last - port + 1), PIN_RANGE);
	else if (!pin_keys(p, vip && vip[0] ? vip : NULL, strcmp(proto, "udp") ? IPPROTO_TCP : IPPROTO_UDP))
		ctl_fail(p->ctl, CTL_FAILED, "`netctl vips` lists them, `netctl vip add` adds one",
			 vip && vip[0] ? "%s is no cluster address" : "there is no cluster address yet", vip);
	else
		return true;
	return false;
}

static void cmd_pin(void *arg, struct ctl_request *ctl, json_t *args, bool add)
{
	struct pin *p = calloc(1, sizeof(*p));

	if (!p) {
		ctl_fail(ctl, CTL_FAILED, "free some memory", "out of memory");
		return;
	}
	p->c = arg;
	p->ctl = ctl;
	p->add = add;
	if (pin_parse(p, args) && (add || all_pinned(p)))
		pin_submit(p);
	else
		pin_free(p);
}

static void cmd_port_add(void *arg, struct ctl_request *ctl, json_t *args)
{
	cmd_pin(arg, ctl, args, true);
}

static void cmd_port_del(void *arg, struct ctl_request *ctl, json_t *args)
{
	cmd_pin(arg, ctl, args, false);
}

void claims_cmd_start(struct claims *c)
{
	struct ctl *ctl = c->netd->ctl;

	ctl_register(ctl, "ports", CTL_MEMBER, cmd_ports, c);
	ctl_register(ctl, "port-add", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, cmd_port_add, c);
	ctl_register(ctl, "port-del", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, cmd_port_del, c);
}
