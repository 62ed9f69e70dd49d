// SPDX-License-Identifier: GPL-2.0
/* Protobuf by hand: varints and length-delimited fields. */
#include "ckpt/criu_rpc.h"

#include <errno.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void put_varint(struct criu_rpc *m, uint64_t v)
{
	do {
		if (m->len >= sizeof(m->data)) {
			m->failed = true;
			return;
		}
		m->data[m->len++] = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
}

static void put_bytes(struct criu_rpc *m, unsigned int field, const char *data, size_t len)
{
	put_varint(m, (uint64_t)field << 3 | WIRE_BYTES);
	put_varint(m, len);
	if (m->failed || len > sizeof(m->data) - m->len) {
		m->failed = true;
		return;
	}
	memcpy(m->data + m->len, data, len);
	m->len += len;
}

void rpc_put_int(struct criu_rpc *m, unsigned int field, uint64_t value)
{
	put_varint(m, (uint64_t)field << 3 | WIRE_VARINT);
	put_varint(m, value);
}

void rpc_put_text(struct criu_rpc *m, unsigned int field, const char *text)
{
	put_bytes(m, field, text, strlen(text));
}

void rpc_put_message(struct criu_rpc *m, unsigned int field, const struct criu_rpc *inner)
{
	m->failed |= inner->failed;
	put_bytes(m, field, inner->data, inner->len);
}

struct reader {
	const unsigned char *at, *end;
};

struct field {
	unsigned int number;
	uint64_t value;	     /* of a varint */
	struct reader bytes; /* of the rest */
};

static int get_varint(struct reader *r, uint64_t *out)
{
	unsigned int shift;

	*out = 0;
	for (shift = 0; shift < 64 && r->at < r->end; shift += 7) {
		unsigned char c = *r->at++;

		*out |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return 0;
	}
	return -EPROTO;
}

static int get_bytes(struct reader *r, uint64_t len, struct reader *out)
{
	if (len > (uint64_t)(r->end - r->at))
		return -EPROTO;
	*out = (struct reader){r->at, r->at + len};
	r->at += len;
	return 0;
}

/* 1: a field, 0: the end, or -EPROTO. */
static int get_field(struct reader *r, struct field *f)
{
	uint64_t tag, len;

	if (r->at == r->end)
		return 0;
	*f = (struct field){0};
	if (get_varint(r, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > 1 << 20)
		return -EPROTO;
	f->number = (unsigned int)(tag >> 3);
	switch (tag & 7) {
	case WIRE_VARINT:
		return get_varint(r, &f->value) ?: 1;
	case WIRE_BYTES:
		return get_varint(r, &len) ?: get_bytes(r, len, &f->bytes) ?: 1;
	case WIRE_FIXED64:
		return get_bytes(r, 8, &f->bytes) ?: 1;
	case WIRE_FIXED32:
		return get_bytes(r, 4, &f->bytes) ?: 1;
	default:
		return -EPROTO;
	}
}

static int parse_notify(struct reader r, struct criu_response *out)
{
	struct field f;
	int err;

	while ((err = get_field(&r, &f)) > 0) {
		size_t len = (size_t)(f.bytes.end - f.bytes.at);

		if (f.number == 2)
			out->pid = f.value;
		if (f.number != 1)
			continue;
		if (len >= sizeof(out->script))
			return -EPROTO;
		memcpy(out->script, f.bytes.at, len);
		out->script[len] = '\0';
	}
	return err;
}

int rpc_parse(const char *data, size_t len, struct criu_response *out)
{
	struct reader r = {(const unsigned char *)data, (const unsigned char *)data + len};
	struct field f;
	int err;

	*out = (struct criu_response){0};
	while ((err = get_field(&r, &f)) > 0) {
		if (f.number == 1)
			out->type = f.value;
		else if (f.number == 2)
			out->success = f.value != 0;
		else if (f.number == 5 && parse_notify(f.bytes, out) < 0)
			return -EPROTO;
	}
	return err;
}
