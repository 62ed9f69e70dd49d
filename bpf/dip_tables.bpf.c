// SPDX-License-Identifier: GPL-2.0
/*
 * The tables, which all programs share, and the kernel's own clocks, read at
 * once: netd converts lease times with them.
 */
#define DIP_MAPS_DEFINE
#include "vmlinux.h"
#include "dip_maps.h"

struct dip_clock {
	__u64 jiffies;
	__u64 monotonic; /* ns, read before */
};

SEC("syscall")
int dip_clock(struct dip_clock *c)
{
	c->monotonic = bpf_ktime_get_ns();
	c->jiffies = bpf_jiffies64();
	return 0;
}

char _license[] SEC("license") = "GPL";
