// SPDX-License-Identifier: GPL-2.0
/*
 * The tc side of the data path.
 *   dip_tc_in   interface, ingress: accept (pkt_type), drop, send on, hold
 *   dip_tc_tap  hold device, ingress: what is given back goes to the interface
 *               where the VIP is, marked so that it is not steered again
 *   dip_tc_back hold device, egress: the same for what netd gives back that was
 *               never in the queue
 *   dip_tc_out  interface, egress: only who may answer answers; what a program
 *               of this node sends to a VIP comes back in when it is this node's;
 *               ARP and neighbour discovery of a VIP name the VIP's MAC
 * What is not the cluster's is left to the next program (TC_ACT_UNSPEC).
 */
#include "vmlinux.h"
#include <linux/pkt_cls.h>
#include <linux/if_packet.h>
#include "dip_maps.h"
#include "dip_trace.h"
#include "embryo.h"
#include "parse.h"

#define ETHER_ARP   0x0806
#define ARP_LEN	    28
#define HEADERS	    128		  /* enough for all but the oddest packets */
#define FRAG_AGE_NS 1000000000ULL /* ids come back after 65536 packets */

struct frag_key {
	union dip_addr raddr, laddr;
	__u32 id;
	__u32 proto;
};

struct frag_value {
	__u64 born; /* ktime */
	__u8 verdict;
	__u8 pad;
	__u16 node;
	__u32 pad2;
};

/* where the first fragment of a packet went */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct frag_key);
	__type(value, struct frag_value);
} dip_frags SEC(".maps");

/* of the ports that this node answers on */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct dip_port_stats);
} dip_port_stats SEC(".maps");

static __always_inline void count_port(const struct __sk_buff *skb, enum dip_dir dir,
				       const struct dip_flow *f, __u32 vip)
{
	__u32 slot = DIP_SLOT_INDEX(vip, f->proto == DIP_PROTO_UDP, DIP_NTOH16(f->lport));
	struct dip_port_stats *s = bpf_map_lookup_elem(&dip_port_stats, &slot);

	if (!s)
		return;
	s->packets[dir] += skb->gso_segs ? skb->gso_segs : 1;
	s->bytes[dir] += skb->len;
}

/* Counted by port: what reaches a socket, now or out of the queue, and what it answers. */
static __always_inline int of_port(const struct dip_flow *f, __u8 verdict)
{
	return (verdict == DIP_ACCEPT || verdict == DIP_HOLD) &&
	       (f->proto == DIP_PROTO_TCP || f->proto == DIP_PROTO_UDP) &&
	       !(f->flags & (DIP_F_LATER | DIP_F_ERROR));
}

static __always_inline void account(struct __sk_buff *skb, const struct dip_conf *c, const struct dip_flow *f,
				    const struct dip_result *r, enum dip_where where)
{
	enum dip_dir dir = where == DIP_WHERE_TC_OUT ? DIP_OUT : DIP_IN;

	dip_count_result(dir, r);
	if (of_port(f, r->verdict))
		count_port(skb, dir, f, r->vip);
	if (trace_on(c))
		trace_skb(skb, f, TRACE_WHAT(r, where));
}

static __always_inline struct frag_key frag_key(const struct dip_flow *f)
{
	struct frag_key k = {
		.raddr = f->raddr,
		.laddr = f->laddr,
		.id = f->frag_id,
		/* IPv6: what follows is known to the first fragment only */
		.proto = f->family == DIP_INET ? f->proto : 0,
	};

	return k;
}

static __always_inline void frag_recall(struct dip_flow *f)
{
	struct frag_key k = frag_key(f);
	struct frag_value *v = bpf_map_lookup_elem(&dip_frags, &k);

	if (!v || bpf_ktime_get_ns() - v->born > FRAG_AGE_NS)
		return;
	f->frag_known = 1 + v->verdict;
	f->frag_node = v->node;
}

static __always_inline void frag_remember(const struct dip_flow *f, const struct dip_result *r)
{
	struct frag_key k = frag_key(f);
	struct frag_value v = {
		.born = bpf_ktime_get_ns(),
		.verdict = r->verdict,
		.node = r->node,
	};

	bpf_map_update_elem(&dip_frags, &k, &v, BPF_ANY);
}

/*
 * Parse, pulling the headers into the linear part when they are not there.  A
 * global function: the verifier looks at it once, not once for each way on.
 */
__noinline int parse_skb(struct __sk_buff *skb, struct dip_flow *f, __u32 dir)
{
	const void *data, *end;
	__u32 want;

	if (!f)
		return 0;
	data = (const void *)(long)skb->data;
	end = (const void *)(long)skb->data_end;
	if (data + HEADERS > end && end - data < skb->len) {
		want = skb->len < HEADERS ? skb->len : HEADERS;
		bpf_skb_pull_data(skb, want);
		data = (const void *)(long)skb->data;
		end = (const void *)(long)skb->data_end;
	}
	dip_parse(f, data, end, skb->gso_size ? 0 : skb->len, dir);
	return f->malformed;
}

static __always_inline void read_skb(struct __sk_buff *skb, struct dip_flow *f, __u32 dir)
{
	parse_skb(skb, f, dir);
	f->eth = NULL; /* as it is; now the verifier knows, too */
}

/*
 * What the common packet has in its headers is linear: read where it lies. A pull on the way out would copy
 * the headers, which TCP shares with what it keeps to send again.
 */
static __always_inline int read_common(struct __sk_buff *skb, struct dip_flow *f, enum dip_dir dir)
{
	const void *data = (const void *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	__u32 len = skb->gso_size ? 0 : skb->len;

	if (!dip_parse_common4(f, data, end, len, dir) && !dip_parse_common6(f, data, end, len, dir))
		return 0;
	f->dmac = dir == DIP_IN ? dip_dmac(f) : 0;
	f->smac = dir == DIP_IN ? dip_smac(f) : 0;
	f->eth = NULL;
	return 1;
}

/* Rewrite the MACs: from this node (to whose MAC it came) to a peer, and out. */
static __always_inline int send_on(struct __sk_buff *skb, const struct dip_conf *c, const struct dip_flow *f,
				   __u16 node)
{
	struct dip_peer to = c->peers[node & (DIP_NODES_MAX - 1)];
	__u64 from = f->dmac;

	if (bpf_skb_store_bytes(skb, 0, to.mac, 6, 0) || bpf_skb_store_bytes(skb, 6, &from, 6, 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int take(struct __sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return TC_ACT_UNSPEC;
}

/* For the stack of this node; what begins a connection that it does not know yet is prepared. */
static __always_inline int take_in(struct __sk_buff *skb)
{
	if (dip_embryos_any && embryo(skb))
		return TC_ACT_SHOT;
	return take(skb);
}

static __always_inline int act(struct __sk_buff *skb, const struct dip_conf *c, const struct dip_flow *f,
			       struct dip_result r)
{
	__u32 tap = c->hold_ifindex;

	if (r.verdict == DIP_HOLD && !tap) {
		r.verdict = DIP_DROP;
		r.reason = DIP_R_NO_QUEUE;
	}
	account(skb, c, f, &r, DIP_WHERE_TC_IN);
	switch (r.verdict) {
	case DIP_ACCEPT:
		return take_in(skb);
	case DIP_DROP:
		return TC_ACT_SHOT;
	case DIP_HOLD:
		take(skb);
		return bpf_redirect(tap, 0);
	case DIP_FORWARD:
		return send_on(skb, c, f, r.node);
	}
	return TC_ACT_UNSPEC;
}

/* Out of the queue: decided when it was queued, but the lease must still hold. */
static __always_inline int released(struct __sk_buff *skb, const struct dip_conf *c)
{
	skb->mark = 0;
	if (!dip_lease_valid(c, bpf_jiffies64())) {
		dip_count(DIP_IN, DIP_R_LEASE_EXPIRED, DIP_STATS_NO_VIP);
		return TC_ACT_SHOT;
	}
	dip_count(DIP_IN, DIP_R_RELEASED, DIP_STATS_NO_VIP);
	return take_in(skb);
}

/*
 * What a neighbour answers to the ARP request of a VIP comes to the MAC that all
 * share, and the stack would not listen.
 */
static __always_inline void arp_in(struct __sk_buff *skb, const struct dip_tables *t)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const __u8 *end = (const __u8 *)(long)skb->data_end;
	union dip_addr tpa = {.a64 = {0}};
	const struct dip_vip *vip;

	if (data + ETH_HLEN_ + ARP_LEN > end)
		return;
	tpa.a4 = load_be32(data + ETH_HLEN_ + 24);
	vip = dip_vip_find(t, DIP_INET, &tpa);
	if (vip && dip_mac_at(data) == dip_mac(vip->word))
		take(skb);
}

/* ---- neighbour discovery ----------------------------------------------------- */
/* As the kernel writes it: no extension headers, one target, options. */
#define ND_AT	   (ETH_HLEN_ + 40)
#define ND_OPTIONS (ND_AT + 24)
#define ND_OPTS	   4 /* that are looked at */
#define ND_ASKS	   135
#define ND_TELLS   136

/* Its type, and the address that it is about: a solicitation's source, an advertisement's target. */
static __always_inline __u8 nd_about(struct __sk_buff *skb, union dip_addr *a)
{
	const __u8 *ip = (const __u8 *)(long)skb->data + ETH_HLEN_;
	const __u8 *end = (const __u8 *)(long)skb->data_end;

	if (ip + 64 > end || ip[6] != DIP_PROTO_ICMP6)
		return 0;
	load_addr6(a, ip[40] == ND_ASKS ? ip + 8 : ip + 48);
	return ip[40];
}

/* Every node tells where a VIP is; the kernel would warn of a stranger that has its address. */
static __always_inline int nd_other(struct __sk_buff *skb, const struct dip_tables *t)
{
	struct dip_peer told = {.word = 0};
	const struct dip_vip *vip;
	union dip_addr about;
	__u8 opt[8];

	if (nd_about(skb, &about) != ND_TELLS)
		return 0;
	vip = dip_vip_find(t, DIP_INET6, &about);
	if (!vip || bpf_skb_load_bytes(skb, ND_OPTIONS, opt, sizeof(opt)) || opt[0] != 2)
		return 0;
	__builtin_memcpy(told.mac, opt + 2, 6);
	return told.word == dip_mac(vip->word);
}

/* The MAC in the option of this type becomes the VIP's; 0 or an error. */
static __always_inline int nd_set_mac(struct __sk_buff *skb, __u8 type, const struct dip_vip *vip)
{
	__u32 at = ND_OPTIONS;
	__be32 was[2], is[2];
	__s64 diff;
	int i;

	for (i = 0; i < ND_OPTS; i++) {
		if (bpf_skb_load_bytes(skb, at, was, sizeof(was)))
			return 0; /* no more options */
		if (((__u8 *)was)[0] != type) {
			at += ((__u8 *)was)[1] * 8;
			continue;
		}
		__builtin_memcpy(is, was, 2);
		__builtin_memcpy((__u8 *)is + 2, vip->mac, 6);
		diff = bpf_csum_diff(was, sizeof(was), is, sizeof(is), 0);
		return bpf_skb_store_bytes(skb, at, is, sizeof(is), 0) ||
		       bpf_l4_csum_replace(skb, ND_AT + 2, 0, diff, 0);
	}
	return 0;
}

/* 1: *act says what becomes of it; 0: it is not about a VIP. */
static __always_inline int nd_out(struct __sk_buff *skb, const struct dip_tables *t, int *act)
{
	const struct dip_vip *vip;
	union dip_addr about;
	__u8 type = nd_about(skb, &about);

	if (type != ND_ASKS && type != ND_TELLS)
		return 0;
	vip = dip_vip_find(t, DIP_INET6, &about);
	if (!vip)
		return 0;
	*act = TC_ACT_SHOT;
	if (!dip_lease_valid(t->conf, bpf_jiffies64())) {
		dip_count(DIP_OUT, DIP_R_ND_LEASE, vip->index);
		return 1;
	}
	if (nd_set_mac(skb, type == ND_ASKS ? 1 : 2, vip))
		return 1;
	dip_count(DIP_OUT, DIP_R_ND_VIP, vip->index);
	*act = TC_ACT_UNSPEC;
	return 1;
}

/* What is not a common packet. */
static __noinline int tc_in_any(struct __sk_buff *skb)
{
	struct dip_flow f = {0};
	struct dip_tables t = dip_tables();
	struct dip_result r;

	read_skb(skb, &f, DIP_IN);
	if (f.flags & DIP_F_ND && nd_other(skb, &t)) {
		dip_count(DIP_IN, DIP_R_ND_OTHER, DIP_STATS_NO_VIP);
		return TC_ACT_SHOT;
	}
	if (f.flags & DIP_F_LATER)
		frag_recall(&f);
	r = dip_steer(&t, &f, bpf_jiffies64());
	if ((f.flags & (DIP_F_FRAG | DIP_F_LATER)) == DIP_F_FRAG && r.verdict != DIP_PASS)
		frag_remember(&f, &r);
	return act(skb, t.conf, &f, r);
}

SEC("tc")
int dip_tc_in(struct __sk_buff *skb)
{
	struct dip_flow f = {0};
	struct dip_tables t = dip_tables();

	if (skb->protocol == bpf_htons(ETHER_ARP))
		arp_in(skb, &t);
	if (skb->mark && skb->mark == t.conf->mark)
		return released(skb, t.conf);
	if (!read_common(skb, &f, DIP_IN))
		return tc_in_any(skb);
	return act(skb, t.conf, &f, dip_steer(&t, &f, bpf_jiffies64()));
}

static __noinline int give_back(struct __sk_buff *skb)
{
	const struct dip_vip *vip;
	struct dip_flow f = {0};
	struct dip_tables t = dip_tables();

	read_skb(skb, &f, DIP_IN);
	if (!(f.flags & DIP_F_ADDR))
		return TC_ACT_SHOT;
	vip = dip_vip_find(&t, f.family, &f.laddr);
	if (!vip || !vip->ifindex)
		return TC_ACT_SHOT;
	if (trace_on(t.conf)) {
		const struct dip_result r = {DIP_ACCEPT, DIP_R_RELEASED, (__u16)t.conf->self, 0};

		trace_skb(skb, &f, TRACE_WHAT(&r, DIP_WHERE_TC_TAP));
	}
	skb->mark = t.conf->mark;
	return bpf_redirect(vip->ifindex, BPF_F_INGRESS);
}

SEC("tc")
int dip_tc_tap(struct __sk_buff *skb)
{
	return give_back(skb);
}

/* What netd sends itself on the hold device never waits; all else does, and has no mark. */
SEC("tc")
int dip_tc_back(struct __sk_buff *skb)
{
	struct dip_tables t = dip_tables();

	return skb->mark && skb->mark == t.conf->mark ? give_back(skb) : TC_ACT_UNSPEC;
}

/*
 * ARP whose sender is a VIP.  Requests too: whoever is asked learns from them.
 * The Ethernet source stays this node's own, or switches would learn the shared
 * MAC at one port.
 */
static __always_inline int arp_out(struct __sk_buff *skb, const struct dip_tables *t)
{
	const __u8 *p = (const __u8 *)(long)skb->data + ETH_HLEN_;
	const __u8 *end = (const __u8 *)(long)skb->data_end;
	union dip_addr spa = {.a64 = {0}};
	const struct dip_vip *vip;

	if (p + ARP_LEN > end)
		return TC_ACT_UNSPEC;
	if (load_u16(p) != 1 || load_u16(p + 2) != ETHER_IPV4 || p[4] != 6 || p[5] != 4)
		return TC_ACT_UNSPEC;
	spa.a4 = load_be32(p + 14);
	vip = dip_vip_find(t, DIP_INET, &spa);
	if (!vip)
		return TC_ACT_UNSPEC;
	if (!dip_lease_valid(t->conf, bpf_jiffies64())) {
		dip_count(DIP_OUT, DIP_R_ARP_LEASE, vip->index);
		return TC_ACT_SHOT;
	}
	if (bpf_skb_store_bytes(skb, ETH_HLEN_ + 8, vip->mac, 6, 0))
		return TC_ACT_SHOT;
	dip_count(DIP_OUT, DIP_R_ARP_VIP, vip->index);
	return TC_ACT_UNSPEC;
}

/*
 * A program of this node calls a VIP.  Where this node is the one that answers,
 * the packet turns round here, for the wire never brings it back; marked, so
 * that it is not steered again.  In a move both sides must queue it.  Otherwise
 * it goes out and the nodes hear it like a client's.
 */
static __always_inline int to_vip(struct __sk_buff *skb, const struct dip_tables *t, const struct dip_flow *f,
				  const struct dip_result *r)
{
	__u32 tap = t->conf->hold_ifindex;

	if (of_port(f, r->verdict))
		count_port(skb, DIP_IN, f, r->vip);
	if (trace_on(t->conf))
		trace_skb(skb, f, TRACE_WHAT(r, DIP_WHERE_TO_VIP));
	if (r->verdict == DIP_HOLD && tap)
		bpf_clone_redirect(skb, tap, 0);
	if (r->verdict != DIP_ACCEPT || r->reason == DIP_R_FRAG_UNKNOWN)
		return TC_ACT_UNSPEC;
	skb->mark = t->conf->mark;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

static __noinline int to_vip_any(struct __sk_buff *skb)
{
	struct dip_tables t = dip_tables();
	struct dip_flow f = {0};
	struct dip_result r;

	read_skb(skb, &f, DIP_IN);
	/* What the VIP asked of this node: whoever asked hears the answer, as all do. */
	if (f.flags & DIP_F_ND)
		return TC_ACT_UNSPEC;
	if (f.flags & DIP_F_LATER)
		frag_recall(&f);
	r = dip_steer(&t, &f, bpf_jiffies64());
	if ((f.flags & (DIP_F_FRAG | DIP_F_LATER)) == DIP_F_FRAG)
		frag_remember(&f, &r);
	return to_vip(skb, &t, &f, &r);
}

static __noinline int to_vip_common(struct __sk_buff *skb)
{
	struct dip_tables t = dip_tables();
	struct dip_flow f = {0};
	struct dip_result r;

	if (!read_common(skb, &f, DIP_IN))
		return TC_ACT_UNSPEC; /* as it was read a moment ago */
	r = dip_steer(&t, &f, bpf_jiffies64());
	return to_vip(skb, &t, &f, &r);
}

/* 1: what a program of this node sends may leave. */
static __always_inline int leaves(struct __sk_buff *skb, const struct dip_tables *t, const struct dip_flow *f)
{
	struct dip_result r = dip_egress(t, f, bpf_jiffies64());

	if (r.verdict == DIP_PASS)
		return 1;
	account(skb, t->conf, f, &r, DIP_WHERE_TC_OUT);
	return r.verdict == DIP_ACCEPT;
}

#define TO_VIP 1000 /* of tc_out_any(): its caller asks, or the stack would be too deep */

/* What is not a common packet. */
static __noinline int tc_out_any(struct __sk_buff *skb)
{
	struct dip_flow f = {0};
	struct dip_tables t = dip_tables();
	int act;

	read_skb(skb, &f, DIP_OUT);
	/* To a VIP, too: all nodes must hear it. */
	if (f.flags & DIP_F_ND && nd_out(skb, &t, &act))
		return act;
	if (!leaves(skb, &t, &f))
		return TC_ACT_SHOT;
	return f.flags & DIP_F_ADDR && dip_vip_find(&t, f.family, &f.raddr) ? TO_VIP : TC_ACT_UNSPEC;
}

SEC("tc")
int dip_tc_out(struct __sk_buff *skb)
{
	struct dip_flow f = {0};
	struct dip_tables t = dip_tables();
	int act;

	if (skb->protocol == bpf_htons(ETHER_ARP))
		return arp_out(skb, &t);
	if (!read_common(skb, &f, DIP_OUT)) {
		act = tc_out_any(skb);
		return act == TO_VIP ? to_vip_any(skb) : act;
	}
	if (!leaves(skb, &t, &f))
		return TC_ACT_SHOT;
	return dip_vip_find(&t, f.family, &f.raddr) ? to_vip_common(skb) : TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
