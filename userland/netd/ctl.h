/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control socket /run/netssi/netd.sock: JSON lines (lib/jsonline.h).
 *
 *   -> {"cmd":"ports","args":{"node":"n2"}}
 *   <- {"event":{…}}                      any number: progress, live events
 *   <- {"result":[…]}                     the end: an array of objects, or
 *   <- {"error":"…","code":N,"remedy":"…"}  code: netctl's exit status
 *
 * One command a connection. Peer credentials: root may all, members of group
 * netssi what is registered without CTL_ROOT. A command is registered by the
 * part of netd that carries it out. A closed connection frees the request.
 */
#ifndef SSI_CTL_H
#define SSI_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct ctl;
struct ctl_request;
struct netd;

#define CTL_ROOT 0x01	/* changes something: root only */
#define CTL_MEMBER 0x02 /* needs membership: refused with code 4 otherwise */
#define CTL_QUORUM 0x04 /* needs a quorum: refused with code 3 otherwise */

enum ctl_code { CTL_FAILED = 1, CTL_USAGE = 2, CTL_NO_QUORUM = 3, CTL_NO_NETD = 4 };

/* `args` is borrowed, an object. The handler ends the request now or later
 * with exactly one of ctl_ok/ctl_fail/ctl_detach. */
typedef void ctl_fn(void *arg, struct ctl_request *r, json_t *args);

int ctl_start(struct netd *n); /* fills n->ctl; before other parts start */
void ctl_stop(struct netd *n);
/* Tells when the handlers may run; until then clients wait. */
void ctl_ready(struct ctl *c);
void ctl_register(struct ctl *c, const char *cmd, unsigned int flags, ctl_fn *fn, void *arg);

void ctl_event(struct ctl_request *r, json_t *event); /* steals */
void ctl_ok(struct ctl_request *r, json_t *result);   /* steals; NULL = [] */
__attribute__((format(printf, 4, 5))) void ctl_fail(struct ctl_request *r, int code,
						    const char *remedy, const char *fmt, ...);
/* The usual failure of a KDDM submit: picks text, remedy and code. */
void ctl_fail_status(struct ctl_request *r, int status, const char *what);
/* `closed` runs when the client goes away before the end of the request. After
 * ctl_ok/ctl_fail it is never called. */
void ctl_on_close(struct ctl_request *r, void (*closed)(void *arg), void *arg);
/* Credentials of the client. */
uid_t ctl_uid(const struct ctl_request *r);
pid_t ctl_pid(const struct ctl_request *r);
/* The oldest fd the client sent with its request, or -1. Ownership passes. */
int ctl_take_fd(struct ctl_request *r);
/* Send an fd with the next line of this request; duplicated by the kernel, the
 * caller keeps (and may close) its own. */
void ctl_send_fd(struct ctl_request *r, int fd);

/* A live event for `netctl watch`, e.g. ctl_publish(c, "port", obj). Steals. */
void ctl_publish(struct ctl *c, const char *kind, json_t *object);

#endif
