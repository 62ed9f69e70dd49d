/* SPDX-License-Identifier: GPL-2.0 */
/* netctl key rotate: a new key for the whole cluster. The key itself never passes here. */
#include <stdio.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

static void print_rotated(json_t *o)
{
	json_t *without = json_object_get(o, "without"), *node;
	const char *until = json_string_value(json_object_get(o, "old_until"));
	size_t i;

	printf("the cluster's key is number %lld now; the one before opens %s%s\n",
	       (long long)json_integer_value(json_object_get(o, "generation")),
	       until ? "until " : "nothing any more", until ?: "");
	if (!json_array_size(without))
		return;
	printf("not yet on");
	json_array_foreach(without, i, node) printf(" %s", json_string_value(node) ?: "-");
	printf(until ? ": must be up once until then, else copy /etc/netssi/key there\n"
		     : ": copy /etc/netssi/key there (mode 0600) and restart netd\n");
}

static int run_key_rotate(struct netctl *c)
{
	const char *overlap = netctl_option(c, "overlap");
	json_t *args = json_object(), *result = NULL;
	int r;

	if (overlap)
		json_object_set_new(args, "overlap_s", json_integer(netctl_seconds(overlap)));
	r = netctl_request(c, "key-rotate", args, NULL, &result);
	if (r != EXIT_OK)
		return r;
	if (!netctl_json(c, result))
		print_rotated(json_array_get(result, 0));
	json_decref(result);
	return EXIT_OK;
}

const struct netctl_command cmd_key_rotate = {
	.name = "key rotate",
	.summary = "give the cluster a new key",
	.options = {{"overlap", "TIME", VALUE_TIME, NULL,
		     "how long nodes that are away may come back with the key before: 10s to 30d, default "
		     "1d; 0: not at all"}},
	.run = run_key_rotate,
};
