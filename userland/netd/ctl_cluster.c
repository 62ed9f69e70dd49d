/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Commands about the cluster itself, on top of member.h: each takes arguments
 * apart, calls, and answers. What the leader knows better than we (leases, who
 * has applied what) it is asked for. One thread: the loop.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "userland/lib/version.h"
#include "userland/netd/ctl.h"
#include "userland/netd/ctl_cluster.h"
#include "userland/netd/drain.h"
#include "userland/netd/kddm_core.h"
#include "userland/netd/kddm_set.h"
#include "userland/netd/member.h"
#include "userland/netd/netd.h"
#include "userland/netd/source_reserved.h"
#include "userland/netd/objects.h"

#define TOKEN_TTL_S	3600
#define TOKEN_TTL_MAX_S (30 * 86400)
#define LEADER_MS	1000 /* the leader's view of the nodes, or ours alone */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* ---- init, join, leave, token ---- */

struct change { /* a request that waits for member_*() */
	struct netd *n;
	struct ctl_request *r;
	char left[NODES_NAME_SIZE]; /* leave: who */
};

static json_t *self_json(struct netd *n, bool changed)
{
	struct member_cluster c;

	member_cluster(n->member, &c);
	return json_pack("[{s:b, s:s, s:s, s:s}]", "changed", changed, "node", member_self_name(n->member),
			 "cluster", c.id, "transport", c.transport ?: "");
}

static void changed(void *arg, const struct member_error *error)
{
	struct change *ch = arg;

	if (error)
		ctl_fail(ch->r, error->code, error->remedy, "%s", error->text);
	else if (*ch->left)
		ctl_ok(ch->r, json_pack("[{s:b, s:s}]", "changed", 1, "node", ch->left));
	else
		ctl_ok(ch->r, self_json(ch->n, true));
	free(ch);
}

/* NULL after the request was failed. */
static struct change *change_new(struct netd *n, struct ctl_request *r)
{
	struct change *ch = calloc(1, sizeof(*ch));

	if (!ch) {
		ctl_fail(r, CTL_FAILED, "free some memory", "out of memory");
		return NULL;
	}
	ch->n = n;
	ch->r = r;
	return ch;
}

/* Arguments, then the configuration file. */
static struct member_machine machine_of(struct netd *n, json_t *args, const char *addr, bool *bad)
{
	struct netd_conf *c = &n->conf;

	return (struct member_machine){
		.name = ctl_arg_string(args, "name", *c->name ? c->name : NULL, bad),
		.address = ctl_arg_string(args, addr, *c->address ? c->address : NULL, bad),
		.bearer = ctl_arg_string(args, "bearer", *c->bearer ? c->bearer : NULL, bad),
		.transport = *c->transport ? c->transport : NULL,
		.port = c->port,
	};
}

/* Already a member: fine when it is the same that is asked for again. */
static bool member_already(struct netd *n, struct ctl_request *r, json_t *args)
{
	bool bad = false;
	const char *name = ctl_arg_string(args, "name", NULL, &bad);

	if (member_status(n->member) == MEMBER_IDLE)
		return false;
	if (!name || !strcmp(name, member_self_name(n->member)))
		ctl_ok(r, self_json(n, false));
	else
		ctl_fail(r, CTL_FAILED, "leave it first with `netctl leave`",
			 "this node is a member of a cluster already, as %s", member_self_name(n->member));
	return true;
}

static bool node_at(struct netd *n, const char *addr)
{
	struct kddm_set *nodes = kddm_set_by_id(n->kddm, NODES_TYPE_ID);
	const struct kddm_object *obj;
	struct in6_addr a = {};
	bool v6 = strchr(addr, ':');

	if (inet_pton(v6 ? AF_INET6 : AF_INET, addr, &a) != 1)
		return false;
	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (v6 ? !memcmp(info->ipv6, &a, sizeof(info->ipv6))
		       : !memcmp(&info->ipv4, &a, sizeof(info->ipv4)))
			return true;
	}
	return false;
}

/* Asked to join a cluster that is not the one it is in. */
static bool member_elsewhere(struct netd *n, struct ctl_request *r, const char *addr, const char *secret)
{
	if (member_status(n->member) == MEMBER_IDLE || !secret || n->conf.insecure ||
	    member_secret_ours(n->member, secret) || node_at(n, addr))
		return false;
	ctl_fail(r, CTL_FAILED, "leave it first with `netctl leave`",
		 "this node is a member of another cluster already, as %s: %s is not in it, and the token or "
		 "key is "
		 "not its own",
		 member_self_name(n->member), addr);
	return true;
}

static void cmd_init(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	struct member_machine machine = machine_of(n, args, "addr", &bad);
	int64_t nodes_min = ctl_arg_int(args, "nodes_min", 0, 0, 64, &bad);
	struct change *ch;

	if (bad) {
		ctl_fail(r, CTL_USAGE,
			 "usage: netctl init [--name N] [--addr IP] [--bearer IF] [--nodes-min 0..64]",
			 "init: bad arguments");
		return;
	}
	if (member_already(n, r, args))
		return;
	ch = change_new(n, r);
	if (ch)
		member_init(n->member, &machine, nodes_min, changed, ch);
}

static void cmd_join(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	struct member_machine machine = machine_of(n, args, "my_addr", &bad);
	const char *addr = ctl_arg_string(args, "addr", NULL, &bad);
	int64_t port = ctl_arg_int(args, "port", 0, 1, 65535, &bad);
	const char *secret = ctl_arg_string(args, "token", NULL, &bad)
				     ?: ctl_arg_string(args, "key", NULL, &bad);
	struct change *ch;
	char peer[128];

	machine.witness = ctl_arg_bool(args, "witness", &bad);
	if (bad || !addr || (!secret && !n->conf.insecure)) {
		ctl_fail(r, CTL_USAGE, "usage: netctl join ADDR[:PORT] --token-file FILE",
			 "join: an address and a token or key are needed");
		return;
	}
	if (member_elsewhere(n, r, addr, secret) || member_already(n, r, args))
		return;
	if (port)
		snprintf(peer, sizeof(peer), strchr(addr, ':') ? "[%.100s]:%d" : "%.100s:%d", addr,
			 (int)port);
	else
		snprintf(peer, sizeof(peer), "%.120s", addr);
	ch = change_new(n, r);
	if (ch)
		member_join(n->member, &machine, peer, secret, changed, ch);
}

/* Leaving ends what runs here: not by oversight. */
static bool leave_ends_app(struct netd *n, struct ctl_request *r)
{
	const struct kddm_object *obj;
	struct app_value v;

	kddm_for_each(n->sets.apps, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (v.node != member_self(n->member))
			continue;
		ctl_fail(r, CTL_FAILED, "`netctl migrate` it away or stop it; with --force it ends",
			 "%.*s runs on this node", (int)obj->key_len, (const char *)obj->key);
		return true;
	}
	return false;
}

static void cmd_leave(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	const char *name = ctl_arg_string(args, "node", NULL, &bad);
	bool force = ctl_arg_bool(args, "force", &bad);
	const struct node_info *info = NULL;
	struct change *ch;
	uint32_t node;

	if (bad) {
		ctl_fail(r, CTL_USAGE, "usage: netctl leave [NODE] [--force]", "leave: bad arguments");
		return;
	}
	node = name ? member_find(n->member, name) : member_self(n->member);
	if (name)
		info = nodes_by_name(kddm_set_by_id(n->kddm, NODES_TYPE_ID), name);
	if (info && info->state == NODE_LEFT) {
		ctl_ok(r, json_pack("[{s:b, s:s}]", "changed", 0, "node", name));
		return;
	}
	if (!node && name) {
		ctl_fail(r, CTL_FAILED, "`netctl nodes` lists them", "there is no node '%s'", name);
		return;
	}
	if (node && node == member_self(n->member) && !force && leave_ends_app(n, r))
		return;
	ch = change_new(n, r);
	if (!ch)
		return;
	snprintf(ch->left, sizeof(ch->left), "%s", name ?: member_self_name(n->member));
	if (!*ch->left) /* on the way in */
		strcpy(ch->left, "-");
	member_leave(n->member, node == member_self(n->member) ? 0 : node, force, changed, ch);
}

/* ---- recover ---- */

static void recovered(void *arg, const struct member_error *error, json_t *given_up, json_t *rejoining)
{
	struct change *ch = arg;

	if (error)
		ctl_fail(ch->r, error->code, error->remedy, "%s", error->text);
	else
		ctl_ok(ch->r, json_pack("[{s:b, s:s, s:O, s:O}]", "changed", 1, "node",
					member_self_name(ch->n->member), "given_up", given_up, "rejoining",
					rejoining));
	free(ch);
}

static void cmd_recover(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false, force = ctl_arg_bool(args, "force", &bad);
	struct change *ch;

	if (bad) {
		ctl_fail(r, CTL_USAGE, "usage: netctl recover [--force]", "recover: bad arguments");
		return;
	}
	ch = change_new(n, r);
	if (ch)
		member_recover(n->member, force, recovered, ch);
}

/* ---- set ---- */

static const struct member_setting *setting_named(const char *key)
{
	const struct member_setting *s;

	for (size_t i = 0; key && (s = member_setting(i)); i++)
		if (!strcmp(s->key, key))
			return s;
	return NULL;
}

static json_t *setting_json(struct netd *n, const struct member_setting *s)
{
	return json_pack("{s:s, s:I, s:I, s:s}", "key", s->key, "value",
			 (json_int_t)member_conf_uint(n->member, s->key, s->fallback), "default",
			 (json_int_t)s->fallback, "text", s->help);
}

struct setting_change {
	struct netd *n;
	struct ctl_request *r;
	const struct member_setting *s;
};

static void setting_done(void *arg, const struct member_error *error)
{
	struct setting_change *c = arg;
	json_t *o;

	if (error) {
		ctl_fail(c->r, error->code, error->remedy, "%s", error->text);
	} else {
		o = setting_json(c->n, c->s);
		json_object_set_new(o, "changed", json_true());
		ctl_ok(c->r, json_pack("[o]", o));
	}
	free(c);
}

/* A block must fit into the range of the node that is asked. */
static bool block_fits(struct ctl_request *r, const char *key, const char *value)
{
	uint16_t low, high;

	source_range(&low, &high);
	if (strcmp(key, "source_block") || strtoul(value, NULL, 10) <= high - low + 1ul)
		return true;
	ctl_fail(r, CTL_FAILED, "choose a smaller one, or widen net.ipv4.ip_local_port_range on all nodes",
		 "a block of %s source ports is larger than the range of this node, %u to %u", value, low,
		 high);
	return false;
}

static void cmd_set(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	const char *key = ctl_arg_string(args, "key", NULL, &bad);
	const char *value = ctl_arg_string(args, "value", NULL, &bad);
	const struct member_setting *s = setting_named(key);
	struct setting_change *c;
	char now[16];
	json_t *o;

	if (bad || !key || !value) {
		ctl_fail(r, CTL_USAGE, "usage: netctl set KEY VALUE", "set: bad arguments");
		return;
	}
	if (!s) {
		ctl_fail(r, CTL_FAILED, "`netctl set` lists them", "there is no setting '%s'", key);
		return;
	}
	snprintf(now, sizeof(now), "%u", member_conf_uint(n->member, s->key, s->fallback));
	if (!strcmp(now, value)) {
		o = setting_json(n, s);
		json_object_set_new(o, "changed", json_false());
		ctl_ok(r, json_pack("[o]", o));
		return;
	}
	if (!block_fits(r, key, value))
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		ctl_fail(r, CTL_FAILED, "free some memory", "out of memory");
		return;
	}
	*c = (struct setting_change){n, r, s};
	member_conf_set(n->member, key, value, setting_done, c);
}

static void cmd_settings(void *arg, struct ctl_request *r, json_t *args)
{
	const struct member_setting *s;
	json_t *list = json_array();

	for (size_t i = 0; (s = member_setting(i)); i++)
		json_array_append_new(list, setting_json(arg, s));
	ctl_ok(r, list);
}

/* ---- token ---- */

static void cmd_token(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	int64_t ttl = ctl_arg_int(args, "ttl_s", TOKEN_TTL_S, 1, TOKEN_TTL_MAX_S, &bad);
	char token[1024];
	int s;

	if (bad) {
		ctl_fail(r, CTL_USAGE, "give 1s to 30d with --ttl", "a token cannot be good for that long");
		return;
	}
	s = member_token(n->member, ttl, token, sizeof(token));
	if (s == -ENOTSUP)
		ctl_fail(r, CTL_FAILED, "join without a token, or start netd without --insecure",
			 "a cluster that is not secured has no tokens");
	else if (s < 0)
		ctl_fail_status(r, s, "token");
	else
		ctl_ok(r,
		       json_pack("[{s:s, s:o}]", "token", token, "expires", ctl_time(now_ms() + ttl * 1000)));
}

/* ---- nodes ---- */

static json_t *address_text(const struct node_info *info)
{
	static const unsigned char none[sizeof(info->ipv6)];
	char text[INET6_ADDRSTRLEN];

	if (info->ipv4)
		inet_ntop(AF_INET, &info->ipv4, text, sizeof(text));
	else if (memcmp(info->ipv6, none, sizeof(none)))
		inet_ntop(AF_INET6, info->ipv6, text, sizeof(text));
	else
		return json_null();
	return json_string(text);
}

struct node_list {
	struct netd *n;
	const char *transport;
	bool secure;
	json_t *list;
};

static void add_node(void *arg, const struct member_node *node)
{
	struct node_list *l = arg;
	const struct node_info *info = node->info;
	const struct kddm_object *obj =
		kddm_find(kddm_set_by_id(l->n->kddm, NODES_TYPE_ID), &info->number, sizeof(info->number));
	char incarnation[24];
	json_t *o;

	snprintf(incarnation, sizeof(incarnation), "%016llx", (unsigned long long)info->incarnation);
	o = json_pack("{s:s, s:i, s:s, s:b, s:s, s:s, s:s, s:I, s:o, s:s}", "node", info->name, "id",
		      (int)info->number, "role", node->role, "leader", node->leader, "state",
		      nodes_state_name(info->state), "incarnation", incarnation, "transport", l->transport,
		      "epoch", (json_int_t)(obj ? obj->epoch : 0), "addr", address_text(info), "peer_addr",
		      info->address);
	json_object_set_new(o, "witness", json_boolean(info->flags & NODE_WITNESS));
	json_object_set_new(o, "serving", json_boolean(info->flags & NODE_SERVES));
	json_object_set_new(o, "suspect", node->suspect < 0 ? json_null() : json_boolean(node->suspect));
	json_object_set_new(o, "away", json_boolean(info->flags & NODE_AWAY));
	json_object_set_new(o, "drained", json_boolean(drain_is(l->n, info->number)));
	json_object_set_new(o, "self", json_boolean(info->number == member_self(l->n->member)));
	json_object_set_new(o, "secure", json_boolean(l->secure));
	json_object_set_new(o, "lease_left_ms",
			    node->lease_left_ms ? json_integer(node->lease_left_ms) : json_null());
	json_object_set_new(o, "latency_us",
			    node->latency_us >= 0 ? json_integer(node->latency_us) : json_null());
	json_object_set_new(o, "applied", node->applied ? json_integer(node->applied) : json_null());
	ctl_time_set(o, "since", info->changed_ms);
	json_array_append_new(l->list, o);
}

static json_t *nodes_json(struct netd *n)
{
	struct node_list l = {.n = n, .list = json_array()};
	struct member_cluster c;

	member_cluster(n->member, &c);
	l.transport = c.transport ?: "";
	l.secure = !c.insecure;
	member_each(n->member, add_node, &l);
	return l.list;
}

/* What is null in our rows is taken from the leader's. */
static void fill_gaps(json_t *ours, json_t *theirs)
{
	size_t i, k;
	json_t *a, *b, *value;
	const char *key;

	json_array_foreach(ours, i, a)
	{
		json_array_foreach(theirs, k, b)
		{
			if (json_integer_value(json_object_get(a, "id")) !=
			    json_integer_value(json_object_get(b, "id")))
				continue;
			json_object_foreach(a, key, value) if (json_is_null(value) && json_object_get(b, key))
				json_object_set(a, key, json_object_get(b, key));
		}
	}
}

static void leader_told(void *arg, int status, json_t *answer)
{
	struct change *ch = arg;
	json_t *ours = nodes_json(ch->n);

	if (status == 0)
		fill_gaps(ours, json_object_get(answer, "nodes"));
	ctl_ok(ch->r, ours);
	free(ch);
}

static void cmd_nodes(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	struct member_cluster c;
	struct change *ch;
	json_t *request;

	member_cluster(n->member, &c);
	if (!c.leader || member_is_leader(n->member)) {
		ctl_ok(r, nodes_json(n));
		return;
	}
	ch = change_new(n, r);
	if (!ch)
		return;
	request = json_object();
	peer_call(n->peers, c.leader, "nodes", request, LEADER_MS, leader_told, ch);
	json_decref(request);
}

static void peer_nodes(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	peer_call_answer(call, json_pack("{s:o}", "nodes", nodes_json(arg)));
}

/* ---- sets, status, version ---- */

static void cmd_sets(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	json_t *list = json_array();
	struct kddm_set *set;
	uint16_t id = 0;

	while ((set = kddm_set_at(n->kddm, &id))) {
		const struct kddm_object *obj;
		uint64_t bytes = 0, version = 0;

		kddm_for_each(set, obj)
		{
			bytes += obj->key_len + obj->value_len;
			version = obj->version > version ? obj->version : version;
		}
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:I, s:I, s:I}", "set", set->type->name, "id",
						(int)set->type->id, "objects", (json_int_t)set->count,
						"bytes", (json_int_t)bytes, "version", (json_int_t)version));
	}
	ctl_ok(r, list);
}

static void cmd_status(void *arg, struct ctl_request *r, json_t *args)
{
	ctl_ok(r, ctl_status_object(arg));
}

static void cmd_version(void *arg, struct ctl_request *r, json_t *args)
{
	struct utsname u;

	uname(&u);
	ctl_ok(r, json_pack("{s:s, s:s, s:i, s:s}", "program", "netd", "version", SSI_VERSION, "protocol",
			    SSI_CTL_PROTOCOL, "kernel", u.release));
}

/* ---- live events ---- */

static void node_event(struct netd *n, const struct kddm_object *obj)
{
	const struct node_info *info =
		nodes_get(kddm_set_by_id(n->kddm, NODES_TYPE_ID), *(const uint32_t *)obj->key);

	if (info && n->ctl)
		ctl_publish(n->ctl, "node",
			    json_pack("{s:s, s:i, s:s}", "node", info->name, "id", (int)info->number, "state",
				      nodes_state_name(info->state)));
}

static void node_inserted(void *arg, const struct kddm_object *obj)
{
	node_event(arg, obj);
}

static void node_updated(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	const struct node_info *was = old->value, *is = obj->value;

	if (was->state != is->state || was->incarnation != is->incarnation)
		node_event(arg, obj);
}

static const struct kddm_linker node_linker = {
	.insert = node_inserted,
	.update = node_updated,
};

int ctl_cluster_start(struct netd *n)
{
	int r;

	ctl_register(n->ctl, "init", CTL_ROOT, cmd_init, n);
	ctl_register(n->ctl, "join", CTL_ROOT, cmd_join, n);
	ctl_register(n->ctl, "leave", CTL_ROOT | CTL_MEMBER, cmd_leave, n);
	ctl_register(n->ctl, "recover", CTL_ROOT | CTL_MEMBER, cmd_recover, n);
	ctl_register(n->ctl, "set", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, cmd_set, n);
	ctl_register(n->ctl, "settings", CTL_MEMBER, cmd_settings, n);
	ctl_register(n->ctl, "token", CTL_ROOT | CTL_QUORUM, cmd_token, n);
	ctl_register(n->ctl, "nodes", CTL_MEMBER, cmd_nodes, n);
	ctl_register(n->ctl, "sets", CTL_MEMBER, cmd_sets, n);
	ctl_register(n->ctl, "status", 0, cmd_status, n);
	ctl_register(n->ctl, "version", 0, cmd_version, n);
	r = peer_handle(n->peers, "nodes", peer_nodes, n);
	if (r == 0)
		r = kddm_link(kddm_set_by_id(n->kddm, NODES_TYPE_ID), &node_linker, n);
	return r;
}
