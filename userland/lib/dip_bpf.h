/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The BPF side of the distributed IP: programs, pinned maps, pinned links.
 * What is pinned goes on without netd.  A restarted netd opens the same maps,
 * loads its own programs over them and swaps them into the pinned links: the
 * data path never has a gap.  Not thread safe.
 */
#ifndef SSI_DIP_BPF_H
#define SSI_DIP_BPF_H

#include <stdbool.h>
#include <stdint.h>

#include <ssi/dip.h>

#include "dip_tables.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dip_bpf;

/* Where each program goes is its attach type. */
enum dip_prog {
	DIP_PROG_XDP,	      /* BPF_XDP, on the interface of a VIP */
	DIP_PROG_TC_IN,	      /* BPF_TCX_INGRESS (or clsact), same interface */
	DIP_PROG_TC_OUT,      /* BPF_TCX_EGRESS (or clsact), same interface */
	DIP_PROG_TC_TAP,      /* BPF_TCX_INGRESS (or clsact), the hold device */
	DIP_PROG_TC_BACK,     /* BPF_TCX_EGRESS (or clsact), the hold device */
	DIP_PROG_SK_LOOKUP,   /* BPF_SK_LOOKUP, netd's network namespace */
	DIP_PROG_SOCK_CREATE, /* the rest: cgroup ssi.slice */
	DIP_PROG_SOCK_RELEASE,
	DIP_PROG_BIND4,
	DIP_PROG_BIND6,
	DIP_PROG_POST_BIND4,
	DIP_PROG_POST_BIND6,
	DIP_PROG_SOCKOPS,
	DIP_PROG_SOURCE_MARK,
	DIP_PROG_SOURCE_SEND4,
	DIP_PROG_SOURCE_SEND6,
	DIP_PROG_SOURCE_CONNECT4,
	DIP_PROG_SOURCE_CONNECT6,
	DIP_PROG_SOURCE_END,
	DIP_PROGS,
};

struct dip_bpf_opts {		/* NULL: all defaults */
	const char *pin_dir;	/* NULL: DIP_PIN_DIR; must lie on a bpffs */
	unsigned int flow_bits; /* log2 of buckets of a fresh table; 0: 12 */
	bool no_pin;		/* private maps (tests, bench) */
	bool clsact;		/* tc filters, as on kernels before 6.6 (tests) */
};

/*
 * Load the programs over the pinned maps, made and initialised (self) when
 * there are none.  *reused tells which: what an earlier netd wrote still
 * stands, the lease too; self 0 leaves the number as it stands there.
 * -EPROTO: maps of another ABI are pinned there; the rest is errno of the
 * kernel.  A line that names the remedy is in dip_bpf_error().
 */
int dip_bpf_load(struct dip_bpf **out, const struct dip_bpf_opts *opts, uint16_t self, bool *reused);
/* Tables only, read-only (mmap PROT_READ), for tools; works without netd. */
int dip_bpf_open(struct dip_bpf **out, const char *pin_dir);
void dip_bpf_close(struct dip_bpf *d); /* pins stay */
const char *dip_bpf_error(void);

struct dip_mem *dip_bpf_mem(struct dip_bpf *d);
int dip_bpf_prog_fd(const struct dip_bpf *d, enum dip_prog prog);
const char *dip_bpf_prog_name(enum dip_prog prog);
/* The tables are fresh because those that were pinned are another version's. */
bool dip_bpf_foreign(const struct dip_bpf *d);
int dip_bpf_events_fd(const struct dip_bpf *d); /* of the ring buffer map */

/*
 * Attach by a pinned link PIN_DIR/links/NAME, or swap this program into the
 * link that is pinned there; a link whose interface, cgroup or namespace is
 * gone is replaced.  target: ifindex, or fd of the cgroup or namespace.
 * The attach type follows from prog; flags are BPF_XDP's (XDP_FLAGS_*) or 0.
 */
int dip_bpf_attach(struct dip_bpf *d, enum dip_prog prog, int target, uint32_t flags, const char *name);
int dip_bpf_detach(struct dip_bpf *d, const char *name);
/* Detach all links and remove every pin: the node leaves. */
int dip_bpf_unpin(const char *pin_dir);

/*
 * Connections that a listener of this node is to have (dip.h). can: does the kernel make them? has: the peer's packet
 * has not come yet.
 */
bool dip_bpf_embryo_can(const struct dip_bpf *d);
int dip_bpf_embryo_put(struct dip_bpf *d, const struct dip_embryo_key *k, const struct dip_embryo *e);
void dip_bpf_embryo_del(struct dip_bpf *d, const struct dip_embryo_key *k);
struct half_open;
typedef void dip_half_open_fn(void *arg, const struct half_open *h);
/* Each handshake under way in this network namespace (bpf/half_open.h); -errno. */
int dip_bpf_half_open(const struct dip_bpf *d, dip_half_open_fn *fn, void *arg);
bool dip_bpf_embryo_has(const struct dip_bpf *d, const struct dip_embryo_key *k);

/* Programs of this control group leave from the node's address (`node`), or from a VIP. */
int dip_bpf_source(const struct dip_bpf *d, uint64_t cgroup, bool node);

/* Sums over CPUs: of all VIPs and of none; of one (its index, or DIP_STATS_NO_VIP). */
int dip_bpf_stats(const struct dip_bpf *d, struct dip_stats *out);
int dip_bpf_stats_of(const struct dip_bpf *d, unsigned int vip, struct dip_stats *out);

/* Begin (idempotent) or end to count a port; what was counted, -ENOENT: it is not. */
int dip_bpf_port_count(struct dip_bpf *d, unsigned int vip, bool udp, uint16_t port, bool on);
int dip_bpf_port_stats(const struct dip_bpf *d, unsigned int vip, bool udp, uint16_t port,
		       struct dip_port_stats *out);

/*
 * Watch a flow in one of DIP_WANTS_MAX slots; want->on is a number of the caller's, not 0,
 * that the events carry. NULL: no more. Events may still come afterwards.
 */
void dip_bpf_watch(struct dip_bpf *d, unsigned int slot, const struct dip_want *want);
int dip_bpf_traces_fd(const struct dip_bpf *d); /* of the ring buffer map */

/*
 * jiffies64 of a moment of CLOCK_MONOTONIC (ns), rounded down: what is passed
 * to dip_lease_set() never lies later than the moment asked for.
 */
int dip_bpf_jiffies(const struct dip_bpf *d, uint64_t monotonic_ns, uint64_t *jiffies);

/*
 * Set the lease (CLOCK_MONOTONIC, ns; 0: none) in the tables that an earlier
 * netd left pinned, without loading anything: for the seconds in which a new
 * one still loads its programs. -ENOENT: there are none.
 */
int dip_bpf_lease(const char *pin_dir, uint64_t monotonic_ns);

#ifdef __cplusplus
}
#endif
#endif /* SSI_DIP_BPF_H */
