// SPDX-License-Identifier: GPL-2.0
/* A connection from birth to its end. It is in its owner's list until its handles are closed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secure_int.h"
#include "transport.h"

#define LAST_WORDS_MAX 65536

/* ---- end ---- */

void secure_conn_unlink(struct secure_conn *c)
{
	struct secure_conn **p = &c->secure->conns;

	while (*p && *p != c)
		p = &(*p)->next;
	if (*p)
		*p = c->next;
	secure_host_put(c->secure, c->host);
	secure_maybe_closed(c->secure);
}

void secure_conn_free(struct secure_conn *c)
{
	secure_tls_free(c);
	if (c->net_fd >= 0)
		close(c->net_fd);
	if (c->local_fd >= 0)
		close(c->local_fd);
	json_decref(c->hello);
	secure_bytes_free(&c->in);
	secure_bytes_free(&c->out);
	secure_conn_unlink(c);
	free(c);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct secure_conn *c = h->data;

	if (--c->handles)
		return;
	if (c->go_threaded)
		secure_pump_thread(c);
	else
		secure_conn_free(c);
}

void secure_conn_detach(struct secure_conn *c)
{
	uv_handle_t *of[] = {(uv_handle_t *)&c->timer, (uv_handle_t *)&c->net};

	for (int i = 0; i < 2; i++)
		if (!uv_is_closing(of[i]))
			uv_close(of[i], on_handle_closed);
}

void secure_conn_end(struct secure_conn *c)
{
	struct secure_stream stream = c->stream;

	if (c->ended)
		return;
	c->ended = true;
	c->stream = (struct secure_stream){0};
	secure_pending_leave(c);
	secure_conn_detach(c);
	if (stream.closed)
		stream.closed(stream.arg);
}

void secure_end(struct secure_conn *c)
{
	if (c->ended)
		return;
	c->stream = (struct secure_stream){0};
	if (c->broken || secure_queued(c) > LAST_WORDS_MAX) {
		secure_conn_end(c);
		return;
	}
	if (c->out_at)
		secure_bytes_drop(&c->out, c->out_at);
	c->out_at = 0;
	c->state = SECURE_LAST_WORDS;
	uv_timer_start(&c->timer, secure_on_timeout, SECURE_TIMEOUT_MS, 0);
	secure_step(c);
}

/* ---- progress before and after the stream ---- */

void secure_on_timeout(uv_timer_t *t)
{
	struct secure_conn *c = t->data;

	if (c->state == SECURE_LAST_WORDS)
		secure_conn_end(c);
	else
		secure_conn_fail(c, -ETIMEDOUT);
}

static int socket_error(const struct secure_conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(c->net_fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

static int finish_connect(struct secure_conn *c)
{
	int r = socket_error(c);

	if (!r)
		c->state = SECURE_HANDSHAKE;
	return r;
}

/* The server's half of TLS is made when the first bytes come: silence costs nothing. */
static int handshake(struct secure_conn *c)
{
	int r = 0;

	if (!c->secure->insecure && !c->ssl)
		r = secure_tls_server(c);
	if (!r)
		r = c->secure->insecure ? 1 : secure_tls_handshake(c);
	if (r <= 0)
		return r;
	c->state = SECURE_HELLO;
	if (c->secure->insecure && c->server)
		snprintf(c->identity, sizeof(c->identity), "insecure");
	if (!c->server)
		secure_queue_json(c, c->hello);
	return 1;
}

static int read_some(struct secure_conn *c)
{
	char buf[4096];
	ssize_t n = secure_net_read(c, buf, sizeof(buf));

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	secure_bytes_add(&c->in, buf, (size_t)n);
	OPENSSL_cleanse(buf, (size_t)n);
	return 1;
}

static int write_out(struct secure_conn *c)
{
	while (c->out.len) {
		ssize_t n = secure_net_write(c, c->out.data, c->out.len);

		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		secure_bytes_drop(&c->out, (size_t)n);
	}
	return 1;
}

/* One event's worth of progress; 0, or a negative errno. */
static int advance(struct secure_conn *c)
{
	int r = 0;

	if (c->state == SECURE_CONNECTING)
		r = finish_connect(c);
	if (r >= 0 && c->state == SECURE_HANDSHAKE)
		r = handshake(c);
	if (r < 0 || c->state == SECURE_HANDSHAKE)
		return r;
	r = write_out(c);
	if (r < 0)
		return r;
	if (c->state == SECURE_LAST_WORDS) {
		if (!c->out.len)
			secure_tls_shutdown(c);
		/* The peer closes once it has read them; that ends us. */
		r = read_some(c);
		c->in.len = 0;
		return r < 0 ? r : 0;
	}
	if (c->state == SECURE_ASKED)
		return 0;
	do {
		r = read_some(c);
		if (r > 0)
			secure_take_hello(c);
	} while (r > 0 && c->state == SECURE_HELLO && !c->ended);
	return r < 0 && c->state == SECURE_HELLO ? r : 0;
}

static void on_net(uv_poll_t *p, int status, int events)
{
	struct secure_conn *c = p->data;
	int err;

	(void)events;
	if (status < 0) { /* which error it is the socket knows */
		err = socket_error(c);
		secure_conn_fail(c, err ? err : status);
	} else {
		secure_step(c);
	}
}

void secure_step(struct secure_conn *c)
{
	int events = UV_READABLE, r;

	if (c->ended || c->go_threaded)
		return;
	r = advance(c);
	if (c->ended || c->go_threaded || c->state == SECURE_STREAM)
		return;
	if (r < 0) {
		secure_conn_fail(c, r);
		return;
	}
	if (c->state == SECURE_CONNECTING || c->out.len || c->want_write)
		events |= UV_WRITABLE;
	if (c->state == SECURE_ASKED)
		uv_poll_stop(&c->net); /* the hello said all that may come now */
	else
		uv_poll_start(&c->net, events, on_net);
}

/* ---- birth ---- */

static struct secure_conn *conn_new(struct secure *s, int fd, const char *peer)
{
	struct secure_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->secure = s;
	c->net_fd = fd;
	c->local_fd = -1;
	snprintf(c->peer, sizeof(c->peer), "%s", peer);
	c->host = secure_host_get(s, peer);
	uv_timer_init(s->loop, &c->timer);
	uv_poll_init(s->loop, &c->net, fd);
	c->timer.data = c->net.data = c;
	c->handles = 2;
	c->next = s->conns;
	s->conns = c;
	return c;
}

static void on_early(uv_timer_t *t)
{
	struct secure_conn *c = t->data;

	secure_conn_fail(c, c->early);
}

struct secure_conn *secure_connect(struct secure *s, const struct secure_connect *p)
{
	int fd = transport_connect(p->address), early = fd < 0 ? fd : 0;
	struct secure_conn *c;

	/* What fails at once is told from the loop, like all else. */
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c = fd >= 0 ? conn_new(s, fd, p->address) : NULL;
	if (!c)
		return NULL;
	c->done = p->done;
	c->done_arg = p->arg;
	c->hello = json_incref(p->hello);
	c->bulk = p->bulk;
	c->early = early;
	if (p->identity || !s->identity)
		snprintf(c->identity, sizeof(c->identity), "%s", p->identity ? p->identity : "key");
	else
		s->identity(s->arg, c->identity);
	if (!early && !s->insecure)
		c->early = secure_tls_client(c, p->key);
	uv_timer_start(&c->timer, c->early ? on_early : secure_on_timeout,
		       c->early	       ? 0
		       : p->timeout_ms ? p->timeout_ms
				       : SECURE_TIMEOUT_MS,
		       0);
	if (!c->early)
		uv_poll_start(&c->net, UV_WRITABLE, on_net);
	return c;
}

void secure_cancel(struct secure_conn *c)
{
	c->done = NULL;
	secure_conn_end(c);
}

void secure_accepted(struct secure *s, int fd, const char *peer)
{
	struct secure_conn *c = conn_new(s, fd, peer);

	if (!c) {
		close(fd);
		return;
	}
	c->server = true;
	c->state = SECURE_HANDSHAKE;
	secure_pending_enter(c);
	uv_timer_start(&c->timer, secure_on_timeout, SECURE_TIMEOUT_MS, 0);
	uv_poll_start(&c->net, UV_READABLE, on_net);
}
