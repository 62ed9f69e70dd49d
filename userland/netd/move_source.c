// SPDX-License-Identifier: GPL-2.0
/*
 * The source of a move: the object, and how it ends, by whatever the record says. The frozen copy runs on only
 * after an abort was committed, and ends only after the flip was. What comes before is in move_begin.c, while it
 * runs, and move_pause.c, while it stands still. See moves.h for the order.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath.h"
#include "member.h"
#include "move_images.h"
#include "move_source.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define ABORT_RETRY_MS 200

/* ---- life of the object ------------------------------------------------------------ */

struct move_source *move_source_find(struct netd *n, const char *app)
{
	for (struct move_source *s = n->moves->sources; s; s = s->next)
		if (strcmp(s->app, app) == 0 && !s->ended)
			return s;
	return NULL;
}

/*
 * A record of this node that nobody stands behind: written after all, when its outcome had been
 * unknown for so long that the move was given up.
 */
static void source_orphan(struct netd *n, const char *app)
{
	struct move_value m;

	if (n->moves && n->moves->settled && !move_source_find(n, app) && move_read(n, app, &m, NULL) &&
	    m.src == member_self(n->member) && m.step < MOVE_FLIPPED)
		move_source_reconcile(n, app, &m);
}

void move_source_unref(struct move_source *s)
{
	struct move_source **p = &s->netd->moves->sources;
	struct netd *n = s->netd;
	char app[APP_NAME_MAX];

	if (--s->pending || !s->ended)
		return;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	strcpy(app, s->app);
	close_fd(&s->stream);
	json_decref(s->checked);
	json_decref(s->refusals);
	json_decref(s->dumped);
	json_decref(s->resumed);
	free(s);
	source_orphan(n, app);
}

static void source_answer(struct move_source *s, json_t *answer)
{
	if (s->call)
		peer_call_answer(s->call, answer);
	else
		json_decref(answer);
	s->call = NULL;
}

void move_source_end(struct move_source *s, json_t *answer)
{
	source_answer(s, answer);
	s->ended = true;
}

struct keeper *move_source_keeper(struct move_source *s)
{
	return keepers_find(apps_keepers(s->netd->apps), s->app);
}

void move_source_ask(struct move_source *s, json_t *request, int fd, unsigned int ms, keeper_done_fn *done)
{
	struct keeper *k = move_source_keeper(s);

	s->pending++;
	if (k) {
		keeper_call(k, request, fd, ms, done, s);
		return;
	}
	json_decref(request);
	done(s, -ENOTCONN, NULL, NULL);
}

void move_source_submit(struct move_source *s, struct kddm_batch *b, int err, kddm_done_fn *done)
{
	const int op = err;
	struct kddm_result failed = {.status = err, .n_ops = 1, .op = &op};

	s->pending++;
	if (err < 0) {
		if (b)
			kddm_batch_free(b);
		done(s, &failed);
		return;
	}
	kddm_submit(b, done, s);
}

int move_result_status(const struct kddm_result *r)
{
	if (r->status)
		return r->status;
	for (size_t i = 0; i < r->n_ops; i++)
		if (r->op[i] && r->op[i] != -ECANCELED)
			return r->op[i];
	return 0;
}

/* ---- abort --------------------------------------------------------------------------- */

static void source_abort(struct move_source *s);

static void timer_free(uv_handle_t *h)
{
	free(h);
}

static void source_abort_again(uv_timer_t *t)
{
	struct move_source *s = t->data;

	uv_close((uv_handle_t *)t, timer_free);
	s->aborting = false;
	source_abort(s);
	move_source_unref(s);
}

/* Committed: the record's change does the rest. Refused: something changed
 * first, or there is no quorum; as long as the record is undecided we ask on. */
static void source_abort_committed(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	struct move_value m;
	uv_timer_t *t;

	if (move_result_status(result) < 0 && move_read(s->netd, s->app, &m, NULL) && m.id == s->id &&
	    m.step < MOVE_FLIPPED && (t = malloc(sizeof(*t)))) {
		uv_timer_init(s->netd->loop, t);
		t->data = s;
		uv_timer_start(t, source_abort_again, ABORT_RETRY_MS, 0);
		return;
	}
	if (!s->ended && (!move_read(s->netd, s->app, &m, NULL) || m.id != s->id))
		move_source_end(s, move_error(NULL, "%s", s->why)); /* went with a node that died */
	move_source_unref(s);
}

static void source_abort(struct move_source *s)
{
	struct netd *n = s->netd;
	struct kddm_batch *b;
	int err = -ENOMEM;

	if (s->aborting)
		return;
	s->aborting = true;
	close_fd(&s->stream);
	s->stream = -1;
	log_warn("move of %s: %s", s->app, s->why);
	b = kddm_batch_new(n->kddm, true);
	if (b)
		err = move_step(b, n, s->app, MOVE_ABORTED, s->why);
	if (!err)
		err = move_ports_give(b, n, s->app, member_self(n->member));
	if (!err && apps_find(n, s->app, NULL, NULL))
		err = move_app_state(b, n, s->app, member_self(n->member), APP_RUNNING, 0);
	move_source_submit(s, b, err, source_abort_committed);
}

void move_source_fail(struct move_source *s, const char *fmt, ...)
{
	struct move_value m;
	va_list ap;

	if (s->ended)
		return;
	if (!*s->why) {
		va_start(ap, fmt);
		vsnprintf(s->why, sizeof(s->why), fmt, ap);
		va_end(ap);
	}
	if (!s->recorded)
		move_source_end(s, move_error(NULL, "%s", s->why));
	else if (move_read(s->netd, s->app, &m, NULL) && m.id == s->id && m.step < MOVE_FLIPPED)
		source_abort(s);
	/* else: decided already, and that is on its way */
}

/* ---- after the outcome ------------------------------------------------------------------ */

static json_t *source_summary(struct move_source *s)
{
	json_t *o = json_pack("{s:s s:s s:f s:f s:i}", "app", s->app, "node",
			      member_name(s->netd->member, s->dst), "frozen_ms",
			      (double)(s->t_resumed - s->t_freeze) / 1e6, "total_ms",
			      (double)(s->t_resumed - s->t_start) / 1e6, "rounds", (int)s->sent.rounds + 1);
	json_int_t last = json_integer_value(json_object_get(s->dumped, "bytes"));

	move_conns_show(&s->conns, o);
	if (s->notices)
		json_object_set_new(o, "notice_ms", json_integer(s->notice_ms));
	json_object_set_new(o, "rounds_end", json_string(s->sent.end ?: ""));
	json_object_set_new(o, "frozen_bytes", json_integer(last));
	json_object_set_new(o, "bytes", json_integer(last + (json_int_t)s->sent.bytes));
	json_object_update_missing(o, s->dumped);
	json_object_update_missing(o, s->resumed);
	return o;
}

static void source_discarded(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	(void)ok;
	if (status == -ETIMEDOUT || error)
		log_err("move of %s: the old copy could not be removed: %s", s->app, move_why(status, error));
	datapath_sweep(s->netd->datapath, s->app);
	datapath_hold_release(s->netd->datapath, s->app);
	move_record_remove(s->netd, s->app);
	move_stdio_connect(s->netd, s->app);
	if (s->resumed)
		move_source_end(s, source_summary(s));
	else
		move_source_end(s, move_error("`netctl apps` tells how it is",
					      "the application belongs to %s now, which has not said "
					      "that it runs",
					      member_name(s->netd->member, s->dst)));
	move_source_unref(s);
}

static void source_discard(struct move_source *s)
{
	move_source_ask(s, json_pack("{ss}", "op", "discard"), -1, MOVE_KEEPER_MS, source_discarded);
}

static void source_thawed(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	(void)ok;
	if (status < 0 || error)
		log_err("move of %s: it does not run on: %s", s->app, move_why(status, error));
	if (status == -ENOTCONN)
		apps_release(s->netd, s->app);
	datapath_hold_release(s->netd->datapath, s->app);
	move_record_remove(s->netd, s->app);
	move_source_end(s, move_error(NULL,
				      status == -ENOTCONN ? "not moved, and it ended where it was: %s"
							  : "not moved, it runs on where it was: %s",
				      s->why));
	move_source_unref(s);
}

static void source_aborted(struct move_source *s, const struct move_value *m)
{
	if (!*s->why)
		snprintf(s->why, sizeof(s->why), "%s", m->reason);
	if (s->frozen) {
		move_images_queued(s->netd->datapath, s->app, true);
		move_source_ask(s, json_pack("{ss}", "op", "thaw"), -1, MOVE_KEEPER_MS, source_thawed);
	} else {
		s->pending++;
		source_thawed(s, move_source_keeper(s) ? 0 : -ENOTCONN, NULL, NULL);
	}
}

void move_source_settle(struct move_source *s)
{
	struct move_value m;

	if (!move_read(s->netd, s->app, &m, NULL) || m.id != s->id || m.step != MOVE_FLIPPED)
		return;
	if (s->t_resumed)
		source_discard(s);
}

void move_source_record(struct netd *n, const char *app, const struct move_value *m)
{
	struct move_source *s = move_source_find(n, app);

	if (!s)
		source_orphan(n, app);
	if (!s || s->id != m->id)
		return;
	if (m->step == MOVE_ABORTED)
		source_aborted(s, m);
	else if (m->step == MOVE_FLIPPED)
		move_source_settle(s);
}

/* ---- what a restart finds ------------------------------------------------------------------- */

void move_source_reconcile(struct netd *n, const char *app, const struct move_value *m)
{
	struct move_source *s = move_source_find(n, app);

	if (s)
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->stream = -1;
	s->netd = n;
	s->id = m->id;
	s->dst = m->dst;
	s->recorded = s->frozen = true;
	s->t_start = s->t_freeze = s->t_resumed = uv_hrtime();
	snprintf(s->app, sizeof(s->app), "%s", app);
	s->next = n->moves->sources;
	n->moves->sources = s;
	if (m->step >= MOVE_FLIPPED)
		move_source_record(n, app, m);
	else
		move_source_fail(
			s, "nobody was behind it any more: netd was restarted, or the cluster without a "
			   "quorum for long");
}

void move_source_keeper_gone(struct netd *n, const char *app)
{
	struct move_source *s = move_source_find(n, app);

	if (s && s->recorded && !s->dumped)
		move_source_fail(s, "its supervisor went away");
}
