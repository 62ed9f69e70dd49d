/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Operations as they travel and stand in the log: an entry holds requests, a
 * request holds operations. Pure: no I/O, no time.
 *
 *   entry    kddm_wire_entry, then n_requests requests
 *   request  kddm_wire_request, then n_ops operations (`bytes` in all)
 *   op       kddm_wire_op, key, value, each with zeros up to 8 bytes
 *
 * Little endian, every record a multiple of 8 bytes. A message of requests on
 * their way to the leader has the same form as an entry.
 * What was not checked by kddm_entry_check() must not be walked.
 */
#ifndef SSI_KDDM_OP_H
#define SSI_KDDM_OP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kddm.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the log is little endian");

#define KDDM_WIRE_MAGIC	     0x4d44444bu /* "KDDM" */
#define KDDM_WIRE_VERSION    1
#define KDDM_ENTRY_BYTES_MAX (1u << 20)

enum kddm_op_kind {
	KDDM_OP_PUT = 1,
	KDDM_OP_GRAB,
	KDDM_OP_REMOVE,
	/* Membership; value: struct node_info (nodes.h), no key. From node 0 only. */
	KDDM_OP_NODE_JOIN = 16,
	KDDM_OP_NODE_UP,
	KDDM_OP_NODE_DEAD,
	KDDM_OP_NODE_LEAVE,
	KDDM_OP_NODE_LEASE,
};

#define KDDM_REQUEST_ATOMIC 0x01

struct kddm_wire_entry {
	uint32_t magic;
	uint16_t version;
	uint16_t pad;
	uint32_t n_requests;
	uint32_t bytes; /* of the requests */
};

struct kddm_wire_request {
	uint32_t node; /* 0: of the cluster itself, idempotent operations only */
	uint32_t n_ops;
	uint64_t incarnation;
	uint64_t seq;
	uint64_t low;	/* the origin knows the outcome of all below */
	uint32_t bytes; /* of the operations */
	uint32_t flags;
};

struct kddm_wire_op {
	uint8_t kind;
	uint8_t pad;
	uint16_t type;
	uint16_t key_len;
	uint16_t value_len;
	uint32_t owner;
	uint32_t pad2;
	uint64_t expect;
};

/* A growing buffer of records. */
struct kddm_buf {
	char *data;
	size_t len, size;
};
void kddm_buf_free(struct kddm_buf *b);
void *kddm_buf_add(struct kddm_buf *b, size_t len); /* zeroed; never NULL */

/* Append one operation; the caller checked the lengths. */
void kddm_op_encode(struct kddm_buf *b, const struct kddm_wire_op *op, const void *key, const void *value);

/* Start an entry in an empty buffer, add whole requests, close it. */
void kddm_entry_begin(struct kddm_buf *b);
void kddm_entry_add(struct kddm_buf *b, const struct kddm_wire_request *req, const void *ops);
void kddm_entry_end(struct kddm_buf *b);

/* Is this a well-formed entry, to the last byte? 0 or -EPROTO; -EPROTONOSUPPORT
 * for a version of the future. */
int kddm_entry_check(const void *data, size_t len);

/* Walks over checked entries: start with *pos NULL; NULL at the end. */
const struct kddm_wire_request *kddm_request_next(const void *entry, const struct kddm_wire_request *pos);
const struct kddm_wire_op *kddm_op_next(const struct kddm_wire_request *req, const struct kddm_wire_op *pos);
static inline const void *kddm_op_key(const struct kddm_wire_op *op)
{
	return op + 1;
}
static inline const void *kddm_op_value(const struct kddm_wire_op *op)
{
	return (const char *)(op + 1) + ((op->key_len + 7u) & ~7u);
}

#endif
