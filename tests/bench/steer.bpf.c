// SPDX-License-Identifier: GPL-2.0
/*
 * The steering decision with packets that differ: each run takes the next of
 * `flows` clients in random order, writes it into the frame and decides.
 * steer_floor_* do the same without deciding: what is measured against them is
 * the decision alone.  steer_gen sends such frames to an interface.
 */
#define DIP_MAPS_DEFINE
#include "vmlinux.h"
#include "dip_xdp.h"

#define IPSUM  24
#define SADDR  26
#define SPORT  34
#define SADDR6 34 /* the last of four words */
#define SPORT6 54

/* one CPU runs this at a time */
__u64 steer_seed = 88172645463325252ULL;
const volatile __u32 steer_flows = 1; /* a power of two */
const volatile __u32 steer_first = 0; /* number of the first flow */
const volatile __u32 steer_ifindex = 0;
const volatile __u32 steer_sum = 0; /* of the IP header but for the source */
const volatile __u32 steer_six = 0; /* frames are IPv6 */

/* Flow number n is 11.0.0.0 + n (fd00::b00:0 + n), port 1024 + n % 32768. */
static __always_inline int next_flow(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	__u8 *end = (__u8 *)(long)ctx->data_end;
	__u32 saddr = steer_six ? SADDR6 : SADDR, sport = steer_six ? SPORT6 : SPORT;
	__u64 x = steer_seed;
	__u32 n;

	if (data + 58 > end)
		return 0;
	x = x * 6364136223846793005ULL + 1442695040888963407ULL;
	steer_seed = x;
	n = steer_first + ((x >> 33) & (steer_flows - 1));
	*(__be32 *)(data + saddr) = bpf_htonl(0x0b000000 + n);
	*(__be16 *)(data + sport) = bpf_htons(1024 + (n & 32767));
	return 1;
}

SEC("xdp")
int steer_floor_same(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp")
int steer_floor_random(struct xdp_md *ctx)
{
	next_flow(ctx);
	return XDP_DROP;
}

SEC("xdp")
int steer_same(struct xdp_md *ctx)
{
	return xdp_steer(ctx);
}

SEC("xdp")
int steer_random(struct xdp_md *ctx)
{
	if (!next_flow(ctx))
		return XDP_ABORTED;
	return xdp_steer(ctx);
}

/* Stacks look at the header's checksum; the decision does not. */
static __always_inline void header_sum(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	__u32 sum = steer_sum;

	if (steer_six || data + 54 > (__u8 *)(long)ctx->data_end)
		return;
	sum += *(__u16 *)(data + SADDR) + *(__u16 *)(data + SADDR + 2);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__u16 *)(data + IPSUM) = ~sum;
}

SEC("xdp")
int steer_gen(struct xdp_md *ctx)
{
	if (!next_flow(ctx))
		return XDP_ABORTED;
	header_sum(ctx);
	return bpf_redirect(steer_ifindex, 0);
}

/* The same, and it goes nowhere: what making a frame costs. */
SEC("xdp")
int steer_make(struct xdp_md *ctx)
{
	if (!next_flow(ctx))
		return XDP_ABORTED;
	header_sum(ctx);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
