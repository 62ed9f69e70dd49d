/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libnetssi: a program's own view of the cluster that netssi makes. Link with `pkg-config --cflags --libs libnetssi`;
 * libnetssi(3) is the manual.
 *
 * Two parts, which need not be used together:
 *
 *   struct netssi        asks netd on this node, with the rights of netctl: root may all, members of the group
 *                        netssi may look. For programs that manage a cluster.
 *   struct netssi_watch  tells a program that ssi-run started when it is about to be moved or written to a
 *                        checkpoint, and where it is after. Needs no rights. Holds nothing that stands against the move.
 *
 * Nothing blocks, but netssi_wait() and where it is said: poll the fd of an object for POLLIN, then call its dispatch or
 * next function. The fd belongs to the object. Functions return 0 or more, or a negative errno.
 *
 * Threads: an object is used by one thread at a time, different objects by different threads as they like; the library
 * has no state of its own. After fork() a child leaves the parent's objects alone.
 *
 * What is in here stays as it is: fields of structs, numbers of enums, and functions under the soname libnetssi.so.1.
 */
#ifndef NETSSI_H
#define NETSSI_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- asking netd ---------------------------------------------------------------------- */

struct netssi;
struct netssi_result;

/* -ENOMEM, -EMFILE. Does not look for netd: each request connects by itself. */
int netssi_new(struct netssi **out);
/* Forgets what is under way; netd goes on with it. NULL is fine. */
void netssi_free(struct netssi *h);

/* For poll(): readable when netssi_dispatch() has something to do. */
int netssi_fd(const struct netssi *h);
/* Calls the functions of what came, and returns how many. A called function may make and cancel requests, but neither
 * free the object nor wait. */
int netssi_dispatch(struct netssi *h);

/*
 * How a request ended, called once. status: 0, or
 *   -ECANCELED   netd refused it or it failed: nothing has changed
 *   -EINVAL      an argument is not what it has to be
 *   -EAGAIN      no quorum: nothing has changed, try again when it is back
 *   -ENOTCONN    netd does not run on this node, or the node is not a member
 *   -EACCES      no right to talk to netd; what only root may ask is refused, see above
 *   -ENOENT      (status) there is no such application
 *   -EPIPE       netd went away: ask what became of it
 * The words for people are in the result. `r` is valid until the function returns.
 */
typedef void netssi_done_fn(void *arg, int status, const struct netssi_result *r);
/* What goes on: one object with "step" ("memory", "frozen" ...) and, some, "bytes" and "of". Valid as above. */
typedef void netssi_progress_fn(void *arg, const struct netssi_result *step);

/*
 * Requests. They return a number > 0 for netssi_wait() and netssi_cancel(), or -ENOMEM, -EMFILE, -EINVAL. All else is told to
 * `done`, from netssi_dispatch(). done = NULL: netssi_wait() takes the result.
 * The objects of a result have the fields of `netctl COMMAND -j`, see netctl(8).
 */

/* Gives a port to a node, for a server that ssi-run did not start (`netctl port add`). vip NULL: on all addresses of
 * the cluster. proto: IPPROTO_TCP or IPPROTO_UDP. Repeated: "changed" is false. */
int netssi_claim(struct netssi *h, const char *vip, unsigned int port, int proto, const char *node,
		 netssi_done_fn *done, void *arg);
/* ... and takes it back (`netctl port del`). */
int netssi_release(struct netssi *h, const char *vip, unsigned int port, int proto, netssi_done_fn *done,
		   void *arg);

#define NETSSI_DRY_RUN	     0x1 /* migrate: only say what stands against it, in "refusals" */
#define NETSSI_LEAVE_RUNNING 0x2 /* checkpoint: it runs on */

/* Moves an application while it runs. progress may be NULL. An application that asks for its own move and keeps
 * the object is refused: the connection with netd would stay behind. */
int netssi_migrate(struct netssi *h, const char *app, const char *node, unsigned int flags,
		   netssi_progress_fn *progress, netssi_done_fn *done, void *arg);
/* Writes an application to a directory (absolute) on its node, and ends it. */
int netssi_checkpoint(struct netssi *h, const char *app, const char *dir, unsigned int flags,
		      netssi_done_fn *done, void *arg);
/* Starts what is in there. node NULL: on this one. */
int netssi_restart(struct netssi *h, const char *dir, const char *node, netssi_done_fn *done, void *arg);
/* One object for the application, or, NULL, one for each. */
int netssi_status(struct netssi *h, const char *app, netssi_done_fn *done, void *arg);

/*
 * Blocks until a request without `done` has ended; functions of others are called meanwhile. Returns its status as
 * above, with the result in *out (unless NULL), which is the caller's then. -ETIMEDOUT: it goes on, wait again.
 * timeout_ms < 0: none. -ENOENT: there is no such request; -EDEADLK: called from netssi_dispatch().
 */
int netssi_wait(struct netssi *h, int request, int timeout_ms, struct netssi_result **out);
/* Its end is not told any more; netd goes on with it. 0 or -ENOENT. */
int netssi_cancel(struct netssi *h, int request);

/* ---- results: read only; texts live as long as the result ---------------------------------- */

void netssi_result_free(struct netssi_result *r); /* of netssi_wait(); NULL is fine */
/* What failed, and what to do about it; "" when nothing did. Never NULL. */
const char *netssi_result_error(const struct netssi_result *r);
const char *netssi_result_remedy(const struct netssi_result *r);
/* How many objects there are, and their fields. No such field, or one of another kind: NULL or -ENOENT. */
size_t netssi_result_count(const struct netssi_result *r);
const char *netssi_result_text(const struct netssi_result *r, size_t i, const char *field);
int netssi_result_number(const struct netssi_result *r, size_t i, const char *field, double *out);
int netssi_result_flag(const struct netssi_result *r, size_t i, const char *field, bool *out);
/* All objects as a JSON array; the caller frees it. NULL: out of memory. */
char *netssi_result_json(const struct netssi_result *r);

/* ---- being told -------------------------------------------------------------------------------- */

struct netssi_watch;

enum netssi_what {
	NETSSI_HERE = 1,      /* the first: registered, on this node */
	NETSSI_MOVING = 2,    /* about to be moved to this node */
	NETSSI_SAVING = 3,    /* about to be written to a checkpoint on this node */
	NETSSI_MOVED = 4,     /* moved, it runs on this node now */
	NETSSI_RESTARTED = 5, /* restarted from a checkpoint, it runs on this node */
	NETSSI_STAYED = 6,    /* the move failed, or the checkpoint is written: it runs on where it was */
};

struct netssi_notice {
	enum netssi_what what;
	char node[64];
};

/*
 * This process of an application hears of its moves from now on. Before one it is told, and the move waits until it
 * answers with netssi_watch_ready(), but no longer than limit_ms, nor than the cluster's notice_ms (`netctl set`).
 * limit_ms 0: it is told, nobody waits. -ENOTCONN: not an application of ssi-run; -ENOMEM, -EMFILE.
 */
int netssi_watch_new(struct netssi_watch **out, unsigned int limit_ms);
void netssi_watch_free(struct netssi_watch *w);
int netssi_watch_fd(const struct netssi_watch *w);
/* 1: a notice, 0: none at the moment. When more than seven wait the oldest are lost. -EIO: its
 * fds are not what they were. */
int netssi_watch_next(struct netssi_watch *w, struct netssi_notice *out);
/* The answer to NETSSI_MOVING and NETSSI_SAVING; at other times it says nothing. 0 or -ENOTCONN. */
int netssi_watch_ready(struct netssi_watch *w);

#ifdef __cplusplus
}
#endif

#endif
