/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One command to netd over its control socket (netd/ctl.h has the protocol).
 * Blocking, for tools.
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

#endif
