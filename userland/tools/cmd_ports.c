/* SPDX-License-Identifier: GPL-2.0 */
/* netctl ports, port add, port del: who answers on which port. */
#include <stdio.h>
#include <string.h>

#include "userland/tools/netctl.h"

static char *service(json_t *o)
{
	const char *addr = json_string_value(json_object_get(o, "addr"));
	const char *vip = json_string_value(json_object_get(o, "vip"));
	const char *host = vip && *vip ? vip : addr ?: "?";
	char *text;

	return asprintf(&text, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host,
			(int)json_integer_value(json_object_get(o, "port"))) < 0
		       ? NULL
		       : text;
}

static char *process(json_t *o)
{
	const char *comm = json_string_value(json_object_get(o, "comm"));
	char *text;

	if (!comm || !*comm)
		return NULL;
	return asprintf(&text, "%s (%d)", comm, (int)json_integer_value(json_object_get(o, "pid"))) < 0
		       ? NULL
		       : text;
}

/* Source ports are many ranges a node: for people lines of their own below the table, taken out of `result`. */
static json_t *take_leased(json_t *result)
{
	json_t *leased = json_array();
	size_t i = 0;

	while (i < json_array_size(result)) {
		json_t *o = json_array_get(result, i);

		if (json_object_get(o, "ranges")) {
			json_array_append(leased, o);
			json_array_remove(result, i);
		} else {
			i++;
		}
	}
	return leased;
}

/* The address and protocol that were asked for; netd looks at the number only. */
static void keep_wanted(json_t *result, const char *vip, const char *proto)
{
	size_t i = json_array_size(result);

	while (i-- > 0) {
		json_t *o = json_array_get(result, i);

		if ((vip && strcmp(json_string_value(json_object_get(o, "vip")) ?: "", vip)) ||
		    (proto && strcmp(json_string_value(json_object_get(o, "proto")) ?: "", proto)))
			json_array_remove(result, i);
	}
}

static const struct table_column columns[] = {
	{"PROTO", "proto", 0, NULL},	     {"ADDRESS", NULL, TABLE_BOLD, service},
	{"NODE", "node", 0, NULL},	     {"APP", "app", 0, NULL},
	{"PROCESS", NULL, 0, process},	     {"STATE", "state", TABLE_STATE, NULL},
	{"SINCE", "since", TABLE_AGE, NULL}, {"EPOCH", "epoch", TABLE_RIGHT, NULL},
};

static void show(struct netctl *c, json_t *result, const char *none)
{
	json_t *leased = c->json ? NULL : take_leased(result), *o;
	size_t i;

	if (json_array_size(result) || !json_array_size(leased))
		netctl_show(c, result, columns, N_COLUMNS(columns), none);
	json_array_foreach(leased, i, o)
		printf("source ports of %s: %s\n", json_string_value(json_object_get(o, "node")),
		       json_string_value(json_object_get(o, "ranges")));
	json_decref(leased);
}

static int run_ports(struct netctl *c)
{
	const char *node = netctl_option(c, "node"), *app = netctl_option(c, "app");
	json_t *args = json_object(), *result = NULL;
	char vip[64], proto[8] = "";
	int r;

	if (c->arg[0] && !netctl_put_port(args, c->arg[0])) {
		json_decref(args);
		return EXIT_USAGE;
	}
	snprintf(vip, sizeof(vip), "%s", json_string_value(json_object_get(args, "vip")) ?: "");
	if (c->arg[0] && strchr(c->arg[0], '/'))
		snprintf(proto, sizeof(proto), "%s", json_string_value(json_object_get(args, "proto")) ?: "");
	else
		json_object_del(args, "proto"); /* both */
	if (node)
		json_object_set_new(args, "node", json_string(node));
	if (app)
		json_object_set_new(args, "app", json_string(app));
	r = netctl_request(c, "ports", args, NULL, &result);
	if (r != EXIT_OK)
		return r;
	keep_wanted(result, *vip ? vip : NULL, *proto ? proto : NULL);
	show(c, result, c->arg[0] || node || app ? "no such port" : "no ports");
	json_decref(result);
	return EXIT_OK;
}

const struct netctl_command cmd_ports = {
	.name = "ports",
	.summary = "who answers on which port of the cluster's addresses",
	.args = {{.value = "[VIP]:PORT[/udp]", .kind = VALUE_PORT, .optional = true}},
	.options = {{"node", "NODE", VALUE_NODE, NULL, "only those of a node"},
		    {"app", "APP", VALUE_APP, NULL, "only those of an application"}},
	.run = run_ports,
};

static int change_port(struct netctl *c, const char *cmd, const char *node, const char *done)
{
	json_t *args = json_object();

	if (!netctl_put_ports(args, c->arg[0])) {
		json_decref(args);
		return EXIT_USAGE;
	}
	if (node)
		json_object_set_new(args, "node", json_string(node));
	return netctl_change(c, cmd, args, done, NULL);
}

static int run_port_add(struct netctl *c)
{
	return change_port(c, "port-add", c->arg[1], "pinned");
}

const struct netctl_command cmd_port_add = {
	.name = "port add",
	.summary = "give a port to a node, for a server that ssi-run did not start",
	.args = {{.value = "[VIP]:PORT[-LAST][/udp]", .kind = VALUE_PORT},
		 {.value = "NODE", .kind = VALUE_NODE, .keyword = "node"}},
	.run = run_port_add,
};

static int run_port_del(struct netctl *c)
{
	return change_port(c, "port-del", NULL, "removed");
}

const struct netctl_command cmd_port_del = {
	.name = "port del",
	.summary = "take back a port given with `port add`",
	.args = {{.value = "[VIP]:PORT[-LAST][/udp]", .kind = VALUE_PORT}},
	.run = run_port_del,
};
