// SPDX-License-Identifier: GPL-2.0
/*
 * What netd hears from a supervisor, in pieces: hello, answers, events. The file itself is taken in, to get at what it
 * has for itself.
 */
#include "userland/netd/keepers.c"

#include "fuzz.h"

static int told; /* who asked must be told, once */

static void on_hello(void *arg, struct keeper *k)
{
	(void)keeper_state(k);
	fuzz_check(keepers_find(arg, keeper_name(k)) == k);
}

static void on_event(void *arg, struct keeper *k, const char *kind, json_t *event)
{
	fuzz_check(json_is_object(keeper_hello(k)));
	(void)strlen(kind);
}

static void on_gone(void *arg, struct keeper *k)
{
	fuzz_check(!keepers_find(arg, keeper_name(k)));
}

static void on_done(void *arg, int status, json_t *ok, json_t *error)
{
	fuzz_check(!status == (ok || error));
	told++;
}

static struct keeper *supervisor(struct keepers *ks, int fd)
{
	struct keeper *k = calloc(1, sizeof(*k));

	k->all = ks;
	strcpy(k->name, "app");
	jsonline_init(&k->line, fd);
	uv_poll_init(ks->netd->loop, &k->poll, fd);
	k->poll.data = k;
	uv_poll_start(&k->poll, UV_READABLE, keeper_readable);
	ks->list = k;
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct keeper_events events = {on_hello, on_event, on_gone};
	struct keepers *ks = calloc(1, sizeof(*ks));
	struct fuzz_stream s;
	struct netd netd = {};
	uv_loop_t loop;

	if (fuzz_open(&s, data, size, 1) < 0)
		return 0;
	uv_loop_init(&loop);
	netd.loop = &loop;
	ks->netd = &netd;
	ks->events = &events;
	ks->arg = ks;
	ks->stopping = true; /* no other of its name is looked for */
	uv_fs_event_init(&loop, &ks->dir);
	ks->dir.data = ks;
	told = 0;
	for (int i = 0; i < 3; i++)
		keeper_call(i ? ks->list : supervisor(ks, s.fd), json_object(), -1, 100000, on_done, NULL);
	while (ks->list && fuzz_next(&s)) {
		uv_run(&loop, UV_RUN_NOWAIT);
		fuzz_drain(&s);
	}
	keepers_stop(ks);
	fuzz_check(told == 3);
	fuzz_close(&s);
	uv_run(&loop, UV_RUN_DEFAULT);
	fuzz_check(uv_loop_close(&loop) == 0);
	return 0;
}
