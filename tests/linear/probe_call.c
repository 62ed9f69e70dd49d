// SPDX-License-Identifier: GPL-2.0
/* Asking netd-probe; see probe.h. */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

uint64_t probe_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int probe_connect(const char *path, int nonblocking)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd, err;

	if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path) >= (int)sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
	if (fd < 0 || !connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

int probe_call(int fd, const struct probe_request *req, struct probe_answer *out)
{
	if (send(fd, req, sizeof(*req), MSG_NOSIGNAL) != sizeof(*req))
		return -1;
	return recv(fd, out, sizeof(*out), 0) == sizeof(*out) ? 0 : -1;
}
