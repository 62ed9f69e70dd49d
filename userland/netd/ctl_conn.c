/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One connection of the control socket: its request comes in, lines go out as
 * fast as the client takes them. A long result is cut into lines only when there
 * is room, so a slow reader costs no copy. One thread: the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/fdpass.h"
#include "userland/lib/log.h"
#include "userland/netd/ctl_internal.h"

static void on_poll(uv_poll_t *poll, int status, int events);

static void line_free(struct ctl_line *l)
{
	while (l->n_fds > 0)
		close(l->fds[--l->n_fds]);
	free(l->data);
	free(l);
}

static void drop_output(struct ctl_request *r)
{
	struct ctl_line *l;

	while ((l = STAILQ_FIRST(&r->out))) {
		STAILQ_REMOVE_HEAD(&r->out, link);
		line_free(l);
	}
	r->queued = 0;
	while (r->n_fds > 0)
		close(r->fds[--r->n_fds]);
	json_decref(r->result);
	r->result = NULL;
}

static void maybe_free(struct ctl_request *r)
{
	if (r->held || r->handle_open)
		return;
	jsonline_close(&r->in);
	drop_output(r);
	json_decref(r->args);
	json_decref(r->kinds);
	free(r);
}

static void on_closed(uv_handle_t *handle)
{
	struct ctl_request *r = handle->data;

	r->handle_open = false;
	maybe_free(r);
}

/* Leaves the loop and the list; the memory goes later, see maybe_free(). */
static void leave(struct ctl_request *r)
{
	struct ctl *c = r->ctl;

	LIST_REMOVE(r, link);
	c->n_requests--;
	c->n_unprivileged -= r->peer.uid != 0;
	r->ctl = NULL;
	uv_poll_stop(&r->poll);
	uv_close((uv_handle_t *)&r->poll, on_closed);
	drop_output(r);
}

void ctl_conn_gone(struct ctl_request *r)
{
	void (*closed)(void *arg) = r->closed;

	if (!r->ctl)
		return;
	leave(r);
	shutdown(r->in.fd, SHUT_RDWR); /* the client knows at once, also of a held request */
	if (r->held && closed) {
		r->closed = NULL;
		closed(r->closed_arg);
	}
}

/* What to wait for: a request, room for what waits, the client's end. */
static void wait_events(struct ctl_request *r)
{
	int events = UV_DISCONNECT;

	if (!r->ctl)
		return;
	if (r->state == CTL_READING)
		events |= UV_READABLE;
	if (!STAILQ_EMPTY(&r->out))
		events |= UV_WRITABLE;
	if (events != r->events)
		uv_poll_start(&r->poll, events, on_poll);
	r->events = events;
}

/* ---- out ---- */

static ssize_t send_line(struct ctl_request *r, struct ctl_line *l)
{
	FDPASS_BUFFER(control, JSONLINE_FDS);
	struct iovec iov = {.iov_base = l->data + l->done, .iov_len = l->len - l->done};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	fdpass_put(&msg, control.buf, l->fds, l->n_fds);
	do
		sent = sendmsg(r->in.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	while (l->n_fds > 0)
		close(l->fds[--l->n_fds]);
	return sent;
}

/* 0: all is sent; -EAGAIN: the client must read first; else it is gone. */
static int send_queued(struct ctl_request *r)
{
	struct ctl_line *l;

	while ((l = STAILQ_FIRST(&r->out))) {
		ssize_t sent = send_line(r, l);

		if (sent < 0)
			return sent;
		r->deadline = 0;
		l->done += sent;
		r->queued -= sent;
		if (l->done < l->len)
			continue;
		STAILQ_REMOVE_HEAD(&r->out, link);
		line_free(l);
	}
	return 0;
}

void ctl_conn_queue(struct ctl_request *r, char *data, size_t len)
{
	struct ctl_line *l = calloc(1, sizeof(*l));

	if (!l) {
		free(data);
		return;
	}
	l->data = data;
	l->len = len;
	l->n_fds = r->n_fds;
	memcpy(l->fds, r->fds, sizeof(l->fds));
	r->n_fds = 0;
	STAILQ_INSERT_TAIL(&r->out, l, link);
	r->queued += len;
}

/* {"KEY":[elements from r->sent on]}, as many as make a line of good length. */
static char *cut_result(struct ctl_request *r, size_t *len)
{
	json_t *chunk = json_array(), *line;
	size_t bytes = 0, n = json_array_size(r->result);
	char *text;

	while (r->sent < n) {
		json_t *element = json_array_get(r->result, r->sent);
		size_t size = json_dumpb(element, NULL, 0, JSON_COMPACT);

		if (bytes && bytes + size > CTL_PART)
			break;
		json_array_append(chunk, element);
		bytes += size + 1;
		r->sent++;
	}
	line = json_pack("{s:o}", r->sent < n ? "part" : "result", chunk);
	text = line ? jsonline_text(line, len) : NULL;
	json_decref(line);
	return text;
}

/* Turns what stands ready into lines while the queue is short. */
static bool produce(struct ctl_request *r)
{
	if (r->result) {
		size_t len;
		char *text = cut_result(r, &len);

		if (!text) {
			text = strdup("{\"error\":\"the answer is too long for one line\",\"code\":1,"
				      "\"remedy\":\"ask for less\"}\n");
			len = text ? strlen(text) : 0;
			r->sent = json_array_size(r->result);
		}
		if (r->sent >= json_array_size(r->result)) {
			json_decref(r->result);
			r->result = NULL;
		}
		if (text)
			ctl_conn_queue(r, text, len);
		return text != NULL;
	}
	if (r->watching)
		ctl_watch_pump(r);
	return !STAILQ_EMPTY(&r->out);
}

void ctl_conn_flush(struct ctl_request *r)
{
	int s;

	if (!r->ctl)
		return;
	do
		s = send_queued(r);
	while (s == 0 && produce(r));
	if (s == -EAGAIN) {
		if (!r->deadline)
			r->deadline = uv_now(r->ctl->loop) + CTL_STALL_MS;
		wait_events(r);
	} else if (s < 0 || r->state == CTL_ENDING) {
		ctl_conn_gone(r);
	} else {
		wait_events(r);
	}
}

void ctl_conn_end(struct ctl_request *r)
{
	r->held = false;
	r->watching = false;
	r->closed = NULL;
	if (!r->ctl) {
		maybe_free(r);
		return;
	}
	r->state = CTL_ENDING;
	if (STAILQ_EMPTY(&r->out))
		ctl_conn_flush(r);
}

/* Wraps `value` (taken over) as {"KEY":value}; NULL when it is no JSON or too long. */
static char *wrap(const char *key, json_t *value, size_t *len)
{
	json_t *line = value ? json_pack("{s:o}", key, value) : NULL;
	char *text = line ? jsonline_text(line, len) : NULL;

	json_decref(line);
	return text;
}

static void send_event(struct ctl_request *r, char *text, size_t len)
{
	bool idle = STAILQ_EMPTY(&r->out);

	ctl_conn_queue(r, text, len);
	if (idle)
		ctl_conn_flush(r);
}

void ctl_event(struct ctl_request *r, json_t *event)
{
	size_t len;
	char *text = wrap("event", event, &len);

	if (!text)
		log_debug("ctl: %s: an event is too long", r->cmd.name);
	else if (!r->ctl || r->state != CTL_RUNNING || r->queued + len > CTL_QUEUE)
		free(text); /* nobody listens, or too slowly: the result matters */
	else
		send_event(r, text, len);
}

void ctl_ok(struct ctl_request *r, json_t *result)
{
	if (!r->held) {
		json_decref(result);
		return;
	}
	if (result && !json_is_array(result))
		result = json_pack("[o]", result);
	if (!result)
		result = json_array();
	if (r->ctl) {
		r->result = result;
		r->sent = 0;
	} else {
		json_decref(result);
	}
	ctl_conn_end(r);
}

void ctl_fail(struct ctl_request *r, int code, const char *remedy, const char *fmt, ...)
{
	_free_ char *error = NULL;
	json_t *line;
	char *text;
	size_t len;
	va_list ap;

	if (!r->held)
		return;
	va_start(ap, fmt);
	if (vasprintf(&error, fmt, ap) < 0)
		error = NULL;
	va_end(ap);
	line = json_pack("{s:o, s:i, s:o}", "error", jsonline_string(error ?: "out of memory", 4096), "code",
			 code, "remedy", jsonline_string(remedy ?: "", 4096));
	text = line ? jsonline_text(line, &len) : NULL;
	json_decref(line);
	if (text && r->ctl)
		ctl_conn_queue(r, text, len);
	else
		free(text);
	if (r->ctl && !STAILQ_EMPTY(&r->out)) {
		r->held = false;
		r->closed = NULL;
		r->state = CTL_ENDING;
		ctl_conn_flush(r);
		return;
	}
	ctl_conn_end(r);
}

void ctl_fail_status(struct ctl_request *r, int status, const char *what)
{
	switch (status) {
	case -EAGAIN:
		ctl_fail(r, CTL_NO_QUORUM,
			 "nothing was changed; bring back enough voters, see `netctl nodes`",
			 "%s: the cluster has no quorum", what);
		break;
	case -ETIMEDOUT:
		ctl_fail(r, CTL_FAILED, "look at the state before you repeat it",
			 "%s: the outcome is unknown, this node lost the cluster meanwhile", what);
		break;
	case -ENOTCONN:
		ctl_fail(r, CTL_NO_NETD,
			 "make a cluster with `netctl init` or enter one with `netctl join ADDR`",
			 "%s: this node is not a member of a cluster", what);
		break;
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
		ctl_fail(r, CTL_FAILED, "`netctl nodes` shows who is there", "%s: the node is down", what);
		break;
	case -EEXIST:
		ctl_fail(r, CTL_FAILED, "choose another, or remove that one first", "%s: it exists already",
			 what);
		break;
	case -ENOENT:
		ctl_fail(r, CTL_FAILED, "see what there is with `netctl status`",
			 "%s: there is no such thing", what);
		break;
	case -ESTALE:
		ctl_fail(r, CTL_FAILED, "try again", "%s: it was changed by another meanwhile", what);
		break;
	default:
		ctl_fail(r, CTL_FAILED, "see `journalctl -u netd`", "%s: %s", what, strerror(-status));
	}
}

void ctl_answered(void *r, int status, json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *remedy = json_string_value(json_object_get(answer, "remedy"));

	if (status < 0)
		ctl_fail_status(r, status, "that node");
	else if (error)
		ctl_fail(r, CTL_FAILED, remedy && *remedy ? remedy : "journalctl -u netd there tells more",
			 "%s", error);
	else
		ctl_ok(r, json_pack("[O]", answer));
}

/* ---- in ---- */

static size_t input_of_all(struct ctl *c)
{
	struct ctl_request *r;
	size_t bytes = 0;

	LIST_FOREACH(r, &c->requests, link)
	bytes += r->in.size;
	return bytes;
}

/* Ends a connection that never became a request with one line. */
static void refuse(struct ctl_request *r, int code, const char *remedy, const char *error)
{
	r->held = true;
	r->state = CTL_RUNNING;
	ctl_fail(r, code, remedy, "%s", error);
}

/* The buffer of a request is not needed any more; its fds are. */
static void drop_input(struct ctl_request *r)
{
	free(take_ptr(r->in.buf));
	r->in.start = r->in.len = r->in.seen = r->in.size = 0;
}

static void read_request(struct ctl_request *r)
{
	json_t *request = NULL;
	ssize_t got;
	int s;

	do {
		got = jsonline_fill(&r->in);
		s = got > 0 ? jsonline_next(&r->in, &request) : 0;
		if (s == 0 && got > 0 && input_of_all(r->ctl) > CTL_INPUT) {
			refuse(r, CTL_FAILED, "try again", "netd reads too many long requests");
			return;
		}
	} while (got > 0 && s == 0);
	if (s == 1) {
		drop_input(r);
		ctl_dispatch(r, request);
		json_decref(request);
	} else if (s < 0 || got == -EPROTO || got == -ENOBUFS) {
		refuse(r, CTL_USAGE, "send one JSON object on one line of at most 1 MiB",
		       "this is not a request");
	} else if (got != -EAGAIN) {
		ctl_conn_gone(r);
	}
	wait_events(r);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct ctl_request *r = poll->data;

	if (r->state == CTL_READING && (status < 0 || events & UV_READABLE)) {
		read_request(r);
		return;
	}
	if (status == 0 && events & UV_WRITABLE)
		ctl_conn_flush(r);
	if (r->ctl && (status < 0 || events & UV_DISCONNECT))
		ctl_conn_gone(r);
}

void ctl_conn_tick(struct ctl_request *r)
{
	if (!r->ctl || !r->deadline || uv_now(r->ctl->loop) < r->deadline)
		return;
	r->deadline = 0;
	if (!STAILQ_EMPTY(&r->out)) {
		log_debug("ctl: pid %d does not read its answer", (int)r->peer.pid);
		ctl_conn_gone(r);
	} else if (r->state == CTL_READING) {
		refuse(r, CTL_USAGE, "send a request at once", "no request came");
	} else if (r->state == CTL_WAITING) {
		refuse(r, CTL_NO_NETD, "see `journalctl -u netd`", "netd is still starting");
	}
}

int ctl_conn_open(struct ctl *c, int fd, const struct ucred *peer)
{
	struct ctl_request *r = calloc(1, sizeof(*r));
	int s;

	if (!r)
		return -ENOMEM;
	s = uv_poll_init(c->loop, &r->poll, fd);
	if (s < 0) {
		free(r);
		return s;
	}
	jsonline_init(&r->in, fd);
	STAILQ_INIT(&r->out);
	r->ctl = c;
	r->poll.data = r;
	r->handle_open = true;
	r->peer = *peer;
	r->deadline = uv_now(c->loop) + CTL_REQUEST_MS;
	LIST_INSERT_HEAD(&c->requests, r, link);
	c->n_requests++;
	c->n_unprivileged += peer->uid != 0;
	wait_events(r);
	return 0;
}

/* ---- what handlers ask ---- */

void ctl_on_close(struct ctl_request *r, void (*closed)(void *arg), void *arg)
{
	r->closed = closed;
	r->closed_arg = arg;
}

uid_t ctl_uid(const struct ctl_request *r)
{
	return r->peer.uid;
}

pid_t ctl_pid(const struct ctl_request *r)
{
	return r->peer.pid;
}

int ctl_take_fd(struct ctl_request *r)
{
	return jsonline_take_fd(&r->in);
}

void ctl_send_fd(struct ctl_request *r, int fd)
{
	int own;

	if (!r->ctl || r->n_fds == JSONLINE_FDS)
		return;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own >= 0)
		r->fds[r->n_fds++] = own;
}

int ctl_detach(struct ctl_request *r)
{
	int fd;

	if (!r->ctl || !STAILQ_EMPTY(&r->out))
		return -1;
	fd = take_fd(r->in.fd);
	leave(r);
	r->closed = NULL;
	r->held = false;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	return fd;
}
