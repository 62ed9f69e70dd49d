/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps of <ssi/dip.h> as the programs see them, shared by all objects that
 * are linked into one.
 */
#ifndef SSI_BPF_DIP_MAPS_H
#define SSI_BPF_DIP_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include <ssi/dip.h>
#include <ssi/dip_steer.h>

/*
 * Global data: libbpf makes an ARRAY map of one value of each section, and the
 * programs reach it by address, without a lookup.  One object of those that are
 * linked together defines them (DIP_MAPS_DEFINE).
 */
#ifdef DIP_MAPS_DEFINE
struct dip_conf dip_conf SEC(".bss.conf");
struct dip_ports dip_ports SEC(".bss.ports");
struct dip_bucket dip_flows[1] SEC(".bss.flows"); /* the loader chooses how many */
struct dip_wants dip_wants SEC(".bss.wants");
const volatile __u32 dip_flow_mask = 0; /* and tells it here */
#else
extern struct dip_conf dip_conf SEC(".bss.conf");
extern struct dip_ports dip_ports SEC(".bss.ports");
extern struct dip_bucket dip_flows[1] SEC(".bss.flows");
extern struct dip_wants dip_wants SEC(".bss.wants");
extern const volatile __u32 dip_flow_mask;
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DIP_STATS);
	__type(key, __u32);
	__type(value, struct dip_stats);
} dip_stats __weak SEC(".maps");

/* Ports from which programs of applications sent datagrams: the cookie of the socket. See source_ports.bpf.c */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u16);
	__type(value, __u64);
} dip_udp_sources __weak SEC(".maps");

static __always_inline struct dip_tables dip_tables(void)
{
	const struct dip_bucket *flows = dip_flows;
	struct dip_tables t = {
		.conf = &dip_conf,
		.ports = dip_ports.slot,
		.flow_mask = dip_flow_mask,
	};

	/* the compiler shall not believe in one bucket */
	asm volatile("" : "+r"(flows));
	t.flows = flows;
	return t;
}

/* vip: its index, or DIP_STATS_NO_VIP */
static __always_inline void dip_count(enum dip_dir dir, __u32 reason, __u32 vip)
{
	struct dip_stats *s = bpf_map_lookup_elem(&dip_stats, &vip);

	if (s)
		s->reason[dir][reason & (DIP_REASONS_MAX - 1)]++;
}

static __always_inline void dip_count_result(enum dip_dir dir, const struct dip_result *r)
{
	dip_count(dir, r->reason, r->verdict == DIP_PASS ? DIP_STATS_NO_VIP : r->vip);
}

_Static_assert(DIP_REASON_COUNT <= DIP_REASONS_MAX, "counters are full");

#endif /* SSI_BPF_DIP_MAPS_H */
