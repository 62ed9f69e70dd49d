/* SPDX-License-Identifier: GPL-2.0 */
/* netctl vips, vip add, vip del: the cluster's addresses. */
#include <stdio.h>
#include <string.h>

#include "userland/tools/netctl.h"

/* Where it is not up, and why. */
static char *vip_trouble(json_t *o)
{
	json_t *node, *nodes = json_object_get(o, "nodes");
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	bool any = false;

	if (!f)
		return NULL;
	json_array_foreach(nodes, i, node)
	{
		const char *state = json_string_value(json_object_get(node, "state"));

		if (!state || !strcmp(state, "up"))
			continue;
		fprintf(f, "%s%s: %s", any ? "; " : "",
			json_string_value(json_object_get(node, "node")) ?: "?", state);
		any = true;
	}
	if (!any)
		fputc('-', f);
	fclose(f);
	return text;
}

static char *vip_addr(json_t *o)
{
	char *text;

	return asprintf(&text, "%s/%d", json_string_value(json_object_get(o, "addr")) ?: "?",
			(int)json_integer_value(json_object_get(o, "prefix"))) < 0
		       ? NULL
		       : text;
}

static int run_vips(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"ADDRESS", NULL, TABLE_BOLD, vip_addr},
		{"DEVICE", "dev", 0, NULL},
		{"MODE", "mode", 0, NULL},
		{"DATAPATH", "datapath", 0, NULL},
		{"MAC", "mac", 0, NULL},
		{"STATE", "state", TABLE_STATE, NULL},
		{"SINCE", "since", TABLE_AGE, NULL},
		{"TROUBLE", NULL, TABLE_HIDE | TABLE_CUT, vip_trouble},
	};

	return netctl_list(c, "vips", NULL, columns, N_COLUMNS(columns),
			   "no cluster address yet; add one with `netctl vip add ADDR/LEN`");
}

const struct netctl_command cmd_vips = {
	.name = "vips",
	.summary = "the cluster's addresses, and where they are exposed",
	.run = run_vips,
};

static int run_vip_add(struct netctl *c)
{
	json_t *args = json_object();
	const char *mode = netctl_option(c, "mode"), *mac = netctl_option(c, "mac");

	if (!netctl_put_addr_len(args, c->arg[0])) {
		json_decref(args);
		return EXIT_USAGE;
	}
	if (c->arg[1])
		json_object_set_new(args, "dev", json_string(c->arg[1]));
	if (mode)
		json_object_set_new(args, "mode", json_string(mode));
	if (mac)
		json_object_set_new(args, "mac", json_string(mac));
	if (netctl_option(c, "force"))
		json_object_set_new(args, "force", json_true());
	netctl_slow(c, "netctl: all nodes look whether they can expose %s ...", c->arg[0]);
	return netctl_change(c, "vip-add", args, "exposed on all nodes:", "addr");
}

const struct netctl_command cmd_vip_add = {
	.name = "vip add",
	.summary = "expose a cluster address on all nodes",
	.args = {{.value = "ADDR/LEN", .kind = VALUE_ADDR_LEN},
		 {.value = "[NODE:]IF", .kind = VALUE_IF, .optional = true, .keyword = "dev"}},
	.options = {{"mode", "MODE", VALUE_CHOICE, "auto|shared",
		     "how frames reach the nodes, default: auto"},
		    {"mac", "MAC", VALUE_MAC, NULL, "the address's MAC, default: made of the address"},
		    {"force", NULL, VALUE_NONE, NULL,
		     "do not ask first whether a machine outside has the address"}},
	.run = run_vip_add,
};

static int run_vip_del(struct netctl *c)
{
	return netctl_change(c, "vip-del", json_pack("{s:s}", "addr", c->arg[0]),
			     "no longer exposed:", "addr");
}

const struct netctl_command cmd_vip_del = {
	.name = "vip del",
	.summary = "withdraw a cluster address from all nodes",
	.args = {{.value = "ADDR", .kind = VALUE_VIP}},
	.run = run_vip_del,
};
