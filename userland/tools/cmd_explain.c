/* SPDX-License-Identifier: GPL-2.0 */
/* netctl explain, stats: why packets go where they go, and how many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

/* ---- explain ---- */

static void print_checks(json_t *checks)
{
	json_t *k;
	size_t i;

	json_array_foreach(checks, i, k)
	{
		json_t *ok = json_object_get(k, "ok");
		const char *mark = json_is_true(ok) ? "ok" : json_is_false(ok) ? "fail" : "warn";
		const char *what = json_string_value(json_object_get(k, "what")) ?: "";
		const char *text = json_string_value(json_object_get(k, "text")) ?: "";
		const char *remedy = json_string_value(json_object_get(k, "remedy")) ?: "";
		enum print_style style = print_state_style(mark);

		printf("  %s%-5s%s %-12s %s%s%s\n", print_on(style), mark, print_off(style), what, text,
		       *remedy ? "; " : "", remedy);
	}
}

static const char *text_of(json_t *o, const char *field)
{
	return json_string_value(json_object_get(o, field)) ?: "";
}

static void print_verdict(json_t *o)
{
	printf("%s: %s (%s)\n", text_of(o, "verdict"), text_of(o, "text"), text_of(o, "reason"));
}

/* Who owns the port, when somebody does. */
static void print_owner(json_t *o)
{
	const char *state = text_of(o, "state");

	if (!json_object_get(o, "owner"))
		return;
	printf("  %s %s", strcmp(state, "local") ? "owner" : "not exposed:", text_of(o, "owner"));
	if (*text_of(o, "app"))
		printf(", application %s", text_of(o, "app"));
	if (*text_of(o, "comm"))
		printf(", process %s (%d)", text_of(o, "comm"),
		       (int)json_integer_value(json_object_get(o, "pid")));
	if (!strcmp(state, "pinned"))
		printf(", pinned");
	else if (!strcmp(state, "down"))
		printf(", pinned, and the node is dead; start it, or `netctl port del`");
	else if (*text_of(o, "addr"))
		printf(", bound to %s", text_of(o, "addr"));
	if (!strcmp(state, "local"))
		printf("; let it listen on the cluster address or the wildcard");
	printf("\n");
}

static void print_explanation(json_t *o)
{
	const char *node = text_of(o, "node");
	json_t *nodes = json_object_get(o, "nodes"), *view;
	size_t i;

	printf("%s%s%s%s", print_on(PRINT_BOLD), node, print_off(PRINT_BOLD), *node ? " " : "");
	print_verdict(o);
	print_owner(o);
	json_array_foreach(nodes, i, view)
	{
		if (!strcmp(text_of(view, "node"), node))
			continue;
		printf("  %s%s ", print_on(PRINT_DIM), text_of(view, "node"));
		if (*text_of(view, "error"))
			printf("%s", text_of(view, "error"));
		else
			printf("%s: %s (%s)", text_of(view, "verdict"), text_of(view, "text"),
			       text_of(view, "reason"));
		printf("%s\n", print_off(PRINT_DIM));
	}
	print_checks(json_object_get(o, "checks"));
}

static int run_explain(struct netctl *c)
{
	json_t *args = json_object(), *result = NULL, *o;
	size_t i;
	int r;

	if (!netctl_put_flow(args, c->arg)) {
		json_decref(args);
		return EXIT_USAGE;
	}
	r = netctl_request(c, "explain", args, NULL, &result);
	if (r == EXIT_OK && !netctl_json(c, result))
		json_array_foreach(result, i, o) print_explanation(o);
	json_decref(result);
	return r;
}

const struct netctl_command cmd_explain = {
	.name = "explain",
	.summary = "which node gets a client's packets, and why",
	.args = {{.value = "CLIENT[:PORT]", .kind = VALUE_PEER},
		 {.value = "VIP:PORT", .kind = VALUE_PORT},
		 {.value = "PROTO", .kind = VALUE_CHOICE, .optional = true, .choices = "tcp|udp"}},
	.run = run_explain,
};

/* ---- stats ---- */

static int run_stats(struct netctl *c)
{
	static const struct table_column ports[] = {
		{"NODE", "node", 0, NULL},
		{"ADDRESS", "vip", 0, NULL},
		{"PORT", "port", TABLE_RIGHT, NULL},
		{"PROTO", "proto", 0, NULL},
		{"APP", "app", TABLE_BOLD, NULL},
		{"IN", "packets_in", TABLE_RIGHT, NULL},
		{"BYTES", "bytes_in", TABLE_RIGHT, NULL},
		{"OUT", "packets_out", TABLE_RIGHT, NULL},
		{"BYTES", "bytes_out", TABLE_RIGHT, NULL},
	};
	static const struct table_column columns[] = {
		{"NODE", "node", 0, NULL},
		{"ADDRESS", "vip", 0, NULL},
		{"WAY", "dir", 0, NULL},
		{"VERDICT", "verdict", 0, NULL},
		{"REASON", "reason", TABLE_BOLD, NULL},
		{"PACKETS", "packets", TABLE_RIGHT, NULL},
		{"MEANING", "text", TABLE_CUT, NULL},
	};
	const char *node = netctl_option(c, "node");
	json_t *args = json_object();

	if (node)
		json_object_set_new(args, "node", json_string(node));
	if (netctl_option(c, "ports")) {
		json_object_set_new(args, "ports", json_true());
		return netctl_list(c, "stats", args, ports, N_COLUMNS(ports), "no port is served");
	}
	return netctl_list(c, "stats", args, columns, N_COLUMNS(columns), "no packets yet");
}

const struct netctl_command cmd_stats = {
	.name = "stats",
	.summary = "how many packets were decided, by reason",
	.options = {{"node", "NODE", VALUE_NODE, NULL, "only those of a node"},
		    {"ports", NULL, VALUE_NONE, NULL, "packets and bytes of each port instead"}},
	.run = run_stats,
};
