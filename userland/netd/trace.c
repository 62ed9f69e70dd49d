// SPDX-License-Identifier: GPL-2.0
/*
 * Watched flows of this node: the programs tell of each of their packets, the last
 * ones are kept for whoever asks (trace_cmd.c, on any node), and a watch that nobody
 * asks for any more ends by itself. The ring buffer is read only while one is on.
 */
#include "datapath_int.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ssi/dip_steer.h>

#include "member.h"
#include "trace.h"
#include "userland/lib/log.h"

#define TRACE_EVENTS	2048 /* kept of a watch; a power of two */
#define TRACE_ANSWER	512  /* told at once, so that an answer stays small */
#define TRACE_EXPIRE_MS 5000

struct watched {
	struct dip_want want; /* want.on 0: free */
	uint64_t first, next; /* numbers of the events kept */
	uint64_t asked_ms;
	struct dip_trace event[TRACE_EVENTS];
};

struct trace {
	struct datapath *dp;
	struct ring_buffer *ring;
	struct watched *watched[DIP_WANTS_MAX];
	uv_poll_t poll;
	uv_timer_t timer;
	int handles;
};

static struct watched *watched_find(struct trace *t, uint32_t on, unsigned int *slot)
{
	for (unsigned int i = 0; i < DIP_WANTS_MAX; i++) {
		if (t->watched[i] && t->watched[i]->want.on == on) {
			*slot = i;
			return t->watched[i];
		}
	}
	return NULL;
}

static int on_sample(void *ctx, void *data, size_t size)
{
	const struct dip_trace *e = data;
	struct watched *w;
	unsigned int slot;

	w = size >= sizeof(*e) ? watched_find(ctx, e->want, &slot) : NULL;
	if (!w)
		return 0;
	w->event[w->next++ & (TRACE_EVENTS - 1)] = *e;
	if (w->next - w->first > TRACE_EVENTS)
		w->first++;
	return 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct trace *t = poll->data;

	ring_buffer__consume(t->ring);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
	struct trace *t = handle->data;

	if (!--t->handles)
		free(t);
}

void trace_stop(struct datapath *dp)
{
	struct trace *t = dp->trace;

	if (!t)
		return;
	dp->trace = NULL;
	for (unsigned int i = 0; i < DIP_WANTS_MAX; i++) {
		if (t->watched[i] && dp->bpf)
			dip_bpf_watch(dp->bpf, i, NULL);
		free(t->watched[i]);
	}
	uv_poll_stop(&t->poll);
	ring_buffer__free(t->ring);
	uv_close((uv_handle_t *)&t->poll, on_closed);
	uv_close((uv_handle_t *)&t->timer, on_closed);
}

static void unwatch(struct datapath *dp, unsigned int slot)
{
	struct trace *t = dp->trace;
	bool any = false;

	dip_bpf_watch(dp->bpf, slot, NULL);
	free(t->watched[slot]);
	t->watched[slot] = NULL;
	for (unsigned int i = 0; i < DIP_WANTS_MAX; i++)
		any |= t->watched[i] != NULL;
	if (!any)
		trace_stop(dp);
}

static void on_timer(uv_timer_t *timer)
{
	struct trace *t = timer->data;
	struct datapath *dp = t->dp;
	uint64_t now = uv_now(dp->netd->loop);

	for (unsigned int i = 0; i < DIP_WANTS_MAX && dp->trace == t; i++)
		if (t->watched[i] && now - t->watched[i]->asked_ms > TRACE_EXPIRE_MS)
			unwatch(dp, i);
}

static int trace_open(struct datapath *dp)
{
	struct trace *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->dp = dp;
	t->ring = ring_buffer__new(dip_bpf_traces_fd(dp->bpf), on_sample, t, NULL);
	err = t->ring ? uv_poll_init(dp->netd->loop, &t->poll, ring_buffer__epoll_fd(t->ring)) : -errno;
	if (err) {
		ring_buffer__free(t->ring);
		free(t);
		return err;
	}
	ring_buffer__consume(t->ring); /* of an earlier watch: nobody knows it any more */
	uv_timer_init(dp->netd->loop, &t->timer);
	t->handles = 2;
	t->poll.data = t->timer.data = t;
	uv_poll_start(&t->poll, UV_READABLE, on_readable);
	uv_timer_start(&t->timer, on_timer, TRACE_EXPIRE_MS, TRACE_EXPIRE_MS / 4);
	dp->trace = t;
	return 0;
}

static int watch(struct datapath *dp, const struct dip_want *want, struct watched **out)
{
	int err = dp->trace ? 0 : trace_open(dp);

	for (unsigned int i = 0; !err && i < DIP_WANTS_MAX; i++) {
		if (dp->trace->watched[i])
			continue;
		*out = calloc(1, sizeof(**out));
		if (!*out)
			return -ENOMEM;
		(*out)->want = *want;
		dp->trace->watched[i] = *out;
		dip_bpf_watch(dp->bpf, i, want);
		return 0;
	}
	return err ? err : -EBUSY;
}

/* ---- a question of a peer ---- */

/* Unix time in µs of a moment of CLOCK_MONOTONIC. */
static int64_t unix_us(uint64_t monotonic_ns)
{
	struct timespec real, mono;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	return real.tv_sec * 1000000ll + real.tv_nsec / 1000 - mono.tv_sec * 1000000ll - mono.tv_nsec / 1000 +
	       (int64_t)(monotonic_ns / 1000);
}

static json_t *event_json(struct datapath *dp, const struct dip_trace *e)
{
	char dev[IF_NAMESIZE] = "";

	if_indextoname(e->ifindex, dev);
	return json_pack("{sI,si,si,si,ss,ss,si,si,sI,si,sb}", "us", (json_int_t)unix_us(e->time), "where",
			 (int)e->where, "verdict", (int)e->verdict, "reason", (int)e->reason, "for",
			 e->node ? datapath_node_name(dp, e->node) : "", "dev", dev, "len", (int)e->len,
			 "client_port", (int)ntohs(e->rport), "seq", (json_int_t)e->seq, "tcp",
			 (int)e->tcp_flags, "icmp", !!(e->flags & DIP_F_ERROR));
}

static json_t *answer(struct datapath *dp, const struct watched *w, uint64_t since)
{
	uint64_t from = since < w->first ? w->first : since, i = from;
	json_t *list = json_array();

	for (; i < w->next && i - from < TRACE_ANSWER; i++)
		json_array_append_new(list, event_json(dp, &w->event[i & (TRACE_EVENTS - 1)]));
	return json_pack("{so,sI,sI}", "events", list, "next", (json_int_t)i, "lost",
			 (json_int_t)(from - since));
}

static const char *why(int err)
{
	return err == -EBUSY	? "four flows are watched there already"
	       : err == -ENODEV ? "no cluster address is exposed there"
				: strerror(-err);
}

static void on_trace(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct datapath *dp = arg;
	const char *self = datapath_node_name(dp, datapath_self(dp));
	json_int_t since = json_integer_value(json_object_get(json_object_get(request, "since"), self));
	struct watched *w = NULL;
	struct dip_want want;
	unsigned int slot = 0;
	int err = trace_want(request, &want);

	if (!err && dp->trace)
		w = watched_find(dp->trace, want.on, &slot);
	if (!err && json_is_true(json_object_get(request, "end"))) {
		if (w)
			unwatch(dp, slot);
		peer_call_answer(call, json_object());
		return;
	}
	if (!err && !w)
		err = dp->bpf ? watch(dp, &want, &w) : -ENODEV;
	if (err) {
		peer_call_answer(call, json_pack("{ss,si}", "error", why(err), "code", CTL_FAILED));
		return;
	}
	w->asked_ms = uv_now(dp->netd->loop);
	ring_buffer__consume(dp->trace->ring);
	peer_call_answer(call, answer(dp, w, since > 0 ? (uint64_t)since : 0));
}

void trace_start(struct datapath *dp)
{
	if (peer_handle(dp->netd->peers, "trace", on_trace, dp))
		log_err("cannot answer the peers about watched flows");
	trace_cmd_start(dp);
}
