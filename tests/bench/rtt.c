// SPDX-License-Identifier: GPL-2.0
/*
 * rtt serve PORT		answers each byte with a byte, on all addresses
 * rtt call COUNT ADDR:PORT...	round trips of one byte over one connection to each, some to this and some to that
 *				in turn: prints their medians in µs
 *
 * All on one CPU, before everybody else: waking another CPU takes longer, and varies more, than what is measured.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP	    10
#define BLOCK	    100
#define CALLS_MAX   1000000
#define TARGETS_MAX 4

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void at_once(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int serve(const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1, c;
	char byte;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof(at)) || listen(s, 16))
		die("listen");
	while ((c = accept(s, NULL, NULL)) >= 0) {
		at_once(c);
		while (read(c, &byte, 1) == 1)
			if (write(c, &byte, 1) != 1)
				break;
		close(c);
	}
	return 1;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct target {
	int fd;
	double *took;
};

/* 0 or an exit status */
static int target_open(struct target *t, const char *at, int count)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	const char *port = strrchr(at, ':');
	char addr[INET_ADDRSTRLEN] = "";

	if (!port || (size_t)(port - at) >= sizeof(addr))
		return 2;
	memcpy(addr, at, (size_t)(port - at));
	to.sin_port = htons(atoi(port + 1));
	t->took = calloc(count, sizeof(*t->took));
	t->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (!t->took || inet_pton(AF_INET, addr, &to.sin_addr) != 1)
		return 2;
	if (t->fd < 0 || connect(t->fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	at_once(t->fd);
	return 0;
}

static double round_trip(int fd)
{
	double start = now_us();
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("the server");
	return now_us() - start;
}

/* Calls first..first + BLOCK, after some that do not count. */
static void call_block(struct target *t, int first, int count)
{
	for (int i = 0; i < WARM_UP; i++)
		round_trip(t->fd);
	for (int i = first; i < count && i < first + BLOCK; i++)
		t->took[i] = round_trip(t->fd);
}

static int call(int count, int n, char **at)
{
	struct target t[TARGETS_MAX];

	if (count < 1 || count > CALLS_MAX || n > TARGETS_MAX)
		return 2;
	for (int i = 0; i < n; i++) {
		int status = target_open(&t[i], at[i], count);

		if (status)
			return status;
	}
	for (int first = 0; first < count; first += BLOCK)
		for (int i = 0; i < n; i++)
			call_block(&t[i], first, count);
	for (int i = 0; i < n; i++) {
		qsort(t[i].took, count, sizeof(*t[i].took), by_size);
		printf("%.2f%c", t[i].took[count / 2], i + 1 < n ? ' ' : '\n');
	}
	return 0;
}

static void alone(void)
{
	struct sched_param before = {.sched_priority = 1};
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one) || sched_setscheduler(0, SCHED_FIFO, &before))
		die("one CPU");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve")) {
		alone();
		return serve(argv[2]);
	}
	if (argc > 3 && !strcmp(argv[1], "call")) {
		alone();
		return call(atoi(argv[2]), argc - 3, argv + 3);
	}
	fprintf(stderr, "usage: rtt serve PORT | call COUNT ADDR:PORT...\n");
	return 2;
}
