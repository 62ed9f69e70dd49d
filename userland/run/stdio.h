/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An application's fds 0-2: pipes of ours, whose other halves this file
 * connects with the user. Both the user and the application may be elsewhere:
 *
 *   user side:  real fds | a log | a stream to the supervisor on the node of origin
 *   app side:   pipes    | a stream to the keeper on the node where it runs
 *
 * Each of the three channels has a bounded buffer; a full one stops its source.
 * Towards a stream a byte stays in the buffer until the other end has it, so a
 * stream may break and be replaced without losing or repeating one.
 *
 * Frames: be32 length of the payload | u8 kind | payload; kinds in keeper.h.
 */
#ifndef SSI_RUN_STDIO_H
#define SSI_RUN_STDIO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stdio_events {
	void (*lost)(void);				/* the stream broke */
	void (*exited)(int status);			/* (app elsewhere) it ended, all its output is here */
	void (*signalled)(int sig);			/* (user elsewhere) pass this on to the application */
	void (*notified)(const char *text, size_t len); /* (app elsewhere) for the service manager */
};

enum stdio_user { STDIO_REAL, STDIO_LOG, STDIO_AWAY };

void stdio_init(enum stdio_user user, const struct stdio_events *events);

/* Makes the pipes; child[] gets the application's ends, owned by the caller. */
int stdio_pipes(uid_t uid, gid_t gid, int child[3]);
void stdio_inodes(ino_t ino[3]);

/* From now on the user, or the application, is behind this stream (owned). */
void stdio_stream_user(int fd);
void stdio_stream_app(int fd);
/* The user is gone for good: to the log. */
void stdio_user_log(void);

/* Frozen: nothing goes into or comes out of the application's pipes. */
void stdio_freeze(bool frozen);
/* What is on its way: files stdin, stdout, stderr in dir, counters in the object. */
json_t *stdio_export(const char *dir);
/* On the next node, after stdio_pipes(): fills the pipe of stdin. */
int stdio_import(const char *dir, json_t *state);
/* The application left, with what its pipes held. */
void stdio_leave(void);

/* Signals and notifications travel along the stream. -ENOTCONN: there is none. */
int stdio_send_signal(int sig);
int stdio_send_notify(const char *text, size_t len);
/* The application ended: once all output is where the user is, `done` runs. */
void stdio_finish(int status, void (*done)(void));
bool stdio_has_stream(void);

/* Before each poll. */
void stdio_prepare(void);

#endif
