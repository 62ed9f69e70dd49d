/* SPDX-License-Identifier: GPL-2.0 */
/*
 * netctl watch: live events, one a line. When netd is started again it goes on
 * behind the last event it has seen; a gap shows as an event of kind "lost".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/netdclient.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

#define RETRY_MS 200
#define RETRIES	 50 /* a restart of netd takes less */

struct watch {
	struct netctl *c;
	json_int_t seq; /* of the last event; -1 none */
};

/* Nobody should have to guess what is missing. */
static void print_lost(json_t *event)
{
	long long count = json_integer_value(json_object_get(event, "count"));

	if (json_is_true(json_object_get(event, "restarted")))
		printf(" netd was started anew, or the number is another node's: what was before is missing");
	if (count)
		printf(" %lld event%s missing: netd does not keep so many", count,
		       count == 1 ? " is" : "s are");
	printf("\n");
}

static void print_event(struct netctl *c, json_t *event)
{
	const char *time = json_string_value(json_object_get(event, "time")) ?: "";
	const char *kind = json_string_value(json_object_get(event, "kind")) ?: "?";
	const char *key;
	json_t *value;

	if (c->json) {
		json_dumpf(event, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
		printf("\n");
		return;
	}
	printf("%s%.12s%s %s%-8s%s", print_on(PRINT_DIM), strlen(time) > 11 ? time + 11 : time,
	       print_off(PRINT_DIM), print_on(PRINT_CYAN), kind, print_off(PRINT_CYAN));
	if (!strcmp(kind, "lost")) {
		print_lost(event);
		return;
	}
	json_object_foreach(event, key, value)
	{
		_free_ char *text = NULL;

		if (!strcmp(key, "time") || !strcmp(key, "kind") || !strcmp(key, "seq") ||
		    !strcmp(key, "since"))
			continue;
		text = table_text(value, 0);
		if (text && strcmp(text, "-"))
			printf(" %s=%s", key, text);
	}
	printf("\n");
}

static void on_event(void *arg, json_t *event)
{
	struct watch *w = arg;

	w->seq = json_integer_value(json_object_get(event, "seq"));
	print_event(w->c, event);
	fflush(stdout);
}

static json_t *arguments(struct watch *w)
{
	json_t *args = json_object(), *kinds = json_array();
	int i;

	for (i = 0; i < w->c->n_rest; i++)
		json_array_append_new(kinds, json_string(w->c->rest[i]));
	if (w->seq >= 0)
		json_object_set_new(args, "since", json_integer(w->seq));
	if (json_array_size(kinds))
		json_object_set(args, "kinds", kinds);
	json_decref(kinds);
	return args;
}

static int run_watch(struct netctl *c)
{
	const char *since = netctl_option(c, "since");
	struct watch w = {.c = c, .seq = since ? atoll(since) : -1};
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	int r, left = 0;

	for (;;) {
		json_t *args = arguments(&w), *answer = NULL;
		struct jsonline j;

		r = netdclient_open(&j);
		if (r == 0) {
			left = RETRIES;
			r = netdclient_talk(&j, "watch", args, on_event, &w, &answer);
			jsonline_close(&j);
		}
		json_decref(args);
		if (r == 0) { /* only an error ends it */
			r = print_error(
				(int)json_integer_value(json_object_get(answer, "code")) ?: EXIT_FAILED,
				json_string_value(json_object_get(answer, "remedy")), "%s",
				json_string_value(json_object_get(answer, "error")) ?: "the watch ended");
			json_decref(answer);
			return r;
		}
		if (left-- <= 0)
			return netctl_no_answer(r);
		nanosleep(&pause, NULL);
	}
}

const struct netctl_command cmd_watch = {
	.name = "watch",
	.summary = "live events, one a line (-j: one JSON object a line)",
	.args = {{.value = "KIND",
		  .kind = VALUE_CHOICE,
		  .optional = true,
		  .many = true,
		  .choices = "node|vip|port|app|app-removed|app-exited|move|status"}},
	.options = {{"since", "SEQ", VALUE_NUMBER, NULL,
		     "begin behind this event, as far back as netd keeps them"}},
	.run = run_watch,
};
