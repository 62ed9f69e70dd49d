// SPDX-License-Identifier: GPL-2.0
/*
 * The control socket: whatever a program of this machine writes to it, in pieces, and when it hangs up.
 */
#include "fuzz.h"
#include "userland/netd/ctl.h"
#include "userland/netd/ctl_internal.h"

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
	struct fuzz_stream s;
	uv_loop_t loop;

	if (fuzz_open(&s, data, size, 4) < 0)
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
	if (ctl_conn_open(&c, s.fd, &peer) < 0)
		close(s.fd);
	while (fuzz_next(&s)) {
		uv_run(&loop, UV_RUN_NOWAIT);
		fuzz_drain(&s);
	}
	fuzz_close(&s);
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
