/* SPDX-License-Identifier: GPL-2.0 */
/* netctl: help, completion and "did you mean", all out of the table of commands. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/netdclient.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

/* ---- help ---- */

static void put_arg(FILE *f, const struct netctl_arg *a)
{
	fprintf(f, " %s%s%s%s%s%s", a->optional ? "[" : "", a->keyword ?: "", a->keyword ? " " : "",
		a->choices ?: a->value, a->many ? " ..." : "", a->optional ? "]" : "");
}

char *netctl_synopsis(const struct netctl_command *cmd)
{
	const struct netctl_option *o;
	const struct netctl_arg *a;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fputs(cmd->name, f);
	for (a = cmd->args; a->value; a++)
		put_arg(f, a);
	for (o = cmd->options; o->name; o++)
		fprintf(f, " [--%s%s%s]", o->name, o->value ? " " : "",
			o->kind == VALUE_CHOICE ? o->choices : o->value ?: "");
	fclose(f);
	return text;
}

void netctl_help(void)
{
	const struct netctl_command *const *p;

	printf("Usage: netctl [-j|-p] [COMMAND [ARGUMENT]...]\n"
	       "Shows and changes a netssi cluster. Without a command: status.\n\n");
	for (p = netctl_commands; *p; p++)
		printf("  %s%-10s%s %s\n", print_on(PRINT_BOLD), (*p)->name, print_off(PRINT_BOLD),
		       (*p)->summary);
	printf("\n  -j, --json    objects for programs, errors as {\"error\",\"code\",\"remedy\"}\n"
	       "  -p, --pretty  the same, indented\n"
	       "  -h, --help    this, or help on a command: netctl COMMAND --help\n"
	       "\nExit status: 0 ok, 1 failed, 2 usage, 3 no quorum, 4 netd not running or not a member.\n"
	       "See netctl(8).\n");
}

void netctl_help_command(const struct netctl_command *cmd)
{
	_free_ char *synopsis = netctl_synopsis(cmd);
	const struct netctl_option *o;

	printf("Usage: netctl %s\n%s\n", synopsis ?: cmd->name, cmd->summary);
	for (o = cmd->options; o->name; o++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "", o->choices ?: o->value ?: "");
		printf("%s  %-22s %s\n", o == cmd->options ? "\n" : "", left, o->help);
	}
}

void netctl_help_group(const char *first)
{
	const struct netctl_command *const *p;
	size_t len = strlen(first);
	const char *gap = "";

	for (p = netctl_commands; *p; p++) {
		if (strncmp((*p)->name, first, len) || (*p)->name[len] != ' ')
			continue;
		fputs(gap, stdout);
		netctl_help_command(*p);
		gap = "\n";
	}
}

static json_t *command_json(const struct netctl_command *cmd)
{
	_free_ char *synopsis = netctl_synopsis(cmd);
	json_t *options = json_array();
	const struct netctl_option *o;

	for (o = cmd->options; o->name; o++)
		json_array_append_new(options, json_pack("{s:s, s:s?, s:s}", "option", o->name, "value",
							 o->value, "help", o->help));
	return json_pack("{s:s, s:s, s:s, s:o}", "command", cmd->name, "usage", synopsis ?: cmd->name,
			 "summary", cmd->summary, "options", options);
}

static int run_help(struct netctl *c)
{
	const struct netctl_command *const *p;
	json_t *list;

	if (c->n_rest) {
		const struct netctl_command *cmd = netctl_find(c->rest[0], c->n_rest > 1 ? c->rest[1] : NULL);

		if (cmd)
			netctl_help_command(cmd);
		else if (c->n_rest == 1 && netctl_is_group(c->rest[0]))
			netctl_help_group(c->rest[0]);
		else
			return print_error(EXIT_USAGE, "`netctl help` lists them", "there is no command '%s'",
					   c->rest[0]);
		return EXIT_OK;
	}
	if (!c->json) {
		netctl_help();
		return EXIT_OK;
	}
	list = json_array();
	for (p = netctl_commands; *p; p++)
		json_array_append_new(list, command_json(*p));
	netctl_json(c, list);
	json_decref(list);
	return EXIT_OK;
}

const struct netctl_command cmd_help = {
	.name = "help",
	.summary = "the commands, or one of them",
	.args = {{.value = "COMMAND", .kind = VALUE_TEXT, .optional = true, .many = true}},
	.run = run_help,
};

/* ---- did you mean ---- */

#define NEAR_MAX 32

/* Edits from a to b: a letter more, less or other, or two that changed places. */
static size_t distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), d[3][NEAR_MAX + 1], i, j;

	if (la > NEAR_MAX || lb > NEAR_MAX)
		return NEAR_MAX;
	for (j = 0; j <= lb; j++)
		d[0][j] = j;
	for (i = 1; i <= la; i++) {
		size_t *row = d[i % 3], *above = d[(i - 1) % 3], *above2 = d[(i + 1) % 3];

		row[0] = i;
		for (j = 1; j <= lb; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < row[j])
				row[j] = above[j] + 1;
			if (row[j - 1] + 1 < row[j])
				row[j] = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    above2[j - 2] + 1 < row[j])
				row[j] = above2[j - 2] + 1;
		}
	}
	return d[la % 3][lb];
}

const char *netctl_nearest(const char *word, const char *(*next)(void *arg), void *arg)
{
	size_t len = strlen(word), best = len < 4 ? 2 : 3; /* at least so near */
	const char *name, *near = NULL;

	while ((name = next(arg))) {
		size_t d = distance(word, name);

		/* the beginning of one name is as good as a slip */
		if (len >= 2 && !strncmp(name, word, len) && d > 1)
			d = 1;
		if (d < best) {
			best = d;
			near = name;
		}
	}
	return near;
}

/* ---- completion ---- */

static void offer(const char *candidate, size_t len, const char *word)
{
	if (len && strlen(word) <= len && !strncmp(candidate, word, strlen(word)))
		printf("%.*s\n", (int)len, candidate);
}

static void offer_choices(const char *choices, const char *word)
{
	while (choices && *choices) {
		size_t n = strcspn(choices, "|");

		offer(choices, n, word);
		choices += n + (choices[n] == '|');
	}
}

/* Names that netd knows; silent when it does not run. */
static void offer_names(const char *cmd, const char *field, const char *word)
{
	json_t *answer = NULL, *o;
	size_t i;

	if (netdclient_call(cmd, NULL, NULL, NULL, &answer) < 0)
		return;
	json_array_foreach(json_object_get(answer, "result"), i, o)
	{
		const char *name = json_string_value(json_object_get(o, field));

		if (name)
			offer(name, strlen(name), word);
	}
	json_decref(answer);
}

static void offer_interfaces(const char *word)
{
	DIR *d = opendir("/sys/class/net");
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			offer(e->d_name, strlen(e->d_name), word);
	if (d)
		closedir(d);
}

static void offer_value(enum value_kind kind, const char *choices, const char *word)
{
	int i;

	switch (kind) {
	case VALUE_NODE:
		offer_names("nodes", "node", word);
		break;
	case VALUE_SETTING:
		offer_names("settings", "key", word);
		break;
	case VALUE_APP:
	case VALUE_WHAT:
		offer_names("apps", "app", word);
		break;
	case VALUE_VIP:
	case VALUE_PORT:
		offer_names("vips", "addr", word);
		break;
	case VALUE_IF:
		offer_interfaces(word);
		break;
	case VALUE_CHOICE:
		offer_choices(choices, word);
		break;
	case VALUE_SIGNAL:
		for (i = 1; i < 32; i++)
			if (sigabbrev_np(i))
				offer(sigabbrev_np(i), strlen(sigabbrev_np(i)), word);
		break;
	default:
		break;
	}
}

/* The command's first word, or its second behind the first. */
static void offer_commands(const char *first, const char *word)
{
	const struct netctl_command *const *p;
	const char *last = "";
	size_t last_len = 0;

	for (p = netctl_commands; *p; p++) {
		const char *name = (*p)->name;
		size_t n = strcspn(name, " ");

		if (!first) {
			if (n != last_len || strncmp(name, last, n))
				offer(name, n, word);
			last = name;
			last_len = n;
		} else if (name[n] && n == strlen(first) && !strncmp(name, first, n)) {
			offer(name + n + 1, strlen(name + n + 1), word);
		}
	}
}

static void offer_options(const struct netctl_command *cmd, const char *word)
{
	const struct netctl_option *o;
	char text[40];

	for (o = cmd->options; o->name; o++) {
		snprintf(text, sizeof(text), "--%s", o->name);
		offer(text, strlen(text), word);
	}
	offer_choices("--json|--pretty|--help", word);
}

static const struct netctl_option *option_named(const struct netctl_command *cmd, const char *word)
{
	const struct netctl_option *o;

	for (o = cmd->options; o->name; o++)
		if (!strncmp(word, "--", 2) && !strcmp(word + 2, o->name))
			return o;
	return NULL;
}

/* The place of the last word among the arguments. */
static void offer_argument(const struct netctl_command *cmd, int argc, const char *const *argv)
{
	const struct netctl_arg *a = cmd->args;
	const char *word = argv[argc - 1];
	bool behind_keyword = false;
	int i;

	for (i = 0; i < argc - 1 && a->value; i++) {
		const struct netctl_option *o = option_named(cmd, argv[i]);

		if (argv[i][0] == '-') {
			i += o && o->kind != VALUE_NONE;
		} else if (a->keyword && !behind_keyword && !strcmp(argv[i], a->keyword)) {
			behind_keyword = true;
		} else {
			a += !a->many;
			behind_keyword = false;
		}
	}
	if (!a->value)
		return;
	if (a->keyword && !behind_keyword)
		offer(a->keyword, strlen(a->keyword), word);
	else
		offer_value(a->kind, a->choices, word);
}

int netctl_complete(int argc, const char *const *argv)
{
	const struct netctl_command *cmd;
	const struct netctl_option *o;
	const char *word;
	int skip;

	while (argc > 1 && argv[0][0] == '-') {
		argc--;
		argv++;
	}
	if (argc < 1)
		return EXIT_OK;
	word = argv[argc - 1];
	if (argc == 1) {
		offer_commands(NULL, word);
		offer_choices(*word == '-' ? "--json|--pretty|--help" : NULL, word);
		return EXIT_OK;
	}
	cmd = netctl_find(argv[0], argc > 2 ? argv[1] : NULL);
	if (!cmd) {
		if (argc == 2)
			offer_commands(argv[0], word);
		return EXIT_OK;
	}
	skip = 1 + (strchr(cmd->name, ' ') != NULL);
	o = argc - skip >= 2 ? option_named(cmd, argv[argc - 2]) : NULL;
	if (o && o->kind != VALUE_NONE)
		offer_value(o->kind, o->choices, word);
	else if (*word == '-')
		offer_options(cmd, word);
	else
		offer_argument(cmd, argc - skip, argv + skip);
	return EXIT_OK;
}
