/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Links between nodes below peer.h: framed messages both ways over one
 * authenticated stream, made on demand by whoever has something to say.
 *
 * Frame: struct peer_frame, payload, zeros up to 8 bytes; little endian.
 * A link that says nothing for PEER_SILENCE_MS though it is pinged is dropped.
 */
#ifndef SSI_PEER_INT_H
#define SSI_PEER_INT_H

#include <stddef.h>
#include <uv.h>

#include "peer.h"
#include "secure.h"

#define PEER_FRAME_MAX	(2u << 20)
#define PEER_QUEUE_MAX	(64u << 20)
#define PEER_PING_MS	1000
#define PEER_SILENCE_MS 4000
#define PEER_PARTIAL_MS 10000 /* for the rest of a frame */

enum peer_type {
	PEER_CALL = 1,
	PEER_ANSWER,
	PEER_PING,
	PEER_PONG,
	PEER_BINARY = 16, /* from here on: peers_params.message */
	PEER_KDDM_REQUESTS = PEER_BINARY,
	PEER_ASK_APPLIED, /* id: the asker's; payload: uint64_t index */
	PEER_TELL_APPLIED,
	PEER_LEASE_RENEW, /* payload: struct lease_renew (lease.h) */
	PEER_LEASE_GRANT, /* payload: struct lease_grant */
	PEER_ROUND,	  /* id: round; payload: uint64_t term */
	PEER_ROUND_ACK,	  /* id: round; payload: uint64_t term of the answering node */
	PEER_STORED,	  /* by the leader, id: last entry on its disk; payload: uint64_t term */
	PEER_TYPE_END,
};

struct peer_frame {
	uint32_t len; /* of the payload, without padding */
	uint8_t type;
	uint8_t version;
	uint16_t pad;
	uint64_t id;
};

struct peers_params {
	uv_loop_t *loop;
	/* Transport address of a node, or NULL: not a member. */
	const char *(*address)(void *arg, uint32_t node);
	/* Fields every hello has (cluster, node); new reference. */
	json_t *(*hello)(void *arg, const char *purpose);
	/* A binary message; payload 8-byte aligned, valid during the call. */
	void (*message)(void *arg, uint32_t from, uint8_t type, uint64_t id, const void *data, size_t len);
	/* The first link to the node is there, or the last one is gone. */
	void (*link)(void *arg, uint32_t node, bool up);
	/* A connection of ours was refused; `reply` says why, or is NULL. */
	void (*refused)(void *arg, uint32_t node, json_t *reply);
	void *arg;
};

int peers_new(const struct peers_params *p, struct peers **out);
/* Handlers stay, links go: between leaving one cluster and joining another. */
void peers_start(struct peers *p, struct secure *secure);
void peers_identify(struct peers *p, uint32_t self);
void peers_stop(struct peers *p);
void peers_free(struct peers *p);

/* 0 or negative: certainly not sent. */
int peers_send(struct peers *p, uint32_t node, uint8_t type, uint64_t id, const void *data, size_t len);
/* The dispatcher got a hello of purpose "peer" or "stream" from node `from`. */
void peers_hello_link(struct peers *p, struct secure_conn *c, uint32_t from);
void peers_hello_stream(struct peers *p, struct secure_conn *c, uint32_t from, json_t *hello);

/* A log line about a node that does not keep to the rules; `what` is static. */
void peers_complain(struct peers *p, uint32_t node, const char *what);

void peers_flush(struct peers *p); /* before the loop sleeps */
void peers_tick(struct peers *p);
/* A new link beside the one there is, to whom we are linked: it is authenticated anew. */
void peers_renew(struct peers *p);
bool peers_linked(const struct peers *p, uint32_t node);
void peers_drop(struct peers *p, uint32_t node);	  /* declared dead: links and calls end */
int64_t peers_latency_us(struct peers *p, uint32_t node); /* -1 unknown */

#endif
