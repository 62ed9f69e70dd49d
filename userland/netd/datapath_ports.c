// SPDX-License-Identifier: GPL-2.0
/*
 * The sets `ports` and `blocks` in the tables: a port is whose claim it is, else who leased its block, else
 * nobody's. A slot follows its object at once, with three
 * exceptions: a queue is ready before the slot says HOLD; a port that came
 * to this node opens only after its queue was written back, and not before
 * moves.c lets it (datapath_hold_release); and a new claim of this node opens
 * only when the port's home knows of it, which would reset what is accepted here:
 *
 *   FREE --claim submitted--> HOLD --committed--> HOLD --home knows--> RELEASING -> OWNED
 *                              \--came to nothing--> what the set says
 *
 * From before the home stops to answer until this node does, this node queues.
 */
#include "conntrack.h"
#include "datapath_int.h"

#include <stdlib.h>
#include <string.h>

#include "claims.h"
#include "give_back.h"
#include "userland/lib/log.h"
#include "userland/netd/lease.h"
#include "userland/netd/member.h"

#define HOME_MS \
	1500 /* and a third of a lease: a home that says nothing for so long has noticed that it is behind */

/* The VIP of a key when it is exposed here. */
static struct vip *vip_of(struct datapath *dp, const struct port_key *k)
{
	struct vip *v = k->vip < DATAPATH_VIPS ? &dp->vips[k->vip] : NULL;

	return v && v->exposed && dp->bpf && dp->synced ? v : NULL;
}

const struct vip *datapath_ports_vip(struct datapath *dp, const struct port_key *k)
{
	return vip_of(dp, k);
}

static struct hold_key hold_key(const struct vip *v, const struct port_key *k)
{
	return (struct hold_key){.addr = vips_addr(v), .port = k->port, .proto = k->proto};
}

static bool is_udp(const struct port_key *k)
{
	return k->proto == IPPROTO_UDP;
}

static struct deferred *is_deferred(const struct datapath *dp, const char *app)
{
	struct deferred *d = dp->deferred;

	while (d && strcmp(d->app, app))
		d = d->next;
	return d;
}

static bool is_late(const struct datapath *dp, const char *app)
{
	const struct deferred *d = is_deferred(dp, app);

	return d && d->late;
}

/* A port of `owner`'s. Where a TCP connection left from that moved, nobody listens. */
static void slot_owned(struct datapath *dp, const struct vip *v, const struct port_key *k,
		       const struct port_value *pv, uint16_t epoch, bool releasing)
{
	if (pv->flags & PORT_SOURCE && !is_udp(k) && !releasing)
		dip_slot_lease(dip_bpf_mem(dp->bpf), v->slot, false, k->port, pv->node);
	else
		dip_slot_own(dip_bpf_mem(dp->bpf), v->slot, is_udp(k), k->port, pv->node, epoch, releasing);
}

/* The queue is empty: the table entry opens, if the port is still ours. */
static void opened(void *arg, struct hold_key key)
{
	struct datapath *dp = arg;
	struct vip *v = vips_find(dp, &key.addr);
	struct port_key k = {.proto = key.proto, .port = key.port};
	const struct kddm_object *obj;
	struct port_value pv;

	if (!v)
		return;
	k.vip = v->value.index;
	obj = kddm_find(dp->netd->sets.ports, &k, sizeof(k));
	if (!obj || obj->owner != datapath_self(dp) || !vip_of(dp, &k))
		return;
	object_read(obj, &pv, sizeof(pv));
	slot_owned(dp, v, &k, &pv, obj->epoch, false);
}

/* ---- claims that go round ------------------------------------------------------ */
static struct opening *opening_find(const struct datapath *dp, const struct port_key *k)
{
	struct opening *o = dp->openings;

	while (o && memcmp(&o->key, k, sizeof(*k)))
		o = o->next;
	return o;
}

/* Whoever waits for an answer keeps the memory. */
static void opening_end(struct datapath *dp, struct opening *o)
{
	struct opening **at = &dp->openings;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	o->over = true;
	if (!o->waits)
		free(o);
}

/* This node queues; NULL: it cannot, and nothing has changed. */
static struct opening *opening_begin(struct datapath *dp, const struct vip *v, const struct port_key *k,
				     const char *app)
{
	struct dip_mem *mem = dip_bpf_mem(dp->bpf);
	uint32_t self = datapath_self(dp);
	struct opening *o = dp->hold ? calloc(1, sizeof(*o)) : NULL;

	if (!o || hold_begin(dp->hold, hold_key(v, k), app)) {
		free(o);
		return NULL;
	}
	o->dp = dp;
	o->key = *k;
	o->next = dp->openings;
	dp->openings = o;
	dip_slot_hold(mem, v->slot, is_udp(k), k->port, self, self,
		      dip_slot_get(mem, v->slot, is_udp(k), k->port).epoch);
	return o;
}

/* The node that refuses connections to a port that nobody claimed; 0: this one. */
static uint32_t home_elsewhere(struct datapath *dp, const struct port_key *k)
{
	uint32_t lessee = dp->lessee[k->port / BLOCK_PORTS];
	uint32_t home = lessee ?: dip_home_port(dip_bpf_mem(dp->bpf), is_udp(k), k->port);

	return home == datapath_self(dp) ? 0 : home;
}

/* Ours: open at once, or write back what was held; or go on holding. */
static void apply_own(struct datapath *dp, const struct vip *v, const struct port_key *k,
		      const struct port_value *pv, uint16_t epoch)
{
	if (opening_find(dp, k))
		return;
	if (!dp->hold || !hold_is_held(dp->hold, hold_key(v, k))) {
		slot_owned(dp, v, k, pv, epoch, false);
		return;
	}
	if (is_deferred(dp, pv->app))
		return;
	slot_owned(dp, v, k, pv, epoch, true);
	hold_release(dp->hold, hold_key(v, k), opened, dp);
}

/* ---- connections that come here ------------------------------------------------ */
struct comer {
	struct datapath *dp;
	const struct vip *v;
};

static bool comes_here(void *arg, uint8_t proto, uint16_t port)
{
	const struct comer *c = arg;
	struct port_key k = {.vip = c->v->value.index, .proto = proto, .port = port};
	const struct kddm_object *obj = kddm_find(c->dp->netd->sets.ports, &k, sizeof(k));
	struct port_value pv;

	if (!obj)
		return false;
	object_read(obj, &pv, sizeof(pv));
	return pv.state == PORT_HOLD && pv.next == datapath_self(c->dp);
}

/* All that one entry of the log says at once. */
static void forget_tracked(void *arg, uint64_t index)
{
	struct datapath *dp = arg;

	for (int i = 0; i < DATAPATH_VIPS && dp->comers; i++) {
		struct comer c = {dp, &dp->vips[i]};
		struct ipaddr addr = ipaddr_of(c.v->key.family, c.v->key.addr);
		int n = c.v->exposed ? conntrack_forget(&addr, comes_here, &c) : 0;

		if (n < 0)
			log_warn("connections that move here may be invalid to a firewall: %s", strerror(-n));
	}
	dp->comers = false;
}

static void apply_hold(struct datapath *dp, const struct vip *v, const struct port_key *k,
		       const struct port_value *pv, uint16_t epoch)
{
	uint32_t self = datapath_self(dp);

	if (pv->node == self && is_late(dp, pv->app))
		return;
	dp->comers |= pv->next == self && pv->node != self;
	if (dp->hold && (pv->node == self || pv->next == self)) {
		if (hold_begin(dp->hold, hold_key(v, k), pv->app))
			log_err("no memory to hold port %u", k->port);
	} else if (dp->hold) {
		hold_discard(dp->hold, hold_key(v, k));
	}
	dip_slot_hold(dip_bpf_mem(dp->bpf), v->slot, is_udp(k), k->port, pv->node, pv->next, epoch);
}

/* Without a claim. */
static void slot_rest(struct datapath *dp, const struct vip *v, bool udp, uint16_t port)
{
	uint16_t lessee = dp->lessee[port / BLOCK_PORTS];

	if (lessee)
		dip_slot_lease(dip_bpf_mem(dp->bpf), v->slot, udp, port, lessee);
	else
		dip_slot_free(dip_bpf_mem(dp->bpf), v->slot, udp, port);
}

static void port_freed(struct datapath *dp, const struct port_key *k)
{
	const struct vip *v = vip_of(dp, k);

	if (!v)
		return;
	slot_rest(dp, v, is_udp(k), k->port);
	dip_bpf_port_count(dp->bpf, v->slot, is_udp(k), k->port, false);
	if (dp->hold)
		hold_discard(dp->hold, hold_key(v, k));
}

static void passed_on(void *arg, struct hold_key key)
{
}

/*
 * The port is another's. What came for connections that stay here is among what was held: all is passed on, and what the
 * stack says to the rest does not leave this node.
 */
static void hold_over(struct datapath *dp, const struct vip *v, const struct port_key *k)
{
	if (dp->hold && datapath_flows_here(dp, k))
		hold_release(dp->hold, hold_key(v, k), passed_on, dp);
	else if (dp->hold)
		hold_discard(dp->hold, hold_key(v, k));
}

static void apply(struct datapath *dp, const struct kddm_object *obj)
{
	const struct port_key *k = obj->key;
	const struct vip *v = vip_of(dp, k);
	struct port_value pv;

	if (!v)
		return;
	if (!obj->owner) { /* pinned to a node that is dead */
		port_freed(dp, k);
		return;
	}
	object_read(obj, &pv, sizeof(pv));
	if (pv.node == datapath_self(dp))
		dip_bpf_port_count(dp->bpf, v->slot, is_udp(k), k->port, true);
	if (pv.state == PORT_HOLD) {
		apply_hold(dp, v, k, &pv, obj->epoch);
	} else if (pv.node == datapath_self(dp)) {
		apply_own(dp, v, k, &pv, obj->epoch);
	} else {
		slot_owned(dp, v, k, &pv, obj->epoch, false);
		hold_over(dp, v, k);
	}
}

bool datapath_ports_goes_round(const struct datapath *dp, const struct port_key *k)
{
	return opening_find(dp, k);
}

static void home_knows(void *arg, int status)
{
	struct opening *o = arg;
	struct datapath *dp = o->dp;
	struct port_key k = o->key;
	const struct kddm_object *obj;

	o->waits = false;
	if (o->over) {
		free(o);
		return;
	}
	opening_end(dp, o);
	obj = kddm_find(dp->netd->sets.ports, &k, sizeof(k));
	if (obj)
		apply(dp, obj);
	claims_port_open(dp->netd->claims);
}

static void changed_insert(void *arg, const struct kddm_object *obj)
{
	struct datapath *dp = arg;
	const struct port_key *k = obj->key;
	const struct vip *v = vip_of(dp, k);
	struct opening *o = opening_find(dp, k);
	uint32_t home = v && obj->owner == datapath_self(dp) ? home_elsewhere(dp, k) : 0;
	struct port_value pv;

	if (home && !o) { /* pinned to this node by another */
		object_read(obj, &pv, sizeof(pv));
		o = opening_begin(dp, v, k, pv.app);
	}
	if (home && o) {
		o->waits = true;
		kddm_wait_applied(dp->netd->kddm, obj->version, &home, 1,
				  HOME_MS + member_conf_uint(dp->netd->member, "lease_ms", LEASE_MS_DEFAULT) /
						    3,
				  home_knows, o);
		return;
	}
	if (o)
		opening_end(dp, o);
	apply(dp, obj);
}

void datapath_ports_claim(struct datapath *dp, const struct port_key *k, const char *app)
{
	const struct vip *v = vip_of(dp, k);

	if (v && home_elsewhere(dp, k) && !opening_find(dp, k))
		opening_begin(dp, v, k, app);
}

/* Where the claim came to nothing, another's stands, or none. */
void datapath_ports_claimed(struct datapath *dp, const struct port_key *k)
{
	const struct kddm_object *obj = kddm_find(dp->netd->sets.ports, k, sizeof(*k));
	struct opening *o = opening_find(dp, k);

	if (!o || o->waits)
		return;
	opening_end(dp, o);
	if (obj)
		apply(dp, obj);
	else
		port_freed(dp, k);
}

static void changed_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	struct opening *o = opening_find(arg, obj->key);
	struct port_value pv;

	object_read(obj, &pv, sizeof(pv));
	if (o && (pv.state != PORT_OWNED || obj->owner != old->owner))
		opening_end(arg, o); /* a move decides now */
	apply(arg, obj);
}

static void changed_remove(void *arg, const struct kddm_object *old)
{
	struct opening *o = opening_find(arg, old->key);

	if (o)
		opening_end(arg, o);
	port_freed(arg, old->key);
}

/* Is the slot as it is without a claim? */
static bool at_rest(const struct datapath *dp, const struct vip *v, bool udp, uint16_t port)
{
	struct dip_slot s = dip_slot_get(dip_bpf_mem(dp->bpf), v->slot, udp, port);
	uint16_t lessee = dp->lessee[port / BLOCK_PORTS];

	return lessee ? s.flags & DIP_SLOT_LEASED && s.owner == lessee : s.state == DIP_SLOT_FREE;
}

/* Slots of ports from `first` on that no object of `ports` stands behind. */
static void rest_others(struct datapath *dp, const struct vip *v, uint32_t first, uint32_t n)
{
	struct port_key k = {.vip = v->value.index};

	for (uint32_t i = 0; i < 2 * n; i++) {
		bool udp = i >= n;

		k.proto = udp ? IPPROTO_UDP : IPPROTO_TCP;
		k.port = (uint16_t)(first + i % n);
		if (at_rest(dp, v, udp, k.port))
			continue;
		if (!kddm_find(dp->netd->sets.ports, &k, sizeof(k)) && !opening_find(dp, &k))
			slot_rest(dp, v, udp, k.port);
	}
}

void datapath_ports_apply(struct datapath *dp, const struct vip *only)
{
	const struct kddm_object *obj;

	if (!dp->synced || !dp->bpf)
		return;
	datapath_flows_apply(dp, only);
	kddm_for_each(dp->netd->sets.ports, obj)
	{
		const struct port_key *k = obj->key;

		if (!only || k->vip == only->value.index)
			apply(dp, obj);
	}
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed && (!only || only == &dp->vips[i]))
			rest_others(dp, &dp->vips[i], 0, 65536);
}

void datapath_ports_stop(struct datapath *dp)
{
	while (dp->openings)
		opening_end(dp, dp->openings);
}

static void changed_reset(void *arg)
{
	struct datapath *dp = arg;

	datapath_ports_stop(dp);
	datapath_ports_apply(dp, NULL);
}

static const struct kddm_linker linker = {
	.insert = changed_insert,
	.update = changed_update,
	.remove = changed_remove,
	.reset = changed_reset,
	.entry_done = forget_tracked,
};

/* ---- blocks of source ports ----------------------------------------------------- */
static void block_is(struct datapath *dp, const struct kddm_object *obj, uint32_t node)
{
	const struct block_key *k = obj->key;

	dp->lessee[k->number] = (uint16_t)node;
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed && dp->bpf && dp->synced)
			rest_others(dp, &dp->vips[i], k->number * BLOCK_PORTS, BLOCK_PORTS);
}

static void block_insert(void *arg, const struct kddm_object *obj)
{
	block_is(arg, obj, obj->owner);
}

static void block_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	block_is(arg, obj, obj->owner);
}

static void block_remove(void *arg, const struct kddm_object *old)
{
	block_is(arg, old, 0);
}

static void block_reset(void *arg)
{
	struct datapath *dp = arg;
	const struct kddm_object *obj;

	memset(dp->lessee, 0, sizeof(dp->lessee));
	kddm_for_each(dp->netd->sets.blocks, obj)
		dp->lessee[((const struct block_key *)obj->key)->number] = (uint16_t)obj->owner;
	datapath_ports_apply(dp, NULL);
}

static const struct kddm_linker block_linker = {
	.insert = block_insert,
	.update = block_update,
	.remove = block_remove,
	.reset = block_reset,
};

void datapath_ports_start(struct datapath *dp)
{
	if (kddm_link(dp->netd->sets.ports, &linker, dp) ||
	    kddm_link(dp->netd->sets.blocks, &block_linker, dp))
		datapath_set_error(dp, "cannot follow the ports of the cluster");
}

/* ---- what moves.c says ------------------------------------------------------- */
void datapath_hold_late(struct datapath *dp, const char *app)
{
	struct deferred *d;

	datapath_hold_defer(dp, app);
	d = is_deferred(dp, app);
	if (d)
		d->late = true;
}

void datapath_hold_now(struct datapath *dp, const char *app)
{
	struct deferred *d = is_deferred(dp, app);
	const struct kddm_object *obj;
	struct port_value pv;

	if (!d || !d->late)
		return;
	d->late = false;
	kddm_for_each(dp->netd->sets.ports, obj)
	{
		object_read(obj, &pv, sizeof(pv));
		if (pv.state == PORT_HOLD && pv.node == datapath_self(dp) && !strcmp(pv.app, app))
			apply(dp, obj);
	}
}

void datapath_hold_defer(struct datapath *dp, const char *app)
{
	struct deferred *d;

	if (is_deferred(dp, app))
		return;
	d = calloc(1, sizeof(*d));
	if (!d || strlen(app) >= sizeof(d->app)) {
		free(d);
		return;
	}
	strcpy(d->app, app);
	d->next = dp->deferred;
	dp->deferred = d;
}

bool datapath_embryos(const struct datapath *dp)
{
	return dp->bpf && dip_bpf_embryo_can(dp->bpf);
}

void datapath_hold_before(struct datapath *dp, const char *app, uint8_t *queued, size_t size)
{
	struct deferred *d;

	datapath_hold_defer(dp, app);
	d = is_deferred(dp, app);
	if (!d) {
		free(queued);
		return;
	}
	free(d->queued);
	d->queued = queued;
	d->n_queued = size;
}

/* Its ports find their sockets again, and what still comes waits. */
static void open_before(struct datapath *dp, const char *app)
{
	const struct kddm_object *obj;
	struct port_value pv;

	kddm_for_each(dp->netd->sets.ports, obj)
	{
		const struct port_key *k = obj->key;
		const struct vip *v = vip_of(dp, k);

		object_read(obj, &pv, sizeof(pv));
		if (v && !strcmp(pv.app, app) && pv.state == PORT_OWNED && pv.node == datapath_self(dp) &&
		    hold_is_held(dp->hold, hold_key(v, k)))
			slot_owned(dp, v, k, &pv, obj->epoch, true);
	}
}

static void give_queued(struct datapath *dp, const struct deferred *d)
{
	int n;

	if (!dp->hold || !dp->bpf)
		return;
	open_before(dp, d->app);
	datapath_half_open_expect(dp, d->queued, d->n_queued);
	n = give_back(dp->bpf, dp->diag, hold_ifindex(dp->hold), d->queued, d->n_queued);
	if (n < 0)
		log_err("what was queued for %s is lost: %s", d->app, strerror(-n));
	else
		log_debug("%s: %d that were queued came along", d->app, n);
}

void datapath_hold_release(struct datapath *dp, const char *app)
{
	struct deferred **at = &dp->deferred, *d;
	const struct kddm_object *obj;
	struct port_value pv;

	while ((d = *at) && strcmp(d->app, app))
		at = &d->next;
	if (d) {
		*at = d->next;
		if (d->queued)
			give_queued(dp, d);
		free(d->queued);
		free(d);
	}
	kddm_for_each(dp->netd->sets.ports, obj)
	{
		object_read(obj, &pv, sizeof(pv));
		if (!strcmp(pv.app, app) && pv.state == PORT_OWNED && pv.node == datapath_self(dp))
			apply(dp, obj);
	}
}

bool datapath_serves(struct datapath *dp, const char *app)
{
	const struct kddm_object *obj;
	struct port_value pv;

	kddm_for_each(dp->netd->sets.ports, obj)
	{
		const struct port_key *k = obj->key;

		object_read(obj, &pv, sizeof(pv));
		if (k->vip != PORT_VIP_LOCAL && !strcmp(pv.app, app) && !vip_of(dp, k))
			return false;
	}
	return true;
}

void datapath_sweep(struct datapath *dp, const char *app)
{
	const struct kddm_object *obj;
	struct port_value pv;

	kddm_for_each(dp->netd->sets.ports, obj)
	{
		const struct port_key *k = obj->key;
		const struct vip *v = vip_of(dp, k);
		struct ipaddr addr;
		int n;

		object_read(obj, &pv, sizeof(pv));
		if (!v || strcmp(pv.app, app) || pv.node == datapath_self(dp))
			continue;
		addr = vips_addr(v);
		n = sockdiag_destroy_addr(dp->diag, &addr, k->port, datapath_flows_stays, dp);
		if (n < 0)
			log_err("cannot end what is left of %s: %s", app, strerror(-n));
	}
}

void datapath_hold_stats(struct datapath *dp, const char *app, struct hold_stats *out)
{
	*out = (struct hold_stats){};
	if (dp->hold)
		hold_stats(dp->hold, app, out);
}
