// SPDX-License-Identifier: GPL-2.0
/*
 * Frames from another node, as they come out of the encrypted stream, in pieces: calls, answers, pings and the
 * engine's own messages. The file itself is taken in, to get at what it has for itself.
 */
#include "userland/netd/peer.c"

#include "userland/netd/kddm_op.h"
#include "userland/netd/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The only stream there is; what it is told goes nowhere. */
static struct secure_stream stream;

int secure_accept(struct secure_conn *c, int *fd)
{
	return -ENOTSUP;
}
struct secure_conn *secure_connect(struct secure *s, const struct secure_connect *c)
{
	return NULL;
}
int secure_stream_begin(struct secure_conn *c, const struct secure_stream *s)
{
	stream = *s;
	return 0;
}
void secure_send(struct secure_conn *c, const void *data, size_t len)
{
}
size_t secure_queued(const struct secure_conn *c)
{
	return 0;
}
void secure_end(struct secure_conn *c)
{
	stream = (struct secure_stream){0};
}
void secure_cancel(struct secure_conn *c)
{
}
void secure_refuse(struct secure_conn *c, int code, const char *remedy, const char *fmt, ...)
{
}

static const char *no_address(void *arg, uint32_t node)
{
	return NULL;
}
static json_t *no_hello(void *arg, const char *purpose)
{
	return json_object();
}
static void on_link_state(void *arg, uint32_t node, bool up)
{
}

/* As member.c does it: sizes are checked before anything is looked at. */
static void on_message(void *arg, uint32_t from, uint8_t type, uint64_t id, const void *data, size_t len)
{
	if (type == PEER_KDDM_REQUESTS && !kddm_entry_check(data, len))
		for (const struct kddm_wire_request *r = NULL; (r = kddm_request_next(data, r));)
			for (const struct kddm_wire_op *op = NULL; (op = kddm_op_next(r, op));)
				(void)*(volatile const uint8_t *)op;
}

static void answer_now(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	peer_call_answer(call, json_incref(request ? request : json_null()));
}

static void ignore_answer(void *arg, int status, json_t *answer)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct peers_params params = {
		.address = no_address, .hello = no_hello, .message = on_message, .link = on_link_state};
	size_t step = size ? data[0] * 8u + 1 : 1;
	struct peers *p;
	uint64_t *piece = malloc(step + sizeof(*piece));

	peers_new(&params, &p);
	peers_start(p, NULL);
	peers_identify(p, 1);
	peer_handle(p, "f", answer_now, NULL);
	link_new(p, 2, NULL);
	p->next_id = 1; /* so that the input can answer it */
	peer_call(p, 2, "f", json_null(), 1000, ignore_answer, NULL);
	for (size_t at = 0; at < size && stream.data; at += step) {
		size_t n = size - at < step ? size - at : step;

		memcpy(piece, data + at, n);
		stream.data(stream.arg, piece, n);
		peers_flush(p);
	}
	peers_tick(p);
	if (stream.closed && size & 1) {
		stream.closed(stream.arg);
		stream = (struct secure_stream){0};
	}
	peers_stop(p);
	peers_free(p);
	free(piece);
	return 0;
}
