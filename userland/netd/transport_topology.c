// SPDX-License-Identifier: GPL-2.0
/* A subscription to our service type at the node's own topology server; see transport_topology.h. */
#include <errno.h>
#include <linux/tipc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport.h"
#include "transport_topology.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

struct topology {
	uv_poll_t poll;
	int fd;
	topology_fn *fn;
	void *arg;
};

static int subscribe(void)
{
	struct sockaddr_tipc server = {.family = AF_TIPC, .addrtype = TIPC_SERVICE_ADDR};
	struct tipc_subscr s = {.seq = {TRANSPORT_TIPC_TYPE, 0, UINT32_MAX},
				.timeout = TIPC_WAIT_FOREVER,
				.filter = TIPC_SUB_PORTS};
	_close_ int fd = socket(AF_TIPC, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); /* the server is the kernel's */

	if (fd < 0)
		return -errno;
	server.addr.name.name.type = TIPC_TOP_SRV;
	server.addr.name.name.instance = TIPC_TOP_SRV;
	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0 || send(fd, &s, sizeof(s), 0) < 0)
		return -errno;
	return take_fd(fd);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct topology *t = poll->data;
	struct tipc_event e;
	ssize_t n;

	(void)status;
	(void)events;
	while ((n = recv(t->fd, &e, sizeof(e), MSG_DONTWAIT)) == sizeof(e))
		if (e.event == TIPC_PUBLISHED || e.event == TIPC_WITHDRAWN)
			t->fn(t->arg, e.found_lower, e.event == TIPC_PUBLISHED);
	if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
		log_warn("TIPC's topology server has gone: deaths are seen by leases alone");
		uv_poll_stop(poll);
	}
}

int topology_open(uv_loop_t *loop, topology_fn *fn, void *arg, struct topology **out)
{
	struct topology *t;
	int fd = subscribe();

	if (fd < 0)
		return fd;
	t = calloc(1, sizeof(*t));
	if (!t)
		abort();
	*t = (struct topology){.fd = fd, .fn = fn, .arg = arg};
	uv_poll_init(loop, &t->poll, fd);
	t->poll.data = t;
	uv_poll_start(&t->poll, UV_READABLE, on_event);
	*out = t;
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	struct topology *t = h->data;

	close(t->fd);
	free(t);
}

void topology_close(struct topology *t)
{
	if (!t)
		return;
	uv_poll_stop(&t->poll);
	uv_close((uv_handle_t *)&t->poll, on_closed);
}
