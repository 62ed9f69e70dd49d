/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The set `nodes`: who the members are. Key: the number (uint32_t). Changed
 * by membership operations only, all of them idempotent; the rules are in
 * nodes.c and are part of the deterministic state machine.
 *
 * A node keeps its number by its name, through death, return and even leaving:
 * numbers stand in data-path tables. `incarnation` names one life of it: its
 * boot and, after it was declared dead while alive, a generation.
 */
#ifndef SSI_NODES_H
#define SSI_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "kddm.h"

#define NODES_TYPE_ID	1
#define NODES_NAME_SIZE 64 /* NUL included */
#define NODES_MAX	1023

enum node_state { NODE_JOINING = 1, NODE_UP, NODE_DEAD, NODE_LEFT };

#define NODE_WITNESS 0x01 /* votes only: no data path, no applications */
#define NODE_SERVES  0x02 /* its data path stands: it may be home for ports */
#define NODE_AWAY    0x04 /* its netd was stopped on purpose, under a longer lease */

struct node_info {
	uint32_t number;
	uint8_t state;	/* enum node_state */
	uint8_t flags;	/* NODE_* */
	uint8_t mac[6]; /* of the cluster interface */
	uint64_t raft_id;
	uint64_t incarnation;
	uint64_t joined_ms;  /* Unix time */
	uint64_t changed_ms; /* last change of state, Unix time */
	uint32_t lease_ms;   /* longest lease that may be granted; 0: the cluster's */
	uint32_t ipv4;	     /* network order, 0 none */
	uint8_t ipv6[16];
	char name[NODES_NAME_SIZE];
	char address[NODES_NAME_SIZE]; /* transport address, see transport.h */
};

extern const struct kddm_type nodes_type;

/* NULL when there is none. Valid until control returns to the loop. */
const struct node_info *nodes_get(struct kddm_set *nodes, uint32_t number);
const struct node_info *nodes_by_name(struct kddm_set *nodes, const char *name);
const struct node_info *nodes_by_raft_id(struct kddm_set *nodes, uint64_t raft_id);
const char *nodes_state_name(uint8_t state);
/* Takes part in the data path: up, no witness. */
bool nodes_in_datapath(const struct node_info *info);
/* A letter or digit, then letters, digits, '-', '.', '_'; at most 63. */
int nodes_name_valid(const char *name);

#endif
