// SPDX-License-Identifier: GPL-2.0
/*
 * held KIND[=ARG]...: opens things that cannot be moved, says "held KIND" or "no KIND" (this kernel has none)
 * for each, then "ready", and waits.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int hold_uring(const char *arg)
{
	struct io_uring_params p = {0};

	(void)arg;
	return (int)syscall(SYS_io_uring_setup, 4, &p);
}

static int hold_bpf(const char *arg)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	(void)arg;
	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
}

static int hold_perf(const char *arg)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_DUMMY};

	(void)arg;
	return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static int hold_protocol(const char *arg)
{
	return socket(AF_INET, SOCK_STREAM, atoi(arg));
}

static int listener(const char *port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(port)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0 ? -1 : fd;
}

static int hold_md5(const char *port)
{
	int fd = listener(port);
	struct tcp_md5sig key = {.tcpm_keylen = 3, .tcpm_key = "key"};
	struct sockaddr_in *peer = (struct sockaddr_in *)&key.tcpm_addr;

	peer->sin_family = AF_INET;
	peer->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof(key)) < 0 ? -1 : fd;
}

/* A connection with itself that the kernel is to encrypt. */
static int hold_tls(const char *port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(port)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (listener(port) < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -1;
	return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) < 0 ? -1 : fd;
}

static int hold_zerocopy(const char *arg)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	(void)arg;
	return setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) < 0 ? -1 : fd;
}

/* Nobody listens there: an ICMP message comes back. */
static int hold_errors(const char *arg)
{
	struct sockaddr_in sa = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
	struct pollfd p = {.fd = fd};

	(void)arg;
	setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	if (sendto(fd, "x", 1, 0, (struct sockaddr *)&sa, sizeof(sa)) != 1)
		return -1;
	return poll(&p, 1, 10000) == 1 ? fd : -1;
}

static int hold_group(const char *arg)
{
	struct ip_mreqn m = {.imr_ifindex = (int)if_nametoindex("eth0")};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, arg, &m.imr_multiaddr);
	return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 ? -1 : fd;
}

static int hold_group6(const char *arg)
{
	struct ipv6_mreq m = {.ipv6mr_interface = if_nametoindex("eth0")};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, arg, &m.ipv6mr_multiaddr);
	return setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 ? -1 : fd;
}

static int hold_unix(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

static int hold_open(const char *path)
{
	return open(path, O_RDONLY);
}

static int hold_written(const char *path)
{
	return open(path, O_WRONLY);
}

static int hold_map(const char *path)
{
	int fd = open(path, O_RDONLY);
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	close(fd);
	return at == MAP_FAILED ? -1 : 0;
}

static int hold_space(const char *arg)
{
	int said[2];
	char c;

	(void)arg;
	if (pipe(said) < 0)
		return -1;
	if (fork() == 0) {
		if (unshare(CLONE_NEWNET) < 0 || write(said[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(said[1]);
	return read(said[0], &c, 1) == 1 ? close(said[0]) : -1;
}

static const struct {
	const char *kind;
	int (*hold)(const char *arg);
} kinds[] = {
	{"uring", hold_uring},	     {"bpf", hold_bpf},	      {"perf", hold_perf},
	{"protocol", hold_protocol}, {"md5", hold_md5},	      {"tls", hold_tls},
	{"zerocopy", hold_zerocopy}, {"errors", hold_errors}, {"group", hold_group},
	{"group6", hold_group6},     {"unix", hold_unix},     {"open", hold_open},
	{"written", hold_written},   {"map", hold_map},	      {"space", hold_space},
};

static int hold(const char *word)
{
	const char *arg = strchr(word, '=');
	size_t len = arg ? (size_t)(arg - word) : strlen(word);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strlen(kinds[i].kind) == len && strncmp(word, kinds[i].kind, len) == 0)
			return kinds[i].hold(arg ? arg + 1 : "");
	errno = EINVAL;
	return -1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (hold(argv[i]) < 0)
			printf("no %s: %s\n", argv[i], strerror(errno));
		else
			printf("held %s\n", argv[i]);
	}
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
}
