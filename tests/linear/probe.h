/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What netd-probe is asked: netd itself with one set more, `probe`, and a socket by which programs of
 * the tests write to it and measure it. The product has neither.
 *
 * The socket is /share/NODE.probe (SOCK_SEQPACKET); a packet is one struct, answers come in any order. Reads
 * are linearizable: netd puts a write that changes nothing into the log and looks when it is applied.
 */
#ifndef SSI_TEST_PROBE_H
#define SSI_TEST_PROBE_H

#include <stddef.h>
#include <stdint.h>

#define PROBE_TYPE_ID 63
#define PROBE_TEXT    40

enum probe_op {
	PROBE_PUT = 1, /* key value expect */
	PROBE_GRAB,    /* the same, and become the owner */
	PROBE_REMOVE,  /* key expect */
	PROBE_READ,    /* key */
	PROBE_LOCAL,   /* key: what this node knows, perhaps of the past */
	PROBE_CLAIMS,  /* n claims, each after the last: acknowledged by another node, by all others */
	PROBE_BATCH,   /* n operations, per_entry in each batch, in_flight batches at a time */
	PROBE_FILL,    /* as BATCH: n objects that look like flows and are this node's */
	PROBE_STATE,   /* how things stand */
	PROBE_CONF,    /* key value: a setting of the cluster */
	PROBE_CLEAR,   /* remove all objects */
};

struct probe_request {
	uint64_t id;
	uint32_t op;
	uint32_t n, per_entry, in_flight;
	uint64_t expect;
	char key[PROBE_TEXT], value[PROBE_TEXT];
};

struct probe_state {
	uint32_t self, leader, live, voters;
	uint64_t objects, applied;
	uint64_t removed_ns; /* CLOCK_MONOTONIC of the last removal of an object */
	uint64_t leader_ns;  /* since when `leader` leads, as seen here */
	uint32_t lease_ms, ready;
};

struct probe_answer {
	uint64_t id;
	int32_t status;		   /* as in kddm.h */
	int32_t result;		   /* of the operation */
	uint64_t version, took_ns; /* version: of the object, after the operation and perhaps later ones */
	struct probe_state state;
	char value[PROBE_TEXT]; /* the object's, together with `version` */
};

/* /share/NODE.claims after PROBE_CLAIMS: one for each. */
struct probe_claim {
	uint64_t applied_ns; /* committed, and applied where it was made */
	uint64_t home_ns;    /* another node (each in turn) has acknowledged that it applied it, too */
	uint64_t all_ns;     /* every node has */
};

/* ---- the client's side (probe_call.c) ---- */
uint64_t probe_now_ns(void);
/* A connected socket, nonblocking when asked; -1 with errno. */
int probe_connect(const char *path, int nonblocking);
/* One question, one answer. 0, or -1: the connection is gone. */
int probe_call(int fd, const struct probe_request *req, struct probe_answer *out);

#endif
