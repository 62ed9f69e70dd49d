// SPDX-License-Identifier: GPL-2.0
/*
 * From sockets to claims. What changes marks keys of the set `ports`; marked
 * keys are looked at together, soon, and each gets what it lacks: a claim for a
 * socket without one, the end of a claim without socket, the end of a socket
 * that lost the race. One batch is under way at a time; its keys are looked at
 * again when the outcome is known. So nothing depends on the order of events.
 */
#include "claims_int.h"

#include <netinet/in.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define AGAIN_MS  500
#define CALLS_MS  1000
#define BATCH_MAX 1024 /* claims in one entry */

static uint32_t self_of(const struct claims *c)
{
	return datapath_self(c->netd->datapath);
}

/* ---- marking -------------------------------------------------------------------- */
static void mark(struct claims *c, const struct port_key *k)
{
	struct claims_dirty *d = &c->dirty;

	for (size_t i = 0; i < d->n; i++)
		if (!memcmp(&d->key[i], k, sizeof(*k)))
			return;
	if (d->n == d->size) {
		size_t size = d->size ? 2 * d->size : 64;
		void *p = reallocarray(d->key, size, sizeof(*d->key));

		if (!p) {
			c->rescan = true; /* everything is marked again then */
			return;
		}
		d->key = p;
		d->size = size;
	}
	d->key[d->n++] = *k;
	claims_schedule(c, 0);
}

bool claims_sock_covers(const struct claims *c, const struct claims_sock *s, const struct port_key *k)
{
	const struct datapath *dp = c->netd->datapath;
	const struct vip *v;
	struct ipaddr addr;

	if (s->proto != k->proto || s->port != k->port)
		return false;
	if (k->vip == PORT_VIP_LOCAL)
		return s->loopback && k->node == self_of(c);
	v = k->vip < DATAPATH_VIPS && dp->vips[k->vip].used ? &dp->vips[k->vip] : NULL;
	if (!v)
		return false;
	addr = vips_addr(v);
	if (!ipaddr_any(&s->addr))
		return ipaddr_equal(&s->addr, &addr);
	return s->addr.family == addr.family || (s->addr.family == DIP_INET6 && !s->only6);
}

void claims_sock_changed(struct claims *c, const struct claims_sock *s)
{
	struct port_key k = {.proto = s->proto, .port = s->port};

	if (s->loopback) {
		k.vip = PORT_VIP_LOCAL;
		k.node = self_of(c);
		mark(c, &k);
		return;
	}
	for (k.vip = 0; k.vip < DATAPATH_VIPS; k.vip++)
		if (claims_sock_covers(c, s, &k))
			mark(c, &k);
}

/* Given to this node, which was dead since. */
static bool is_our_pin(const struct claims *c, const struct kddm_object *obj)
{
	struct port_value v;

	if (obj->owner)
		return false;
	object_read(obj, &v, sizeof(v));
	return v.flags & PORT_PINNED && v.node == self_of(c);
}

static void mark_all(struct claims *c)
{
	const struct kddm_object *obj;
	struct claims_sock *s;
	int i;

	claims_for_each(c, i, s) claims_sock_changed(c, s);
	kddm_for_each(c->netd->sets.ports, obj) if (obj->owner == self_of(c) || is_our_pin(c, obj))
		mark(c, obj->key);
}

/* ---- judging one key ---------------------------------------------------------------- */
/* A socket for the key; the one with `pid` when there is. */
static struct claims_sock *sock_for(struct claims *c, const struct port_key *k, uint32_t pid)
{
	struct claims_sock *s, *found = NULL;

	for (s = c->by_port[k->port % CLAIMS_CHAINS]; s; s = s->next_port) {
		if (!claims_sock_covers(c, s, k))
			continue;
		if (s->pid == pid)
			return s;
		/* one that is bound to the address says more than a wildcard */
		if (!found || (!ipaddr_any(&s->addr) && ipaddr_any(&found->addr)))
			found = s;
	}
	return found;
}

static bool move_of(const struct claims *c, const char *app, struct move_value *m)
{
	const struct kddm_object *obj = app[0] ? kddm_find(c->netd->sets.moves, app, strlen(app)) : NULL;

	if (!obj)
		return false;
	object_read(obj, m, sizeof(*m));
	return true;
}

static bool lives_elsewhere(const struct claims *c, const char *app)
{
	const struct kddm_object *obj = app[0] ? kddm_find(c->netd->sets.apps, app, strlen(app)) : NULL;
	struct app_value a;

	if (!obj)
		return false;
	object_read(obj, &a, sizeof(a));
	return a.node != self_of(c);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* The name may have changed since the event: exec, or the end of a restore. */
static void refresh_comm(struct claims_sock *s)
{
	_cleanup_(close_file) FILE *f = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/comm", s->pid);
	f = s->pid ? fopen(path, "re") : NULL;
	if (f && fgets(s->comm, sizeof(s->comm), f))
		s->comm[strcspn(s->comm, "\n")] = '\0';
}

static void fill(struct claims *c, struct port_value *v, struct claims_sock *s)
{
	refresh_comm(s);
	v->node = self_of(c);
	v->state = PORT_OWNED;
	v->pid = s->pid;
	memset(v->addr, 0, sizeof(v->addr));
	memset(v->addr6, 0, sizeof(v->addr6));
	memcpy(s->addr.family == DIP_INET6 ? v->addr6 : v->addr, s->addr.addr, ipaddr_len(&s->addr));
	memcpy(v->comm, s->comm, sizeof(v->comm));
	memcpy(v->app, s->app, sizeof(v->app));
}

static int claim(struct claims *c, struct kddm_batch *b, const struct port_key *k, struct claims_sock *s)
{
	struct port_value v = {.since_ms = now_ms()};

	fill(c, &v, s);
	datapath_ports_claim(c->netd->datapath, k, v.app);
	return kddm_grab(b, c->netd->sets.ports, k, sizeof(*k), &v, sizeof(v), KDDM_ABSENT, self_of(c));
}

/* Ours already; whose socket it is may have changed. 1: nothing to do. */
static int renew(struct claims *c, struct kddm_batch *b, const struct kddm_object *obj, struct claims_sock *s)
{
	struct port_value v, now;

	object_read(obj, &v, sizeof(v));
	if (v.flags & PORT_PINNED || v.state != PORT_OWNED)
		return 1;
	now = v;
	fill(c, &now, s);
	if (!memcmp(&v, &now, sizeof(v)))
		return 1;
	return kddm_put(b, c->netd->sets.ports, obj->key, obj->key_len, &now, sizeof(now), obj->version);
}

/* Another node was first: the program must learn that nobody will come. */
static void lost_race(struct claims *c, const struct port_key *k, const struct kddm_object *obj)
{
	struct claims_sock *s;
	struct port_value v;

	object_read(obj, &v, sizeof(v));
	for (s = c->by_port[k->port % CLAIMS_CHAINS]; s; s = s->next_port) {
		if (!claims_sock_covers(c, s, k) || lives_elsewhere(c, s->app) || s->expected_ms)
			continue;
		log_warn("%s port %u belongs to %s on node %s: the socket of %s (pid %u) is ended",
			 k->proto == IPPROTO_TCP ? "TCP" : "UDP", k->port,
			 v.app[0] ? v.app : "a pinned claim", datapath_node_name(c->netd->datapath, v.node),
			 s->app, s->pid);
		sockdiag_destroy_cookie(c->netd->datapath->diag, k->proto, s->cookie);
	}
}

/* Another node has the port, and that is how it should be. */
static bool moves_here(const struct claims *c, const struct kddm_object *obj, const struct claims_sock *s)
{
	struct move_value m;
	struct port_value v;

	object_read(obj, &v, sizeof(v));
	if (v.state == PORT_HOLD && v.next == self_of(c))
		return true; /* restored here, not yet flipped */
	/* moves.c ends what is left of it */
	return move_of(c, s->app, &m) && (m.src == self_of(c) || m.dst == self_of(c));
}

int claims_key_verdict(struct claims *c, const struct port_key *k, const struct claims_sock *s)
{
	const struct kddm_object *obj = kddm_find(c->netd->sets.ports, k, sizeof(*k));

	if (!obj)
		return EINPROGRESS;
	if (obj->owner == self_of(c))
		return datapath_ports_goes_round(c->netd->datapath, k) ? EINPROGRESS : 0;
	return moves_here(c, obj, s) || lives_elsewhere(c, s->app) ? 0 : EADDRINUSE;
}

void claims_port_open(struct claims *c)
{
	if (c)
		claims_ask_check(c);
}

/* A claim of ours without a socket. 1: stays. */
static int give_up(struct claims *c, struct kddm_batch *b, const struct kddm_object *obj)
{
	const struct port_key *k = obj->key;
	struct port_value v;
	struct move_value m;

	object_read(obj, &v, sizeof(v));
	if (v.flags & PORT_PINNED || v.state == PORT_HOLD)
		return 1;
	if (k->vip != PORT_VIP_LOCAL && move_of(c, v.app, &m))
		return 1; /* source: the sockets go before the claim does; target: they come after */
	if (v.flags & PORT_SOURCE && claims_calls_alive(c, k))
		return 1;
	return kddm_remove(b, c->netd->sets.ports, k, sizeof(*k), obj->version);
}

static int judge(struct claims *c, struct kddm_batch *b, const struct port_key *k)
{
	const struct kddm_object *obj = kddm_find(c->netd->sets.ports, k, sizeof(*k));
	struct port_value v = {};
	struct claims_sock *s;

	if (obj)
		object_read(obj, &v, sizeof(v));
	if (obj && is_our_pin(c, obj))
		return kddm_grab(b, c->netd->sets.ports, k, sizeof(*k), &v, sizeof(v), obj->version,
				 self_of(c));
	s = sock_for(c, k, v.pid);
	if (!s)
		return obj && obj->owner == self_of(c) ? give_up(c, b, obj) : 1;
	if (!obj)
		return claim(c, b, k, s);
	if (obj->owner == self_of(c))
		return renew(c, b, obj, s);
	if (!moves_here(c, obj, s))
		lost_race(c, k, obj);
	return 1;
}

/* ---- the batch ------------------------------------------------------------------------ */
static void put(struct claims *c)
{
	if (!--c->refs)
		free(c);
}

static void committed(void *arg, const struct kddm_result *res)
{
	struct claims *c = arg;
	struct claims_dirty busy = c->busy;
	unsigned int wait = 0;

	c->busy = (struct claims_dirty){};
	c->submitting = false;
	for (size_t i = 0; i < busy.n && !c->stopped; i++)
		datapath_ports_claimed(c->netd->datapath, &busy.key[i]);
	if (res->status && res->status != -ENOTCONN)
		wait = AGAIN_MS;
	/* Without membership all is marked again when it comes back. */
	for (size_t i = 0; i < busy.n && res->status != -ENOTCONN && !c->stopped; i++)
		mark(c, &busy.key[i]);
	free(busy.key);
	if (c->dirty.n)
		claims_schedule(c, wait);
	if (!c->stopped)
		claims_ask_check(c);
	put(c);
}

/* Claims are given up only after a look at the sockets themselves. */
static bool gives_up(struct claims *c)
{
	for (size_t i = 0; i < c->dirty.n; i++) {
		const struct kddm_object *obj =
			kddm_find(c->netd->sets.ports, &c->dirty.key[i], sizeof(struct port_key));

		if (obj && obj->owner == self_of(c) && !sock_for(c, &c->dirty.key[i], 0))
			return true;
	}
	return false;
}

static void look(struct claims *c)
{
	bool all = c->rescan;

	if (!c->netd->datapath->synced || c->submitting || !self_of(c))
		return;
	if (c->rescan || gives_up(c))
		claims_socks_scan(c);
	claims_procs_resolve(c);
	c->unresolved = false;
	c->rescan = false;
	if (all)
		mark_all(c);
}

/* Some of the marked keys; the others wait for the next batch. */
static void take_batch(struct claims *c)
{
	c->busy = c->dirty;
	c->dirty = (struct claims_dirty){};
	while (c->busy.n > BATCH_MAX) {
		size_t n = c->busy.n - 1;

		mark(c, &c->busy.key[n]);
		c->busy.n = n;
	}
}

static void submit(struct claims *c)
{
	struct kddm_batch *b;
	size_t n = 0;

	if (!c->netd->datapath->synced || c->submitting || !c->dirty.n)
		return;
	b = kddm_batch_new(c->netd->kddm, false);
	if (!b) {
		claims_schedule(c, AGAIN_MS);
		return;
	}
	take_batch(c);
	for (size_t i = 0; i < c->busy.n; i++) {
		int rc = n < KDDM_BATCH_MAX ? judge(c, b, &c->busy.key[i]) : -E2BIG;

		if (rc == 1)
			continue;
		if (rc < 0)
			log_err("cannot claim port %u: %s", c->busy.key[i].port, strerror(-rc));
		c->busy.key[n++] = c->busy.key[i];
	}
	c->busy.n = n;
	if (!n) {
		kddm_batch_free(b);
		free(c->busy.key);
		c->busy = (struct claims_dirty){};
		return;
	}
	c->submitting = true;
	c->refs++;
	kddm_submit(b, committed, c);
}

static void on_soon(uv_timer_t *timer)
{
	struct claims *c = timer->data;

	if (claims_calls_look(c, mark))
		claims_schedule(c, CALLS_MS);
	look(c);
	submit(c);
	claims_ask_check(c);
	if (c->unresolved && c->submitting)
		claims_schedule(c, AGAIN_MS);
}

void claims_schedule(struct claims *c, unsigned int ms)
{
	if (!c->stopped && (!uv_is_active((uv_handle_t *)&c->soon) || !ms))
		uv_timer_start(&c->soon, on_soon, ms, 0);
}

/* ---- events ------------------------------------------------------------------------------ */
static void hook_event(void *arg, const struct dip_event *ev)
{
	claims_socks_event(arg, ev);
}

static void hook_burst_done(void *arg)
{
	struct claims *c = arg;

	if (c->dirty.n || c->unresolved)
		claims_schedule(c, 0);
}

static void hook_lost(void *arg)
{
	struct claims *c = arg;

	log_notice("socket events were lost: reading all sockets");
	c->rescan = true;
	claims_schedule(c, 0);
}

static const struct hooks_ops hooks_ops = {
	.event = hook_event,
	.burst_done = hook_burst_done,
	.lost = hook_lost,
};

void claims_resync(struct claims *c)
{
	struct dip_bpf *bpf = c ? c->netd->datapath->bpf : NULL;
	int err;

	if (!c || c->stopped)
		return;
	if (c->bpf != bpf) {
		hooks_close(c->hooks);
		c->hooks = NULL;
		c->bpf = bpf;
		err = bpf ? hooks_open(&c->hooks, c->netd->loop, bpf, &hooks_ops, c) : 0;
		if (err)
			log_err("cannot follow the sockets of applications: %s", strerror(-err));
		claims_ask_close(c, true);
		err = bpf ? claims_ask_open(c) : 0;
		/* (datapath.c has said so when there is no module or one of another release) */
		if (err && err != -ENOENT && err != -EPROTONOSUPPORT)
			log_err("programs that listen do not wait for their claim: ssi_core: %s",
				strerror(-err));
	}
	c->rescan = true;
	claims_schedule(c, 0);
}

/* ---- linkers ------------------------------------------------------------------------------- */
static void publish(struct claims *c, const char *change, const struct kddm_object *obj)
{
	json_t *o = claims_port_json(c->netd, obj);

	json_object_set_new(o, "change", json_string(change));
	ctl_publish(c->netd->ctl, "port", o);
}

static void port_insert(void *arg, const struct kddm_object *obj)
{
	struct claims *c = arg;

	mark(c, obj->key);
	if (c->netd->datapath->synced)
		publish(c, "claimed", obj);
}

static void port_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	struct claims *c = arg;

	mark(c, obj->key);
	if (c->netd->datapath->synced)
		publish(c, old->owner != obj->owner ? "moved" : "changed", obj);
}

static void port_remove(void *arg, const struct kddm_object *old)
{
	struct claims *c = arg;

	mark(c, old->key);
	if (c->netd->datapath->synced)
		publish(c, "released", old);
}

static void any_reset(void *arg)
{
	struct claims *c = arg;

	c->rescan = true;
	claims_schedule(c, 0);
}

static const struct kddm_linker port_linker = {
	.insert = port_insert,
	.update = port_update,
	.remove = port_remove,
	.reset = any_reset,
};

static void move_changed(struct claims *c, const struct kddm_object *move)
{
	const struct kddm_object *obj;
	struct claims_sock *s;
	struct port_value v;
	char app[APP_NAME_MAX] = "";
	int i;

	memcpy(app, move->key, move->key_len < sizeof(app) ? move->key_len : sizeof(app) - 1);
	claims_for_each(c, i, s) if (!strcmp(s->app, app)) claims_sock_changed(c, s);
	kddm_for_each(c->netd->sets.ports, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (!strcmp(v.app, app))
			mark(c, obj->key);
	}
}

static void move_insert(void *arg, const struct kddm_object *obj)
{
	move_changed(arg, obj);
}

static void move_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	move_changed(arg, obj);
}

static void move_remove(void *arg, const struct kddm_object *old)
{
	move_changed(arg, old);
}

static const struct kddm_linker move_linker = {
	.insert = move_insert,
	.update = move_update,
	.remove = move_remove,
	.reset = any_reset,
};

static void vip_insert(void *arg, const struct kddm_object *obj)
{
	any_reset(arg);
}

static void vip_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	any_reset(arg);
}

static void vip_remove(void *arg, const struct kddm_object *old)
{
	any_reset(arg);
}

static const struct kddm_linker vip_linker = {
	.insert = vip_insert,
	.update = vip_update,
	.remove = vip_remove,
	.reset = any_reset,
};

/* ---- start and stop ---------------------------------------------------------------------------- */
void claims_on_local(struct claims *c, claims_local_fn *fn, void *arg)
{
	c->local_fn = fn;
	c->local_arg = arg;
}

int claims_start(struct netd *n)
{
	struct claims *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->netd = n;
	c->refs = 1;
	uv_timer_init(n->loop, &c->soon);
	c->soon.data = c;
	n->claims = c;
	err = kddm_link(n->sets.ports, &port_linker, c);
	if (!err)
		err = kddm_link(n->sets.moves, &move_linker, c);
	if (!err)
		err = kddm_link(n->sets.vips, &vip_linker, c);
	claims_cmd_start(c);
	return err;
}

static void on_closed(uv_handle_t *handle)
{
	put(handle->data);
}

void claims_stop(struct netd *n)
{
	struct claims *c = n->claims;

	if (!c)
		return;
	n->claims = NULL;
	c->stopped = true;
	hooks_close(c->hooks);
	c->hooks = NULL;
	claims_ask_close(c, false);
	claims_socks_clear(c);
	free(c->dirty.key);
	c->dirty = (struct claims_dirty){};
	uv_close((uv_handle_t *)&c->soon, on_closed);
}
