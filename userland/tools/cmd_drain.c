/* SPDX-License-Identifier: GPL-2.0 */
/* netctl drain, resume: a node without applications. Progress goes to stderr, the result to stdout. */
#include <stdio.h>
#include <string.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

static const char *text_of(json_t *o, const char *field)
{
	return json_string_value(json_object_get(o, field)) ?: "-";
}

static void print_progress(struct netctl *c, json_t *event)
{
	const char *what = text_of(event, "what");
	long long left = json_integer_value(json_object_get(event, "left"));

	if (c->json)
		return;
	if (!strcmp(what, "moving"))
		fprintf(stderr, "  %s to %s ...\n", text_of(event, "app"), text_of(event, "to"));
	else
		fprintf(stderr, "  %s %s, %lld left\n", text_of(event, "app"), what, left);
}

static int print_drained(json_t *o)
{
	json_t *stayed = json_object_get(o, "stayed"), *moved = json_object_get(o, "moved"), *a;
	const char *node = text_of(o, "node");
	size_t i;

	json_array_foreach(stayed, i, a)
		printf("%s stays: %s; %s\n", text_of(a, "app"), text_of(a, "reason"), text_of(a, "remedy"));
	if (json_array_size(stayed))
		return print_error(EXIT_FAILED, "follow the remedies, then drain it again",
				   "%s takes no more applications, but %zu stayed", node,
				   json_array_size(stayed));
	if (json_is_false(json_object_get(o, "changed")))
		printf("unchanged\n");
	else
		printf("%s is drained: %zu %s moved away\n", node, json_array_size(moved),
		       json_array_size(moved) == 1 ? "application" : "applications");
	return EXIT_OK;
}

static int run_drain(struct netctl *c)
{
	json_t *args = json_object(), *result = NULL, *o;
	int r;

	if (c->arg[0])
		json_object_set_new(args, "node", json_string(c->arg[0]));
	if (netctl_option(c, "until-boot"))
		json_object_set_new(args, "until_boot", json_true());
	r = netctl_request(c, "drain", args, print_progress, &result);
	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	if (netctl_json(c, result))
		r = json_array_size(json_object_get(o, "stayed")) ? EXIT_FAILED : EXIT_OK;
	else
		r = print_drained(o);
	json_decref(result);
	return r;
}

const struct netctl_command cmd_drain = {
	.name = "drain",
	.summary = "move all applications away from a node and keep it free of them",
	.args = {{.value = "NODE", .kind = VALUE_NODE, .optional = true}},
	.options = {{"until-boot", NULL, VALUE_NONE, NULL, "only until the node boots again"}},
	.run = run_drain,
};

static int run_resume(struct netctl *c)
{
	json_t *args = json_object();

	if (c->arg[0])
		json_object_set_new(args, "node", json_string(c->arg[0]));
	return netctl_change(c, "resume", args, "takes applications again:", "node");
}

const struct netctl_command cmd_resume = {
	.name = "resume",
	.summary = "end the drain of a node",
	.args = {{.value = "NODE", .kind = VALUE_NODE, .optional = true}},
	.run = run_resume,
};
