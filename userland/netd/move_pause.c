// SPDX-License-Identifier: GPL-2.0
/* The pause of a move, on the source: hold, dump, send. */
#include <errno.h>
#include <string.h>

#include "claims.h"
#include "datapath.h"
#include "member.h"
#include "move_images.h"
#include "move_source.h"
#include "userland/lib/cleanup.h"

static void source_target_done(void *arg, int status, json_t *answer)
{
	struct move_source *s = arg;
	json_t *error = json_object_get(answer, "error");
	struct move_value m;

	if (status == 0 && !error)
		s->resumed = json_incref(answer);
	s->t_resumed = uv_hrtime();
	if (move_read(s->netd, s->app, &m, NULL) && m.id == s->id && m.step == MOVE_FLIPPED)
		move_source_settle(s);
	else if (!s->ended && (status < 0 || error))
		move_source_fail(s, "%s: %s", member_name(s->netd->member, s->dst), move_why(status, answer));
	/* else: it runs there, and the record's change is on its way to us */
	move_source_unref(s);
}

static void source_sent(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	(void)ok;
	if (status < 0 || error)
		move_source_fail(s, "the image could not be sent: %s", move_why(status, error));
	move_source_unref(s);
}

/* Frozen and written: off with it. */
static void source_send(struct move_source *s)
{
	_close_ int stream = take_fd(s->stream);
	json_t *request = json_pack("{ss sI}", "app", s->app, "id", (json_int_t)s->id);

	s->pending++;
	peer_call(s->netd->peers, s->dst, "move-restore", request, MOVE_BULK_MS, source_target_done, s);
	json_decref(request);
	move_source_ask(s, move_image_request("send", s->app), stream, MOVE_BULK_MS, source_sent);
}

static void source_stayed(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	int status = move_result_status(result);

	if (s->ended || s->aborting || status < 0)
		move_source_fail(s, "what it closed lately could not be told: %s", move_why(status, NULL));
	else
		source_send(s);
	move_source_unref(s);
}

/* What it closed between hold and freeze stays here, too: every node knows before the port is the target's. */
static void source_stay(struct move_source *s)
{
	struct kddm_batch *b = kddm_batch_new(s->netd->kddm, false);
	int n = datapath_flows_stay(s->netd->datapath, b, s->app);

	if (n) {
		move_source_submit(s, b, n < 0 ? n : 0, source_stayed);
		return;
	}
	kddm_batch_free(b);
	source_send(s);
}

static void source_dumped(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_source *s = arg;

	if (s->ended || s->aborting || status < 0 || error) {
		move_source_fail(s, "it could not be frozen: %s", move_why(status, error));
		move_source_unref(s);
		return;
	}
	if (claims_calls_unheld(s->netd->claims, s->app)) {
		move_source_fail(s, "it opened a connection while it was being frozen; try again");
		move_source_unref(s);
		return;
	}
	s->dumped = json_copy(ok);
	json_object_del(s->dumped, "state");
	source_stay(s);
	move_source_unref(s);
}

static void source_held(void *arg, int status)
{
	struct move_source *s = arg;
	struct keeper *k = move_source_keeper(s);
	_close_ int stream = -1;
	json_t *request;

	if (s->ended || s->aborting || status < 0) {
		move_source_fail(s, "its ports could not be held: %s", move_why(status, NULL));
		move_source_unref(s);
		return;
	}
	datapath_hold_now(s->netd->datapath, s->app);
	s->frozen = true;
	s->t_freeze = uv_hrtime();
	if (s->queues) /* no confirmation reaches this node any more */
		move_images_half_open(s->netd->datapath, s->app);
	request = move_image_request("dump", s->app);
	json_object_set_new(request, "conns", json_boolean(s->conns.apart));
	json_object_set_new(request, "queues", json_boolean(s->queues));
	json_object_set_new(request, "rounds", json_integer(s->sent.rounds));
	json_object_set_new(request, "criu", json_string(s->netd->conf.criu));
	if (k && json_is_true(json_object_get(keeper_hello(k), "early")))
		stream = take_fd(s->stream);
	move_source_ask(s, request, stream, MOVE_BULK_MS, source_dumped);
	move_source_unref(s);
}

static void source_hold_committed(void *arg, const struct kddm_result *result)
{
	struct move_source *s = arg;
	uint32_t nodes[2] = {member_self(s->netd->member), s->dst};
	int status = move_result_status(result);

	if (s->ended || s->aborting || status < 0) {
		move_source_fail(s, "its ports could not be held: %s", move_why(status, NULL));
		move_source_unref(s);
		return;
	}
	s->pending++;
	kddm_wait_applied(s->netd->kddm, result->index, nodes, 2, MOVE_APPLIED_MS, source_held, s);
	move_source_unref(s);
}

void move_source_hold(struct move_source *s)
{
	struct netd *n = s->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	int err = b ? 0 : -ENOMEM;

	/* Whoever ends the hold by an abort: nothing is released to a frozen program. And what comes between the two
	 * nodes' holds is accepted here and queued there; the other way round it would be queued here alone. */
	datapath_hold_late(n->datapath, s->app);
	/* The record in the same entry: a batch is never empty, and an abort by
	 * the target's death makes it fail as a whole. */
	if (!err)
		err = move_step(b, n, s->app, MOVE_PREPARED, NULL);
	if (!err)
		err = move_ports_hold(b, n, s->app, s->dst);
	if (!err)
		err = claims_calls_hold(n->claims, b, s->app, s->dst, s->why, sizeof(s->why));
	if (!err)
		err = datapath_flows_stay(n->datapath, b, s->app);
	move_source_submit(s, b, err, source_hold_committed);
}
