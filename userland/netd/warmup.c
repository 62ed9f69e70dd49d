// SPDX-License-Identifier: GPL-2.0
/* See warmup.h. One process at most, without a way back but its end. */
#include <stdlib.h>

#include "netd.h"
#include "userland/lib/log.h"
#include "warmup.h"

static void closed(uv_handle_t *h)
{
	free(h);
}

static void ended(uv_process_t *p, int64_t status, int sig)
{
	if (status || sig)
		log_debug("criu check ended with %d, signal %d", (int)status, sig);
	uv_close((uv_handle_t *)p, closed);
}

void warmup_criu(struct netd *n)
{
	uv_process_t *p = calloc(1, sizeof(*p));
	char *args[] = {"nice", n->conf.criu, "check", NULL};
	uv_process_options_t o = {.file = args[0], .args = args, .exit_cb = ended};
	int err;

	if (!p)
		return;
	err = uv_spawn(n->loop, p, &o);
	if (err) {
		log_debug("%s: %s", n->conf.criu, uv_strerror(err));
		uv_close((uv_handle_t *)p, closed);
		return;
	}
	uv_unref((uv_handle_t *)p);
}
