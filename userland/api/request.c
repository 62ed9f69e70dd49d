// SPDX-License-Identifier: GPL-2.0
/*
 * Requests. The fd of an object is an epoll instance with the connections of its requests in it, and an eventfd that
 * makes it readable while something has ended that nobody was told of: what fails before it is sent is told like
 * all else, from the caller's loop.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "userland/api/api.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/netdclient.h"

#define EVENTS_AT_ONCE 16

struct request {
	LIST_ENTRY(request) link;
	struct netssi *h;
	int id;
	struct jsonline line; /* fd -1: none (any more) */
	json_t *parts;
	struct request_call call;
	char *app;
	bool over; /* status and result stand; not told yet */
	int status;
	struct netssi_result *result;
};

struct netssi {
	int epoll, wake;
	int last_id;
	bool dispatching;
	LIST_HEAD(, request) requests;
};

/* ---- life -------------------------------------------------------------------------------------- */

static void request_close(struct request *r)
{
	if (r->line.fd >= 0) {
		epoll_ctl(r->h->epoll, EPOLL_CTL_DEL, r->line.fd, NULL);
		jsonline_close(&r->line);
	}
	r->line.fd = -1;
}

static void request_free(struct request *r)
{
	LIST_REMOVE(r, link);
	request_close(r);
	json_decref(r->parts);
	netssi_result_free(r->result);
	free(r->app);
	free(r);
}

int netssi_new(struct netssi **out)
{
	struct netssi *h = calloc(1, sizeof(*h));
	struct epoll_event e = {.events = EPOLLIN};
	int err;

	if (!h)
		return -ENOMEM;
	h->epoll = epoll_create1(EPOLL_CLOEXEC);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll >= 0 && h->wake >= 0 && epoll_ctl(h->epoll, EPOLL_CTL_ADD, h->wake, &e) == 0) {
		*out = h;
		return 0;
	}
	err = -errno;
	close_fd(&h->epoll);
	close_fd(&h->wake);
	free(h);
	return err;
}

void netssi_free(struct netssi *h)
{
	if (!h)
		return;
	while (!LIST_EMPTY(&h->requests))
		request_free(LIST_FIRST(&h->requests));
	close(h->epoll);
	close(h->wake);
	free(h);
}

int netssi_fd(const struct netssi *h)
{
	return h->epoll;
}

static struct request *request_find(struct netssi *h, int id)
{
	struct request *r;

	LIST_FOREACH(r, &h->requests, link)
	if (r->id == id)
		return r;
	return NULL;
}

int netssi_cancel(struct netssi *h, int id)
{
	struct request *r = request_find(h, id);

	if (!r)
		return -ENOENT;
	request_free(r);
	return 0;
}

/* ---- the end ------------------------------------------------------------------------------------- */

int result_fail(struct netssi_result *r, int status, const char *error, const char *remedy)
{
	json_decref(r->objects);
	r->objects = NULL;
	free(r->error);
	free(r->remedy);
	r->error = strdup(error);
	r->remedy = strdup(remedy);
	return status;
}

static void request_over(struct request *r)
{
	uint64_t one = 1;

	request_close(r);
	r->over = true;
	if (write(r->h->wake, &one, sizeof(one)) < 0)
		return; /* it is full, and wakes */
}

static void request_fail(struct request *r, int status, const char *error, const char *remedy)
{
	r->status = result_fail(r->result, status, error, remedy);
	request_over(r);
}

/* Without a word of netd's. */
static void request_broken(struct request *r, int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENOTCONN:
		request_fail(r, -ENOTCONN, "netd does not run on this node", "systemctl start netd");
		break;
	case -EACCES:
		request_fail(r, -EACCES, "no right to talk to netd",
			     "run it as root, or, to look, as a member of the group netssi");
		break;
	case -EPIPE:
	case -ECONNRESET:
		request_fail(r, -EPIPE, "netd went away before it answered",
			     "look what became of it before you repeat it");
		break;
	case -EINVAL:
		request_fail(r, -EINVAL, "an argument is not what it has to be", "see libnetssi(3)");
		break;
	case -EAGAIN:
		request_fail(r, -EAGAIN, "netd does not answer at the moment", "try again");
		break;
	default:
		request_fail(r, err, strerror(-err), "see `journalctl -u netd`");
	}
}

/* netd's codes are netctl's exit statuses. */
static int status_of(json_int_t code)
{
	static const int of[] = {-ECANCELED, -ECANCELED, -EINVAL, -EAGAIN, -ENOTCONN};

	return code > 0 && code < (json_int_t)(sizeof(of) / sizeof(of[0])) ? of[code] : -ECANCELED;
}

static void request_answered(struct request *r, json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *remedy = json_string_value(json_object_get(answer, "remedy"));

	if (error) {
		request_fail(r, status_of(json_integer_value(json_object_get(answer, "code"))), error,
			     remedy ? remedy : "");
		return;
	}
	r->result->objects = take_ptr(r->parts);
	if (r->call.look)
		r->status = r->call.look(r->result, r->app);
	request_over(r);
}

/* ---- the way there --------------------------------------------------------------------------------- */

static int request_send(struct request *r, json_t *args)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = r};
	json_t *line;
	int fd, err;

	if (!args)
		return -EINVAL;
	fd = netdclient_connect(SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	jsonline_init(&r->line, fd);
	line = netdclient_request(r->call.cmd, args);
	err = line ? jsonline_send_now(&r->line, line, NULL, 0) : -EINVAL;
	json_decref(line);
	if (err == 0 && epoll_ctl(r->h->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		err = -errno;
	return err;
}

int request_make(struct netssi *h, struct request_call call)
{
	struct request *r = calloc(1, sizeof(*r));
	int err;

	if (r) {
		r->h = h;
		r->line.fd = -1;
		r->call = call;
		r->parts = json_array();
		r->result = result_new(NULL);
		r->app = call.app ? strdup(call.app) : NULL;
	}
	if (!r || !r->parts || !r->result || (call.app && !r->app)) {
		if (r) {
			json_decref(r->parts);
			netssi_result_free(r->result);
		}
		free(r);
		json_decref(call.args);
		return -ENOMEM;
	}
	r->id = h->last_id = h->last_id == INT32_MAX ? 1 : h->last_id + 1;
	LIST_INSERT_HEAD(&h->requests, r, link);
	err = request_send(r, call.args);
	json_decref(call.args);
	if (err < 0)
		request_broken(r, err);
	return r->id;
}

static void request_event(void *arg, json_t *event)
{
	struct request *r = arg;
	struct netssi_result step = {0};

	if (!r->call.progress)
		return;
	step.objects = json_pack("[O]", event);
	r->call.progress(r->call.arg, &step);
	json_decref(step.objects);
}

/* `id` again after each line: a function of the caller's may have cancelled it. */
static void request_readable(struct netssi *h, int id)
{
	struct request *r = request_find(h, id);
	ssize_t n = jsonline_fill(&r->line);
	int got = 1, last = 0;

	while (n > 0 && got > 0 && !last) {
		json_t *line = NULL;

		got = jsonline_next(&r->line, &line);
		if (got > 0)
			last = netdclient_take(line, r->parts, request_event, r);
		r = request_find(h, id);
		if (r && last > 0)
			request_answered(r, line);
		json_decref(line);
		if (!r)
			return;
	}
	if (got < 0 || last < 0)
		request_broken(r, -EPROTO);
	else if (!last && n <= 0 && n != -EAGAIN)
		request_broken(r, n ? (int)n : -EPIPE);
}

static int tell(struct netssi *h)
{
	struct request *r, *found;
	int told = 0;

	do {
		found = NULL;
		LIST_FOREACH(r, &h->requests, link)
		if (r->over && r->call.done)
			found = r;
		if (!found)
			break;
		/* Out of the list before: it cannot be cancelled any more. */
		LIST_REMOVE(found, link);
		found->call.done(found->call.arg, found->status, found->result);
		LIST_INSERT_HEAD(&h->requests, found, link);
		request_free(found);
		told++;
	} while (found);
	return told;
}

int netssi_dispatch(struct netssi *h)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int ids[EVENTS_AT_ONCE], n, told;
	uint64_t wakes;

	if (h->dispatching)
		return -EDEADLK;
	h->dispatching = true;
	n = epoll_wait(h->epoll, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < n; i++)
		ids[i] = events[i].data.ptr ? ((struct request *)events[i].data.ptr)->id : 0;
	if (read(h->wake, &wakes, sizeof(wakes)) < 0)
		wakes = 0; /* nobody woke us */
	for (int i = 0; i < n; i++)
		if (ids[i] && request_find(h, ids[i]))
			request_readable(h, ids[i]);
	told = tell(h);
	h->dispatching = false;
	return told;
}

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int netssi_wait(struct netssi *h, int id, int timeout_ms, struct netssi_result **out)
{
	long long until = now_ms() + timeout_ms;
	struct request *r = request_find(h, id);
	int status;

	if (h->dispatching)
		return -EDEADLK;
	if (!r || r->call.done)
		return -ENOENT;
	while (r && !r->over) {
		struct pollfd p = {.fd = h->epoll, .events = POLLIN};
		long long left = timeout_ms < 0 ? -1 : until - now_ms();

		if (timeout_ms >= 0 && left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) > 0)
			netssi_dispatch(h);
		r = request_find(h, id);
	}
	if (!r)
		return -ENOENT;
	status = r->status;
	if (out)
		*out = take_ptr(r->result);
	request_free(r);
	return status;
}
