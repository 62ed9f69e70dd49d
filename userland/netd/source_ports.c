// SPDX-License-Identifier: GPL-2.0
/* See source_ports.h. A look every LOOK_MS: cheap counters first, the sockets themselves only when those say so. */
#include "source_ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "datapath_int.h"
#include "member.h"
#include "source_reserved.h"
#include "source_route.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"

#define LOOK_MS	   200
#define APPLIED_MS 5000
#define DUMP_REST  20 /* times as long as it took, before the sockets are read again */
#define RESERVED   "net.ipv4.ip_local_reserved_ports"
#define FULL	   95 /* % of use from which `status` warns */
#define BLOCK	   "source_block"

enum state { NONE, LEASED, OURS, LEAVING };

struct sources {
	struct datapath *dp;
	uint8_t state[BLOCKS];	 /* enum state */
	uint32_t self;		 /* whose blocks these are */
	uint64_t version, known; /* of the newest block of ours; as far as the others know */
	uint16_t low, high;	 /* the range of programs */
	unsigned int used, have; /* ports, when last counted */
	struct port_map foreign; /* kept out of use */
	uint64_t count_at_ns;
	struct port_map tcp, udp; /* source ports that are in use, as last read */
	bool submitting, waiting, stopped;
	bool stale;		      /* `foreign` is to be made anew */
	bool exhausted;		      /* there was nothing to lease */
	bool routed;		      /* programs leave from a cluster address */
	int trouble;		      /* errno of the kernel's configuration */
	uint64_t *groups;	      /* control groups that leave from the node's address */
	size_t n_groups, groups_size; /* the latter in bytes */
	uv_timer_t look;
	int refs;
};

static void put(struct sources *s)
{
	if (--s->refs)
		return;
	free(s->groups);
	free(s);
}

static uint32_t self_of(const struct sources *s)
{
	return datapath_self(s->dp);
}

static bool any_exposed(const struct datapath *dp)
{
	for (int i = 0; i < DATAPATH_VIPS; i++)
		if (dp->vips[i].exposed)
			return true;
	return false;
}

/* ---- arithmetic ------------------------------------------------------------------------ */
static unsigned int first_of(const struct sources *s)
{
	return s->low / BLOCK_PORTS;
}

static unsigned int end_of(const struct sources *s)
{
	return s->high / BLOCK_PORTS + 1;
}

/* Of the range. */
static unsigned int in_state(const struct sources *s, enum state state)
{
	unsigned int n = 0;

	for (unsigned int b = first_of(s); b < end_of(s); b++)
		n += s->state[b] == state;
	return n;
}

static unsigned int owned(const struct sources *s)
{
	return end_of(s) - first_of(s) - in_state(s, NONE);
}

static unsigned int ours(const struct sources *s)
{
	unsigned int n = 0;

	for (unsigned int b = 0; b < BLOCKS; b++)
		n += s->state[b] == OURS;
	return n;
}

static unsigned int fair_share(const struct sources *s)
{
	const struct kddm_object *obj;
	unsigned int nodes = 0, all = end_of(s) - first_of(s);

	kddm_for_each(kddm_set_by_id(s->dp->netd->kddm, NODES_TYPE_ID), obj)
	{
		const struct node_info *info = obj->value;

		nodes += obj->value_len >= sizeof(*info) && nodes_in_datapath(info);
	}
	return !nodes ? all : all / nodes ?: 1;
}

static unsigned int block_len(const struct sources *s)
{
	return member_conf_uint(s->dp->netd->member, BLOCK, 512) / BLOCK_PORTS ?: 1;
}

/* How many to have; a start that is not at its end with the first burst. */
static unsigned int wanted(const struct sources *s)
{
	unsigned int have = owned(s), share = fair_share(s), more = block_len(s);
	unsigned int start = more > share / 2 ? more : share / 2;

	if (have < start)
		more = start - have;
	else if (4 * s->used < 3 * s->have || in_state(s, OURS) != have)
		more = 0; /* enough, or on its way */
	return have + more > share ? share : have + more;
}

/* ---- use ----------------------------------------------------------------------------------- */
static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* Sockets of all kinds in this network namespace: at least as many as ports in use. */
static unsigned int sockstat(const char *path, unsigned int most)
{
	_cleanup_(close_file) FILE *f = fopen(path, "re");
	unsigned int inuse, tw, n = 0;
	char line[256], proto[16];

	while (f && fgets(line, sizeof(line), f)) {
		tw = 0;
		if (sscanf(line, "%15[A-Z0-9]: inuse %u orphan %*u tw %u", proto, &inuse, &tw) >= 2)
			n += inuse + tw;
	}
	return n + most;
}

static void count_fn(void *arg, const struct sockdiag_sock *d)
{
	struct sources *s = arg;

	if (s->state[d->port / BLOCK_PORTS] != NONE)
		port_map_add(d->proto == IPPROTO_TCP ? &s->tcp : &s->udp, d->port);
}

static int count(struct sources *s)
{
	static const int protos[] = {IPPROTO_TCP, IPPROTO_UDP};
	static const int families[] = {AF_INET, AF_INET6};
	uint64_t began = uv_hrtime();
	unsigned int tcp = 0, udp = 0;
	int err = 0;

	memset(&s->tcp, 0, sizeof(s->tcp));
	memset(&s->udp, 0, sizeof(s->udp));
	for (int i = 0; i < 4 && !err; i++)
		err = sockdiag_dump(s->dp->diag, families[i & 1], protos[i >> 1], SOCKDIAG_ALL, count_fn, s);
	for (unsigned int b = first_of(s); b < end_of(s) && !err; b++) {
		tcp += (unsigned int)__builtin_popcountll(s->tcp.word[b]);
		udp += (unsigned int)__builtin_popcountll(s->udp.word[b]);
	}
	s->used = tcp > udp ? tcp : udp;
	s->count_at_ns = uv_hrtime() + DUMP_REST * (uv_hrtime() - began);
	return err;
}

static bool in_use(const struct sources *s, unsigned int block)
{
	return s->tcp.word[block] | s->udp.word[block];
}

/* ---- the kernel's configuration --------------------------------------------------------------- */
/* A port of ours that somebody else has a claim for, or is about to get: a listener, or a connection that moved. */
static bool left_out(const struct sources *s, const struct kddm_object *obj)
{
	struct port_value v;

	object_read(obj, &v, sizeof(v));
	return v.node != self_of(s) || v.state == PORT_HOLD;
}

static void foreign_ports(const struct sources *s, struct port_map *m)
{
	const struct kddm_object *obj;

	memset(m, 0, sizeof(*m));
	for (unsigned int port = s->low; port <= s->high; port++)
		if (s->state[port / BLOCK_PORTS] != OURS)
			port_map_add(m, (uint16_t)port);
	kddm_for_each(s->dp->netd->sets.ports, obj)
	{
		const struct port_key *k = obj->key;

		if (k->vip != PORT_VIP_LOCAL && s->state[k->port / BLOCK_PORTS] == OURS && left_out(s, obj))
			port_map_add(m, k->port);
	}
}

static int set_routes(struct sources *s)
{
	struct source_vip vips[DATAPATH_VIPS];
	size_t n = 0;

	for (int i = 0; i < DATAPATH_VIPS; i++) {
		const struct vip *v = &s->dp->vips[i];

		if (v->exposed)
			vips[n++] = (struct source_vip){vips_addr(v), v->link.index};
	}
	return source_route_set(s->dp->rtnl, vips, n);
}

static void trouble(struct sources *s, int err, const char *what)
{
	if (err < 0 && err != s->trouble)
		log_err("programs leave from this node's own address: %s: %s", what, strerror(-err));
	s->trouble = err < 0 ? err : 0;
}

/* Without ports of ours nothing may be chosen for a cluster address, and nothing is kept from the rest. */
void sources_withdraw(struct datapath *dp)
{
	struct sources *s = dp->sources;
	int err = source_route_clear(dp->rtnl);

	if (s)
		s->routed = false;
	if (err >= 0)
		err = source_reserved_restore();
	if (err < 0)
		log_warn("what source ports need in the kernel is not out of it: %s", strerror(-err));
}

void sources_apply(struct datapath *dp)
{
	struct sources *s = dp->sources;
	int err;

	if (!s || !dp->synced || !s->low || (!ours(s) && owned(s)))
		return; /* as it was, until the others know */
	if (!ours(s) || !any_exposed(dp)) {
		if (s->routed)
			sources_withdraw(dp);
		return;
	}
	foreign_ports(s, &s->foreign);
	s->stale = false;
	err = source_reserved_set(&s->foreign);
	trouble(s, err, RESERVED);
	if (!err) {
		s->routed = true;
		err = set_routes(s);
		trouble(s, err, err == -E2BIG ? "the table of routes is too long to be copied" : "routes");
	}
	if (err && s->routed) {
		source_route_clear(dp->rtnl);
		s->routed = !s->trouble;
	}
}

/* ---- leasing ------------------------------------------------------------------------------------- */
static void look_soon(struct sources *s)
{
	s->stale = true;
	if (!s->stopped)
		uv_timer_start(&s->look, s->look.timer_cb, 0, LOOK_MS);
}

static void committed(void *arg, const struct kddm_result *res)
{
	struct sources *s = arg;

	s->submitting = false;
	if (!s->stopped && !res->status)
		look_soon(s);
	put(s);
}

static void submit(struct sources *s, struct kddm_batch *b, unsigned int n)
{
	if (!n) {
		kddm_batch_free(b);
		return;
	}
	s->submitting = true;
	s->refs++;
	kddm_submit(b, committed, s);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The free ones of `len` blocks from `at`, at most `most`. */
static unsigned int lease_here(struct sources *s, struct kddm_batch *b, unsigned int at, unsigned int len,
			       unsigned int most, bool taken[BLOCKS])
{
	struct block_value v = {.node = (uint16_t)self_of(s), .since_ms = now_ms()};
	unsigned int n = 0;

	for (unsigned int i = at; i < at + len && n < most; i++) {
		struct block_key k = {.number = i};

		if (i < first_of(s) || i >= end_of(s) || s->dp->lessee[i] || taken[i])
			continue;
		if (kddm_grab(b, s->dp->netd->sets.blocks, &k, sizeof(k), &v, sizeof(v), KDDM_ABSENT,
			      self_of(s)))
			break;
		taken[i] = true;
		n++;
	}
	return n;
}

/* Spread over the range: the kernel looks for a port from any place on, and foreign ones are passed over. */
static void lease(struct sources *s, unsigned int more)
{
	unsigned int len = block_len(s), begin = first_of(s) / len,
		     places = (end_of(s) + len - 1) / len - begin;
	unsigned int start = arc4random_uniform(places), stride = places / (more / len + 1) ?: 1, n = 0;
	struct kddm_batch *b = kddm_batch_new(s->dp->netd->kddm, false);
	bool taken[BLOCKS] = {};

	if (!b)
		return;
	for (unsigned int round = 0; round < stride; round++)
		for (unsigned int i = round; i < places && n < more; i += stride)
			n += lease_here(s, b, (begin + (start + i) % places) * len, len, more - n, taken);
	s->exhausted = !n;
	submit(s, b, n);
}

static void known_everywhere(void *arg, int status)
{
	struct sources *s = arg;

	s->waiting = false;
	for (unsigned int i = 0; i < BLOCKS && !s->stopped && !status; i++) {
		struct block_key k = {.number = i};
		const struct kddm_object *obj = kddm_find(s->dp->netd->sets.blocks, &k, sizeof(k));

		if (s->state[i] == LEASED && obj && obj->version <= s->known)
			s->state[i] = OURS;
	}
	if (!s->stopped && !status)
		sources_apply(s->dp);
	put(s);
}

/* A node that does not know would refuse what comes back. Leases that were added meanwhile wait for the next time. */
static void wait_known(struct sources *s)
{
	bool any = false;

	for (unsigned int i = 0; i < BLOCKS; i++)
		any |= s->state[i] == LEASED;
	if (!any || s->waiting || s->submitting)
		return;
	s->waiting = true;
	s->known = s->version;
	s->refs++;
	kddm_wait_applied(s->dp->netd->kddm, s->version, NULL, 0, APPLIED_MS, known_everywhere, s);
}

/* ---- giving back ------------------------------------------------------------------------------------ */
static void give_back(struct sources *s, bool all)
{
	struct kddm_batch *b = kddm_batch_new(s->dp->netd->kddm, false);
	unsigned int n = 0;

	for (unsigned int i = 0; i < BLOCKS && b; i++) {
		struct block_key k = {.number = i};
		const struct kddm_object *obj;

		if (s->state[i] == NONE || (!all && s->state[i] != LEAVING))
			continue;
		obj = kddm_find(s->dp->netd->sets.blocks, &k, sizeof(k));
		if (!all && in_use(s, i)) {
			s->state[i] = OURS;
			s->stale = true;
		} else if (obj && !kddm_remove(b, s->dp->netd->sets.blocks, &k, sizeof(k), obj->version))
			n++;
	}
	if (b)
		submit(s, b, n);
}

static bool outside(const struct sources *s, unsigned int block)
{
	return block < first_of(s) || block >= end_of(s);
}

/* First nobody new gets in, then it is seen whether somebody is. */
static void shrink(struct sources *s, unsigned int surplus)
{
	bool leaving = false, change = surplus;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		leaving |= s->state[i] == LEAVING;
		change |= s->state[i] == OURS && outside(s, i);
	}
	if (!(leaving || change) || uv_hrtime() < s->count_at_ns || count(s))
		return;
	if (leaving) {
		give_back(s, false);
		return;
	}
	for (unsigned int i = 0; i < BLOCKS; i++) {
		if (s->state[i] != OURS || in_use(s, i) || !(surplus || outside(s, i)))
			continue;
		s->state[i] = LEAVING;
		surplus -= !outside(s, i);
		s->stale = true;
	}
}

/* ---- which are ours ------------------------------------------------------------------------------------ */
static void block_insert(void *arg, const struct kddm_object *obj)
{
	struct sources *s = arg;
	const struct block_key *k = obj->key;

	if (obj->owner != self_of(s))
		return;
	s->state[k->number] = LEASED;
	s->version = obj->version > s->version ? obj->version : s->version;
	look_soon(s);
}

static void block_reset(void *arg)
{
	struct sources *s = arg;
	const struct kddm_object *obj;

	s->self = self_of(s);
	memset(s->state, NONE, sizeof(s->state));
	kddm_for_each(s->dp->netd->sets.blocks, obj) block_insert(s, obj);
	look_soon(s);
}

/* ---- the look ------------------------------------------------------------------------------------------ */
static void measure(struct sources *s)
{
	unsigned int at_most;

	s->have = 0;
	for (unsigned int port = s->low; port <= s->high; port++)
		s->have += s->state[port / BLOCK_PORTS] == OURS;
	at_most = sockstat("/proc/net/sockstat6", sockstat("/proc/net/sockstat", 0));
	if (4 * at_most < 3 * s->have)
		s->used = at_most;
	else if (uv_hrtime() >= s->count_at_ns && count(s))
		s->used = at_most;
}

static void read_range(struct sources *s)
{
	uint16_t low = s->low, high = s->high;

	source_range(&s->low, &s->high);
	s->stale |= low != s->low || high != s->high;
}

static void on_look(uv_timer_t *t)
{
	struct sources *s = t->data;
	struct datapath *dp = s->dp;
	unsigned int have, want, share;

	if (!dp->synced || !dp->lease_ns || s->submitting)
		return;
	/* What came out of a snapshot came before this node had its number. */
	if (s->self != self_of(s))
		block_reset(s);
	read_range(s);
	have = owned(s);
	if (!any_exposed(dp)) {
		if (have && !kddm_count(dp->netd->sets.vips))
			give_back(s, true);
		return;
	}
	measure(s);
	wait_known(s);
	if (s->stale)
		sources_apply(dp);
	else if (s->routed)
		trouble(s, source_reserved_set(&s->foreign), RESERVED);
	want = wanted(s);
	share = fair_share(s);
	s->exhausted = have >= share;
	if (have < want)
		lease(s, want - have);
	else
		shrink(s, have > share ? have - share : 0);
}

/* ---- linkers ----------------------------------------------------------------------------------------------- */
static void block_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	struct sources *s = arg;

	s->state[((const struct block_key *)obj->key)->number] = NONE;
	block_insert(arg, obj);
}

static void block_remove(void *arg, const struct kddm_object *old)
{
	struct sources *s = arg;
	const struct block_key *k = old->key;

	if (s->state[k->number] == NONE)
		return;
	s->state[k->number] = NONE;
	look_soon(s);
}

static const struct kddm_linker block_linker = {
	.insert = block_insert,
	.update = block_update,
	.remove = block_remove,
	.reset = block_reset,
};

static void port_changed(void *arg, const struct kddm_object *obj)
{
	struct sources *s = arg;
	const struct port_key *k = obj->key;

	if (k->vip != PORT_VIP_LOCAL && s->state[k->port / BLOCK_PORTS] == OURS)
		look_soon(s);
}

static void port_updated(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	port_changed(arg, obj);
}

static const struct kddm_linker port_linker = {
	.insert = port_changed,
	.update = port_updated,
	.remove = port_changed,
};

/* ---- applications that leave from the node's address --------------------------------------------------------- */
static void tell_group(struct datapath *dp, uint64_t cgroup, bool node)
{
	int err = dp->bpf ? dip_bpf_source(dp->bpf, cgroup, node) : 0;

	if (err)
		log_err("an application leaves from the wrong address: %s", strerror(-err));
}

void sources_group(struct datapath *dp, uint64_t cgroup, bool node)
{
	struct sources *s = dp ? dp->sources : NULL;
	size_t i = 0;

	if (!s)
		return;
	while (i < s->n_groups && s->groups[i] != cgroup)
		i++;
	if (node && i == s->n_groups) {
		s->groups = grow(s->groups, &s->groups_size, i * sizeof(cgroup), sizeof(cgroup));
		s->groups[s->n_groups++] = cgroup;
	} else if (!node && i < s->n_groups) {
		s->groups[i] = s->groups[--s->n_groups];
	}
	tell_group(dp, cgroup, node);
}

void sources_loaded(struct datapath *dp)
{
	for (size_t i = 0; dp->sources && i < dp->sources->n_groups; i++)
		tell_group(dp, dp->sources->groups[i], true);
}

/* ---- for others ------------------------------------------------------------------------------------------------ */
uint32_t sources_lessee(const struct datapath *dp, uint16_t port)
{
	return dp->lessee[port / BLOCK_PORTS];
}

char *sources_ranges(struct datapath *dp, uint32_t node)
{
	struct port_map m = {};
	bool any = false;

	for (unsigned int i = 0; i < BLOCKS; i++) {
		if (!node || dp->lessee[i] != node)
			continue;
		m.word[i] = ~0ull;
		any = true;
	}
	return any ? port_map_text(&m) : NULL;
}

json_t *sources_problem(struct datapath *dp)
{
	struct sources *s = dp->sources;
	char text[200];

	if (!s || !s->routed || !s->exhausted || 100 * s->used < FULL * s->have)
		return NULL;
	snprintf(text, sizeof(text),
		 "%u of the %u source ports of this node are in use and there are no more for it: programs "
		 "get "
		 "EADDRNOTAVAIL",
		 s->used, s->have);
	return json_pack("{ss,ss,ss}", "severity", "warning", "problem", text, "remedy",
			 "widen net.ipv4.ip_local_port_range on all nodes, or find who opens so many "
			 "connections: `ss -tan`");
}

int sources_start(struct datapath *dp)
{
	struct sources *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->dp = dp;
	s->refs = 1;
	uv_timer_init(dp->netd->loop, &s->look);
	s->look.data = s;
	uv_timer_start(&s->look, on_look, LOOK_MS, LOOK_MS);
	dp->sources = s;
	err = kddm_link(dp->netd->sets.blocks, &block_linker, s);
	return err ?: kddm_link(dp->netd->sets.ports, &port_linker, s);
}

static void on_closed(uv_handle_t *h)
{
	put(h->data);
}

void sources_stop(struct datapath *dp)
{
	struct sources *s = dp->sources;

	dp->sources = NULL;
	if (!s)
		return;
	s->stopped = true;
	uv_close((uv_handle_t *)&s->look, on_closed);
}
