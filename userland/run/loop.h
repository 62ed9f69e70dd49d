/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small poll loop: a supervisor has a handful of descriptors, some of which
 * (regular files) epoll refuses. One thread; a watch may be removed or freed
 * from any callback.
 */
#ifndef SSI_RUN_LOOP_H
#define SSI_RUN_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct watch;
typedef void watch_fn(struct watch *w, short revents);

struct watch {
	int fd;
	short events; /* 0 with always = false: not polled at all */
	bool always;  /* poll even without events, for POLLHUP and POLLERR */
	watch_fn *fn;
	void *arg;
};

struct timer {
	int64_t at_ms; /* 0 = off */
	void (*fn)(struct timer *t);
	void *arg;
	bool known;
};

int64_t loop_now_ms(void);
void loop_watch(struct watch *w);
void loop_unwatch(struct watch *w);
void loop_timer(struct timer *t, int ms); /* ms < 0: off */
/* Called before each poll: brings `events` up to date. */
void loop_prepare(void (*fn)(void *arg), void *arg);
/* Until loop_quit(); returns its code. */
int loop_run(void);
void loop_quit(int code);

#endif
