// SPDX-License-Identifier: GPL-2.0
/*
 * Codec of requests and entries; see kddm_op.h. Pure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_op.h"
#include "userland/lib/grow.h"

static size_t round8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

void kddm_buf_free(struct kddm_buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void *kddm_buf_add(struct kddm_buf *b, size_t len)
{
	void *at;

	b->data = grow(b->data, &b->size, b->len, len);
	at = b->data + b->len;
	memset(at, 0, len);
	b->len += len;
	return at;
}

static size_t op_bytes(const struct kddm_wire_op *op)
{
	return sizeof(*op) + round8(op->key_len) + round8(op->value_len);
}

void kddm_op_encode(struct kddm_buf *b, const struct kddm_wire_op *op, const void *key, const void *value)
{
	char *at = kddm_buf_add(b, op_bytes(op));

	memcpy(at, op, sizeof(*op));
	at += sizeof(*op);
	if (op->key_len)
		memcpy(at, key, op->key_len);
	if (op->value_len)
		memcpy(at + round8(op->key_len), value, op->value_len);
}

void kddm_entry_begin(struct kddm_buf *b)
{
	struct kddm_wire_entry *e = kddm_buf_add(b, sizeof(*e));

	e->magic = KDDM_WIRE_MAGIC;
	e->version = KDDM_WIRE_VERSION;
}

void kddm_entry_add(struct kddm_buf *b, const struct kddm_wire_request *req, const void *ops)
{
	char *at = kddm_buf_add(b, sizeof(*req) + req->bytes);

	memcpy(at, req, sizeof(*req));
	if (req->bytes)
		memcpy(at + sizeof(*req), ops, req->bytes);
	((struct kddm_wire_entry *)b->data)->n_requests++;
}

void kddm_entry_end(struct kddm_buf *b)
{
	struct kddm_wire_entry *e = (void *)b->data;

	e->bytes = (uint32_t)(b->len - sizeof(*e));
}

static bool op_kind_known(uint8_t kind)
{
	return (kind >= KDDM_OP_PUT && kind <= KDDM_OP_REMOVE) ||
	       (kind >= KDDM_OP_NODE_JOIN && kind <= KDDM_OP_NODE_LEASE);
}

static int op_check(const struct kddm_wire_op *op, size_t left)
{
	if (left < sizeof(*op) || left < op_bytes(op))
		return -EPROTO;
	if (!op_kind_known(op->kind) || op->pad || op->pad2)
		return -EPROTO;
	if (op->key_len > KDDM_KEY_MAX || op->value_len > KDDM_VALUE_MAX)
		return -EPROTO;
	return 0;
}

static int request_check(const struct kddm_wire_request *req, size_t left, size_t *n_ops)
{
	const char *at = (const char *)(req + 1);
	size_t bytes;

	if (left < sizeof(*req) || left - sizeof(*req) < req->bytes || req->bytes % 8)
		return -EPROTO;
	if (req->flags & ~KDDM_REQUEST_ATOMIC)
		return -EPROTO;
	bytes = req->bytes;
	for (uint32_t i = 0; i < req->n_ops; i++) {
		const struct kddm_wire_op *op = (const void *)at;
		int r = op_check(op, bytes);

		if (r < 0)
			return r;
		if (op->kind >= KDDM_OP_NODE_JOIN && req->node)
			return -EPROTO;
		bytes -= op_bytes(op);
		at += op_bytes(op);
	}
	*n_ops += req->n_ops;
	return bytes ? -EPROTO : 0;
}

int kddm_entry_check(const void *data, size_t len)
{
	const struct kddm_wire_entry *e = data;
	const char *at = (const char *)(e + 1);
	size_t left, n_ops = 0;

	if (len < sizeof(*e) || len > KDDM_ENTRY_BYTES_MAX || (uintptr_t)data % 8)
		return -EPROTO;
	if (e->magic != KDDM_WIRE_MAGIC || e->pad)
		return -EPROTO;
	if (e->version != KDDM_WIRE_VERSION)
		return -EPROTONOSUPPORT;
	left = len - sizeof(*e);
	if (e->bytes != left)
		return -EPROTO;
	for (uint32_t i = 0; i < e->n_requests; i++) {
		const struct kddm_wire_request *req = (const void *)at;
		int r = request_check(req, left, &n_ops);

		if (r < 0 || n_ops > KDDM_BATCH_MAX)
			return -EPROTO;
		left -= sizeof(*req) + req->bytes;
		at += sizeof(*req) + req->bytes;
	}
	return left ? -EPROTO : 0;
}

const struct kddm_wire_request *kddm_request_next(const void *entry, const struct kddm_wire_request *pos)
{
	const struct kddm_wire_entry *e = entry;
	const char *end = (const char *)(e + 1) + e->bytes;
	const char *at = pos ? (const char *)(pos + 1) + pos->bytes : (const char *)(e + 1);

	return at < end ? (const void *)at : NULL;
}

const struct kddm_wire_op *kddm_op_next(const struct kddm_wire_request *req, const struct kddm_wire_op *pos)
{
	const char *end = (const char *)(req + 1) + req->bytes;
	const char *at = pos ? (const char *)pos + op_bytes(pos) : (const char *)(req + 1);

	return at < end ? (const void *)at : NULL;
}
