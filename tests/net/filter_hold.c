// SPDX-License-Identifier: GPL-2.0
/*
 * Guards interfaces with netd's filter against plain TIPC frames, without netd and without TIPC: `filter_hold
 * [--shared] INTERFACE...` until its standard input ends. --shared: without an owner of the table, as on kernels that
 * have none, so that others can take it away.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/log.h"
#include "userland/netd/bearer_filter.h"

static void on_input(uv_poll_t *p, int status, int events)
{
	char buf[64];

	(void)status;
	(void)events;
	if (read(0, buf, sizeof(buf)) <= 0)
		uv_stop(p->loop);
}

int main(int argc, char **argv)
{
	bool shared = argc > 1 && !strcmp(argv[1], "--shared");
	struct bearer_filter *f;
	uv_loop_t loop;
	uv_poll_t input;
	int r;

	log_init("filter_hold", LOG_INFO);
	uv_loop_init(&loop);
	r = bearer_filter_new(&loop, !shared, &f);
	for (int i = shared ? 2 : 1; !r && i < argc; i++)
		r = bearer_filter_add(f, argv[i]);
	if (r < 0) {
		fprintf(stderr, "filter_hold: %s\n", strerror(-r));
		return 1;
	}
	puts("guarded");
	fflush(stdout);
	uv_poll_init(&loop, &input, 0);
	uv_poll_start(&input, UV_READABLE, on_input);
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}
