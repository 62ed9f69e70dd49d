// SPDX-License-Identifier: GPL-2.0
/* Limits of processes that CRIU would run into when all stands still. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "ckpt/check.h"

#define CRIU_FDS 2 /* that it opens inside of a process */

static unsigned long fds_below(pid_t pid, unsigned long limit)
{
	unsigned long n = 0;
	struct dirent *e;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (*e->d_name != '.' && strtoul(e->d_name, NULL, 10) < limit)
			n++;
	if (d)
		closedir(d);
	return n;
}

void check_limits(struct check *c, pid_t pid)
{
	struct rlimit files;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, &files) < 0) {
		if (errno == EPERM)
			check_refuse(c, pid, -1, "",
				     "it is another user's, and this root may not see its limits",
				     "run netd with CAP_SYS_RESOURCE (a container takes it away), or the "
				     "program as root");
	} else if (files.rlim_cur != RLIM_INFINITY &&
		   fds_below(pid, files.rlim_cur) + CRIU_FDS > files.rlim_cur) {
		check_refuse(c, pid, -1, "",
			     "it has as many open files as it may have, and CRIU needs two more in it",
			     "raise its limit of open files; of a process in a sandbox wait for the end");
	}
}
