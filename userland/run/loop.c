// SPDX-License-Identifier: GPL-2.0
/* The poll loop. Removed watches leave a hole until the round of callbacks is over. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "userland/lib/log.h"
#include "userland/run/loop.h"

#define MAX_WATCHES 64
#define MAX_TIMERS  16

static struct watch *watches[MAX_WATCHES];
static struct timer *timers[MAX_TIMERS];
static int n_watches, n_timers;
static void (*prepare_fn)(void *arg);
static void *prepare_arg;
static bool quit;
static int quit_code;

int64_t loop_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void loop_watch(struct watch *w)
{
	int i;

	for (i = 0; i < n_watches; i++)
		if (!watches[i])
			break;
	if (i == MAX_WATCHES) {
		log_err("too many descriptors");
		abort();
	}
	watches[i] = w;
	if (i == n_watches)
		n_watches++;
}

void loop_unwatch(struct watch *w)
{
	for (int i = 0; i < n_watches; i++)
		if (watches[i] == w)
			watches[i] = NULL;
}

void loop_timer(struct timer *t, int ms)
{
	t->at_ms = ms < 0 ? 0 : loop_now_ms() + ms + 1;
	if (t->known)
		return;
	if (n_timers == MAX_TIMERS)
		abort();
	t->known = true;
	timers[n_timers++] = t;
}

void loop_prepare(void (*fn)(void *arg), void *arg)
{
	prepare_fn = fn;
	prepare_arg = arg;
}

void loop_quit(int code)
{
	quit = true;
	quit_code = code;
}

static int run_timers(void)
{
	int64_t now = loop_now_ms(), next = -1;

	for (int i = 0; i < n_timers; i++) {
		struct timer *t = timers[i];

		if (t->at_ms && t->at_ms <= now) {
			t->at_ms = 0;
			t->fn(t);
		}
	}
	for (int i = 0; i < n_timers; i++)
		if (timers[i]->at_ms && (next < 0 || timers[i]->at_ms - now < next))
			next = timers[i]->at_ms > now ? timers[i]->at_ms - now : 0;
	return (int)next;
}

static int fill(struct pollfd *p)
{
	for (int i = 0; i < n_watches; i++) {
		struct watch *w = watches[i];
		bool on = w && w->fd >= 0 && (w->events || w->always);

		p[i] = (struct pollfd){.fd = on ? w->fd : -1, .events = on ? w->events : 0};
	}
	return n_watches;
}

int loop_run(void)
{
	struct pollfd p[MAX_WATCHES];

	quit = false;
	while (!quit) {
		struct watch *seen[MAX_WATCHES];
		int timeout = run_timers(), n;

		if (quit)
			break;
		if (prepare_fn)
			prepare_fn(prepare_arg);
		if (quit)
			break;
		n = fill(p);
		for (int i = 0; i < n; i++)
			seen[i] = watches[i];
		if (poll(p, (nfds_t)n, timeout) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		/* A watch put into a hole during this round waits for the next one. */
		for (int i = 0; i < n && !quit; i++)
			if (p[i].revents && watches[i] && watches[i] == seen[i] && watches[i]->fd == p[i].fd)
				watches[i]->fn(watches[i], p[i].revents);
	}
	return quit_code;
}
