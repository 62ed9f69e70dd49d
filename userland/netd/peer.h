/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Talk between the netd of two member nodes, over an authenticated connection
 * of the chosen transport. Three shapes:
 *   call     a JSON request, a JSON answer (small things: prepare, explain …)
 *   stream   a byte stream for bulk (images, stdio): both sides get an fd
 * Handlers are registered by name before the node joins. One thread: the loop.
 */
#ifndef SSI_PEER_H
#define SSI_PEER_H

#include <jansson.h>
#include <stdint.h>

struct peers;
struct peer_call;

#define PEER_MESSAGE_MAX (1 << 20)

/* `answer` is borrowed and NULL unless status is 0. status: 0, -EHOSTDOWN,
 * -ETIMEDOUT, -ENOTCONN, -EPROTO; a handler's own error arrives as status 0
 * with {"error","code","remedy"} in the answer. */
typedef void peer_answer_fn(void *arg, int status, json_t *answer);
/* `request` is borrowed. A node may call itself. */
void peer_call(struct peers *p, uint32_t node, const char *name, json_t *request, unsigned int timeout_ms,
	       peer_answer_fn *done, void *arg);

/* Handler: answer now or later, exactly once, with peer_call_answer(), which
 * steals the reference to `answer`. `from` is the authenticated node number. */
typedef void peer_handler_fn(void *arg, uint32_t from, json_t *request, struct peer_call *call);
int peer_handle(struct peers *p, const char *name, peer_handler_fn *fn, void *arg);
void peer_call_answer(struct peer_call *call, json_t *answer);

/* Stream: `done` gets a connected, blocking-capable stream fd (now owned by
 * the callee) or a negative status with fd -1. `hello` is borrowed. */
typedef void peer_stream_fn(void *arg, int status, int fd);
void peer_stream_open(struct peers *p, uint32_t node, const char *name, json_t *hello, peer_stream_fn *done,
		      void *arg);
typedef void peer_accept_fn(void *arg, uint32_t from, json_t *hello, int fd);
int peer_accept(struct peers *p, const char *name, peer_accept_fn *fn, void *arg);

#endif
