// SPDX-License-Identifier: GPL-2.0
/*
 * Ports that applications call from, when they move: then each gets a claim of its own (PORT_SOURCE), held like the
 * ports that they listen on, for the block of source ports stays where it is. The claim goes when nothing uses the
 * port any more; nothing tells of that, so it is looked for.
 */
#include "claims_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "source_ports.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"

#define LOOK_MS 1000

/* The ports of TCP and UDP sockets on cluster addresses, or on all addresses. */
struct calls {
	struct claims *c;
	const char *app;
	struct port_key *key; /* what the application calls from */
	size_t n, size;	      /* size: bytes */
	const struct port_key *shared_with_other;
	bool others; /* second pass: whom else these ports belong to */
};

static bool on_vip(const struct claims *c, const struct sockdiag_sock *d, struct port_key *k)
{
	const struct vip *v = d->port && d->rport ? vips_find(c->netd->datapath, &d->addr) : NULL;

	if (!v)
		return false;
	*k = (struct port_key){.vip = v->value.index, .proto = d->proto, .port = d->port};
	return true;
}

static bool has_key(const struct calls *s, const struct port_key *k)
{
	for (size_t i = 0; i < s->n; i++)
		if (!memcmp(&s->key[i], k, sizeof(*k)))
			return true;
	return false;
}

/* A claim of the application, for a listener or for an earlier move. */
static bool is_claimed(const struct calls *s, const struct port_key *k)
{
	const struct kddm_object *obj = kddm_find(s->c->netd->sets.ports, k, sizeof(*k));
	struct port_value v;

	if (!obj)
		return false;
	object_read(obj, &v, sizeof(v));
	return !strcmp(v.app, s->app);
}

static void take(struct calls *s, const struct port_key *k)
{
	if (has_key(s, k) || is_claimed(s, k))
		return;
	s->key = grow(s->key, &s->size, s->n * sizeof(*k), sizeof(*k));
	s->key[s->n++] = *k;
}

/* Does a socket on all addresses have those of this family? */
static bool has_family(const struct sockdiag_sock *d, uint8_t family)
{
	return family == DIP_INET6 ? d->family == AF_INET6 : d->family == AF_INET || !d->only6;
}

/* A datagram socket that is bound by the kernel has a source port on every cluster address. */
static void take_unbound(struct calls *s, const struct sockdiag_sock *d)
{
	const struct datapath *dp = s->c->netd->datapath;
	struct port_key k = {.proto = d->proto, .port = d->port};

	if (d->proto != IPPROTO_UDP || d->rport || !ipaddr_any(&d->addr) ||
	    sources_lessee(dp, d->port) != datapath_self(dp))
		return;
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed && has_family(d, dp->vips[i].key.family)) {
			k.vip = dp->vips[i].value.index;
			take(s, &k);
		}
}

static void gather_fn(void *arg, const struct sockdiag_sock *d)
{
	char app[APP_NAME_MAX] = "";
	struct calls *s = arg;
	struct port_key k;
	bool ours;

	if (!d->cgroup)
		return; /* it ended, nobody waits for an answer */
	ours = claims_procs_app(d->cgroup, app) && !strcmp(app, s->app);
	if (!s->others && ours && on_vip(s->c, d, &k))
		take(s, &k);
	else if (!s->others && ours)
		take_unbound(s, d);
	else if (s->others && !ours && on_vip(s->c, d, &k) && has_key(s, &k))
		for (size_t i = 0; i < s->n; i++)
			if (!memcmp(&s->key[i], &k, sizeof(k)))
				s->shared_with_other = &s->key[i];
}

static int dump(struct claims *c, sockdiag_fn *fn, void *arg)
{
	static const int protos[] = {IPPROTO_TCP, IPPROTO_UDP}, families[] = {AF_INET, AF_INET6};
	int err = 0;

	for (int i = 0; i < 4 && !err; i++)
		err = sockdiag_dump(c->netd->datapath->diag, families[i & 1], protos[i >> 1],
				    protos[i >> 1] == IPPROTO_TCP ? SOCKDIAG_ALL & ~SOCKDIAG_LISTEN
								  : SOCKDIAG_UDP,
				    fn, arg);
	return err;
}

static int gather(struct calls *s)
{
	int err = dump(s->c, gather_fn, s);

	s->others = true;
	if (!err && s->n)
		err = dump(s->c, gather_fn, s);
	return err;
}

int claims_calls_hold(struct claims *c, struct kddm_batch *b, const char *app, uint32_t dst, char *why,
		      size_t size)
{
	uint32_t self = datapath_self(c->netd->datapath);
	struct calls s = {.c = c, .app = app};
	struct port_value v = {
		.node = (uint16_t)self, .next = (uint16_t)dst, .state = PORT_HOLD, .flags = PORT_SOURCE};
	struct timespec ts;
	int err = gather(&s);

	clock_gettime(CLOCK_REALTIME, &ts);
	v.since_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	snprintf(v.app, sizeof(v.app), "%s", app);
	if (!err && s.shared_with_other) {
		snprintf(
			why, size,
			"another program of this node calls from its source port %u, too, to another address",
			s.shared_with_other->port);
		err = -EADDRINUSE;
	}
	for (size_t i = 0; i < s.n && !err; i++)
		err = kddm_grab(b, c->netd->sets.ports, &s.key[i], sizeof(s.key[i]), &v, sizeof(v),
				KDDM_ABSENT, self);
	free(s.key);
	return err;
}

bool claims_calls_unheld(struct claims *c, const char *app)
{
	struct calls s = {.c = c, .app = app};
	bool any = gather(&s) || s.n;

	free(s.key);
	return any;
}

/* ---- the end of such claims ----------------------------------------------------------- */
static void alive_fn(void *arg, const struct sockdiag_sock *d)
{
	struct claims *c = arg;

	port_map_add(d->proto == IPPROTO_TCP ? &c->calls.tcp : &c->calls.udp, d->port);
}

bool claims_calls_alive(struct claims *c, const struct port_key *k)
{
	if (!c->calls.fresh) {
		memset(&c->calls.tcp, 0, sizeof(c->calls.tcp));
		memset(&c->calls.udp, 0, sizeof(c->calls.udp));
		if (dump(c, alive_fn, c))
			return true;
	}
	c->calls.fresh = true;
	return port_map_has(k->proto == IPPROTO_TCP ? &c->calls.tcp : &c->calls.udp, k->port);
}

bool claims_calls_look(struct claims *c, void (*mark)(struct claims *c, const struct port_key *k))
{
	uint64_t now = uv_now(c->netd->loop);
	const struct kddm_object *obj;
	struct port_value v;
	bool any = false;

	c->calls.fresh = false;
	kddm_for_each(c->netd->sets.ports, obj)
	{
		if (obj->owner != datapath_self(c->netd->datapath))
			continue;
		object_read(obj, &v, sizeof(v));
		if (!(v.flags & PORT_SOURCE))
			continue;
		any = true;
		if (now >= c->calls.look_at)
			mark(c, obj->key);
	}
	if (now >= c->calls.look_at)
		c->calls.look_at = now + LOOK_MS;
	return any;
}
