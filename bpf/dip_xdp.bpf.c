// SPDX-License-Identifier: GPL-2.0
/*
 * The first filter: what another node takes is dropped before it costs an skb.
 * Everything else - ours, to be held or sent on, fragments, what the linear
 * part is too short to judge - passes to tc, which decides again and counts it.
 */
#include "vmlinux.h"
#include "dip_maps.h"
#include "parse.h"

SEC("xdp.frags")
int dip_xdp(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	struct dip_flow f = { 0 };
	struct dip_tables t;
	struct dip_result r;

	dip_parse(&f, data, end, end - data, DIP_IN);
	if (!(f.flags & DIP_F_ADDR) || !dip_tables_get(&t))
		return XDP_PASS;
	r = dip_steer(&t, &f, bpf_jiffies64());
	if (r.verdict != DIP_DROP || (f.flags & DIP_F_FRAG) || r.reason == f.malformed)
		return XDP_PASS;
	dip_count(DIP_IN, r.reason);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
