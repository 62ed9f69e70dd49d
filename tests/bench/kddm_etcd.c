// SPDX-License-Identifier: GPL-2.0
/*
 * A claim by etcd's gRPC; see kddm_etcd.h. Headers are sent as literals that nobody indexes, so no
 * table is kept for either direction; of what is received only data counts.
 */
#include "kddm_etcd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

#define FRAME_HEAD 9
#define FRAME_MAX  16384
#define WINDOW	   0x3fffffffu

struct etcd {
	int fd;
	bool json;
	uint32_t stream; /* of the next call */
	uint32_t taken;	 /* bytes of data since the window was last opened */
	size_t n_headers;
	unsigned char headers[512];
	size_t have; /* read, not yet taken */
	unsigned char in[2 * (FRAME_MAX + FRAME_HEAD)];
};

struct out {
	size_t n;
	unsigned char data[1024];
};

static void add(struct out *o, const void *data, size_t n)
{
	if (o->n + n > sizeof(o->data))
		abort();
	memcpy(o->data + o->n, data, n);
	o->n += n;
}

static void add_byte(struct out *o, unsigned int byte)
{
	unsigned char b = (unsigned char)byte;

	add(o, &b, 1);
}

static void add_u32(struct out *o, uint32_t v)
{
	v = htonl(v);
	add(o, &v, sizeof(v));
}

static void add_frame(struct out *o, size_t len, unsigned int type, unsigned int flags, uint32_t stream)
{
	add_byte(o, 0);
	add_byte(o, (unsigned int)len >> 8);
	add_byte(o, (unsigned int)len & 0xff);
	add_byte(o, type);
	add_byte(o, flags);
	add_u32(o, stream);
}

/* ---- protobuf ---- */

static void add_bytes(struct out *o, unsigned int field, const void *data, size_t n)
{
	if (n > 127) /* a length of one byte is enough for what is said here */
		abort();
	add_byte(o, field << 3 | 2);
	add_byte(o, (unsigned int)n);
	add(o, data, n);
}

static void add_number(struct out *o, unsigned int field, unsigned int value)
{
	add_byte(o, field << 3);
	add_byte(o, value);
}

/* TxnRequest: if create_revision(key) = 0 then put(key, value). */
static void make_txn(struct out *o, const char *key, const char *value)
{
	struct out compare = {0}, put = {0}, op = {0};

	add_number(&compare, 2, 1); /* target CREATE; result EQUAL and revision 0 are the defaults */
	add_bytes(&compare, 3, key, strlen(key));
	add_number(&compare, 5, 0);
	add_bytes(&put, 1, key, strlen(key));
	add_bytes(&put, 2, value, strlen(value));
	add_bytes(&op, 2, put.data, put.n);
	add_bytes(o, 1, compare.data, compare.n);
	add_bytes(o, 2, op.data, op.n);
}

static bool skip_varint(const unsigned char **p, const unsigned char *end, uint64_t *v)
{
	*v = 0;
	for (unsigned int shift = 0; *p < end && shift < 64; shift += 7) {
		unsigned char b = *(*p)++;

		*v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

/* TxnResponse: field 2 says whether the comparison held. */
static int txn_succeeded(const unsigned char *p, size_t n)
{
	const unsigned char *end = p + n;
	int succeeded = 0;
	uint64_t tag, v;

	while (p < end) {
		if (!skip_varint(&p, end, &tag) || !skip_varint(&p, end, &v))
			return -1;
		if ((tag & 7) == 2)
			p += v;
		else if ((tag & 7) != 0)
			return -1;
		else if (tag >> 3 == 2)
			succeeded = v != 0;
	}
	return p == end ? succeeded : -1;
}

/* ---- HTTP/2 ---- */

static int send_all(struct etcd *e, const struct out *o)
{
	return send(e->fd, o->data, o->n, MSG_NOSIGNAL) == (ssize_t)o->n ? 0 : -1;
}

static void add_header(struct out *o, const char *name, const char *value)
{
	add_byte(o, 0x00); /* literal, not indexed, new name */
	add_byte(o, (unsigned int)strlen(name));
	add(o, name, strlen(name));
	add_byte(o, (unsigned int)strlen(value));
	add(o, value, strlen(value));
}

/* The next whole frame; its payload is valid until the next call. */
static int next_frame(struct etcd *e, size_t *used, unsigned int *type, unsigned int *flags, uint32_t *stream,
		      const unsigned char **payload, size_t *len)
{
	if (*used) {
		memmove(e->in, e->in + *used, e->have - *used);
		e->have -= *used;
		*used = 0;
	}
	for (;;) {
		ssize_t n;

		if (e->have >= FRAME_HEAD) {
			*len = (size_t)e->in[0] << 16 | (size_t)e->in[1] << 8 | e->in[2];
			if (*len > FRAME_MAX)
				break;
			if (e->have >= FRAME_HEAD + *len) {
				*type = e->in[3];
				*flags = e->in[4];
				memcpy(stream, e->in + 5, sizeof(*stream));
				*stream = ntohl(*stream) & 0x7fffffff;
				*payload = e->in + FRAME_HEAD;
				*used = FRAME_HEAD + *len;
				return 0;
			}
		}
		n = recv(e->fd, e->in + e->have, sizeof(e->in) - e->have, 0);
		if (n <= 0)
			break;
		e->have += (size_t)n;
	}
	errno = EPROTO;
	return -1;
}

/* Frames that are about the connection. */
static int take_control(struct etcd *e, unsigned int type, unsigned int flags, const unsigned char *payload,
			size_t len)
{
	struct out o = {0};

	if (type == SETTINGS && !(flags & ACK)) {
		add_frame(&o, 0, SETTINGS, ACK, 0);
	} else if (type == PING && !(flags & ACK)) {
		add_frame(&o, len, PING, ACK, 0);
		add(&o, payload, len);
	} else if (type == GOAWAY) {
		return -1;
	}
	return o.n ? send_all(e, &o) : 0;
}

static int open_window(struct etcd *e, size_t len)
{
	struct out o = {0};

	e->taken += (uint32_t)len;
	if (e->taken < WINDOW / 2)
		return 0;
	add_frame(&o, 4, WINDOW_UPDATE, 0, 0);
	add_u32(&o, e->taken);
	e->taken = 0;
	return send_all(e, &o);
}

/* Until the stream ends. The answer's message, at most `size` of it, or -1. */
static ssize_t take_answer(struct etcd *e, uint32_t call, unsigned char *out, size_t size)
{
	unsigned int type, flags;
	const unsigned char *payload;
	size_t n = 0, len, used = 0;
	uint32_t stream;
	bool ended = false;

	while (!ended) {
		if (next_frame(e, &used, &type, &flags, &stream, &payload, &len) < 0)
			return -1;
		if (take_control(e, type, flags, payload, len) < 0)
			return -1;
		if (type == DATA) {
			if (open_window(e, len) < 0 || n + len > size)
				return -1;
			memcpy(out + n, payload, len);
			n += len;
		}
		ended = stream == call && (type == DATA || type == HEADERS) && flags & END_STREAM;
	}
	memmove(e->in, e->in + used, e->have - used);
	e->have -= used;
	return (ssize_t)n;
}

/* ---- the JSON gateway ---- */

static void base64(const char *text, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)text[i] << 16;

		v |= i + 1 < len ? (uint32_t)(unsigned char)text[i + 1] << 8 : 0;
		v |= i + 2 < len ? (uint32_t)(unsigned char)text[i + 2] : 0;
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*out++ = i + 2 < len ? digits[v & 63] : '=';
	}
	*out = 0;
}

static int create_by_json(struct etcd *e, const char *key, const char *value)
{
	char k[128], v[128], body[512], text[1024], *end, *length;
	size_t have = 0, whole;
	ssize_t n;

	base64(key, k);
	base64(value, v);
	snprintf(body, sizeof(body),
		 "{\"compare\":[{\"key\":\"%s\",\"target\":\"CREATE\",\"create_revision\":\"0\"}],"
		 "\"success\":[{\"request_put\":{\"key\":\"%s\",\"value\":\"%s\"}}]}",
		 k, k, v);
	n = snprintf(text, sizeof(text),
		     "POST /v3/kv/txn HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\n"
		     "Content-Length: %zu\r\n\r\n%s",
		     strlen(body), body);
	if (send(e->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		return -1;
	for (;;) {
		n = recv(e->fd, text + have, sizeof(text) - 1 - have, 0);
		if (n <= 0)
			break;
		have += (size_t)n;
		text[have] = 0;
		end = strstr(text, "\r\n\r\n");
		length = strstr(text, "Content-Length: ");
		whole = end && length ? (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10) : 0;
		if (end && !length)
			break;
		if (whole && have >= whole)
			return strstr(end, "\"succeeded\":true") ? 1 : 0;
	}
	errno = EPROTO;
	return -1;
}

int etcd_create(struct etcd *e, const char *key, const char *value)
{
	unsigned char answer[1024];
	struct out txn = {0}, o = {0};
	uint32_t call = e->stream;
	ssize_t n;

	if (e->json)
		return create_by_json(e, key, value);
	make_txn(&txn, key, value);
	add_frame(&o, e->n_headers, HEADERS, END_HEADERS, call);
	add(&o, e->headers, e->n_headers);
	add_frame(&o, 5 + txn.n, DATA, END_STREAM, call);
	add_byte(&o, 0); /* not compressed */
	add_u32(&o, (uint32_t)txn.n);
	add(&o, txn.data, txn.n);
	e->stream += 2;
	if (send_all(e, &o) < 0)
		return -1;
	n = take_answer(e, call, answer, sizeof(answer));
	if (n < 5) { /* no message: the call failed */
		errno = EPROTO;
		return -1;
	}
	return txn_succeeded(answer + 5, (size_t)n - 5);
}

static int greet(struct etcd *e, const char *address)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct out o = {0}, h = {0};

	add(&o, preface, sizeof(preface) - 1);
	add_frame(&o, 6, SETTINGS, 0, 0);
	add_byte(&o, 0);
	add_byte(&o, 4); /* window of each stream */
	add_u32(&o, WINDOW);
	add_frame(&o, 4, WINDOW_UPDATE, 0, 0);
	add_u32(&o, WINDOW);
	add_header(&h, ":method", "POST");
	add_header(&h, ":scheme", "http");
	add_header(&h, ":path", "/etcdserverpb.KV/Txn");
	add_header(&h, ":authority", address);
	add_header(&h, "content-type", "application/grpc");
	add_header(&h, "te", "trailers");
	memcpy(e->headers, h.data, h.n);
	e->n_headers = h.n;
	return send_all(e, &o);
}

static struct etcd *connect_to(const char *address, uint16_t port, bool json)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct etcd *e = calloc(1, sizeof(*e));
	int on = 1;

	if (!e)
		return NULL;
	e->stream = 1;
	e->json = json;
	e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (e->fd < 0 || inet_pton(AF_INET, address, &a.sin_addr) != 1 ||
	    connect(e->fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    (!json && greet(e, address) < 0)) {
		etcd_close(e);
		return NULL;
	}
	return e;
}

struct etcd *etcd_connect(const char *address, uint16_t port)
{
	return connect_to(address, port, false);
}

struct etcd *etcd_connect_json(const char *address, uint16_t port)
{
	return connect_to(address, port, true);
}

void etcd_close(struct etcd *e)
{
	if (e->fd >= 0)
		close(e->fd);
	free(e);
}
