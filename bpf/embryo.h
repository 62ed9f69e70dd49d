/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections of a listener that came to this node before its program had accepted them, or before the peer had
 * confirmed them: no socket to restore them into. The kernel makes a connection out of one packet where that answers
 * a SYN cookie, and lets a program (Linux 6.8) vouch for it instead, and say what the two had agreed upon.
 */
#ifndef SSI_BPF_EMBRYO_H
#define SSI_BPF_EMBRYO_H

#include "dip_maps.h"

#define EMBRYO_TCP_LISTEN  10
#define EMBRYO_TS	   8 /* option: timestamps */
#define EMBRYO_OPTS	   40
#define EMBRYO_OPTS_LOOKED 12 /* that are looked at */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* As the kernel has it. */
struct bpf_tcp_req_attrs {
	__u32 rcv_tsval;
	__u32 rcv_tsecr;
	__u16 mss;
	__u8 rcv_wscale;
	__u8 snd_wscale;
	__u8 ecn_ok;
	__u8 wscale_ok;
	__u8 sack_ok;
	__u8 tstamp_ok;
	__u8 usec_ts_ok;
	__u8 reserved[3];
};

extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk, struct bpf_tcp_req_attrs *attrs,
				   int attrs__sz) __ksym __weak;

/* They live for seconds: of this program, not of the node. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DIP_EMBRYOS_MAX);
	__type(key, struct dip_embryo_key);
	__type(value, struct dip_embryo);
} dip_embryos SEC(".maps");

volatile __u32 dip_embryos_any; /* else nobody looks */

struct embryo_tcp {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 doff, flags;
	__u16 window;
};

/* Where the TCP header is, and of which connection; 0: it is no segment that could begin one. */
static __always_inline __u32 embryo_key(struct __sk_buff *skb, struct dip_embryo_key *k)
{
	__u32 at = 14 + 40;
	__u8 ip[12];

	if (skb->protocol == bpf_htons(0x86dd)) {
		if (bpf_skb_load_bytes(skb, 14, ip, sizeof(ip)) || ip[6] != DIP_PROTO_TCP)
			return 0;
		k->family = DIP_INET6;
		if (bpf_skb_load_bytes(skb, 14 + 8, &k->raddr, 16) ||
		    bpf_skb_load_bytes(skb, 14 + 24, &k->laddr, 16))
			return 0;
	} else {
		if (bpf_skb_load_bytes(skb, 14, ip, sizeof(ip)) || ip[9] != DIP_PROTO_TCP || (ip[6] & 0x3f) ||
		    ip[7])
			return 0;
		k->family = DIP_INET;
		at = 14 + (ip[0] & 15) * 4;
		if (bpf_skb_load_bytes(skb, 14 + 12, &k->raddr, 4) ||
		    bpf_skb_load_bytes(skb, 14 + 16, &k->laddr, 4))
			return 0;
	}
	return at;
}

/* The kernel's socket for it: 1 a listener, 0 a connection, -1 none. Assigns e to the packet when it is a listener. */
static __always_inline int embryo_assign(struct __sk_buff *skb, const struct dip_embryo_key *k,
					 struct bpf_tcp_req_attrs *attrs)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *skc;
	struct sock *sk;
	__u32 size = sizeof(tuple.ipv4);
	int ret = 0;

	if (k->family == DIP_INET6) {
		__builtin_memcpy(tuple.ipv6.saddr, &k->raddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &k->laddr, 16);
		tuple.ipv6.sport = k->rport;
		tuple.ipv6.dport = k->lport;
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = k->raddr.a4;
		tuple.ipv4.daddr = k->laddr.a4;
		tuple.ipv4.sport = k->rport;
		tuple.ipv4.dport = k->lport;
	}
	skc = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!skc)
		return -1;
	if (skc->state == EMBRYO_TCP_LISTEN) {
		ret = 1;
		sk = (struct sock *)bpf_skc_to_tcp_sock(skc);
		if (attrs && sk && bpf_sk_assign_tcp_reqsk(skb, sk, attrs, sizeof(*attrs)))
			ret = -1;
	}
	bpf_sk_release(skc);
	return ret;
}

/* What its option of timestamps says; 0: it has one. */
static __always_inline int embryo_times(struct __sk_buff *skb, __u32 at, __u32 end,
					struct bpf_tcp_req_attrs *attrs)
{
	__u8 opt[2];
	__be32 ts[2];
	int i;

	at += 20;
	for (i = 0; i < EMBRYO_OPTS_LOOKED && at + 2 <= end; i++) {
		if (bpf_skb_load_bytes(skb, at, opt, sizeof(opt)) || !opt[0])
			return -1;
		if (opt[0] == 1) {
			at++;
			continue;
		}
		if (opt[0] == EMBRYO_TS) {
			if (bpf_skb_load_bytes(skb, at + 2, ts, sizeof(ts)))
				return -1;
			attrs->rcv_tsval = bpf_ntohl(ts[0]);
			attrs->rcv_tsecr = bpf_ntohl(ts[1]);
			return 0;
		}
		if (opt[1] < 2)
			return -1;
		at += opt[1];
	}
	return -1;
}

/* The peer's first packet after the handshake: the connection begins. 1: the packet is none of the kernel's. */
static __always_inline int embryo_begin(struct __sk_buff *skb, __u32 at, const struct embryo_tcp *th,
					const struct dip_embryo_key *k, const struct dip_embryo *e)
{
	struct bpf_tcp_req_attrs attrs = {
		.mss = e->mss,
		.rcv_wscale = e->rcv_wscale,
		.snd_wscale = e->snd_wscale,
		.ecn_ok = !!(e->flags & DIP_EMBRYO_ECN),
		.wscale_ok = !!(e->flags & DIP_EMBRYO_WSCALE),
		.sack_ok = !!(e->flags & DIP_EMBRYO_SACK),
		.tstamp_ok = !!(e->flags & DIP_EMBRYO_TIMES),
		.usec_ts_ok = !!(e->flags & DIP_EMBRYO_USEC),
	};

	if (attrs.tstamp_ok && embryo_times(skb, at, at + (th->doff >> 4) * 4, &attrs))
		return 1;
	return embryo_assign(skb, k, &attrs) < 0;
}

/* A segment that was accepted for this node. 1: it is to be dropped. */
__noinline int embryo(struct __sk_buff *skb)
{
	struct dip_embryo_key k = {};
	struct embryo_tcp th;
	struct dip_embryo *e;
	__u32 at;

	if (!bpf_ksym_exists(bpf_sk_assign_tcp_reqsk))
		return 0;
	at = embryo_key(skb, &k);
	if (!at || bpf_skb_load_bytes(skb, at, &th, sizeof(th)))
		return 0;
	k.rport = th.sport;
	k.lport = th.dport;
	e = bpf_map_lookup_elem(&dip_embryos, &k);
	if (!e)
		return 0;
	if (th.flags & TCP_SYN && bpf_ntohl(th.seq) == e->rcv_isn)
		return 1; /* sent again; so is the answer to it */
	if (th.flags & (TCP_SYN | TCP_RST) || !embryo_assign(skb, &k, NULL)) {
		bpf_map_delete_elem(&dip_embryos, &k); /* given up, or born */
		return 0;
	}
	if (!(th.flags & TCP_ACK) || bpf_ntohl(th.seq) != e->rcv_isn + 1 ||
	    bpf_ntohl(th.ack) != e->snt_isn + 1)
		return 1; /* comes again when the connection is there */
	return embryo_begin(skb, at, &th, &k, e);
}

#endif
