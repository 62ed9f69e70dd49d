// SPDX-License-Identifier: GPL-2.0
/*
 * The state machine's whole state as bytes: header, sets (objects in key
 * order), outcomes of requests. A checksum covers what follows the header: the
 * engine has none. Read twice on restoring: the first time only to check, so
 * that a damaged snapshot changes nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_fsm.h"
#include "kddm_set.h"

#define SNAPSHOT_MAGIC 0x504e534dd44b0002ull

struct snap_header {
	uint64_t magic;
	uint64_t index;
	uint64_t applied_ops;
	uint64_t bytes; /* all, this header included */
	uint32_t n_sets;
	uint32_t n_nodes; /* with outcomes */
	uint64_t sum;	  /* of all that follows */
};

struct snap_set {
	uint32_t type;
	uint32_t pad;
	uint64_t count;
};

struct snap_object {
	uint64_t version, epoch;
	uint32_t owner;
	uint16_t key_len, value_len;
};

struct snap_node {
	uint32_t node;
	uint32_t count;
	uint64_t incarnation;
	uint64_t low;
};

struct snap_outcome {
	uint64_t seq, index;
	uint32_t n_ops;
	uint32_t has_errors;
};

static size_t round8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* FNV-1a by words, each folded down: records are multiples of 8 bytes. */
static uint64_t sum_of(const void *data, size_t len)
{
	const uint64_t *w = data;
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < len / sizeof(*w); i++) {
		h = (h ^ w[i]) * 1099511628211ull;
		h ^= h >> 32;
	}
	return h;
}

/* ---- writing ---- */

static void write_set(struct kddm_set *set, struct kddm_buf *out)
{
	struct snap_set *s = kddm_buf_add(out, sizeof(*s));
	const struct kddm_object *obj;

	s->type = set->type->id;
	s->count = set->count;
	kddm_for_each(set, obj)
	{
		struct snap_object *o = kddm_buf_add(out, sizeof(*o) + round8(obj->key_len + obj->value_len));
		char *data = (char *)(o + 1);

		o->version = obj->version;
		o->epoch = obj->epoch;
		o->owner = obj->owner;
		o->key_len = (uint16_t)obj->key_len;
		o->value_len = (uint16_t)obj->value_len;
		memcpy(data, obj->key, obj->key_len);
		memcpy(data + obj->key_len, obj->value, obj->value_len);
	}
}

static void write_outcomes(const struct kddm_outcomes *from, uint32_t node, struct kddm_buf *out)
{
	struct snap_node *s = kddm_buf_add(out, sizeof(*s));

	s->node = node;
	s->count = (uint32_t)from->n;
	s->incarnation = from->incarnation;
	s->low = from->low;
	for (size_t i = 0; i < from->n; i++) {
		const struct kddm_outcome *o = &from->of[i];
		size_t errors = o->errors ? round8(o->n_ops) : 0;
		struct snap_outcome *w = kddm_buf_add(out, sizeof(*w) + errors);

		w->seq = o->seq;
		w->index = o->index;
		w->n_ops = o->n_ops;
		w->has_errors = o->errors != NULL;
		if (o->errors)
			memcpy(w + 1, o->errors, o->n_ops);
	}
}

void kddm_fsm_snapshot(struct kddm_fsm *f, struct kddm_buf *out)
{
	size_t start = out->len;
	struct snap_header h = {.magic = SNAPSHOT_MAGIC, .index = f->index, .applied_ops = f->applied_ops};

	kddm_buf_add(out, sizeof(h));
	for (size_t i = 0; i < KDDM_TYPES_MAX; i++) {
		if (!f->set[i])
			continue;
		write_set(f->set[i], out);
		h.n_sets++;
	}
	for (uint32_t i = 0; i <= NODES_MAX; i++) {
		if (!f->outcomes[i].incarnation)
			continue;
		write_outcomes(&f->outcomes[i], i, out);
		h.n_nodes++;
	}
	h.bytes = out->len - start;
	h.sum = sum_of(out->data + start + sizeof(h), h.bytes - sizeof(h));
	memcpy(out->data + start, &h, sizeof(h));
}

uint64_t kddm_fsm_digest(struct kddm_fsm *f)
{
	struct kddm_buf b = {0};
	uint64_t h;

	kddm_fsm_snapshot(f, &b);
	h = sum_of(b.data, b.len);
	kddm_buf_free(&b);
	return h;
}

/* ---- reading ---- */

struct reader {
	const char *at;
	size_t left;
};

static const void *take(struct reader *r, size_t len)
{
	const char *at = r->at;

	if (r->left < len)
		return NULL;
	r->at += len;
	r->left -= len;
	return at;
}

static bool is_valid(const struct kddm_set *set, const struct kddm_object *obj)
{
	return !set->type->valid || set->type->valid(obj->key, obj->key_len, obj->value, obj->value_len);
}

static int read_object(struct reader *r, struct kddm_set *set, bool store)
{
	const struct snap_object *o = take(r, sizeof(*o));
	const char *data = o ? take(r, round8((size_t)o->key_len + o->value_len)) : NULL;
	struct kddm_object *obj;
	bool valid;

	if (!data || !o->key_len || o->key_len > KDDM_KEY_MAX || o->value_len > KDDM_VALUE_MAX)
		return -EPROTO;
	if (set->type->key_len && set->type->key_len != o->key_len)
		return -EPROTO;
	obj = kddm_object_new(data, o->key_len, data + o->key_len, o->value_len);
	if (!store) { /* looked at where it will lie: a value is aligned there */
		valid = is_valid(set, obj);
		kddm_object_free(obj);
		return valid ? 0 : -EPROTO;
	}
	obj->version = o->version;
	obj->epoch = o->epoch;
	obj->owner = o->owner;
	kddm_object_free(kddm_set_insert(set, obj));
	return 0;
}

static int read_set(struct kddm_fsm *f, struct reader *r, bool store)
{
	const struct snap_set *s = take(r, sizeof(*s));
	struct kddm_set *set;

	if (!s)
		return -EPROTO;
	set = s->type < KDDM_TYPES_MAX ? f->set[s->type] : NULL;
	if (!set)
		return s->count ? -EPROTONOSUPPORT : 0;
	for (uint64_t i = 0; i < s->count; i++) {
		int rc = read_object(r, set, store);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_outcome(struct reader *r, struct kddm_outcome *out, bool store)
{
	const struct snap_outcome *o = take(r, sizeof(*o));
	const void *errors = NULL;

	if (!o || o->n_ops > KDDM_BATCH_MAX)
		return -EPROTO;
	if (o->has_errors) {
		errors = take(r, round8(o->n_ops));
		if (!errors)
			return -EPROTO;
	}
	if (!store)
		return 0;
	*out = (struct kddm_outcome){.seq = o->seq, .index = o->index, .n_ops = o->n_ops};
	if (errors) {
		out->errors = malloc(o->n_ops + 1);
		if (!out->errors)
			abort();
		memcpy(out->errors, errors, o->n_ops);
	}
	return 0;
}

/* Nodes stand in the order of their numbers, each once: `next` is the lowest that may come. */
static int read_outcomes(struct kddm_fsm *f, struct reader *r, uint32_t *next, bool store)
{
	const struct snap_node *s = take(r, sizeof(*s));
	struct kddm_outcome unused;
	struct kddm_outcomes *to;

	if (!s || s->node > NODES_MAX || s->node < *next || s->count > KDDM_WINDOW)
		return -EPROTO;
	*next = s->node + 1;
	to = &f->outcomes[s->node];
	if (store) {
		to->incarnation = s->incarnation;
		to->low = s->low;
		to->n = to->size = s->count;
		to->of = calloc(s->count + 1, sizeof(to->of[0]));
		if (!to->of)
			abort();
	}
	for (uint32_t i = 0; i < s->count; i++) {
		int rc = read_outcome(r, store ? &to->of[i] : &unused, store);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_all(struct kddm_fsm *f, const void *data, size_t len, bool store)
{
	struct reader r = {data, len};
	const struct snap_header *h = take(&r, sizeof(*h));
	uint32_t node = 0;
	int rc = 0;

	if (!h || (uintptr_t)data % 8 || h->magic != SNAPSHOT_MAGIC || h->bytes != len || len % 8 ||
	    h->sum != sum_of(h + 1, len - sizeof(*h)))
		return -EPROTO;
	for (uint32_t i = 0; i < h->n_sets && !rc; i++)
		rc = read_set(f, &r, store);
	for (uint32_t i = 0; i < h->n_nodes && !rc; i++)
		rc = read_outcomes(f, &r, &node, store);
	if (!rc && r.left)
		rc = -EPROTO;
	if (!rc && store) {
		f->index = h->index;
		f->applied_ops = h->applied_ops;
	}
	return rc;
}

static void empty(struct kddm_fsm *f)
{
	for (size_t i = 0; i < KDDM_TYPES_MAX; i++)
		if (f->set[i])
			kddm_set_clear(f->set[i]);
	for (size_t i = 0; i <= NODES_MAX; i++) {
		struct kddm_outcomes *o = &f->outcomes[i];

		for (size_t j = 0; j < o->n; j++)
			free(o->of[j].errors);
		free(o->of);
		memset(o, 0, sizeof(*o));
	}
}

static void tell_reset(struct kddm_fsm *f)
{
	for (size_t i = 0; i < KDDM_TYPES_MAX; i++)
		for (struct kddm_link *l = f->set[i] ? f->set[i]->links : NULL; l; l = l->next)
			if (l->linker->reset)
				l->linker->reset(l->arg);
}

int kddm_fsm_restore(struct kddm_fsm *f, const void *data, size_t len)
{
	int r = read_all(f, data, len, false);

	if (r < 0)
		return r;
	empty(f);
	read_all(f, data, len, true);
	tell_reset(f);
	return 0;
}

void kddm_fsm_forget(struct kddm_fsm *f)
{
	empty(f);
	f->index = f->applied_ops = 0;
	tell_reset(f);
}
