// SPDX-License-Identifier: GPL-2.0
/*
 * Streams: an accepted connection whose bytes go between the network (TLS or
 * clear) and its owner's callbacks, on the loop, with nothing in between; see
 * secure.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "secure_int.h"

#define ROUNDS	   16	/* then let others have the loop */
#define MUCH	   4096 /* so much at once: more may wait; else whoever polls tells of it */
#define KEEP_BYTES (1u << 20)

static void on_timer(uv_timer_t *t);

static void read_some(struct secure_conn *c)
{
	char *chunk = c->secure->chunk;
	ssize_t n;

	for (int i = 0; i < ROUNDS; i++) {
		n = secure_net_read(c, chunk, SECURE_CHUNK);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			secure_conn_end(c);
			return;
		}
		c->stream.data(c->stream.arg, chunk, (size_t)n);
		if (c->ended || c->state != SECURE_STREAM)
			return;
		if (n < MUCH && !secure_net_has_more(c))
			return;
	}
	if (secure_net_has_more(c))
		uv_timer_start(&c->timer, on_timer, 0, 0);
}

/* As much as the network takes, and no more than others can wait for. */
static size_t write_some(struct secure_conn *c, const char *data, size_t len)
{
	size_t at = 0;

	for (int i = 0; i < 4 * ROUNDS && at < len; i++) {
		ssize_t n = secure_net_write(c, data + at, len - at);

		if (n == -EAGAIN)
			break;
		if (n < 0) {
			c->broken = true;
			uv_timer_start(&c->timer, on_timer, 0, 0);
			break;
		}
		at += (size_t)n;
	}
	if (at)
		c->moved_ms = uv_now(c->secure->loop);
	return at;
}

static void write_out(struct secure_conn *c)
{
	c->out_at += write_some(c, c->out.data + c->out_at, c->out.len - c->out_at);
	if (c->out_at < c->out.len)
		return;
	c->out.len = c->out_at = 0;
	if (c->out.size > KEEP_BYTES) {
		free(c->out.data);
		c->out = (struct secure_bytes){0};
	}
}

static void on_event(uv_poll_t *p, int status, int events)
{
	struct secure_conn *c = p->data;

	if (status < 0) {
		secure_conn_end(c);
		return;
	}
	if (c->out.len && events & UV_WRITABLE)
		write_out(c);
	if (!c->broken)
		read_some(c);
	secure_stream_watch(c);
}

void secure_stream_watch(struct secure_conn *c)
{
	int events = UV_READABLE | (c->out.len || c->want_write ? UV_WRITABLE : 0);

	if (c->ended || c->state != SECURE_STREAM || events == c->watched)
		return; /* the loop would take the fd out of epoll and put it back */
	c->watched = events;
	uv_poll_start(&c->net, events, on_event);
}

/* What is to be done without an event of the network. */
static void on_timer(uv_timer_t *t)
{
	struct secure_conn *c = t->data;

	if (c->broken || (c->out.len && uv_now(c->secure->loop) - c->moved_ms >= SECURE_STALL_MS)) {
		secure_conn_end(c);
		return;
	}
	if (c->out.len)
		uv_timer_start(t, on_timer, SECURE_STALL_MS, 0);
	if (c->in.len) { /* came with the hello's answer */
		c->stream.data(c->stream.arg, c->in.data, c->in.len);
		c->in.len = 0;
	}
	if (!c->ended && c->state == SECURE_STREAM)
		read_some(c);
	secure_stream_watch(c);
}

int secure_stream_begin(struct secure_conn *c, const struct secure_stream *s)
{
	json_t *reply;

	if (c->ended)
		return -ECONNRESET;
	if (c->server) {
		reply = json_object();
		secure_queue_json(c, reply);
		json_decref(reply);
	}
	c->state = SECURE_STREAM;
	c->stream = *s;
	c->moved_ms = uv_now(c->secure->loop);
	if (c->out.len)
		write_out(c);
	uv_timer_start(&c->timer, on_timer, 0, 0);
	secure_stream_watch(c);
	return 0;
}

static void queue(struct secure_conn *c, const char *data, size_t len)
{
	if (!c->out.len) {
		c->moved_ms = uv_now(c->secure->loop);
		if (!uv_is_active((uv_handle_t *)&c->timer)) /* it looks when it is due */
			uv_timer_start(&c->timer, on_timer, SECURE_STALL_MS, 0);
	} else if (c->out_at > c->out.len / 2) {
		secure_bytes_drop(&c->out, c->out_at);
		c->out_at = 0;
	}
	secure_bytes_add(&c->out, data, len);
}

void secure_send(struct secure_conn *c, const void *data, size_t len)
{
	size_t n;

	if (c->ended || c->broken || c->state != SECURE_STREAM)
		return;
	n = c->out.len ? 0 : write_some(c, data, len);
	if (c->broken)
		return;
	if (n < len)
		queue(c, (const char *)data + n, len - n);
	secure_stream_watch(c);
}

size_t secure_queued(const struct secure_conn *c)
{
	return c->out.len - c->out_at;
}
