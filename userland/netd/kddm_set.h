/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The objects of one set in memory: a hash for finding, a skip list for walking
 * in key order. Only the state machine (kddm_fsm.c) changes a set.
 */
#ifndef SSI_KDDM_SET_H
#define SSI_KDDM_SET_H

#include "kddm.h"

struct kddm_entry;

struct kddm_link {
	const struct kddm_linker *linker;
	void *arg;
	struct kddm_link *next;
};

struct kddm_set {
	const struct kddm_type *type;
	struct kddm_link *links; /* in the order of registration */
	size_t count;
	uint32_t seed; /* of the heights */
	size_t n_buckets;
	struct kddm_entry **bucket;
	struct kddm_entry *head;
};

struct kddm_set *kddm_set_alloc(const struct kddm_type *type);
void kddm_set_free(struct kddm_set *set);
void kddm_set_clear(struct kddm_set *set);

/* An object that is in no set yet; data copied. Never NULL: out of memory ends
 * the process, for a replica that lost one entry is worth nothing. */
struct kddm_object *kddm_object_new(const void *key, size_t key_len, const void *value, size_t value_len);
void kddm_object_free(struct kddm_object *obj);

/* Put `obj` into the set; what stood under its key is taken out and returned,
 * now the caller's. */
struct kddm_object *kddm_set_insert(struct kddm_set *set, struct kddm_object *obj);
/* Take the object out; it is now the caller's. */
struct kddm_object *kddm_set_take(struct kddm_set *set, const void *key, size_t key_len);

#endif
