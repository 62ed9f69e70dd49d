// SPDX-License-Identifier: GPL-2.0
/*
 * Raft's messages between nodes. Each way has a connection of its own: a link is
 * made when there is something to say, and only written; a source is what other
 * nodes made to us, and only read. All that one turn of the loop has for a node
 * goes by one write.
 *
 * A message may be lost, raft says it again. So a node that does not read fast
 * enough misses messages instead of filling memory, and when it reads nothing
 * for SECURE_STALL_MS its link ends. What comes in is bounded as well: so many
 * sources of one id, so long for the rest of a message.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_message.h"
#include "member_int.h"

#define RETRY_MS    100
#define TRIES_MAX   50
#define QUEUE_MAX   (16u << 20) /* one message may come on top: a snapshot */
#define QUEUE_KEEP  (1u << 20)	/* more memory than that is given back when it is empty */
#define SOURCES_MAX 2		/* a new one, and the old one that is not known to be dead yet */
#define SOURCES_ALL (SOURCES_MAX * NODES_MAX) /* ids are what nodes say they are */
#define HALF_MS	    10000		      /* nothing came of the rest of a message */

struct raft_link {
	struct raft_link *next;
	struct member *m;
	uint64_t id;
	struct secure_conn *conn; /* NULL: none */
	bool up;		  /* otherwise being made */
	uint64_t retry_ms;
	unsigned int tries; /* in vain */
	struct kddm_buf out;
	size_t last; /* where in `out` the newest message begins */
	char address[TRANSPORT_ADDRESS_MAX];
};

struct raft_source {
	struct raft_source *next;
	struct member *m;
	uint64_t id;
	struct secure_conn *conn;
	struct kddm_message_reader reader;
	uint64_t heard_ms;
	bool reading, gone;
	char address[TRANSPORT_ADDRESS_MAX];
};

/* ---- links ---- */

static struct raft_link *link_find(struct member *m, uint64_t id)
{
	struct raft_link *l = m->raft_links;

	while (l && l->id != id)
		l = l->next;
	return l;
}

static void link_free(struct raft_link *l)
{
	struct raft_link **at = &l->m->raft_links;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	kddm_buf_free(&l->out);
	free(l);
}

static void link_end(struct raft_link *l)
{
	if (l->conn && l->up)
		secure_end(l->conn);
	else if (l->conn)
		secure_cancel(l->conn);
	link_free(l);
}

/* Nothing is said to us on a link. */
static void link_data(void *arg, const void *data, size_t len)
{
	(void)data;
	(void)len;
	link_end(arg);
}

static void link_closed(void *arg)
{
	link_free(arg);
}

/* What had to wait is out of date, but for the newest: a vote that is asked for, or a heartbeat. */
static void link_failed(struct raft_link *l)
{
	l->conn = NULL;
	if (++l->tries == TRIES_MAX) {
		link_free(l);
		return;
	}
	l->retry_ms = member_now_ms() + RETRY_MS;
	memmove(l->out.data, l->out.data + l->last, l->out.len - l->last);
	l->out.len -= l->last;
	l->last = 0;
}

static void on_connected(void *arg, int status, json_t *reply, int fd)
{
	struct raft_link *l = arg;
	const struct secure_stream stream = {.data = link_data, .closed = link_closed, .arg = l};

	(void)fd;
	if (status == -EREMOTEIO)
		member_refused(l->m, reply);
	if (!status)
		status = secure_stream_begin(l->conn, &stream);
	if (status) {
		link_failed(l);
		return;
	}
	l->up = true;
}

static void link_connect(struct raft_link *l)
{
	struct secure_connect c = {.address = l->address, .done = on_connected, .arg = l};

	if (member_now_ms() < l->retry_ms)
		return;
	c.hello = member_make_hello(l->m, "raft");
	l->conn = secure_connect(l->m->secure, &c);
	json_decref(c.hello);
	if (!l->conn)
		link_failed(l);
}

/* A node keeps its raft id where it listens; when that changes, so does its link. */
static struct raft_link *link_get(struct member *m, uint64_t id, const char *address)
{
	struct raft_link *l = link_find(m, id);

	if (l && strcmp(l->address, address)) {
		link_end(l);
		l = NULL;
	}
	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	l->m = m;
	l->id = id;
	snprintf(l->address, sizeof(l->address), "%s", address);
	l->next = m->raft_links;
	m->raft_links = l;
	return l;
}

void member_raft_send(struct member *m, const struct raft_message *message)
{
	struct raft_link *l = link_get(m, message->server_id, message->server_address);
	size_t begin = l->out.len;

	if (begin + (l->up ? secure_queued(l->conn) : 0) > QUEUE_MAX)
		return;
	if (kddm_message_encode(&l->out, message))
		l->last = begin;
	if (!l->conn)
		link_connect(l);
}

void member_raft_prefer(struct member *m, uint32_t node)
{
	const struct node_info *info = nodes_get(m->nodes, node);
	struct raft_link **at = &m->raft_links, *l;

	while (info && *at && (*at)->id != info->raft_id)
		at = &(*at)->next;
	l = *at;
	if (!info || !l || at == &m->raft_links)
		return;
	*at = l->next;
	l->next = m->raft_links;
	m->raft_links = l;
}

void member_raft_flush(struct member *m)
{
	for (struct raft_link *l = m->raft_links; l; l = l->next) {
		if (!l->up || !l->out.len)
			continue;
		secure_send(l->conn, l->out.data, l->out.len);
		l->out.len = l->last = 0;
		if (l->out.size > QUEUE_KEEP)
			kddm_buf_free(&l->out);
	}
}

/* ---- sources ---- */

static void source_free(struct raft_source *s)
{
	kddm_message_reader_free(&s->reader);
	free(s);
}

static void source_closed(void *arg)
{
	struct raft_source *s = arg, **at = &s->m->raft_sources;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->gone = true;
	if (!s->reading)
		source_free(s);
}

static void source_end(struct raft_source *s)
{
	secure_end(s->conn);
	source_closed(s);
}

static bool take_message(void *arg, struct raft_message *message)
{
	struct raft_source *s = arg;

	if (s->gone || !s->m->raft) {
		kddm_message_clear(message);
		return false;
	}
	message->server_id = s->id;
	message->server_address = s->address;
	kddm_raft_receive(s->m->raft, message);
	return !s->gone;
}

static void source_data(void *arg, const void *data, size_t len)
{
	struct raft_source *s = arg;
	int r;

	s->reading = true;
	s->heard_ms = member_now_ms();
	r = kddm_message_read(&s->reader, data, len, take_message, s);
	s->reading = false;
	if (s->gone) {
		source_free(s);
	} else if (r < 0) {
		secure_complain(s->conn, "sends what is no message of raft; connection closed");
		source_end(s);
	}
}

/* The oldest of those that one node has too many of, or that are too many in all. */
static void make_way(struct member *m, uint64_t id)
{
	struct raft_source *oldest = NULL, *last = NULL;
	unsigned int n = 0, all = 0;

	for (struct raft_source *s = m->raft_sources; s; s = s->next) {
		all++;
		last = s;
		if (s->id != id)
			continue;
		n++;
		oldest = s;
	}
	if (n >= SOURCES_MAX)
		source_end(oldest);
	else if (all >= SOURCES_ALL)
		source_end(last);
}

void member_raft_hello(struct member *m, struct secure_conn *c, uint64_t id, const char *address)
{
	struct secure_stream stream = {.data = source_data, .closed = source_closed};
	struct raft_source *s;

	if (!m->raft || !id || !address) {
		secure_refuse(c, 1, "try again later", "not ready");
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		abort();
	s->m = m;
	s->id = id;
	s->conn = c;
	snprintf(s->address, sizeof(s->address), "%s", address);
	stream.arg = s;
	if (secure_stream_begin(c, &stream) < 0) {
		free(s);
		return;
	}
	make_way(m, id);
	s->next = m->raft_sources;
	m->raft_sources = s;
}

bool member_raft_linked(const struct member *m, uint64_t id)
{
	for (const struct raft_source *s = m->raft_sources; s; s = s->next)
		if (s->id == id)
			return true;
	return false;
}

void member_raft_drop(struct member *m, uint64_t id)
{
	struct raft_source *s = m->raft_sources, *next;
	struct raft_link *l = link_find(m, id);

	for (; s; s = next) {
		next = s->next;
		if (s->id == id)
			source_end(s);
	}
	if (l)
		link_end(l);
}

void member_raft_tick(struct member *m)
{
	struct raft_source *s = m->raft_sources, *next_source;
	struct raft_link *l = m->raft_links, *next;
	uint64_t now = member_now_ms();

	for (; l; l = next) {
		next = l->next;
		if (!l->conn)
			link_connect(l);
	}
	for (; s; s = next_source) {
		next_source = s->next;
		if (!kddm_message_is_begun(&s->reader) || now - s->heard_ms < HALF_MS)
			continue;
		secure_complain(s->conn, "sent half a message of raft and no more; connection closed");
		source_end(s);
	}
}

void member_raft_stop(struct member *m)
{
	while (m->raft_links)
		link_end(m->raft_links);
	while (m->raft_sources)
		source_end(m->raft_sources);
}
