/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who takes this packet?  The one decision of the distributed IP.
 *
 * Pure: reads a flow, the tables of <ssi/dip.h> and the time, returns verdict,
 * reason and node.  Compiled into XDP, tc and sk_lookup programs, the kernel
 * module, netctl and the unit tests: no helpers, loops, division, allocation.
 * Lock-free reader; tables are power-of-two so that a mask is the bound.
 */
#ifndef SSI_DIP_STEER_H
#define SSI_DIP_STEER_H

#include <ssi/dip.h>
#include <ssi/dip_reasons.h>

#define DIP_INLINE	static inline __attribute__((always_inline, unused))
#define DIP_LOAD(x)	(*(const volatile __typeof__(x) *)&(x))
#define DIP_LIKELY(x)	__builtin_expect(!!(x), 1)
#define DIP_UNLIKELY(x) __builtin_expect(!!(x), 0)

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define DIP_NTOH16(x) ((__u16)__builtin_bswap16(x))
#define DIP_NTOH32(x) ((__u32)__builtin_bswap32(x))
#else
#define DIP_NTOH16(x) ((__u16)(x))
#define DIP_NTOH32(x) ((__u32)(x))
#endif

#define DIP_PROTO_ICMP	1
#define DIP_PROTO_TCP	6
#define DIP_PROTO_UDP	17
#define DIP_PROTO_ICMP6 58

struct dip_tables {
	const struct dip_conf *conf;
	const struct dip_slot *ports;
	const struct dip_bucket *flows;
	__u32 flow_mask;
};

#define DIP_F_ADDR  0x01 /* addresses are known (malformed only later) */
#define DIP_F_FRAG  0x02 /* a fragment, frag_id names the packet */
#define DIP_F_LATER 0x04 /* not the first one: no ports */
#define DIP_F_ICMP  0x08 /* ICMP that quotes nothing */
#define DIP_F_ND    0x10 /* neighbour discovery */
#define DIP_F_ERROR 0x20 /* ICMP error: fields are those of the quoted packet */

/*
 * A packet seen from the cluster: local is the VIP's side, remote the client's,
 * whichever way the packet goes.
 */
struct dip_flow {
	union dip_addr raddr, laddr;
	__u64 dmac, smac; /* as in memory, zero extended; 0: do not matter */
	const __u8 *eth;  /* where they are still to be read, or NULL */
	__be16 rport, lport;
	__u8 family; /* DIP_INET, DIP_INET6 */
	__u8 proto;
	__u8 flags;	 /* DIP_F_* */
	__u8 malformed;	 /* enum dip_reason or DIP_R_NONE */
	__u8 frag_known; /* 1 + verdict of the first fragment */
	__u16 frag_node; /* and its node */
	__u32 frag_id;
};

struct dip_result {
	__u8 verdict; /* enum dip_verdict */
	__u8 reason;  /* enum dip_reason */
	__u16 node;   /* who takes it, as far as known */
	__u32 vip;    /* index, when it is a VIP's */
};

/* ---- hashes: equal on all nodes, so never change one alone ---- */

DIP_INLINE __u32 dip_hash32(__u32 x)
{
	x ^= x >> 16;
	x *= 0x7feb352dU;
	x ^= x >> 15;
	x *= 0x846ca68bU;
	return x ^ x >> 16;
}

DIP_INLINE __u64 dip_hash64(__u64 x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

/* Place of an address in the perfect hash of VIPs. */
DIP_INLINE __u32 dip_vip_hash(__u8 family, const union dip_addr *a, __u32 seed)
{
	__u64 x;

	if (family == DIP_INET)
		return ((a->a4 ^ seed) * 0x9e3779b1U) >> 24;
	x = (a->a64[0] ^ seed) * 0x9e3779b97f4a7c15ULL;
	x ^= x >> 29;
	x = (x ^ a->a64[1]) * 0xd6e8feb86659fd93ULL;
	return (__u32)(x >> 56);
}

DIP_INLINE __u32 dip_home_hash(__u8 proto, __u16 port)
{
	return dip_hash32((__u32)proto << 16 | port) & (DIP_HOMES - 1);
}

DIP_INLINE __u32 dip_home_hash_addr(__u8 family, const union dip_addr *a)
{
	if (family == DIP_INET)
		return dip_hash32(a->a4) & (DIP_HOMES - 1);
	return dip_hash64(a->a64[0] ^ dip_hash64(a->a64[1])) & (DIP_HOMES - 1);
}

/* What stands for the remote address in a way of the flow table. */
DIP_INLINE __u64 dip_flow_addr(__u8 family, const union dip_addr *a, __u64 key)
{
	if (family == DIP_INET)
		return a->a4;
	return dip_hash64(dip_hash64(a->a64[0] ^ key) ^ a->a64[1]) ^ (key << 7 | key >> 57);
}

/* The part of way.word that names the flow; the rest is state and node. */
DIP_INLINE __u64 dip_flow_word(__be16 rport, __be16 lport, __u8 key)
{
	struct dip_way w = {.word = 0};

	w.rport = rport;
	w.lport = lport;
	w.key = key;
	return w.word;
}

DIP_INLINE __u64 dip_flow_word_mask(void)
{
	return dip_flow_word(0xffff, 0xffff, 0xff);
}

/* Low half chooses the first bucket, high half the second. */
DIP_INLINE __u64 dip_flow_hash(__u64 addr, __u64 word, __u64 key)
{
	__u64 x = (addr ^ key) * 0x9e3779b97f4a7c15ULL;

	x ^= word * 0xc2b2ae3d27d4eb4fULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

/* Place of a MAC (in the low six bytes of peer.word) in peer_slots. */
DIP_INLINE __u32 dip_peer_hash(__u64 mac, __u32 seed, __u32 which)
{
	__u64 h = dip_hash64(mac ^ (__u64)seed << 32);

	return (__u32)(which ? h >> 32 : h) & (DIP_PEER_SLOTS - 1);
}

/* ---- lookups ---- */

DIP_INLINE const struct dip_vip *dip_vip_find(const struct dip_tables *t, __u8 family,
					      const union dip_addr *a)
{
	__u64 pick = DIP_LOAD(t->conf->vip_pick);
	__u32 i = dip_vip_hash(family, a, (__u32)pick) & (DIP_VIP_SLOTS - 1);
	const struct dip_vip *v = &t->conf->vips[(pick >> 32) & 1][i];

	if (v->family != family || v->addr.a32[0] != a->a32[0])
		return (const struct dip_vip *)0;
	if (family == DIP_INET6 && (v->addr.a32[1] != a->a32[1] || v->addr.a64[1] != a->a64[1]))
		return (const struct dip_vip *)0;
	return v;
}

DIP_INLINE struct dip_slot dip_slot_find(const struct dip_tables *t, __u32 vip, __u32 udp, __u16 port)
{
	struct dip_slot s;
	__u32 number = port;

#ifdef __bpf__
	/* The verifier of 6.12 forgets a byte swap's bounds: mask again, where clang cannot see that it is idle. */
	__asm__ volatile("" : "+r"(number));
	number &= 0xffff;
#endif
	s.word = DIP_LOAD(t->ports[DIP_SLOT_INDEX(vip, udp, number)].word);
	return s;
}

/* The node that has this MAC, 0 when it is no node's. */
DIP_INLINE __u16 dip_peer_find(const struct dip_conf *c, __u64 mac)
{
	struct dip_peer want = {.word = mac};
	__u16 a, b;

	want.flags = DIP_PEER_PRESENT;
	a = DIP_LOAD(c->peer_slots[dip_peer_hash(mac, c->peer_seed, 0)]) & (DIP_NODES_MAX - 1);
	if (a && DIP_LOAD(c->peers[a].word) == want.word)
		return a;
	b = DIP_LOAD(c->peer_slots[dip_peer_hash(mac, c->peer_seed, 1)]) & (DIP_NODES_MAX - 1);
	if (b && DIP_LOAD(c->peers[b].word) == want.word)
		return b;
	return DIP_NOBODY;
}

/*
 * One way of a bucket.  The word is read again after the address: a way that
 * is being reused for another flow never matches half and half.
 */
DIP_INLINE int dip_way_match(const struct dip_way *w, __u64 addr, __u64 word, __u64 mask, struct dip_way *hit)
{
	__u64 seen = DIP_LOAD(w->word);

	if (DIP_LIKELY((seen & mask) != word))
		return 0;
	if (DIP_LOAD(w->addr) != addr || DIP_LOAD(w->word) != seen)
		return 0;
	hit->word = seen;
	return (hit->state & DIP_WAY_STATE) != DIP_FLOW_NONE;
}

DIP_INLINE int dip_bucket_match(const struct dip_bucket *b, __u64 addr, __u64 word, __u64 mask,
				struct dip_way *hit)
{
	return dip_way_match(&b->way[0], addr, word, mask, hit) ||
	       dip_way_match(&b->way[1], addr, word, mask, hit) ||
	       dip_way_match(&b->way[2], addr, word, mask, hit) ||
	       dip_way_match(&b->way[3], addr, word, mask, hit);
}

/* 1 and *hit when the exact flow has an exception. */
DIP_INLINE int dip_flow_find(const struct dip_tables *t, const struct dip_flow *f, __u32 vip, __u32 udp,
			     struct dip_way *hit)
{
	__u64 key = t->conf->flow_key, mask = dip_flow_word_mask();
	__u64 addr = dip_flow_addr(f->family, &f->raddr, key);
	__u64 word = dip_flow_word(f->rport, f->lport,
				   (vip & DIP_KEY_VIP) | (udp ? DIP_KEY_UDP : 0) |
					   (f->family == DIP_INET6 ? DIP_KEY_IPV6 : 0));
	__u64 h = dip_flow_hash(addr, word, key);
	const struct dip_bucket *b = &t->flows[(__u32)h & t->flow_mask];

	if (dip_bucket_match(b, addr, word, mask, hit))
		return 1;
	hit->word = DIP_LOAD(b->way[0].word);
	if (DIP_LIKELY(!(hit->state & DIP_WAY_OVERFLOW)))
		return 0;
	b = &t->flows[(__u32)(h >> 32) & t->flow_mask];
	return dip_bucket_match(b, addr, word, mask, hit);
}

/* ---- the decision ---- */

/* The decision in the making: everything but the packet. */
struct dip_ctx {
	const struct dip_tables *t;
	const struct dip_conf *c;
	const struct dip_vip *vip;
	__u32 index; /* of the VIP */
	__u16 self;
};

DIP_INLINE struct dip_result dip_say(const struct dip_ctx *x, __u8 verdict, __u8 reason, __u16 node)
{
	struct dip_result r = {verdict, reason, node, x->index};

	return r;
}

DIP_INLINE int dip_lease_valid(const struct dip_conf *c, __u64 now)
{
	return now < DIP_LOAD(c->lease_expiry);
}

/* The MAC in the first six bytes of a word. */
DIP_INLINE __u64 dip_mac(__u64 word)
{
	struct dip_peer m = {.word = word};

	m.flags = 0;
	m.pad = 0;
	return m.word;
}

/* Two bytes more are read: in an Ethernet header something always follows. */
DIP_INLINE __u64 dip_mac_at(const __u8 *p)
{
#ifdef __bpf__
	return dip_mac(*(const __u64 *)p);
#else
	__u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return dip_mac(v);
#endif
}

DIP_INLINE __u64 dip_dmac(const struct dip_flow *f)
{
	return f->eth ? dip_mac_at(f->eth) : f->dmac;
}

DIP_INLINE __u64 dip_smac(const struct dip_flow *f)
{
	return f->eth ? dip_mac_at(f->eth + 6) : f->smac;
}

/* Did the frame come to one node's own MAC (and not to the one all share)? */
DIP_INLINE int dip_unicast(const struct dip_vip *v, const struct dip_flow *f)
{
	struct dip_peer mac = {.word = dip_dmac(f)};

	return mac.word && !(mac.mac[0] & 1) && mac.word != dip_mac(v->word);
}

/*
 * Another node has it.  Everyone received a frame to the shared MAC, so silence
 * is right; one that came by unicast would be lost, so it is sent on - unless a
 * node of the cluster sent it: then the two disagree for a moment, and nobody
 * passes it round in circles.
 */
DIP_INLINE struct dip_result dip_elsewhere(const struct dip_ctx *x, const struct dip_flow *f, __u8 reason,
					   __u16 node)
{
	__u16 from;

	if (DIP_LIKELY(!dip_unicast(x->vip, f)) || !node)
		return dip_say(x, DIP_DROP, reason, node);
	from = dip_peer_find(x->c, dip_smac(f));
	if (from && from != x->self)
		return dip_say(x, DIP_DROP, DIP_R_FORWARD_AGAIN, node);
	if (!(DIP_LOAD(x->c->peers[node & (DIP_NODES_MAX - 1)].word)))
		return dip_say(x, DIP_DROP, DIP_R_NO_PEER, node);
	return dip_say(x, DIP_FORWARD, DIP_R_FORWARD, node);
}

DIP_INLINE struct dip_result dip_steer_home(const struct dip_ctx *x, const struct dip_flow *f, __u32 home,
					    __u8 mine, __u8 other)
{
	__u16 node = DIP_LOAD(x->c->homes[home & (DIP_HOMES - 1)]);

	if (!node)
		return dip_say(x, DIP_DROP, DIP_R_NO_HOME, 0);
	if (node == x->self)
		return dip_say(x, DIP_ACCEPT, mine, node);
	return dip_elsewhere(x, f, other, node);
}

/* A later fragment goes where the first one went. */
DIP_INLINE struct dip_result dip_steer_later(const struct dip_ctx *x, const struct dip_flow *f)
{
	switch (f->frag_known) {
	case 1 + DIP_ACCEPT:
		return dip_say(x, DIP_ACCEPT, DIP_R_FRAG_HERE, f->frag_node);
	case 1 + DIP_DROP:
		return dip_say(x, DIP_DROP, DIP_R_FRAG_ELSEWHERE, f->frag_node);
	case 1 + DIP_FORWARD:
		return dip_say(x, DIP_FORWARD, DIP_R_FRAG_FORWARD, f->frag_node);
	case 1 + DIP_HOLD:
		return dip_say(x, DIP_HOLD, DIP_R_FRAG_HOLD, f->frag_node);
	}
	return dip_say(x, DIP_ACCEPT, DIP_R_FRAG_UNKNOWN, 0);
}

DIP_INLINE struct dip_result dip_steer_flow(const struct dip_ctx *x, const struct dip_flow *f,
					    const struct dip_way *w)
{
	switch (w->state & DIP_WAY_STATE) {
	case DIP_FLOW_HOLD:
		return dip_say(x, DIP_HOLD, DIP_R_FLOW_HOLD, w->node);
	case DIP_FLOW_DROP:
		return dip_say(x, DIP_DROP, DIP_R_FLOW_DROP, w->node);
	}
	if (w->node == x->self)
		return dip_say(x, DIP_ACCEPT, DIP_R_FLOW_HERE, w->node);
	return dip_elsewhere(x, f, DIP_R_FLOW_ELSEWHERE, w->node);
}

DIP_INLINE struct dip_result dip_steer_slot(const struct dip_ctx *x, const struct dip_flow *f,
					    struct dip_slot s)
{
	if (DIP_LIKELY(s.state == DIP_SLOT_OWNED)) {
		if (s.owner != x->self)
			return dip_elsewhere(x, f, DIP_R_REMOTE, s.owner);
		if (DIP_UNLIKELY(s.flags & DIP_SLOT_RELEASING))
			return dip_say(x, DIP_HOLD, DIP_R_RELEASING, s.owner);
		return dip_say(x, DIP_ACCEPT, DIP_R_OWNED, s.owner);
	}
	if (s.state == DIP_SLOT_HOLD) {
		if (s.owner == x->self || s.next == x->self)
			return dip_say(x, DIP_HOLD, DIP_R_HOLD, s.owner);
		return dip_elsewhere(x, f, DIP_R_HOLD_OTHER, s.owner);
	}
	return dip_steer_home(x, f, dip_home_hash(f->proto, DIP_NTOH16(f->lport)), DIP_R_HOME,
			      DIP_R_NOT_HOME);
}

/* TCP and UDP: exact flow, then port, then home. */
DIP_INLINE struct dip_result dip_steer_port(const struct dip_ctx *x, const struct dip_flow *f)
{
	__u32 udp = f->proto == DIP_PROTO_UDP;
	struct dip_slot s = dip_slot_find(x->t, x->index, udp, DIP_NTOH16(f->lport));
	struct dip_way w = {.addr = 0};

	if (DIP_UNLIKELY(s.flags & DIP_SLOT_EXCEPTIONS) && dip_flow_find(x->t, f, x->index, udp, &w))
		return dip_steer_flow(x, f, &w);
	return dip_steer_slot(x, f, s);
}

/* What a packet between a VIP and its remote side means to this node. */
DIP_INLINE struct dip_result dip_decide(const struct dip_ctx *x, const struct dip_flow *f, __u64 now)
{
	if (DIP_UNLIKELY(!dip_lease_valid(x->c, now)))
		return dip_say(x, DIP_DROP, DIP_R_LEASE_EXPIRED, 0);
	if (DIP_UNLIKELY(f->malformed))
		return dip_say(x, DIP_DROP, f->malformed, 0);
	if (DIP_UNLIKELY(f->flags & DIP_F_LATER))
		return dip_steer_later(x, f);
	if (DIP_LIKELY(f->proto == DIP_PROTO_TCP || f->proto == DIP_PROTO_UDP))
		return dip_steer_port(x, f);
	if (f->flags & DIP_F_ND)
		return dip_say(x, DIP_ACCEPT, DIP_R_NEIGHBOUR, x->self);
	if (f->flags & DIP_F_ICMP)
		return dip_steer_home(x, f, dip_home_hash_addr(f->family, &f->raddr), DIP_R_ICMP_HOME,
				      DIP_R_ICMP_NOT_HOME);
	return dip_steer_home(x, f, dip_home_hash(f->proto, 0), DIP_R_PROTO_HOME, DIP_R_PROTO_NOT_HOME);
}

/* A packet that came in for a VIP.  now is jiffies64. */
DIP_INLINE struct dip_result dip_steer(const struct dip_tables *t, const struct dip_flow *f, __u64 now)
{
	struct dip_ctx x = {t, t->conf, (const struct dip_vip *)0, 0, (__u16)t->conf->self};

	if (DIP_UNLIKELY(!(f->flags & DIP_F_ADDR)))
		return dip_say(&x, DIP_PASS, f->malformed, 0);
	x.vip = dip_vip_find(t, f->family, &f->laddr);
	if (!x.vip)
		return dip_say(&x, DIP_PASS, DIP_R_NOT_VIP, 0);
	x.index = x.vip->index & (DIP_VIPS_MAX - 1);
	return dip_decide(&x, f, now);
}

/*
 * A packet of this node's stack from a VIP.  It may leave exactly when what
 * comes back would be this node's: accepted here, or queued here (the owner
 * finishes a sentence while its port moves).
 */
DIP_INLINE struct dip_result dip_egress(const struct dip_tables *t, const struct dip_flow *f, __u64 now)
{
	struct dip_result r = dip_steer(t, f, now);

	if (r.verdict == DIP_HOLD)
		r.verdict = DIP_ACCEPT;
	else if (r.verdict == DIP_FORWARD)
		r.verdict = DIP_DROP;
	return r;
}

/*
 * May a socket of this node be found for this flow?  (sk_lookup: no lease
 * needed, what arrives was steered before and local clients never left.)
 * 2: only one that a program called from.
 */
DIP_INLINE int dip_local(const struct dip_tables *t, const struct dip_flow *f, __u32 vip)
{
	__u32 udp = f->proto == DIP_PROTO_UDP;
	__u16 self = (__u16)t->conf->self;
	struct dip_slot s = dip_slot_find(t, vip, udp, DIP_NTOH16(f->lport));
	struct dip_way w = {.addr = 0};

	if ((s.flags & DIP_SLOT_EXCEPTIONS) && dip_flow_find(t, f, vip, udp, &w) &&
	    (w.state & DIP_WAY_STATE) == DIP_FLOW_NODE)
		return w.node == self;
	if (s.state == DIP_SLOT_OWNED && s.flags & DIP_SLOT_LEASED)
		return s.owner == self && udp ? 2 : 0;
	if (s.state == DIP_SLOT_OWNED)
		return s.owner == self;
	return s.state == DIP_SLOT_HOLD && (s.owner == self || s.next == self);
}

#endif /* SSI_DIP_STEER_H */
