/* SPDX-License-Identifier: GPL-2.0 */
/* netctl status, nodes, sets: how the cluster is, and who is in it. */
#include <stdio.h>
#include <string.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

/* ---- status ---- */

static const char *text_of(json_t *o, const char *field)
{
	return json_string_value(json_object_get(o, field)) ?: "-";
}

static long long number_of(json_t *o, const char *field)
{
	return json_integer_value(json_object_get(o, field));
}

static void print_count(json_t *o, const char *field, const char *one, const char *many, const char *end)
{
	long long n = number_of(o, field);

	printf("%lld %s%s", n, n == 1 ? one : many, end);
}

static void print_condition(json_t *o)
{
	const char *condition = text_of(o, "condition");
	json_t *problems = json_object_get(o, "problems"), *p;
	bool failed = !strcmp(condition, "failed");
	enum print_style style = failed ? PRINT_RED : json_array_size(problems) ? PRINT_YELLOW : PRINT_GREEN;
	size_t i;

	printf("%s%s%s", print_on(style), condition, print_off(style));
	json_array_foreach(problems, i, p)
		printf("%s%s; %s\n", i ? "  also: " : ": ", text_of(p, "problem"), text_of(p, "remedy"));
	if (!json_array_size(problems))
		printf(": %lld of %lld nodes up, %s leads\n", number_of(o, "nodes_up"), number_of(o, "nodes"),
		       text_of(o, "leader"));
}

static void print_details(json_t *o)
{
	json_t *datapath = json_object_get(o, "datapath");
	long long lease = number_of(o, "lease_left_ms");

	printf("\n  node       %s%s%s, %s, lease %lld ms left of %lld\n", print_on(PRINT_BOLD),
	       text_of(o, "node"), print_off(PRINT_BOLD), text_of(o, "state"), lease,
	       number_of(o, "lease_ms"));
	printf("  cluster    %lld of %lld nodes up, %lld of %lld voters%s, leader %s, transport %s%s\n",
	       number_of(o, "nodes_up"), number_of(o, "nodes"), number_of(o, "voters_up"),
	       number_of(o, "voters"), json_is_false(json_object_get(o, "quorum")) ? " when last heard" : "",
	       text_of(o, "leader"), text_of(o, "transport"),
	       json_is_false(json_object_get(o, "secure")) ? " (CLEAR TEXT)" : "");
	if (datapath)
		printf("  data path  %s, XDP %s, listen %s\n", text_of(datapath, "datapath"),
		       text_of(datapath, "xdp"), text_of(datapath, "listen"));
	printf("  objects    ");
	print_count(o, "vips", "cluster address", "cluster addresses", ", ");
	print_count(o, "ports", "port", "ports", ", ");
	print_count(o, "apps", "application", "applications", ", ");
	print_count(o, "moves", "move", "moves", "\n");
}

/* A node without a cluster is 4, one without a quorum 3, as for every command. */
static int status_code(json_t *o, bool check)
{
	if (!strcmp(text_of(o, "state"), "idle") || json_is_null(json_object_get(o, "node")))
		return EXIT_NO_NETD;
	if (json_is_false(json_object_get(o, "quorum")))
		return EXIT_NO_QUORUM;
	return !check || json_is_true(json_object_get(o, "healthy")) ? EXIT_OK : EXIT_FAILED;
}

static int run_status(struct netctl *c)
{
	bool check = netctl_option(c, "check") != NULL;
	json_t *result = NULL, *o;
	int r = netctl_request(c, "status", NULL, NULL, &result);

	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	r = status_code(o, check);
	if (!netctl_json(c, result)) {
		print_condition(o);
		if (!check && r != EXIT_NO_NETD)
			print_details(o);
	}
	json_decref(result);
	return r;
}

const struct netctl_command cmd_status = {
	.name = "status",
	.summary = "whether all is well, and if not, why and what to do",
	.options = {{"check", NULL, VALUE_NONE, NULL, "only the verdict; exit status 0 when healthy"}},
	.run = run_status,
};

/* ---- nodes ---- */

static char *node_name(json_t *o)
{
	char *text;

	return asprintf(&text, "%s%s", text_of(o, "node"),
			json_is_true(json_object_get(o, "self")) ? " (this)" : "") < 0
		       ? NULL
		       : text;
}

static char *node_role(json_t *o)
{
	bool witness = json_is_true(json_object_get(o, "witness"));

	if (json_is_true(json_object_get(o, "leader")))
		return strdup(witness ? "witness, leader" : "leader");
	return strdup(witness ? "witness" : text_of(o, "role"));
}

/* As people see it: what is not yet, or not only, in `state`. */
static char *node_state(json_t *o)
{
	if (json_is_true(json_object_get(o, "away")))
		return strdup("away");
	if (json_is_true(json_object_get(o, "suspect")))
		return strdup("unheard");
	if (json_is_true(json_object_get(o, "drained")) && !strcmp(text_of(o, "state"), "up"))
		return strdup("drained");
	return strdup(text_of(o, "state"));
}

static char *node_lease(json_t *o)
{
	json_t *ms = json_object_get(o, "lease_left_ms");
	char *text;

	return !json_is_integer(ms) || asprintf(&text, "%lld ms", number_of(o, "lease_left_ms")) < 0 ? NULL
												     : text;
}

static char *node_latency(json_t *o)
{
	json_t *us = json_object_get(o, "latency_us");
	char *text;

	return !json_is_integer(us) || asprintf(&text, "%.2f ms", number_of(o, "latency_us") / 1000.0) < 0
		       ? NULL
		       : text;
}

static char *node_transport(json_t *o)
{
	char *text;

	return asprintf(&text, "%s%s", text_of(o, "transport"),
			json_is_false(json_object_get(o, "secure")) ? ", clear text" : "") < 0
		       ? NULL
		       : text;
}

static int run_nodes(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"NODE", NULL, TABLE_BOLD, node_name},	      {"ROLE", NULL, 0, node_role},
		{"STATE", "state", TABLE_STATE, node_state},  {"SINCE", "since", TABLE_AGE, NULL},
		{"ADDRESS", "addr", TABLE_HIDE, NULL},	      {"LEASE", NULL, TABLE_RIGHT, node_lease},
		{"LATENCY", NULL, TABLE_RIGHT, node_latency}, {"TRANSPORT", NULL, 0, node_transport},
		{"EPOCH", "epoch", TABLE_RIGHT, NULL},	      {"INCARNATION", "incarnation", TABLE_CUT, NULL},
	};

	return netctl_list(c, "nodes", NULL, columns, N_COLUMNS(columns), "no nodes");
}

const struct netctl_command cmd_nodes = {
	.name = "nodes",
	.summary = "the machines of the cluster",
	.run = run_nodes,
};

/* ---- sets ---- */

static int run_sets(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"SET", "set", TABLE_BOLD, NULL},
		{"OBJECTS", "objects", TABLE_RIGHT, NULL},
		{"SIZE", "bytes", TABLE_RIGHT | TABLE_BYTES, NULL},
		{"VERSION", "version", TABLE_RIGHT, NULL},
	};

	return netctl_list(c, "sets", NULL, columns, N_COLUMNS(columns), "no sets");
}

const struct netctl_command cmd_sets = {
	.name = "sets",
	.summary = "the replicated sets, as this node has them",
	.run = run_sets,
};
