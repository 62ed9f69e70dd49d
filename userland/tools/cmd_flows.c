/* SPDX-License-Identifier: GPL-2.0 */
/* netctl flows: connections that stay on a node while their port is another's. */
#include <stdio.h>
#include <string.h>

#include "userland/tools/netctl.h"

static char *endpoint(json_t *o, const char *addr, const char *port)
{
	const char *host = json_string_value(json_object_get(o, addr)) ?: "?";
	char *text;

	return asprintf(&text, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host,
			(int)json_integer_value(json_object_get(o, port))) < 0
		       ? NULL
		       : text;
}

static char *service(json_t *o)
{
	return endpoint(o, "vip", "port");
}

static char *client(json_t *o)
{
	return endpoint(o, "client", "client_port");
}

static int run_flows(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"PROTO", "proto", 0, NULL},	  {"ADDRESS", NULL, TABLE_BOLD, service},
		{"CLIENT", NULL, 0, client},	  {"NODE", "node", 0, NULL},
		{"APP", "app", 0, NULL},	  {"SINCE", "since", TABLE_AGE, NULL},
		{"KEPT UNTIL", "until", 0, NULL},
	};

	return netctl_list(c, "flows", NULL, columns, N_COLUMNS(columns),
			   "every connection is where its port is");
}

const struct netctl_command cmd_flows = {
	.name = "flows",
	.summary = "connections that are not where their port is: closed ones that end where they were, and "
		   "kept ones",
	.run = run_flows,
};
