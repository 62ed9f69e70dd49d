// SPDX-License-Identifier: GPL-2.0
/*
 * Calls, streams and links between nodes; see peer.h and peer_int.h.
 *
 * A peer may have several links (both sides connected at once): all are read,
 * the newest is written. What is sent while a link is being made waits in the
 * peer's queue and dies with the attempt.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kddm_op.h"
#include "nodes.h"
#include "peer_int.h"
#include "secure_log.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"

#define BACKOFF_MS 150
#define LINKS_MAX  4

struct link {
	struct peers *peers;
	struct link *next; /* of the same peer, newest first */
	uint32_t node;
	struct secure_conn *conn;
	struct kddm_buf in; /* of a frame that is not whole yet */
	uint64_t heard_ms;
	uint64_t partial_ms; /* since when a frame is incomplete, 0 none is */
	bool closing, reading;
};

struct peer {
	struct peers *peers;
	uint32_t node;
	struct link *links;
	struct kddm_buf out; /* not yet written */
	struct secure_conn *connecting;
	uint64_t retry_ms;
	int64_t latency_us;
	struct peer *dirty_next;
	bool dirty; /* in the list of those to flush */
};

struct handler {
	struct handler *next;
	const char *name;
	peer_handler_fn *call;
	peer_accept_fn *accept;
	void *arg;
};

struct call { /* ours, unanswered */
	struct call *next;
	uint64_t id, deadline_ms;
	uint32_t node;
	peer_answer_fn *done;
	void *arg;
};

struct peer_call { /* another's, to be answered */
	struct peers *peers;
	uint64_t id;
	uint32_t from;
};

struct stream { /* being opened */
	struct peers *peers;
	struct stream *next;
	peer_stream_fn *done;
	void *arg;
};

struct local { /* to ourselves: a call or a stream, run by the next flush */
	struct local *next;
	char *name;
	json_t *json;
	uint64_t call_id;
	struct stream *stream;
};

struct peers {
	struct peers_params params;
	struct secure *secure;
	uint32_t self;
	uint64_t next_id;
	struct peer *peer; /* by node number */
	struct handler *handlers;
	struct call *calls;
	struct local *locals, **locals_end;
	struct peer *dirty;
	uint64_t pinged_ms;
	struct secure_log log;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ms(void)
{
	return clock_ns() / 1000000u;
}

int peers_new(const struct peers_params *params, struct peers **out)
{
	struct peers *p = must(calloc(1, sizeof(*p)));

	p->params = *params;
	p->peer = must(calloc(NODES_MAX + 1, sizeof(p->peer[0])));
	for (uint32_t i = 0; i <= NODES_MAX; i++)
		p->peer[i] = (struct peer){.peers = p, .node = i, .latency_us = -1};
	p->next_id = clock_ns();
	p->locals_end = &p->locals;
	*out = p;
	return 0;
}

void peers_start(struct peers *p, struct secure *secure)
{
	p->secure = secure;
}

void peers_identify(struct peers *p, uint32_t self)
{
	p->self = self;
}

/* ---- calls that end ---- */

static void call_end(struct peers *p, struct call **at, int status, json_t *answer)
{
	struct call *c = *at;

	(void)p;
	*at = c->next;
	if (c->done)
		c->done(c->arg, status, answer);
	free(c);
}

static void calls_end_of(struct peers *p, uint32_t node, int status)
{
	struct call **at = &p->calls;

	while (*at) {
		if (!node || (*at)->node == node) {
			call_end(p, at, status, NULL);
			at = &p->calls; /* `done` may have made new ones */
		} else {
			at = &(*at)->next;
		}
	}
}

void peers_complain(struct peers *p, uint32_t node, const char *what)
{
	char name[32];

	snprintf(name, sizeof(name), "node %u", node);
	secure_log_say(&p->log, now_ms(), name, what, NULL);
}

static void mark_dirty(struct peer *peer)
{
	if (peer->dirty)
		return;
	peer->dirty = true;
	peer->dirty_next = peer->peers->dirty;
	peer->peers->dirty = peer;
}

/* ---- links ---- */

static void link_free(struct link *l)
{
	kddm_buf_free(&l->in);
	free(l);
}

/* The connection is over, or not ours any more. */
static void link_forget(struct link *l)
{
	struct peers *p = l->peers;
	struct peer *peer = &p->peer[l->node];
	struct link **at = &peer->links;
	uint32_t node = l->node;

	l->closing = true;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (!l->reading)
		link_free(l);
	if (peer->links)
		return;
	peer->out.len = 0;
	peer->latency_us = -1;
	p->params.link(p->params.arg, node, false);
	calls_end_of(p, node, -EHOSTDOWN);
}

static void link_close(struct link *l)
{
	if (l->closing)
		return;
	secure_end(l->conn);
	link_forget(l);
}

static void take_message(struct link *l, const struct peer_frame *f, const void *data);

/* The whole frames at the beginning of what came: how many bytes they are. */
static size_t take_frames(struct link *l, const char *data, size_t len)
{
	size_t at = 0;

	while (!l->closing && len - at >= sizeof(struct peer_frame)) {
		const struct peer_frame *f = (const void *)(data + at);
		size_t whole = sizeof(*f) + ((f->len + 7ul) & ~7ul);

		if (f->len > PEER_FRAME_MAX || f->version != 1 || f->pad) {
			peers_complain(l->peers, l->node, "sends what is no message; connection closed");
			link_close(l);
			break;
		}
		if (len - at < whole)
			break;
		take_message(l, f, f + 1);
		at += whole;
	}
	return at;
}

static void note_partial(struct link *l, bool progress)
{
	if (!l->in.len)
		l->partial_ms = 0;
	else if (progress || !l->partial_ms)
		l->partial_ms = l->heard_ms;
}

static void on_data(void *arg, const void *data, size_t len)
{
	struct link *l = arg;
	size_t taken;

	l->heard_ms = now_ms();
	l->reading = true;
	if (l->in.len) {
		l->in.data = grow(l->in.data, &l->in.size, l->in.len, len);
		memcpy(l->in.data + l->in.len, data, len);
		l->in.len += len;
		taken = take_frames(l, l->in.data, l->in.len);
		memmove(l->in.data, l->in.data + taken, l->in.len - taken);
		l->in.len -= taken;
	} else {
		taken = take_frames(l, data, len);
		if (taken < len)
			memcpy(kddm_buf_add(&l->in, len - taken), (const char *)data + taken, len - taken);
	}
	l->reading = false;
	if (l->closing)
		link_free(l);
	else
		note_partial(l, taken > 0);
}

static void on_closed(void *arg)
{
	link_forget(arg);
}

static int link_new(struct peers *p, uint32_t node, struct secure_conn *conn)
{
	struct peer *peer = &p->peer[node];
	bool first = !peer->links;
	struct link *l = must(calloc(1, sizeof(*l))), *last;
	const struct secure_stream stream = {.data = on_data, .closed = on_closed, .arg = l};
	size_t n = 0;
	int r;

	l->peers = p;
	l->node = node;
	l->conn = conn;
	l->heard_ms = now_ms();
	r = secure_stream_begin(conn, &stream);
	if (r < 0) {
		link_free(l);
		return r;
	}
	l->next = peer->links;
	peer->links = l;
	for (last = peer->links; last; last = last->next)
		if (++n > LINKS_MAX) {
			link_close(last);
			break;
		}
	if (peer->out.len)
		mark_dirty(peer);
	if (first)
		p->params.link(p->params.arg, node, true);
	return 0;
}

static void on_connected(void *arg, int status, json_t *reply, int fd)
{
	struct peer *peer = arg;
	struct secure_conn *conn = peer->connecting;

	(void)fd;
	peer->connecting = NULL;
	if (!status)
		status = link_new(peer->peers, peer->node, conn);
	if (status == -EREMOTEIO && peer->peers->params.refused)
		peer->peers->params.refused(peer->peers->params.arg, peer->node, reply);
	if (!status)
		return;
	log_debug("no connection to node %u: %s", peer->node,
		  json_string_value(json_object_get(reply, "error")) ?: strerror(-status));
	peer->retry_ms = now_ms() + BACKOFF_MS;
	if (!peer->links) {
		peer->out.len = 0;
		calls_end_of(peer->peers, peer->node, -EHOSTDOWN);
	}
}

static int connect_to(struct peer *peer)
{
	struct peers *p = peer->peers;
	const char *address = p->params.address(p->params.arg, peer->node);
	struct secure_connect c = {.address = address, .done = on_connected, .arg = peer};

	if (!address || !p->secure || !p->self)
		return -EHOSTUNREACH;
	if (now_ms() < peer->retry_ms)
		return -EHOSTDOWN;
	c.hello = p->params.hello(p->params.arg, "peer");
	peer->connecting = secure_connect(p->secure, &c);
	json_decref(c.hello);
	return peer->connecting ? 0 : -ENOMEM;
}

static size_t queued(const struct peer *peer)
{
	return peer->links ? secure_queued(peer->links->conn) : 0;
}

int peers_send(struct peers *p, uint32_t node, uint8_t type, uint64_t id, const void *data, size_t len)
{
	struct peer_frame *f;
	struct peer *peer;
	int r;

	if (!node || node > NODES_MAX || node == p->self)
		return -EINVAL;
	peer = &p->peer[node];
	if (len > PEER_FRAME_MAX || peer->out.len + queued(peer) > PEER_QUEUE_MAX)
		return -ENOBUFS;
	if (!peer->links && !peer->connecting) {
		r = connect_to(peer);
		if (r < 0)
			return r;
	}
	mark_dirty(peer);
	f = kddm_buf_add(&peer->out, sizeof(*f) + ((len + 7) & ~7ul));
	f->len = (uint32_t)len;
	f->type = type;
	f->version = 1;
	f->id = id;
	if (len)
		memcpy(f + 1, data, len);
	return 0;
}

static void peer_flush(struct peer *peer)
{
	if (!peer->out.len || !peer->links)
		return;
	secure_send(peer->links->conn, peer->out.data, peer->out.len);
	peer->out.len = 0;
}

void peers_hello_link(struct peers *p, struct secure_conn *c, uint32_t from)
{
	if (!from || from > NODES_MAX || from == p->self) {
		secure_refuse(c, 1, "check that node names are unique", "bad node number %u", from);
		return;
	}
	link_new(p, from, c);
}

void peers_renew(struct peers *p)
{
	for (uint32_t i = 1; i <= NODES_MAX; i++)
		if (p->peer[i].links && !p->peer[i].connecting)
			connect_to(&p->peer[i]);
}

bool peers_linked(const struct peers *p, uint32_t node)
{
	return node && node <= NODES_MAX && p->peer[node].links;
}

void peers_drop(struct peers *p, uint32_t node)
{
	struct peer *peer = &p->peer[node];

	while (peer->links)
		link_close(peer->links);
	calls_end_of(p, node, -EHOSTDOWN);
}

int64_t peers_latency_us(struct peers *p, uint32_t node)
{
	return node && node <= NODES_MAX ? p->peer[node].latency_us : -1;
}

/* ---- handlers ---- */

static struct handler *handler_find(struct peers *p, const char *name)
{
	for (struct handler *h = p->handlers; h; h = h->next)
		if (!strcmp(h->name, name))
			return h;
	return NULL;
}

static int handler_add(struct peers *p, const char *name, peer_handler_fn *call, peer_accept_fn *accept,
		       void *arg)
{
	struct handler *h;

	if (handler_find(p, name))
		return -EEXIST;
	h = must(calloc(1, sizeof(*h)));
	h->name = name;
	h->call = call;
	h->accept = accept;
	h->arg = arg;
	h->next = p->handlers;
	p->handlers = h;
	return 0;
}

int peer_handle(struct peers *p, const char *name, peer_handler_fn *fn, void *arg)
{
	return handler_add(p, name, fn, NULL, arg);
}

int peer_accept(struct peers *p, const char *name, peer_accept_fn *fn, void *arg)
{
	return handler_add(p, name, NULL, fn, arg);
}

static json_t *error_answer(const char *text, const char *remedy)
{
	return json_pack("{ss si ss}", "error", text, "code", 1, "remedy", remedy);
}

static void run_call(struct peers *p, uint32_t from, uint64_t id, const char *name, json_t *request)
{
	struct peer_call *call = must(calloc(1, sizeof(*call)));
	struct handler *h = name ? handler_find(p, name) : NULL;

	call->peers = p;
	call->id = id;
	call->from = from;
	if (h && h->call && request)
		h->call(h->arg, from, request, call);
	else
		peer_call_answer(call, error_answer("this node does not know that request",
						    "run the same version on all nodes"));
}

static void take_answer(struct peers *p, uint32_t from, uint64_t id, json_t *answer)
{
	for (struct call **at = &p->calls; *at; at = &(*at)->next) {
		if ((*at)->id != id || (*at)->node != from)
			continue;
		call_end(p, at, answer ? 0 : -EPROTO, answer);
		return;
	}
}

void peer_call_answer(struct peer_call *call, json_t *answer)
{
	struct peers *p = call->peers;
	char *text;

	if (call->from == p->self) {
		take_answer(p, call->from, call->id, answer);
	} else {
		text = json_dumps(answer, JSON_COMPACT);
		if (text && strlen(text) <= PEER_MESSAGE_MAX)
			peers_send(p, call->from, PEER_ANSWER, call->id, text, strlen(text));
		free(text);
	}
	json_decref(answer);
	free(call);
}

static struct local *local_add(struct peers *p, const char *name, json_t *json)
{
	struct local *l = must(calloc(1, sizeof(*l)));

	l->name = must(strdup(name));
	/* a deep copy: the other end of a call never shares objects with us */
	l->json = json ? json_deep_copy(json) : json_object();
	*p->locals_end = l;
	p->locals_end = &l->next;
	return l;
}

void peer_call(struct peers *p, uint32_t node, const char *name, json_t *request, unsigned int timeout_ms,
	       peer_answer_fn *done, void *arg)
{
	struct call *c = must(calloc(1, sizeof(*c)));
	json_t *message;
	char *text;
	int r = 0;

	c->id = p->next_id++;
	c->node = node;
	c->deadline_ms = now_ms() + timeout_ms;
	c->done = done;
	c->arg = arg;
	c->next = p->calls;
	p->calls = c;
	if (!p->self) {
		r = -ENOTCONN;
	} else if (node == p->self) {
		local_add(p, name, request)->call_id = c->id;
		return;
	} else {
		message = json_pack("{ss sO}", "c", name, "r", request);
		text = message ? json_dumps(message, JSON_COMPACT) : NULL;
		json_decref(message);
		r = !text ? -EINVAL : strlen(text) > PEER_MESSAGE_MAX ? -EMSGSIZE : 0;
		if (!r)
			r = peers_send(p, node, PEER_CALL, c->id, text, strlen(text));
		free(text);
	}
	if (r < 0) /* told by the next tick, never from within */
		c->deadline_ms = 0;
}

/* ---- messages ---- */

static void take_call(struct link *l, uint64_t id, const void *data, size_t len)
{
	json_t *m = len <= PEER_MESSAGE_MAX + 1024 ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL)
						   : NULL;

	run_call(l->peers, l->node, id, json_string_value(json_object_get(m, "c")), json_object_get(m, "r"));
	json_decref(m);
}

static void take_message(struct link *l, const struct peer_frame *f, const void *data)
{
	struct peers *p = l->peers;
	json_t *answer;

	switch (f->type) {
	case PEER_CALL:
		take_call(l, f->id, data, f->len);
		return;
	case PEER_ANSWER:
		answer = json_loadb(data, f->len, JSON_REJECT_DUPLICATES, NULL);
		take_answer(p, l->node, f->id, answer);
		json_decref(answer);
		return;
	case PEER_PING:
		peers_send(p, l->node, PEER_PONG, f->id, NULL, 0);
		return;
	case PEER_PONG:
		p->peer[l->node].latency_us = (int64_t)(clock_ns() - f->id) / 1000;
		return;
	default:
		if (f->type >= PEER_BINARY && f->type < PEER_TYPE_END)
			p->params.message(p->params.arg, l->node, f->type, f->id, data, f->len);
	}
}

/* ---- streams ---- */

static void on_stream(void *arg, int status, json_t *reply, int fd)
{
	struct stream *s = arg;

	(void)reply;
	s->done(s->arg, status, fd);
	free(s);
}

void peer_stream_open(struct peers *p, uint32_t node, const char *name, json_t *hello, peer_stream_fn *done,
		      void *arg)
{
	struct stream *s = must(calloc(1, sizeof(*s)));
	struct secure_connect c = {.bulk = true, .done = on_stream, .arg = s};

	s->peers = p;
	s->done = done;
	s->arg = arg;
	if (node && node == p->self) {
		local_add(p, name, hello)->stream = s;
		return;
	}
	c.address = p->secure ? p->params.address(p->params.arg, node) : NULL;
	if (c.address) {
		c.hello = p->params.hello(p->params.arg, "stream");
		json_object_set_new(c.hello, "name", json_string(name));
		json_object_set(c.hello, "hello", hello);
		if (secure_connect(p->secure, &c)) {
			json_decref(c.hello);
			return;
		}
		json_decref(c.hello);
	}
	/* no such node: told from the loop all the same */
	local_add(p, "", NULL)->stream = s;
}

void peers_hello_stream(struct peers *p, struct secure_conn *c, uint32_t from, json_t *hello)
{
	const char *name = json_string_value(json_object_get(hello, "name"));
	struct handler *h = name ? handler_find(p, name) : NULL;
	json_t *inner;
	int fd;

	if (!h || !h->accept) {
		secure_refuse(c, 1, "run the same version on all nodes", "no such stream");
		return;
	}
	inner = json_incref(json_object_get(hello, "hello"));
	if (!inner)
		inner = json_object();
	if (secure_accept(c, &fd) == 0)
		h->accept(h->arg, from, inner, fd);
	json_decref(inner);
}

static void run_local_stream(struct peers *p, struct local *l)
{
	struct handler *h = handler_find(p, l->name);
	struct stream *s = l->stream;
	int pair[2];

	if (!h || !h->accept)
		s->done(s->arg, l->name[0] ? -EPROTO : -EHOSTDOWN, -1);
	else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		s->done(s->arg, -errno, -1);
	else {
		h->accept(h->arg, p->self, l->json, pair[0]);
		s->done(s->arg, 0, pair[1]);
	}
	free(s);
}

static void run_locals(struct peers *p)
{
	struct local *l = p->locals, *next;

	p->locals = NULL;
	p->locals_end = &p->locals;
	for (; l; l = next) {
		next = l->next;
		if (l->stream)
			run_local_stream(p, l);
		else
			run_call(p, p->self, l->call_id, l->name, l->json);
		json_decref(l->json);
		free(l->name);
		free(l);
	}
}

/* ---- the loop ---- */

void peers_flush(struct peers *p)
{
	struct peer *peer;

	while (p->locals)
		run_locals(p);
	while ((peer = p->dirty)) {
		p->dirty = peer->dirty_next;
		peer->dirty = false;
		peer_flush(peer);
	}
}

/*
 * Each end pings on the link that is the newest to it. When both connected at the same time these are two,
 * and each hears nothing on its own: so what counts is when the node was heard, on whichever link.
 */
static void tick_links(struct peers *p, struct peer *peer, uint64_t now, bool ping)
{
	struct link *slow = NULL;
	uint64_t heard = 0;

	for (struct link *l = peer->links; l; l = l->next) {
		if (l->heard_ms > heard)
			heard = l->heard_ms;
		if (l->partial_ms && now - l->partial_ms > PEER_PARTIAL_MS)
			slow = l;
	}
	if (slow) {
		peers_complain(p, peer->node, "does not finish what it began to say; connection closed");
		link_close(slow);
	} else if (now - heard > PEER_SILENCE_MS)
		link_close(peer->links);
	if (ping && peer->links)
		peers_send(p, peer->node, PEER_PING, clock_ns(), NULL, 0);
}

void peers_tick(struct peers *p)
{
	uint64_t now = now_ms();
	bool ping = now - p->pinged_ms >= PEER_PING_MS;
	struct call **at = &p->calls;

	if (ping)
		p->pinged_ms = now;
	secure_log_tick(&p->log, now);
	for (uint32_t i = 1; i <= NODES_MAX; i++)
		if (p->peer[i].links)
			tick_links(p, &p->peer[i], now, ping);
	while (*at) {
		if (now < (*at)->deadline_ms) {
			at = &(*at)->next;
			continue;
		}
		call_end(p, at, (*at)->deadline_ms ? -ETIMEDOUT : p->self ? -EHOSTDOWN : -ENOTCONN, NULL);
		at = &p->calls;
	}
}

void peers_stop(struct peers *p)
{
	for (uint32_t i = 1; i <= NODES_MAX; i++) {
		struct peer *peer = &p->peer[i];

		if (peer->connecting)
			secure_cancel(peer->connecting);
		peer->connecting = NULL;
		peer->retry_ms = 0;
		while (peer->links)
			link_close(peer->links);
	}
	calls_end_of(p, 0, -ENOTCONN);
	p->secure = NULL;
	p->self = 0;
}

void peers_free(struct peers *p)
{
	struct handler *h;

	if (!p)
		return;
	for (uint32_t i = 0; i <= NODES_MAX; i++)
		kddm_buf_free(&p->peer[i].out);
	while ((h = p->handlers)) {
		p->handlers = h->next;
		free(h);
	}
	free(p->peer);
	free(p);
}
