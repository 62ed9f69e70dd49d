// SPDX-License-Identifier: GPL-2.0
/*
 * Applying entries to the sets; see kddm_fsm.h. Pure and deterministic.
 *
 * Changes of one request are collected: an atomic request that fails is undone
 * from the end, otherwise the linkers are told in order and the old objects
 * are freed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_fsm.h"
#include "kddm_set.h"

struct kddm_change {
	struct kddm_set *set;
	struct kddm_object *old, *new;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

void kddm_fsm_init(struct kddm_fsm *f, struct kddm *kddm, const struct kddm_fsm_events *events, void *arg)
{
	memset(f, 0, sizeof(*f));
	f->kddm = kddm;
	f->events = events;
	f->events_arg = arg;
	f->outcomes = must(calloc(NODES_MAX + 1, sizeof(f->outcomes[0])));
	kddm_fsm_register(f, &nodes_type, &f->nodes);
}

/* ---- outcomes ---- */

static void outcomes_drop_first(struct kddm_outcomes *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(o->of[i].errors);
	if (n < o->n)
		memmove(o->of, o->of + n, (o->n - n) * sizeof(o->of[0]));
	o->n -= n;
}

static void outcomes_reset(struct kddm_outcomes *o, uint64_t incarnation)
{
	outcomes_drop_first(o, o->n);
	o->low = 0;
	o->incarnation = incarnation;
}

static void outcomes_advance(struct kddm_outcomes *o, uint64_t low)
{
	size_t n = 0;

	if (low <= o->low)
		return;
	o->low = low;
	while (n < o->n && o->of[n].seq < low)
		n++;
	if (n)
		outcomes_drop_first(o, n);
}

/* Where `seq` stands or belongs. */
static size_t outcomes_position(const struct kddm_outcomes *o, uint64_t seq)
{
	size_t lo = 0, hi = o->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (o->of[mid].seq < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct kddm_outcome *outcomes_find(const struct kddm_outcomes *o, uint64_t seq)
{
	size_t at = outcomes_position(o, seq);

	return at < o->n && o->of[at].seq == seq ? &o->of[at] : NULL;
}

static struct kddm_outcome *outcomes_add(struct kddm_outcomes *o, uint64_t seq)
{
	size_t at = outcomes_position(o, seq);

	if (o->n == o->size) {
		o->size = o->size ? o->size * 2 : 16;
		o->of = must(realloc(o->of, o->size * sizeof(o->of[0])));
	}
	memmove(&o->of[at + 1], &o->of[at], (o->n - at) * sizeof(o->of[0]));
	memset(&o->of[at], 0, sizeof(o->of[0]));
	o->of[at].seq = seq;
	o->n++;
	return &o->of[at];
}

const struct kddm_outcome *kddm_fsm_outcome(struct kddm_fsm *f, uint32_t node, uint64_t incarnation,
					    uint64_t seq)
{
	struct kddm_outcomes *o;

	if (node > NODES_MAX)
		return NULL;
	o = &f->outcomes[node];
	return o->incarnation == incarnation ? outcomes_find(o, seq) : NULL;
}

/* ---- sets ---- */

int kddm_fsm_register(struct kddm_fsm *f, const struct kddm_type *type, struct kddm_set **out)
{
	if (!type->id || type->id >= KDDM_TYPES_MAX || type->key_len > KDDM_KEY_MAX)
		return -EINVAL;
	if (f->set[type->id])
		return -EEXIST;
	f->set[type->id] = kddm_set_alloc(type);
	if (out)
		*out = f->set[type->id];
	return 0;
}

void kddm_fsm_clear(struct kddm_fsm *f)
{
	for (size_t i = 0; i < KDDM_TYPES_MAX; i++)
		kddm_set_free(f->set[i]);
	for (size_t i = 0; i <= NODES_MAX; i++) {
		outcomes_reset(&f->outcomes[i], 0);
		free(f->outcomes[i].of);
	}
	free(f->outcomes);
	free(f->changes);
	memset(f, 0, sizeof(*f));
}

/* ---- changes and linkers ---- */

static void note_change(struct kddm_fsm *f, struct kddm_set *set, struct kddm_object *old,
			struct kddm_object *new)
{
	if (f->n_changes == f->changes_size) {
		f->changes_size = f->changes_size ? f->changes_size * 2 : 64;
		f->changes = must(realloc(f->changes, f->changes_size * sizeof(f->changes[0])));
	}
	f->changes[f->n_changes++] = (struct kddm_change){set, old, new};
}

static void undo_changes(struct kddm_fsm *f)
{
	while (f->n_changes) {
		struct kddm_change *c = &f->changes[--f->n_changes];

		if (c->new)
			kddm_object_free(kddm_set_take(c->set, c->new->key, c->new->key_len));
		if (c->old)
			kddm_set_insert(c->set, c->old);
	}
}

static void tell_linkers(const struct kddm_change *c)
{
	for (struct kddm_link *l = c->set->links; l; l = l->next) {
		if (c->old && c->new && l->linker->update)
			l->linker->update(l->arg, c->old, c->new);
		else if (!c->old && c->new && l->linker->insert)
			l->linker->insert(l->arg, c->new);
		else if (c->old && !c->new && l->linker->remove)
			l->linker->remove(l->arg, c->old);
	}
}

/* An object that a later operation of the request replaced is the `new` of one
 * change and the `old` of a later one: it is freed by the latter. */
static void finish_changes(struct kddm_fsm *f)
{
	for (size_t i = 0; i < f->n_changes; i++)
		tell_linkers(&f->changes[i]);
	for (size_t i = 0; i < f->n_changes; i++)
		kddm_object_free(f->changes[i].old);
	f->n_changes = 0;
}

static void put_object(struct kddm_fsm *f, struct kddm_set *set, const void *key, size_t key_len,
		       const void *value, size_t value_len, uint32_t owner, uint64_t epoch)
{
	struct kddm_object *new = kddm_object_new(key, key_len, value, value_len);

	new->version = f->index;
	new->epoch = epoch;
	new->owner = owner;
	note_change(f, set, kddm_set_insert(set, new), new);
}

void kddm_fsm_put(struct kddm_fsm *f, struct kddm_set *set, const void *key, size_t key_len,
		  const void *value, size_t value_len, uint32_t owner)
{
	const struct kddm_object *old = kddm_find(set, key, key_len);
	uint64_t epoch = old && old->owner == owner ? old->epoch : f->index;

	put_object(f, set, key, key_len, value, value_len, owner, epoch);
}

int kddm_fsm_remove(struct kddm_fsm *f, struct kddm_set *set, const void *key, size_t key_len)
{
	struct kddm_object *old = kddm_set_take(set, key, key_len);

	if (!old)
		return -ENOENT;
	note_change(f, set, old, NULL);
	return 0;
}

/* ---- death ---- */

struct keys {
	struct kddm_buf data; /* {uint64_t len, key padded} */
};

static void collect_keys(struct kddm_set *set, uint32_t node, struct kddm_buf *keys)
{
	const struct kddm_object *obj;

	kddm_for_each(set, obj)
	{
		uint64_t *len;

		if (obj->owner != node && !(set->type->on_death && set->type->on_death_any))
			continue;
		len = kddm_buf_add(keys, sizeof(*len) + ((obj->key_len + 7) & ~7ul));
		*len = obj->key_len;
		memcpy(len + 1, obj->key, obj->key_len);
	}
}

static void purge_object(struct kddm_fsm *f, struct kddm_set *set, uint32_t node, const void *key,
			 size_t key_len)
{
	const struct kddm_object *obj = kddm_find(set, key, key_len);

	if (!obj)
		return;
	if (set->type->on_death)
		set->type->on_death(f->kddm, obj, node);
	else
		kddm_fsm_remove(f, set, key, key_len);
}

/* on_death may change any object of the set, so the keys are collected first. */
static void purge_set(struct kddm_fsm *f, struct kddm_set *set, uint32_t node)
{
	struct kddm_buf keys = {0};
	size_t at = 0;

	collect_keys(set, node, &keys);
	while (at < keys.len) {
		const uint64_t *len = (const void *)(keys.data + at);

		purge_object(f, set, node, len + 1, *len);
		at += sizeof(*len) + ((*len + 7) & ~7ul);
	}
	kddm_buf_free(&keys);
}

void kddm_fsm_purge(struct kddm_fsm *f, uint32_t node)
{
	for (size_t i = 0; i < KDDM_TYPES_MAX; i++)
		if (f->set[i] && f->set[i] != f->nodes)
			purge_set(f, f->set[i], node);
}

/* ---- operations ---- */

static int check_expected(const struct kddm_wire_op *op, const struct kddm_object *obj)
{
	if (op->expect == KDDM_ANY)
		return 0;
	if (op->expect == KDDM_ABSENT)
		return obj && op->kind != KDDM_OP_REMOVE ? -EEXIST : 0;
	if (!obj)
		return -ENOENT;
	return obj->version == op->expect ? 0 : -ESTALE;
}

static int check_grab(struct kddm_fsm *f, const struct kddm_wire_op *op, const struct kddm_object *obj)
{
	const struct node_info *owner = nodes_get(f->nodes, op->owner);

	if (op->owner && (!owner || owner->state != NODE_UP))
		return -EHOSTDOWN;
	/* Epochs are log indices: one entry can give an object to one owner only. */
	if (obj && obj->owner && obj->owner != op->owner && obj->epoch == f->index)
		return -ESTALE;
	return 0;
}

static int check_valid(const struct kddm_set *set, const struct kddm_wire_op *op)
{
	const struct kddm_type *t = set->type;

	if (!op->key_len || (t->key_len && t->key_len != op->key_len))
		return -EINVAL;
	if (op->kind != KDDM_OP_REMOVE && t->valid &&
	    !t->valid(kddm_op_key(op), op->key_len, kddm_op_value(op), op->value_len))
		return -EINVAL;
	return 0;
}

static int apply_object_op(struct kddm_fsm *f, const struct kddm_wire_op *op)
{
	struct kddm_set *set = op->type < KDDM_TYPES_MAX ? f->set[op->type] : NULL;
	const void *key = kddm_op_key(op), *value = kddm_op_value(op);
	const struct kddm_object *obj;
	int r;

	if (!set || set == f->nodes)
		return -EINVAL;
	r = check_valid(set, op);
	if (r < 0)
		return r;
	obj = kddm_find(set, key, op->key_len);
	r = check_expected(op, obj);
	if (r < 0)
		return r;
	if (op->kind == KDDM_OP_REMOVE)
		return kddm_fsm_remove(f, set, key, op->key_len);
	if (op->kind == KDDM_OP_PUT) {
		put_object(f, set, key, op->key_len, value, op->value_len, obj ? obj->owner : 0,
			   obj ? obj->epoch : f->index);
		return 0;
	}
	r = check_grab(f, op, obj);
	if (r < 0)
		return r;
	put_object(f, set, key, op->key_len, value, op->value_len, op->owner, f->index);
	return 0;
}

static int apply_op(struct kddm_fsm *f, const struct kddm_wire_op *op)
{
	struct node_info info = {0};

	f->applied_ops++;
	if (op->kind < KDDM_OP_NODE_JOIN)
		return apply_object_op(f, op);
	memcpy(&info, kddm_op_value(op), op->value_len < sizeof(info) ? op->value_len : sizeof(info));
	info.name[sizeof(info.name) - 1] = info.address[sizeof(info.address) - 1] = 0;
	return nodes_apply(f, op->kind, &info);
}

/* errors[i] is the positive errno of operation i. True: all 0. */
static bool apply_ops(struct kddm_fsm *f, const struct kddm_wire_request *req, uint8_t *errors)
{
	bool atomic = req->flags & KDDM_REQUEST_ATOMIC, clean = true;
	const struct kddm_wire_op *op = NULL;

	for (uint32_t i = 0; (op = kddm_op_next(req, op)); i++) {
		errors[i] = (uint8_t)-apply_op(f, op);
		clean = clean && !errors[i];
		if (!atomic)
			finish_changes(f);
		else if (!clean)
			break;
	}
	if (!atomic || clean) {
		finish_changes(f);
		return clean;
	}
	undo_changes(f);
	for (uint32_t i = 0; i < req->n_ops; i++)
		if (!errors[i])
			errors[i] = ECANCELED;
	return false;
}

static void tell_outcome(struct kddm_fsm *f, const struct kddm_wire_request *req, uint64_t index, int status,
			 size_t n_ops, const uint8_t *errors)
{
	if (f->events && f->events->outcome)
		f->events->outcome(f->events_arg, req->node, req->incarnation, req->seq, index, status, n_ops,
				   errors);
}

static bool request_is_live(struct kddm_fsm *f, const struct kddm_wire_request *req)
{
	const struct node_info *info;

	if (!req->node)
		return true;
	info = nodes_get(f->nodes, req->node);
	return info && info->state == NODE_UP && info->incarnation == req->incarnation;
}

static void apply_new_request(struct kddm_fsm *f, const struct kddm_wire_request *req)
{
	uint8_t *errors = must(calloc(req->n_ops + 1, 1));
	bool clean = apply_ops(f, req, errors);
	struct kddm_outcome *out;

	tell_outcome(f, req, f->index, 0, req->n_ops, errors);
	if (!req->node) {
		free(errors);
		return;
	}
	out = outcomes_add(&f->outcomes[req->node], req->seq);
	out->index = f->index;
	out->n_ops = req->n_ops;
	if (clean)
		free(errors);
	else
		out->errors = errors;
}

static void apply_request(struct kddm_fsm *f, const struct kddm_wire_request *req)
{
	struct kddm_outcomes *o;
	struct kddm_outcome *known;

	if (!request_is_live(f, req)) {
		tell_outcome(f, req, f->index, -ENOTCONN, 0, NULL);
		return;
	}
	if (!req->node) {
		apply_new_request(f, req);
		return;
	}
	o = &f->outcomes[req->node];
	if (o->incarnation != req->incarnation)
		outcomes_reset(o, req->incarnation);
	outcomes_advance(o, req->low);
	if (req->seq < o->low)
		return; /* a late duplicate; the origin knows the outcome */
	known = outcomes_find(o, req->seq);
	if (known)
		tell_outcome(f, req, known->index, 0, known->n_ops, known->errors);
	else if (o->n >= KDDM_WINDOW)
		tell_outcome(f, req, f->index, -ENOTCONN, 0, NULL);
	else
		apply_new_request(f, req);
}

static void tell_entry_done(struct kddm_fsm *f)
{
	for (size_t i = 0; i < KDDM_TYPES_MAX; i++)
		for (struct kddm_link *l = f->set[i] ? f->set[i]->links : NULL; l; l = l->next)
			if (l->linker->entry_done)
				l->linker->entry_done(l->arg, f->index);
	if (f->events && f->events->entry_done)
		f->events->entry_done(f->events_arg, f->index);
}

int kddm_fsm_apply(struct kddm_fsm *f, uint64_t index, const void *data, size_t len)
{
	const struct kddm_wire_request *req = NULL;
	int r = kddm_entry_check(data, len);

	if (r < 0)
		return r;
	f->index = index;
	while ((req = kddm_request_next(data, req)))
		apply_request(f, req);
	tell_entry_done(f);
	return 0;
}
