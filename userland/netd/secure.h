/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Authenticated connections: what a node may talk to. Both ends prove that
 * they know a secret (TLS 1.3, external PSK, ephemeral DH) before one byte is
 * interpreted; then the client says in a JSON "hello" what it wants and the
 * server accepts, answers or refuses. An accepted connection goes on as
 *   a stream  messages: the loop hands over what comes, as it comes
 *   an fd     bulk: one end of a socket pair, whose other end a thread pumps through TLS
 * With `insecure` the hello comes first and all is clear text.
 *
 * Wire, inside TLS: u32 length (little endian, <= SECURE_HELLO_MAX), JSON; both
 * ways once; then the stream. A refusal is {"error","code","remedy"}.
 */
#ifndef SSI_SECURE_H
#define SSI_SECURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define SECURE_KEY_BYTES    32
#define SECURE_HELLO_MAX    65536
#define SECURE_IDENTITY_MAX 96
#define SECURE_TIMEOUT_MS   5000
#define SECURE_STALL_MS	    4000 /* a stream whose other end reads nothing for so long ends */
#define SECURE_PENDING_MAX  128 /* incoming, not yet authenticated; more end the oldest of whoever has most */
#define SECURE_PENDING_HOST 16	/* of these, from one address; more end its oldest */

struct secure;
struct secure_listener;
struct secure_conn;

struct secure_params {
	uv_loop_t *loop;
	bool insecure;
	/* Who we are when secure_connect.identity is NULL. */
	void (*identity)(void *arg, char identity[SECURE_IDENTITY_MAX]);
	/* The secret of an identity; negative errno: unknown, or -EKEYEXPIRED. A server asks when the
	 * handshake begins and when the hello has come: between these a key may have ended. */
	int (*find_key)(void *arg, const char *identity, uint8_t key[SECURE_KEY_BYTES]);
	/* A peer is authenticated as `identity` and says hello (borrowed). Finish
	 * with secure_accept(), secure_answer() or secure_refuse(), now or later. */
	void (*hello)(void *arg, struct secure_conn *c, const char *identity, json_t *hello);
	void *arg;
};

int secure_new(const struct secure_params *p, struct secure **out);
/* Connections and listeners end; `closed` when the loop has let go of them. */
void secure_close(struct secure *s, void (*closed)(void *arg), void *arg);

int secure_listen(struct secure *s, const char *address, struct secure_listener **out);
void secure_unlisten(struct secure_listener *l);

/* Server's ways to go on: secure_stream_begin(), or one of these. `reply` is stolen. */
int secure_accept(struct secure_conn *c, int *fd);	  /* *fd: blocking. 0 or negative errno */
void secure_answer(struct secure_conn *c, json_t *reply); /* and close */
void secure_refuse(struct secure_conn *c, int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
const char *secure_peer(const struct secure_conn *c); /* for log lines */
/* A log line about a peer that does not keep to the rules; `what` is static. */
void secure_complain(struct secure_conn *c, const char *what);

/*
 * Client. `done` once: status 0 with the reply (borrowed), or a negative errno and `reply` an error
 * object {"error","code","remedy"}. Accepted with `bulk`: fd is the callee's now; otherwise it is -1,
 * and the connection ends unless `done` calls secure_stream_begin().
 * -EACCES: secret refused; -EPROTO; -ETIMEDOUT; -ECONNREFUSED; -ECONNRESET: it hung
 * up before it answered; …; -EREMOTEIO: the server refused the hello.
 */
typedef void secure_done_fn(void *arg, int status, json_t *reply, int fd);
struct secure_connect {
	const char *address;
	const char *identity; /* NULL: secure_params.identity */
	const uint8_t *key;   /* NULL: by find_key */
	json_t *hello;	      /* borrowed */
	bool bulk;
	unsigned int timeout_ms; /* 0: SECURE_TIMEOUT_MS */
	secure_done_fn *done;
	void *arg;
};
/* NULL only when `done` will not be called (out of memory). */
struct secure_conn *secure_connect(struct secure *s, const struct secure_connect *c);
void secure_cancel(struct secure_conn *c); /* before `done`: it is not called any more */

/*
 * A stream. What is sent goes to the network at once as far as that takes it, the rest is copied and waits;
 * whoever sends much looks at secure_queued(). Neither callback runs inside of a call of these functions.
 */
struct secure_stream {
	void (*data)(void *arg, const void *data, size_t len); /* 8-byte aligned, valid during the call */
	void (*closed)(
		void *arg); /* by the other end, or broken: the connection is not the owner's any more */
	void *arg;
};
/* The server accepts by this. 0, or -ECONNRESET: it is over, `closed` will not be called. */
int secure_stream_begin(struct secure_conn *c, const struct secure_stream *s);
void secure_send(struct secure_conn *c, const void *data, size_t len);
size_t secure_queued(const struct secure_conn *c); /* bytes */
void secure_end(struct secure_conn *c); /* by the owner: what waits is still sent, `closed` is not called */

/* Streams that were authenticated with this key end, and what clients begin with it; but not those of threads:
 * they are what they were opened for and nothing else. */
void secure_end_key(struct secure *s, const uint8_t key[SECURE_KEY_BYTES]);

#endif
