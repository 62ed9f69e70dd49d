// SPDX-License-Identifier: GPL-2.0
/* The HTTP side of the metrics: libmicrohttpd on netd's loop, by its epoll descriptor. */
#include "metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "netd.h"
#include "userland/lib/log.h"

#define CONNECTIONS_MAX 64
#define TIMEOUT_S	5
#define CONTENT_TYPE	"text/plain; version=0.0.4; charset=utf-8"

struct metrics {
	struct netd *netd;
	struct MHD_Daemon *http;
	uv_poll_t poll;
	uv_timer_t timer;
	int handles;
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned int status, const char *type, void *text,
			      size_t len, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result done;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	done = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned int status, char *text)
{
	return answer(c, status, "text/plain; charset=utf-8", text, strlen(text), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct metrics *m = arg;
	size_t len = 0;
	char *text;

	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
	if (strcmp(url, "/metrics"))
		return say(c, MHD_HTTP_NOT_FOUND, "the metrics are at /metrics\n");
	text = metrics_text(m->netd, &len);
	if (!text)
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
	return answer(c, MHD_HTTP_OK, CONTENT_TYPE, text, len, MHD_RESPMEM_MUST_FREE);
}

/* ---- on the loop ---- */

static void on_timer(uv_timer_t *timer);

static void run(struct metrics *m)
{
	MHD_UNSIGNED_LONG_LONG wait;

	MHD_run(m->http);
	if (MHD_get_timeout(m->http, &wait) == MHD_YES)
		uv_timer_start(&m->timer, on_timer, wait, 0);
	else
		uv_timer_stop(&m->timer);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	run(poll->data);
}

/* ---- life ---- */

/* "ADDR:PORT", "[ADDR6]:PORT" or ":PORT". */
static int parse_address(const char *text, struct sockaddr_storage *out)
{
	const char *colon = strrchr(text, ':');
	char host[64], *end;
	long port;
	size_t len;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	port = strtol(colon + 1, &end, 10);
	if (!colon[1] || *end || port < 1 || port > 65535)
		return -EINVAL;
	len = (size_t)(colon - text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (!len)
		strcpy(host, "::");
	if (host[0] == '[' && host[len - 1] == ']') {
		memmove(host, host + 1, len);
		host[len - 2] = '\0';
	}
	if (!uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out))
		return 0;
	return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out) ? -EINVAL : 0;
}

static void http_says(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("metrics: %s", text);
}

/* Ours, so that what stands against the address is known. */
static int listen_at(const struct sockaddr_storage *at)
{
	socklen_t len = at->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int fd = socket(at->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, (const struct sockaddr *)at, len) && !listen(fd, CONNECTIONS_MAX))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* Takes the socket in any case. */
static int serve(struct metrics *m, int fd)
{
	const union MHD_DaemonInfo *info;
	int err;

	m->http = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, m,
				   MHD_OPTION_EXTERNAL_LOGGER, http_says, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
				   MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				   MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
				   MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);
	if (!m->http) {
		close(fd);
		return -ENOMEM;
	}
	info = MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD);
	err = info ? uv_poll_init(m->netd->loop, &m->poll, info->epoll_fd) : -ENOTSUP;
	if (err) {
		MHD_stop_daemon(m->http);
		return err;
	}
	uv_timer_init(m->netd->loop, &m->timer);
	m->handles = 2;
	m->poll.data = m->timer.data = m;
	uv_poll_start(&m->poll, UV_READABLE, on_readable);
	return 0;
}

int metrics_start(struct netd *n)
{
	struct sockaddr_storage at = {};
	struct metrics *m;
	int err;

	if (!n->conf.metrics[0])
		return 0;
	if (parse_address(n->conf.metrics, &at)) {
		log_err("netd.conf: metrics = %s: write ADDR:PORT, such as 127.0.0.1:9478", n->conf.metrics);
		return -EINVAL;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->netd = n;
	err = listen_at(&at);
	if (err >= 0)
		err = serve(m, err);
	if (err) {
		log_err("no metrics at %s: %s; choose another address in netd.conf", n->conf.metrics,
			strerror(-err));
		free(m);
		return 0;
	}
	log_info("metrics at http://%s/metrics", n->conf.metrics);
	n->metrics = m;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct metrics *m = handle->data;

	if (--m->handles)
		return;
	free(m);
}

void metrics_stop(struct netd *n)
{
	struct metrics *m = n->metrics;

	if (!m)
		return;
	n->metrics = NULL;
	uv_poll_stop(&m->poll);
	MHD_stop_daemon(m->http);
	uv_close((uv_handle_t *)&m->poll, on_closed);
	uv_close((uv_handle_t *)&m->timer, on_closed);
}
