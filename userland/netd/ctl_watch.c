/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Live events: the last ones are kept as ready lines with sequence numbers, and
 * each watcher has a cursor into them, so that a slow or returning watcher costs
 * no memory and is told how much it missed ("lost"). Numbers begin with the Unix
 * time in ms, so that they go on growing when netd is started again.
 */
#include <string.h>
#include <time.h>

#include "userland/lib/log.h"
#include "userland/netd/ctl_internal.h"

#define PUMP_BYTES (64 << 10) /* as much is queued for a watcher at most */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void drop_first(struct ctl_event_ring *e)
{
	size_t i = e->first++ % CTL_EVENTS;

	e->bytes -= e->slot[i].len;
	free(e->slot[i].line);
	e->slot[i].line = NULL;
}

static char *event_line(uint64_t seq, const char *kind, json_t *object, size_t *len)
{
	json_t *event = json_pack("{s:I, s:o, s:s}", "seq", (json_int_t)seq, "time", ctl_time(now_ms()),
				  "kind", kind);
	json_t *line = NULL;
	char *text = NULL;

	if (event && (!object || json_object_update_missing(event, object) == 0))
		line = json_pack("{s:O}", "event", event);
	if (line)
		text = jsonline_text(line, len);
	json_decref(line);
	json_decref(event);
	return text;
}

void ctl_publish(struct ctl *c, const char *kind, json_t *object)
{
	struct ctl_event_ring *e = &c->events;
	struct ctl_request *r, *next;
	size_t i = e->next % CTL_EVENTS, len = 0;
	char *line;

	if (!c->ready) { /* the log that is replayed tells of the past */
		json_decref(object);
		return;
	}
	line = event_line(e->next, kind, object, &len);
	json_decref(object);
	if (!line) {
		log_debug("ctl: an event '%s' is too long", kind);
		return;
	}
	if (e->next - e->first == CTL_EVENTS)
		drop_first(e);
	e->slot[i].line = line;
	e->slot[i].len = len;
	snprintf(e->slot[i].kind, sizeof(e->slot[i].kind), "%s", kind);
	e->bytes += len;
	e->next++;
	while (e->bytes > CTL_EVENTS_BYTES && e->next - e->first > 1)
		drop_first(e);
	for (r = LIST_FIRST(&c->requests); r; r = next) {
		next = LIST_NEXT(r, link);
		if (r->watching && STAILQ_EMPTY(&r->out))
			ctl_conn_flush(r);
	}
}

static bool wanted(struct ctl_request *r, const char *kind)
{
	json_t *k;
	size_t i;

	json_array_foreach(r->kinds, i,
			   k) if (json_is_string(k) && !strcmp(json_string_value(k), kind)) return true;
	return !r->kinds;
}

/* The watcher's place is no longer kept: say so, go on with the oldest event. What
 * an earlier netd published cannot be counted, only told ("restarted"). */
static void tell_lost(struct ctl_request *r, const struct ctl_event_ring *e)
{
	bool restarted = r->cursor + 1 < e->start;
	uint64_t from = restarted ? e->start : r->cursor + 1;
	json_t *object =
		json_pack("{s:I, s:b}", "count", (json_int_t)(e->first - from), "restarted", restarted);
	size_t len;
	char *line = event_line(e->first - 1, "lost", object, &len);

	json_decref(object);
	r->cursor = e->first - 1;
	if (line)
		ctl_conn_queue(r, line, len);
}

void ctl_watch_pump(struct ctl_request *r)
{
	struct ctl_event_ring *e = &r->ctl->events;

	if (r->cursor + 1 < e->first)
		tell_lost(r, e);
	while (r->cursor + 1 < e->next && r->queued < PUMP_BYTES) {
		size_t i = ++r->cursor % CTL_EVENTS;
		char *copy;

		if (!wanted(r, e->slot[i].kind))
			continue;
		copy = strdup(e->slot[i].line);
		if (copy)
			ctl_conn_queue(r, copy, e->slot[i].len);
	}
}

static void watch(void *arg, struct ctl_request *r, json_t *args)
{
	struct ctl *c = arg;
	bool bad = false;
	int64_t since = ctl_arg_int(args, "since", -1, 0, INT64_MAX - 1, &bad);
	json_t *kinds = json_object_get(args, "kinds");

	if (bad || (kinds && !json_is_array(kinds))) {
		ctl_fail(r, CTL_USAGE, "usage: netctl watch [--since N] [KIND]...", "watch: bad arguments");
		return;
	}
	r->kinds = json_incref(kinds);
	/* A number that is still to come was another node's, or the clock's before it was set back. */
	if ((uint64_t)since >= c->events.next)
		since = since < 0 ? (int64_t)c->events.next - 1 : 0;
	r->cursor = (uint64_t)since;
	r->held = false; /* nobody but the ring feeds it */
	r->watching = true;
	ctl_conn_flush(r);
}

void ctl_watch_init(struct ctl *c)
{
	c->events.start = c->events.first = c->events.next = now_ms();
	ctl_register(c, "watch", CTL_MEMBER, watch, c);
}

void ctl_watch_exit(struct ctl *c)
{
	while (c->events.first < c->events.next)
		drop_first(&c->events);
}
