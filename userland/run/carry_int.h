/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of a move on one node share: one request at a time, `now` is
 * what is under way.
 *
 *   carry.c          requests and answers, transfers, the end of a move
 *   carry_round.c    source: rounds of memory while it runs
 *   carry_dump.c     source: ready, dump, thaw
 *   carry_restore.c  target: restore, resume
 *   carry_kept.c     checkpoints: place, seal, load
 *   carry_inside.c   the worker in the application's namespaces that drives CRIU
 *
 * The worker says in JSON lines {"ready"}, {"held"}, {"unpacked"}, {"running"},
 * {"done"}, {"error"} and waits, after the first three, for {"do":"go"} or "undo".
 */
#ifndef SSI_RUN_CARRY_INT_H
#define SSI_RUN_CARRY_INT_H

#include <limits.h>

#include "ckpt/ckpt.h"
#include "userland/run/carry.h"
#include "userland/run/run.h"
#include "userland/run/worker.h"

#define CARRY_APP_FILE	  "app.json" /* what CRIU does not know: beside its images */
#define CARRY_LOG_FILE	  "output"   /* the end of a detached application's log */
#define CARRY_LOG_CARRIED (64 << 10)

struct carry {
	struct worker holder; /* CRIU: ready, frozen, or restored and stopped */
	struct worker mover;  /* sends or receives */
	struct keeper_request rq;
	bool busy;	     /* rq waits for its answer */
	bool ready;	     /* CRIU waits for the word to begin */
	bool go;	     /* and has it before it asks */
	bool piped;	     /* (target) the pipes of stdio are made */
	bool swapped;	     /* its directories are in place here, not for good yet */
	bool kept;	     /* (target) the images are of a checkpoint */
	bool connect;	     /* and its connections are to be had again */
	bool apart;	     /* TCP connections go by ssi_core, not by CRIU */
	bool close;	     /* (source) for a checkpoint: without TCP connections */
	bool queues;	     /* (source) what waits for accept() can go, too */
	bool unpacks;	     /* (target) its directories are put together beside their places */
	unsigned int rounds; /* that are in dir */
	bool home;	     /* the application comes back to the node of its user */
	char dir[PATH_MAX];
	json_t *app;   /* CARRY_APP_FILE of the images that came */
	int perf_fd;   /* open around a dump */
	int stream;    /* came with `dump`, -1: not */
	bool ends;     /* `send` was asked for */
	json_t *early; /* what the sender said before that */
	int64_t frozen_at_ms;
};

extern struct carry now;

/* May this request begin? Takes it when so, answers when not. */
bool carry_begin(struct keeper_request rq, bool state_fits, const char *wanted);
void carry_answer_ok(json_t *fields); /* steals */
void carry_answer_error(const char *remedy, const char *text);

const char *carry_criu(json_t *args); /* NULL: not said */
void carry_drop_images(void);
void carry_perf_close(void);
void carry_pipes(uint64_t pipes[3]);
json_t *carry_refusals(void);
/* fn works beside us; its line {"bytes"} or {"error"} is the answer. `done`, unless NULL, is called before one that
 * is no error, and returns whether it answers itself, later. Steals order; closes fd. */
void carry_mover(int (*fn)(struct jsonline *to, json_t *order, int fd), json_t *order, int fd,
		 bool (*done)(void));
int carry_report(struct jsonline *to, int err, uint64_t bytes, const char *error);

/* The directory of the images that the request names: empty, or with as many rounds as it says. 0 or -errno. */
int carry_take_dir(json_t *args);
/* Sends a directory; what `done` is see carry_mover. Closes fd. */
void carry_send_dir(const char *dir, int fd, bool (*done)(void));
/* A sender for the images that are being written: told "go" when they are there, "end" by `send`. Closes fd. */
void carry_send_early(int fd);
void carry_perf_open(void);
/* This process, and what it starts, before all that is not as urgent: while the application stands still. */
void carry_ahead(bool on);

/* Source: no more rounds; what was made goes. `rq` is answered, when CRIU is through with one. */
void carry_rounds_end(struct keeper_request rq);
/* ... because the application ended. */
void carry_rounds_ended(void);
/* Source: CRIU that was made ready goes. */
void carry_unready(void);
/* Source: not (any more) frozen, nothing is under way. */
void carry_thawed(void);
/* Target: as if nothing had come. */
void carry_restore_undone(void);
/* Target: CRIU starts while the images still come. 0 or -errno. */
int carry_prestart(const char *criu);

/*
 * Functions for worker_inside(); the order is {"criu","dir","rounds"}, of images "close", "apart", of a dump "parent". They are forked from what
 * we were when the namespaces were made: nothing that changed since is known to them.
 */
space_fn carry_dump_inside, carry_round_inside, carry_take_inside, carry_restore_inside;

#endif
