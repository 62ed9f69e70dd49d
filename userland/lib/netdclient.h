/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One command to netd over its control socket (netd/ctl.h has the protocol).
 * Blocking, for tools; a loop uses the halves at the end.
 */
#ifndef SSI_NETDCLIENT_H
#define SSI_NETDCLIENT_H

#include <jansson.h>

#include "userland/lib/jsonline.h"

#define NETDCLIENT_SOCKET "/run/netssi/netd.sock"

/* The socket's path: $NETSSI_SOCKET or the usual one. */
const char *netdclient_path(void);
/* Connects; 0 or -errno (-ENOENT, -ECONNREFUSED: netd does not run; -EACCES). */
int netdclient_open(struct jsonline *j);

/* `event` is borrowed. */
typedef void netdclient_event_fn(void *arg, json_t *event);
/*
 * Sends `cmd` with `args` (borrowed, may be NULL) and waits for the end. *out is a
 * new reference: {"result":[…]} with all parts, or {"error","code","remedy"}.
 * -errno when there is no answer: as netdclient_open(), or -EPIPE when netd went
 * away meanwhile.
 */
int netdclient_call(const char *cmd, json_t *args, netdclient_event_fn *event, void *arg, json_t **out);
/* The same over an open connection. */
int netdclient_talk(struct jsonline *j, const char *cmd, json_t *args, netdclient_event_fn *event, void *arg,
		    json_t **out);

/* The socket alone; flags: SOCK_NONBLOCK, then -EAGAIN when netd does not accept. The fd or -errno as above. */
int netdclient_connect(int flags);
/* A new reference: what is to be sent. args borrowed, may be NULL. NULL: they are no JSON. */
json_t *netdclient_request(const char *cmd, json_t *args);
/* Takes one line of the answer in: parts of the result are added to the array `parts`. 1: it was the last, with an
 * error or not; 0: more come; -EPROTO. */
int netdclient_take(json_t *answer, json_t *parts, netdclient_event_fn *event, void *arg);

#endif
