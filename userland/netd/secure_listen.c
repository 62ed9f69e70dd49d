// SPDX-License-Identifier: GPL-2.0
/* Who comes in: listeners, and how many from one address may sit there without a word. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secure_int.h"
#include "transport.h"

#define ACCEPT_BATCH 64

struct secure_listener {
	struct secure *secure;
	struct secure_listener *next;
	uv_poll_t poll;
	int fd;
	char address[TRANSPORT_ADDRESS_MAX];
};

/* ---- addresses that have connections ---- */

static struct secure_host *host_find(const struct secure *s, const char *peer)
{
	struct secure_host *h = s->hosts;
	char name[64];

	secure_log_host(peer, name);
	while (h && strcmp(h->name, name))
		h = h->next;
	return h;
}

struct secure_host *secure_host_get(struct secure *s, const char *peer)
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

void secure_host_put(struct secure *s, struct secure_host *h)
{
	struct secure_host **at = &s->hosts;

	if (--h->n_conns)
		return;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	free(h);
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

void secure_pending_enter(struct secure_conn *c)
{
	c->pending = true;
	c->host->n_pending++;
	c->secure->n_pending++;
}

void secure_pending_leave(struct secure_conn *c)
{
	if (c->pending) {
		c->pending = false;
		c->host->n_pending--;
		c->secure->n_pending--;
	}
}

/* ---- listeners ---- */

static void accept_one(struct secure_listener *l, int fd)
{
	char peer[TRANSPORT_ADDRESS_MAX];

	transport_accepted(l->address, fd, peer);
	pending_make_room(l->secure, peer);
	secure_accepted(l->secure, fd, peer);
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

void secure_listeners_wake(struct secure *s)
{
	for (struct secure_listener *l = s->listeners; l; l = l->next)
		if (!uv_is_active((uv_handle_t *)&l->poll) && !uv_is_closing((uv_handle_t *)&l->poll))
			uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

void secure_listeners_close(struct secure *s)
{
	for (struct secure_listener *l = s->listeners; l; l = l->next)
		secure_unlisten(l);
}
