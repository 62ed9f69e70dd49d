/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The namespaces an application lives in on one node: its own pid namespace
 * and mount namespace (fresh /proc), held by a PID 1 of ours that is never part
 * of an image. PID 1 stays in the node's IPC namespace, so that CRIU, which runs
 * below it, sees the application's as foreign and carries it.
 *
 * PID 1 is a fork of the supervisor without exec, so functions are passed to it
 * by address. When it ends, for whatever reason, the kernel ends all in there.
 */
#ifndef SSI_RUN_SPACE_H
#define SSI_RUN_SPACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "userland/run/loop.h"

#define SPACE_FDS  6
#define SPACE_BLOB (48 << 10)

/* Runs in a child of PID 1; the fds are the child's. Returns its exit status. */
typedef int space_fn(const char *blob, const int *fds, int n_fds);

struct space {
	pid_t init; /* 0: closed */
	int ctl;
	struct watch events;
	char cgroup[128]; /* below the cgroup2 mount */
	uint64_t cgroup_id;
	/* A child of PID 1, or an orphan it took in, ended. pid: inside. */
	void (*ended)(struct space *s, pid_t pid, int status);
	/* PID 1 was killed by someone else. */
	void (*lost)(struct space *s);
	void *arg;
};

#define SPACE_HIGH_PID	0x01 /* clear of those in images */
#define SPACE_HIGH_PIDS 0x02 /* all that come after, too, until it ends */

/* 0, or a negative errno after a line on stderr. */
int space_open(struct space *s, const char *name);
pid_t space_run(struct space *s, space_fn *fn, const char *blob, const int *fds, int n, int flags);
/* pid < 0: the process group. */
int space_kill(struct space *s, pid_t pid, int sig);
/* Ends all in there and waits for it. */
void space_close(struct space *s);
/* SIGCHLD came: did PID 1 end? */
void space_reap(struct space *s);

/* The pid on this node of a process inside, 0: no such. */
pid_t space_host_pid(const struct space *s, pid_t pid);
/* Is that process of this node inside? */
bool space_holds(const struct space *s, pid_t pid);
/* All pids on this node of the processes inside, PID 1 and those at high
 * pids (CRIU) left out. Ends with 0; caller frees. */
pid_t *space_pids(const struct space *s);

#endif
