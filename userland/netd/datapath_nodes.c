// SPDX-License-Identifier: GPL-2.0
/*
 * The set `nodes` in the tables: homes are spread over the nodes that serve
 * (up, and their programs loaded), and each node's MAC on the segment of the cluster addresses is known, so that
 * a packet can be sent on to it. A node pushes its own MAC to the others.
 */
#include "datapath_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "userland/lib/log.h"

#define PUSH_MS 2000

static struct kddm_set *nodes_set(const struct datapath *dp)
{
	return kddm_set_by_id(dp->netd->kddm, NODES_TYPE_ID);
}

const char *datapath_node_name(const struct datapath *dp, uint32_t number)
{
	const struct node_info *info = nodes_get(nodes_set(dp), number);

	return info ? info->name : "?";
}

static bool any_mac(const uint8_t mac[6])
{
	static const uint8_t none[6];

	return memcmp(mac, none, sizeof(none));
}

/* What the peer has told stays; before that the MAC of its cluster interface. */
static void peer_apply(struct datapath *dp, const struct node_info *info)
{
	struct dip_mem *mem = dip_bpf_mem(dp->bpf);
	uint8_t mac[6];
	int err = 0;

	if (info->state != NODE_UP)
		err = dip_peer_set(mem, info->number, NULL);
	else if (any_mac(info->mac) && dip_peer_get(mem, info->number, mac))
		err = dip_peer_set(mem, info->number, info->mac);
	if (err)
		log_err("no room for the MAC of node %s: %s", info->name, strerror(-err));
}

void datapath_nodes_apply(struct datapath *dp)
{
	struct kddm_set *set = nodes_set(dp);
	const struct kddm_object *obj;
	uint16_t live[NODES_MAX], serving[NODES_MAX];
	size_t n = 0, n_serving = 0;

	if (!dp->synced || !dp->bpf)
		return;
	kddm_for_each(set, obj)
	{
		const struct node_info *info = nodes_get(set, *(const uint32_t *)obj->key);

		if (!info || !info->number || info->number > NODES_MAX)
			continue;
		peer_apply(dp, info);
		if (!nodes_in_datapath(info) || (dp->behind && info->number == datapath_self(dp)))
			continue;
		live[n++] = info->number;
		if (info->flags & NODE_SERVES)
			serving[n_serving++] = info->number;
	}
	/* While nobody has said that it can answer, all are as good. */
	if (n_serving)
		dip_homes_set(dip_bpf_mem(dp->bpf), serving, n_serving);
	else
		dip_homes_set(dip_bpf_mem(dp->bpf), live, n);
	datapath_nodes_push(dp);
}

void datapath_behind(struct datapath *dp, bool behind)
{
	dp->behind = behind;
	datapath_nodes_apply(dp);
}

/* ---- MACs -------------------------------------------------------------------- */
static bool own_mac(const struct datapath *dp, uint8_t mac[6])
{
	for (int i = 0; i < DATAPATH_VIPS; i++) {
		if (!dp->vips[i].exposed)
			continue;
		memcpy(mac, dp->vips[i].link.mac, 6);
		return true;
	}
	return false;
}

static void pushed(void *arg, json_t *answers)
{
	struct datapath *dp = arg;
	const char *name;
	json_t *answer;

	json_object_foreach(answers, name, answer) if (json_object_get(answer, "error"))
		dp->push_pending = true;
}

void datapath_nodes_push(struct datapath *dp)
{
	uint8_t mac[6];
	char text[18];
	json_t *req;

	if (!dp->bpf || !own_mac(dp, mac))
		return;
	dip_peer_set(dip_bpf_mem(dp->bpf), datapath_self(dp), mac);
	dp->push_pending = false;
	memcpy(dp->pushed_mac, mac, sizeof(mac));
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	req = json_pack("{ss}", "mac", text);
	datapath_ask(dp, 0, "vip-mac", req, PUSH_MS, pushed, dp);
	json_decref(req);
}

static void on_mac(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	const char *text = json_string_value(json_object_get(request, "mac"));
	struct datapath *dp = arg;
	uint8_t mac[6];

	if (!text || sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
			    &mac[4], &mac[5]) != 6) {
		peer_call_answer(call, json_pack("{ss,si}", "error", "no MAC address", "code", CTL_USAGE));
		return;
	}
	/* Not loaded: no cluster address here yet. The peer asks again until it is. */
	if (!dp->bpf || dip_peer_set(dip_bpf_mem(dp->bpf), from, mac)) {
		peer_call_answer(call, json_pack("{ss,si}", "error", "not now", "code", CTL_FAILED));
		return;
	}
	peer_call_answer(call, json_object());
}

/* ---- linker -------------------------------------------------------------------- */
static void changed_insert(void *arg, const struct kddm_object *obj)
{
	datapath_nodes_apply(arg);
}

static void changed_update(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	const struct node_info *was = old->value, *is = obj->value;
	static const struct node_info none;

	if (old->value_len < sizeof(none) || obj->value_len < sizeof(none) || was->state != is->state ||
	    ((was->flags ^ is->flags) & NODE_SERVES) || memcmp(was->mac, is->mac, 6))
		datapath_nodes_apply(arg);
}

static void changed_remove(void *arg, const struct kddm_object *old)
{
	const struct node_info *was = old->value;
	struct datapath *dp = arg;

	if (dp->synced && dp->bpf)
		dip_peer_set(dip_bpf_mem(dp->bpf), was->number, NULL);
	datapath_nodes_apply(dp);
}

static void changed_reset(void *arg)
{
	datapath_nodes_apply(arg);
}

static const struct kddm_linker linker = {
	.insert = changed_insert,
	.update = changed_update,
	.remove = changed_remove,
	.reset = changed_reset,
};

void datapath_nodes_start(struct datapath *dp)
{
	if (kddm_link(nodes_set(dp), &linker, dp) || peer_handle(dp->netd->peers, "vip-mac", on_mac, dp))
		datapath_set_error(dp, "cannot follow the nodes of the cluster");
}
