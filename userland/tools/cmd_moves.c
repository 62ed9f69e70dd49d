/* SPDX-License-Identifier: GPL-2.0 */
/* netctl migrate, moves: live migration. Progress goes to stderr, the result to stdout. */
#include <stdio.h>
#include <string.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

static int run_moves(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"APP", "app", TABLE_BOLD, NULL},
		{"FROM", "from", 0, NULL},
		{"TO", "to", 0, NULL},
		{"STEP", "step", TABLE_STATE, NULL},
		{"SINCE", "since", TABLE_AGE, NULL},
		{"REASON", "reason", TABLE_HIDE | TABLE_CUT, NULL},
	};

	return netctl_list(c, "moves", NULL, columns, N_COLUMNS(columns), "no moves under way");
}

const struct netctl_command cmd_moves = {
	.name = "moves",
	.summary = "migrations that are under way",
	.run = run_moves,
};

/* ---- migrate ---- */

static void print_progress(struct netctl *c, json_t *event)
{
	const char *what = json_string_value(json_object_get(event, "what")) ?: "move";
	const char *step = json_string_value(json_object_get(event, "step"));
	json_t *bytes = json_object_get(event, "bytes"), *of = json_object_get(event, "of");
	static char last[32]; /* a step that is told twice is shown once */
	char done[32], all[32];

	if (c->json || !strcmp(last, step ?: ""))
		return;
	snprintf(last, sizeof(last), "%s", step ?: "");
	if (json_is_number(bytes)) {
		print_bytes(json_number_value(bytes), done, sizeof(done));
		print_bytes(json_number_value(of), all, sizeof(all));
		fprintf(stderr, "  %s: %s%s%s\n", step ?: what, done, json_is_number(of) ? " of " : "",
			json_is_number(of) ? all : "");
	} else {
		fprintf(stderr, "  %s\n", step ?: what);
	}
}

static void print_ms(json_t *o, const char *field, const char *label, const char **separator)
{
	json_t *v = json_object_get(o, field);

	if (!json_is_number(v))
		return;
	printf("%s%s %.*f ms", *separator, label, json_number_value(v) < 10 ? 1 : 0, json_number_value(v));
	*separator = ", ";
}

static void print_count(json_t *o, const char *field, const char *one, const char *many,
			const char **separator)
{
	json_t *v = json_object_get(o, field);
	long long n = json_integer_value(v);

	if (!json_is_integer(v))
		return;
	printf("%s%lld %s", *separator, n, n == 1 ? one : many);
	*separator = ", ";
}

/* Who carries its TCP connections. */
static void print_connections_by(json_t *o, const char *between)
{
	const char *by = json_string_value(json_object_get(o, "connections_by"));

	if (by)
		printf("%s%s", between, strcmp(by, "criu") == 0 ? "CRIU" : by);
}

/* Why it stood still for longer than it had to, if so. */
static void print_rounds_end(json_t *o)
{
	const char *end = json_string_value(json_object_get(o, "rounds_end")) ?: "";

	if (strcmp(end, "steady") == 0 || strcmp(end, "limit") == 0)
		printf(" (it writes to its memory as fast as that is sent)");
	else if (strcmp(end, "untracked") == 0)
		printf(" (this kernel does not tell what changes in memory)");
}

static void print_summary(json_t *o, const char *target)
{
	json_t *bytes = json_object_get(o, "bytes");
	const char *separator = ": ";
	char size[32];

	printf("%s moved to %s", json_string_value(json_object_get(o, "app")) ?: "it",
	       json_string_value(json_object_get(o, "node")) ?: target);
	print_ms(o, "frozen_ms", "frozen", &separator);
	print_ms(o, "stall_ms", "stall", &separator);
	print_ms(o, "total_ms", "total", &separator);
	print_count(o, "sockets", "socket", "sockets", &separator);
	print_connections_by(o, " by ");
	if (json_is_number(bytes)) {
		print_bytes(json_number_value(bytes), size, sizeof(size));
		printf("%s%s", separator, size);
		separator = ", ";
	}
	print_count(o, "rounds", "round", "rounds", &separator);
	print_rounds_end(o);
	print_count(o, "held_packets", "packet held", "packets held", &separator);
	printf("\n");
}

/* What stands against a move, a line each. */
static int print_refusals(json_t *o, const char *target)
{
	json_t *list = json_object_get(o, "refusals"), *r;
	const char *app = json_string_value(json_object_get(o, "app")) ?: "it";
	const char *why = json_string_value(json_object_get(o, "connections_why")) ?: "";
	size_t i, n = json_array_size(list);

	if (!n) {
		printf("%s can move to %s", app, target);
		print_connections_by(o, "; its TCP connections go by ");
		printf("%s%s\n", *why ? ": " : "", why);
		return EXIT_OK;
	}
	json_array_foreach(list, i, r)
	{
		const char *path = json_string_value(json_object_get(r, "path")) ?: "";
		json_int_t pid = json_integer_value(json_object_get(r, "pid"));
		json_int_t fd = json_integer_value(json_object_get(r, "fd"));

		if (pid)
			printf("pid %lld ", (long long)pid);
		if (fd >= 0)
			printf("fd %lld ", (long long)fd);
		printf("%s%s%s; %s\n", path, *path || pid ? ": " : "",
		       json_string_value(json_object_get(r, "reason")) ?: "?",
		       json_string_value(json_object_get(r, "remedy")) ?: "");
	}
	return print_error(EXIT_FAILED, "follow the remedies, then try again", "%s cannot move to %s: %zu %s",
			   app, target, n, n == 1 ? "reason" : "reasons");
}

static int run_migrate(struct netctl *c)
{
	json_t *args = json_object(), *result = NULL, *o;
	bool dry_run = netctl_option(c, "dry-run") != NULL;
	int r;

	if (!netctl_put_what(args, c->arg[0])) {
		json_decref(args);
		return EXIT_USAGE;
	}
	json_object_set_new(args, "node", json_string(c->arg[1]));
	if (dry_run)
		json_object_set_new(args, "dry_run", json_true());
	r = netctl_request(c, "migrate", args, print_progress, &result);
	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	if (netctl_json(c, result))
		r = json_array_size(json_object_get(o, "refusals")) ? EXIT_FAILED : EXIT_OK;
	else if (dry_run)
		r = print_refusals(o, c->arg[1]);
	else if (json_is_false(json_object_get(o, "changed")))
		printf("unchanged\n");
	else
		print_summary(o, c->arg[1]);
	json_decref(result);
	return r;
}

const struct netctl_command cmd_migrate = {
	.name = "migrate",
	.summary = "move a running application to another node",
	.args = {{.value = "APP|[VIP]:PORT[/udp]|pid:[NODE/]PID", .kind = VALUE_WHAT},
		 {.value = "NODE", .kind = VALUE_NODE}},
	.options = {{"dry-run", NULL, VALUE_NONE, NULL, "only check whether it can move"}},
	.run = run_migrate,
};
