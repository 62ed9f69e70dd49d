// SPDX-License-Identifier: GPL-2.0
/*
 * rtt serve PORT		answers each byte with a byte, on all addresses
 * rtt call ADDR PORT COUNT	round trips of one byte over one connection: prints the median in µs
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP	  200
#define CALLS_MAX 1000000

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

static int call(const char *addr, const char *port, int count)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int s = socket(AF_INET, SOCK_STREAM, 0);
	double *took = calloc(count > 0 ? count : 1, sizeof(*took)), start;
	char byte = 'x';

	if (!took || count < 1 || count > CALLS_MAX || inet_pton(AF_INET, addr, &to.sin_addr) != 1)
		return 2;
	if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	at_once(s);
	for (int i = -WARM_UP; i < count; i++) {
		start = now_us();
		if (write(s, &byte, 1) != 1 || read(s, &byte, 1) != 1)
			die("the server");
		if (i >= 0)
			took[i] = now_us() - start;
	}
	qsort(took, count, sizeof(*took), by_size);
	printf("%.2f\n", took[count / 2]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "call"))
		return call(argv[2], argv[3], atoi(argv[4]));
	fprintf(stderr, "usage: rtt serve PORT | call ADDR PORT COUNT\n");
	return 2;
}
