// SPDX-License-Identifier: GPL-2.0
/* What the dump and its undoing need to know of, or do to, the processes' sockets and pipes. */
#include <errno.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/fds.h"
#include "userland/lib/cleanup.h"

static int int_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, option, &value, &len) < 0 ? -1 : value;
}

static bool is_tcp(int fd)
{
	int domain = int_option(fd, SOL_SOCKET, SO_DOMAIN);

	return (domain == AF_INET || domain == AF_INET6) &&
	       int_option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP;
}

static int tcp_state(int fd, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0 ? -errno : 0;
}

/* A TCP socket of ours for the fd, or -1. */
static int get_tcp(const struct ckpt_fd *f)
{
	int fd;

	if (!S_ISSOCK(f->st.st_mode))
		return -1;
	fd = fds_get(f);
	if (fd >= 0 && is_tcp(fd))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void add_backlog(void *arg, const struct ckpt_fd *f)
{
	_close_ int fd = get_tcp(f);
	struct tcp_info info;

	/* of a listener, `unacked` is the length of the queue of accept() */
	if (fd >= 0 && tcp_state(fd, &info) == 0 && info.tcpi_state == TCP_LISTEN)
		*(int *)arg += (int)info.tcpi_unacked;
}

int ckpt_backlog(const pid_t *pids)
{
	int waiting = 0;

	fds_each(pids, add_backlog, &waiting);
	return waiting;
}

static void add_connection(void *arg, const struct ckpt_fd *f)
{
	_close_ int fd = get_tcp(f);
	struct tcp_info info;

	if (fd >= 0 && tcp_state(fd, &info) == 0 && info.tcpi_state != TCP_LISTEN &&
	    info.tcpi_state != TCP_CLOSE)
		++*(int *)arg;
}

int ckpt_connections(const pid_t *pids)
{
	int n = 0;

	fds_each(pids, add_connection, &n);
	return n;
}

static void repair_off(void *arg, const struct ckpt_fd *f)
{
	_close_ int fd = get_tcp(f);
	int off = 0, on = 1;

	(void)arg;
	if (fd < 0 || int_option(fd, IPPROTO_TCP, TCP_REPAIR) != 1)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
	/* Repair mode forgets it, and a server could not bind its port again. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

void ckpt_repair_off(const pid_t *pids)
{
	fds_each(pids, repair_off, NULL);
}

#ifndef TCPI_OPT_USEC_TS
#define TCPI_OPT_USEC_TS 64
#endif

/*
 * A connection in repair mode has the default segment size when its route is looked up, and learns the peer's later: it
 * would go on in segments of 524 bytes. No option says "compute it anew", but IP options do, also none.
 */
static void size_segments(int fd)
{
	setsockopt(fd, IPPROTO_IP, IP_OPTIONS, NULL, 0);
}

/*
 * The frozen original went on retransmitting, with timestamps that grew; a peer takes nothing older than the
 * newest that it saw (PAWS). From 6.7 on the lowest bit of the value is no time: it says that the clock
 * counts microseconds, and must stay as it was.
 */
static void advance_clock(void *arg, const struct ckpt_fd *f)
{
	_close_ int fd = get_tcp(f);
	uint32_t ticks = *(uint32_t *)arg;
	struct tcp_info info;
	int value;

	if (fd < 0 || int_option(fd, IPPROTO_TCP, TCP_REPAIR) != 1 || tcp_state(fd, &info) < 0)
		return;
	size_segments(fd);
	if (!(info.tcpi_options & TCPI_OPT_TIMESTAMPS))
		return;
	if (info.tcpi_options & TCPI_OPT_USEC_TS)
		ticks *= 1000;
	ticks = (ticks + 1) & ~1u;
	value = (int)((uint32_t)int_option(fd, IPPROTO_TCP, TCP_TIMESTAMP) + ticks);
	setsockopt(fd, IPPROTO_TCP, TCP_TIMESTAMP, &value, sizeof(value));
}

void ckpt_advance_clock(const pid_t *pids, uint32_t ms)
{
	fds_each(pids, advance_clock, &ms);
}

struct pipe_count {
	const uint64_t *pipes;
	int *users;
};

static void count_pipe(void *arg, const struct ckpt_fd *f)
{
	struct pipe_count *c = arg;

	for (int i = 0; i < 3; i++)
		if (S_ISFIFO(f->st.st_mode) && f->st.st_ino == c->pipes[i])
			c->users[i]++;
}

void ckpt_pipe_users(const pid_t *pids, const uint64_t pipes[3], int users[3])
{
	struct pipe_count c = {pipes, users};

	memset(users, 0, 3 * sizeof(*users));
	fds_each(pids, count_pipe, &c);
}

int ckpt_perf_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = PERF_COUNT_SW_DUMMY};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}
