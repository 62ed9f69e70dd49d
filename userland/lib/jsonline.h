/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON objects, one a line, over a stream socket: the language of the control
 * socket and of the applications' keepers. A line is at most JSONLINE_MAX
 * bytes; a longer one, or one that is no object, ends the connection with
 * -EPROTO. File descriptors travel with the line they belong to (SCM_RIGHTS).
 *
 * Blocking use (tools) works on a struct jsonline alone; the loop's use wraps
 * it (netd's ctl.c, apps.c).
 */
#ifndef SSI_JSONLINE_H
#define SSI_JSONLINE_H

#include <jansson.h>
#include <stddef.h>

#define JSONLINE_MAX	 (1 << 20)
#define JSONLINE_FDS	 4
#define JSONLINE_NOW_MAX (16 << 10) /* goes into a UNIX socket whole or not at all */

struct jsonline {
	int fd; /* owned */
	char *buf;
	size_t start, len;     /* buf[start..len): received, not yet taken */
	size_t seen, size;     /* no newline before buf[seen]; bytes allocated */
	int fds[JSONLINE_FDS]; /* received and not yet taken */
	int n_fds;
};

void jsonline_init(struct jsonline *j, int fd);
void jsonline_close(struct jsonline *j);

/* Blocking write of one object, with fds (n may be 0; at most JSONLINE_FDS).
 * 0 or -errno; -EMSGSIZE when the line is too long: nothing was sent. */
int jsonline_send(struct jsonline *j, const json_t *obj, const int *fds, int n);
/* The same for a loop, on a UNIX socket: all of it now or nothing. -EAGAIN: the
 * other side does not read; -EMSGSIZE: longer than JSONLINE_NOW_MAX. */
int jsonline_send_now(struct jsonline *j, const json_t *obj, const int *fds, int n);
/* Blocking read; *out is a new reference. 1, 0 at end of stream, or -errno. */
int jsonline_recv(struct jsonline *j, json_t **out);
/* Nonblocking halves: take what the socket has (>=0 bytes, 0 is EOF, -EAGAIN,
 * -ENOBUFS: take objects out first, -EPROTO: too many fds), then take complete
 * objects out (1 object, 0 none yet, -EPROTO). */
ssize_t jsonline_fill(struct jsonline *j);
int jsonline_next(struct jsonline *j, json_t **out);
/* The oldest fd received and not yet taken, or -1. Ownership passes. */
int jsonline_take_fd(struct jsonline *j);
/* Bytes received after the last line that was taken: for connections that turn
 * into raw streams. The data stays valid until the next call. */
size_t jsonline_rest(struct jsonline *j, const char **data);

/* The line of an object, newline included: malloc'ed, *len without NUL. NULL
 * with errno ENOMEM, or EMSGSIZE when it is too long. */
char *jsonline_text(const json_t *obj, size_t *len);
/* A JSON string of bytes that nobody vouches for (comm, command lines, names
 * from the wire): ends at NUL or after max bytes; what is no UTF-8 or a control
 * character becomes '?'. */
json_t *jsonline_string(const char *s, size_t max);

#endif
