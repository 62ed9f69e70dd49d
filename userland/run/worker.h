/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A child that does long work: sending or receiving images, CRIU. It reports in
 * JSON lines over a socket and may wait for one to go on.
 */
#ifndef SSI_RUN_WORKER_H
#define SSI_RUN_WORKER_H

#include <jansson.h>
#include <stdbool.h>

#include "userland/lib/jsonline.h"
#include "userland/run/loop.h"
#include "userland/run/space.h"

struct worker {
	struct jsonline line;
	struct watch w;
	pid_t pid; /* ours to wait for; 0: PID 1's */
	bool busy;
	void (*said)(json_t *message); /* borrowed */
	void (*ended)(void);	       /* its socket closed */
};

/* In the application's namespaces, at high pids. fds[0] becomes its socket.
 * flags: more of SPACE_*. Steals order. */
int worker_inside(struct worker *w, struct space *s, space_fn *fn, json_t *order, const int *fds, int n,
		  int flags);
/* As a child of ours; fd is passed on and closed here. */
int worker_beside(struct worker *w, int (*fn)(struct jsonline *to, json_t *order, int fd), json_t *order,
		  int fd);
int worker_send(struct worker *w, json_t *line); /* steals */
int worker_tell(struct worker *w, const char *what);
void worker_stop(struct worker *w);

#endif
