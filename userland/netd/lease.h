/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Leases: who may answer, and when a silent node must have stopped. Pure; all
 * times are CLOCK_MONOTONIC nanoseconds of the machine that took them, and are
 * never compared between machines.
 *
 * Holder (each node): a grant is worth `lease_ms` from the moment at which the
 * renewal it answers was *sent*.
 * Keeper (the leader): confirms a renewal only after a majority of the voters
 * said, in a round begun after the renewal arrived, that their term is still
 * ours: then nobody else led when it arrived. A node is overdue when the last
 * arrival (or our election, or its coming up) is longer ago than the longest
 * lease it can hold. As a renewal arrives after it was sent, the node's own
 * count ends first. A keeper that was itself stopped counts anew.
 */
#ifndef SSI_LEASE_H
#define SSI_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nodes.h"

#define LEASE_MS_DEFAULT 2000
#define LEASE_MS_MIN	 100
#define LEASE_MS_MAX	 60000
#define LEASE_VOTERS_MAX 16
#define LEASE_STALL_MS	 200 /* ticks are 50 ms apart */

/* On the wire. */
struct lease_renew {
	uint64_t incarnation;
	uint64_t sent_ns; /* sender's clock, comes back in the grant */
	uint64_t applied; /* index, for display */
	uint64_t term;
	uint32_t want_ms; /* 0: the cluster's lease; else a longer one (restart) */
	uint32_t flags;	  /* LEASE_* */
};

/* The longer lease of an earlier netd is over: the tables have one of ours. */
#define LEASE_SETTLED 0x01
#define LEASE_STORED  0x02 /* its netd knows PEER_STORED */

struct lease_grant {
	uint64_t incarnation;
	uint64_t sent_ns;
	uint64_t applied; /* the leader's: the state is current from there on */
	uint32_t lease_ms;
	uint32_t pad;
};

/* ---- holder ---- */

struct lease_holder {
	uint64_t incarnation;
	uint64_t expiry_ns;  /* 0: none */
	uint64_t sent_ns;    /* last renewal */
	uint64_t granted_ns; /* when the last one that was granted was sent */
	uint32_t lease_ms;   /* of the last grant */
	uint32_t want_ms;
};

void lease_holder_init(struct lease_holder *h, uint64_t incarnation);
/* Is a renewal due? */
bool lease_holder_due(const struct lease_holder *h, uint64_t now_ns, uint32_t lease_ms);
struct lease_renew lease_holder_renew(struct lease_holder *h, uint64_t now_ns);
/* True: the expiry moved. */
bool lease_holder_granted(struct lease_holder *h, const struct lease_grant *g);
bool lease_holder_valid(const struct lease_holder *h, uint64_t now_ns);

/* ---- keeper ---- */

struct lease_node {
	uint64_t incarnation;
	uint64_t basis_ns;	/* nothing before this counts against it */
	uint64_t arrived_ns;	/* of the renewal that waits, 0 none */
	uint64_t sent_ns;	/* its sender's time; 0: this life was not heard yet */
	uint64_t long_until_ns; /* a lease longer than the cluster's may run so long */
	uint64_t applied;
	uint32_t want_ms;
	bool doomed;
};

struct lease_keeper {
	bool leading;
	uint64_t term;
	uint64_t tick_ns;
	uint64_t round, round_begun_ns; /* begun 0: none runs */
	uint64_t quorum_ns;		/* begin of the last completed round */
	uint32_t voter[LEASE_VOTERS_MAX];
	bool acked[LEASE_VOTERS_MAX];
	size_t n_voters;
	size_t waiting; /* renewals not yet granted */
	struct lease_node node[NODES_MAX + 1];
};

void lease_keeper_elected(struct lease_keeper *k, uint64_t term, uint64_t now_ns);
void lease_keeper_resigned(struct lease_keeper *k);
/* Every ~50 ms, before lease_keeper_overdue(). */
void lease_keeper_tick(struct lease_keeper *k, uint64_t now_ns);

/* A renewal arrived; `info` is the node as the sets know it. False: not its turn
 * (unknown, dead, another life). */
bool lease_keeper_renew(struct lease_keeper *k, const struct node_info *info, const struct lease_renew *r,
			uint64_t now_ns);

/* Begin a round when a renewal waits and none runs (or it takes too long). True: ask
 * every voter but us with `k->round`; an own vote is taken by the ack of `self`. */
bool lease_keeper_round(struct lease_keeper *k, const uint32_t *voters, size_t n, uint32_t lease_ms,
			uint64_t now_ns);
/* True: the round has its majority; take the grants. */
bool lease_keeper_ack(struct lease_keeper *k, uint32_t voter, uint64_t round, uint64_t term);
/* After a true ack: is there a confirmed grant for this node? Takes it. */
bool lease_keeper_grant(struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			struct lease_grant *out);

/* Must every lease of this life have run out? */
bool lease_keeper_overdue(struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			  uint64_t now_ns);
/* Its end is decided, and waits for its lease or is on its way through the log: this life gets no lease in this term any more. */
void lease_keeper_doom(struct lease_keeper *k, const struct node_info *info);
/* The lease_ms that should stand in the node's object, for a longer or again a
 * normal lease; equals info->lease_ms when nothing is to change. */
uint32_t lease_keeper_wanted(struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			     uint64_t now_ns);
/* Did it ask for a longer lease to be away? Its netd is being stopped; else it runs. 1, 0,
 * -1: not heard in this term. */
int lease_keeper_away(const struct lease_keeper *k, const struct node_info *info);
/* How long the node's lease may still run, ms. */
uint64_t lease_keeper_left_ms(const struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			      uint64_t now_ns);

#endif
