/* SPDX-License-Identifier: GPL-2.0 */
/*
 * This node's data path: the tables that decide about each packet, the programs
 * that read them, and the addresses and routes around. The sets are its input:
 * linkers on `vips` and `ports` and the membership write the tables. All of it
 * is pinned and outlives netd; a new netd takes it over without a gap.
 *
 * Order for main.c: datapath_start() and claims_start() before kddm_start();
 * datapath_sync() once this node is a member and its sets have caught up with
 * the cluster, so that no old state of a replayed log ever reaches the tables.
 */
#ifndef SSI_DATAPATH_H
#define SSI_DATAPATH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct netd;
struct datapath;
struct kddm_batch;

/* Fills n->datapath, registers commands, linkers and peer handlers. Nothing in
 * the kernel changes yet. */
int datapath_start(struct netd *n);
/* Frees memory; the kernel goes on with what is pinned. */
void datapath_stop(struct netd *n);
/* From now on the tables follow the sets; may be called again. 0 or -errno,
 * then datapath_error() says why in a sentence for users. */
int datapath_sync(struct datapath *dp);
bool datapath_synced(const struct datapath *dp);
const char *datapath_error(const struct datapath *dp); /* NULL: all is well */
/* Takes everything out of the kernel: on leaving the cluster. */
void datapath_leave(struct datapath *dp);

/* The lease: until when (CLOCK_MONOTONIC, ns) this node may answer; 0: not. */
void datapath_lease(struct datapath *dp, uint64_t expiry_monotonic_ns);
/* Whether the sets show the past: this node is then home for no port. */
void datapath_behind(struct datapath *dp, bool behind);
/* Declared dead: silence at once, and every socket of a cluster address is
 * destroyed, so that none speaks up later. */
void datapath_fence(struct datapath *dp);

/*
 * Held packets. A port in state PORT_HOLD is held on its node and on the one it
 * moves to, from before the table says so. What follows is automatic, too: who
 * owns the port afterwards releases its queue in order, the other discards. The
 * target of a move says hold_defer() before the flip and hold_release() when
 * the restored program runs; until then it goes on holding. Its source
 * says hold_late() before and hold_now() when the target is known to hold: until then it goes on accepting, else
 * packets between the two would be held here alone, and lost with this queue.
 */
void datapath_hold_late(struct datapath *dp, const char *app);
void datapath_hold_now(struct datapath *dp, const char *app);
void datapath_hold_defer(struct datapath *dp, const char *app);
void datapath_hold_release(struct datapath *dp, const char *app);
/* Handshakes under way at ports of this application, as records of lib/queued.h. The caller frees them. */
uint8_t *datapath_half_open(struct datapath *dp, const char *app, size_t *size);
/* Can this node's kernel make connections that wait for accept()? */
bool datapath_embryos(const struct datapath *dp);
/* To be given to the kernel at the release, before what was held: a file of lib/queued.h. Takes ownership. */
void datapath_hold_before(struct datapath *dp, const char *app, uint8_t *queued, size_t size);

struct hold_stats {
	uint64_t packets; /* queued since the hold began */
	uint64_t dropped; /* for want of room, duplicates, or too old */
	uint32_t ms_max;  /* longest stay of a packet */
};
/* Of the last or current hold of this application's ports on this node. */
void datapath_hold_stats(struct datapath *dp, const char *app, struct hold_stats *out);

/*
 * Connections of this application's ports that have no program any more, and so stay on this node: add those that the
 * set `flows` does not have yet to the batch. How many, or -errno.
 */
int datapath_flows_stay(struct datapath *dp, struct kddm_batch *b, const char *app);

/*
 * Connections that are kept while their application is in a checkpoint: no node answers, until until_ms. One
 * checkpoint's are told by the application and `since_ms` (0: any of it). add: those that the (frozen) application has now. renew: those
 * there are get another end; remove: they go. How many, or -errno; what was added to the batch is guarded.
 */
int datapath_kept_add(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms,
		      uint64_t until_ms);
int datapath_kept_renew(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms,
			uint64_t until_ms);
int datapath_kept_remove(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms);
/* For a restart: their ports are claimed by this node and held, -E2BIG: too many; and given up again. */
int datapath_kept_ports(struct datapath *dp, struct kddm_batch *b, const char *app, uint64_t since_ms);
int datapath_kept_ports_back(struct datapath *dp, struct kddm_batch *b, const char *app);
uint64_t datapath_unix_ms(void);

/* Are the addresses of this application's ports exposed on this node? */
bool datapath_serves(struct datapath *dp, const char *app);

/* An application of a move lives elsewhere: end what is left here of its
 * connections. No packet of that leaves: the ports are another node's. */
void datapath_sweep(struct datapath *dp, const char *app);

/* For `status`: {"xdp","vips","datapath","hold",…,"problem"}; a new reference. */
json_t *datapath_status(struct datapath *dp);

#endif
