// SPDX-License-Identifier: GPL-2.0
/*
 * sk_lookup: which listeners may be found for a VIP.  Only ports that this node
 * owns are looked up; for the rest the stack finds nothing and answers RST or
 * unreachable, so a host's own wildcard listener is never reached through a VIP.
 * The same for a host's own UDP sockets at source ports of this node.
 */
#include "vmlinux.h"
#include "dip_maps.h"

#define AF_INET 2

static __always_inline int called_from(__u16 port)
{
	return bpf_map_lookup_elem(&dip_udp_sources, &port) ? SK_PASS : SK_DROP;
}

SEC("sk_lookup")
int dip_sk_lookup(struct bpf_sk_lookup *ctx)
{
	const struct dip_vip *vip;
	struct dip_flow f = {0};
	struct dip_tables t = dip_tables();

	f.proto = ctx->protocol;
	if (ctx->family == AF_INET) {
		f.family = DIP_INET;
		f.laddr.a4 = ctx->local_ip4;
		f.raddr.a4 = ctx->remote_ip4;
	} else {
		f.family = DIP_INET6;
		f.laddr.a32[0] = ctx->local_ip6[0];
		f.laddr.a32[1] = ctx->local_ip6[1];
		f.laddr.a32[2] = ctx->local_ip6[2];
		f.laddr.a32[3] = ctx->local_ip6[3];
		f.raddr.a32[0] = ctx->remote_ip6[0];
		f.raddr.a32[1] = ctx->remote_ip6[1];
		f.raddr.a32[2] = ctx->remote_ip6[2];
		f.raddr.a32[3] = ctx->remote_ip6[3];
	}
	vip = dip_vip_find(&t, f.family, &f.laddr);
	if (!vip)
		return SK_PASS;
	f.lport = bpf_htons(ctx->local_port);
	f.rport = ctx->remote_port;
	switch (dip_local(&t, &f, vip->index)) {
	case 0:
		return SK_DROP;
	case 1:
		return SK_PASS;
	}
	return called_from((__u16)ctx->local_port);
}

char _license[] SEC("license") = "GPL";
