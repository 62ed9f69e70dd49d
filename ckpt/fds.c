// SPDX-License-Identifier: GPL-2.0
/* Open files of processes by /proc/PID/fd; references to them by pidfd_getfd(2). */
#include "ckpt/fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"

static int by_name(const void *a, const void *b)
{
	const struct fds_name *x = a, *y = b;

	if (x->inner != y->inner)
		return x->inner < y->inner ? -1 : 1;
	return (x->fd > y->fd) - (x->fd < y->fd);
}

void fds_set_sort(struct fds_set *set)
{
	if (set->n)
		qsort(set->names, set->n, sizeof(*set->names), by_name);
}

static bool in_set(const struct fds_set *set, pid_t inner, int fd)
{
	const struct fds_name key = {inner, fd};

	return set && inner && bsearch(&key, set->names, set->n, sizeof(key), by_name);
}

static void each_of(pid_t pid, const struct fds_set *but, void (*fn)(void *arg, const struct ckpt_fd *f),
		    void *arg)
{
	pid_t inner = but && but->n ? fds_inner_pid(pid) : 0;
	struct ckpt_fd f = {.pid = pid};
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n;

		if (inner && in_set(but, inner, atoi(e->d_name)))
			continue;
		n = readlinkat(dirfd(d), e->d_name, f.link, sizeof(f.link) - 1);
		if (*e->d_name == '.' || n < 0 || fstatat(dirfd(d), e->d_name, &f.st, 0) < 0)
			continue;
		f.link[n] = '\0';
		f.fd = atoi(e->d_name);
		fn(arg, &f);
	}
	if (d)
		closedir(d);
}

void fds_each_but(const pid_t *pids, const struct fds_set *but,
		  void (*fn)(void *arg, const struct ckpt_fd *f), void *arg)
{
	for (; pids && *pids; pids++)
		each_of(*pids, but, fn, arg);
}

void fds_each(const pid_t *pids, void (*fn)(void *arg, const struct ckpt_fd *f), void *arg)
{
	fds_each_but(pids, NULL, fn, arg);
}

int fds_get(const struct ckpt_fd *f)
{
	_close_ int pidfd = (int)syscall(SYS_pidfd_open, f->pid, 0);
	int fd;

	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, f->fd, 0);
	return fd < 0 ? -errno : fd;
}

pid_t fds_inner_pid(pid_t pid)
{
	char path[64], line[256];
	pid_t inner = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *last;

		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		last = strrchr(line, '\t');
		inner = last ? (pid_t)strtol(last, NULL, 10) : 0;
		break;
	}
	if (f)
		fclose(f);
	return inner;
}

int fds_mode(const struct ckpt_fd *f)
{
	char path[64], line[128];
	unsigned int flags = O_RDWR;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", f->pid, f->fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	if (file)
		fclose(file);
	return (int)(flags & O_ACCMODE);
}
