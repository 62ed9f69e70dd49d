/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The replicated state machine: sets, members, and the outcomes of requests
 * that may be asked again. Pure and deterministic: the same entries give the
 * same state on every node; no I/O, no clock (times come in the entries).
 *
 * Exactly once: a request is named {node, incarnation, seq}. Its outcome is
 * kept until the origin says (`low`) that it knows it; at most KDDM_WINDOW
 * outcomes a node. A request of an incarnation that is not up is refused.
 */
#ifndef SSI_KDDM_FSM_H
#define SSI_KDDM_FSM_H

#include <stdint.h>

#include "kddm.h"
#include "kddm_op.h"
#include "nodes.h"

#define KDDM_TYPES_MAX 64
#define KDDM_WINDOW    1024 /* requests of one node with unknown outcome */

struct kddm_outcome {
	uint64_t seq;
	uint64_t index;
	uint32_t n_ops;
	uint8_t *errors; /* positive errno of each operation; NULL: all 0 */
};

struct kddm_outcomes { /* of one node's incarnation, ordered by seq */
	uint64_t incarnation;
	uint64_t low;
	size_t n, size;
	struct kddm_outcome *of;
};

struct kddm_fsm_events {
	/* The outcome of a request became known here. errors as above;
	 * status -ENOTCONN: refused, its incarnation is not up. */
	void (*outcome)(void *arg, uint32_t node, uint64_t incarnation, uint64_t seq, uint64_t index,
			int status, size_t n_ops, const uint8_t *errors);
	void (*entry_done)(void *arg, uint64_t index);
};

struct kddm_fsm {
	struct kddm *kddm;		      /* handed to on_death */
	struct kddm_set *set[KDDM_TYPES_MAX]; /* by type id */
	struct kddm_set *nodes;
	struct kddm_outcomes *outcomes; /* by node number, NODES_MAX + 1 */
	uint64_t index;			/* of the last entry applied */
	uint64_t applied_ops;
	struct kddm_change *changes; /* of the request that is being applied */
	size_t n_changes, changes_size;
	const struct kddm_fsm_events *events;
	void *events_arg;
};

void kddm_fsm_init(struct kddm_fsm *f, struct kddm *kddm, const struct kddm_fsm_events *events, void *arg);
void kddm_fsm_clear(struct kddm_fsm *f);
int kddm_fsm_register(struct kddm_fsm *f, const struct kddm_type *type, struct kddm_set **out);

/* -EPROTO: not an entry, state unchanged. */
int kddm_fsm_apply(struct kddm_fsm *f, uint64_t index, const void *data, size_t len);

/* The outcome of a request when it is still kept, or NULL. */
const struct kddm_outcome *kddm_fsm_outcome(struct kddm_fsm *f, uint32_t node, uint64_t incarnation,
					    uint64_t seq);

/* The whole state as bytes (appended to `out`), and back. A snapshot that is
 * damaged gives -EPROTO and leaves the state as it was. */
void kddm_fsm_snapshot(struct kddm_fsm *f, struct kddm_buf *out);
int kddm_fsm_restore(struct kddm_fsm *f, const void *data, size_t len);
void kddm_fsm_forget(struct kddm_fsm *f); /* back to nothing; linkers are told */
/* The same bytes for the same state; for comparing replicas. */
uint64_t kddm_fsm_digest(struct kddm_fsm *f);

/* For nodes.c and on_death: change the object as part of the running entry. */
void kddm_fsm_put(struct kddm_fsm *f, struct kddm_set *set, const void *key, size_t key_len,
		  const void *value, size_t value_len, uint32_t owner);
int kddm_fsm_remove(struct kddm_fsm *f, struct kddm_set *set, const void *key, size_t key_len);
/* Everything that the node owned goes; on_death rules where a type has it. */
void kddm_fsm_purge(struct kddm_fsm *f, uint32_t node);
/* nodes.c: one membership operation; 0 or negative errno. */
int nodes_apply(struct kddm_fsm *f, uint8_t kind, const struct node_info *info);

#endif
