/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KDDM: replicated sets of typed objects.
 *
 * A set is a map key -> object, identical on every node: it is changed only by
 * entries of the replicated log, applied in the same order everywhere. Reads
 * are local and never block. Writes are batches of operations: submitted from
 * any node, carried to the leader, committed by a quorum, applied by all.
 *
 *   get / find   shared read of the local copy
 *   grab         become the exclusive owner: fails unless version (and so the
 *                epoch) is the expected one; raises the object's epoch
 *   put          write, guarded by an expected version
 *   remove       delete, guarded by an expected version
 *   linker       callbacks on insert, update, remove (the "I/O linker"), by
 *                which a set is mirrored into kernel tables
 *
 * Each object has an owner node (0: nobody). When a node's death is committed,
 * that one entry removes every object the dead node owned, on all nodes, in
 * the same place of the order; a set may rule otherwise with `on_death`.
 *
 * A new set:
 *
 *	struct lamp { uint32_t on; };
 *	static const struct kddm_type lamps_type = {.id = 50, .name = "lamps", .key_len = sizeof(uint32_t)};
 *
 *	kddm_set_register(k, &lamps_type, &lamps);
 *	kddm_link(lamps, &lamps_linker, arg);			(mirror it, where it has to show)
 *	...
 *	b = kddm_batch_new(k, false);
 *	kddm_grab(b, lamps, &number, sizeof(number), &lamp, sizeof(lamp), KDDM_ABSENT, self);
 *	kddm_submit(b, on_done, arg);				(one of all that race gets 0)
 *
 * Everything runs on the libuv loop's thread; no locks. Pointers to objects
 * are valid until control returns to the loop.
 */
#ifndef SSI_KDDM_H
#define SSI_KDDM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KDDM_KEY_MAX   128
#define KDDM_VALUE_MAX 8192
#define KDDM_BATCH_MAX 8192 /* operations in one entry */

/* Expected versions other than a number */
#define KDDM_ANY    UINT64_MAX /* whatever is there, or nothing */
#define KDDM_ABSENT 0	       /* must not exist */

struct kddm;
struct kddm_set;
struct kddm_batch;

struct kddm_object {
	const void *key;
	size_t key_len;
	const void *value; /* 8-byte aligned */
	size_t value_len;
	uint64_t version; /* log index of the last change, never 0 */
	uint64_t epoch;	  /* raised by each change of owner; fences old owners */
	uint32_t owner;	  /* node number or 0 */
};

/* How a set type is described; static storage, the same on every node. */
struct kddm_type {
	uint16_t id; /* on the wire: never reused */
	const char *name;
	size_t key_len; /* fixed, or 0 for variable */
	/*
	 * Deterministic reaction to the death of `node`, run by the log entry on
	 * every node for each object it owns and, if `on_death_any`, for every
	 * object. May call kddm_apply_put()/kddm_apply_remove() only. NULL:
	 * objects of the dead node are removed.
	 */
	void (*on_death)(struct kddm *k, const struct kddm_object *obj, uint32_t node);
	bool on_death_any;
	/* NULL or: is this value acceptable? Called before submitting and on
	 * applying; a value refused gives -EINVAL. */
	bool (*valid)(const void *key, size_t key_len, const void *value, size_t value_len);
};

/* Registering after kddm_start() is an error (-EBUSY). */
int kddm_set_register(struct kddm *k, const struct kddm_type *type, struct kddm_set **out);

/* NULL when no set of that id is registered. For on_death, which has no other
 * way to look at a neighbouring set. */
struct kddm_set *kddm_set_by_id(struct kddm *k, uint16_t id);

/* Reads of the local copy, as far as it has been applied here: an owner that was
 * fenced meanwhile may still read itself; a write guarded by version or epoch may
 * not. */
/* The value into `value`: its length, -ENOENT, or -EMSGSIZE when it is longer.
 * `version` may be NULL. */
ssize_t kddm_get(struct kddm_set *set, const void *key, size_t key_len, void *value, size_t size,
		 uint64_t *version);
/* NULL when there is no such object. */
const struct kddm_object *kddm_find(struct kddm_set *set, const void *key, size_t key_len);
const struct kddm_object *kddm_first(struct kddm_set *set);
const struct kddm_object *kddm_next(struct kddm_set *set, const struct kddm_object *obj);
size_t kddm_count(const struct kddm_set *set);

#define kddm_for_each(set, obj) for (obj = kddm_first(set); obj; obj = kddm_next(set, obj))

/*
 * Linker. Called after the change is in the local set (for `remove`: with the
 * object as it was). `reset` says that the whole set was replaced by a snapshot:
 * read it anew. Linkers must not write to the sets from within.
 */
struct kddm_linker {
	void (*insert)(void *arg, const struct kddm_object *obj);
	void (*update)(void *arg, const struct kddm_object *old, const struct kddm_object *obj);
	void (*remove)(void *arg, const struct kddm_object *old);
	void (*reset)(void *arg);
	/* after the last change of one entry: make the changes visible at once */
	void (*entry_done)(void *arg, uint64_t index);
};
/* `linker` must outlive the set. Existing objects are reported as inserts. */
int kddm_link(struct kddm_set *set, const struct kddm_linker *linker, void *arg);

/*
 * Writes. An atomic batch applies wholly or not at all; otherwise each
 * operation stands for itself. `done` is called exactly once, from the loop,
 * when the outcome is known and applied here: a lost leader is asked again
 * under the same id, an entry is never applied twice.
 *
 * status: 0             committed and applied here; see each op's result
 *         -EAGAIN       no quorum within the time limit, certainly not applied
 *         -ETIMEDOUT    outcome unknown (quorum or node lost meanwhile)
 *         -ENOTCONN     not a member of a cluster
 * op result: 0, -EEXIST (ABSENT expected), -ENOENT, -ESTALE (version differs),
 *         -ECANCELED (another op of the atomic batch failed), -EINVAL,
 *         -EHOSTDOWN (grab for an owner that is not up)
 * Batches in flight at the same time have no order among each other: what must
 * be ordered goes into one batch or waits for `done`.
 */
struct kddm_result {
	int status;
	/* Log index of the entry. Not the version to expect next: a later operation of
	 * the same entry may have changed the object, so read that from the set. */
	uint64_t index;
	size_t n_ops;
	const int *op; /* result of each operation */
};
typedef void kddm_done_fn(void *arg, const struct kddm_result *result);

struct kddm_batch *kddm_batch_new(struct kddm *k, bool atomic);
void kddm_batch_free(struct kddm_batch *b); /* only when not submitted */
/* Add an operation; the data is copied. -E2BIG, -EINVAL. */
int kddm_put(struct kddm_batch *b, struct kddm_set *set, const void *key, size_t key_len, const void *value,
	     size_t value_len, uint64_t expect);
int kddm_grab(struct kddm_batch *b, struct kddm_set *set, const void *key, size_t key_len, const void *value,
	      size_t value_len, uint64_t expect, uint32_t owner);
int kddm_remove(struct kddm_batch *b, struct kddm_set *set, const void *key, size_t key_len, uint64_t expect);
/* Takes over the batch; `done` may be NULL. */
void kddm_submit(struct kddm_batch *b, kddm_done_fn *done, void *arg);

/* Inside on_death only. Sets are visited in the order of their ids; a put or
 * remove here is seen by the visits that follow. */
int kddm_apply_put(struct kddm *k, uint16_t type, const void *key, size_t key_len, const void *value,
		   size_t value_len, uint32_t owner);
int kddm_apply_remove(struct kddm *k, uint16_t type, const void *key, size_t key_len);

/*
 * Commit is not application: call `done` when every node of `nodes` (n is 0: all
 * live members that serve, NODE_SERVES, or all while none does) has applied the entry `index`, its linkers included.
 * status 0, or -ETIMEDOUT after `timeout_ms`; a node declared dead meanwhile no
 * longer counts.
 */
void kddm_wait_applied(struct kddm *k, uint64_t index, const uint32_t *nodes, size_t n,
		       unsigned int timeout_ms, void (*done)(void *arg, int status), void *arg);

#endif
