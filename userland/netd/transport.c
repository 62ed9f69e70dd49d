// SPDX-License-Identifier: GPL-2.0
/*
 * Choosing the transport by the address, and TCP; see transport.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport.h"
#include "userland/lib/cleanup.h"

#define BACKLOG		4096 /* strangers that come in a flood keep no member from the queue */
#define USER_TIMEOUT_MS 3000
#define KEEP_IDLE_S	60
#define KEEP_AGAIN_S	5
#define BIND_LOW	10000
#define BIND_TRIES	64

static const struct transport_ops *const transports[] = {&transport_tipc, &transport_tcp};

static const struct transport_ops *transport_of(const char *address)
{
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (transports[i]->takes(address))
			return transports[i];
	return NULL;
}

int transport_listen(const char *address)
{
	const struct transport_ops *t = transport_of(address);

	return t ? t->listen(address) : -EINVAL;
}

int transport_connect(const char *address)
{
	const struct transport_ops *t = transport_of(address);

	return t ? t->connect(address) : -EINVAL;
}

void transport_accepted(const char *listening, int fd, char peer[TRANSPORT_ADDRESS_MAX])
{
	const struct transport_ops *t = transport_of(listening);

	snprintf(peer, TRANSPORT_ADDRESS_MAX, "?");
	if (t)
		t->accepted(fd, peer);
}

const char *transport_name(const char *address)
{
	const struct transport_ops *t = transport_of(address);

	return t ? t->name : "none";
}

/* ---- TCP ---- */

union inet_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int parse_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || !n || n > 65535)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}

/* Splits off ":PORT"; a bare IPv6 address has more than one colon. */
static int split(const char *text, char *host, size_t size, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	size_t len = strlen(text);

	if (text[0] == '[') {
		const char *close = strchr(text, ']');

		if (!close)
			return -EINVAL;
		len = (size_t)(close - ++text);
		if (close[1] && (close[1] != ':' || parse_port(close + 2, port) < 0))
			return -EINVAL;
	} else if (colon && strchr(text, ':') == colon) {
		len = (size_t)(colon - text);
		if (parse_port(colon + 1, port) < 0)
			return -EINVAL;
	}
	if (len >= size)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = 0;
	return 0;
}

static int parse_tcp(const char *text, uint16_t default_port, union inet_address *out, socklen_t *len)
{
	char host[INET6_ADDRSTRLEN + 1];
	uint16_t port = default_port;

	memset(out, 0, sizeof(*out));
	if (split(text, host, sizeof(host), &port) < 0 || !port)
		return -EINVAL;
	if (inet_pton(AF_INET, host, &out->in.sin_addr) == 1) {
		out->in.sin_family = AF_INET;
		out->in.sin_port = htons(port);
		*len = sizeof(out->in);
		return 0;
	}
	if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = htons(port);
		*len = sizeof(out->in6);
		return 0;
	}
	return -EINVAL;
}

static void print_tcp(const union inet_address *a, char out[TRANSPORT_ADDRESS_MAX])
{
	char host[INET6_ADDRSTRLEN];

	if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		snprintf(out, TRANSPORT_ADDRESS_MAX, "%s:%u", host, ntohs(a->in.sin_port));
	} else {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		snprintf(out, TRANSPORT_ADDRESS_MAX, "[%s]:%u", host, ntohs(a->in6.sin6_port));
	}
}

int transport_tcp_address(const char *text, uint16_t default_port, char out[TRANSPORT_ADDRESS_MAX])
{
	union inet_address a;
	socklen_t len;

	if (parse_tcp(text, default_port, &a, &len) < 0)
		return -EINVAL;
	print_tcp(&a, out);
	return 0;
}

static bool tcp_takes(const char *address)
{
	union inet_address a;
	socklen_t len;

	return parse_tcp(address, 0, &a, &len) == 0;
}

/*
 * A peer that is gone must be noticed though nothing answers; also by an end that has nothing to say, but there a
 * network that is cut for as long as the longest lease ends nothing.
 */
static void tcp_tune(int fd)
{
	unsigned int timeout = USER_TIMEOUT_MS;
	int on = 1, idle = KEEP_IDLE_S, again = KEEP_AGAIN_S;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again, sizeof(again));

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

static int tcp_listen(const char *address)
{
	_close_ int fd = -1;
	union inet_address a;
	socklen_t len;
	int on = 1;

	if (parse_tcp(address, 0, &a, &len) < 0)
		return -EINVAL;
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &a.sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(fd);
}

/* The ports that programs may use are all in use, or reserved (source_ports.h): netd must get through. */
static int bind_any_port(int fd, int family)
{
	union inet_address a = {.sa.sa_family = (sa_family_t)family};
	socklen_t len = family == AF_INET ? sizeof(a.in) : sizeof(a.in6);

	for (int i = 0; i < BIND_TRIES; i++) {
		a.in.sin_port = htons(
			(uint16_t)(BIND_LOW + arc4random_uniform(65536 - BIND_LOW))); /* IPv6: same place */
		if (!bind(fd, &a.sa, len))
			return 0;
	}
	return -EADDRNOTAVAIL;
}

static int tcp_connect(const char *address)
{
	_close_ int fd = -1;
	union inet_address a;
	socklen_t len;

	if (parse_tcp(address, 0, &a, &len) < 0)
		return -EINVAL;
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	tcp_tune(fd);
	if (!connect(fd, &a.sa, len) || errno == EINPROGRESS)
		return take_fd(fd);
	if (errno != EADDRNOTAVAIL || bind_any_port(fd, a.sa.sa_family) ||
	    (connect(fd, &a.sa, len) < 0 && errno != EINPROGRESS))
		return -errno;
	return take_fd(fd);
}

int transport_udp_route(const char *address)
{
	_close_ int fd = -1;
	union inet_address a;
	socklen_t len;

	if (parse_tcp(address, 0, &a, &len) < 0)
		return -EINVAL;
	fd = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &a.sa, len) < 0)
		return -errno;
	return take_fd(fd);
}

bool transport_is_local(const char *address)
{
	_close_ int fd = -1;
	union inet_address a;
	socklen_t len;

	if (parse_tcp(address, 0, &a, &len) < 0)
		return false;
	a.in.sin_port = 0; /* where IPv6 has it, too */
	fd = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && bind(fd, &a.sa, len) == 0;
}

static void tcp_accepted(int fd, char peer[TRANSPORT_ADDRESS_MAX])
{
	union inet_address a = {0};
	socklen_t len = sizeof(a);

	tcp_tune(fd);
	if (!getpeername(fd, &a.sa, &len))
		print_tcp(&a, peer);
}

const struct transport_ops transport_tcp = {
	.name = "tcp",
	.takes = tcp_takes,
	.listen = tcp_listen,
	.connect = tcp_connect,
	.accepted = tcp_accepted,
};
