// SPDX-License-Identifier: GPL-2.0
/*
 * The set `flows` in the tables: exact-flow exceptions, made by a move and gone with their sockets.
 *
 * A connection that the program closed before the freeze may still have data to send, or its end to confirm. No
 * process has it, so it does not move. It stays on the node where it is until the kernel is done with it, and packets of
 * it go there while the port is another's already. Nothing tells of its end, so it is looked for.
 */
#include "datapath_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "member.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"

#define LOOK_MS	      500
#define STAY_MAX      4096 /* of one move; the tables have room for four times as many */
#define TIME_WAIT_MAX 1024 /* with more than that those in TIME_WAIT go: what they still answer few miss */
#define TIME_WAIT     6

static struct port_key port_key(const struct flow_key *k)
{
	return (struct port_key){.vip = k->vip, .proto = IPPROTO_TCP, .port = k->lport};
}

/* ---- how many there are ---------------------------------------------------------- */
static struct flow_port *flow_port(const struct datapath *dp, const struct port_key *k)
{
	struct flow_port *p = dp->flow_ports;

	while (p && memcmp(&p->key, k, sizeof(*k)))
		p = p->next;
	return p;
}

bool datapath_flows_here(const struct datapath *dp, const struct port_key *k)
{
	const struct flow_port *p = flow_port(dp, k);

	return p && p->here;
}

static void look(uv_timer_t *t);

static void count(struct datapath *dp, const struct kddm_object *obj)
{
	struct port_key k = port_key(obj->key);
	struct flow_port *p = flow_port(dp, &k);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			abort();
		p->key = k;
		p->next = dp->flow_ports;
		dp->flow_ports = p;
	}
	p->all++;
	datapath_kept_seen(dp, obj);
	p->here += obj->owner == datapath_self(dp);
	if (p->here && !uv_is_active((uv_handle_t *)&dp->flows_look))
		uv_timer_start(&dp->flows_look, look, LOOK_MS, LOOK_MS);
}

/* How many are left of the same port. */
static size_t uncount(struct datapath *dp, const struct kddm_object *obj)
{
	struct port_key k = port_key(obj->key);
	struct flow_port **at = &dp->flow_ports, *p;

	while ((p = *at) && memcmp(&p->key, &k, sizeof(k)))
		at = &p->next;
	if (!p)
		return 0;
	p->here -= obj->owner == datapath_self(dp);
	if (--p->all)
		return p->all;
	*at = p->next;
	free(p);
	return 0;
}

static void count_none(struct datapath *dp)
{
	struct flow_port *p;

	while ((p = dp->flow_ports)) {
		dp->flow_ports = p->next;
		free(p);
	}
}

/* ---- into the tables --------------------------------------------------------------- */
static const struct vip *spec(struct datapath *dp, const struct flow_key *k, struct dip_flow_spec *f)
{
	struct port_key port = port_key(k);
	const struct vip *v = datapath_ports_vip(dp, &port);
	struct ipaddr remote = ipaddr_of(k->family, k->raddr);

	if (v)
		*f = (struct dip_flow_spec){.vip = (uint8_t)v->slot,
					    .family = k->family,
					    .raddr = ipaddr_dip(&remote),
					    .rport = k->rport,
					    .lport = k->lport};
	return v;
}

static void table_put(struct datapath *dp, const struct kddm_object *obj)
{
	struct dip_flow_spec f;
	int err = 0;

	if (spec(dp, obj->key, &f))
		err = dip_flow_put(dip_bpf_mem(dp->bpf), &f, obj->owner ? DIP_FLOW_NODE : DIP_FLOW_DROP,
				   (uint16_t)obj->owner);
	if (err)
		log_warn("no room for a connection that stays on %s: it breaks",
			 obj->owner ? datapath_node_name(dp, obj->owner) : "no node");
}

static void flow_insert(void *arg, const struct kddm_object *obj)
{
	count(arg, obj);
	table_put(arg, obj);
}

static void flow_remove(void *arg, const struct kddm_object *old)
{
	struct datapath *dp = arg;
	struct dip_flow_spec f;
	size_t left = uncount(dp, old);

	if (!spec(dp, old->key, &f))
		return;
	if (left)
		dip_flow_del(dip_bpf_mem(dp->bpf), &f);
	else
		dip_flow_flush(dip_bpf_mem(dp->bpf), f.vip, false, f.lport);
}

static void flow_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	uncount(arg, old);
	flow_insert(arg, obj);
}

struct entries {
	int slot;
	size_t n;
};

static void count_entry(const struct dip_flow_spec *f, enum dip_flow_state state, uint16_t node, void *arg)
{
	struct entries *e = arg;

	e->n += f->vip == e->slot;
}

static size_t put_all(struct datapath *dp, const struct vip *v)
{
	const struct kddm_object *obj;
	size_t n = 0;

	kddm_for_each(dp->netd->sets.flows, obj)
	{
		if (((const struct flow_key *)obj->key)->vip != v->value.index)
			continue;
		table_put(dp, obj);
		n++;
	}
	return n;
}

/* An earlier netd may have left what the set does not have any more. */
static void apply_vip(struct datapath *dp, const struct vip *v)
{
	struct dip_mem *mem = dip_bpf_mem(dp->bpf);
	struct entries e = {.slot = v->slot};
	size_t n = put_all(dp, v);

	dip_flow_each(mem, count_entry, &e);
	if (e.n <= n)
		return;
	for (uint32_t port = 0; port < 65536; port++)
		if (dip_slot_get(mem, v->slot, false, (uint16_t)port).flags & DIP_SLOT_EXCEPTIONS)
			dip_flow_flush(mem, v->slot, false, (uint16_t)port);
	put_all(dp, v);
}

void datapath_flows_apply(struct datapath *dp, const struct vip *only)
{
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed && dp->bpf && (!only || only == &dp->vips[i]))
			apply_vip(dp, &dp->vips[i]);
}

static void flow_reset(void *arg)
{
	struct datapath *dp = arg;
	const struct kddm_object *obj;

	count_none(dp);
	kddm_for_each(dp->netd->sets.flows, obj) count(dp, obj);
	if (dp->synced)
		datapath_flows_apply(dp, NULL);
}

static const struct kddm_linker linker = {
	.insert = flow_insert,
	.update = flow_update,
	.remove = flow_remove,
	.reset = flow_reset,
};

/* ---- which stay ---------------------------------------------------------------------- */
struct closed {
	struct datapath *dp;
	const char *app; /* of ports that this one moves; NULL: of all that connections stay of */
	struct flow_key *key;
	size_t n, size; /* size: bytes */
	bool time_wait;
};

bool datapath_flow_key(struct datapath *dp, const struct sockdiag_sock *s, struct flow_key *k)
{
	const struct vip *v = s->proto == IPPROTO_TCP && s->rport ? vips_find(dp, &s->addr) : NULL;

	if (!v)
		return false;
	*k = (struct flow_key){
		.vip = v->value.index, .family = s->raddr.family, .lport = s->port, .rport = s->rport};
	memcpy(k->raddr, s->raddr.addr, sizeof(k->raddr));
	return true;
}

bool datapath_flows_stays(void *arg, const struct sockdiag_sock *s)
{
	struct datapath *dp = arg;
	const struct kddm_object *obj;
	struct flow_key k;

	obj = datapath_flow_key(dp, s, &k) ? kddm_find(dp->netd->sets.flows, &k, sizeof(k)) : NULL;
	return obj && obj->owner == datapath_self(dp) && 1u << s->state & SOCKDIAG_CLOSED;
}

bool datapath_moves_with(const struct datapath *dp, const struct port_key *k, const char *app)
{
	const struct kddm_object *obj = kddm_find(dp->netd->sets.ports, k, sizeof(*k));
	struct port_value v;

	if (!obj || obj->owner != datapath_self(dp))
		return false;
	object_read(obj, &v, sizeof(v));
	return !strcmp(v.app, app);
}

/* Without an inode: of no process. */
static void gather(void *arg, const struct sockdiag_sock *s)
{
	struct closed *c = arg;
	struct port_key port;
	struct flow_key k;

	if (s->inode || !datapath_flow_key(c->dp, s, &k))
		return;
	port = port_key(&k);
	if (c->app ? !datapath_moves_with(c->dp, &port, c->app) : !datapath_flows_here(c->dp, &port))
		return;
	if (c->app && c->n >= (s->state == TIME_WAIT ? TIME_WAIT_MAX : STAY_MAX))
		return;
	c->key = grow(c->key, &c->size, c->n * sizeof(k), sizeof(k));
	c->key[c->n++] = k;
}

/* Those with something to send come first. */
static int gather_all(struct closed *c)
{
	static const int families[] = {AF_INET, AF_INET6};
	uint32_t states[] = {SOCKDIAG_CLOSED & ~(1u << TIME_WAIT), 1u << TIME_WAIT};
	int err = 0;

	for (int i = 0; i < 4 && !err; i++)
		err = sockdiag_dump(c->dp->diag, families[i & 1], IPPROTO_TCP, states[i >> 1], gather, c);
	return err;
}

uint64_t datapath_unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int datapath_flows_stay(struct datapath *dp, struct kddm_batch *b, const char *app)
{
	uint32_t self = datapath_self(dp);
	struct flow_value v = {.node = (uint16_t)self, .since_ms = datapath_unix_ms()};
	struct closed c = {.dp = dp, .app = app};
	int err = gather_all(&c), added = 0;

	strncpy(v.app, app, sizeof(v.app) - 1);
	for (size_t i = 0; i < c.n && !err; i++) {
		const struct kddm_object *obj = kddm_find(dp->netd->sets.flows, &c.key[i], sizeof(c.key[i]));

		if (obj && obj->owner == self)
			continue;
		err = kddm_grab(b, dp->netd->sets.flows, &c.key[i], sizeof(c.key[i]), &v, sizeof(v), KDDM_ANY,
				self);
		added++;
	}
	free(c.key);
	return err ?: added;
}

/* ---- their end ----------------------------------------------------------------------- */
static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct flow_key));
}

/* Its socket is gone, or its port is here again and nothing is to be told apart. */
static bool is_over(const struct closed *c, const struct kddm_object *obj)
{
	struct port_key k = port_key(obj->key);
	const struct kddm_object *port = kddm_find(c->dp->netd->sets.ports, &k, sizeof(k));
	struct port_value v = {};

	if (port)
		object_read(port, &v, sizeof(v));
	return (port && port->owner == datapath_self(c->dp) && v.state == PORT_OWNED) ||
	       !bsearch(obj->key, c->key, c->n, sizeof(*c->key), by_key);
}

static bool any_here(const struct datapath *dp)
{
	const struct flow_port *p = dp->flow_ports;

	while (p && !p->here)
		p = p->next;
	return p;
}

static void look(uv_timer_t *t)
{
	struct datapath *dp = t->data;
	struct closed c = {.dp = dp};
	const struct kddm_object *obj;
	struct kddm_batch *b;
	int n = 0;

	if (!any_here(dp)) {
		uv_timer_stop(t);
		return;
	}
	if (!dp->synced || gather_all(&c)) {
		free(c.key);
		return;
	}
	if (c.n)
		qsort(c.key, c.n, sizeof(*c.key), by_key);
	b = kddm_batch_new(dp->netd->kddm, false);
	kddm_for_each(dp->netd->sets.flows,
		      obj) if (obj->owner == datapath_self(dp) && n < KDDM_BATCH_MAX && is_over(&c, obj))
		n += !kddm_remove(b, dp->netd->sets.flows, obj->key, obj->key_len, obj->version);
	free(c.key);
	if (n) /* what cannot be written now is found again */
		kddm_submit(b, NULL, NULL);
	else
		kddm_batch_free(b);
}

/* ---- the command ---------------------------------------------------------------------- */
static void cmd_flows(void *arg, struct ctl_request *r, json_t *args)
{
	struct datapath *dp = arg;
	const struct kddm_object *obj;
	json_t *list = json_array();

	kddm_for_each(dp->netd->sets.flows, obj)
	{
		const struct flow_key *k = obj->key;
		struct ipaddr remote = ipaddr_of(k->family, k->raddr), vip;
		struct flow_value v;
		json_t *o;

		if (k->vip >= DATAPATH_VIPS || !dp->vips[k->vip].used)
			continue;
		vip = vips_addr(&dp->vips[k->vip]);
		object_read(obj, &v, sizeof(v));
		o = json_pack("{ss ss si ss si ss ss}", "proto", "tcp", "vip", ipaddr_text(&vip), "port",
			      k->lport, "client", ipaddr_text(&remote), "client_port", k->rport, "node",
			      obj->owner ? datapath_node_name(dp, obj->owner) : "", "app", v.app);
		ctl_time_set(o, "until", v.until_ms);
		ctl_time_set(o, "since", v.since_ms);
		json_array_append_new(list, o);
	}
	ctl_ok(r, list);
}

void datapath_flows_start(struct datapath *dp)
{
	if (kddm_link(dp->netd->sets.flows, &linker, dp))
		datapath_set_error(dp, "cannot follow the connections of the cluster");
	ctl_register(dp->netd->ctl, "flows", CTL_MEMBER, cmd_flows, dp);
}

void datapath_flows_stop(struct datapath *dp)
{
	uv_timer_stop(&dp->flows_look);
	uv_timer_stop(&dp->kept_look);
	count_none(dp);
}
