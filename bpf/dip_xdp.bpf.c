// SPDX-License-Identifier: GPL-2.0
/*
 * The first filter: what another node takes is dropped before it costs an skb.
 * Everything else - ours, to be held or sent on, fragments, what the linear
 * part is too short to judge - passes to tc, which decides again and counts it.
 */
#include "vmlinux.h"
#include "dip_xdp.h"

SEC("xdp.frags")
int dip_xdp(struct xdp_md *ctx)
{
	return xdp_steer(ctx);
}

char _license[] SEC("license") = "GPL";
