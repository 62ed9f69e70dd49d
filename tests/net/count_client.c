// SPDX-License-Identifier: GPL-2.0
/*
 * Counts on one connection to a redis server, as a client that notices everything:
 *
 *   count-client [-k KEY] [-i INTERVAL_MS] [-n COUNT] [-t SECONDS] [-c CONNECTIONS] [-w] [-s MS] ADDRESS [PORT]
 *
 * INCR KEY every INTERVAL_MS (20) on each of CONNECTIONS (1; each its own key) connections. A line
 * "value, ms" a round trip on a pipe or file; on a terminal the line is rewritten in place. Ends at
 * SIGTERM or SIGINT, after COUNT rounds or SECONDS, or when a connection breaks; with -w it then connects
 * anew until that works, with a line "refused" or "silent" for every attempt that does not (-s: silent is what is
 * not answered in MS, 250).
 * The last line is for programs:
 *
 *   summary rounds=N last=V resets=N reconnects=N wrong=N longest_ms=X longest_at=V refused=N silent=N down_ms=X
 *
 * wrong: answers that were not the value before plus one; longest: the longest round trip; down: from the last
 * answer on a connection that broke to the first on the next, at worst. Exit status: 0 when there was no
 * reset, reconnect or wrong answer, 1 otherwise, 2 usage, 3 when it never connected.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define ANSWER_MS	30000 /* longer silence is a broken connection */
#define ATTEMPT_MS	20

struct conn {
	int fd;
	long value;
	double answered; /* time of the last answer, ms */
};

static struct {
	const char *address, *port, *key;
	long interval_ms, count, seconds, connections, silent_ms;
	bool again, terminal;
} opt = {.port = "6379", .key = "count", .interval_ms = 20, .connections = 1, .silent_ms = 250};

static struct {
	long rounds, last, resets, reconnects, wrong, longest_at, refused, silent;
	double longest_ms, down_ms;
} sum;

static struct conn conns[MAX_CONNECTIONS];
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

static socklen_t parse_address(struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, opt.address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(atoi(opt.port));
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, opt.address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(atoi(opt.port));
		return sizeof(*in6);
	}
	fprintf(stderr, "count-client: '%s' is no IP address\n", opt.address);
	exit(2);
}

/* A connected socket, or a negative errno. */
static int open_conn(int timeout_ms)
{
	struct sockaddr_storage ss;
	socklen_t len = parse_address(&ss);
	struct pollfd p;
	int fd, one = 1, err;

	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	err = connect(fd, (struct sockaddr *)&ss, len) ? errno : 0;
	if (err == EINPROGRESS) {
		p = (struct pollfd){.fd = fd, .events = POLLOUT};
		err = ETIMEDOUT;
		len = sizeof(err);
		if (poll(&p, 1, timeout_ms) == 1)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	}
	if (err) {
		close(fd);
		return -err;
	}
	return fd;
}

/* One INCR; the new value, or -1 when the connection is broken (errno says how). */
static long incr(struct conn *c, long number)
{
	char buf[256], *end;
	int len, got = 0;
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	len = opt.connections == 1 ? snprintf(buf, sizeof(buf), "INCR %s\r\n", opt.key)
				   : snprintf(buf, sizeof(buf), "INCR %s:%ld\r\n", opt.key, number);
	if (send(c->fd, buf, len, MSG_NOSIGNAL) != len)
		return -1;
	for (;;) {
		int n = poll(&p, 1, ANSWER_MS);

		if (n < 0 && errno == EINTR && !stop)
			continue;
		if (n == 0)
			errno = ETIMEDOUT;
		if (n <= 0)
			return -1;
		n = recv(c->fd, buf + got, sizeof(buf) - 1 - got, 0);
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return -1;
		got += n;
		buf[got] = 0;
		end = strstr(buf, "\r\n");
		if (end)
			break;
	}
	if (buf[0] != ':') {
		*end = 0;
		fprintf(stderr, "count-client: the server answered: %s\n", buf);
		errno = EPROTO;
		return -1;
	}
	return strtol(buf + 1, NULL, 10);
}

static void show(long value, double ms)
{
	if (opt.terminal)
		printf("\r%ld, %.2f ms\033[K", value, ms);
	else
		printf("%ld, %.2f\n", value, ms);
	fflush(stdout);
}

/* Tries until there is a connection; false when that is not wanted. */
static bool connect_conn(struct conn *c)
{
	while (!stop) {
		c->fd = open_conn(opt.silent_ms);
		if (c->fd >= 0)
			return true;
		if (!opt.again)
			return false;
		if (c->fd == -ETIMEDOUT || c->fd == -EHOSTUNREACH)
			sum.silent++;
		else
			sum.refused++;
		puts(c->fd == -ETIMEDOUT || c->fd == -EHOSTUNREACH ? "silent" : "refused");
		fflush(stdout);
		usleep(ATTEMPT_MS * 1000);
	}
	return false;
}

/* The connection of `c` broke. Connects anew with -w; false when it is over. */
static bool broken(struct conn *c)
{
	if (stop)
		return false;
	sum.resets++;
	fprintf(stderr, "%scount-client: connection lost after %ld: %s\n", opt.terminal ? "\n" : "", c->value,
		strerror(errno));
	close(c->fd);
	c->fd = -1;
	if (!opt.again || !connect_conn(c))
		return false;
	sum.reconnects++;
	c->value = -1;
	return true;
}

static bool round_trip(struct conn *c, long number)
{
	double start = now_ms(), took;
	long value = incr(c, number);

	if (value < 0)
		return broken(c);
	took = now_ms() - start;
	if (c->value < 0 && c->answered && start + took - c->answered > sum.down_ms)
		sum.down_ms = start + took - c->answered;
	c->answered = start + took;
	if (c->value >= 0 && value != c->value + 1)
		sum.wrong++;
	c->value = value;
	sum.rounds++;
	sum.last = value;
	if (took > sum.longest_ms) {
		sum.longest_ms = took;
		sum.longest_at = value;
	}
	show(value, took);
	return true;
}

static void count(void)
{
	double next = now_ms();

	for (long n = 0; !stop && (!opt.count || n < opt.count); n++) {
		for (long i = 0; i < opt.connections && !stop; i++)
			if (!round_trip(&conns[i], i))
				return;
		next += opt.interval_ms;
		if (next < now_ms())
			next = now_ms();
		else
			usleep((next - now_ms()) * 1e3);
	}
}

static void usage(void)
{
	fputs("usage: count-client [-k KEY] [-i INTERVAL_MS] [-n COUNT] [-t SECONDS] "
	      "[-c CONNECTIONS] [-w] ADDRESS [PORT]\n",
	      stderr);
	exit(2);
}

static void options(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "k:i:n:t:c:s:w")) != -1) {
		switch (o) {
		case 'k':
			opt.key = optarg;
			break;
		case 'i':
			opt.interval_ms = atol(optarg);
			break;
		case 's':
			opt.silent_ms = atol(optarg);
			break;
		case 'n':
			opt.count = atol(optarg);
			break;
		case 't':
			opt.seconds = atol(optarg);
			break;
		case 'c':
			opt.connections = atol(optarg);
			break;
		case 'w':
			opt.again = true;
			break;
		default:
			usage();
		}
	}
	if (optind >= argc || argc - optind > 2 || opt.connections < 1 || opt.connections > MAX_CONNECTIONS ||
	    strlen(opt.key) > 128)
		usage();
	opt.address = argv[optind];
	if (argc - optind == 2)
		opt.port = argv[optind + 1];
	opt.terminal = isatty(1);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};

	options(argc, argv);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	alarm(opt.seconds);
	for (long i = 0; i < opt.connections; i++) {
		conns[i].value = -1;
		if (!connect_conn(&conns[i])) {
			fprintf(stderr, "count-client: connect to %s port %s: %s\n", opt.address, opt.port,
				strerror(-conns[i].fd));
			return 3;
		}
	}
	count();
	printf("%ssummary rounds=%ld last=%ld resets=%ld reconnects=%ld wrong=%ld longest_ms=%.2f "
	       "longest_at=%ld refused=%ld silent=%ld down_ms=%.2f\n",
	       opt.terminal ? "\n" : "", sum.rounds, sum.last, sum.resets, sum.reconnects, sum.wrong,
	       sum.longest_ms, sum.longest_at, sum.refused, sum.silent, sum.down_ms);
	return sum.resets || sum.reconnects || sum.wrong;
}
