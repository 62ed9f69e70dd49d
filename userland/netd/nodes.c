// SPDX-License-Identifier: GPL-2.0
/*
 * Rules of the set `nodes`; see nodes.h. nodes_apply() is part of the
 * deterministic state machine: it looks at nothing but state and operation.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "kddm_fsm.h"
#include "nodes.h"

/* Numbers are places in arrays. */
static bool node_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct node_info *info = value;

	return value_len >= sizeof(*info) && key_len == sizeof(info->number) &&
	       !memcmp(key, &info->number, key_len) && info->number && info->number <= NODES_MAX &&
	       info->state >= NODE_JOINING && info->state <= NODE_LEFT && info->raft_id &&
	       memchr(info->name, 0, sizeof(info->name)) && memchr(info->address, 0, sizeof(info->address));
}

const struct kddm_type nodes_type = {
	.id = NODES_TYPE_ID,
	.name = "nodes",
	.key_len = sizeof(uint32_t),
	.valid = node_valid,
};

_Static_assert(sizeof(struct node_info) == 200, "node_info is on the wire");

const struct node_info *nodes_get(struct kddm_set *nodes, uint32_t number)
{
	const struct kddm_object *obj = kddm_find(nodes, &number, sizeof(number));

	return obj && obj->value_len >= sizeof(struct node_info) ? obj->value : NULL;
}

const struct node_info *nodes_by_name(struct kddm_set *nodes, const char *name)
{
	const struct kddm_object *obj;

	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (!strcmp(info->name, name))
			return info;
	}
	return NULL;
}

const struct node_info *nodes_by_raft_id(struct kddm_set *nodes, uint64_t raft_id)
{
	const struct kddm_object *obj;

	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->raft_id == raft_id)
			return info;
	}
	return NULL;
}

const char *nodes_state_name(uint8_t state)
{
	static const char *const names[] = {"?", "joining", "up", "dead", "left"};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : names[0];
}

bool nodes_in_datapath(const struct node_info *info)
{
	return info->state == NODE_UP && !(info->flags & NODE_WITNESS);
}

int nodes_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= NODES_NAME_SIZE || !isalnum((unsigned char)name[0]))
		return 0;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-._", name[i]))
			return 0;
	return 1;
}

static void store(struct kddm_fsm *f, const struct node_info *info)
{
	kddm_fsm_put(f, f->nodes, &info->number, sizeof(info->number), info, sizeof(*info), 0);
}

/* The smallest number that nobody has; 0 when all are taken. Keys are little
 * endian, so the set's order is not the numbers'. */
static uint32_t free_number(struct kddm_fsm *f)
{
	for (uint32_t n = 1; n <= NODES_MAX; n++)
		if (!nodes_get(f->nodes, n))
			return n;
	return 0;
}

static int apply_join(struct kddm_fsm *f, const struct node_info *info)
{
	const struct node_info *old = nodes_by_name(f->nodes, info->name);
	const struct node_info *same = nodes_by_raft_id(f->nodes, info->raft_id);
	struct node_info new = *info;

	if (!nodes_name_valid(info->name) || !info->raft_id)
		return -EINVAL;
	if (same && same != old) /* a vote of one would be taken for the other's */
		return -ENOTUNIQ;
	if (old && old->state == NODE_UP)
		return old->raft_id == info->raft_id ? 0 : -EEXIST;
	new.number = old ? old->number : free_number(f);
	if (!new.number)
		return -ENOSPC;
	if (old)
		kddm_fsm_purge(f, old->number);
	new.state = NODE_JOINING;
	new.flags &= NODE_WITNESS;
	new.lease_ms = 0;
	store(f, &new);
	return 0;
}

/* A life begins, or a netd of the same life returns or says whether it serves. */
static int apply_up(struct kddm_fsm *f, const struct node_info *info)
{
	const struct node_info *old = nodes_get(f->nodes, info->number);
	struct node_info new;

	if (!old || old->state == NODE_LEFT)
		return -ENOENT;
	if (old->raft_id != info->raft_id || !info->incarnation)
		return -ESTALE;
	if (old->state == NODE_DEAD && old->incarnation == info->incarnation)
		return -ESTALE;
	if (old->incarnation != info->incarnation)
		kddm_fsm_purge(f, old->number);
	new = *old;
	new.changed_ms = old->state == NODE_UP && old->incarnation == info->incarnation ? old->changed_ms
											: info->changed_ms;
	new.state = NODE_UP;
	new.flags &= NODE_WITNESS;
	if (old->state == NODE_UP && old->incarnation == info->incarnation)
		new.flags = (old->flags & ~NODE_SERVES) | (info->flags & NODE_SERVES);
	new.incarnation = info->incarnation;
	memcpy(new.mac, info->mac, sizeof(new.mac));
	memcpy(new.ipv6, info->ipv6, sizeof(new.ipv6));
	new.ipv4 = info->ipv4;
	if (memcmp(&new, old, sizeof(new)))
		store(f, &new);
	return 0;
}

static int apply_dead(struct kddm_fsm *f, const struct node_info *info)
{
	const struct node_info *old = nodes_get(f->nodes, info->number);
	struct node_info new;

	if (!old || old->state != NODE_UP || old->incarnation != info->incarnation)
		return -ESTALE;
	new = *old;
	new.state = NODE_DEAD;
	new.flags &= NODE_WITNESS;
	new.lease_ms = 0;
	new.changed_ms = info->changed_ms;
	store(f, &new);
	kddm_fsm_purge(f, info->number);
	return 0;
}

static int apply_leave(struct kddm_fsm *f, const struct node_info *info)
{
	const struct node_info *old = nodes_get(f->nodes, info->number);
	struct node_info new;

	if (!old)
		return -ENOENT;
	if (old->state == NODE_LEFT)
		return 0;
	new = *old;
	new.state = NODE_LEFT;
	new.flags = 0;
	new.lease_ms = 0;
	new.changed_ms = info->changed_ms;
	store(f, &new);
	kddm_fsm_purge(f, info->number);
	return 0;
}

static int apply_lease(struct kddm_fsm *f, const struct node_info *info)
{
	const struct node_info *old = nodes_get(f->nodes, info->number);
	struct node_info new;

	if (!old || old->state != NODE_UP || old->incarnation != info->incarnation)
		return -ESTALE;
	if (old->lease_ms == info->lease_ms && !((old->flags ^ info->flags) & NODE_AWAY))
		return 0;
	new = *old;
	new.lease_ms = info->lease_ms;
	new.flags = (old->flags & ~NODE_AWAY) | (info->flags & NODE_AWAY);
	store(f, &new);
	return 0;
}

int nodes_apply(struct kddm_fsm *f, uint8_t kind, const struct node_info *info)
{
	switch (kind) {
	case KDDM_OP_NODE_JOIN:
		return apply_join(f, info);
	case KDDM_OP_NODE_UP:
		return apply_up(f, info);
	case KDDM_OP_NODE_DEAD:
		return apply_dead(f, info);
	case KDDM_OP_NODE_LEAVE:
		return apply_leave(f, info);
	case KDDM_OP_NODE_LEASE:
		return apply_lease(f, info);
	default:
		return -EINVAL;
	}
}
