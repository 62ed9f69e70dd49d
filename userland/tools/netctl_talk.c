/* SPDX-License-Identifier: GPL-2.0 */
/* netctl: requests to netd, and the usual ways to show an answer. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/netdclient.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

/* ---- what takes long ---- */

#define SLOW_S 2

static char slow_text[160];

static void say_slow(int sig)
{
	(void)sig;
	if (write(STDERR_FILENO, slow_text, strlen(slow_text)) < 0)
		return; /* nobody listens */
}

void netctl_slow(const struct netctl *c, const char *fmt, ...)
{
	const struct sigaction action = {.sa_handler = say_slow, .sa_flags = SA_RESTART};
	va_list ap;
	int n;

	if (c->json)
		return;
	va_start(ap, fmt);
	n = vsnprintf(slow_text, sizeof(slow_text) - 1, fmt, ap);
	va_end(ap);
	strcpy(slow_text + (n < (int)sizeof(slow_text) - 1 ? n : (int)sizeof(slow_text) - 2), "\n");
	sigaction(SIGALRM, &action, NULL);
	alarm(SLOW_S);
}

/* ---- requests ---- */

struct event_arg {
	struct netctl *c;
	netctl_event_fn *event;
};

static void on_event(void *arg, json_t *event)
{
	struct event_arg *e = arg;

	e->event(e->c, event);
}

int netctl_no_answer(int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
		return print_error(EXIT_NO_NETD, "start it with `systemctl start netd`",
				   "netd is not running");
	case -EACCES:
	case -EPERM:
		return print_error(EXIT_FAILED, "run it as root, or join the group netssi", "no access to %s",
				   netdclient_path());
	case -EPIPE:
		return print_error(EXIT_NO_NETD,
				   "see `journalctl -u netd`, then look at the state before you repeat it",
				   "netd went away before it answered");
	case -EPROTO:
		return print_error(EXIT_FAILED, "compare the versions with `netctl version`",
				   "the answer of netd was not understood");
	default:
		return print_error(EXIT_NO_NETD, "see `systemctl status netd`", "cannot talk to netd: %s",
				   strerror(-err));
	}
}

int netctl_request(struct netctl *c, const char *cmd, json_t *args, netctl_event_fn *event, json_t **result)
{
	struct event_arg e = {c, event};
	json_t *answer = NULL, *list;
	int code, r = netdclient_call(cmd, args, event ? on_event : NULL, &e, &answer);

	alarm(0);
	json_decref(args);
	if (r < 0)
		return netctl_no_answer(r);
	list = json_object_get(answer, "result");
	if (list) {
		*result = json_incref(list);
		json_decref(answer);
		return EXIT_OK;
	}
	code = json_integer_value(json_object_get(answer, "code"));
	if (code < EXIT_FAILED || code > EXIT_NO_NETD)
		code = EXIT_FAILED;
	print_error(code, json_string_value(json_object_get(answer, "remedy")), "%s",
		    json_string_value(json_object_get(answer, "error")));
	json_decref(answer);
	return code;
}

bool netctl_json(struct netctl *c, const json_t *result)
{
	if (c->json)
		print_json(stdout, result, c->pretty);
	return c->json;
}

void netctl_show(struct netctl *c, const json_t *result, const struct table_column *columns, size_t n,
		 const char *none)
{
	if (netctl_json(c, result))
		return;
	if (json_array_size(result))
		table_print(stdout, result, columns, n);
	else
		printf("%s\n", none);
}

int netctl_list(struct netctl *c, const char *cmd, json_t *args, const struct table_column *columns, size_t n,
		const char *none)
{
	json_t *result = NULL;
	int r = netctl_request(c, cmd, args, NULL, &result);

	if (r != EXIT_OK)
		return r;
	netctl_show(c, result, columns, n, none);
	json_decref(result);
	return EXIT_OK;
}

int netctl_change(struct netctl *c, const char *cmd, json_t *args, const char *done, const char *field)
{
	json_t *result = NULL, *first;
	int r = netctl_request(c, cmd, args, NULL, &result);

	if (r != EXIT_OK)
		return r;
	first = json_array_get(result, 0);
	if (!netctl_json(c, result)) {
		if (json_is_false(json_object_get(first, "changed")))
			printf("unchanged\n");
		else if (field)
			printf("%s %s\n", done, json_string_value(json_object_get(first, field)) ?: "");
		else
			printf("%s\n", done);
	}
	json_decref(result);
	return EXIT_OK;
}
