/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the raft configuration should become next, given who the members are.
 * Pure; the leader asks again after each change until there is none.
 */
#ifndef SSI_MEMBER_CHANGE_H
#define SSI_MEMBER_CHANGE_H

#include "nodes.h"

/* A spare is in the configuration but receives nothing yet. */
enum member_role { MEMBER_SPARE, MEMBER_STANDBY, MEMBER_VOTER };

struct member_server {
	uint64_t raft_id;
	enum member_role role;
};

enum member_change_kind { MEMBER_NO_CHANGE, MEMBER_ADD, MEMBER_ASSIGN, MEMBER_REMOVE };

struct member_change {
	enum member_change_kind kind;
	uint64_t raft_id;
	enum member_role role;
	char address[NODES_NAME_SIZE]; /* MEMBER_ADD */
};

/* `self` (raft id) is the leader: it neither removes nor demotes itself. */
struct member_change member_next_change(struct kddm_set *nodes, const struct member_server *servers,
					size_t n_servers, uint64_t self, unsigned int max_voters);

#endif
