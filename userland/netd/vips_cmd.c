// SPDX-License-Identifier: GPL-2.0
/*
 * The commands vip-add, vip-del and vips. Adding asks every living node first
 * whether it can; only when all can is the object written, so that nothing is
 * ever half done. The requests live until their answer was sent.
 */
#include "datapath_int.h"

#include <netinet/in.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "member.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#include <ssi/dip_steer.h>

#define CHECK_MS   30000 /* loading programs takes its time on slow machines */
#define STATE_MS   5000
#define APPLIED_MS 5000

static const char *const mode_names[] = {"auto", "shared", "front"};

struct request {
	struct datapath *dp;
	struct ctl_request *ctl;
	struct vip_key key;
	struct vip_value value;
	bool add;
	bool force; /* the address is not asked for on the network */
	bool changed;
};

static struct ipaddr key_addr(const struct vip_key *key)
{
	return ipaddr_of(key->family, key->addr);
}

static const char *addr_text(const struct vip_key *key)
{
	struct ipaddr addr = key_addr(key);

	return ipaddr_text(&addr);
}

static void mac_text(const uint8_t m[6], char out[18])
{
	snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static bool mac_parse(const char *text, uint8_t m[6])
{
	char end;

	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5],
		      &end) == 6;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* Locally administered, unicast; the same address in the same cluster always
 * gets the same, so that neighbours' caches stay right. */
static void default_mac(struct datapath *dp, const struct ipaddr *addr, uint8_t mac[6])
{
	union dip_addr a = ipaddr_dip(addr);
	struct member_cluster cluster;
	uint64_t h = addr->family == DIP_INET ? a.a4 : a.a64[0] ^ dip_hash64(a.a64[1]);

	member_cluster(dp->netd->member, &cluster);
	for (const char *c = cluster.id; *c; c++)
		h = dip_hash64(h ^ (uint8_t)*c);
	h = dip_hash64(h);
	memcpy(mac, &h, 6);
	mac[0] = (mac[0] & 0xfc) | 0x02;
}

/* ---- listing -------------------------------------------------------------------- */
static json_t *node_state(const char *node, json_t *answer, unsigned int index)
{
	json_t *list = json_object_get(answer, "vips"), *item, *out;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (json_integer_value(json_object_get(item, "index")) != index)
			continue;
		out = json_deep_copy(item);
		json_object_set_new(out, "node", json_string(node));
		json_object_del(out, "index");
		return out;
	}
	item = json_object_get(answer, "error");
	return json_pack("{ss,ss,ss,ss}", "node", node, "dev", "", "xdp", "none", "state",
			 item ? json_string_value(item) : "not exposed yet");
}

static json_t *vip_json(struct datapath *dp, const struct vip_key *key, const struct vip_value *v,
			json_t *answers)
{
	json_t *nodes = json_array(), *answer, *one, *o;
	const char *name, *state = "up", *dev = v->devs;
	char mac[18];

	json_object_foreach(answers, name, answer)
	{
		one = node_state(name, answer, v->index);
		if (strcmp(json_string_value(json_object_get(one, "state")), "up"))
			state = "degraded";
		json_array_append_new(nodes, one);
	}
	if (!dev[0] && v->index < DATAPATH_VIPS)
		dev = dp->vips[v->index].link.name;
	mac_text(v->mac, mac);
	o = json_pack("{ss,si,ss,ss,ss,ss,ss,si}", "addr", addr_text(key), "prefix", v->prefix, "dev", dev,
		      "mode", mode_names[v->mode <= VIP_FRONT ? v->mode : 0], "datapath",
		      v->datapath ? "netfilter" : "ebpf", "mac", mac, "state", state, "index", v->index);
	json_object_set_new(o, "nodes", nodes);
	ctl_time_set(o, "since", v->since_ms);
	return o;
}

static void list_answered(void *arg, json_t *answers)
{
	struct request *r = arg;
	const struct kddm_object *obj;
	json_t *list = json_array();
	struct vip_value v;

	kddm_for_each(r->dp->netd->sets.vips, obj)
	{
		object_read(obj, &v, sizeof(v));
		json_array_append_new(list, vip_json(r->dp, obj->key, &v, answers));
	}
	ctl_ok(r->ctl, list);
	free(r);
}

static struct request *request_new(struct datapath *dp, struct ctl_request *ctl)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		ctl_fail(ctl, CTL_FAILED, "free some memory", "out of memory");
		return NULL;
	}
	r->dp = dp;
	r->ctl = ctl;
	return r;
}

static void cmd_vips(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct request *r = request_new(arg, ctl);
	json_t *req = json_object();

	if (r)
		datapath_ask(r->dp, 0, "vip-state", req, STATE_MS, list_answered, r);
	json_decref(req);
}

static void on_state(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct datapath *dp = arg;
	json_t *list = json_array();
	char mac[18];

	for (int i = 0; i < DATAPATH_VIPS; i++) {
		const struct vip *v = &dp->vips[i];

		if (!v->used)
			continue;
		mac_text(v->link.mac, mac);
		json_array_append_new(list, json_pack("{si,ss,ss,ss,ss}", "index", i, "dev", v->link.name,
						      "mac", mac, "xdp", v->xdp, "state",
						      v->state[0] ? v->state : "not exposed yet"));
	}
	peer_call_answer(call, json_pack("{so}", "vips", list));
}

/* ---- ending a request ------------------------------------------------------------- */
static void done_answered(void *arg, json_t *answers)
{
	struct request *r = arg;
	json_t *o = vip_json(r->dp, &r->key, &r->value, answers);

	json_object_set_new(o, "changed", json_boolean(r->changed));
	ctl_ok(r->ctl, json_pack("[o]", o));
	free(r);
}

static void answer_added(struct request *r)
{
	json_t *req = json_object();

	datapath_ask(r->dp, 0, "vip-state", req, STATE_MS, done_answered, r);
	json_decref(req);
}

static void applied(void *arg, int status)
{
	struct request *r = arg;

	if (r->add) {
		answer_added(r);
		return;
	}
	ctl_ok(r->ctl, json_pack("[{ss,sb}]", "addr", addr_text(&r->key), "changed", 1));
	free(r);
}

/* Two nodes may have chosen the same index at the same moment: the later goes. */
static bool lost_index(const struct request *r)
{
	const struct kddm_object *mine = kddm_find(r->dp->netd->sets.vips, &r->key, sizeof(r->key)), *obj;
	struct vip_value v;

	kddm_for_each(r->dp->netd->sets.vips, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (mine && obj != mine && v.index == r->value.index && obj->version < mine->version)
			return true;
	}
	return false;
}

static void take_back(struct request *r)
{
	struct kddm_batch *b = kddm_batch_new(r->dp->netd->kddm, true);

	if (b && !kddm_remove(b, r->dp->netd->sets.vips, &r->key, sizeof(r->key), KDDM_ANY))
		kddm_submit(b, NULL, NULL);
	else if (b)
		kddm_batch_free(b);
	ctl_fail(r->ctl, CTL_FAILED, "try again", "another cluster address was added at the same moment");
	free(r);
}

static void committed(void *arg, const struct kddm_result *res)
{
	struct request *r = arg;

	if (res->status) {
		ctl_fail_status(r->ctl, res->status,
				r->add ? "the address was not added" : "the address was not removed");
		free(r);
		return;
	}
	for (size_t i = 0; i < res->n_ops; i++) {
		if (!res->op[i])
			continue;
		ctl_fail(r->ctl, CTL_FAILED, "look at `netctl vips` and try again",
			 "%s was changed by somebody else at the same moment", addr_text(&r->key));
		free(r);
		return;
	}
	if (r->add && lost_index(r)) {
		take_back(r);
		return;
	}
	r->changed = true;
	kddm_wait_applied(r->dp->netd->kddm, res->index, NULL, 0, APPLIED_MS, applied, r);
}

/* ---- adding ------------------------------------------------------------------------ */
static int free_index(struct datapath *dp)
{
	const struct kddm_object *obj;
	uint32_t used = 0;
	struct vip_value v;

	kddm_for_each(dp->netd->sets.vips, obj)
	{
		object_read(obj, &v, sizeof(v));
		used |= 1u << v.index;
	}
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (!(used & 1u << i))
			return i;
	return -ENOSPC;
}

static void add_submit(struct request *r)
{
	struct kddm_batch *b = kddm_batch_new(r->dp->netd->kddm, true);
	int index = free_index(r->dp), err;

	if (index < 0) {
		ctl_fail(r->ctl, CTL_FAILED, "remove one with `netctl vip del`",
			 "there are %d cluster addresses already, which is the most", DATAPATH_VIPS);
		kddm_batch_free(b);
		free(r);
		return;
	}
	r->value.index = index;
	r->value.since_ms = now_ms();
	err = b ? kddm_put(b, r->dp->netd->sets.vips, &r->key, sizeof(r->key), &r->value, sizeof(r->value),
			   KDDM_ABSENT)
		: -ENOMEM;
	if (err) {
		ctl_fail_status(r->ctl, err, "the address was not added");
		kddm_batch_free(b);
		free(r);
		return;
	}
	kddm_submit(b, committed, r);
}

static void add_checked(void *arg, json_t *answers)
{
	struct request *r = arg;
	const char *node;
	json_t *answer, *error;

	json_object_foreach(answers, node, answer)
	{
		error = json_object_get(answer, "error");
		if (!error)
			continue;
		ctl_fail(r->ctl, CTL_FAILED, json_string_value(json_object_get(answer, "remedy")),
			 "node %s: %s", node, json_string_value(error));
		free(r);
		return;
	}
	add_submit(r);
}

/* The last questions of a check: is the address free here, and do the programs load? */
struct check {
	struct datapath *dp;
	struct peer_call *call;
	struct rtnl_link link;
};

static void check_fail(struct peer_call *call, const char *remedy, const char *text)
{
	peer_call_answer(call, json_pack("{ss,si,ss}", "error", text, "code", CTL_FAILED, "remedy", remedy));
}

static void check_loaded(void *arg)
{
	struct check *c = arg;
	struct datapath *dp = c->dp;

	if (dp->bpf)
		peer_call_answer(c->call, json_object());
	else
		check_fail(c->call, "see `netctl status` and the log of netd there", dp->error);
	free(c);
}

static void check_load(struct check *c)
{
	if (datapath_load(c->dp) != -EINPROGRESS || datapath_load_wait(c->dp, check_loaded, c))
		check_loaded(c);
}

static const char *node_of_mac(struct datapath *dp, const uint8_t mac[6])
{
	const struct kddm_object *obj;

	kddm_for_each(kddm_set_by_id(dp->netd->kddm, NODES_TYPE_ID), obj)
	{
		const struct node_info *info = obj->value;
		uint8_t its[6];

		if (dp->bpf && !dip_peer_get(dip_bpf_mem(dp->bpf), info->number, its) && !memcmp(its, mac, 6))
			return info->name;
	}
	return NULL;
}

static void check_probed(void *arg, const uint8_t *holder)
{
	const char *node = holder ? node_of_mac(((struct check *)arg)->dp, holder) : NULL;
	struct check *c = arg;
	char text[160], mac[18];

	if (!holder) {
		check_load(c);
		return;
	}
	mac_text(holder, mac);
	snprintf(text, sizeof(text), "%s%.64s has this address already: %s answers on %s",
		 node ? "node " : "", node ? node : "a machine outside the cluster", mac, c->link.name);
	check_fail(c->call, "choose a free address, or take it away there; --force adds it all the same",
		   text);
	free(c);
}

static void on_check(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	const char *addr_s, *dev, *mac_s;
	struct check *c = calloc(1, sizeof(*c));
	struct datapath *dp = arg;
	struct vips_why why = {};
	struct ipaddr addr;
	int prefix, force = 0;
	uint8_t mac[6];

	if (!c) {
		check_fail(call, "free some memory", "out of memory");
		return;
	}
	c->dp = dp;
	c->call = call;
	if (json_unpack(request, "{ss,si,ss,ss,s?b}", "addr", &addr_s, "prefix", &prefix, "dev", &dev, "mac",
			&mac_s, "force", &force) ||
	    !ipaddr_parse(addr_s, &addr) || !mac_parse(mac_s, mac))
		check_fail(call, "run the same version of netd on all nodes",
			   "the request was not understood");
	else if (vips_check(dp, &addr, prefix, dev, mac, &c->link, &why))
		check_fail(call, why.remedy, why.text);
	else if (!force && !vips_probe(dp, &c->link, &addr, mac, check_probed, c))
		return;
	else {
		check_load(c);
		return;
	}
	free(c);
}

/* 0: no such; 1: equal; 2: with other parameters. */
static int compare_existing(struct request *r, bool mac_given)
{
	const struct kddm_object *obj = kddm_find(r->dp->netd->sets.vips, &r->key, sizeof(r->key));
	struct vip_value v;

	if (!obj)
		return 0;
	object_read(obj, &v, sizeof(v));
	if (v.prefix != r->value.prefix || v.mode != r->value.mode || v.datapath != r->value.datapath ||
	    strcmp(v.devs, r->value.devs) || (mac_given && memcmp(v.mac, r->value.mac, 6)))
		return 2;
	r->value = v;
	return 1;
}

static bool dev_wellformed(const char *devs)
{
	return strlen(devs) < sizeof(((struct vip_value *)0)->devs) && !strpbrk(devs, " /\t\n\"");
}

/* A node that is named must exist. */
static bool dev_nodes_known(struct datapath *dp, const char *devs, char unknown[NODES_NAME_SIZE])
{
	struct kddm_set *nodes = kddm_set_by_id(dp->netd->kddm, NODES_TYPE_ID);

	for (const char *at = devs; *at;) {
		size_t len = strcspn(at, ","), name = strcspn(at, ":,");

		if (name < len) {
			snprintf(unknown, NODES_NAME_SIZE, "%.*s", (int)name, at);
			if (!nodes_by_name(nodes, unknown))
				return false;
		}
		at += len + (at[len] == ',');
	}
	return true;
}

/* Also one that is down: it comes back with its address. */
static const char *node_of_addr(struct datapath *dp, const struct ipaddr *addr)
{
	const struct kddm_object *obj;

	kddm_for_each(kddm_set_by_id(dp->netd->kddm, NODES_TYPE_ID), obj)
	{
		const struct node_info *info = obj->value;
		const void *own = addr->family == DIP_INET ? (const void *)&info->ipv4 : info->ipv6;

		if (info->state != NODE_LEFT && !memcmp(own, addr->addr, ipaddr_len(addr)))
			return info->name;
	}
	return NULL;
}

static bool parse_addr(struct ctl_request *ctl, json_t *args, struct vip_key *key)
{
	bool bad = false;
	const char *text = ctl_arg_string(args, "addr", NULL, &bad);
	struct ipaddr addr;

	if (bad || !text || !ipaddr_parse(text, &addr)) {
		ctl_fail(ctl, CTL_USAGE, "say ADDR/LEN, for instance 10.0.0.100/24 or fd00::100/64",
			 "%s is no IP address", text ? text : "that");
		return false;
	}
	*key = (struct vip_key){.family = addr.family};
	memcpy(key->addr, addr.addr, sizeof(key->addr));
	return true;
}

/* Everything that can be judged without looking at a node. True: go on. */
static bool parse_add(struct request *r, json_t *args, bool *mac_given)
{
	bool bad = false;
	const char *dev = ctl_arg_string(args, "dev", "", &bad);
	const char *mode = ctl_arg_string(args, "mode", "auto", &bad);
	const char *mac = ctl_arg_string(args, "mac", "", &bad);
	const char *datapath = ctl_arg_string(args, "datapath", "ebpf", &bad);
	char unknown[NODES_NAME_SIZE];
	struct ipaddr addr;
	int64_t prefix;

	r->force = ctl_arg_bool(args, "force", &bad);
	if (!parse_addr(r->ctl, args, &r->key))
		return false;
	addr = key_addr(&r->key);
	prefix = ctl_arg_int(args, "prefix", ipaddr_bits(&addr), 1, ipaddr_bits(&addr), &bad);
	if (bad)
		ctl_fail(r->ctl, CTL_USAGE, "say ADDR/LEN with LEN from 1 to 32, for IPv6 to 128",
			 "an argument is out of range");
	else if (!ipaddr_is_host(&addr, prefix))
		ctl_fail(r->ctl, CTL_FAILED, "choose a free host address of the network",
			 "%s is no address of a host", addr_text(&r->key));
	else if (node_of_addr(r->dp, &addr))
		ctl_fail(r->ctl, CTL_FAILED, "choose a free address of the network",
			 "%s is the address of node %s itself", addr_text(&r->key),
			 node_of_addr(r->dp, &addr));
	else if (!dev_wellformed(dev))
		ctl_fail(r->ctl, CTL_USAGE, "say dev [NODE:]IF", "no such interface can be: %s", dev);
	else if (!dev_nodes_known(r->dp, dev, unknown))
		ctl_fail(r->ctl, CTL_FAILED, "`netctl nodes` lists them", "there is no node %s", unknown);
	else if (strcmp(mode, "auto") && strcmp(mode, "shared"))
		ctl_fail(r->ctl, CTL_USAGE, "use --mode shared (or auto)", "mode %s is not known", mode);
	else if (strcmp(datapath, "ebpf"))
		ctl_fail(r->ctl, CTL_USAGE, "use --datapath ebpf", "datapath %s is not known", datapath);
	else if (mac[0] && (!mac_parse(mac, r->value.mac) || !memcmp(r->value.mac, "\0\0\0\0\0\0", 6) ||
			    !memcmp(r->value.mac, "\xff\xff\xff\xff\xff\xff", 6)))
		ctl_fail(r->ctl, CTL_USAGE, "say it like 02:00:5e:00:00:01", "%s is no usable MAC address",
			 mac);
	else
		goto good;
	return false;
good:
	r->value.prefix = prefix;
	r->value.mode = strcmp(mode, "auto") ? VIP_SHARED : VIP_AUTO;
	strcpy(r->value.devs, dev);
	*mac_given = mac[0];
	if (!mac[0])
		default_mac(r->dp, &addr, r->value.mac);
	return true;
}

static void cmd_add(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct request *r = request_new(arg, ctl);
	bool mac_given = false;
	char mac[18];
	json_t *req;

	if (!r)
		return;
	r->add = true;
	if (!parse_add(r, args, &mac_given)) {
		free(r);
		return;
	}
	switch (compare_existing(r, mac_given)) {
	case 1:
		answer_added(r);
		return;
	case 2:
		ctl_fail(ctl, CTL_FAILED,
			 "`netctl vip del` it first, or repeat the parameters that `netctl vips` shows",
			 "%s is already exposed with other parameters", addr_text(&r->key));
		free(r);
		return;
	}
	mac_text(r->value.mac, mac);
	req = json_pack("{ss,si,ss,ss,sb}", "addr", addr_text(&r->key), "prefix", r->value.prefix, "dev",
			r->value.devs, "mac", mac, "force", r->force);
	datapath_ask(r->dp, 0, "vip-check", req, CHECK_MS, add_checked, r);
	json_decref(req);
}

/* ---- removing ------------------------------------------------------------------------ */
/* The address, and the claims on it. */
static struct kddm_batch *del_batch(struct request *r)
{
	struct objects *sets = &r->dp->netd->sets;
	struct kddm_batch *b = kddm_batch_new(r->dp->netd->kddm, false);
	int err = b ? kddm_remove(b, sets->vips, &r->key, sizeof(r->key), KDDM_ANY) : -ENOMEM;
	const struct kddm_object *obj;

	kddm_for_each(sets->ports, obj)
	{
		const struct port_key *k = obj->key;

		if (!err && k->vip == r->value.index)
			err = kddm_remove(b, sets->ports, k, sizeof(*k), KDDM_ANY);
	}
	if (!err)
		return b;
	kddm_batch_free(b);
	return NULL;
}

static bool moving_on(const struct request *r)
{
	const struct kddm_object *obj;
	struct port_value v;

	kddm_for_each(r->dp->netd->sets.ports, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (((const struct port_key *)obj->key)->vip == r->value.index && v.state == PORT_HOLD)
			return true;
	}
	return false;
}

static void cmd_del(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct request *r = request_new(arg, ctl);
	const struct kddm_object *obj;
	struct kddm_batch *b;

	if (!r)
		return;
	if (!parse_addr(ctl, args, &r->key)) {
		free(r);
		return;
	}
	obj = kddm_find(r->dp->netd->sets.vips, &r->key, sizeof(r->key));
	if (!obj) {
		ctl_ok(ctl, json_pack("[{ss,sb}]", "addr", addr_text(&r->key), "changed", 0));
		free(r);
		return;
	}
	object_read(obj, &r->value, sizeof(r->value));
	if (moving_on(r) || !(b = del_batch(r))) {
		ctl_fail(ctl, CTL_FAILED, "wait until `netctl moves` shows none, then repeat",
			 "an application is moving on %s", addr_text(&r->key));
		free(r);
		return;
	}
	kddm_submit(b, committed, r);
}

void vips_cmd_start(struct datapath *dp)
{
	struct netd *n = dp->netd;

	ctl_register(n->ctl, "vips", CTL_MEMBER, cmd_vips, dp);
	ctl_register(n->ctl, "vip-add", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, cmd_add, dp);
	ctl_register(n->ctl, "vip-del", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, cmd_del, dp);
	if (peer_handle(n->peers, "vip-check", on_check, dp) ||
	    peer_handle(n->peers, "vip-state", on_state, dp))
		log_err("cannot answer the peers about cluster addresses");
}
