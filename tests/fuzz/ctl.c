// SPDX-License-Identifier: GPL-2.0
/*
 * The control socket: whatever a program of this machine writes to it, in pieces, and when it hangs up.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "userland/netd/ctl.h"
#include "userland/netd/ctl_internal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As netd does. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void cmd_echo(void *arg, struct ctl_request *r, json_t *args)
{
	ctl_ok(r, json_pack("[O]", args));
}

static void cmd_fail(void *arg, struct ctl_request *r, json_t *args)
{
	ctl_fail(r, CTL_FAILED, "remedy", "%s", json_string_value(json_object_get(args, "text")) ?: "");
}

static const struct ctl_command commands[] = {{"echo", 0, cmd_echo, NULL}, {"fail", 0, cmd_fail, NULL}};

static void closed(uv_handle_t *h)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ctl c;
	const struct ucred peer = {.pid = getpid(), .uid = size % 2 ? 0 : 1000, .gid = 1000};
	size_t step = size ? data[0] * 4u + 1 : 1;
	char answer[4096];
	uv_loop_t loop;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		return 0;
	memset(&c, 0, sizeof(c));
	uv_loop_init(&loop);
	c.loop = &loop;
	c.ready = true;
	c.commands = malloc(sizeof(commands)); /* grows */
	memcpy(c.commands, commands, sizeof(commands));
	c.n_commands = sizeof(commands) / sizeof(commands[0]);
	LIST_INIT(&c.requests);
	ctl_watch_init(&c);
	uv_timer_init(&loop, &c.tick);
	if (ctl_conn_open(&c, fd[0], &peer) < 0)
		close(fd[0]);
	for (size_t at = 0; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		if (write(fd[1], data + at, n) < 0)
			break;
		uv_run(&loop, UV_RUN_NOWAIT);
		while (read(fd[1], answer, sizeof(answer)) > 0)
			;
	}
	close(fd[1]);
	uv_run(&loop, UV_RUN_NOWAIT);
	while (!LIST_EMPTY(&c.requests))
		ctl_conn_gone(LIST_FIRST(&c.requests));
	uv_close((uv_handle_t *)&c.tick, closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	ctl_watch_exit(&c);
	free(c.commands);
	uv_loop_close(&loop);
	return 0;
}
