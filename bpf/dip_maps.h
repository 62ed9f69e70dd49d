/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps of <ssi/dip.h> as the programs see them.  Each object declares them
 * weak; linked into one, all share the same maps.
 */
#ifndef SSI_BPF_DIP_MAPS_H
#define SSI_BPF_DIP_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include <ssi/dip.h>
#include <ssi/dip_steer.h>

struct dip_ports_value {
	struct dip_slot slot[DIP_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dip_conf);
} dip_conf __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dip_ports_value);
} dip_ports __weak SEC(".maps");

/* the loader chooses the size and tells it in dip_flow_mask */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct dip_bucket));
} dip_flows __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dip_stats);
} dip_stats __weak SEC(".maps");

const volatile __u32 dip_flow_mask __weak = 0;

/* Fill *t; false never happens, but the verifier wants to be told. */
static __always_inline int dip_tables_get(struct dip_tables *t)
{
	__u32 zero = 0;

	t->conf = bpf_map_lookup_elem(&dip_conf, &zero);
	t->ports = bpf_map_lookup_elem(&dip_ports, &zero);
	t->flows = bpf_map_lookup_elem(&dip_flows, &zero);
	t->flow_mask = dip_flow_mask;
	return t->conf && t->ports && t->flows;
}

static __always_inline void dip_count(enum dip_dir dir, __u32 reason)
{
	__u32 zero = 0;
	struct dip_stats *s = bpf_map_lookup_elem(&dip_stats, &zero);

	if (s)
		s->reason[dir][reason & (DIP_REASONS_MAX - 1)]++;
}

_Static_assert(DIP_REASON_COUNT <= DIP_REASONS_MAX, "counters are full");

#endif /* SSI_BPF_DIP_MAPS_H */
