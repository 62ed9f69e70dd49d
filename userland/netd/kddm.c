// SPDX-License-Identifier: GPL-2.0
/*
 * Requests from submission to outcome; see kddm.h and kddm_core.h.
 *
 * A request is pending until an entry that holds it is applied *here*: the log
 * itself brings the outcome, so nobody has to answer and a lost leader needs
 * no special case. Until then it is sent again, under the same name, whenever
 * the leader or the way to it changes, and slowly by time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_core.h"
#include "kddm_set.h"

#define RESEND_FIRST_MS 400
#define SENT_MAX	(KDDM_WINDOW / 2)
#define ASKERS_MAX	65536
#define ENTRY_ROOM	(KDDM_ENTRY_BYTES_MAX - sizeof(struct kddm_wire_entry))

struct kddm_batch {
	struct kddm *k;
	struct kddm_batch *next;
	struct kddm_wire_request req;
	struct kddm_buf ops;
	kddm_done_fn *done;
	void *arg;
	uint64_t submitted_ms, sent_ms;
	unsigned int sent; /* how often */
	uint64_t flush;	   /* in which it was last given away */
	/* the outcome */
	int status;
	uint64_t index;
	int *results;
};

struct queue {
	struct kddm_batch *first, **end;
	size_t n;
};

struct waiter {
	struct waiter *next;
	uint64_t id, index, deadline_ms, asked_ms;
	void (*done)(void *arg, int status);
	void *arg;
	int status;
	size_t n;
	uint32_t node[]; /* those that have not answered */
};

struct asker {
	uint64_t index, id;
	uint32_t from;
};

struct kddm {
	struct kddm_fsm fsm;
	const struct kddm_env *env;
	void *env_arg;
	bool started;
	uint32_t node;
	uint64_t incarnation, next_seq, flush;
	struct queue pending;  /* ours, by seq; named {node, incarnation, seq} */
	struct queue node_ops; /* ours, not named */
	struct queue finished; /* `done` not yet called */
	struct kddm_buf inbox; /* requests of others, as the leader */
	size_t inbox_n, inbox_ops, in_flight;
	struct waiter *waiters, *waited;
	uint64_t next_wait_id;
	struct asker *askers;
	size_t n_askers, askers_size;
	struct kddm_stats stats;
};

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->end = &q->first;
	q->n = 0;
}

static void queue_add(struct queue *q, struct kddm_batch *b)
{
	b->next = NULL;
	*q->end = b;
	q->end = &b->next;
	q->n++;
}

static struct kddm_batch *queue_take(struct queue *q, struct kddm_batch **at)
{
	struct kddm_batch *b = *at;

	*at = b->next;
	if (q->end == &b->next)
		q->end = at;
	q->n--;
	return b;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint64_t now_ms(struct kddm *k)
{
	return k->env->now_ms(k->env_arg);
}

/* ---- batches ---- */

struct kddm_batch *kddm_batch_new(struct kddm *k, bool atomic)
{
	struct kddm_batch *b = must(calloc(1, sizeof(*b)));

	b->k = k;
	b->req.flags = atomic ? KDDM_REQUEST_ATOMIC : 0;
	return b;
}

void kddm_batch_free(struct kddm_batch *b)
{
	if (!b)
		return;
	kddm_buf_free(&b->ops);
	free(b->results);
	free(b);
}

static int batch_add(struct kddm_batch *b, struct kddm_wire_op op, struct kddm_set *set, const void *key,
		     const void *value)
{
	const struct kddm_type *t = set->type;
	size_t bytes = b->ops.len + sizeof(op) + op.key_len + op.value_len + 8;

	if (b->req.n_ops >= KDDM_BATCH_MAX || bytes > ENTRY_ROOM - sizeof(b->req))
		return -E2BIG;
	if (!op.key_len || (t->key_len && t->key_len != op.key_len))
		return -EINVAL;
	if (op.kind != KDDM_OP_REMOVE && t->valid && !t->valid(key, op.key_len, value, op.value_len))
		return -EINVAL;
	op.type = t->id;
	kddm_op_encode(&b->ops, &op, key, value);
	b->req.n_ops++;
	return 0;
}

static bool lengths_ok(size_t key_len, size_t value_len)
{
	return key_len && key_len <= KDDM_KEY_MAX && value_len <= KDDM_VALUE_MAX;
}

int kddm_put(struct kddm_batch *b, struct kddm_set *set, const void *key, size_t key_len, const void *value,
	     size_t value_len, uint64_t expect)
{
	struct kddm_wire_op op = {.kind = KDDM_OP_PUT,
				  .key_len = (uint16_t)key_len,
				  .value_len = (uint16_t)value_len,
				  .expect = expect};

	return lengths_ok(key_len, value_len) ? batch_add(b, op, set, key, value) : -EINVAL;
}

int kddm_grab(struct kddm_batch *b, struct kddm_set *set, const void *key, size_t key_len, const void *value,
	      size_t value_len, uint64_t expect, uint32_t owner)
{
	struct kddm_wire_op op = {.kind = KDDM_OP_GRAB,
				  .key_len = (uint16_t)key_len,
				  .value_len = (uint16_t)value_len,
				  .expect = expect,
				  .owner = owner};

	return lengths_ok(key_len, value_len) ? batch_add(b, op, set, key, value) : -EINVAL;
}

int kddm_remove(struct kddm_batch *b, struct kddm_set *set, const void *key, size_t key_len, uint64_t expect)
{
	struct kddm_wire_op op = {.kind = KDDM_OP_REMOVE, .key_len = (uint16_t)key_len, .expect = expect};

	return lengths_ok(key_len, 0) ? batch_add(b, op, set, key, NULL) : -EINVAL;
}

/* ---- outcomes ---- */

static void finish(struct kddm *k, struct kddm_batch *b, int status, uint64_t index)
{
	b->status = status;
	b->index = index;
	queue_add(&k->finished, b);
}

static void set_results(struct kddm_batch *b, size_t n_ops, const uint8_t *errors)
{
	b->results = must(calloc(b->req.n_ops + 1, sizeof(b->results[0])));
	for (size_t i = 0; errors && i < n_ops && i < b->req.n_ops; i++)
		b->results[i] = -(int)errors[i];
}

static void finish_all(struct kddm *k, struct queue *q, int unsent, int sent)
{
	while (q->first) {
		struct kddm_batch *b = queue_take(q, &q->first);

		finish(k, b, b->sent ? sent : unsent, 0);
	}
}

static void outcome_of(struct kddm *k, struct queue *q, uint64_t seq, uint64_t index, int status,
		       size_t n_ops, const uint8_t *errors)
{
	for (struct kddm_batch **p = &q->first; *p; p = &(*p)->next) {
		struct kddm_batch *b = *p;

		if (b->req.seq != seq)
			continue;
		/* Refused, but another copy of it may have come before. */
		if (status == -ENOTCONN && b->sent > 1)
			status = -ETIMEDOUT;
		queue_take(q, p);
		set_results(b, n_ops, errors);
		finish(k, b, status, index);
		return;
	}
}

static void on_outcome(void *arg, uint32_t node, uint64_t incarnation, uint64_t seq, uint64_t index,
		       int status, size_t n_ops, const uint8_t *errors)
{
	struct kddm *k = arg;

	if (!node && incarnation == (uintptr_t)k) /* see kddm_submit_node_op() */
		outcome_of(k, &k->node_ops, seq, index, status, n_ops, errors);
	else if (node && node == k->node && incarnation == k->incarnation)
		outcome_of(k, &k->pending, seq, index, status, n_ops, errors);
}

static void answer_askers(struct kddm *k)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->n_askers; i++) {
		struct asker *a = &k->askers[i];

		if (a->index <= k->fsm.index)
			k->env->tell_applied(k->env_arg, a->from, a->id);
		else
			k->askers[kept++] = *a;
	}
	k->n_askers = kept;
}

static void on_entry_done(void *arg, uint64_t index)
{
	struct kddm *k = arg;

	(void)index;
	k->stats.applied_entries++;
	if (k->n_askers)
		answer_askers(k);
	if (k->node && k->waiters)
		kddm_told_applied(k, k->node, 0);
}

static const struct kddm_fsm_events fsm_events = {
	.outcome = on_outcome,
	.entry_done = on_entry_done,
};

void kddm_reap(struct kddm *k)
{
	struct waiter *w;

	while (k->finished.first) {
		struct kddm_batch *b = queue_take(&k->finished, &k->finished.first);
		struct kddm_result result = {b->status, b->index, b->req.n_ops, b->results};

		if (!b->results)
			set_results(b, 0, NULL);
		result.op = b->results;
		if (b->done)
			b->done(b->arg, &result);
		kddm_batch_free(b);
	}
	while ((w = k->waited)) {
		k->waited = w->next;
		w->done(w->arg, w->status);
		free(w);
	}
}

/* ---- life ---- */

struct kddm *kddm_new(const struct kddm_env *env, void *env_arg)
{
	struct kddm *k = must(calloc(1, sizeof(*k)));

	k->env = env;
	k->env_arg = env_arg;
	/* A netd that is started again is the same incarnation: its requests must not look like older ones. */
	k->next_seq = (now_ms(k) << 20) + 1;
	k->next_wait_id = 1;
	queue_init(&k->pending);
	queue_init(&k->node_ops);
	queue_init(&k->finished);
	kddm_fsm_init(&k->fsm, k, &fsm_events, k);
	return k;
}

void kddm_free(struct kddm *k)
{
	struct waiter *w;

	if (!k)
		return;
	kddm_identify(k, 0, 0);
	finish_all(k, &k->node_ops, -ENOTCONN, -ETIMEDOUT);
	kddm_reap(k);
	while ((w = k->waiters)) {
		k->waiters = w->next;
		free(w);
	}
	kddm_fsm_clear(&k->fsm);
	kddm_buf_free(&k->inbox);
	free(k->askers);
	free(k);
}

void kddm_forget(struct kddm *k)
{
	kddm_identify(k, 0, 0);
	kddm_fsm_forget(&k->fsm);
	k->inbox.len = 0;
	k->n_askers = 0;
	k->in_flight = 0;
}

struct kddm_fsm *kddm_fsm_of(struct kddm *k)
{
	return &k->fsm;
}

struct kddm_set *kddm_nodes(struct kddm *k)
{
	return k->fsm.nodes;
}

struct kddm_set *kddm_set_by_id(struct kddm *k, uint16_t id)
{
	return id < KDDM_TYPES_MAX ? k->fsm.set[id] : NULL;
}

struct kddm_set *kddm_set_at(struct kddm *k, uint16_t *id)
{
	for (; *id < KDDM_TYPES_MAX; ++*id)
		if (k->fsm.set[*id])
			return k->fsm.set[(*id)++];
	return NULL;
}

int kddm_set_register(struct kddm *k, const struct kddm_type *type, struct kddm_set **out)
{
	return k->started ? -EBUSY : kddm_fsm_register(&k->fsm, type, out);
}

void kddm_start(struct kddm *k)
{
	k->started = true;
}

void kddm_identify(struct kddm *k, uint32_t node, uint64_t incarnation)
{
	if (!incarnation)
		finish_all(k, &k->node_ops, -ENOTCONN, -ETIMEDOUT);
	if (node == k->node && incarnation == k->incarnation)
		return;
	finish_all(k, &k->pending, -ENOTCONN, -ETIMEDOUT);
	k->node = node;
	k->incarnation = incarnation;
}

/* ---- submission ---- */

void kddm_submit(struct kddm_batch *b, kddm_done_fn *done, void *arg)
{
	struct kddm *k = b->k;

	b->done = done;
	b->arg = arg;
	b->submitted_ms = now_ms(k);
	k->stats.submitted++;
	if (!k->incarnation) {
		finish(k, b, -ENOTCONN, 0);
		return;
	}
	b->req.node = k->node;
	b->req.incarnation = k->incarnation;
	b->req.seq = k->next_seq++;
	b->req.bytes = (uint32_t)b->ops.len;
	queue_add(&k->pending, b);
}

/* The request has no node; incarnation and seq only let us know our own again. */
void kddm_submit_node_op(struct kddm *k, uint8_t kind, const struct node_info *info, kddm_done_fn *done,
			 void *arg)
{
	struct kddm_wire_op op = {.kind = kind, .value_len = sizeof(*info)};
	struct kddm_batch *b = kddm_batch_new(k, true);

	kddm_op_encode(&b->ops, &op, NULL, info);
	b->req.n_ops = 1;
	b->req.bytes = (uint32_t)b->ops.len;
	b->req.incarnation = (uintptr_t)k;
	b->req.seq = k->next_seq++;
	b->done = done;
	b->arg = arg;
	b->submitted_ms = now_ms(k);
	queue_add(&k->node_ops, b);
}

void kddm_resigned(struct kddm *k)
{
	struct kddm_batch **p = &k->node_ops.first;

	while (*p) {
		const struct kddm_wire_op *op = (const void *)(*p)->ops.data;

		if (op->kind == KDDM_OP_NODE_JOIN) {
			p = &(*p)->next;
			continue;
		}
		finish(k, queue_take(&k->node_ops, p), -ETIMEDOUT, 0);
	}
}

/* ---- sending ---- */

static bool fits(const struct kddm_buf *entry, size_t n_ops, const struct kddm_wire_request *req)
{
	return entry->len + sizeof(*req) + req->bytes <= KDDM_ENTRY_BYTES_MAX &&
	       n_ops + req->n_ops <= KDDM_BATCH_MAX;
}

/* Add unsent requests while they fit; mark them sent. False: some are left. */
static bool add_unsent(struct kddm *k, struct queue *q, struct kddm_buf *entry, size_t *n_ops, size_t max)
{
	uint64_t low = k->pending.first ? k->pending.first->req.seq : k->next_seq;

	for (struct kddm_batch *b = q->first; b && max; b = b->next, max--) {
		if (b->sent_ms)
			continue;
		if (!fits(entry, *n_ops, &b->req))
			return false;
		b->req.low = low;
		kddm_entry_add(entry, &b->req, b->ops.data);
		*n_ops += b->req.n_ops;
		b->sent_ms = now_ms(k);
		b->sent++;
		b->flush = k->flush;
	}
	return true;
}

/* Not handed over after all: the next flush tries again. */
static void unmark(struct kddm *k, struct queue *q)
{
	for (struct kddm_batch *b = q->first; b; b = b->next) {
		if (b->flush != k->flush || !b->sent_ms)
			continue;
		b->sent_ms = 0;
		b->sent--;
	}
}

static bool has_unsent(const struct queue *q, size_t max)
{
	for (struct kddm_batch *b = q->first; b && max; b = b->next, max--)
		if (!b->sent_ms)
			return true;
	return false;
}

static void flush_to_leader(struct kddm *k, uint32_t leader)
{
	struct kddm_buf entry = {0};
	size_t n_ops = 0;

	k->flush++;
	kddm_entry_begin(&entry);
	add_unsent(k, &k->pending, &entry, &n_ops, SENT_MAX);
	kddm_entry_end(&entry);
	if (k->env->forward(k->env_arg, leader, entry.data, entry.len) < 0)
		unmark(k, &k->pending);
	else
		k->stats.forwarded++;
	kddm_buf_free(&entry);
}

/* Move requests of others from the inbox into the entry while they fit. */
static void add_inbox(struct kddm *k, struct kddm_buf *entry, size_t *n_ops)
{
	size_t at = 0;

	while (at < k->inbox.len) {
		const struct kddm_wire_request *req = (void *)(k->inbox.data + at);

		if (!fits(entry, *n_ops, req))
			break;
		kddm_entry_add(entry, req, req + 1);
		*n_ops += req->n_ops;
		at += sizeof(*req) + req->bytes;
	}
	memmove(k->inbox.data, k->inbox.data + at, k->inbox.len - at);
	k->inbox.len -= at;
}

static bool propose_one(struct kddm *k)
{
	struct kddm_buf entry = {0};
	size_t n_ops = 0;
	int r;

	k->flush++;
	kddm_entry_begin(&entry);
	add_unsent(k, &k->node_ops, &entry, &n_ops, SENT_MAX);
	if (k->inbox.len)
		add_inbox(k, &entry, &n_ops);
	add_unsent(k, &k->pending, &entry, &n_ops, SENT_MAX);
	kddm_entry_end(&entry);
	r = k->env->propose(k->env_arg, entry.data, entry.len);
	kddm_buf_free(&entry);
	if (r < 0) {
		unmark(k, &k->pending);
		unmark(k, &k->node_ops);
		return false;
	}
	k->in_flight++;
	return true;
}

static bool has_work(struct kddm *k)
{
	return k->inbox.len || has_unsent(&k->node_ops, SENT_MAX) || has_unsent(&k->pending, SENT_MAX);
}

bool kddm_idle(struct kddm *k)
{
	return !k->in_flight && !has_work(k);
}

void kddm_flush(struct kddm *k)
{
	uint32_t leader = k->env->leader(k->env_arg);

	if (leader && leader == (k->node ? k->node : KDDM_LEADER_UNNUMBERED)) {
		while (k->in_flight < KDDM_INFLIGHT_MAX && has_work(k))
			if (!propose_one(k))
				break;
		return;
	}
	k->inbox.len = 0; /* their senders ask the next leader */
	if (leader && k->env->has_quorum(k->env_arg) && has_unsent(&k->pending, SENT_MAX))
		flush_to_leader(k, leader);
}

void kddm_resend(struct kddm *k)
{
	for (struct kddm_batch *b = k->pending.first; b; b = b->next) {
		if (b->sent_ms)
			k->stats.resent++;
		b->sent_ms = 0;
	}
	for (struct kddm_batch *b = k->node_ops.first; b; b = b->next)
		b->sent_ms = 0;
	for (struct waiter *w = k->waiters; w; w = w->next)
		w->asked_ms = 0;
}

void kddm_proposed(struct kddm *k)
{
	if (k->in_flight)
		k->in_flight--;
}

int kddm_receive(struct kddm *k, uint32_t from, const void *entry, size_t len)
{
	const struct kddm_wire_request *req = NULL;
	int r = kddm_entry_check(entry, len);

	if (r < 0)
		return r;
	while ((req = kddm_request_next(entry, req))) {
		if (req->node != from)
			return -EPROTO;
		if (kddm_fsm_outcome(&k->fsm, req->node, req->incarnation, req->seq))
			continue; /* the log brings it to the origin */
		if (k->inbox.len > 64 * KDDM_ENTRY_BYTES_MAX)
			return -ENOBUFS;
		memcpy(kddm_buf_add(&k->inbox, sizeof(*req) + req->bytes), req, sizeof(*req) + req->bytes);
	}
	return 0;
}

int kddm_apply(struct kddm *k, uint64_t index, const void *data, size_t len)
{
	return kddm_fsm_apply(&k->fsm, index, data, len);
}

/* Outcomes that came to pass while we were behind stand in the snapshot. */
int kddm_restore(struct kddm *k, const void *data, size_t len)
{
	int r = kddm_fsm_restore(&k->fsm, data, len);
	struct kddm_batch **p = &k->pending.first;

	if (r < 0)
		return r;
	while (*p) {
		struct kddm_batch *b = *p;
		const struct kddm_outcome *o = kddm_fsm_outcome(&k->fsm, k->node, k->incarnation, b->req.seq);

		if (!o) {
			p = &b->next;
			continue;
		}
		queue_take(&k->pending, p);
		set_results(b, o->n_ops, o->errors);
		finish(k, b, 0, o->index);
	}
	on_entry_done(k, k->fsm.index);
	return 0;
}

/* ---- application everywhere ---- */

static void waiter_finish(struct kddm *k, struct waiter **at, int status)
{
	struct waiter *w = *at, **end = &k->waited;

	*at = w->next;
	w->status = status;
	w->next = NULL;
	while (*end)
		end = &(*end)->next;
	*end = w;
}

static bool node_counts(struct kddm *k, uint32_t node)
{
	const struct node_info *info = nodes_get(k->fsm.nodes, node);

	return info && info->state == NODE_UP;
}

/* Drop who has applied it, who died, and ourselves when we are there. */
static bool waiter_done(struct kddm *k, struct waiter *w, uint32_t told)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->n; i++) {
		uint32_t node = w->node[i];

		if (node == k->node ? k->fsm.index >= w->index : node == told)
			continue;
		if (node_counts(k, node))
			w->node[kept++] = node;
	}
	w->n = kept;
	return !kept;
}

static void waiter_ask(struct kddm *k, struct waiter *w)
{
	w->asked_ms = now_ms(k);
	for (size_t i = 0; i < w->n; i++)
		if (w->node[i] != k->node)
			k->env->ask_applied(k->env_arg, w->node[i], w->index, w->id);
}

void kddm_wait_applied(struct kddm *k, uint64_t index, const uint32_t *nodes, size_t n,
		       unsigned int timeout_ms, void (*done)(void *arg, int status), void *arg)
{
	size_t room = n ? n : kddm_count(k->fsm.nodes);
	struct waiter **end = &k->waiters, *w = must(calloc(1, sizeof(*w) + room * sizeof(w->node[0])));
	const struct kddm_object *obj;
	bool serving = false;

	kddm_for_each(k->fsm.nodes, obj)
		serving |= ((const struct node_info *)obj->value)->flags & NODE_SERVES;
	w->id = k->next_wait_id++;
	w->index = index;
	w->deadline_ms = now_ms(k) + timeout_ms;
	w->done = done;
	w->arg = arg;
	if (n)
		memcpy(w->node, nodes, n * sizeof(nodes[0]));
	else
		kddm_for_each(k->fsm.nodes,
			      obj) if (!serving ||
				       (((const struct node_info *)obj->value)->flags & NODE_SERVES))
			w->node[w->n++] = ((const struct node_info *)obj->value)->number;
	if (n)
		w->n = n;
	while (*end)
		end = &(*end)->next;
	*end = w;
	if (waiter_done(k, w, 0))
		waiter_finish(k, end, 0);
	else
		waiter_ask(k, w);
}

void kddm_told_applied(struct kddm *k, uint32_t from, uint64_t id)
{
	struct waiter **p = &k->waiters;

	while (*p) {
		bool named = id ? (*p)->id == id : from == k->node;

		if (named && waiter_done(k, *p, from))
			waiter_finish(k, p, 0);
		else
			p = &(*p)->next;
	}
}

void kddm_asked_applied(struct kddm *k, uint32_t from, uint64_t index, uint64_t id)
{
	if (index <= k->fsm.index) {
		k->env->tell_applied(k->env_arg, from, id);
		return;
	}
	if (k->n_askers >= ASKERS_MAX)
		return; /* it asks again */
	if (k->n_askers == k->askers_size) {
		k->askers_size = k->askers_size ? k->askers_size * 2 : 16;
		k->askers = must(realloc(k->askers, k->askers_size * sizeof(k->askers[0])));
	}
	k->askers[k->n_askers++] = (struct asker){index, id, from};
}

/* ---- time ---- */

static void tick_waiters(struct kddm *k, uint64_t now)
{
	struct waiter **p = &k->waiters;

	while (*p) {
		struct waiter *w = *p;

		if (waiter_done(k, w, 0)) {
			waiter_finish(k, p, 0);
		} else if (now >= w->deadline_ms) {
			waiter_finish(k, p, -ETIMEDOUT);
		} else {
			if (now - w->asked_ms >= RESEND_FIRST_MS)
				waiter_ask(k, w);
			p = &w->next;
		}
	}
}

static void tick_queue(struct kddm *k, struct queue *q, uint64_t now)
{
	struct kddm_batch **p = &q->first;

	while (*p) {
		struct kddm_batch *b = *p;
		uint64_t age = now - b->submitted_ms;
		unsigned int wait = RESEND_FIRST_MS << (b->sent < 4 ? b->sent : 4);

		if (age >= (b->sent ? KDDM_UNKNOWN_MS : KDDM_UNSENT_MS)) {
			k->stats.timed_out++;
			finish(k, queue_take(q, p), b->sent ? -ETIMEDOUT : -EAGAIN, 0);
			continue;
		}
		if (b->sent_ms && now - b->sent_ms >= wait) {
			b->sent_ms = 0;
			k->stats.resent++;
		}
		p = &b->next;
	}
}

void kddm_tick(struct kddm *k)
{
	uint64_t now = now_ms(k);

	tick_queue(k, &k->pending, now);
	tick_queue(k, &k->node_ops, now);
	tick_waiters(k, now);
}

void kddm_stats_get(struct kddm *k, struct kddm_stats *out)
{
	*out = k->stats;
	out->applied_index = k->fsm.index;
	out->applied_ops = k->fsm.applied_ops;
	out->pending = k->pending.n;
	out->in_flight = k->in_flight;
}

/* ---- inside on_death ---- */

int kddm_apply_put(struct kddm *k, uint16_t type, const void *key, size_t key_len, const void *value,
		   size_t value_len, uint32_t owner)
{
	struct kddm_set *set = type < KDDM_TYPES_MAX ? k->fsm.set[type] : NULL;

	if (!set || !lengths_ok(key_len, value_len))
		return -EINVAL;
	kddm_fsm_put(&k->fsm, set, key, key_len, value, value_len, owner);
	return 0;
}

int kddm_apply_remove(struct kddm *k, uint16_t type, const void *key, size_t key_len)
{
	struct kddm_set *set = type < KDDM_TYPES_MAX ? k->fsm.set[type] : NULL;

	return set ? kddm_fsm_remove(&k->fsm, set, key, key_len) : -EINVAL;
}
