/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside secure*.c: one connection and what its files share.
 *
 *   CONNECTING -> HANDSHAKE -> HELLO -> STREAM           client
 *                 HANDSHAKE -> HELLO -> ASKED -> STREAM  server, accepted
 *                                       ASKED -> LAST_WORDS  server, answered
 */
#ifndef SSI_SECURE_INT_H
#define SSI_SECURE_INT_H

#include <openssl/ssl.h>
#include <sys/types.h>

#include "secure.h"
#include "secure_log.h"
#include "transport.h"

struct secure {
	uv_loop_t *loop;
	bool insecure, closing;
	void (*identity)(void *arg, char identity[SECURE_IDENTITY_MAX]);
	int (*find_key)(void *arg, const char *identity, uint8_t key[SECURE_KEY_BYTES]);
	void (*hello)(void *arg, struct secure_conn *c, const char *identity, json_t *hello);
	void *arg;
	SSL_CTX *client_ctx, *server_ctx;
	struct secure_conn *conns;
	struct secure_listener *listeners;
	struct secure_host *hosts;
	unsigned int n_pending;
	struct secure_log log;
	uv_timer_t tick;
	bool tick_closed;
	char *chunk; /* what was just read of a stream */
	void (*closed)(void *arg);
	void *closed_arg;
};

enum secure_state {
	SECURE_CONNECTING,
	SECURE_HANDSHAKE,
	SECURE_HELLO,
	SECURE_ASKED,
	SECURE_LAST_WORDS,
	SECURE_STREAM,
};

struct secure_bytes {
	char *data;
	size_t len, size;
};

/* An address that has connections here. */
struct secure_host {
	struct secure_host *next;
	char name[64];
	unsigned int n_conns, n_pending;
};

struct secure_conn {
	struct secure *secure;
	struct secure_host *host;
	struct secure_conn *next;
	enum secure_state state;
	bool server, pending, ended, bulk, go_threaded, want_write;
	bool net_eof, local_eof, sent_eof, shut_local; /* bulk */
	bool net_ready, local_ready;		       /* an end may have something to read */
	int handles;				       /* of the loop, not yet closed */
	int net_fd, local_fd, early;
	uv_poll_t net;
	uv_timer_t timer;
	struct secure_stream stream;
	bool broken;	   /* told by the timer, never from within */
	int watched;	   /* what the loop looks for */
	size_t out_at;	   /* of `out`, what the network has */
	uint64_t moved_ms; /* when it last took something */
	SSL *ssl;
	uint8_t key[SECURE_KEY_BYTES]; /* that it is authenticated with */
	bool expired;		       /* the identity was good once */
	char identity[SECURE_IDENTITY_MAX];
	char peer[TRANSPORT_ADDRESS_MAX];
	struct secure_bytes in, out; /* from and to the network, clear */
	json_t *hello;
	secure_done_fn *done;
	void *done_arg;
};

/* secure.c */
void secure_maybe_closed(struct secure *s);

/* secure_listen.c */
struct secure_host *secure_host_get(struct secure *s, const char *peer); /* with one connection more */
void secure_host_put(struct secure *s, struct secure_host *h);
void secure_pending_enter(struct secure_conn *c);
void secure_pending_leave(struct secure_conn *c); /* if it is in there */
void secure_listeners_wake(struct secure *s);	  /* that rest for want of fds or memory */
void secure_listeners_close(struct secure *s);

/* secure_conn.c */
void secure_accepted(struct secure *s, int fd, const char *peer); /* fd is taken over */
void secure_step(struct secure_conn *c);
void secure_conn_end(struct secure_conn *c);
void secure_conn_detach(struct secure_conn *c); /* from the loop: then a thread has it, or it is freed */
void secure_conn_free(struct secure_conn *c);
void secure_conn_unlink(struct secure_conn *c);
void secure_on_timeout(uv_timer_t *t);

/* secure_hello.c */
void secure_queue_json(struct secure_conn *c, json_t *obj);
void secure_take_hello(struct secure_conn *c);		  /* the hello or the reply, when it is complete */
void secure_conn_fail(struct secure_conn *c, int status); /* before the stream: one clear line on each side */

/* secure_tls.c. Reads and writes: bytes, 0 end of stream, -EAGAIN, -errno. */
int secure_tls_init(struct secure *s);
void secure_tls_exit(struct secure *s);
int secure_tls_client(struct secure_conn *c, const uint8_t *key);
int secure_tls_server(struct secure_conn *c);
void secure_tls_free(struct secure_conn *c);
int secure_tls_handshake(struct secure_conn *c); /* 1 done, 0 not yet, -errno */
void secure_tls_shutdown(struct secure_conn *c);
ssize_t secure_net_read(struct secure_conn *c, void *buf, size_t len);
ssize_t secure_net_write(struct secure_conn *c, const void *buf, size_t len);
/* Bytes were read that no poll will tell of. */
bool secure_net_has_more(const struct secure_conn *c);

/* secure_stream.c */
#define SECURE_CHUNK 65536
void secure_stream_watch(struct secure_conn *c);

/* secure_pump.c */
void secure_pump_thread(struct secure_conn *c);
void secure_bytes_add(struct secure_bytes *b, const void *data, size_t len);
void secure_bytes_drop(struct secure_bytes *b, size_t len);
void secure_bytes_free(struct secure_bytes *b); /* a key may have passed through */

#endif
