/* SPDX-License-Identifier: GPL-2.0 */
/* netctl trace: what each node decided for the packets of a live flow, as they pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key)) ?: "";
}

static long long number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void print_packet(struct netctl *c, json_t *e)
{
	const char *time = text_of(e, "time"), *verdict = text_of(e, "verdict");

	if (c->json) {
		json_dumpf(e, stdout, JSON_COMPACT);
		printf("\n");
		fflush(stdout);
		return;
	}
	printf("%s%.15s%s %s%-8s%s %-6s %s%-7s%s %s", print_on(PRINT_DIM),
	       strlen(time) > 11 ? time + 11 : time, print_off(PRINT_DIM), print_on(PRINT_BOLD),
	       text_of(e, "node"), print_off(PRINT_BOLD), text_of(e, "where"), print_on(PRINT_CYAN), verdict,
	       print_off(PRINT_CYAN), text_of(e, "reason"));
	if (*text_of(e, "for"))
		printf(" (%s)", text_of(e, "for"));
	printf("  :%lld %lld bytes", number_of(e, "client_port"), number_of(e, "bytes"));
	if (*text_of(e, "flags"))
		printf(" %s seq %lld", text_of(e, "flags"), number_of(e, "seq"));
	if (json_is_true(json_object_get(e, "icmp")))
		printf(" ICMP error about it");
	printf("\n");
	fflush(stdout);
}

/* Nodes that could not watch: what was printed is not all. */
static int complain(json_t *result)
{
	json_t *o;
	size_t i;

	json_array_foreach(result, i, o) if (*text_of(o, "error")) return print_error(
		EXIT_FAILED, "end other traces, look at `netctl nodes` and `netctl vips`",
		"not watched on %s: %s", text_of(o, "node"), text_of(o, "error"));
	return EXIT_OK;
}

static int run_trace(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"NODE", "node", TABLE_BOLD, NULL},
		{"PACKETS", "packets", TABLE_RIGHT, NULL},
		{"MISSED", "lost", TABLE_RIGHT, NULL},
	};
	const char *seconds = netctl_option(c, "seconds");
	json_t *args = json_object(), *result = NULL;
	int r = EXIT_USAGE;

	if (!netctl_put_flow(args, c->arg)) {
		json_decref(args);
		return r;
	}
	if (seconds)
		json_object_set_new(args, "seconds", json_integer(atoll(seconds)));
	if (!c->json)
		fprintf(stderr, "watching on all nodes%s ...\n", seconds ? "" : "; end with Ctrl-C");
	r = netctl_request(c, "trace", args, print_packet, &result);
	if (r == EXIT_OK && !c->json)
		table_print(stdout, result, columns, N_COLUMNS(columns));
	if (r == EXIT_OK)
		r = complain(result);
	json_decref(result);
	return r;
}

const struct netctl_command cmd_trace = {
	.name = "trace",
	.summary = "what each node decides for the packets of a live flow",
	.args = {{.value = "CLIENT[:PORT]", .kind = VALUE_PEER},
		 {.value = "VIP:PORT", .kind = VALUE_PORT},
		 {.value = "PROTO", .kind = VALUE_CHOICE, .optional = true, .choices = "tcp|udp"}},
	.options = {{"seconds", "N", VALUE_NUMBER, NULL, "end after so long; else with Ctrl-C"}},
	.run = run_trace,
};
