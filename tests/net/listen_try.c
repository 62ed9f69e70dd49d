// SPDX-License-Identifier: GPL-2.0
/*
 * A program that listens, and says how that went:
 *
 *	listen-try [-u] [-6] [-i] [-s] [-a ADDR] [-t START_MS [-g GAP_MS]] [-l SECONDS] PORT [COUNT]
 *
 * Takes COUNT ports from PORT on. Sockets are bound first (TCP); then one after the other
 * listens, or is bound (-u), each at its time: START_MS, a time of day in ms, and GAP_MS later each.
 * One line a port: PORT RESULT MICROSECONDS, with RESULT ok or the name of the error. Then
 * it stays for SECONDS (or until a signal) and ends with a line "lost N": how many of its sockets
 * listen no more though nobody closed them.
 *
 *	-u  UDP		-6  a dual-stack socket		-i  by io_uring
 *	-s  first waits for SIGUSR1
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PORTS_MAX	  1024
#define IORING_OP_LISTEN_ 57 /* newer than the headers */

static bool udp, six, uring, on_signal;
static const char *address;
static uint64_t start_ms, gap_ms = 50;

static void die(const char *what)
{
	perror(what);
	exit(3);
}

static uint64_t now_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- io_uring, of which one request is needed ------------------------------ */
static struct {
	int fd;
	struct io_uring_params p;
	uint8_t *sq, *cq;
	struct io_uring_sqe *sqe;
} ring = {.fd = -1};

static void ring_open(void)
{
	ring.fd = (int)syscall(__NR_io_uring_setup, 4, &ring.p);
	if (ring.fd < 0)
		die("io_uring_setup");
	ring.sq = mmap(NULL, ring.p.sq_off.array + ring.p.sq_entries * sizeof(uint32_t),
		       PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.cq = mmap(NULL, ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqe = mmap(NULL, ring.p.sq_entries * sizeof(*ring.sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
			ring.fd, IORING_OFF_SQES);
	if (ring.sq == MAP_FAILED || ring.cq == MAP_FAILED || ring.sqe == MAP_FAILED)
		die("mmap of io_uring");
}

static int ring_listen(int fd)
{
	uint32_t *tail = (uint32_t *)(ring.sq + ring.p.sq_off.tail), at = *tail & (ring.p.sq_entries - 1);
	uint32_t *head = (uint32_t *)(ring.cq + ring.p.cq_off.head);
	struct io_uring_cqe *cqe;

	ring.sqe[at] = (struct io_uring_sqe){.opcode = IORING_OP_LISTEN_, .fd = fd, .len = 16};
	((uint32_t *)(ring.sq + ring.p.sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		die("io_uring_enter");
	cqe = (struct io_uring_cqe *)(ring.cq + ring.p.cq_off.cqes) + (*head & (ring.p.cq_entries - 1));
	errno = cqe->res < 0 ? -cqe->res : 0;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return errno ? -1 : 0;
}

/* ---- sockets ------------------------------------------------------------------ */
static int make_socket(void)
{
	int fd = socket(six ? AF_INET6 : AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0), off = 0;

	if (fd < 0)
		die("socket");
	if (six)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	return fd;
}

static int bind_socket(int fd, uint16_t port)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (address && !inet_pton(six ? AF_INET6 : AF_INET, address,
				  six ? (void *)&sin6.sin6_addr : (void *)&sin.sin_addr)) {
		fprintf(stderr, "listen-try: %s is no address\n", address);
		exit(2);
	}
	return six ? bind(fd, (struct sockaddr *)&sin6, sizeof(sin6))
		   : bind(fd, (struct sockaddr *)&sin, sizeof(sin));
}

static int take_port(int fd, uint16_t port)
{
	if (udp)
		return bind_socket(fd, port);
	return uring ? ring_listen(fd) : listen(fd, 16);
}

/* False: it was not had, or it is lost. */
static bool still_has(int fd, bool had)
{
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (udp || !had)
		return true;
	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) && listens;
}

static void wait_until(uint64_t ms)
{
	int64_t left = (int64_t)(ms * 1000 - now_us(CLOCK_REALTIME));

	if (ms && left > 0)
		usleep((useconds_t)left);
}

static void signalled(int sig)
{
}

static void stay(unsigned int seconds)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigtimedwait(&set, NULL, &(struct timespec){.tv_sec = seconds});
}

static void wait_for_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	sigwaitinfo(&set, NULL);
}

static void usage(void)
{
	fprintf(stderr, "usage: listen-try [-u] [-6] [-i] [-s] [-a ADDR] [-t START_MS] [-g GAP_MS] [-l "
			"SECONDS] PORT [COUNT]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static int fd[PORTS_MAX], error[PORTS_MAX];
	unsigned int seconds = 0, first, n = 1, lost = 0;
	int opt;

	while ((opt = getopt(argc, argv, "u6isa:t:g:l:")) >= 0) {
		switch (opt) {
		case 'u':
			udp = true;
			break;
		case '6':
			six = true;
			break;
		case 'i':
			uring = true;
			break;
		case 's':
			on_signal = true;
			break;
		case 'a':
			address = optarg;
			break;
		case 't':
			start_ms = strtoull(optarg, NULL, 10);
			break;
		case 'g':
			gap_ms = strtoull(optarg, NULL, 10);
			break;
		case 'l':
			seconds = (unsigned int)atoi(optarg);
			break;
		default:
			usage();
		}
	}
	if (optind >= argc)
		usage();
	first = (unsigned int)atoi(argv[optind]);
	if (optind + 1 < argc)
		n = (unsigned int)atoi(argv[optind + 1]);
	if (!first || !n || n > PORTS_MAX || first + n > 65536)
		usage();
	setlinebuf(stdout);
	signal(SIGALRM, signalled);
	if (uring)
		ring_open();
	for (unsigned int i = 0; i < n; i++) {
		fd[i] = make_socket();
		error[i] = !udp && bind_socket(fd[i], (uint16_t)(first + i)) ? errno : 0;
	}
	if (on_signal)
		wait_for_signal();
	for (unsigned int i = 0; i < n; i++) {
		uint64_t begun;

		wait_until(start_ms ? start_ms + i * gap_ms : 0);
		begun = now_us(CLOCK_MONOTONIC);
		if (!error[i] && take_port(fd[i], (uint16_t)(first + i)))
			error[i] = errno;
		printf("%u %s %llu\n", first + i, error[i] ? strerrorname_np(error[i]) : "ok",
		       (unsigned long long)(now_us(CLOCK_MONOTONIC) - begun));
	}
	stay(seconds);
	for (unsigned int i = 0; i < n; i++)
		lost += !still_has(fd[i], !error[i]);
	printf("lost %u\n", lost);
	return 0;
}
