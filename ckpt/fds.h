/* SPDX-License-Identifier: GPL-2.0 */
/* Walking the open files of processes; see fds.c. */
#ifndef SSI_CKPT_FDS_H
#define SSI_CKPT_FDS_H

#include <limits.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct ckpt_fd {
	pid_t pid;
	int fd;
	char link[PATH_MAX]; /* what /proc shows */
	struct stat st;	     /* of what it refers to */
};

/* Some of the fds of processes, by the pids that they have for themselves; sorted. */
struct fds_set {
	struct fds_name {
		pid_t inner;
		int fd;
	} *names;
	size_t n;
};

void fds_set_sort(struct fds_set *set);

/* Calls fn for each open file of each process, but for those in `but` (NULL: none); a process that ends meanwhile is
 * left out. */
void fds_each_but(const pid_t *pids, const struct fds_set *but,
		  void (*fn)(void *arg, const struct ckpt_fd *f), void *arg);
void fds_each(const pid_t *pids, void (*fn)(void *arg, const struct ckpt_fd *f), void *arg);
/* A reference of our own to an open file, or -errno. Caller closes. */
int fds_get(const struct ckpt_fd *f);
/* The pid that a process has for itself and its own, 0: it is gone. */
pid_t fds_inner_pid(pid_t pid);
/* O_RDONLY, O_WRONLY or O_RDWR. */
int fds_mode(const struct ckpt_fd *f);

#endif
