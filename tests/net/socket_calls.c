// SPDX-License-Identifier: GPL-2.0
/*
 * A program that makes socket calls as it is told, a line of stdin each, and says how each went in a line of
 * stdout: ok, a number, a text, or the name of the error. Sockets are named by one letter.
 *
 *	socket S tcp4|tcp6|udp4|udp6	option S reuseaddr|reuseport|v6only|dual
 *	bind S ADDR PORT		listen S
 *	connect S ADDR PORT		accept S NEW
 *	sendto S ADDR PORT TEXT		send S TEXT
 *	receive S			the text that comes
 *	from S				the address that S has here
 *	peer S				... and at its other end
 *	listens S			yes or no
 *	close S				shutdown S
 *	io_bind, io_listen, io_connect	by io_uring
 *	reset				closes all sockets
 *	claims				the ports that belong to its sockets wherever others might want them
 *
 * What has to wait (connect, accept, receive) does so for PATIENCE seconds at most.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE 20
#define WORDS	 5

/* newer than the headers */
#define IORING_OP_BIND_	  56
#define IORING_OP_LISTEN_ 57

static int sock[128];

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in sin;
		struct sockaddr_in6 sin6;
	};
	socklen_t len;
};

/* ---- io_uring, of which one request at a time is needed ---------------------- */
static struct {
	int fd;
	struct io_uring_params p;
	uint8_t *sq, *cq;
	struct io_uring_sqe *sqe;
} ring = {.fd = -1};

static int ring_open(void)
{
	int both = PROT_READ | PROT_WRITE;

	if (ring.fd >= 0)
		return 0;
	ring.fd = (int)syscall(__NR_io_uring_setup, 4, &ring.p);
	if (ring.fd < 0)
		return -1;
	ring.sq = mmap(NULL, ring.p.sq_off.array + ring.p.sq_entries * sizeof(uint32_t), both, MAP_SHARED,
		       ring.fd, IORING_OFF_SQ_RING);
	ring.cq = mmap(NULL, ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe), both,
		       MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqe =
		mmap(NULL, ring.p.sq_entries * sizeof(*ring.sqe), both, MAP_SHARED, ring.fd, IORING_OFF_SQES);
	return ring.sq == MAP_FAILED || ring.cq == MAP_FAILED || ring.sqe == MAP_FAILED ? -1 : 0;
}

static int ring_call(struct io_uring_sqe sqe)
{
	uint32_t *head, *tail, at;
	int res;

	if (ring_open())
		return -1;
	head = (uint32_t *)(ring.cq + ring.p.cq_off.head);
	tail = (uint32_t *)(ring.sq + ring.p.sq_off.tail);
	at = *tail & (ring.p.sq_entries - 1);
	ring.sqe[at] = sqe;
	((uint32_t *)(ring.sq + ring.p.sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	res = ((struct io_uring_cqe *)(ring.cq + ring.p.cq_off.cqes))[*head & (ring.p.cq_entries - 1)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	errno = res < 0 ? -res : 0;
	return errno ? -1 : 0;
}

static int ring_bind(int fd, const struct addr *a)
{
	return ring_call((struct io_uring_sqe){
		.opcode = IORING_OP_BIND_, .fd = fd, .addr = (uintptr_t)&a->sa, .off = a->len});
}

static int ring_connect(int fd, const struct addr *a)
{
	return ring_call((struct io_uring_sqe){
		.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)&a->sa, .off = a->len});
}

static int ring_listen(int fd)
{
	return ring_call((struct io_uring_sqe){.opcode = IORING_OP_LISTEN_, .fd = fd, .len = 16});
}

/* ---- sockets ------------------------------------------------------------------ */
static void say(int rc)
{
	puts(rc < 0 ? strerrorname_np(errno) : "ok");
}

static bool parse(const char *text, const char *port, struct addr *a)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &a->sin.sin_addr) == 1) {
		a->sin.sin_family = AF_INET;
		a->sin.sin_port = htons((uint16_t)atoi(port));
		a->len = sizeof(a->sin);
		return true;
	}
	if (inet_pton(AF_INET6, text, &a->sin6.sin6_addr) != 1)
		return false;
	a->sin6.sin6_family = AF_INET6;
	a->sin6.sin6_port = htons((uint16_t)atoi(port));
	a->len = sizeof(a->sin6);
	return true;
}

static int make_socket(char **w)
{
	struct timeval limit = {.tv_sec = PATIENCE};
	int fd, off = 0, domain = strchr(w[2], '6') ? AF_INET6 : AF_INET;

	fd = socket(domain, !strncmp(w[2], "udp", 3) ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (domain == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	sock[(int)*w[1]] = fd;
	return 0;
}

static int set_option(int fd, const char *name)
{
	int on = 1, off = 0;

	if (!strcmp(name, "reuseaddr"))
		return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!strcmp(name, "reuseport"))
		return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (!strcmp(name, "v6only"))
		return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (!strcmp(name, "dual"))
		return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	errno = EINVAL;
	return -1;
}

static int accept_socket(int fd, char name)
{
	int new = accept(fd, NULL, NULL);

	if (new < 0)
		return -1;
	sock[(int)name] = new;
	return 0;
}

static void receive(int fd)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	if (n < 0) {
		say(-1);
		return;
	}
	buf[n] = '\0';
	puts(n ? buf : "end");
}

static void show(int rc, const struct addr *a)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (rc < 0) {
		say(rc);
		return;
	}
	inet_ntop(a->sa.sa_family,
		  a->sa.sa_family == AF_INET6 ? (void *)&a->sin6.sin6_addr : (void *)&a->sin.sin_addr, text,
		  sizeof(text));
	puts(text);
}

static int option_of(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? 0 : value;
}

/* Of every machine itself: nobody elsewhere can want it. */
static bool is_private(const struct addr *a)
{
	static const char *const nodes[] = {"10.77.0.1", "10.77.0.2", "fd77::1", "fd77::2"};
	struct addr node;

	if (a->sa.sa_family == AF_INET && ntohl(a->sin.sin_addr.s_addr) >> 24 == 127)
		return true;
	if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->sin6.sin6_addr))
		return true;
	for (int i = 0; i < 4; i++)
		if (parse(nodes[i], "0", &node) && node.sa.sa_family == a->sa.sa_family &&
		    !memcmp(a->sa.sa_family == AF_INET ? (void *)&a->sin.sin_addr
						       : (void *)&a->sin6.sin6_addr,
			    node.sa.sa_family == AF_INET ? (void *)&node.sin.sin_addr
							 : (void *)&node.sin6.sin6_addr,
			    node.sa.sa_family == AF_INET ? 4 : 16))
			return true;
	return false;
}

/* "tcp/21000 udp/21001", below the range of source ports. */
static void claims(void)
{
	const char *space = "";

	for (int i = 0; i < 128; i++) {
		struct addr a = {.len = sizeof(a.sin6)};
		bool tcp;

		if (sock[i] < 0 || getsockname(sock[i], &a.sa, &a.len))
			continue;
		tcp = option_of(sock[i], SO_TYPE) == SOCK_STREAM;
		if ((tcp && !option_of(sock[i], SO_ACCEPTCONN)) || is_private(&a) || !a.sin.sin_port ||
		    ntohs(a.sin.sin_port) >= 32768)
			continue;
		printf("%s%s/%u", space, tcp ? "tcp" : "udp", ntohs(a.sin.sin_port));
		space = " ";
	}
	puts("");
}

/* ---- lines ----------------------------------------------------------------------- */
static void call_addr(int fd, char **w)
{
	struct addr a;

	if (!parse(w[2], w[3], &a)) {
		puts("EINVAL");
		return;
	}
	if (!strcmp(w[0], "bind"))
		say(bind(fd, &a.sa, a.len));
	else if (!strcmp(w[0], "connect"))
		say(connect(fd, &a.sa, a.len));
	else if (!strcmp(w[0], "io_bind"))
		say(ring_bind(fd, &a));
	else if (!strcmp(w[0], "io_connect"))
		say(ring_connect(fd, &a));
	else
		say((int)sendto(fd, w[4], strlen(w[4]), 0, &a.sa, a.len));
}

static void close_socket(char name)
{
	say(close(sock[(int)name]));
	sock[(int)name] = -1;
}

static void reset(void)
{
	for (int i = 0; i < 128; i++)
		if (sock[i] >= 0)
			close(sock[i]);
	memset(sock, 0xff, sizeof(sock));
	puts("ok");
}

static void call(int n, char **w)
{
	int fd = n > 1 && !(*w[1] & 0x80) ? sock[(int)*w[1]] : -1;
	struct addr a = {.len = sizeof(a.sin6)};

	if (!strcmp(w[0], "claims"))
		claims();
	else if (!strcmp(w[0], "reset"))
		reset();
	else if (!strcmp(w[0], "socket") && n > 2)
		say(make_socket(w));
	else if (!strcmp(w[0], "option") && n > 2)
		say(set_option(fd, w[2]));
	else if (!strcmp(w[0], "listen"))
		say(listen(fd, 16));
	else if (!strcmp(w[0], "io_listen"))
		say(ring_listen(fd));
	else if (!strcmp(w[0], "accept") && n > 2)
		say(accept_socket(fd, *w[2]));
	else if (!strcmp(w[0], "send") && n > 2)
		say((int)send(fd, w[2], strlen(w[2]), MSG_NOSIGNAL));
	else if (!strcmp(w[0], "receive"))
		receive(fd);
	else if (!strcmp(w[0], "from"))
		show(getsockname(fd, &a.sa, &a.len), &a);
	else if (!strcmp(w[0], "peer"))
		show(getpeername(fd, &a.sa, &a.len), &a);
	else if (!strcmp(w[0], "listens"))
		puts(option_of(fd, SO_ACCEPTCONN) ? "yes" : "no");
	else if (!strcmp(w[0], "shutdown"))
		say(shutdown(fd, SHUT_RDWR));
	else if (!strcmp(w[0], "close") && n > 1)
		close_socket(*w[1]);
	else if (n > 3 + !strcmp(w[0], "sendto"))
		call_addr(fd, w);
	else
		puts("unknown call");
}

int main(void)
{
	char line[512], *w[WORDS], *rest;

	setlinebuf(stdout);
	memset(sock, 0xff, sizeof(sock));
	while (fgets(line, sizeof(line), stdin)) {
		int n = 0;

		for (char *p = strtok_r(line, " \n", &rest); p && n < WORDS; p = strtok_r(NULL, " \n", &rest))
			w[n++] = p;
		if (n)
			call(n, w);
	}
	return 0;
}
