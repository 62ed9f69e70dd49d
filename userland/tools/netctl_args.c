/* SPDX-License-Identifier: GPL-2.0 */
/*
 * netctl: words to a command with its arguments and options, by the table. Every
 * mistake gets one line that says what would be right, or what was meant.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

#define COMMAND_POINTER(name) &cmd_##name,
const struct netctl_command *const netctl_commands[] = {NETCTL_COMMANDS(COMMAND_POINTER) NULL};

const struct netctl_command *netctl_find(const char *first, const char *second)
{
	const struct netctl_command *const *p;
	size_t len = strlen(first);

	for (p = netctl_commands; *p; p++) {
		const char *name = (*p)->name;

		if (strncmp(name, first, len))
			continue;
		if (!name[len] || (name[len] == ' ' && second && !strcmp(name + len + 1, second)))
			return *p;
	}
	return NULL;
}

const char *netctl_option(const struct netctl *c, const char *name)
{
	const struct netctl_option *o;

	for (o = c->command->options; o->name; o++)
		if (!strcmp(o->name, name))
			return c->option[o - c->command->options];
	return NULL;
}

/* ---- what was meant? ---- */

struct walk {
	const struct netctl_command *cmd;
	size_t i;
};

static const char *next_command(void *arg)
{
	struct walk *w = arg;
	const struct netctl_command *cmd = netctl_commands[w->i];

	if (!cmd)
		return NULL;
	w->i++;
	return cmd->name;
}

static const char *next_option(void *arg)
{
	static const char *const common[] = {"json", "pretty", "help", NULL};
	struct walk *w = arg;
	size_t n = 0;

	while (w->cmd && w->cmd->options[n].name)
		n++;
	return w->i < n ? w->cmd->options[w->i++].name : common[w->i - n] ? common[w->i++ - n] : NULL;
}

/* "vip" alone: the second words that there are, "add|del"; "" when it is no first word. */
static void second_words(const char *first, char *out, size_t size)
{
	const struct netctl_command *const *p;
	size_t len = strlen(first), at = 0;

	out[0] = '\0';
	for (p = netctl_commands; *p; p++)
		if (!strncmp((*p)->name, first, len) && (*p)->name[len] == ' ' && at < size)
			at += snprintf(out + at, size - at, "%s%s", at ? "|" : "", (*p)->name + len + 1);
}

bool netctl_is_group(const char *first)
{
	char words[64];

	second_words(first, words, sizeof(words));
	return *words;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "-h") || !strcmp(word, "--help");
}

static int unknown_command(const char *first, const char *second)
{
	struct walk w = {0};
	_free_ char *both = NULL, *remedy = NULL;
	const char *near;
	char words[64];

	second_words(first, words, sizeof(words));
	if (*words && !second) {
		if (asprintf(&remedy, "usage: netctl %s %s ...", first, words) < 0)
			remedy = NULL;
		return print_error(EXIT_USAGE, remedy, "%s: a word is missing", first);
	}
	if (asprintf(&both, "%s%s%s", first, second ? " " : "", second ?: "") < 0)
		both = NULL;
	near = both ? netctl_nearest(both, next_command, &w) : NULL;
	if (!near && second) {
		w.i = 0;
		near = netctl_nearest(first, next_command, &w);
	}
	if (near && asprintf(&remedy, "did you mean '%s'?", near) < 0)
		remedy = NULL;
	return print_error(EXIT_USAGE, remedy ?: "`netctl help` lists them", "there is no command '%s'",
			   strlen(both ?: "") < 40 ? both ?: first : first);
}

static int unknown_option(const struct netctl_command *cmd, const char *word)
{
	struct walk w = {.cmd = cmd};
	_free_ char *remedy = NULL, *plain = strndup(word, strcspn(word, "="));
	const char *near = plain && !strncmp(word, "--", 2) ? netctl_nearest(plain + 2, next_option, &w)
							    : NULL;

	if (near ? asprintf(&remedy, "did you mean '--%s'?", near) < 0
		 : asprintf(&remedy, "see `netctl %s%s--help`", cmd ? cmd->name : "", cmd ? " " : "") < 0)
		remedy = NULL;
	return print_error(EXIT_USAGE, remedy, "%s%sunknown option '%s'", cmd ? cmd->name : "",
			   cmd ? ": " : "", plain ?: word);
}

static int usage_error(const struct netctl_command *cmd, const char *what, const char *word)
{
	_free_ char *synopsis = netctl_synopsis(cmd), *remedy = NULL;

	if (asprintf(&remedy, "usage: netctl %s", synopsis ?: cmd->name) < 0)
		remedy = NULL;
	return print_error(EXIT_USAGE, remedy, "%s: %s%s%s%s", cmd->name, what, word ? " '" : "", word ?: "",
			   word ? "'" : "");
}

/* ---- options ---- */

static bool common_option(struct netctl *c, const char *word)
{
	if (!strcmp(word, "-j") || !strcmp(word, "--json"))
		c->json = true;
	else if (!strcmp(word, "-p") || !strcmp(word, "--pretty"))
		c->json = c->pretty = true;
	else if (!strcmp(word, "-h") || !strcmp(word, "--help"))
		c->help = true;
	else
		return false;
	return true;
}

/* Takes the option at words[*i], and its value. */
static int take_option(struct netctl *c, int argc, const char *const *argv, int *i)
{
	const char *word = argv[*i], *value = strchr(word, '='), *wrong;
	size_t len = value ? (size_t)(value - word) - 2 : strlen(word) - 2;
	const struct netctl_option *o;

	for (o = c->command->options; o->name; o++)
		if (!strncmp(word, "--", 2) && strlen(o->name) == len && !strncmp(word + 2, o->name, len))
			break;
	if (!o->name)
		return unknown_option(c->command, word);
	if (o->kind == VALUE_NONE) {
		if (value)
			return usage_error(c->command, "no value goes with", word);
		c->option[o - c->command->options] = "";
		return EXIT_OK;
	}
	if (!value && *i + 1 >= argc)
		return usage_error(c->command, "a value is missing behind", word);
	value = value ? value + 1 : argv[++*i];
	wrong = netctl_value_wrong(o->kind, o->choices, value);
	if (wrong)
		return print_error(EXIT_USAGE, wrong, "%s: --%s: bad value '%s'", c->command->name, o->name,
				   value);
	c->option[o - c->command->options] = value;
	return EXIT_OK;
}

/* ---- arguments ---- */

static int take_argument(struct netctl *c, const struct netctl_arg *a, const char *word)
{
	const char *wrong = netctl_value_wrong(a->kind, a->choices, word);

	if (wrong)
		return print_error(EXIT_USAGE, wrong, "%s: bad %s '%s'", c->command->name, a->value, word);
	c->arg[a - c->command->args] = word;
	return EXIT_OK;
}

/* The words that are no options, in their order, by the command's list. */
static int take_arguments(struct netctl *c, const char *const *words, int n)
{
	const struct netctl_arg *a;
	int i = 0, r = EXIT_OK;

	for (a = c->command->args; a->value && r == EXIT_OK; a++) {
		if (a->many) {
			c->rest = words + i;
			c->n_rest = n - i;
			for (; i < n && r == EXIT_OK; i++)
				r = take_argument(c, a, words[i]);
			return r;
		}
		if (i < n && a->keyword && strcmp(words[i], a->keyword)) {
			if (!a->optional)
				return usage_error(c->command, "not understood:", words[i]);
			continue;
		}
		if (i + (a->keyword != NULL) < n) {
			i += a->keyword != NULL;
			r = take_argument(c, a, words[i++]);
		} else if (i < n) {
			return usage_error(c->command, "something is missing behind", words[i]);
		} else if (!a->optional) {
			return usage_error(c->command, "missing:", a->value);
		}
	}
	if (r == EXIT_OK && i < n)
		return usage_error(c->command, "not understood:", words[i]);
	return r;
}

/* The command itself; *used words were its name. */
static int take_command(struct netctl *c, int argc, const char *const *argv, int *used)
{
	int i = 0;

	while (i < argc && argv[i][0] == '-' && common_option(c, argv[i]))
		i++;
	*used = i;
	if (i == argc) {
		c->command = c->help ? NULL : &cmd_status;
		return EXIT_OK;
	}
	if (argv[i][0] == '-' && strcmp(argv[i], "--version"))
		return unknown_option(NULL, argv[i]);
	if (!strcmp(argv[i], "--version"))
		c->command = &cmd_version;
	else
		c->command = netctl_find(argv[i], i + 1 < argc ? argv[i + 1] : NULL);
	if (!c->command && netctl_is_group(argv[i]) && (c->help || (i + 1 < argc && is_help(argv[i + 1])))) {
		c->group = argv[i];
		c->help = true;
		*used = argc;
		return EXIT_OK;
	}
	if (!c->command)
		return unknown_command(argv[i], i + 1 < argc && argv[i + 1][0] != '-' ? argv[i + 1] : NULL);
	*used = i + 1 + (strchr(c->command->name, ' ') != NULL);
	return EXIT_OK;
}

int netctl_parse(struct netctl *c, int argc, const char *const *argv)
{
	const char **words = calloc(argc + 1, sizeof(*words));
	int i, n = 0, r = take_command(c, argc, argv, &i);
	bool options = true;

	for (; r == EXIT_OK && words && i < argc; i++) {
		if (options && !strcmp(argv[i], "--"))
			options = false;
		else if (!options || argv[i][0] != '-' || !argv[i][1])
			words[n++] = argv[i];
		else if (!common_option(c, argv[i]))
			r = take_option(c, argc, argv, &i);
	}
	if (r == EXIT_OK && !c->help && c->command)
		r = take_arguments(c, words, n);
	if (!c->rest) /* else it lives as long as the program */
		free(words);
	return r;
}
