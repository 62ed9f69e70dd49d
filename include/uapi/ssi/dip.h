/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The tables of the distributed IP: what netd writes and every data path reads.
 *
 * Writer: netd alone, through mmap.  Readers: XDP, tc, sk_lookup and cgroup
 * programs, the kernel module and tools, all lock-free.  No reader ever waits:
 * whatever can change under traffic changes by ONE aligned 64-bit store, and
 * what is larger is written aside and published by such a store.
 */
#ifndef _UAPI_SSI_DIP_H
#define _UAPI_SSI_DIP_H

#include <linux/types.h>

/*
 * Protocol manual
 * ===============
 *
 * Three BPF maps of type ARRAY, each with ONE value (key 0), BPF_F_MMAPABLE,
 * pinned in /sys/fs/bpf/netssi under the names below.  One value, because then
 * the very same C walks the table by pointer in BPF, in the kernel module, in
 * netd and in the unit tests; and because such a map is what global data of a
 * BPF program is: reached by address, without a lookup.
 *
 *   dip_conf    struct dip_conf            who am I, lease, VIPs, homes, peers
 *   dip_ports   struct dip_ports           who owns a port
 *   dip_flows   struct dip_bucket[N]       which connections are elsewhere
 *
 * and next to them
 *
 *   dip_stats   PERCPU_ARRAY of struct dip_stats, key: index of the VIP, or DIP_STATS_NO_VIP
 *   dip_port_stats  PERCPU_HASH of struct dip_port_stats, key: index into dip_ports; netd
 *               makes an entry for each port that this node answers on
 *   dip_events  RINGBUF of struct dip_event: sockets that begin and end
 *   dip_wants   struct dip_wants: which flows are watched (a table like the three above)
 *   dip_traces  RINGBUF of struct dip_trace: what became of their packets
 *   dip_frags   LRU_HASH, private to the BPF programs
 *
 * dip_conf.abi and the value sizes tell whether a pinned set fits a program.
 * What does not fit is left to the programs that run on it: netd makes tables of
 * its own, fills them, and swaps the programs of the pinned links one by one. So
 * whatever changes the layout of a table or the meaning of a word raises DIP_ABI.
 *
 * Numbers.  A node is its number in the cluster, 1..1023; 0 is nobody.  A VIP
 * has an index 0..15 on this node that never changes while the VIP lives.
 * Fields named __be* are in network order, all others in host order.
 *
 * Lease.  lease_expiry is a value of jiffies64: at now >= lease_expiry this
 * node neither accepts nor sends anything for a VIP.  0 is "no lease".
 *
 * Life of a port slot.  FREE -> OWNED is direct (nobody had a socket).  Every
 * other change of owner passes HOLD:
 *
 *   OWNED{a} -> HOLD{owner a, next b} -> OWNED{b, RELEASING} -> OWNED{b}
 *                     \-> (abort) OWNED{a, RELEASING} -> OWNED{a}
 *
 * In HOLD the owner and the next owner queue what arrives, everyone else drops
 * it.  RELEASING: the owner writes its queue back into the stack; what arrives
 * meanwhile still goes to the end of the queue, so that order is kept.
 * EXCEPTIONS says that exact flows of this port may stand in dip_flows; without
 * it that table is never looked at.  epoch counts changes of owner.
 *
 * LEASED: the port is in a block of source ports that `owner` has leased, and
 * nobody has claimed it.  A claim takes its place and gives it back.
 *
 * Flow exceptions.  A bucket is one cache line with four ways of 16 bytes.
 * Both families use the same way: IPv4 puts the remote address into `addr`
 * (zero extended), IPv6 a 64-bit digest of it, keyed with flow_key.  A stranger
 * would need equal ports, equal VIP and a digest that collides (2^-64, under a
 * secret key) to be mistaken for an exception, and would only lose its own
 * connection.
 * A flow lives in its first bucket; when that is full, in its second, and the
 * first then has DIP_WAY_OVERFLOW set in way 0: a miss normally costs one cache
 * line.  When both are full netd moves a resident to its other bucket (copy
 * first, clear afterwards: readers always find it).
 * A way is valid when its state is not DIP_FLOW_NONE.  Add: addr, then word.
 * Delete: word = 0 (but for the overflow flag).  Readers load word, addr, word.
 *   DIP_FLOW_NODE  the flow belongs to way.node
 *   DIP_FLOW_HOLD  this node queues it (source and target of a move say so)
 *   DIP_FLOW_DROP  this node keeps silent (everyone else meanwhile)
 *
 * Traces.  dip_wants.want[i] is written while its `on` is 0 and then shown by it;
 * DIP_PICK_TRACE in vip_pick, a word that every decision reads anyway, says
 * whether any is on.
 *
 * VIPs.  vips[side] is a perfect hash: netd looks for a seed under which all
 * VIPs fall into different slots, so a lookup is one masked load.  A change is
 * written into the other side and published by vip_pick (seed and side in one
 * word); the side left behind is written again only after a grace period.
 *
 * Homes.  homes[hash & 1023] is the node that answers for what nobody owns, by
 * rendezvous hashing over the live nodes, so that all nodes compute the same.
 */

#define DIP_ABI 3

#define DIP_NODES_MAX  1024
#define DIP_NOBODY     0
#define DIP_VIPS_MAX   16
#define DIP_VIP_SLOTS  256
#define DIP_HOMES      1024
#define DIP_PEER_SLOTS 4096
#define DIP_SLOTS      (DIP_VIPS_MAX << 17)
#define DIP_WAYS       4

/* SO_MARK of sockets whose program leaves from a VIP: routes by it name the VIP as the source */
#define DIP_SOURCE_MARK 0x00535349

#define DIP_PIN_DIR "/sys/fs/bpf/netssi"

/* index into dip_ports: vip << 17 | udp << 16 | port */
#define DIP_SLOT_INDEX(vip, udp, port) \
	((((__u32)(vip)) << 17 | ((udp) ? 1u << 16 : 0u) | (__u32)(port)) & (DIP_SLOTS - 1))

enum dip_slot_state {
	DIP_SLOT_FREE = 0,
	DIP_SLOT_OWNED = 1,
	DIP_SLOT_HOLD = 2,
	/* 3 is kept for groups: `owner` will number the group */
};

#define DIP_SLOT_EXCEPTIONS 0x01 /* exact flows stand in dip_flows */
#define DIP_SLOT_RELEASING  0x02 /* the queue is being written back */
#define DIP_SLOT_LEASED	    0x04 /* a source port: for what a program called from there, not for listeners */

/* One port.  Changed only as a whole, by one store of `word`. */
struct dip_slot {
	union {
		__u64 word;
		struct {
			__u16 owner;
			__u16 next; /* in HOLD: who gets it */
			__u8 state; /* enum dip_slot_state */
			__u8 flags; /* DIP_SLOT_* */
			__u16 epoch;
		};
	};
};

struct dip_ports {
	struct dip_slot slot[DIP_SLOTS];
};

enum dip_flow_state {
	DIP_FLOW_NONE = 0,
	DIP_FLOW_NODE = 1,
	DIP_FLOW_HOLD = 2,
	DIP_FLOW_DROP = 3,
};

#define DIP_WAY_STATE	 0x07 /* enum dip_flow_state */
#define DIP_WAY_OVERFLOW 0x80 /* way 0: look into the other bucket too */

#define DIP_KEY_VIP  0x0f /* index of the VIP */
#define DIP_KEY_UDP  0x10
#define DIP_KEY_IPV6 0x20

struct dip_way {
	__u64 addr; /* IPv4 address or IPv6 digest */
	union {
		__u64 word;
		struct {
			__be16 rport; /* of the client */
			__be16 lport; /* of the VIP */
			__u8 key;     /* DIP_KEY_* */
			__u8 state;   /* DIP_WAY_* */
			__u16 node;
		};
	};
};

struct dip_bucket {
	struct dip_way way[DIP_WAYS];
};

/* An address of either family; IPv4 in a4, the rest zero. */
union dip_addr {
	__be32 a4;
	__be32 a32[4];
	__u64 a64[2];
	__u8 a8[16];
};

#define DIP_INET  4
#define DIP_INET6 6

struct dip_vip {
	union dip_addr addr;
	union {
		__u64 word;
		struct {
			__u8 mac[6]; /* the shared MAC, in ARP payloads */
			__u8 family; /* DIP_INET, DIP_INET6; 0: empty slot */
			__u8 index;  /* 0..15 */
		};
	};
	__u32 ifindex; /* where it is exposed on this node */
	__u32 flags;   /* must be 0 */
};

#define DIP_PEER_PRESENT 0x01

/* A node's MAC on the segment of the VIPs.  Changed as a whole. */
struct dip_peer {
	union {
		__u64 word;
		struct {
			__u8 mac[6];
			__u8 flags; /* DIP_PEER_* */
			__u8 pad;
		};
	};
};

#define DIP_PICK_TRACE (1ULL << 33)

struct dip_conf {
	/* what every packet reads: one cache line */
	__u32 abi;	    /* DIP_ABI */
	__u32 self;	    /* this node's number */
	__u64 lease_expiry; /* jiffies64 */
	__u64 vip_pick;	    /* DIP_PICK_TRACE | side << 32 | seed */
	__u64 flow_key;	    /* secret, set once before traffic */
	__u64 generation;   /* of vips, homes and peers */
	__u32 hold_ifindex; /* device of the hold queue, 0: none */
	__u32 mark;	    /* of released packets, random, not 0 */
	__u64 netns_cookie; /* only sockets of this namespace count */
	__u32 vip_used;	    /* bit i: index i is a VIP; bit 16 + i: of IPv6 */
	__u32 peer_seed;

	struct dip_vip vips[2][DIP_VIP_SLOTS];
	__u16 homes[DIP_HOMES];
	struct dip_peer peers[DIP_NODES_MAX];
	/* which node has this MAC: node numbers at two hashes of the MAC */
	__u16 peer_slots[DIP_PEER_SLOTS];
};

/* Which way a packet goes; index into dip_stats.reason. */
enum dip_dir {
	DIP_IN = 0,
	DIP_OUT = 1,
};

#define DIP_REASONS_MAX 64

#define DIP_STATS_NO_VIP DIP_VIPS_MAX
#define DIP_STATS	 (DIP_VIPS_MAX + 1)

/* Per CPU and VIP.  A packet is counted once, where its fate is decided. */
struct dip_stats {
	__u64 reason[2][DIP_REASONS_MAX];
	__u64 events_lost; /* of DIP_STATS_NO_VIP; ring was full: dump the sockets again */
};

/* Per CPU: what this node accepted or queued for a port, and what it answered. By enum dip_dir. */
struct dip_port_stats {
	__u64 packets[2]; /* segments: one offloaded packet counts as those on the wire */
	__u64 bytes[2];	  /* frames */
};

/*
 * A connection that a listener of this node is to have, when the peer's next packet comes: what the handshake has
 * agreed upon. The map of these, dip_embryos (HASH), is private to the BPF programs that netd has loaded.
 */
#define DIP_EMBRYOS_MAX 4096

#define DIP_EMBRYO_WSCALE 0x01
#define DIP_EMBRYO_SACK	  0x02
#define DIP_EMBRYO_TIMES  0x04 /* timestamps */
#define DIP_EMBRYO_ECN	  0x08
#define DIP_EMBRYO_USEC	  0x10 /* ... of microseconds */

struct dip_embryo_key {
	union dip_addr raddr, laddr;
	__be16 rport, lport;
	__u8 family; /* DIP_INET, DIP_INET6 */
	__u8 pad[3];
};

struct dip_embryo {
	__u32 snt_isn, rcv_isn; /* sequence numbers of the SYNs */
	__u16 mss;		/* that the peer takes */
	__u8 snd_wscale;	/* by which the peer scales its window */
	__u8 rcv_wscale;
	__u8 flags; /* DIP_EMBRYO_* */
	__u8 pad[3];
};

#define DIP_WANTS_MAX 4

/* A flow to be watched. rport 0: all of that client's. */
struct dip_want {
	union dip_addr raddr, laddr;
	__be16 rport, lport;
	__u8 family;
	__u8 proto;
	__u8 pad[2];
	__u32 on; /* written last; a number that comes back in dip_trace.want */
	__u32 pad2;
};

struct dip_wants {
	struct dip_want want[DIP_WANTS_MAX];
};

/* Where a decision was taken. */
#define DIP_WHERES(W)                                                 \
	W(XDP, "xdp", "first filter, before the stack")               \
	W(TC_IN, "in", "interface, ingress")                          \
	W(TC_TAP, "queue", "given back by the hold queue")            \
	W(TC_OUT, "out", "interface, egress: an answer of this node") \
	W(TO_VIP, "inside", "interface, egress: a program of this node calls")

enum dip_where {
#define DIP_WHERE_ENUM(name, text, help) DIP_WHERE_##name,
	DIP_WHERES(DIP_WHERE_ENUM)
#undef DIP_WHERE_ENUM
		DIP_WHERE_COUNT,
};

struct dip_trace {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u32 want; /* dip_want.on */
	__u32 len;  /* of the frame, several segments when offloaded */
	__u32 ifindex;
	__u32 seq; /* TCP, host order */
	__be16 rport, lport;
	__u16 node;	/* who takes it, as far as known */
	__u8 where;	/* enum dip_where */
	__u8 verdict;	/* enum dip_verdict */
	__u8 reason;	/* enum dip_reason */
	__u8 tcp_flags; /* as on the wire; 0 where they cannot be read */
	__u8 flags;	/* DIP_F_* of the flow */
	__u8 pad[5];
};

/*
 * Events: life of the sockets of applications (cgroup ssi.slice and below).
 * A socket is known by `cookie`.  LISTEN and BIND are told once per success,
 * the end once, however it comes (close, shutdown, kill -9, last holder).
 */
enum dip_event_type {
	DIP_EV_LISTEN = 1,   /* TCP listens */
	DIP_EV_UNLISTEN = 2, /* TCP listens no more */
	DIP_EV_BIND = 3,     /* UDP bound */
	DIP_EV_UNBIND = 4,   /* UDP socket gone */
	DIP_EV_REFUSED = 5,  /* bind answered EADDRINUSE */
};

#define DIP_EV_EPHEMERAL 0x01 /* the program asked for port 0 */

struct dip_event {
	__u8 type;   /* enum dip_event_type */
	__u8 family; /* DIP_INET, DIP_INET6 (:: is dual stack) */
	__u8 proto;  /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 flags;  /* DIP_EV_* */
	__u16 port;
	__u16 owner;	     /* REFUSED: the node that owns it */
	union dip_addr addr; /* zero: wildcard */
	__u64 cookie;	     /* of the socket */
	__u64 netns_cookie;
	__u64 cgroup; /* id of the cgroup that made the socket */
	__u32 pid;    /* who did it; 0 at an end */
	char comm[16];
	__u32 pad;
};

#define DIP_ABI_ASSERT(what) _Static_assert(what, #what)
#ifdef __cplusplus
#undef DIP_ABI_ASSERT
#define DIP_ABI_ASSERT(what) static_assert(what, #what)
#endif
DIP_ABI_ASSERT(sizeof(struct dip_slot) == 8);
DIP_ABI_ASSERT(sizeof(struct dip_way) == 16);
DIP_ABI_ASSERT(sizeof(struct dip_bucket) == 64);
DIP_ABI_ASSERT(sizeof(struct dip_vip) == 32);
DIP_ABI_ASSERT(sizeof(struct dip_peer) == 8);
DIP_ABI_ASSERT(sizeof(struct dip_conf) == 64 + 16384 + 2048 + 8192 + 8192);
DIP_ABI_ASSERT(sizeof(struct dip_event) == 72);
DIP_ABI_ASSERT(sizeof(struct dip_want) == 48);
DIP_ABI_ASSERT(sizeof(struct dip_trace) == 40);

#endif /* _UAPI_SSI_DIP_H */
