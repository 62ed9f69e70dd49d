// SPDX-License-Identifier: GPL-2.0
/*
 * Connections from socket to accepted stream; see secure.h. The TLS half is
 * secure_tls.c, streams are secure_stream.c, bulk is secure_pump.c.
 *
 * All of it runs on the loop. A connection is in one list of its owner from
 * birth until its handles are closed.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secure_int.h"
#include "transport.h"
#include "userland/lib/log.h"

#define ACCEPT_BATCH   64
#define LAST_WORDS_MAX 65536

struct secure_listener {
	struct secure *secure;
	struct secure_listener *next;
	uv_poll_t poll;
	int fd;
	char address[TRANSPORT_ADDRESS_MAX];
};

/* ---- end of a connection ---- */

static void secure_maybe_closed(struct secure *s)
{
	if (!s->closing || s->conns || s->listeners || !s->tick_closed)
		return;
	secure_tls_exit(s);
	free(s->chunk);
	if (s->closed)
		s->closed(s->closed_arg);
	free(s);
}

static struct secure_host *host_find(const struct secure *s, const char *peer)
{
	struct secure_host *h = s->hosts;
	char name[64];

	secure_log_host(peer, name);
	while (h && strcmp(h->name, name))
		h = h->next;
	return h;
}

static struct secure_host *host_get(struct secure *s, const char *peer)
{
	struct secure_host *h = host_find(s, peer);

	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			abort();
		secure_log_host(peer, h->name);
		h->next = s->hosts;
		s->hosts = h;
	}
	h->n_conns++;
	return h;
}

static void host_put(struct secure *s, struct secure_host *h)
{
	struct secure_host **at = &s->hosts;

	if (--h->n_conns)
		return;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	free(h);
}

void secure_conn_unlink(struct secure_conn *c)
{
	struct secure_conn **p = &c->secure->conns;

	while (*p && *p != c)
		p = &(*p)->next;
	if (*p)
		*p = c->next;
	host_put(c->secure, c->host);
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

static void handles_close(struct secure_conn *c)
{
	uv_handle_t *of[] = {(uv_handle_t *)&c->timer, (uv_handle_t *)&c->net};

	for (int i = 0; i < 2; i++)
		if (!uv_is_closing(of[i]))
			uv_close(of[i], on_handle_closed);
}

static void leave_pending(struct secure_conn *c)
{
	if (c->server && c->pending) {
		c->pending = false;
		c->host->n_pending--;
		c->secure->n_pending--;
	}
}

void secure_conn_end(struct secure_conn *c)
{
	struct secure_stream stream = c->stream;

	if (c->ended)
		return;
	c->ended = true;
	c->stream = (struct secure_stream){0};
	leave_pending(c);
	handles_close(c);
	if (stream.closed)
		stream.closed(stream.arg);
}

static json_t *error_object(int code, const char *remedy, const char *text)
{
	return json_pack("{ss si ss}", "error", text, "code", code, "remedy", remedy);
}

/* A client's connection failed before its stream began. */
static void client_fail(struct secure_conn *c, int status, const char *remedy, const char *text)
{
	secure_done_fn *done = c->done;

	c->done = NULL;
	secure_conn_end(c);
	if (done) {
		json_t *e = error_object(1, remedy, text);

		done(c->done_arg, status, e, -1);
		json_decref(e);
	}
}

/* What a stranger, or a member that is out of date, did wrong. */
static void server_fail(struct secure_conn *c, int status)
{
	struct secure *s = c->secure;
	char text[160] = "";
	const char *cause;

	if (status == -EACCES && c->expired)
		cause = "refused, a token that has expired";
	else if (status == -EACCES)
		cause = "refused, wrong key or token";
	else if (status == -EPROTO)
		cause = "refused, what it sends is no message of netssi";
	else if (status == -ETIMEDOUT)
		cause = "refused, it did not say in time what it wants";
	else
		cause = "hung up before it said what it wants";
	if (status == -EACCES)
		snprintf(text, sizeof(text), "%s: %s", cause, c->identity);
	if (c->state < SECURE_ASKED)
		secure_log_say(&s->log, uv_now(s->loop), c->peer, cause, text[0] ? text : NULL);
	secure_conn_end(c);
}

/* One clear line on each side. */
void secure_conn_fail(struct secure_conn *c, int status)
{
	char text[256];
	const char *remedy = "look at the log of the other node";

	if (c->ended)
		return;
	if (c->server) {
		server_fail(c, status);
		return;
	}
	if (status == -EACCES) {
		snprintf(text, sizeof(text), "the node at %s refuses this key or token", c->peer);
		remedy = "use the cluster's key (/etc/netssi/key) or a fresh token (netctl token)";
	} else if (status == -ECONNREFUSED) {
		snprintf(text, sizeof(text), "no netd listens at %s", c->peer);
		remedy = "check the address and that netd runs there and is in a cluster";
	} else if (status == -ETIMEDOUT) {
		snprintf(text, sizeof(text), "no answer from %s", c->peer);
		remedy = "check the address, the cable and the firewall";
	} else if (status == -ECONNRESET) {
		snprintf(text, sizeof(text), "%s hung up before it answered%s", c->peer,
			 c->secure->insecure ? ": a secure cluster does so to a node in clear text" : "");
		remedy = c->secure->insecure ? "start netd here without --insecure, then try again"
					     : "see whether netd runs there, then try again";
	} else if (status == -EPROTO) {
		snprintf(text, sizeof(text), "what listens at %s is no netd, or one in clear text", c->peer);
		remedy = "check the address; start netd with --insecure on all nodes or on none";
	} else {
		snprintf(text, sizeof(text), "cannot talk to %s: %s", c->peer, strerror(-status));
		if (status == -ENETUNREACH || status == -EHOSTUNREACH)
			remedy = "check the address, the cable and the routes of this machine (`ip route`)";
	}
	client_fail(c, status, remedy, text);
}

/* ---- hello ---- */

void secure_queue_json(struct secure_conn *c, json_t *obj)
{
	char *text = json_dumps(obj, JSON_COMPACT);
	uint32_t len = text ? (uint32_t)strlen(text) : 0;

	secure_bytes_add(&c->out, &len, sizeof(len));
	if (text)
		secure_bytes_add(&c->out, text, len);
	OPENSSL_cleanse(text, len);
	free(text);
}

/* *out: new reference. 1 complete, 0 not yet, negative errno. */
static int take_json(struct secure_conn *c, json_t **out)
{
	uint32_t len;

	if (c->in.len < sizeof(len))
		return 0;
	memcpy(&len, c->in.data, sizeof(len));
	if (len > SECURE_HELLO_MAX)
		return -EPROTO;
	if (c->in.len < sizeof(len) + len)
		return 0;
	*out = json_loadb(c->in.data + sizeof(len), len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(*out)) {
		json_decref(*out);
		return -EPROTO;
	}
	secure_bytes_drop(&c->in, sizeof(len) + len);
	return 1;
}

/* The loop lets go of it, then a thread takes over. */
static int make_bulk(struct secure_conn *c, int *fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	c->local_fd = pair[0];
	*fd = pair[1];
	uv_timer_stop(&c->timer);
	c->state = SECURE_STREAM;
	c->net_ready = c->local_ready = true;
	c->go_threaded = true;
	handles_close(c);
	return 0;
}

static void client_reply(struct secure_conn *c, json_t *reply)
{
	secure_done_fn *done = c->done;
	int fd = -1, r;

	if (json_object_get(reply, "error")) {
		c->done = NULL;
		secure_conn_end(c);
		if (done)
			done(c->done_arg, -EREMOTEIO, reply, -1);
		return;
	}
	if (json_is_true(json_object_get(reply, "closed"))) {
		secure_conn_end(c);
	} else if (c->bulk) {
		r = make_bulk(c, &fd);
		if (r < 0) {
			secure_conn_fail(c, r);
			return;
		}
	}
	c->done = NULL;
	if (done)
		done(c->done_arg, 0, reply, fd);
	else if (fd >= 0)
		close(fd);
	if (c->state != SECURE_STREAM)
		secure_conn_end(c);
}

/* What it proved to know when it began is still the secret of its name. */
static bool still_good(struct secure_conn *c)
{
	uint8_t key[SECURE_KEY_BYTES];
	bool good;

	if (c->secure->insecure)
		return true;
	good = !c->secure->find_key(c->secure->arg, c->identity, key) &&
	       !CRYPTO_memcmp(key, c->key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
	return good;
}

/* The connection is up and has bytes: the hello or the reply to it. */
static void take_hello(struct secure_conn *c)
{
	json_t *obj = NULL;
	int r = take_json(c, &obj);

	if (r < 0) {
		secure_conn_fail(c, r);
		return;
	}
	if (!r)
		return;
	if (!c->server) {
		client_reply(c, obj);
		json_decref(obj);
		return;
	}
	uv_timer_stop(&c->timer);
	leave_pending(c);
	c->state = SECURE_ASKED;
	c->hello = obj;
	if (!still_good(c)) {
		secure_refuse(c, 1, "use the cluster's key (/etc/netssi/key) or a fresh token (netctl token)",
			      "the key or token was replaced, or ended, meanwhile");
		return;
	}
	c->secure->hello(c->secure->arg, c, c->identity, obj);
}

int secure_accept(struct secure_conn *c, int *fd)
{
	json_t *reply = json_object();
	int r = c->ended ? -ECONNRESET : 0;

	if (!r) {
		secure_queue_json(c, reply);
		r = make_bulk(c, fd);
	}
	json_decref(reply);
	if (r < 0)
		secure_conn_end(c);
	return r;
}

void secure_answer(struct secure_conn *c, json_t *reply)
{
	if (c->ended) {
		json_decref(reply);
		return;
	}
	if (!json_object_get(reply, "error"))
		json_object_set_new(reply, "closed", json_true());
	secure_queue_json(c, reply);
	json_decref(reply);
	c->state = SECURE_LAST_WORDS;
	uv_timer_start(&c->timer, secure_on_timeout, SECURE_TIMEOUT_MS, 0);
	secure_step(c);
}

void secure_refuse(struct secure_conn *c, int code, const char *remedy, const char *fmt, ...)
{
	char text[256], line[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "refused: %s", text);
	secure_log_say(&c->secure->log, uv_now(c->secure->loop), c->peer, fmt, line);
	secure_answer(c, error_object(code, remedy, text));
}

const char *secure_peer(const struct secure_conn *c)
{
	return c->peer;
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

void secure_complain(struct secure_conn *c, const char *what)
{
	secure_log_say(&c->secure->log, uv_now(c->secure->loop), c->peer, what, NULL);
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
			take_hello(c);
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
	c->host = host_get(s, peer);
	uv_timer_init(s->loop, &c->timer);
	uv_poll_init(s->loop, &c->net, fd);
	c->timer.data = c->net.data = c;
	c->handles = 2;
	c->next = s->conns;
	s->conns = c;
	return c;
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
	uv_timer_start(&c->timer, c->early ? secure_on_early : secure_on_timeout,
		       c->early	       ? 0
		       : p->timeout_ms ? p->timeout_ms
				       : SECURE_TIMEOUT_MS,
		       0);
	if (!c->early)
		uv_poll_start(&c->net, UV_WRITABLE, on_net);
	return c;
}

void secure_on_early(uv_timer_t *t)
{
	struct secure_conn *c = t->data;

	secure_conn_fail(c, c->early);
}

void secure_cancel(struct secure_conn *c)
{
	c->done = NULL;
	secure_conn_end(c);
}

/* Of several the one that is here longest: with an address for each connection, the oldest connection. */
static struct secure_host *host_with_most(const struct secure *s)
{
	struct secure_host *most = s->hosts;

	for (struct secure_host *h = s->hosts; h; h = h->next) /* newest first */
		if (h->n_pending >= most->n_pending)
			most = h;
	return most;
}

static struct secure_conn *oldest_pending(const struct secure *s, const struct secure_host *h)
{
	struct secure_conn *oldest = NULL;

	for (struct secure_conn *c = s->conns; c; c = c->next) /* newest first */
		if (c->pending && !c->ended && c->host == h)
			oldest = c;
	return oldest;
}

static void pending_drop(struct secure_conn *c)
{
	struct secure *s = c->secure;

	secure_log_say(&s->log, uv_now(s->loop), c->peer,
		       "too many connections that say nothing; the oldest ones are closed", NULL);
	secure_conn_end(c);
}

/* Room for one more from there: who only sits there, from however many addresses, keeps no member out. */
static void pending_make_room(struct secure *s, const char *peer)
{
	const struct secure_host *h = host_find(s, peer);
	struct secure_conn *oldest;

	if (s->n_pending >= SECURE_PENDING_MAX)
		h = host_with_most(s);
	else if (!h || h->n_pending < SECURE_PENDING_HOST)
		return;
	oldest = oldest_pending(s, h);
	if (oldest)
		pending_drop(oldest);
}

static void accept_one(struct secure_listener *l, int fd)
{
	struct secure *s = l->secure;
	char peer[TRANSPORT_ADDRESS_MAX];
	struct secure_conn *c;

	transport_accepted(l->address, fd, peer);
	pending_make_room(s, peer);
	c = conn_new(s, fd, peer);
	if (!c) {
		close(fd);
		return;
	}
	c->server = c->pending = true;
	c->host->n_pending++;
	s->n_pending++;
	c->state = SECURE_HANDSHAKE;
	uv_timer_start(&c->timer, secure_on_timeout, SECURE_TIMEOUT_MS, 0);
	uv_poll_start(&c->net, UV_READABLE, on_net);
}

static void on_acceptable(uv_poll_t *p, int status, int events)
{
	struct secure_listener *l = p->data;
	int fd;

	(void)events;
	if (status < 0)
		return;
	/* A few at a time: those that came before are heard in between. */
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
			uv_poll_stop(p); /* not again at once: the tick listens again */
		if (fd < 0)
			return;
		accept_one(l, fd);
	}
}

int secure_listen(struct secure *s, const char *address, struct secure_listener **out)
{
	int fd = transport_listen(address);
	struct secure_listener *l;

	if (fd < 0)
		return fd;
	l = calloc(1, sizeof(*l));
	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	l->secure = s;
	l->fd = fd;
	snprintf(l->address, sizeof(l->address), "%s", address);
	uv_poll_init(s->loop, &l->poll, fd);
	l->poll.data = l;
	uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
	l->next = s->listeners;
	s->listeners = l;
	*out = l;
	return 0;
}

static void on_listener_closed(uv_handle_t *h)
{
	struct secure_listener *l = h->data, **p = &l->secure->listeners;
	struct secure *s = l->secure;

	close(l->fd);
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	free(l);
	secure_maybe_closed(s);
}

void secure_unlisten(struct secure_listener *l)
{
	if (l && !uv_is_closing((uv_handle_t *)&l->poll))
		uv_close((uv_handle_t *)&l->poll, on_listener_closed);
}

static void on_tick(uv_timer_t *t)
{
	struct secure *s = t->data;

	secure_log_tick(&s->log, uv_now(s->loop));
	for (struct secure_listener *l = s->listeners; l; l = l->next)
		if (!uv_is_active((uv_handle_t *)&l->poll) && !uv_is_closing((uv_handle_t *)&l->poll))
			uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
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
	for (struct secure_listener *l = s->listeners; l; l = l->next)
		secure_unlisten(l);
	for (c = s->conns; c; c = next) {
		next = c->next;
		c->done = NULL;
		secure_conn_end(c);
	}
	uv_close((uv_handle_t *)&s->tick, on_tick_closed);
}
