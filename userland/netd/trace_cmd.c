// SPDX-License-Identifier: GPL-2.0
/*
 * `trace`: asks all nodes again and again what became of a flow's packets, and tells
 * the client in the order of time, until it hangs up or the time is over. The clocks are
 * the nodes' own.
 */
#include "datapath_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "flow_arg.h"
#include "trace.h"
#include "userland/lib/dip_names.h"
#include "userland/lib/ipaddr.h"

#define ASK_EVERY_MS   200
#define ASK_TIMEOUT_MS 3000
#define SECONDS_MAX    86400

struct trace_request {
	struct netd *netd; /* its data path may go meanwhile */
	struct ctl_request *ctl;
	json_t *ask;	 /* to the peers; "since" is an object by node */
	json_t *seen;	 /* by node: packets, lost, error */
	uint64_t end_ms; /* of the loop's clock; 0: none */
	bool over;
	uv_timer_t timer;
};

int trace_want(json_t *args, struct dip_want *out)
{
	bool bad = false;
	int64_t id = ctl_arg_int(args, "id", 0, 1, UINT32_MAX, &bad);
	struct flow_arg f;

	if (bad || !id || flow_arg_parse(args, &f))
		return -EINVAL;
	*out = (struct dip_want){
		.raddr = ipaddr_dip(&f.client),
		.laddr = ipaddr_dip(&f.vip),
		.rport = htons(f.client_port),
		.lport = htons(f.port),
		.family = f.vip.family,
		.proto = f.proto,
		.on = id,
	};
	return 0;
}

/* ---- one packet ---- */

static void tcp_text(int flags, char out[32])
{
	static const char *const names[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};

	out[0] = '\0';
	for (int i = 0; i < 8; i++) {
		if (!(flags & 1 << i))
			continue;
		if (out[0])
			strcat(out, ",");
		strcat(out, names[i]);
	}
}

static json_t *time_text(json_int_t us)
{
	time_t s = us / 1000000;
	char text[40], all[56];
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
	snprintf(all, sizeof(all), "%s.%06dZ", text, (int)(us % 1000000));
	return json_string(all);
}

static json_int_t number(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* What a peer said in numbers, in words. */
static json_t *packet(const char *node, json_t *e)
{
	char tcp[32];

	tcp_text((int)number(e, "tcp"), tcp);
	return json_pack("{so,ss,ss,ss,ss,ss,sO*,sO*,sO*,sO*,ss,sI,sb}", "time", time_text(number(e, "us")),
			 "node", node, "where", dip_where_name(number(e, "where")), "verdict",
			 dip_verdict_name(number(e, "verdict")), "reason",
			 dip_reason_name(number(e, "reason")), "text", dip_reason_text(number(e, "reason")),
			 "for", json_object_get(e, "for"), "dev", json_object_get(e, "dev"), "bytes",
			 json_object_get(e, "len"), "client_port", json_object_get(e, "client_port"), "flags",
			 tcp, "seq", number(e, "seq"), "icmp", json_is_true(json_object_get(e, "icmp")));
}

/* ---- all nodes ---- */

static int by_time(const void *a, const void *b)
{
	json_int_t x = number(json_array_get(*(json_t *const *)a, 0), "us");
	json_int_t y = number(json_array_get(*(json_t *const *)b, 0), "us");

	return x < y ? -1 : x > y;
}

/* [event, node] of all answers, in the order of time. */
static void tell(struct trace_request *r, json_t *pairs)
{
	size_t n = json_array_size(pairs);
	json_t **list = calloc(n ? n : 1, sizeof(json_t *));

	for (size_t i = 0; list && i < n; i++)
		list[i] = json_array_get(pairs, i);
	if (list)
		qsort(list, n, sizeof(json_t *), by_time);
	for (size_t i = 0; list && i < n; i++)
		ctl_event(r->ctl,
			  packet(json_string_value(json_array_get(list[i], 1)), json_array_get(list[i], 0)));
	free(list);
}

/* Takes an answer in; false: that node watches nothing. */
static bool note(struct trace_request *r, const char *node, json_t *answer, json_t *pairs)
{
	json_t *since = json_object_get(r->ask, "since"), *seen = json_object_get(r->seen, node), *e;
	size_t i;

	if (!seen) {
		seen = json_pack("{ss,sI,sI,ss}", "node", node, "packets", (json_int_t)0, "lost",
				 (json_int_t)0, "error", "");
		json_object_set_new(r->seen, node, seen);
	}
	json_object_set(seen, "error", json_object_get(answer, "error") ?: json_object_get(seen, "error"));
	if (!json_object_get(answer, "next"))
		return false;
	json_object_set(since, node, json_object_get(answer, "next"));
	json_object_set_new(seen, "lost", json_integer(number(seen, "lost") + number(answer, "lost")));
	json_array_foreach(json_object_get(answer, "events"), i, e)
	{
		json_array_append_new(pairs, json_pack("[Os]", e, node));
		json_object_set_new(seen, "packets", json_integer(number(seen, "packets") + 1));
	}
	return true;
}

static void ignore(void *arg, json_t *answers)
{
	(void)arg;
	(void)answers;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct trace_request *r = handle->data;

	json_decref(r->ask);
	json_decref(r->seen);
	free(r);
}

static void finish(struct trace_request *r)
{
	json_t *list = json_array(), *o;
	const char *node;

	json_object_foreach(r->seen, node, o) json_array_append(list, o);
	json_object_set_new(r->ask, "end", json_true());
	if (r->netd->datapath)
		datapath_ask(r->netd->datapath, 0, "trace", r->ask, ASK_TIMEOUT_MS, ignore, NULL);
	ctl_ok(r->ctl, list);
	uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

static void ask(uv_timer_t *timer);

static void answered(void *arg, json_t *answers)
{
	struct trace_request *r = arg;
	json_t *pairs = json_array(), *answer;
	const char *node;
	bool any = false;

	json_object_foreach(answers, node, answer) any |= note(r, node, answer, pairs);
	tell(r, pairs);
	json_decref(pairs);
	if (r->over || !any || (r->end_ms && uv_now(r->netd->loop) >= r->end_ms))
		finish(r);
	else
		uv_timer_start(&r->timer, ask, ASK_EVERY_MS, 0);
}

static void ask(uv_timer_t *timer)
{
	struct trace_request *r = timer->data;

	if (r->over || !r->netd->datapath)
		finish(r);
	else
		datapath_ask(r->netd->datapath, 0, "trace", r->ask, ASK_TIMEOUT_MS, answered, r);
}

static void hung_up(void *arg)
{
	struct trace_request *r = arg;

	r->over = true;
}

static void cmd_trace(void *arg, struct ctl_request *ctl, json_t *args)
{
	struct datapath *dp = arg;
	static const char usage[] = "usage: netctl trace CLIENT[:PORT] VIP:PORT [tcp|udp] [--seconds N]";
	bool bad = false;
	int64_t seconds = ctl_arg_int(args, "seconds", 0, 1, SECONDS_MAX, &bad);
	struct trace_request *r;
	struct flow_arg f;
	uint32_t id = 0;

	while (!id && getrandom(&id, sizeof(id), 0) < 0)
		;
	json_object_set_new(args, "id", json_integer(id ? id : 1));
	if (bad) {
		ctl_fail(ctl, CTL_USAGE, usage, "the seconds are 1 to %d", SECONDS_MAX);
		return;
	}
	if (!flow_arg_take(dp, ctl, args, usage, &f))
		return;
	r = calloc(1, sizeof(*r));
	if (!r) {
		ctl_fail(ctl, CTL_FAILED, "free some memory", "out of memory");
		return;
	}
	*r = (struct trace_request){
		.netd = dp->netd, .ctl = ctl, .ask = json_copy(args), .seen = json_object()};
	json_object_set_new(r->ask, "since", json_object());
	json_object_del(r->ask, "end");
	r->end_ms = seconds ? uv_now(dp->netd->loop) + (uint64_t)seconds * 1000 : 0;
	uv_timer_init(dp->netd->loop, &r->timer);
	r->timer.data = r;
	ctl_on_close(ctl, hung_up, r);
	ask(&r->timer);
}

void trace_cmd_start(struct datapath *dp)
{
	ctl_register(dp->netd->ctl, "trace", CTL_ROOT | CTL_MEMBER, cmd_trace, dp);
}
