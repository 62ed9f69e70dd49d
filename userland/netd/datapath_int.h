/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the data path share; private to datapath*.c, vips*.c,
 * explain.c, stats.c, trace*.c. See datapath.h. One thread: the loop.
 *
 *   datapath.c        life: load, attach, lease, fence, leave
 *   datapath_nodes.c  the set `nodes` -> homes and MACs of peers
 *   datapath_ports.c  the sets `ports` and `blocks` -> slots and holds
 *   datapath_flows.c  the set `flows` -> connections that stay where their port has been
 *   half_open.c       handshakes under way when their port moves
 *   source_ports.h    the set `blocks` -> which source ports programs get
 *   vips.c            the set `vips`  -> addresses, routes, programs on interfaces
 *   vips_cmd.c        vip-add, vip-del, vips
 *   vips_probe.c      is an address free? it is ours
 *   vips_frame.c      ARP and neighbour discovery, as frames
 */
#ifndef SSI_DATAPATH_INT_H
#define SSI_DATAPATH_INT_H

#include <linux/types.h>
#include <uv.h>

#include "userland/lib/claim_lsm.h"
#include "userland/lib/dip_bpf.h"
#include "userland/lib/ipaddr.h"
#include "ctl.h"
#include "datapath.h"
#include "hold.h"
#include "netd.h"
#include "nodes.h"
#include "objects.h"
#include "peer.h"
#include "rtnl.h"
#include "sockdiag.h"

#define DATAPATH_VIPS  16
#define DATAPATH_ERROR 256

/* A cluster address on this node; place in the array: vip_value.index. */
struct vip {
	bool used;    /* stands in the set */
	bool exposed; /* stands in tables and kernel */
	int slot;     /* index in the tables of this node, while exposed */
	struct vip_key key;
	struct vip_value value;
	struct rtnl_link link;	    /* where it is exposed */
	struct ipaddr own;	    /* of that interface, in the address's network */
	const char *xdp;	    /* "native", "none" */
	char state[DATAPATH_ERROR]; /* "up", or what stands against it */
};

struct deferred {
	struct deferred *next;
	char app[APP_NAME_MAX];
	bool late;	 /* the source of a move accepts until the target queues */
	uint8_t *queued; /* what its sockets held, NULL: nothing */
	size_t n_queued;
};

/* A claim of this node that goes round, see datapath_ports.c. */
struct opening {
	struct opening *next;
	struct datapath *dp;
	struct port_key key;
	bool waits; /* committed: for the home; else for the outcome */
	bool over;  /* the answer finds nothing to do */
};

/* A port with connections that stay, see datapath_flows.c. */
struct flow_port {
	struct flow_port *next;
	struct port_key key;
	size_t all, here; /* how many there are, and on this node */
};

/* Told when loading has ended, in dp->bpf or dp->error. */
struct load_waiter {
	struct load_waiter *next;
	void (*fn)(void *arg);
	void *arg;
};

struct datapath {
	struct netd *netd;
	struct dip_bpf *bpf;		/* NULL: not loaded */
	struct claim_lsm *lsm;		/* NULL: programs do not wait in listen() */
	char lsm_error[DATAPATH_ERROR]; /* why not */
	struct hold *hold;		/* NULL: no queue, moves lose packets */
	struct rtnl *rtnl, *watch;
	struct sockdiag *diag;
	bool synced;
	bool behind; /* the sets show the past */
	bool loading, stopped;
	bool discard;	/* what is being loaded is not wanted any more */
	bool unloading; /* `bpf` is NULL */
	bool reload;	/* when that has ended */
	struct load_waiter *waiters;
	bool leftovers;	   /* of an earlier netd may be pinned */
	bool outdated;	   /* the tables are those of a life that is over: no lease in them */
	bool attached;	   /* what is not bound to an interface */
	uint64_t slice;	   /* control group (inode) that the hooks are on */
	uint64_t lease_ns; /* CLOCK_MONOTONIC */
	bool lease_known;  /* by this netd */
	struct vip vips[DATAPATH_VIPS];
	struct deferred *deferred;
	struct trace *trace; /* trace.c; NULL: no flow is watched */
	struct opening *openings;
	struct flow_port *flow_ports;
	bool comers; /* ports are about to come to this node */
	struct sources *sources;
	uint16_t lessee[BLOCKS]; /* who has a block of source ports, 0: nobody */
	uint8_t pushed_mac[6];	 /* told to the peers */
	bool push_pending;
	uv_poll_t watch_poll;
	uv_timer_t settle; /* netlink said something: look soon */
	uv_timer_t retry;  /* what failed is tried again */
	uv_timer_t flows_look, kept_look;
	uv_timer_t half_open;
	int handles;
	char error[DATAPATH_ERROR];
};

/* datapath.c */
/* Programs and tables, nothing attached. The verifier takes its time, so this
 * goes on in a worker thread: 0 loaded, -EINPROGRESS, or why not (dp->error). */
int datapath_load(struct datapath *dp);
/* While in progress: call fn(arg) at the end. */
int datapath_load_wait(struct datapath *dp, void (*fn)(void *arg), void *arg);
int datapath_attach(struct datapath *dp); /* what is not bound to an interface */
void datapath_detach(struct datapath *dp);
void datapath_keep_hold(struct datapath *dp);
uint32_t datapath_self(const struct datapath *dp);
/* The control group mount (v2) of this machine, or NULL. Static storage. */
const char *datapath_cgroup_root(void);
__attribute__((format(printf, 2, 3))) void datapath_set_error(struct datapath *dp, const char *fmt, ...);

/* datapath_nodes.c */
void datapath_nodes_start(struct datapath *dp);
void datapath_nodes_apply(struct datapath *dp);
/* Our MAC on the VIPs' segment may have changed: tell the peers. */
void datapath_nodes_push(struct datapath *dp);
const char *datapath_node_name(const struct datapath *dp, uint32_t number);

/* datapath_ports.c */
void datapath_ports_start(struct datapath *dp);
void datapath_ports_stop(struct datapath *dp); /* claims that go round are forgotten */
/* The VIP of a port where it is exposed on this node, or NULL. */
const struct vip *datapath_ports_vip(struct datapath *dp, const struct port_key *k);
/* All ports of one VIP, or of all. */
void datapath_ports_apply(struct datapath *dp, const struct vip *only);
/* A claim of this node is about to be submitted; its outcome is known. */
void datapath_ports_claim(struct datapath *dp, const struct port_key *k, const char *app);
void datapath_ports_claimed(struct datapath *dp, const struct port_key *k);
/* The claim is committed or not yet, and its home may not know of it. */
bool datapath_ports_goes_round(const struct datapath *dp, const struct port_key *k);

/* datapath_flows.c */
void datapath_flows_start(struct datapath *dp);
void datapath_flows_stop(struct datapath *dp);
/* Of one VIP, or of all: before its ports. */
void datapath_flows_apply(struct datapath *dp, const struct vip *only);
/* Do connections of this port stay on this node? Does this one? */
bool datapath_flows_here(const struct datapath *dp, const struct port_key *k);
bool datapath_flows_stays(void *dp, const struct sockdiag_sock *s);

/* Does this port of this node move with the application? */
bool datapath_moves_with(const struct datapath *dp, const struct port_key *k, const char *app);

/* half_open.c */
/* Records of a file of lib/queued.h: the kernel is told what to expect, until it came or is given up. */
void datapath_half_open_expect(struct datapath *dp, const uint8_t *file, size_t size);
void datapath_half_open_stop(void);

/* vips.c */
void vips_start(struct datapath *dp);
void vips_apply(struct datapath *dp);
void vips_withdraw(struct datapath *dp); /* all, the set notwithstanding */
struct vip *vips_find(struct datapath *dp, const struct ipaddr *addr);
struct ipaddr vips_addr(const struct vip *v);
/* The interface that `devs` (of a vip_value) names for this node, "" for none. */
void vips_dev_of(const char *devs, const char *node, char out[IFNAMSIZ]);

/* One line why not, and what to do. */
struct vips_why {
	char text[DATAPATH_ERROR];
	char remedy[DATAPATH_ERROR];
};
/* Can this node expose the address? Fills `link`. 0 or -errno. */
int vips_check(struct datapath *dp, const struct ipaddr *addr, unsigned int prefix, const char *devs,
	       const uint8_t mac[6], struct rtnl_link *link, struct vips_why *why);

/* vips_probe.c */
/* Tells the segment that the address is here. */
void vips_announce(const struct vip *v);
/* Does a machine on this segment, other than our nodes, have the address? Its MAC, or NULL. */
typedef void vips_probe_fn(void *arg, const uint8_t *holder);
int vips_probe(struct datapath *dp, const struct rtnl_link *link, const struct ipaddr *addr,
	       const uint8_t mac[6], vips_probe_fn *done, void *arg);

/* vips_cmd.c, explain.c, stats.c: commands and peer handlers */
void vips_cmd_start(struct datapath *dp);
void explain_start(struct datapath *dp);
void stats_start(struct datapath *dp);
/* What was counted on this node, as `stats` shows it. New references. */
json_t *stats_reasons(struct datapath *dp);
json_t *stats_ports(struct datapath *dp);
/* trace.c */
void trace_start(struct datapath *dp);
void trace_stop(struct datapath *dp);

/*
 * ask.c: one call to every living node (or to one), the answers gathered:
 * an object node name -> answer; a node that did not answer stands there with
 * {"error",…}. `done` gets the object borrowed; NULL when memory is short.
 */
typedef void ask_done_fn(void *arg, json_t *answers);
void datapath_ask(struct datapath *dp, uint32_t only, const char *name, json_t *request,
		  unsigned int timeout_ms, ask_done_fn *done, void *arg);

/* datapath_flows.c: the key of a TCP connection on a VIP. */
bool datapath_flow_key(struct datapath *dp, const struct sockdiag_sock *s, struct flow_key *k);

/* datapath_kept.c: an object of the set `flows` came or changed. */
void datapath_kept_seen(struct datapath *dp, const struct kddm_object *obj);
void datapath_kept_look(uv_timer_t *t);

#endif
