// SPDX-License-Identifier: GPL-2.0
/* `stats`: packets by the reason of their fate, with a sentence each. */
#include "datapath_int.h"

#include <stdlib.h>
#include <string.h>

#include <ssi/dip_reasons.h>

#include "member.h"
#include "userland/lib/log.h"

#define STATS_MS 5000

static const struct {
	const char *name, *verdict, *text;
} reasons[DIP_REASON_COUNT] = {
#define REASON(n, v, t) [DIP_R_##n] = {#n, #v, t},
	DIP_REASONS(REASON)
#undef REASON
};

static void on_stats(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	static const char *const dir[] = {"in", "out"};
	struct datapath *dp = arg;
	json_t *list = json_array();
	struct dip_stats s = {};

	if (dp->bpf)
		dip_bpf_stats(dp->bpf, &s);
	for (int d = 0; d < 2; d++) {
		for (int r = 0; r < DIP_REASON_COUNT; r++) {
			if (!s.reason[d][r])
				continue;
			json_array_append_new(list,
					      json_pack("{ss,ss,ss,sI,ss}", "dir", dir[d], "reason",
							reasons[r].name ? reasons[r].name : "NONE", "verdict",
							reasons[r].verdict ? reasons[r].verdict : "",
							"packets", (json_int_t)s.reason[d][r], "text",
							reasons[r].text ? reasons[r].text : ""));
		}
	}
	if (s.events_lost)
		json_array_append_new(
			list, json_pack("{ss,ss,ss,sI,ss}", "dir", "", "reason", "EVENTS_LOST", "verdict", "",
					"packets", (json_int_t)s.events_lost, "text",
					"socket events that found the ring full: sockets are read anew"));
	peer_call_answer(call, json_pack("{so}", "stats", list));
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
	req = json_object();
	datapath_ask(dp, only, "stats", req, STATS_MS, answered, r);
	json_decref(req);
}

void stats_start(struct datapath *dp)
{
	ctl_register(dp->netd->ctl, "stats", CTL_MEMBER, cmd_stats, dp);
	if (peer_handle(dp->netd->peers, "stats", on_stats, dp))
		log_err("cannot answer the peers about statistics");
}
