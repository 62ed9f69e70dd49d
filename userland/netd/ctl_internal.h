/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside of the control socket: ctl.c listens, knows the commands and runs them;
 * ctl_conn.c is one connection, its lines in and out; ctl_watch.c keeps the last
 * live events and feeds them to watchers. One thread: the loop.
 *
 * A request lives until its connection's handle is closed and nobody holds it:
 * the handler holds it from its call until ctl_ok/ctl_fail.
 */
#ifndef SSI_CTL_INTERNAL_H
#define SSI_CTL_INTERNAL_H

#include <sys/queue.h>
#include <sys/socket.h>
#include <uv.h>

#include "userland/lib/jsonline.h"
#include "userland/netd/ctl.h"

#define CTL_CLIENTS		 128	     /* at once; the others are told to come again */
#define CTL_CLIENTS_UNPRIVILEGED 96	     /* of these, not root's */
#define CTL_INPUT		 (8 << 20)   /* bytes of all requests being read */
#define CTL_QUEUE		 (1 << 20)   /* bytes of a request's events waiting to be sent */
#define CTL_PART		 (256 << 10) /* bytes of a long result in one line, about */
#define CTL_REQUEST_MS		 10000	     /* time to send a request */
#define CTL_READY_MS		 30000	     /* a request waits this long for netd to be ready */
#define CTL_STALL_MS		 30000	     /* a reader that takes nothing for so long is dropped */
#define CTL_EVENTS		 1024	     /* events kept for watchers that come (back) */
#define CTL_EVENTS_BYTES	 (1 << 20)

struct ctl_command {
	const char *name;
	unsigned int flags;
	ctl_fn *fn;
	void *arg;
};

struct ctl_line { /* waits to be sent */
	STAILQ_ENTRY(ctl_line) link;
	char *data;
	size_t len, done;
	int fds[JSONLINE_FDS]; /* sent with the first byte; owned */
	int n_fds;
};

enum ctl_state {
	CTL_READING, /* its request is not here yet */
	CTL_WAITING, /* for netd to be ready */
	CTL_RUNNING, /* the handler works, or a watcher watches */
	CTL_ENDING,  /* the last lines go out */
};

struct ctl_request {
	LIST_ENTRY(ctl_request) link; /* ctl->requests, while the handle is open */
	struct ctl *ctl;	      /* NULL once the connection is gone */
	uv_poll_t poll;
	int events; /* that it waits for */
	enum ctl_state state;
	bool held;	   /* by the handler */
	bool handle_open;  /* `poll` is not closed yet */
	uint64_t deadline; /* uv_now() ms, 0 none */
	struct jsonline in;
	struct ucred peer;
	struct ctl_command cmd;
	json_t *args;

	STAILQ_HEAD(, ctl_line) out;
	size_t queued;
	int fds[JSONLINE_FDS]; /* go with the next line; owned */
	int n_fds;
	json_t *result; /* elements from `sent` on are not in `out` yet */
	size_t sent;

	void (*closed)(void *arg);
	void *closed_arg;

	bool watching;
	uint64_t cursor; /* the last event sent */
	json_t *kinds;	 /* NULL: all */
};

struct ctl_event_ring {
	struct {
		char *line; /* {"event":…}\n */
		size_t len;
		char kind[16];
	} slot[CTL_EVENTS];   /* event s at s % CTL_EVENTS */
	uint64_t start;	      /* number of this netd's first event */
	uint64_t first, next; /* sequence numbers kept: first..next-1 */
	size_t bytes;
};

struct ctl {
	uv_loop_t *loop;
	uv_poll_t listener;
	uv_timer_t tick; /* runs while there are clients */
	int fd, lock;
	char path[108];
	int handles; /* of the above, to be closed */
	bool ready;
	struct ctl_gate gate;
	void *gate_arg;
	struct ctl_command *commands;
	size_t n_commands;
	LIST_HEAD(, ctl_request) requests;
	size_t n_requests, n_unprivileged;
	struct ctl_event_ring events;
};

/* ctl.c */
void ctl_dispatch(struct ctl_request *r, json_t *request); /* borrowed */

/* ctl_conn.c */
int ctl_conn_open(struct ctl *c, int fd, const struct ucred *peer); /* takes fd unless it fails */
void ctl_conn_gone(struct ctl_request *r);
void ctl_conn_end(struct ctl_request *r); /* close when all is sent */
void ctl_conn_tick(struct ctl_request *r);
/* Queue one line (malloc'ed, taken over) behind the others; flush sends what the
 * client takes, and may find that it is gone. */
void ctl_conn_queue(struct ctl_request *r, char *data, size_t len);
void ctl_conn_flush(struct ctl_request *r);

/* ctl_watch.c */
void ctl_watch_init(struct ctl *c);
void ctl_watch_exit(struct ctl *c);
void ctl_watch_pump(struct ctl_request *r); /* queue the next events as far as there is room */

#endif
