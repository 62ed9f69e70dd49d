/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What becomes of watched flows, told to netd: the slow side of a decision, entered
 * only while DIP_PICK_TRACE is set. A packet that is not watched costs a comparison.
 */
#ifndef SSI_BPF_DIP_TRACE_H
#define SSI_BPF_DIP_TRACE_H

#include "dip_maps.h"
#include "parse.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} dip_traces __weak SEC(".maps");

static __always_inline int trace_on(const struct dip_conf *c)
{
	return DIP_UNLIKELY(DIP_LOAD(c->vip_pick) & DIP_PICK_TRACE);
}

static __always_inline __u32 want_match(const struct dip_want *w, const struct dip_flow *f)
{
	__u32 on = DIP_LOAD(w->on);

	if (!on || w->lport != f->lport || w->family != f->family || w->proto != f->proto)
		return 0;
	if (w->raddr.a64[0] != f->raddr.a64[0] || w->raddr.a64[1] != f->raddr.a64[1])
		return 0;
	if (w->laddr.a64[0] != f->laddr.a64[0] || w->laddr.a64[1] != f->laddr.a64[1])
		return 0;
	return w->rport && w->rport != f->rport ? 0 : on;
}

static __always_inline __u32 wanted(const struct dip_flow *f)
{
	for (int i = 0; i < DIP_WANTS_MAX; i++) {
		__u32 on = want_match(&dip_wants.want[i], f);

		if (on)
			return on;
	}
	return 0;
}

/* Sequence number and flags, where the headers are the common ones. */
static __always_inline void trace_tcp(struct dip_trace *t, const struct dip_flow *f, const __u8 *data,
				      const __u8 *end)
{
	const __u8 *ip = data + ETH_HLEN_, *tcp = ip + (f->family == DIP_INET ? 20 : 40);

	if (f->proto != DIP_PROTO_TCP || f->flags & DIP_F_ERROR || tcp + 20 > end)
		return;
	if (f->family == DIP_INET && (ip[0] & 0x0f) != 5)
		return;
	t->seq = bpf_ntohl(load_be32(tcp + 4));
	t->tcp_flags = tcp[13];
}

#define TRACE_WHAT(r, where) \
	((__u64)(r)->verdict | (__u64)(r)->reason << 8 | (__u64)(r)->node << 16 | (__u64)(where) << 32)

static __always_inline void trace_fill(struct dip_trace *t, const struct dip_flow *f, __u64 what)
{
	t->time = bpf_ktime_get_ns();
	t->rport = f->rport;
	t->lport = f->lport;
	t->verdict = (__u8)what;
	t->reason = (__u8)(what >> 8);
	t->node = (__u16)(what >> 16);
	t->where = (__u8)(what >> 32);
	t->flags = f->flags;
}

static __noinline __attribute__((unused)) int trace_xdp(struct xdp_md *ctx, const struct dip_flow *f,
							__u64 what)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	struct dip_trace t = {.want = wanted(f)};

	if (!t.want)
		return 0;
	trace_fill(&t, f, what);
	t.len = end - data;
	t.ifindex = ctx->ingress_ifindex;
	trace_tcp(&t, f, data, end);
	return bpf_ringbuf_output(&dip_traces, &t, sizeof(t), 0);
}

static __noinline __attribute__((unused)) int trace_skb(struct __sk_buff *skb, const struct dip_flow *f,
							__u64 what)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const __u8 *end = (const __u8 *)(long)skb->data_end;
	struct dip_trace t = {.want = wanted(f)};

	if (!t.want)
		return 0;
	trace_fill(&t, f, what);
	t.len = skb->len;
	t.ifindex = skb->ifindex;
	trace_tcp(&t, f, data, end);
	return bpf_ringbuf_output(&dip_traces, &t, sizeof(t), 0);
}

#endif /* SSI_BPF_DIP_TRACE_H */
