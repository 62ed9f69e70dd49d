// SPDX-License-Identifier: GPL-2.0
/*
 * Frames from another node, as they come out of the encrypted stream, in pieces: calls, answers, pings and the
 * engine's own messages. The file itself is taken in, to get at what it has for itself.
 */
#include "userland/netd/peer.c"

#include "fuzz.h"
#include "userland/netd/kddm_op.h"
#include "userland/netd/lease.h"

int secure_accept(struct secure_conn *c, json_t *reply, bool threaded, int *fd)
{
	return -ENOTSUP;
}
struct secure_conn *secure_connect(struct secure *s, const struct secure_connect *c)
{
	return NULL;
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
	uv_loop_t loop;
	const struct peers_params params = {.loop = &loop,
					    .address = no_address,
					    .hello = no_hello,
					    .message = on_message,
					    .link = on_link_state};
	struct fuzz_stream s;
	struct peers *p;

	if (fuzz_open(&s, data, size, 8) < 0)
		return 0;
	uv_loop_init(&loop);
	peers_new(&params, &p);
	peers_start(p, NULL);
	peers_identify(p, 1);
	peer_handle(p, "f", answer_now, NULL);
	link_new(p, 2, s.fd);
	p->next_id = 1; /* so that the input can answer it */
	peer_call(p, 2, "f", json_null(), 1000, ignore_answer, NULL);
	while (p->n_links && fuzz_next(&s)) {
		peers_flush(p);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	peers_tick(p);
	peers_stop(p);
	fuzz_close(&s);
	uv_run(&loop, UV_RUN_DEFAULT);
	peers_free(p);
	uv_loop_close(&loop);
	return 0;
}
