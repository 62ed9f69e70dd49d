/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The engine's messages as they travel between nodes. The form is the one that
 * libraft's own transport has on the wire, so that nodes which still use that
 * and nodes which use this understand each other. Pure: no I/O.
 *
 *	preamble	u64: type, 0, version, 0, 0, 0, 0, 0; u64: bytes of the head
 *	head		see kddm_message.c; ends with what is called `head` there
 *	payload		data of the entries, one after the other, or of the snapshot
 *
 * Little endian. Version, sizes, counts, flags, unused bytes and configurations
 * are checked to the last byte, and of terms and indices what no log can have: the engine
 * would end on it. What else the numbers mean is for the engine to judge.
 */
#ifndef SSI_KDDM_MESSAGE_H
#define SSI_KDDM_MESSAGE_H

#include <raft.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kddm_op.h"

#define KDDM_MESSAGE_PREAMBLE	 16
#define KDDM_MESSAGE_HEAD_MAX	 65536
#define KDDM_MESSAGE_PAYLOAD_MAX (512u << 20)

/* Append preamble, head and payload. False: it does not keep to the limits, nothing is appended. */
bool kddm_message_encode(struct kddm_buf *out, const struct raft_message *m);

/* What comes out of one connection, in pieces of any size. */
struct kddm_message_reader {
	struct kddm_buf head; /* preamble and head, as far as they came */
	size_t whole;	      /* bytes of both, 0: not known yet */
	char *payload;	      /* raft_malloc(); as much as came, not as much as was announced */
	size_t payload_len, have, room;
	struct raft_message message; /* its head is complete when `whole` came */
};
/*
 * A message without server_id and server_address (borrowed). Its entries with their
 * one batch, or its configuration and data, are the callee's, as the engine's
 * receive callback wants them. False: stop reading, the reader may be gone.
 */
typedef bool kddm_message_fn(void *arg, struct raft_message *m);
/* 0 or -EPROTO: nothing that follows can be understood. */
int kddm_message_read(struct kddm_message_reader *r, const void *data, size_t len, kddm_message_fn *take,
		      void *arg);
/* The rest of a message is still to come. */
static inline bool kddm_message_is_begun(const struct kddm_message_reader *r)
{
	return r->head.len > 0;
}
void kddm_message_reader_free(struct kddm_message_reader *r);
/* What a taker owns and does not hand on. */
void kddm_message_clear(struct raft_message *m);

#endif
