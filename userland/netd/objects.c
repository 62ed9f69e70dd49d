// SPDX-License-Identifier: GPL-2.0
/*
 * The sets vips, ports, apps, moves, blocks, flows: registration, and what the death of a node
 * means for each. The rules run inside one log entry on every node, in the
 * order ports, apps, moves, so each may still read the move record as it was.
 */
#include "objects.h"
#include "nodes.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

void object_read(const struct kddm_object *obj, void *dst, size_t size)
{
	size_t n = obj->value_len < size ? obj->value_len : size;

	memcpy(dst, obj->value, n);
	memset((char *)dst + n, 0, size - n);
}

static bool vip_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct vip_key *k = key;
	const struct vip_value *v = value;

	return key_len == sizeof(*k) && value_len >= sizeof(*v) && (k->family == 4 || k->family == 6) &&
	       v->index < 16 && v->prefix <= (k->family == 4 ? 32 : 128) &&
	       memchr(v->devs, 0, sizeof(v->devs));
}

static bool port_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct port_key *k = key;
	const struct port_value *v = value;

	return key_len == sizeof(*k) && value_len >= offsetof(struct port_value, addr6) &&
	       (k->proto == IPPROTO_TCP || k->proto == IPPROTO_UDP) &&
	       (k->vip < 16 || k->vip == PORT_VIP_LOCAL) && v->node &&
	       (v->state == PORT_OWNED || (v->state == PORT_HOLD && v->next)) &&
	       memchr(v->app, 0, sizeof(v->app));
}

static bool name_valid(const void *key, size_t key_len)
{
	return key_len > 0 && key_len < APP_NAME_MAX && !memchr(key, 0, key_len);
}

static bool app_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct app_value *v = value;

	return name_valid(key, key_len) && value_len >= sizeof(*v) && v->node && v->state >= APP_STARTING &&
	       v->state <= APP_MOVING && memchr(v->cmd, 0, sizeof(v->cmd));
}

static bool move_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct move_value *v = value;

	return name_valid(key, key_len) && value_len >= sizeof(*v) && v->src && v->dst && v->src != v->dst &&
	       v->step >= MOVE_PREPARED && v->step <= MOVE_ABORTED && memchr(v->reason, 0, sizeof(v->reason));
}

static bool block_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct block_key *k = key;
	const struct block_value *v = value;

	return key_len == sizeof(*k) && value_len >= sizeof(*v) && k->number < BLOCKS && v->node;
}

static bool flow_valid(const void *key, size_t key_len, const void *value, size_t value_len)
{
	const struct flow_key *k = key;
	const struct flow_value *v = value;

	return key_len == sizeof(*k) && value_len >= offsetof(struct flow_value, until_ms) && k->vip < 16 &&
	       (k->family == 4 || k->family == 6) && !k->pad && (v->node || value_len >= sizeof(*v)) &&
	       memchr(v->app, 0, sizeof(v->app));
}

/* The move of an application, as it stands; false when there is none. */
static bool move_of(struct kddm *k, const char *app, size_t len, struct move_value *out)
{
	const struct kddm_object *obj;

	obj = len ? kddm_find(kddm_set_by_id(k, OBJECT_MOVES), app, len) : NULL;
	if (!obj)
		return false;
	object_read(obj, out, sizeof(*out));
	return true;
}

/* A whole image at a living target is the copy that is left when the source dies. */
static bool inherits(const struct move_value *m, uint32_t dead)
{
	return m->src == dead && m->step == MOVE_IMAGE_COMPLETE;
}

/* What people gave to a node waits until it comes back, or left for good. */
static bool keep_pin(struct kddm *k, const struct kddm_object *obj, const struct port_value *v)
{
	const struct node_info *node = nodes_get(kddm_set_by_id(k, NODES_TYPE_ID), v->node);

	if (!(v->flags & PORT_PINNED) || !node || node->state == NODE_LEFT)
		return false;
	if (obj->owner)
		kddm_apply_put(k, OBJECT_PORTS, obj->key, obj->key_len, v, sizeof(*v), 0);
	return true;
}

static void port_on_death(struct kddm *k, const struct kddm_object *obj, uint32_t dead)
{
	struct port_value v;
	struct move_value m;

	object_read(obj, &v, sizeof(v));
	if (v.state == PORT_HOLD && v.next == dead && v.node != dead) {
		v.state = PORT_OWNED;
		v.next = 0;
		kddm_apply_put(k, OBJECT_PORTS, obj->key, obj->key_len, &v, sizeof(v), v.node);
		return;
	}
	if (v.flags & PORT_PINNED ? v.node != dead || keep_pin(k, obj, &v) : obj->owner != dead)
		return;
	if (v.state == PORT_HOLD && move_of(k, v.app, strnlen(v.app, sizeof(v.app)), &m) &&
	    inherits(&m, dead)) {
		v.node = m.dst;
		v.next = 0;
		v.state = PORT_OWNED;
		v.pid = 0;
		kddm_apply_put(k, OBJECT_PORTS, obj->key, obj->key_len, &v, sizeof(v), m.dst);
		return;
	}
	kddm_apply_remove(k, OBJECT_PORTS, obj->key, obj->key_len);
}

static void app_on_death(struct kddm *k, const struct kddm_object *obj, uint32_t dead)
{
	struct app_value v;
	struct move_value m;
	bool moving = move_of(k, obj->key, obj->key_len, &m);

	object_read(obj, &v, sizeof(v));
	if (moving && m.dst == dead && m.step < MOVE_FLIPPED) {
		v.state = APP_RUNNING;
		kddm_apply_put(k, OBJECT_APPS, obj->key, obj->key_len, &v, sizeof(v), v.node);
		return;
	}
	if (obj->owner != dead)
		return;
	if (moving && inherits(&m, dead)) {
		v.node = m.dst;
		v.pid = 0;
		v.state = APP_RUNNING;
		kddm_apply_put(k, OBJECT_APPS, obj->key, obj->key_len, &v, sizeof(v), m.dst);
		return;
	}
	kddm_apply_remove(k, OBJECT_APPS, obj->key, obj->key_len);
}

static void move_on_death(struct kddm *k, const struct kddm_object *obj, uint32_t dead)
{
	struct move_value m;

	object_read(obj, &m, sizeof(m));
	if (m.dst == dead) {
		if (m.step == MOVE_FLIPPED) /* the application died with the target */
			kddm_apply_remove(k, OBJECT_MOVES, obj->key, obj->key_len);
		if (m.step >= MOVE_FLIPPED)
			return;
		m.step = MOVE_ABORTED;
		strcpy(m.reason, "the target node died");
		kddm_apply_put(k, OBJECT_MOVES, obj->key, obj->key_len, &m, sizeof(m), m.src);
	} else if (m.src == dead) {
		if (!inherits(&m, dead) && m.step != MOVE_FLIPPED) {
			kddm_apply_remove(k, OBJECT_MOVES, obj->key, obj->key_len);
			return;
		}
		/* The target has nobody to clean up behind it: it ends the record. */
		m.step = MOVE_FLIPPED;
		strcpy(m.reason, "the source node died");
		kddm_apply_put(k, OBJECT_MOVES, obj->key, obj->key_len, &m, sizeof(m), m.dst);
	}
}

static const struct kddm_type vips_type = {
	.id = OBJECT_VIPS,
	.name = "vips",
	.key_len = sizeof(struct vip_key),
	.valid = vip_valid,
};

static const struct kddm_type ports_type = {
	.id = OBJECT_PORTS,
	.name = "ports",
	.key_len = sizeof(struct port_key),
	.on_death = port_on_death,
	.on_death_any = true,
	.valid = port_valid,
};

static const struct kddm_type apps_type = {
	.id = OBJECT_APPS,
	.name = "apps",
	.on_death = app_on_death,
	.on_death_any = true,
	.valid = app_valid,
};

static const struct kddm_type moves_type = {
	.id = OBJECT_MOVES,
	.name = "moves",
	.on_death = move_on_death,
	.on_death_any = true,
	.valid = move_valid,
};

static const struct kddm_type blocks_type = {
	.id = OBJECT_BLOCKS,
	.name = "blocks",
	.key_len = sizeof(struct block_key),
	.valid = block_valid,
};

static const struct kddm_type flows_type = {
	.id = OBJECT_FLOWS,
	.name = "flows",
	.key_len = sizeof(struct flow_key),
	.valid = flow_valid,
};

int objects_register(struct kddm *k, struct objects *out)
{
	int err;

	err = kddm_set_register(k, &vips_type, &out->vips);
	if (!err)
		err = kddm_set_register(k, &ports_type, &out->ports);
	if (!err)
		err = kddm_set_register(k, &apps_type, &out->apps);
	if (!err)
		err = kddm_set_register(k, &moves_type, &out->moves);
	if (!err)
		err = kddm_set_register(k, &blocks_type, &out->blocks);
	if (!err)
		err = kddm_set_register(k, &flows_type, &out->flows);
	return err;
}
