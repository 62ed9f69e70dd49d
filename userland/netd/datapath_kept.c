// SPDX-License-Identifier: GPL-2.0
/*
 * Connections of an application that is in a checkpoint: objects of the set `flows` that no node owns, so that no
 * node's death takes them, and in every node's tables a flow to be silent for. Its peers send again and again; whoever
 * restarts the application in time removes the objects when it runs. The leader removes those whose time is over: the
 * next packet is answered like any of a port without a socket, by a reset.
 */
#include "datapath_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "member.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"

#define LOOK_MS	  200
#define KEPT_MAX  4096
#define PORTS_MAX 256							       /* with connections */
#define STATES	  (1u << 1 | 1u << 4 | 1u << 5 | 1u << 8 | 1u << 9 | 1u << 11) /* open, and half closed */

struct gathered {
	struct datapath *dp;
	const char *app;
	struct flow_key *key;
	size_t n, size; /* size: bytes */
};

static struct port_key port_of(const struct flow_key *f)
{
	return (struct port_key){.vip = f->vip, .proto = IPPROTO_TCP, .port = f->lport};
}

static void gather(void *arg, const struct sockdiag_sock *s)
{
	struct gathered *g = arg;
	struct port_key port;
	struct flow_key k;

	if (!s->inode || !datapath_flow_key(g->dp, s, &k))
		return;
	port = port_of(&k);
	if (!datapath_moves_with(g->dp, &port, g->app))
		return;
	g->key = grow(g->key, &g->size, g->n * sizeof(k), sizeof(k));
	g->key[g->n++] = k;
}

int datapath_kept_add(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms,
		      uint64_t until_ms)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct flow_value v = {.since_ms = since_ms, .until_ms = until_ms};
	struct gathered g = {.dp = dp, .app = app};
	int err = 0;

	strncpy(v.app, app, sizeof(v.app) - 1);
	for (int i = 0; i < 2 && !err; i++)
		err = sockdiag_dump(dp->diag, families[i], IPPROTO_TCP, STATES, gather, &g);
	if (!err && g.n > KEPT_MAX)
		err = -E2BIG;
	for (size_t i = 0; i < g.n && !err; i++)
		err = kddm_put(b, dp->netd->sets.flows, &g.key[i], sizeof(g.key[i]), &v, sizeof(v), KDDM_ANY);
	free(g.key);
	return err ?: (int)g.n;
}

static bool is_kept(const struct kddm_object *obj, const char *app, uint64_t since_ms, struct flow_value *v)
{
	object_read(obj, v, sizeof(*v));
	return !obj->owner && (!since_ms || v->since_ms == since_ms) && !strcmp(v->app, app);
}

/* until_ms 0: they are kept no longer. */
static int change_kept(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms,
		       uint64_t until_ms)
{
	struct kddm_set *flows = dp->netd->sets.flows;
	const struct kddm_object *obj;
	struct flow_value v;
	int n = 0, err = 0;

	kddm_for_each(flows, obj)
	{
		if (err || !is_kept(obj, app, since_ms, &v))
			continue;
		v.until_ms = until_ms;
		err = until_ms ? kddm_put(b, flows, obj->key, obj->key_len, &v, sizeof(v), obj->version)
			       : kddm_remove(b, flows, obj->key, obj->key_len, KDDM_ANY);
		n++;
	}
	return err ?: n;
}

int datapath_kept_renew(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms,
			uint64_t until_ms)
{
	return change_kept(dp, b, app, since_ms, until_ms);
}

int datapath_kept_remove(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms)
{
	return change_kept(dp, b, app, since_ms, 0);
}

static bool added(const struct port_key *seen, size_t n, const struct port_key *k)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(&seen[i], k, sizeof(*k)))
			return true;
	return false;
}

int datapath_kept_ports(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms)
{
	uint16_t self = (uint16_t)datapath_self(dp);
	struct port_value pv = {
		.node = self, .next = self, .state = PORT_HOLD, .since_ms = datapath_unix_ms()};
	struct port_key seen[PORTS_MAX];
	const struct kddm_object *obj;
	struct flow_value v;
	size_t n = 0;
	int err = 0;

	strncpy(pv.app, app, sizeof(pv.app) - 1);
	kddm_for_each(dp->netd->sets.flows, obj)
	{
		struct port_key k = port_of(obj->key);

		if (err || !is_kept(obj, app, since_ms, &v) || added(seen, n, &k))
			continue;
		if (n == PORTS_MAX)
			return -E2BIG;
		seen[n++] = k;
		err = kddm_grab(b, dp->netd->sets.ports, &k, sizeof(k), &pv, sizeof(pv), KDDM_ABSENT, self);
	}
	return err;
}

int datapath_kept_ports_back(struct datapath *dp, struct kddm_batch *b, const char *app)
{
	const struct kddm_object *obj;
	struct port_value pv;
	int n = 0;

	kddm_for_each(dp->netd->sets.ports, obj)
	{
		object_read(obj, &pv, sizeof(pv));
		if (pv.state == PORT_HOLD && obj->owner == datapath_self(dp) && !strcmp(pv.app, app))
			n += !kddm_remove(b, dp->netd->sets.ports, obj->key, obj->key_len, obj->version);
	}
	return n;
}

/* ---- their end ------------------------------------------------------------------------------- */

void datapath_kept_seen(struct datapath *dp, const struct kddm_object *obj)
{
	if (!obj->owner && !uv_is_active((uv_handle_t *)&dp->kept_look))
		uv_timer_start(&dp->kept_look, datapath_kept_look, LOOK_MS, LOOK_MS);
}

/* A restart that renews one at the same moment and this exclude each other, by the version. */
void datapath_kept_look(uv_timer_t *t)
{
	struct datapath *dp = t->data;
	uint64_t now = datapath_unix_ms();
	struct kddm_batch *b = kddm_batch_new(dp->netd->kddm, false);
	const struct kddm_object *obj;
	struct flow_value v;
	size_t kept = 0, n = 0;

	kddm_for_each(dp->netd->sets.flows, obj)
	{
		if (obj->owner)
			continue;
		kept++;
		object_read(obj, &v, sizeof(v));
		if (v.until_ms <= now && member_is_leader(dp->netd->member) && n < KDDM_BATCH_MAX)
			n += !kddm_remove(b, dp->netd->sets.flows, obj->key, obj->key_len, obj->version);
	}
	if (!kept)
		uv_timer_stop(t);
	if (n)
		kddm_submit(b, NULL, NULL);
	else
		kddm_batch_free(b);
}
