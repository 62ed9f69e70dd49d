// SPDX-License-Identifier: GPL-2.0
/*
 * Writing the tables of the distributed IP while others read them.
 * One writer, no locks: every visible change is one 64-bit store, or is written
 * aside and published by one.  What a store must be preceded by is ordered by
 * release semantics; readers use plain loads (dip_steer.h).
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <ssi/dip_steer.h>

#include "dip_tables.h"

#define SEEDS	   100000
#define KICKS	   200
#define KICK_DEPTH 3

static void put64(__u64 *p, __u64 v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static __u64 get64(const __u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static struct dip_tables view(const struct dip_mem *m)
{
	struct dip_tables t = {
		.conf = m->conf,
		.ports = m->ports,
		.flows = m->flows,
		.flow_mask = m->flow_mask,
	};

	return t;
}

static void changed(struct dip_mem *m)
{
	put64(&m->conf->generation, m->conf->generation + 1);
}

/* ---- the whole ---- */

int dip_tables_init(struct dip_mem *m, uint16_t self)
{
	struct dip_conf *c = m->conf;
	struct {
		__u64 flow_key;
		__u32 mark, peer_seed;
	} secret;

	if (!self || self >= DIP_NODES_MAX)
		return -EINVAL;
	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return -errno;
	memset(c, 0, sizeof(*c));
	memset(m->ports, 0, sizeof(*m->ports) * DIP_SLOTS);
	memset(m->flows, 0, sizeof(*m->flows) * (m->flow_mask + 1UL));
	c->self = self;
	c->flow_key = secret.flow_key;
	c->mark = secret.mark ? secret.mark : 1;
	c->peer_seed = secret.peer_seed;
	__atomic_store_n(&c->abi, DIP_ABI, __ATOMIC_RELEASE);
	return 0;
}

int dip_tables_check(const struct dip_mem *m)
{
	return m->conf->abi == DIP_ABI ? 0 : -EPROTO;
}

void dip_tables_set_self(struct dip_mem *m, uint16_t self)
{
	__atomic_store_n(&m->conf->self, self, __ATOMIC_RELEASE);
}

void dip_tables_set_hold(struct dip_mem *m, uint32_t tap_ifindex)
{
	__atomic_store_n(&m->conf->hold_ifindex, tap_ifindex, __ATOMIC_RELEASE);
}

void dip_tables_set_netns(struct dip_mem *m, uint64_t cookie)
{
	put64(&m->conf->netns_cookie, cookie);
}

void dip_lease_set(struct dip_mem *m, uint64_t expiry_jiffies)
{
	put64(&m->conf->lease_expiry, expiry_jiffies);
}

uint64_t dip_lease_get(const struct dip_mem *m)
{
	return get64(&m->conf->lease_expiry);
}

/* ---- VIPs ---- */

static const struct dip_vip *vips_shown(const struct dip_mem *m)
{
	return m->conf->vips[(m->conf->vip_pick >> 32) & 1];
}

static size_t vips_list(const struct dip_mem *m, struct dip_vip list[DIP_VIPS_MAX])
{
	const struct dip_vip *v = vips_shown(m);
	size_t n = 0;

	for (int i = 0; i < DIP_VIP_SLOTS && n < DIP_VIPS_MAX; i++)
		if (v[i].family)
			list[n++] = v[i];
	return n;
}

static int vips_place(struct dip_vip *side, const struct dip_vip *list, size_t n, __u32 seed)
{
	memset(side, 0, sizeof(*side) * DIP_VIP_SLOTS);
	for (size_t i = 0; i < n; i++) {
		struct dip_vip *v =
			&side[dip_vip_hash(list[i].family, &list[i].addr, seed) & (DIP_VIP_SLOTS - 1)];
		if (v->family)
			return -EEXIST;
		*v = list[i];
	}
	return 0;
}

/* Write the side that nobody reads, then show it. */
static int vips_publish(struct dip_mem *m, const struct dip_vip *list, size_t n)
{
	__u64 pick = m->conf->vip_pick;
	__u64 side = !((pick >> 32) & 1);

	if (m->grace)
		m->grace();
	for (__u32 i = 0; i < SEEDS; i++) {
		__u32 seed = (__u32)pick + i;

		if (vips_place(m->conf->vips[side], list, n, seed))
			continue;
		put64(&m->conf->vip_pick, (pick & DIP_PICK_TRACE) | side << 32 | seed);
		changed(m);
		return 0;
	}
	return -ENOSPC;
}

static struct dip_vip *vips_find(struct dip_vip *list, size_t n, uint8_t family, const union dip_addr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].family == family && !memcmp(&list[i].addr, addr, sizeof(*addr)))
			return &list[i];
	return NULL;
}

static int vip_valid(const struct dip_vip_spec *s)
{
	if (s->family == DIP_INET)
		return s->addr.a4 && !s->addr.a32[1] && !s->addr.a64[1];
	return s->family == DIP_INET6 && (s->addr.a64[0] || s->addr.a64[1]);
}

/* What an earlier VIP of this index left behind. */
static void ports_clear(struct dip_mem *m, unsigned int vip)
{
	for (unsigned int i = 0; i < 1U << 17; i++)
		put64(&m->ports[DIP_SLOT_INDEX(vip, 0, 0) + i].word, 0);
}

static void flows_clear_vip(struct dip_mem *m, unsigned int vip)
{
	for (size_t i = 0; i <= m->flow_mask; i++) {
		for (int j = 0; j < DIP_WAYS; j++) {
			struct dip_way w = m->flows[i].way[j];

			if ((w.state & DIP_WAY_STATE) && (w.key & DIP_KEY_VIP) == vip) {
				w.state &= DIP_WAY_OVERFLOW;
				put64(&m->flows[i].way[j].word, w.word);
			}
		}
	}
}

static void vip_fill(struct dip_vip *v, const struct dip_vip_spec *s, unsigned int index)
{
	memset(v, 0, sizeof(*v));
	v->addr = s->addr;
	v->family = s->family;
	v->index = (__u8)index;
	memcpy(v->mac, s->mac, sizeof(v->mac));
	v->ifindex = s->ifindex;
}

/* Of dip_conf.vip_used. */
static __u32 vip_bits(uint8_t family, unsigned int index)
{
	return 1U << index | (family == DIP_INET6 ? 1U << (DIP_VIPS_MAX + index) : 0);
}

int dip_vip_add(struct dip_mem *m, const struct dip_vip_spec *spec)
{
	struct dip_vip list[DIP_VIPS_MAX], *v, was;
	size_t n = vips_list(m, list);
	int index, err;

	if (!vip_valid(spec))
		return -EINVAL;
	v = vips_find(list, n, spec->family, &spec->addr);
	if (v) {
		was = *v;
		vip_fill(v, spec, was.index);
		err = memcmp(&was, v, sizeof(was)) ? vips_publish(m, list, n) : 0;
		return err ? err : was.index;
	}
	if (n == DIP_VIPS_MAX)
		return -ENOSPC;
	for (index = 0; m->conf->vip_used & 1U << index; index++)
		;
	ports_clear(m, index);
	flows_clear_vip(m, index);
	vip_fill(&list[n], spec, index);
	err = vips_publish(m, list, n + 1);
	if (err)
		return err;
	__atomic_fetch_or(&m->conf->vip_used, vip_bits(spec->family, index), __ATOMIC_RELEASE);
	return index;
}

int dip_vip_del(struct dip_mem *m, uint8_t family, const union dip_addr *addr)
{
	struct dip_vip list[DIP_VIPS_MAX], *v;
	size_t n = vips_list(m, list);
	__u32 index;
	int err;

	v = vips_find(list, n, family, addr);
	if (!v)
		return -ENOENT;
	index = v->index;
	*v = list[n - 1];
	err = vips_publish(m, list, n - 1);
	if (err)
		return err;
	__atomic_fetch_and(&m->conf->vip_used, ~vip_bits(DIP_INET6, index), __ATOMIC_RELEASE);
	return 0;
}

int dip_vip_get(const struct dip_mem *m, uint8_t family, const union dip_addr *addr, struct dip_vip *out)
{
	struct dip_tables t = view(m);
	const struct dip_vip *v = dip_vip_find(&t, family, addr);

	if (!v)
		return -ENOENT;
	if (out)
		*out = *v;
	return v->index;
}

int dip_vip_at(const struct dip_mem *m, unsigned int index, struct dip_vip *out)
{
	struct dip_vip list[DIP_VIPS_MAX];
	size_t n = vips_list(m, list);

	for (size_t i = 0; i < n; i++) {
		if (list[i].index != index)
			continue;
		if (out)
			*out = list[i];
		return 0;
	}
	return -ENOENT;
}

/* ---- ports ---- */

struct dip_slot dip_slot_get(const struct dip_mem *m, unsigned int vip, bool udp, uint16_t port)
{
	struct dip_slot s = {.word = get64(&m->ports[DIP_SLOT_INDEX(vip, udp, port)].word)};

	return s;
}

void dip_slot_set(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, struct dip_slot slot)
{
	put64(&m->ports[DIP_SLOT_INDEX(vip, udp, port)].word, slot.word);
}

static void slot_change(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, struct dip_slot s)
{
	s.flags |= dip_slot_get(m, vip, udp, port).flags & DIP_SLOT_EXCEPTIONS;
	dip_slot_set(m, vip, udp, port, s);
}

void dip_slot_free(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port)
{
	struct dip_slot s = {.word = 0};

	s.epoch = dip_slot_get(m, vip, udp, port).epoch;
	slot_change(m, vip, udp, port, s);
}

void dip_slot_own(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, uint16_t owner,
		  uint16_t epoch, bool releasing)
{
	slot_change(m, vip, udp, port,
		    (struct dip_slot){.state = DIP_SLOT_OWNED,
				      .owner = owner,
				      .epoch = epoch,
				      .flags = releasing ? DIP_SLOT_RELEASING : 0});
}

void dip_slot_lease(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, uint16_t owner)
{
	slot_change(m, vip, udp, port,
		    (struct dip_slot){.state = DIP_SLOT_OWNED, .owner = owner, .flags = DIP_SLOT_LEASED});
}

void dip_slot_hold(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, uint16_t owner,
		   uint16_t next, uint16_t epoch)
{
	slot_change(m, vip, udp, port,
		    (struct dip_slot){.state = DIP_SLOT_HOLD, .owner = owner, .next = next, .epoch = epoch});
}

/* ---- homes ---- */

/*
 * Highest random weight: a node that comes or goes moves only its own share.
 * The hash is a bijection, so that two nodes never weigh the same.
 */
static __u16 home_of(unsigned int home, const uint16_t *live, size_t n)
{
	__u64 best = 0;
	__u16 node = DIP_NOBODY;

	for (size_t i = 0; i < n; i++) {
		__u64 w = dip_hash64((__u64)(home + 1) << 32 | live[i]);

		if (!node || w > best) {
			best = w;
			node = live[i];
		}
	}
	return node;
}

void dip_homes_set(struct dip_mem *m, const uint16_t *live, size_t n)
{
	int changes = 0;

	for (unsigned int i = 0; i < DIP_HOMES; i++) {
		__u16 node = home_of(i, live, n);

		if (m->conf->homes[i] == node)
			continue;
		__atomic_store_n(&m->conf->homes[i], node, __ATOMIC_RELEASE);
		changes++;
	}
	if (changes)
		changed(m);
}

uint16_t dip_home_port(const struct dip_mem *m, bool udp, uint16_t port)
{
	return m->conf->homes[dip_home_hash(udp ? DIP_PROTO_UDP : DIP_PROTO_TCP, port)];
}

uint16_t dip_home_icmp(const struct dip_mem *m, uint8_t family, const union dip_addr *raddr)
{
	return m->conf->homes[dip_home_hash_addr(family, raddr)];
}

/* ---- peers ---- */

static __u64 peer_mac(const struct dip_conf *c, __u16 node)
{
	struct dip_peer p = c->peers[node];

	p.flags = 0;
	return p.word;
}

/* Cuckoo: each MAC at one of its two places; who is in the way moves on. */
static int peer_place(const struct dip_conf *c, __u16 *slots, __u16 node, __u32 seed)
{
	__u32 which = 0;

	for (int i = 0; i < KICKS; i++) {
		__u64 mac = peer_mac(c, node);
		__u32 at[2] = {dip_peer_hash(mac, seed, 0), dip_peer_hash(mac, seed, 1)};
		__u16 out;

		for (int j = 0; j < 2; j++) {
			if (slots[at[j]] && peer_mac(c, slots[at[j]]) != mac)
				continue;
			slots[at[j]] = node;
			return 0;
		}
		out = slots[at[which]];
		slots[at[which]] = node;
		which = dip_peer_hash(peer_mac(c, out), seed, 0) == at[which];
		node = out;
	}
	return -ENOSPC;
}

static int peers_place(const struct dip_conf *c, __u16 *slots, __u32 seed)
{
	memset(slots, 0, sizeof(c->peer_slots));
	for (__u16 node = 1; node < DIP_NODES_MAX; node++)
		if (c->peers[node].word && peer_place(c, slots, node, seed))
			return -ENOSPC;
	return 0;
}

/*
 * While the places change a peer may be missed for a moment; it is only asked
 * for by the guard against forwarding twice.
 */
static int peers_index(struct dip_conf *c)
{
	__u16 slots[DIP_PEER_SLOTS];
	__u32 seed = c->peer_seed;

	for (int i = 0; peers_place(c, slots, seed); i++, seed++)
		if (i == 100)
			return -ENOSPC;
	c->peer_seed = seed;
	for (int i = 0; i < DIP_PEER_SLOTS; i++)
		__atomic_store_n(&c->peer_slots[i], slots[i], __ATOMIC_RELEASE);
	return 0;
}

int dip_peer_set(struct dip_mem *m, uint16_t node, const uint8_t mac[6])
{
	struct dip_peer p = {.word = 0}, was;
	int err;

	if (!node || node >= DIP_NODES_MAX)
		return -EINVAL;
	if (mac) {
		memcpy(p.mac, mac, sizeof(p.mac));
		p.flags = DIP_PEER_PRESENT;
	}
	was = m->conf->peers[node];
	if (was.word == p.word)
		return 0;
	put64(&m->conf->peers[node].word, p.word);
	err = peers_index(m->conf);
	if (err) {
		put64(&m->conf->peers[node].word, was.word);
		return err;
	}
	changed(m);
	return 0;
}

int dip_peer_get(const struct dip_mem *m, uint16_t node, uint8_t mac[6])
{
	struct dip_peer p;

	if (!node || node >= DIP_NODES_MAX)
		return -EINVAL;
	p.word = get64(&m->conf->peers[node].word);
	if (!p.word)
		return -ENOENT;
	memcpy(mac, p.mac, sizeof(p.mac));
	return 0;
}

/* ---- flows ---- */

/* A flow as the table has it. */
struct flow_id {
	__u64 addr, word;
	struct dip_bucket *bucket[2];
};

static void flow_buckets(const struct dip_mem *m, struct flow_id *id)
{
	__u64 h = dip_flow_hash(id->addr, id->word, m->conf->flow_key);

	id->bucket[0] = &m->flows[(__u32)h & m->flow_mask];
	id->bucket[1] = &m->flows[(__u32)(h >> 32) & m->flow_mask];
}

static struct flow_id flow_id(const struct dip_mem *m, const struct dip_flow_spec *f)
{
	__u8 key = (f->vip & DIP_KEY_VIP) | (f->udp ? DIP_KEY_UDP : 0) |
		   (f->family == DIP_INET6 ? DIP_KEY_IPV6 : 0);
	struct flow_id id = {
		.addr = dip_flow_addr(f->family, &f->raddr, m->conf->flow_key),
		.word = dip_flow_word(DIP_NTOH16(f->rport), DIP_NTOH16(f->lport), key),
	};

	flow_buckets(m, &id);
	return id;
}

static bool way_free(const struct dip_way *w)
{
	return !(w->state & DIP_WAY_STATE);
}

static struct dip_way *way_find(struct dip_bucket *b, __u64 addr, __u64 word)
{
	for (int i = 0; i < DIP_WAYS; i++) {
		struct dip_way *w = &b->way[i];

		if (!way_free(w) && w->addr == addr && (w->word & dip_flow_word_mask()) == word)
			return w;
	}
	return NULL;
}

static struct dip_way *flow_way(const struct flow_id *id)
{
	struct dip_way *w = way_find(id->bucket[0], id->addr, id->word);

	return w ? w : way_find(id->bucket[1], id->addr, id->word);
}

static struct dip_way *way_room(struct dip_bucket *b)
{
	for (int i = 0; i < DIP_WAYS; i++)
		if (way_free(&b->way[i]))
			return &b->way[i];
	return NULL;
}

/* Change a way; the overflow flag belongs to the bucket and stays. */
static void way_word(struct dip_way *w, __u64 word, __u8 state, __u16 node)
{
	struct dip_way n = {.word = word};

	n.state = state | (w->state & DIP_WAY_OVERFLOW);
	n.node = node;
	put64(&w->word, n.word);
}

static void bucket_overflows(struct dip_bucket *b)
{
	struct dip_way n = {.word = b->way[0].word};

	n.state |= DIP_WAY_OVERFLOW;
	put64(&b->way[0].word, n.word);
}

/* Into a free way of one of the two buckets. */
static int flow_place(const struct flow_id *id, __u8 state, __u16 node)
{
	for (int i = 0; i < 2; i++) {
		struct dip_way *w = way_room(id->bucket[i]);

		if (!w)
			continue;
		put64(&w->addr, id->addr);
		way_word(w, id->word, state, node);
		if (i)
			bucket_overflows(id->bucket[0]);
		return 0;
	}
	return -ENOSPC;
}

static int bucket_make_room(struct dip_mem *m, struct dip_bucket *b, int depth);

/* Copy a resident to its other bucket, then clear it here. */
static int way_move(struct dip_mem *m, struct dip_bucket *b, struct dip_way *w, int depth)
{
	struct flow_id id = {.addr = w->addr, .word = w->word & dip_flow_word_mask()};
	struct dip_way was = *w, *to;
	int other;

	flow_buckets(m, &id);
	other = id.bucket[0] == b;
	if (id.bucket[other] == b)
		return -ENOSPC;
	to = way_room(id.bucket[other]);
	if (!to && depth > 0 && !bucket_make_room(m, id.bucket[other], depth - 1))
		to = way_room(id.bucket[other]);
	if (!to || w->addr != was.addr || w->word != was.word)
		return -ENOSPC;
	put64(&to->addr, was.addr);
	way_word(to, id.word, was.state & DIP_WAY_STATE, was.node);
	if (other)
		bucket_overflows(id.bucket[0]);
	way_word(w, 0, DIP_FLOW_NONE, 0);
	return 0;
}

static int bucket_make_room(struct dip_mem *m, struct dip_bucket *b, int depth)
{
	if (way_room(b))
		return 0;
	for (int d = 0; d <= depth; d++)
		for (int i = 0; i < DIP_WAYS; i++)
			if (!way_move(m, b, &b->way[i], d) && way_room(b))
				return 0;
	return -ENOSPC;
}

static void exceptions_flag(struct dip_mem *m, const struct dip_flow_spec *f)
{
	struct dip_slot s = dip_slot_get(m, f->vip, f->udp, f->lport);

	if (s.flags & DIP_SLOT_EXCEPTIONS)
		return;
	s.flags |= DIP_SLOT_EXCEPTIONS;
	dip_slot_set(m, f->vip, f->udp, f->lport, s);
}

int dip_flow_put(struct dip_mem *m, const struct dip_flow_spec *f, enum dip_flow_state state, uint16_t node)
{
	struct flow_id id = flow_id(m, f);
	struct dip_way *w = flow_way(&id);
	int err;

	if (state == DIP_FLOW_NONE || state > DIP_FLOW_DROP || f->vip >= DIP_VIPS_MAX)
		return -EINVAL;
	if (w) {
		way_word(w, id.word, state, node);
		exceptions_flag(m, f);
		return 0;
	}
	err = flow_place(&id, state, node);
	if (err && !bucket_make_room(m, id.bucket[0], KICK_DEPTH))
		err = flow_place(&id, state, node);
	if (err && !bucket_make_room(m, id.bucket[1], KICK_DEPTH))
		err = flow_place(&id, state, node);
	if (err)
		return err;
	exceptions_flag(m, f);
	return 0;
}

int dip_flow_del(struct dip_mem *m, const struct dip_flow_spec *f)
{
	struct flow_id id = flow_id(m, f);
	struct dip_way *w = flow_way(&id);

	if (!w)
		return -ENOENT;
	way_word(w, 0, DIP_FLOW_NONE, 0);
	return 0;
}

int dip_flow_get(const struct dip_mem *m, const struct dip_flow_spec *f, enum dip_flow_state *state,
		 uint16_t *node)
{
	struct flow_id id = flow_id(m, f);
	struct dip_way *w = flow_way(&id);

	if (!w)
		return -ENOENT;
	*state = w->state & DIP_WAY_STATE;
	*node = w->node;
	return 0;
}

static struct dip_flow_spec way_spec(const struct dip_way *w)
{
	struct dip_flow_spec f = {
		.vip = w->key & DIP_KEY_VIP,
		.udp = w->key & DIP_KEY_UDP,
		.family = w->key & DIP_KEY_IPV6 ? DIP_INET6 : DIP_INET,
		.rport = DIP_NTOH16(w->rport),
		.lport = DIP_NTOH16(w->lport),
	};

	if (f.family == DIP_INET)
		f.raddr.a4 = (__be32)w->addr;
	return f;
}

void dip_flow_each(const struct dip_mem *m,
		   void (*fn)(const struct dip_flow_spec *f, enum dip_flow_state state, uint16_t node,
			      void *arg),
		   void *arg)
{
	for (size_t i = 0; i <= m->flow_mask; i++) {
		for (int j = 0; j < DIP_WAYS; j++) {
			struct dip_way w = m->flows[i].way[j];
			struct dip_flow_spec f;

			if (way_free(&w))
				continue;
			f = way_spec(&w);
			fn(&f, w.state & DIP_WAY_STATE, w.node, arg);
		}
	}
}

static void count_one(const struct dip_flow_spec *f, enum dip_flow_state state, uint16_t node, void *arg)
{
	(void)f;
	(void)state;
	(void)node;
	++*(size_t *)arg;
}

size_t dip_flow_count(const struct dip_mem *m)
{
	size_t n = 0;

	dip_flow_each(m, count_one, &n);
	return n;
}

size_t dip_flow_flush(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port)
{
	struct dip_slot s = dip_slot_get(m, vip, udp, port);
	size_t n = 0, left = 0;

	s.flags &= ~DIP_SLOT_EXCEPTIONS;
	dip_slot_set(m, vip, udp, port, s);
	for (size_t i = 0; i <= m->flow_mask; i++) {
		for (int j = 0; j < DIP_WAYS; j++) {
			struct dip_way *w = &m->flows[i].way[j];
			struct dip_flow_spec f = way_spec(w);

			if (way_free(w))
				continue;
			if (f.vip == vip && f.udp == udp && f.lport == port) {
				way_word(w, 0, DIP_FLOW_NONE, 0);
				n++;
			} else {
				left++;
			}
		}
	}
	/* an empty table overflows nowhere */
	for (size_t i = 0; !left && i <= m->flow_mask; i++)
		put64(&m->flows[i].way[0].word, 0);
	return n;
}
