// SPDX-License-Identifier: GPL-2.0
/* `stats`: packets by address and by the reason of their fate, with a sentence each; what each port had. */
#include "datapath_int.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <ssi/dip_reasons.h>

#include "member.h"
#include "userland/lib/dip_names.h"
#include "userland/lib/ipaddr.h"
#include "userland/lib/log.h"

#define STATS_MS 5000

static const char *vip_text(const struct vip *v)
{
	struct ipaddr a = vips_addr(v);

	return ipaddr_text(&a);
}

static json_t *reason_row(int dir, int r, const char *vip, uint64_t packets)
{
	static const char *const dirs[] = {"in", "out"};

	return json_pack("{ss,ss,ss,ss,sI,ss}", "dir", dirs[dir], "vip", vip, "reason", dip_reason_name(r),
			 "verdict", dip_reason_verdict(r), "packets", (json_int_t)packets, "text",
			 dip_reason_text(r));
}

static void add_reasons(json_t *list, const char *vip, const struct dip_stats *s)
{
	for (int d = 0; d < 2; d++)
		for (int r = 0; r < DIP_REASON_COUNT; r++)
			if (s->reason[d][r])
				json_array_append_new(list, reason_row(d, r, vip, s->reason[d][r]));
}

json_t *stats_reasons(struct datapath *dp)
{
	json_t *list = json_array();
	struct dip_stats s;

	if (!dp->bpf)
		return list;
	for (int i = 0; i < DATAPATH_VIPS; i++) {
		const struct vip *v = &dp->vips[i];

		if (v->exposed && !dip_bpf_stats_of(dp->bpf, (unsigned int)v->slot, &s))
			add_reasons(list, vip_text(v), &s);
	}
	if (dip_bpf_stats_of(dp->bpf, DIP_STATS_NO_VIP, &s))
		return list;
	add_reasons(list, "", &s);
	if (s.events_lost)
		json_array_append_new(
			list, json_pack("{ss,ss,ss,ss,sI,ss}", "dir", "", "vip", "", "reason", "EVENTS_LOST",
					"verdict", "", "packets", (json_int_t)s.events_lost, "text",
					"socket events that found the ring full: sockets are read anew"));
	return list;
}

static json_t *port_row(struct datapath *dp, const struct kddm_object *obj)
{
	const struct port_key *k = obj->key;
	const struct vip *v = datapath_ports_vip(dp, k);
	struct dip_port_stats s;
	struct port_value pv;

	if (!v || dip_bpf_port_stats(dp->bpf, (unsigned int)v->slot, k->proto == IPPROTO_UDP, k->port, &s))
		return NULL;
	object_read(obj, &pv, sizeof(pv));
	return json_pack("{ss,ss,si,ss,sI,sI,sI,sI}", "vip", vip_text(v), "proto",
			 k->proto == IPPROTO_UDP ? "udp" : "tcp", "port", (int)k->port, "app", pv.app,
			 "packets_in", (json_int_t)s.packets[DIP_IN], "bytes_in", (json_int_t)s.bytes[DIP_IN],
			 "packets_out", (json_int_t)s.packets[DIP_OUT], "bytes_out",
			 (json_int_t)s.bytes[DIP_OUT]);
}

json_t *stats_ports(struct datapath *dp)
{
	const struct kddm_object *obj;
	json_t *list = json_array(), *row;

	if (!dp->bpf)
		return list;
	kddm_for_each(dp->netd->sets.ports, obj)
	{
		row = port_row(dp, obj);
		if (row)
			json_array_append_new(list, row);
	}
	return list;
}

static void on_stats(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct datapath *dp = arg;
	bool ports = json_is_true(json_object_get(request, "ports"));

	peer_call_answer(call, json_pack("{so}", "stats", ports ? stats_ports(dp) : stats_reasons(dp)));
}

struct stats_request {
	struct ctl_request *ctl;
	bool one; /* a single node was asked for */
};

static void answered(void *arg, json_t *answers)
{
	struct stats_request *r = arg;
	json_t *list = json_array(), *answer, *item;
	const char *node, *error = NULL;
	size_t i;

	json_object_foreach(answers, node, answer)
	{
		error = json_string_value(json_object_get(answer, "error"));
		json_array_foreach(json_object_get(answer, "stats"), i, item)
		{
			json_t *o = json_pack("{ss}", "node", node);

			json_object_update(o, item);
			json_array_append_new(list, o);
		}
	}
	if (error && r->one) {
		ctl_fail(r->ctl, CTL_FAILED, "see `netctl nodes`", "%s", error);
		json_decref(list);
	} else {
		ctl_ok(r->ctl, list);
	}
	free(r);
}

static void cmd_stats(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct datapath *dp = arg;
	bool bad = false;
	const char *node = ctl_arg_string(args, "node", NULL, &bad);
	uint32_t only = node ? member_find(dp->netd->member, node) : 0;
	struct stats_request *r;
	json_t *req;

	if (bad || (node && !only)) {
		ctl_fail(ctl, CTL_FAILED, "`netctl nodes` lists them", "there is no node %s",
			 node ? node : "of that kind");
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		ctl_fail(ctl, CTL_FAILED, "free some memory", "out of memory");
		return;
	}
	r->ctl = ctl;
	r->one = only;
	req = json_pack("{sb}", "ports", ctl_arg_bool(args, "ports", &bad));
	datapath_ask(dp, only, "stats", req, STATS_MS, answered, r);
	json_decref(req);
}

void stats_start(struct datapath *dp)
{
	ctl_register(dp->netd->ctl, "stats", CTL_MEMBER, cmd_stats, dp);
	if (peer_handle(dp->netd->peers, "stats", on_stats, dp))
		log_err("cannot answer the peers about statistics");
}
