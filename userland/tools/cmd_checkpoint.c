/* SPDX-License-Identifier: GPL-2.0 */
/* netctl checkpoint, restart: applications in directories. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

/* As the node is told: absolute. */
static json_t *dir_json(const char *dir)
{
	char path[PATH_MAX] = "", whole[2 * PATH_MAX + 2];

	if (*dir == '/' || !getcwd(path, sizeof(path)))
		return json_string(dir);
	snprintf(whole, sizeof(whole), "%s/%s", path, dir);
	return json_string(whole);
}

static const char *text_of(json_t *o, const char *field)
{
	return json_string_value(json_object_get(o, field)) ?: "-";
}

static long long number_of(json_t *o, const char *field)
{
	return json_integer_value(json_object_get(o, field));
}

static int run_checkpoint(struct netctl *c)
{
	const char *keep = netctl_option(c, "keep-connections");
	json_t *args = json_object(), *result = NULL, *o;
	char size[32];
	int r;

	json_object_set_new(args, "app", json_string(c->arg[0]));
	json_object_set_new(args, "dir", dir_json(c->arg[1]));
	json_object_set_new(args, "leave_running", json_boolean(netctl_option(c, "leave-running") != NULL));
	if (keep)
		json_object_set_new(args, "keep_s", json_integer(netctl_seconds(keep)));
	netctl_slow(c, "netctl: writing %s to %s ...", c->arg[0], c->arg[1]);
	r = netctl_request(c, "checkpoint", args, NULL, &result);
	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	if (!netctl_json(c, result)) {
		print_bytes((double)number_of(o, "bytes"), size, sizeof(size));
		printf("%s is in %s/%lld on %s: %s, frozen %.0f ms; it %s", text_of(o, "app"),
		       text_of(o, "dir"), number_of(o, "version"), text_of(o, "node"), size,
		       json_number_value(json_object_get(o, "frozen_ms")),
		       json_is_true(json_object_get(o, "running")) ? "runs on" : "has ended");
		if (keep)
			printf(", %lld %s kept until %s", number_of(o, "connections"),
			       number_of(o, "connections") == 1 ? "connection is" : "connections are",
			       text_of(o, "kept_until"));
		printf("\n");
	}
	json_decref(result);
	return EXIT_OK;
}

const struct netctl_command cmd_checkpoint = {
	.name = "checkpoint",
	.summary = "write a running application to a directory on its node, and end it",
	.args = {{.value = "APP", .kind = VALUE_APP}, {.value = "DIR", .kind = VALUE_FILE}},
	.options = {{"leave-running", NULL, VALUE_NONE, NULL, "let it run on"},
		    {"keep-connections", "TIME", VALUE_PERIOD, NULL,
		     "up to 10m: its clients' connections go on when it is restarted by then"}},
	.run = run_checkpoint,
};

static int run_restart(struct netctl *c)
{
	const char *node = netctl_option(c, "node");
	json_t *args = json_object(), *result = NULL, *o;
	int r;

	json_object_set_new(args, "dir", dir_json(c->arg[0]));
	if (node)
		json_object_set_new(args, "node", json_string(node));
	netctl_slow(c, "netctl: starting what is in %s ...", c->arg[0]);
	r = netctl_request(c, "restart", args, NULL, &result);
	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	if (!netctl_json(c, result))
		printf("%s runs on %s, from %s, version %lld%s\n", text_of(o, "app"), text_of(o, "node"),
		       text_of(o, "dir"), number_of(o, "version"),
		       !json_object_get(o, "connections") ? ""
		       : number_of(o, "connections")	  ? ", with the connections that were kept"
							  : ", without its connections: none were kept");
	json_decref(result);
	return EXIT_OK;
}

const struct netctl_command cmd_restart = {
	.name = "restart",
	.summary = "start an application from its checkpoint",
	.args = {{.value = "DIR", .kind = VALUE_FILE}},
	.options = {{"node", "NODE", VALUE_NODE, NULL,
		     "on this node, which has the directory; default: here"}},
	.run = run_restart,
};
