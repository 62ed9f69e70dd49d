// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of a set in memory; see kddm_set.h. One thread, no locks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_set.h"

#define MAX_HEIGHT  16
#define MIN_BUCKETS 16

/* The place of a key. A new object for the key changes nothing but `obj`. */
struct kddm_entry {
	struct kddm_object *obj;
	struct kddm_entry *hash_next;
	uint64_t prefix; /* of the key, to be compared as a number */
	uint32_t hash;
	uint32_t height;
	struct kddm_entry *next[];
};

struct stored {
	struct kddm_object obj;
	struct kddm_entry *entry; /* NULL: in no set */
	char data[];		  /* the value, then the key */
};

static struct stored *stored_of(const struct kddm_object *obj)
{
	return (struct stored *)((char *)obj - offsetof(struct stored, obj));
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* FNV-1a with a final mix. */
static uint32_t hash_key(const void *key, size_t len)
{
	const unsigned char *p = key;
	uint32_t h = 2166136261u;

	while (len--)
		h = (h ^ *p++) * 16777619u;
	h ^= h >> 16;
	h *= 0x7feb352du;
	return h ^ h >> 15;
}

/* Where these differ, keys are in the same order. */
static uint64_t prefix_of(const void *key, size_t len)
{
	uint64_t prefix = 0;

	memcpy(&prefix, key, len < sizeof(prefix) ? len : sizeof(prefix));
	return __builtin_bswap64(prefix);
}

static int compare(const struct kddm_entry *e, const void *key, size_t len)
{
	size_t e_len = e->obj->key_len, common = e_len < len ? e_len : len;
	int d = memcmp(e->obj->key, key, common);

	if (d)
		return d;
	return e_len < len ? -1 : e_len > len;
}

/* Each level has a quarter of the one below. */
static uint32_t random_height(struct kddm_set *set)
{
	uint32_t height = 1, r;

	set->seed ^= set->seed << 13;
	set->seed ^= set->seed >> 17;
	set->seed ^= set->seed << 5;
	for (r = set->seed; height < MAX_HEIGHT && (r & 3) == 0; r >>= 2)
		height++;
	return height;
}

static struct kddm_entry *entry_alloc(uint32_t height)
{
	struct kddm_entry *e = must(calloc(1, sizeof(*e) + height * sizeof(e->next[0])));

	e->height = height;
	return e;
}

struct kddm_set *kddm_set_alloc(const struct kddm_type *type)
{
	struct kddm_set *set = must(calloc(1, sizeof(*set)));

	set->type = type;
	set->seed = 0x9e3779b9u;
	set->n_buckets = MIN_BUCKETS;
	set->bucket = must(calloc(set->n_buckets, sizeof(set->bucket[0])));
	set->head = entry_alloc(MAX_HEIGHT);
	return set;
}

void kddm_set_clear(struct kddm_set *set)
{
	struct kddm_entry *e = set->head->next[0], *next;

	for (; e; e = next) {
		next = e->next[0];
		free(stored_of(e->obj));
		free(e);
	}
	memset(set->head->next, 0, MAX_HEIGHT * sizeof(set->head->next[0]));
	memset(set->bucket, 0, set->n_buckets * sizeof(set->bucket[0]));
	set->count = 0;
}

void kddm_set_free(struct kddm_set *set)
{
	struct kddm_link *link, *next;

	if (!set)
		return;
	kddm_set_clear(set);
	for (link = set->links; link; link = next) {
		next = link->next;
		free(link);
	}
	free(set->bucket);
	free(set->head);
	free(set);
}

struct kddm_object *kddm_object_new(const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct stored *o = must(malloc(sizeof(*o) + value_len + key_len));

	memset(o, 0, sizeof(*o));
	if (value_len)
		memcpy(o->data, value, value_len);
	memcpy(o->data + value_len, key, key_len);
	o->obj.value = o->data;
	o->obj.value_len = value_len;
	o->obj.key = o->data + value_len;
	o->obj.key_len = key_len;
	return &o->obj;
}

void kddm_object_free(struct kddm_object *obj)
{
	if (obj)
		free(stored_of(obj));
}

static struct kddm_entry **bucket_of(struct kddm_set *set, uint32_t hash)
{
	return &set->bucket[hash & (set->n_buckets - 1)];
}

static struct kddm_entry *find(struct kddm_set *set, const void *key, size_t len)
{
	uint32_t hash = hash_key(key, len);
	struct kddm_entry *e = *bucket_of(set, hash);

	while (e && (e->hash != hash || compare(e, key, len)))
		e = e->hash_next;
	return e;
}

static void grow(struct kddm_set *set)
{
	free(set->bucket);
	set->n_buckets *= 2;
	set->bucket = must(calloc(set->n_buckets, sizeof(set->bucket[0])));
	for (struct kddm_entry *e = set->head->next[0]; e; e = e->next[0]) {
		struct kddm_entry **b = bucket_of(set, e->hash);

		e->hash_next = *b;
		*b = e;
	}
}

static bool is_before(const struct kddm_entry *e, uint64_t prefix, const void *key, size_t len)
{
	return e->prefix != prefix ? e->prefix < prefix : compare(e, key, len) < 0;
}

/* The last entry before the key on every level. */
static void find_before(struct kddm_set *set, const void *key, size_t len,
			struct kddm_entry *before[MAX_HEIGHT])
{
	uint64_t prefix = prefix_of(key, len);
	struct kddm_entry *e = set->head;

	for (int i = MAX_HEIGHT - 1; i >= 0; i--) {
		while (e->next[i] && is_before(e->next[i], prefix, key, len))
			e = e->next[i];
		before[i] = e;
	}
}

struct kddm_object *kddm_set_take(struct kddm_set *set, const void *key, size_t key_len)
{
	struct kddm_entry *before[MAX_HEIGHT], *e = find(set, key, key_len), **p;
	struct kddm_object *obj;

	if (!e)
		return NULL;
	find_before(set, key, key_len, before);
	for (uint32_t i = 0; i < e->height; i++)
		before[i]->next[i] = e->next[i];
	for (p = bucket_of(set, e->hash); *p != e; p = &(*p)->hash_next)
		;
	*p = e->hash_next;
	set->count--;
	obj = e->obj;
	stored_of(obj)->entry = NULL;
	free(e);
	return obj;
}

static void insert_new(struct kddm_set *set, struct kddm_object *obj)
{
	struct kddm_entry *before[MAX_HEIGHT], *e = entry_alloc(random_height(set)), **b;

	e->obj = obj;
	e->hash = hash_key(obj->key, obj->key_len);
	e->prefix = prefix_of(obj->key, obj->key_len);
	stored_of(obj)->entry = e;
	find_before(set, obj->key, obj->key_len, before);
	for (uint32_t i = 0; i < e->height; i++) {
		e->next[i] = before[i]->next[i];
		before[i]->next[i] = e;
	}
	b = bucket_of(set, e->hash);
	e->hash_next = *b;
	*b = e;
	if (++set->count > set->n_buckets)
		grow(set);
}

struct kddm_object *kddm_set_insert(struct kddm_set *set, struct kddm_object *obj)
{
	struct kddm_entry *e = find(set, obj->key, obj->key_len);
	struct kddm_object *old;

	if (!e) {
		insert_new(set, obj);
		return NULL;
	}
	old = e->obj;
	stored_of(old)->entry = NULL;
	stored_of(obj)->entry = e;
	e->obj = obj;
	return old;
}

const struct kddm_object *kddm_find(struct kddm_set *set, const void *key, size_t key_len)
{
	struct kddm_entry *e = find(set, key, key_len);

	return e ? e->obj : NULL;
}

ssize_t kddm_get(struct kddm_set *set, const void *key, size_t key_len, void *value, size_t size,
		 uint64_t *version)
{
	const struct kddm_object *obj = kddm_find(set, key, key_len);

	if (!obj)
		return -ENOENT;
	if (obj->value_len > size)
		return -EMSGSIZE;
	if (obj->value_len)
		memcpy(value, obj->value, obj->value_len);
	if (version)
		*version = obj->version;
	return (ssize_t)obj->value_len;
}

const struct kddm_object *kddm_first(struct kddm_set *set)
{
	struct kddm_entry *e = set->head->next[0];

	return e ? e->obj : NULL;
}

const struct kddm_object *kddm_next(struct kddm_set *set, const struct kddm_object *obj)
{
	struct kddm_entry *e = stored_of(obj)->entry->next[0];

	(void)set;
	return e ? e->obj : NULL;
}

size_t kddm_count(const struct kddm_set *set)
{
	return set->count;
}

int kddm_link(struct kddm_set *set, const struct kddm_linker *linker, void *arg)
{
	struct kddm_link **p = &set->links, *link = must(calloc(1, sizeof(*link)));
	const struct kddm_object *obj;

	link->linker = linker;
	link->arg = arg;
	while (*p)
		p = &(*p)->next;
	*p = link;
	if (linker->insert)
		kddm_for_each(set, obj) linker->insert(arg, obj);
	return 0;
}
