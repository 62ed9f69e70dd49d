// SPDX-License-Identifier: GPL-2.0
/* Counters of the programs, and the flows that they are told to watch. See dip_bpf.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dip_bpf_int.h"

/* Reads a value of each CPU and adds them up, word by word. */
static int sum_cpus(int map, __u32 key, __u64 *sum, size_t words)
{
	int cpus = libbpf_num_possible_cpus(), err = 0;
	__u64 *all;

	if (cpus < 1)
		return cpus;
	all = calloc((size_t)cpus * words, sizeof(*all));
	if (!all)
		return -ENOMEM;
	if (bpf_map_lookup_elem(map, &key, all))
		err = -errno;
	for (size_t i = 0; !err && i < (size_t)cpus * words; i++)
		sum[i % words] += all[i];
	free(all);
	return err;
}

int dip_bpf_stats_of(const struct dip_bpf *d, unsigned int vip, struct dip_stats *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = sum_cpus(d->stats_fd, vip, (__u64 *)out, sizeof(*out) / sizeof(__u64));
	return err ? dip_bpf_fail(err, "dip_stats") : 0;
}

int dip_bpf_stats(const struct dip_bpf *d, struct dip_stats *out)
{
	int err = 0;

	memset(out, 0, sizeof(*out));
	for (__u32 i = 0; i < DIP_STATS && !err; i++)
		err = sum_cpus(d->stats_fd, i, (__u64 *)out, sizeof(*out) / sizeof(__u64));
	return err ? dip_bpf_fail(err, "dip_stats") : 0;
}

int dip_bpf_port_count(struct dip_bpf *d, unsigned int vip, bool udp, uint16_t port, bool on)
{
	int map = bpf_map__fd(d->skel->maps.dip_port_stats), cpus = libbpf_num_possible_cpus(), err;
	__u32 slot = DIP_SLOT_INDEX(vip, udp, port);
	struct dip_port_stats *zero;

	if (!on)
		return bpf_map_delete_elem(map, &slot) && errno != ENOENT ? -errno : 0;
	if (cpus < 1)
		return cpus;
	zero = calloc((size_t)cpus, sizeof(*zero));
	if (!zero)
		return -ENOMEM;
	err = bpf_map_update_elem(map, &slot, zero, BPF_NOEXIST) && errno != EEXIST ? -errno : 0;
	free(zero);
	return err;
}

int dip_bpf_port_stats(const struct dip_bpf *d, unsigned int vip, bool udp, uint16_t port,
		       struct dip_port_stats *out)
{
	memset(out, 0, sizeof(*out));
	return sum_cpus(bpf_map__fd(d->skel->maps.dip_port_stats), DIP_SLOT_INDEX(vip, udp, port),
			(__u64 *)out, sizeof(*out) / sizeof(__u64));
}

/* ---- watched flows ---- */

static void pick_trace(struct dip_bpf *d)
{
	__u64 pick = d->mem.conf->vip_pick & ~DIP_PICK_TRACE;

	for (int i = 0; i < DIP_WANTS_MAX; i++)
		if (d->wants->want[i].on)
			pick |= DIP_PICK_TRACE;
	__atomic_store_n(&d->mem.conf->vip_pick, pick, __ATOMIC_RELEASE);
}

void dip_bpf_watch(struct dip_bpf *d, unsigned int slot, const struct dip_want *want)
{
	struct dip_want *w = &d->wants->want[slot];
	__u32 on = want ? want->on : 0;

	__atomic_store_n(&w->on, 0, __ATOMIC_RELEASE);
	pick_trace(d);
	if (!want)
		return;
	if (d->mem.grace) /* nobody compares with what is being written */
		d->mem.grace();
	*w = *want;
	w->on = 0;
	__atomic_store_n(&w->on, on, __ATOMIC_RELEASE);
	pick_trace(d);
}

int dip_bpf_traces_fd(const struct dip_bpf *d)
{
	return bpf_map__fd(d->skel->maps.dip_traces);
}
