// SPDX-License-Identifier: GPL-2.0
/*
 * Counts by UDP, as a client that notices everything:
 *
 *   count-udp [-i INTERVAL_MS] ADDRESS PORT	sends numbered datagrams every INTERVAL_MS (10) until SIGTERM or SIGINT
 *   count-udp -l ADDRESS PORT			answers each with itself, from ADDRESS
 *
 * A line "number, ms" an answer, "lost NUMBER" for one that a later answer overtook. The last line is for programs:
 *
 *   summary sent=N answered=N lost=N refused=N wrong=N longest_ms=X
 *
 * lost: no answer within ANSWER_MS of the last one sent; refused: ICMP errors; wrong: answers to nothing that waits;
 * longest: the longest round trip. Exit status: 0 when nothing was lost, refused or wrong, 1 otherwise, 2 usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 5000
#define WAITING	  65536 /* questions that may wait for their answers */

struct question {
	uint64_t number; /* 0: answered, or told lost */
	double sent;	 /* ms */
};

static struct question waiting[WAITING];
static struct {
	uint64_t sent, answered, lost, refused, wrong;
	double longest_ms;
} sum;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = 1;
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static void usage(void)
{
	fputs("usage: count-udp [-i INTERVAL_MS] ADDRESS PORT, or count-udp -l ADDRESS PORT\n", stderr);
	exit(2);
}

static socklen_t parse_address(const char *address, const char *port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(atoi(port));
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, address, &in6->sin6_addr) != 1)
		usage();
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(atoi(port));
	return sizeof(*in6);
}

static void serve(int fd)
{
	struct sockaddr_storage from;
	uint64_t number;

	for (;;) {
		socklen_t len = sizeof(from);

		if (recvfrom(fd, &number, sizeof(number), 0, (struct sockaddr *)&from, &len) ==
		    sizeof(number))
			sendto(fd, &number, sizeof(number), 0, (struct sockaddr *)&from, len);
	}
}

static void ask(int fd)
{
	uint64_t number = ++sum.sent;

	waiting[number % WAITING] = (struct question){number, now_ms()};
	if (send(fd, &number, sizeof(number), 0) < 0 && errno == ECONNREFUSED)
		sum.refused++;
}

/* What was asked before `number` and has no answer yet. */
static void overtaken(uint64_t number)
{
	static uint64_t told;

	for (; told + 1 < number; told++)
		if (waiting[(told + 1) % WAITING].number == told + 1)
			printf("lost %llu\n", (unsigned long long)told + 1);
	if (told < number)
		told = number;
}

static void take(int fd)
{
	struct question *q;
	uint64_t number;
	ssize_t n = recv(fd, &number, sizeof(number), MSG_DONTWAIT);
	double ms;

	if (n < 0) {
		sum.refused += errno == ECONNREFUSED;
		return;
	}
	q = &waiting[number % WAITING];
	if (n != sizeof(number) || !number || q->number != number) {
		sum.wrong++;
		return;
	}
	ms = now_ms() - q->sent;
	q->number = 0;
	sum.answered++;
	if (ms > sum.longest_ms)
		sum.longest_ms = ms;
	overtaken(number);
	printf("%llu, %.2f\n", (unsigned long long)number, ms);
	fflush(stdout);
}

static void count(int fd, long interval_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	double next = now_ms(), end = 0;

	while (!end || (sum.answered < sum.sent && now_ms() < end)) {
		double now = now_ms();

		if (stop && !end)
			end = now + ANSWER_MS;
		if (!end && now >= next) {
			ask(fd);
			next = now > next + 10 * interval_ms ? now : next + interval_ms;
		}
		if (poll(&p, 1, 1) == 1)
			take(fd);
	}
	sum.lost = sum.sent - sum.answered;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct sockaddr_storage ss;
	long interval_ms = 10;
	bool server = false;
	socklen_t len;
	int o, fd;

	while ((o = getopt(argc, argv, "i:l")) != -1) {
		if (o == 'i')
			interval_ms = atol(optarg);
		else if (o == 'l')
			server = true;
		else
			usage();
	}
	if (argc - optind != 2 || interval_ms < 1)
		usage();
	len = parse_address(argv[optind], argv[optind + 1], &ss);
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    (server ? bind(fd, (struct sockaddr *)&ss, len) : connect(fd, (struct sockaddr *)&ss, len))) {
		perror("count-udp");
		return 1;
	}
	if (server)
		serve(fd);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	count(fd, interval_ms);
	printf("summary sent=%llu answered=%llu lost=%llu refused=%llu wrong=%llu longest_ms=%.2f\n",
	       (unsigned long long)sum.sent, (unsigned long long)sum.answered, (unsigned long long)sum.lost,
	       (unsigned long long)sum.refused, (unsigned long long)sum.wrong, sum.longest_ms);
	return sum.lost || sum.refused || sum.wrong;
}
