/* SPDX-License-Identifier: GPL-2.0 */
/* netctl: finds the command, takes its words apart, runs it. See netctl.h. */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

/* -j decides how errors look, also those about other words. */
static bool wants_json(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json") || !strcmp(argv[i], "-p") ||
		    !strcmp(argv[i], "--pretty"))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct netctl c = {0};
	int r;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_DFL);
	print_init("netctl", wants_json(argc, argv));
	if (argc > 1 && !strcmp(argv[1], "--complete"))
		return netctl_complete(argc - 2, (const char *const *)argv + 2);
	r = netctl_parse(&c, argc - 1, (const char *const *)argv + 1);
	if (r != EXIT_OK)
		return r;
	if (c.help) {
		if (c.group)
			netctl_help_group(c.group);
		else if (c.command)
			netctl_help_command(c.command);
		else
			netctl_help();
		return EXIT_OK;
	}
	return c.command->run(&c);
}
