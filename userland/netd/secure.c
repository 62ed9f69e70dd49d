// SPDX-License-Identifier: GPL-2.0
/*
 * Those who connect, as a whole; see secure.h. A connection is in secure_conn.c, what it says first in
 * secure_hello.c, who comes in in secure_listen.c; the TLS half is secure_tls.c, streams are secure_stream.c,
 * bulk is secure_pump.c. All of it runs on the loop.
 */
#include <errno.h>
#include <stdlib.h>

#include "secure_int.h"

void secure_maybe_closed(struct secure *s)
{
	if (!s->closing || s->conns || s->listeners || !s->tick_closed)
		return;
	secure_tls_exit(s);
	free(s->chunk);
	if (s->closed)
		s->closed(s->closed_arg);
	free(s);
}

static void on_tick(uv_timer_t *t)
{
	struct secure *s = t->data;

	secure_log_tick(&s->log, uv_now(s->loop));
	secure_listeners_wake(s);
}

int secure_new(const struct secure_params *p, struct secure **out)
{
	struct secure *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = p->loop;
	s->insecure = p->insecure;
	s->identity = p->identity;
	s->find_key = p->find_key;
	s->hello = p->hello;
	s->arg = p->arg;
	s->chunk = malloc(SECURE_CHUNK);
	r = s->chunk ? secure_tls_init(s) : -ENOMEM;
	if (r < 0) {
		free(s->chunk);
		free(s);
		return r;
	}
	uv_timer_init(s->loop, &s->tick);
	s->tick.data = s;
	uv_timer_start(&s->tick, on_tick, 1000, 1000);
	uv_unref((uv_handle_t *)&s->tick);
	*out = s;
	return 0;
}

/* A server's connection that has not said its hello needs nothing: that is taken with a good key only. */
void secure_end_key(struct secure *s, const uint8_t key[SECURE_KEY_BYTES])
{
	for (struct secure_conn *c = s->conns; c; c = c->next) {
		if (c->go_threaded || CRYPTO_memcmp(c->key, key, SECURE_KEY_BYTES))
			continue;
		if (c->state == SECURE_STREAM)
			secure_conn_end(c);
		else if (!c->server)
			secure_conn_fail(c, -ECONNRESET);
	}
}

static void on_tick_closed(uv_handle_t *h)
{
	struct secure *s = h->data;

	s->tick_closed = true;
	secure_maybe_closed(s);
}

void secure_close(struct secure *s, void (*closed)(void *arg), void *arg)
{
	struct secure_conn *c, *next;

	s->closing = true;
	s->closed = closed;
	s->closed_arg = arg;
	secure_listeners_close(s);
	for (c = s->conns; c; c = next) {
		next = c->next;
		c->done = NULL;
		secure_conn_end(c);
	}
	uv_close((uv_handle_t *)&s->tick, on_tick_closed);
}
