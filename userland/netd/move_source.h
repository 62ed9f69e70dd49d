/* SPDX-License-Identifier: GPL-2.0 */
/* One move as its source sees it. Private to move_source.c, move_begin.c and move_pause.c; loop thread. */
#ifndef SSI_MOVE_SOURCE_H
#define SSI_MOVE_SOURCE_H

#include "move.h"
#include "move_conns.h"
#include "move_rounds.h"

struct move_source {
	struct move_source *next;
	struct netd *netd;
	char app[APP_NAME_MAX];
	uint64_t id;
	uint32_t dst;
	bool dry_run;
	bool recorded; /* the record is ours: leave by abort or flip only */
	bool frozen;   /* a dump was begun, or made ready */
	bool aborting;
	unsigned int pending; /* calls whose callbacks hold a pointer to us */
	bool ended;
	char why[256];
	uint64_t t_start, t_freeze, t_resumed; /* uv_hrtime */
	bool notices;			       /* its processes want to know before */
	json_int_t notice_ms;		       /* and took so long to get ready */
	bool tracks;			       /* what changed in its memory can be told */
	uint64_t memory;		       /* of the application, in bytes */
	struct move_sent sent;		       /* before the freeze */
	int stream;			       /* to the target's keeper, opened before the freeze; -1 none */
	struct move_conns conns;
	bool queues;		/* what waits for accept() goes along */
	json_t *checked;	/* the keeper's answer to that */
	json_t *refusals;	/* what stands against it, on either side */
	json_t *dumped;		/* the keeper's figures */
	json_t *resumed;	/* the target's */
	struct peer_call *call; /* whoever asked; NULL: answered */
};

/* One that ended is only waiting for answers that do not matter any more. */
struct move_source *move_source_find(struct netd *n, const char *app);
/* A callback is done with its pointer. */
void move_source_unref(struct move_source *s);
/* The answer to whoever asked, stolen; what is still under way ends by itself. */
void move_source_end(struct move_source *s, json_t *answer);
/* Undoes what was done, by the record where there is one; the line is told. The first one counts. */
__attribute__((format(printf, 2, 3))) void move_source_fail(struct move_source *s, const char *fmt, ...);
/* The flip frees the target to run at once; its figures may come after. */
void move_source_settle(struct move_source *s);

/* Calls with a reference, which the callback gives back. */
struct keeper *move_source_keeper(struct move_source *s);
void move_source_ask(struct move_source *s, json_t *request, int fd, unsigned int ms, keeper_done_fn *done);
void move_source_submit(struct move_source *s, struct kddm_batch *b, int err, kddm_done_fn *done);
int move_result_status(const struct kddm_result *r);

/* move_pause.c: begins it. */
void move_source_hold(struct move_source *s);

#endif
