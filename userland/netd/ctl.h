/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control socket /run/netssi/netd.sock: JSON lines (lib/jsonline.h).
 *
 *   -> {"cmd":"ports","args":{"node":"n2"}}
 *   <- {"event":{…}}                      any number: progress, live events
 *   <- {"part":[…]}                       any number: the first objects of a long result
 *   <- {"result":[…]}                     the end: an array of objects, or
 *   <- {"error":"…","code":N,"remedy":"…"}  code: netctl's exit status
 *
 * One command a connection; a client that closes or half-closes its end has
 * gone away. Peer credentials: root may all, members of group netssi what is
 * registered without CTL_ROOT. A command is registered by the part of netd that
 * carries it out. Clients, their input, queued events and the time for a request
 * are bounded. One thread: the loop.
 *
 * Commands, their arguments (? may be missing) and what netctl shows of the
 * objects that they return; objects may have more fields:
 *   status                  -> healthy condition problems[severity problem remedy] node state leader …
 *   nodes                   -> node id role leader state incarnation lease_ms transport latency_us epoch addr since
 *   sets                    -> set id objects bytes version
 *   init       name? addr? bearer? nodes_min?           -> changed node cluster transport
 *   token      ttl_s?       -> token expires
 *   join       addr port? token|key name? my_addr? bearer? witness?    -> as init
 *   leave      node? force?                             -> changed node
 *   recover    force?                                   -> changed node given_up[] rejoining[]
 *   settings                -> key value default text
 *   set        key value                                -> changed, and as settings
 *   vips                    -> addr prefix dev mode datapath mac state since nodes[node dev xdp state]
 *   vip-add    addr prefix dev? mode? mac?              -> changed, and as vips
 *   vip-del    addr                                     -> changed addr
 *   ports      port? node? app?  -> proto vip addr port node app pid comm state share epoch since
 *   port-add   vip? port proto node                     -> changed, and as ports
 *   port-del   vip? port proto                          -> changed vip port proto
 *   explain    client client_port? vip port proto  -> node verdict reason text owner? app? …, nodes[] checks[what ok text
 *              remedy]
 *   trace      client client_port? vip port proto seconds?
 *        events: time node where verdict reason text for dev bytes client_port flags seq icmp; -> node packets lost error
 *   stats      node? ports? -> node vip dir reason verdict packets text, or node vip proto port app packets_in …
 *   apps                    -> app node origin state pid user cmd ports flags epoch since
 *   app-start  name …       from ssi-run; apps.c
 *   moves                   -> app from to step since reason
 *   migrate    app | port vip? proto | pid pid_node? ; node dry_run?
 *        events: what step bytes? of?; -> app node frozen_ms stall_ms total_ms sockets connections_by bytes rounds
 *        held_packets
 *   checkpoint app dir leave_running? keep_s? -> app node dir version running frozen_ms bytes connections kept_until
 *   restart    dir node?               -> app node dir version pid bytes
 *   drain      node? until_boot?
 *        events: what app to left; -> node changed moved[as migrate] stayed[app reason remedy]
 *   resume     node?                                    -> node changed
 *   freeze     app                                      -> app node state changed
 *   thaw       app                                      -> app node state changed
 *   signal     app sig
 *   logs       app lines?   -> lines[]
 *   watch      since? kinds?    events: seq time kind …
 *   key-rotate overlap_s?   -> changed key generation old_until without[]
 *   version                 -> program version protocol kernel
 * "changed": false says that all was as wanted already ("unchanged").
 */
#ifndef SSI_CTL_H
#define SSI_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ctl;
struct ctl_request;
struct netd;

#define CTL_ROOT   0x01 /* changes something: root only */
#define CTL_MEMBER 0x02 /* needs membership: refused with code 4 otherwise */
#define CTL_QUORUM 0x04 /* needs a quorum: refused with code 3 otherwise */

enum ctl_code { CTL_FAILED = 1, CTL_USAGE = 2, CTL_NO_QUORUM = 3, CTL_NO_NETD = 4 };

/* `args` is borrowed, an object. The handler ends the request now or later
 * with exactly one of ctl_ok/ctl_fail/ctl_fail_status/ctl_detach. */
typedef void ctl_fn(void *arg, struct ctl_request *r, json_t *args);

/* Fills n->ctl; before other parts start. -EADDRINUSE: another netd runs. Errors
 * are logged with their remedy. */
int ctl_start(struct netd *n);
/* The same elsewhere: for tests. */
int ctl_start_at(struct netd *n, const char *path);
/* Closes all connections, last of all parts: `closed` is not called any more. The
 * memory goes when the loop has closed the handles; a request that a handler
 * still holds stays valid until it is ended. */
void ctl_stop(struct netd *n);
/* Tells when the handlers may run; until then clients wait. */
void ctl_ready(struct ctl *c);
/* How CTL_MEMBER and CTL_QUORUM are answered; without it nobody is a member. */
struct ctl_gate {
	bool (*member)(void *arg);
	bool (*quorum)(void *arg);
};
void ctl_set_gate(struct ctl *c, const struct ctl_gate *gate, void *arg);
/* `cmd` is borrowed for ever. A name has one handler: the last one wins. */
void ctl_register(struct ctl *c, const char *cmd, unsigned int flags, ctl_fn *fn, void *arg);

void ctl_event(struct ctl_request *r, json_t *event); /* steals */
void ctl_ok(struct ctl_request *r, json_t *result);   /* steals; NULL = [] */
__attribute__((format(printf, 4, 5))) void ctl_fail(struct ctl_request *r, int code, const char *remedy,
						    const char *fmt, ...);
/* The usual failure of a KDDM submit: picks text, remedy and code. */
void ctl_fail_status(struct ctl_request *r, int status, const char *what);
/* Ends the ctl_request `r` with what the node where it belongs answered to peer_call(): {error remedy?} or the result. */
void ctl_answered(void *r, int status, json_t *answer);
/* `closed` runs once when the client goes away before the end of the request,
 * which must still be ended: a request stays valid until its handler ends it,
 * client or not. After ctl_ok/ctl_fail it is never called. */
void ctl_on_close(struct ctl_request *r, void (*closed)(void *arg), void *arg);
/* Credentials of the client. */
uid_t ctl_uid(const struct ctl_request *r);
pid_t ctl_pid(const struct ctl_request *r);
/* The oldest fd the client sent with its request, or -1. Ownership passes. */
int ctl_take_fd(struct ctl_request *r);
/* Send an fd with the next line of this request; duplicated by the kernel, the
 * caller keeps (and may close) its own. */
void ctl_send_fd(struct ctl_request *r, int fd);

/* The connection itself, as a raw stream from now on: the caller owns the fd, the
 * request is gone. -EAGAIN while earlier lines wait to be sent: -1 then, and the
 * request goes on. */
int ctl_detach(struct ctl_request *r);

/* Arguments: the value, or the default when there is none. A value of the wrong
 * type or outside of min..max makes *bad true (untouched otherwise). */
const char *ctl_arg_string(json_t *args, const char *name, const char *missing, bool *bad);
int64_t ctl_arg_int(json_t *args, const char *name, int64_t missing, int64_t min, int64_t max, bool *bad);
bool ctl_arg_bool(json_t *args, const char *name, bool *bad);

/* RFC 3339 UTC of Unix milliseconds, as a JSON string; null for 0. */
json_t *ctl_time(uint64_t unix_ms);
/* The same, set as o[key]. */
void ctl_time_set(json_t *o, const char *key, uint64_t unix_ms);

/* A live event for `netctl watch`, e.g. ctl_publish(c, "port", obj). Steals. Before
 * ctl_ready() it goes nowhere. */
void ctl_publish(struct ctl *c, const char *kind, json_t *object);

#endif
