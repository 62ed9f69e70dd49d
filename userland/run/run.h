/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ssi-run: what its parts share. One process keeps one application on one node,
 * so there is one struct run. One thread, one poll loop.
 *
 *   main.c     options, the three ways to run: foreground, --detach, --keeper
 *   claim.c    asks netd for the name
 *   keeper.c   the socket that netd talks to, requests and answers
 *   app.c      the application's start, signals and end
 *   carry.c    the requests of a move
 *   freeze.c   stands still and goes on by request
 *   worker.c   children that do long work and report in JSON lines
 *   notify.c   sd_notify messages
 *   notice.c   tells processes that want to know of moves
 *   space.c cgroup.c stdio.c logfile.c loop.c   what these stand on
 */
#ifndef SSI_RUN_H
#define SSI_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "userland/run/opts.h"
#include "userland/run/space.h"

enum run_state {
	RUN_STARTING,
	RUN_RUNNING,
	RUN_PAUSED, /* by `netctl freeze` */
	RUN_FROZEN, /* by a dump */
	RUN_WAITING,
	RUN_RESTORED,
	RUN_MOVED,
	RUN_EXITED,
};

#define ROOT_PID 2 /* inside */
#define MAIN_PID 3

struct run {
	struct run_opts opts;
	enum run_state state;
	struct space space;
	pid_t pid, main_pid; /* on this node */
	char origin[64];     /* node whose ssi-run started it */
	char here[64];	     /* the name of this node; "": not known (yet) */
	char place[64];	     /* (moved) node where it is now */
	int64_t since_ms;
	bool user_away;	 /* a keeper: the user is on another node, or there is none */
	int exit_status; /* wait status */
	int report;	 /* fd to the process the user started, -1: that is us */
};

extern struct run run;
/* Signals that ssi-run ignores and CMD must not; ends with 0. */
extern int run_ignored[4];

#define RUN_DIR	 "/run/netssi"
#define RUN_EXIT 125

/* main.c */
/* Tells the user, or the log. */
__attribute__((format(printf, 1, 2))) void run_say(const char *fmt, ...);
/* The end: removes what we made on this node and leaves the loop with `code`. */
void run_end(int code);
/* Detached or a keeper: the start is over, the process that started us may go. */
void run_report(void);

/* app.c */
int app_prepare(void); /* namespaces and control group. 0 or -errno after a line */
int app_start(void);
void app_signal(int sig);
void app_find_pids(void);
void app_ended(int status);
void app_lost(struct space *s);
void app_child_ended(struct space *s, pid_t pid, int status);

/* claim.c */
int claim_begin(void); /* 0, or an exit code after a line */
void claim_went(void); /* `go` came */

/* notify.c */
int notify_open(bool relay);
void notify_pass(const char *text, size_t len);
void notify_close(void);

const char *run_state_name(enum run_state s);
json_t *run_hello(const char *name);

#endif
