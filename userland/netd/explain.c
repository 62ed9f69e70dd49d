// SPDX-License-Identifier: GPL-2.0
/*
 * `explain`: what becomes of a packet, and why. Each living node runs the very
 * dip_steer() of its programs on its very tables; the node that takes the
 * packet also looks at what lies behind: listener, way back, firewall.
 */
#include "datapath_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ssi/dip_steer.h>

#include "claims_int.h"
#include "explain_host.h"
#include "flow_arg.h"
#include "member.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/dip_names.h"
#include "userland/lib/log.h"

#define EXPLAIN_MS 5000

/* ---- one node's view ------------------------------------------------------------------ */
static uint64_t now_jiffies(struct datapath *dp)
{
	struct timespec ts;
	uint64_t jiffies = 0;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (dip_bpf_jiffies(dp->bpf, ts.tv_sec * 1000000000ull + ts.tv_nsec, &jiffies))
		return UINT64_MAX; /* no clock: as if the lease had run out */
	return jiffies;
}

static struct dip_result steer(struct datapath *dp, const struct flow_arg *q)
{
	struct dip_mem *mem = dip_bpf_mem(dp->bpf);
	struct dip_tables t = {mem->conf, mem->ports, mem->flows, mem->flow_mask};
	struct dip_flow f = {
		.raddr = ipaddr_dip(&q->client),
		.laddr = ipaddr_dip(&q->vip),
		.rport = htons(q->client_port),
		.lport = htons(q->port),
		.family = q->vip.family,
		.proto = q->proto,
		.flags = DIP_F_ADDR,
	};

	return dip_steer(&t, &f, now_jiffies(dp));
}

static void on_explain(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct datapath *dp = arg;
	struct dip_result r = {DIP_PASS, DIP_R_NOT_VIP, 0, 0};
	const struct vip *v;
	struct flow_arg q;
	json_t *o;

	if (flow_arg_parse(request, &q)) {
		peer_call_answer(call,
				 json_pack("{ss,si}", "error", "malformed request", "code", CTL_FAILED));
		return;
	}
	if (dp->bpf)
		r = steer(dp, &q);
	o = json_pack("{ss,ss,ss,ss}", "verdict", dip_verdict_name(r.verdict), "reason",
		      dip_reason_name(r.reason), "text", dip_reason_text(r.reason), "for",
		      r.node ? datapath_node_name(dp, r.node) : "");
	v = vips_find(dp, &q.vip);
	if (v && v->exposed && (r.verdict == DIP_ACCEPT || r.verdict == DIP_HOLD))
		json_object_set_new(o, "checks",
				    explain_host(dp, v, &q.client, q.proto, q.port, r.reason == DIP_R_HOME));
	peer_call_answer(call, o);
}

/* ---- all views together ------------------------------------------------------------------ */
struct explain_request {
	struct datapath *dp;
	struct ctl_request *ctl;
	struct flow_arg q;
};

/* The answer that decides: who accepts, else who queues, else our own. */
static const char *deciding(json_t *answers, const char *own, json_t **out)
{
	static const char *const order[] = {"ACCEPT", "HOLD", "FORWARD"};
	const char *node;
	json_t *answer;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		json_object_foreach(answers, node, answer)
		{
			const char *verdict = json_string_value(json_object_get(answer, "verdict"));

			if (verdict && !strcmp(verdict, order[i])) {
				*out = answer;
				return node;
			}
		}
	}
	*out = json_object_get(answers, own);
	return "";
}

/* The claim of the port on the address, else that of a server which nobody reaches: on the loopback only. */
static const struct kddm_object *claim_of(struct datapath *dp, const struct flow_arg *q)
{
	const struct vip *v = vips_find(dp, &q->vip);
	struct port_key k = {.vip = v ? v->value.index : PORT_VIP_LOCAL, .proto = q->proto, .port = q->port};
	const struct kddm_object *obj = v ? kddm_find(dp->netd->sets.ports, &k, sizeof(k)) : NULL;

	if (obj)
		return obj;
	kddm_for_each(dp->netd->sets.ports, obj)
	{
		const struct port_key *has = obj->key;

		if (has->vip == PORT_VIP_LOCAL && has->proto == q->proto && has->port == q->port)
			return obj;
	}
	return NULL;
}

static void add_claim(struct datapath *dp, const struct flow_arg *q, json_t *o)
{
	static const char *const fields[] = {"app", "pid", "comm", "addr", "state"};
	const struct kddm_object *obj = claim_of(dp, q);
	json_t *claim;

	if (!obj)
		return;
	claim = claims_port_json(dp->netd, obj);
	json_object_set(o, "owner", json_object_get(claim, "node"));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		json_object_set(o, fields[i], json_object_get(claim, fields[i]));
	json_decref(claim);
}

static json_t *views(json_t *answers)
{
	json_t *list = json_array(), *answer;
	const char *node;

	json_object_foreach(answers, node, answer)
	{
		json_t *o = json_pack("{ss}", "node", node);

		json_object_update(o, answer);
		json_object_del(o, "checks");
		json_array_append_new(list, o);
	}
	return list;
}

static void answered(void *arg, json_t *answers)
{
	struct explain_request *r = arg;
	const char *own = datapath_node_name(r->dp, datapath_self(r->dp)), *node;
	json_t *answer = NULL, *o;

	node = deciding(answers, own, &answer);
	o = json_pack("{ss,si,ss,si,ss,ss}", "client", ipaddr_text(&r->q.client), "client_port",
		      r->q.client_port, "vip", ipaddr_text(&r->q.vip), "port", r->q.port, "proto",
		      r->q.proto == IPPROTO_UDP ? "udp" : "tcp", "node", node);
	json_object_update_missing(o, answer);
	json_object_del(o, "for");
	if (!json_object_get(o, "checks"))
		json_object_set_new(o, "checks", json_array());
	add_claim(r->dp, &r->q, o);
	json_object_set_new(o, "nodes", views(answers));
	ctl_ok(r->ctl, json_pack("[o]", o));
	free(r);
}

static void cmd_explain(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct explain_request *r;
	struct flow_arg q;

	if (!flow_arg_take(arg, ctl, args, "usage: netctl explain CLIENT[:PORT] VIP:PORT [tcp|udp]", &q))
		return;
	r = calloc(1, sizeof(*r));
	if (!r) {
		ctl_fail(ctl, CTL_FAILED, "free some memory", "out of memory");
		return;
	}
	*r = (struct explain_request){.dp = arg, .ctl = ctl, .q = q};
	datapath_ask(r->dp, 0, "explain", args, EXPLAIN_MS, answered, r);
}

void explain_start(struct datapath *dp)
{
	ctl_register(dp->netd->ctl, "explain", CTL_MEMBER, cmd_explain, dp);
	if (peer_handle(dp->netd->peers, "explain", on_explain, dp))
		log_err("cannot answer the peers about decisions");
}
