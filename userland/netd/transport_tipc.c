// SPDX-License-Identifier: GPL-2.0
/*
 * TIPC stream sockets between nodes; see transport.h. A node is a service
 * instance, found wherever it is; the kernel supervises the links.
 */
#include <errno.h>
#include <linux/tipc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport.h"
#include "userland/lib/cleanup.h"

#define BACKLOG		   128
#define CONNECT_TIMEOUT_MS 2000

static int parse(const char *address, struct sockaddr_tipc *out)
{
	unsigned int type, instance;
	char rest;

	if (sscanf(address, "tipc:%u:%u%c", &type, &instance, &rest) != 2)
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	out->family = AF_TIPC;
	out->addrtype = TIPC_SERVICE_ADDR;
	out->addr.name.name.type = type;
	out->addr.name.name.instance = instance;
	return 0;
}

static bool tipc_takes(const char *address)
{
	struct sockaddr_tipc a;

	return parse(address, &a) == 0;
}

void transport_tipc_address(uint32_t instance, char out[TRANSPORT_ADDRESS_MAX])
{
	snprintf(out, TRANSPORT_ADDRESS_MAX, "tipc:%u:%u", TRANSPORT_TIPC_TYPE, instance);
}

static int tipc_socket(void)
{
	int fd = socket(AF_TIPC, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* Making a socket loads the module where it can be loaded. */
bool transport_tipc_available(void)
{
	_close_ int fd = tipc_socket();

	return fd >= 0;
}

static int tipc_listen(const char *address)
{
	struct sockaddr_tipc a;
	_close_ int fd = -1;

	if (parse(address, &a) < 0)
		return -EINVAL;
	a.addrtype = TIPC_SERVICE_RANGE;
	a.addr.nameseq.type = a.addr.name.name.type;
	a.addr.nameseq.lower = a.addr.nameseq.upper = a.addr.name.name.instance;
	a.scope = TIPC_CLUSTER_SCOPE;
	fd = tipc_socket();
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(fd);
}

static int tipc_connect(const char *address)
{
	unsigned int timeout = CONNECT_TIMEOUT_MS;
	int on = 1;
	struct sockaddr_tipc a;
	_close_ int fd = -1;

	if (parse(address, &a) < 0)
		return -EINVAL;
	fd = tipc_socket();
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_TIPC, TIPC_CONN_TIMEOUT, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_TIPC, TIPC_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EINPROGRESS)
		return -errno;
	return take_fd(fd);
}

static void tipc_accepted(int fd, char peer[TRANSPORT_ADDRESS_MAX])
{
	struct sockaddr_tipc a;
	socklen_t len = sizeof(a);
	int on = 1;

	setsockopt(fd, SOL_TIPC, TIPC_NODELAY, &on, sizeof(on));
	if (!getpeername(fd, (struct sockaddr *)&a, &len))
		snprintf(peer, TRANSPORT_ADDRESS_MAX, "tipc node %x", a.addr.id.node);
}

const struct transport_ops transport_tipc = {
	.name = "tipc",
	.takes = tipc_takes,
	.listen = tipc_listen,
	.connect = tipc_connect,
	.accepted = tipc_accepted,
};
