// SPDX-License-Identifier: GPL-2.0
/* What is said first: hello, the reply to it, or why there is none. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secure_int.h"

/* ---- refusals ---- */

static json_t *error_object(int code, const char *remedy, const char *text)
{
	return json_pack("{ss si ss}", "error", text, "code", code, "remedy", remedy);
}

/* A client's connection failed before its stream began. */
static void client_fail(struct secure_conn *c, int status, const char *remedy, const char *text)
{
	secure_done_fn *done = c->done;

	c->done = NULL;
	secure_conn_end(c);
	if (done) {
		json_t *e = error_object(1, remedy, text);

		done(c->done_arg, status, e, -1);
		json_decref(e);
	}
}

/* What a stranger, or a member that is out of date, did wrong. */
static void server_fail(struct secure_conn *c, int status)
{
	struct secure *s = c->secure;
	char text[160] = "";
	const char *cause;

	if (status == -EACCES && c->expired)
		cause = "refused, a token that has expired";
	else if (status == -EACCES)
		cause = "refused, wrong key or token";
	else if (status == -EPROTO)
		cause = "refused, what it sends is no message of netssi";
	else if (status == -ETIMEDOUT)
		cause = "refused, it did not say in time what it wants";
	else
		cause = "hung up before it said what it wants";
	if (status == -EACCES)
		snprintf(text, sizeof(text), "%s: %s", cause, c->identity);
	if (c->state < SECURE_ASKED)
		secure_log_say(&s->log, uv_now(s->loop), c->peer, cause, text[0] ? text : NULL);
	secure_conn_end(c);
}

/* One clear line on each side. */
void secure_conn_fail(struct secure_conn *c, int status)
{
	char text[256];
	const char *remedy = "look at the log of the other node";

	if (c->ended)
		return;
	if (c->server) {
		server_fail(c, status);
		return;
	}
	if (status == -EACCES) {
		snprintf(text, sizeof(text), "the node at %s refuses this key or token", c->peer);
		remedy = "use the cluster's key (/etc/netssi/key) or a fresh token (netctl token)";
	} else if (status == -ECONNREFUSED) {
		snprintf(text, sizeof(text), "no netd listens at %s", c->peer);
		remedy = "check the address and that netd runs there and is in a cluster";
	} else if (status == -ETIMEDOUT) {
		snprintf(text, sizeof(text), "no answer from %s", c->peer);
		remedy = "check the address, the cable and the firewall";
	} else if (status == -ECONNRESET) {
		snprintf(text, sizeof(text), "%s hung up before it answered%s", c->peer,
			 c->secure->insecure ? ": a secure cluster does so to a node in clear text" : "");
		remedy = c->secure->insecure ? "start netd here without --insecure, then try again"
					     : "see whether netd runs there, then try again";
	} else if (status == -EPROTO) {
		snprintf(text, sizeof(text), "what listens at %s is no netd, or one in clear text", c->peer);
		remedy = "check the address; start netd with --insecure on all nodes or on none";
	} else {
		snprintf(text, sizeof(text), "cannot talk to %s: %s", c->peer, strerror(-status));
		if (status == -ENETUNREACH || status == -EHOSTUNREACH)
			remedy = "check the address, the cable and the routes of this machine (`ip route`)";
	}
	client_fail(c, status, remedy, text);
}

void secure_complain(struct secure_conn *c, const char *what)
{
	secure_log_say(&c->secure->log, uv_now(c->secure->loop), c->peer, what, NULL);
}

/* ---- hello ---- */

void secure_queue_json(struct secure_conn *c, json_t *obj)
{
	char *text = json_dumps(obj, JSON_COMPACT);
	uint32_t len = text ? (uint32_t)strlen(text) : 0;

	secure_bytes_add(&c->out, &len, sizeof(len));
	if (text)
		secure_bytes_add(&c->out, text, len);
	OPENSSL_cleanse(text, len);
	free(text);
}

/* *out: new reference. 1 complete, 0 not yet, negative errno. */
static int take_json(struct secure_conn *c, json_t **out)
{
	uint32_t len;

	if (c->in.len < sizeof(len))
		return 0;
	memcpy(&len, c->in.data, sizeof(len));
	if (len > SECURE_HELLO_MAX)
		return -EPROTO;
	if (c->in.len < sizeof(len) + len)
		return 0;
	*out = json_loadb(c->in.data + sizeof(len), len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(*out)) {
		json_decref(*out);
		return -EPROTO;
	}
	secure_bytes_drop(&c->in, sizeof(len) + len);
	return 1;
}

/* The loop lets go of it, then a thread takes over. */
static int make_bulk(struct secure_conn *c, int *fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	c->local_fd = pair[0];
	*fd = pair[1];
	uv_timer_stop(&c->timer);
	c->state = SECURE_STREAM;
	c->net_ready = c->local_ready = true;
	c->go_threaded = true;
	secure_conn_detach(c);
	return 0;
}

static void client_reply(struct secure_conn *c, json_t *reply)
{
	secure_done_fn *done = c->done;
	int fd = -1, r;

	if (json_object_get(reply, "error")) {
		c->done = NULL;
		secure_conn_end(c);
		if (done)
			done(c->done_arg, -EREMOTEIO, reply, -1);
		return;
	}
	if (json_is_true(json_object_get(reply, "closed"))) {
		secure_conn_end(c);
	} else if (c->bulk) {
		r = make_bulk(c, &fd);
		if (r < 0) {
			secure_conn_fail(c, r);
			return;
		}
	}
	c->done = NULL;
	if (done)
		done(c->done_arg, 0, reply, fd);
	else if (fd >= 0)
		close(fd);
	if (c->state != SECURE_STREAM)
		secure_conn_end(c);
}

/* What it proved to know when it began is still the secret of its name. */
static bool still_good(struct secure_conn *c)
{
	uint8_t key[SECURE_KEY_BYTES];
	bool good;

	if (c->secure->insecure)
		return true;
	good = !c->secure->find_key(c->secure->arg, c->identity, key) &&
	       !CRYPTO_memcmp(key, c->key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
	return good;
}

/* The connection is up and has bytes: the hello or the reply to it. */
void secure_take_hello(struct secure_conn *c)
{
	json_t *obj = NULL;
	int r = take_json(c, &obj);

	if (r < 0) {
		secure_conn_fail(c, r);
		return;
	}
	if (!r)
		return;
	if (!c->server) {
		client_reply(c, obj);
		json_decref(obj);
		return;
	}
	uv_timer_stop(&c->timer);
	secure_pending_leave(c);
	c->state = SECURE_ASKED;
	c->hello = obj;
	if (!still_good(c)) {
		secure_refuse(c, 1, "use the cluster's key (/etc/netssi/key) or a fresh token (netctl token)",
			      "the key or token was replaced, or ended, meanwhile");
		return;
	}
	c->secure->hello(c->secure->arg, c, c->identity, obj);
}

int secure_accept(struct secure_conn *c, int *fd)
{
	json_t *reply = json_object();
	int r = c->ended ? -ECONNRESET : 0;

	if (!r) {
		secure_queue_json(c, reply);
		r = make_bulk(c, fd);
	}
	json_decref(reply);
	if (r < 0)
		secure_conn_end(c);
	return r;
}

void secure_answer(struct secure_conn *c, json_t *reply)
{
	if (c->ended) {
		json_decref(reply);
		return;
	}
	if (!json_object_get(reply, "error"))
		json_object_set_new(reply, "closed", json_true());
	secure_queue_json(c, reply);
	json_decref(reply);
	c->state = SECURE_LAST_WORDS;
	uv_timer_start(&c->timer, secure_on_timeout, SECURE_TIMEOUT_MS, 0);
	secure_step(c);
}

void secure_refuse(struct secure_conn *c, int code, const char *remedy, const char *fmt, ...)
{
	char text[256], line[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "refused: %s", text);
	secure_log_say(&c->secure->log, uv_now(c->secure->loop), c->peer, fmt, line);
	secure_answer(c, error_object(code, remedy, text));
}

const char *secure_peer(const struct secure_conn *c)
{
	return c->peer;
}
