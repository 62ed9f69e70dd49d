/* SPDX-License-Identifier: GPL-2.0 */
/* netctl apps, signal, freeze, thaw, logs: what ssi-run started, wherever it is. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/tools/netctl.h"

static int run_apps(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"APP", "app", TABLE_BOLD, NULL},
		{"NODE", "node", 0, NULL},
		{"STATE", "state", TABLE_STATE, NULL},
		{"SINCE", "since", TABLE_AGE, NULL},
		{"PORTS", "ports", 0, NULL},
		{"PID", "pid", TABLE_RIGHT, NULL},
		{"USER", "user", 0, NULL},
		{"STARTED ON", "origin", 0, NULL},
		{"FLAGS", "flags", TABLE_HIDE, NULL},
		{"COMMAND", "cmd", TABLE_CUT, NULL},
	};

	return netctl_list(c, "apps", NULL, columns, N_COLUMNS(columns),
			   "no applications; start one with `ssi-run CMD`");
}

const struct netctl_command cmd_apps = {
	.name = "apps",
	.summary = "the applications that ssi-run started",
	.run = run_apps,
};

static int run_signal(struct netctl *c)
{
	json_t *args = json_pack("{s:s, s:i}", "app", c->arg[0], "sig", netctl_signal_number(c->arg[1]));
	json_t *result = NULL;
	int r = netctl_request(c, "signal", args, NULL, &result);

	if (r == EXIT_OK && !netctl_json(c, result))
		printf("sent SIG%s to %s\n", sigabbrev_np(netctl_signal_number(c->arg[1])) ?: c->arg[1],
		       c->arg[0]);
	json_decref(result);
	return r;
}

const struct netctl_command cmd_signal = {
	.name = "signal",
	.summary = "send a signal to an application, wherever it is",
	.args = {{.value = "APP", .kind = VALUE_APP}, {.value = "SIG", .kind = VALUE_SIGNAL}},
	.run = run_signal,
};

static int run_freeze(struct netctl *c)
{
	return netctl_change(c, "freeze", json_pack("{s:s}", "app", c->arg[0]), "frozen on", "node");
}

const struct netctl_command cmd_freeze = {
	.name = "freeze",
	.summary = "all processes of an application stand still; its connections stay",
	.args = {{.value = "APP", .kind = VALUE_APP}},
	.run = run_freeze,
};

static int run_thaw(struct netctl *c)
{
	return netctl_change(c, "thaw", json_pack("{s:s}", "app", c->arg[0]), "runs on, on", "node");
}

const struct netctl_command cmd_thaw = {
	.name = "thaw",
	.summary = "a frozen application goes on",
	.args = {{.value = "APP", .kind = VALUE_APP}},
	.run = run_thaw,
};

static int run_logs(struct netctl *c)
{
	const char *lines = netctl_option(c, "lines");
	json_t *args = json_pack("{s:s}", "app", c->arg[0]), *result = NULL, *o, *line;
	size_t i, k;
	int r;

	if (lines)
		json_object_set_new(args, "lines", json_integer(atoll(lines)));
	r = netctl_request(c, "logs", args, NULL, &result);
	if (r == EXIT_OK && !netctl_json(c, result)) {
		json_array_foreach(result, i, o) json_array_foreach(json_object_get(o, "lines"), k, line)
			printf("%s\n", json_string_value(line) ?: "");
	}
	json_decref(result);
	return r;
}

const struct netctl_command cmd_logs = {
	.name = "logs",
	.summary = "what a detached application wrote",
	.args = {{.value = "APP", .kind = VALUE_APP}},
	.options = {{"lines", "N", VALUE_NUMBER, NULL, "at most the last N lines"}},
	.run = run_logs,
};
