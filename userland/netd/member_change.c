// SPDX-License-Identifier: GPL-2.0
/*
 * One step of the raft configuration towards the members; see member_change.h.
 */
#include <stdbool.h>
#include <stdio.h>

#include "member_change.h"

static const struct member_server *server_of(const struct member_server *servers, size_t n_servers,
					     uint64_t id)
{
	for (size_t i = 0; i < n_servers; i++)
		if (servers[i].raft_id == id)
			return &servers[i];
	return NULL;
}

static bool belongs(const struct node_info *info)
{
	return info && info->state != NODE_LEFT;
}

static bool lives(const struct node_info *info)
{
	return info && info->state == NODE_UP;
}

static bool is_witness(const struct node_info *info)
{
	return info && (info->flags & NODE_WITNESS);
}

/* A witness has nothing to do but vote. */
static bool better(const struct node_info *info, const struct node_info *than)
{
	return !than || (is_witness(info) && !is_witness(than));
}

/* 1, 3 or 5: an even number only adds a way to fail. */
static unsigned int voters_for(unsigned int members, unsigned int max)
{
	unsigned int n = members < max ? members : max;

	return n ? n - (n % 2 ? 0 : 1) : 1;
}

struct survey {
	unsigned int members, joining, voters, live_voters;
	const struct node_info *candidate;	 /* live standby: a witness, or the lowest number */
	const struct member_server *dead_voter;	 /* of a dead node, not `self` */
	const struct member_server *spare_voter; /* live, not `self`, the last that is no witness */
	const struct member_server *stranger;	 /* of no node that belongs */
	const struct member_server *spare;	 /* added, not yet replicating */
	const struct node_info *missing;	 /* in no role yet */
};

static void survey_nodes(struct survey *s, struct kddm_set *nodes, const struct member_server *servers,
			 size_t n_servers)
{
	const struct kddm_object *obj;

	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = obj->value;
		const struct member_server *server = server_of(servers, n_servers, info->raft_id);

		s->members += info->state == NODE_UP || info->state == NODE_DEAD;
		s->joining += info->state == NODE_JOINING;
		if (!server && belongs(info) && info->state != NODE_DEAD)
			s->missing = s->missing ? s->missing : info;
		if (server && server->role == MEMBER_STANDBY && lives(info) && better(info, s->candidate))
			s->candidate = info;
	}
}

static void survey_servers(struct survey *s, struct kddm_set *nodes, const struct member_server *servers,
			   size_t n_servers, uint64_t self)
{
	for (size_t i = 0; i < n_servers; i++) {
		const struct member_server *server = &servers[i];
		const struct node_info *info = nodes_by_raft_id(nodes, server->raft_id);

		if (!belongs(info) && server->raft_id != self)
			s->stranger = server;
		if (belongs(info) && server->role == MEMBER_SPARE)
			s->spare = server;
		if (server->role != MEMBER_VOTER)
			continue;
		s->voters++;
		if (lives(info)) {
			s->live_voters++;
			if (server->raft_id != self && !is_witness(info))
				s->spare_voter = server;
		} else if (belongs(info) && server->raft_id != self) {
			s->dead_voter = server;
		}
	}
}

static struct member_change change_of(enum member_change_kind kind, uint64_t id, enum member_role role)
{
	return (struct member_change){.kind = kind, .raft_id = id, .role = role};
}

/*
 * One step towards: every node that belongs is at least a standby; as many
 * voters as the number of members allows, live ones first; nobody else. A dead
 * voter is replaced before it is demoted, and stays where nobody can replace it:
 * fewer voters would only move the danger to another node. A node that is made
 * anew is no member until it is up, but no reason to have fewer voters meanwhile.
 * A witness votes before others do.
 */
struct member_change member_next_change(struct kddm_set *nodes, const struct member_server *servers,
					size_t n_servers, uint64_t self, unsigned int max_voters)
{
	struct survey s = {0};
	unsigned int want, keep;

	survey_nodes(&s, nodes, servers, n_servers);
	survey_servers(&s, nodes, servers, n_servers, self);
	want = voters_for(s.members, max_voters);
	keep = voters_for(s.members + s.joining, max_voters);
	/* A machine made anew has the address of its predecessor, which must go first. */
	if (s.missing && s.stranger)
		return change_of(MEMBER_REMOVE, s.stranger->raft_id, 0);
	if (s.missing) {
		struct member_change c = change_of(MEMBER_ADD, s.missing->raft_id, 0);

		snprintf(c.address, sizeof(c.address), "%s", s.missing->address);
		return c;
	}
	if (s.spare)
		return change_of(MEMBER_ASSIGN, s.spare->raft_id, MEMBER_STANDBY);
	if ((s.live_voters < want || (want > 1 && is_witness(s.candidate) && s.spare_voter)) && s.candidate)
		return change_of(MEMBER_ASSIGN, s.candidate->raft_id, MEMBER_VOTER);
	if (s.stranger)
		return change_of(MEMBER_REMOVE, s.stranger->raft_id, 0);
	if (s.dead_voter && s.voters > keep)
		return change_of(MEMBER_ASSIGN, s.dead_voter->raft_id, MEMBER_STANDBY);
	if (s.live_voters > keep && s.spare_voter)
		return change_of(MEMBER_ASSIGN, s.spare_voter->raft_id, MEMBER_STANDBY);
	return change_of(MEMBER_NO_CHANGE, 0, 0);
}
