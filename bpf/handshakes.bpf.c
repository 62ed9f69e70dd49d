// SPDX-License-Identifier: GPL-2.0
/*
 * Handshakes under way in the listeners of a network namespace: the peer's SYN came, its confirmation did not. No socket
 * option and no diagnosis tells what was agreed upon in them. An object of its own, for a kernel without such iterators.
 */
#include "vmlinux.h"

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "half_open.h"

#define AF_INET6 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct sock_common___half {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	struct in6_addr___half {
		__u8 bytes[16];
	} skc_v6_daddr, skc_v6_rcv_saddr;
};

struct request_sock {
	__u16 mss;
	__u32 ts_recent;
};

struct inet_request_sock {
	struct request_sock req;
	__u16 snd_wscale : 4, rcv_wscale : 4, tstamp_ok : 1, sack_ok : 1, wscale_ok : 1, ecn_ok : 1;
};

struct tcp_request_sock {
	struct inet_request_sock req;
	__u32 rcv_isn, snt_isn, ts_off;
	_Bool req_usec_ts;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

static __always_inline void read_addresses(struct half_open *h, struct sock_common *skc)
{
	struct sock_common___half *c = (void *)skc;

	h->rport = BPF_CORE_READ(c, skc_dport);
	h->lport = BPF_CORE_READ(c, skc_num);
	if (BPF_CORE_READ(c, skc_family) == AF_INET6) {
		h->family = DIP_INET6;
		bpf_core_read(&h->raddr, sizeof(h->raddr), &c->skc_v6_daddr);
		bpf_core_read(&h->laddr, sizeof(h->laddr), &c->skc_v6_rcv_saddr);
	} else {
		h->family = DIP_INET;
		h->raddr.a4 = BPF_CORE_READ(c, skc_daddr);
		h->laddr.a4 = BPF_CORE_READ(c, skc_rcv_saddr);
	}
}

static __always_inline void read_agreed(struct half_open *h, struct tcp_request_sock *req)
{
	struct inet_request_sock *ireq = &req->req;
	_Bool usec = bpf_core_field_exists(req->req_usec_ts) && BPF_CORE_READ(req, req_usec_ts);

	h->agreed.rcv_isn = BPF_CORE_READ(req, rcv_isn);
	h->agreed.snt_isn = BPF_CORE_READ(req, snt_isn);
	h->agreed.mss = BPF_CORE_READ(req, req.req.mss);
	h->agreed.snd_wscale = BPF_CORE_READ_BITFIELD_PROBED(ireq, snd_wscale);
	h->agreed.rcv_wscale = BPF_CORE_READ_BITFIELD_PROBED(ireq, rcv_wscale);
	h->agreed.flags = (BPF_CORE_READ_BITFIELD_PROBED(ireq, wscale_ok) ? DIP_EMBRYO_WSCALE : 0) |
			  (BPF_CORE_READ_BITFIELD_PROBED(ireq, sack_ok) ? DIP_EMBRYO_SACK : 0) |
			  (BPF_CORE_READ_BITFIELD_PROBED(ireq, tstamp_ok) ? DIP_EMBRYO_TIMES : 0) |
			  (BPF_CORE_READ_BITFIELD_PROBED(ireq, ecn_ok) ? DIP_EMBRYO_ECN : 0) |
			  (usec ? DIP_EMBRYO_USEC : 0);
	h->echo = BPF_CORE_READ(req, req.req.ts_recent);
	h->clock = (__u32)(bpf_ktime_get_ns() / (usec ? 1000 : 1000000)) + BPF_CORE_READ(req, ts_off);
}

SEC("iter/tcp")
int half_open_each(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_request_sock *req;
	struct half_open h = {};

	if (!skc)
		return 0;
	req = bpf_skc_to_tcp_request_sock(skc);
	if (!req)
		return 0;
	read_addresses(&h, skc);
	read_agreed(&h, req);
	bpf_seq_write(ctx->meta->seq, &h, sizeof(h));
	return 0;
}

char _license[] SEC("license") = "GPL";
