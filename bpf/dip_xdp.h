/* SPDX-License-Identifier: GPL-2.0 */
/* The XDP decision on a frame; the program around it is dip_xdp.bpf.c. */
#ifndef SSI_BPF_DIP_XDP_H
#define SSI_BPF_DIP_XDP_H

#include "dip_maps.h"
#include "dip_trace.h"
#include "parse.h"

static __always_inline int xdp_decide(struct xdp_md *ctx, const struct dip_tables *t,
				      const struct dip_flow *f, __u64 now)
{
	struct dip_result r = dip_steer(t, f, now);

	if (r.verdict != DIP_DROP || (f->flags & DIP_F_FRAG) || r.reason == f->malformed)
		return XDP_PASS;
	dip_count(DIP_IN, r.reason, r.vip);
	if (trace_on(t->conf))
		trace_xdp(ctx, f, TRACE_WHAT(&r, DIP_WHERE_XDP));
	return XDP_DROP;
}

/* A global function: the verifier looks at it once, not once for each way on. */
__noinline int parse_xdp(struct xdp_md *ctx, struct dip_flow *f)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;

	if (!f)
		return 0;
	dip_parse(f, data, end, end - data, DIP_IN);
	return f->malformed;
}

/* What is not a common packet; on its own, so that the common ones stay short. */
static __noinline int xdp_steer_any(struct xdp_md *ctx)
{
	struct dip_tables t = dip_tables();
	struct dip_flow f = {0};

	parse_xdp(ctx, &f);
	f.eth = NULL; /* as it is; now the verifier knows, too */
	if (!(f.flags & DIP_F_ADDR))
		return XDP_PASS;
	return xdp_decide(ctx, &t, &f, bpf_jiffies64());
}

/* On its own, so that the compiler, which knows the family, makes both of them short. */
static __noinline int xdp_steer6(struct xdp_md *ctx, __u64 now)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	struct dip_tables t = dip_tables();
	struct dip_flow f = {0};

	if (dip_parse_common6(&f, data, end, end - data, DIP_IN))
		return xdp_decide(ctx, &t, &f, now);
	return xdp_steer_any(ctx);
}

/* The clock first: what is read from the packet then stays in registers. */
static __always_inline int xdp_steer(struct xdp_md *ctx)
{
	__u64 now = bpf_jiffies64();
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	struct dip_tables t = dip_tables();
	struct dip_flow f = {0};

	if (dip_parse_common4(&f, data, end, end - data, DIP_IN))
		return xdp_decide(ctx, &t, &f, now);
	return xdp_steer6(ctx, now);
}

#endif /* SSI_BPF_DIP_XDP_H */
