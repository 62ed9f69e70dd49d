/* SPDX-License-Identifier: GPL-2.0 */
/* What the two sides of a move share. Private to move*.c. */
#ifndef SSI_MOVE_H
#define SSI_MOVE_H

#include <stdbool.h>

#include "apps.h"
#include "ctl.h"
#include "keepers.h"
#include "netd.h"
#include "peer.h"

#define MOVE_IMAGE_DIR NETD_RUN_DIR "/images"

#define MOVE_KEEPER_MS	10000  /* small requests to a keeper */
#define MOVE_PEER_MS	15000  /* small requests to the other node */
#define MOVE_APPLIED_MS 5000   /* an entry reaches both sides */
#define MOVE_BULK_MS	600000 /* dump, transfer, restore */

struct move_source;
struct move_target;

struct moves {
	struct netd *netd;
	struct move_source *sources;
	struct move_target *targets;
	struct move_watch *watches; /* clients that wait for a move */
	bool settled;		    /* the sets are to be trusted */
};

bool move_read(struct netd *n, const char *app, struct move_value *out, const struct kddm_object **obj);
/* An object {"error","code","remedy"} as calls answer it. */
__attribute__((format(printf, 2, 3))) json_t *move_error(const char *remedy, const char *fmt, ...);
/* One line out of a failed keeper_call or peer_call; valid until the next. */
const char *move_why(int status, json_t *error);

/* {"op":op,"dir":…}: what a keeper does with the application's image directory. */
json_t *move_image_request(const char *op, const char *app);
/* What its processes are told before ("moving" to `node`, "saving" there), and how long to ask for the answer. */
json_t *move_notice_request(struct netd *n, const char *what, uint32_t node, unsigned int *timeout_ms);

/* Add "set the step of this record" to a batch; the version read here guards it. */
int move_step(struct kddm_batch *b, struct netd *n, const char *app, enum move_step step, const char *reason);
/* Add all ports of an application that are held (or, `hold`, owned) by a move. */
int move_ports_hold(struct kddm_batch *b, struct netd *n, const char *app, uint32_t dst);
int move_ports_give(struct kddm_batch *b, struct netd *n, const char *app, uint32_t node);
int move_app_state(struct kddm_batch *b, struct netd *n, const char *app, uint32_t node, enum app_state state,
		   uint32_t pid);
void move_record_remove(struct netd *n, const char *app);

/* move_begin.c */
void move_source_begin(struct netd *n, const char *app, uint32_t dst, bool dry_run, struct peer_call *call);

/* move_source.c */
void move_source_record(struct netd *n, const char *app, const struct move_value *m);
void move_source_reconcile(struct netd *n, const char *app, const struct move_value *m);
void move_source_keeper_gone(struct netd *n, const char *app);

/* move_target.c */
int move_target_start(struct netd *n);
void move_target_record(struct netd *n, const char *app, const struct move_value *m);
void move_target_reconcile(struct netd *n, const char *app, const struct move_value *m);
/* False: no move waits for that keeper. */
bool move_target_keeper_ready(struct netd *n, const char *app);
void move_target_keeper_gone(struct netd *n, const char *app);

/* move_stdio.c: stdio and signals between a supervisor and its moved application */
int move_stdio_start(struct netd *n);
/* Connect the supervisor `k` of this node, state "moved", to where the application is. */
void move_stdio_connect(struct netd *n, const char *app);
/* The stream between keeper and supervisor broke, seen from either end. */
void move_stdio_lost(struct netd *n, const char *app);
/* It runs here now; its supervisor may have died with its node. */
void move_stdio_inherited(struct netd *n, const char *app);
void move_stdio_signal(struct netd *n, const char *app, int sig);

#endif
