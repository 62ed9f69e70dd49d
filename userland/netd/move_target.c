// SPDX-License-Identifier: GPL-2.0
/*
 * The target of a move: a keeper that waits, the image, the restored but not
 * running copy, the flip; then whatever the record says. See moves.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath.h"
#include "drain.h"
#include "member.h"
#include "move.h"
#include "move_check.h"
#include "move_conns.h"
#include "move_images.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

struct move_target {
	struct move_target *next;
	struct netd *netd;
	char app[APP_NAME_MAX];
	uint64_t id;
	uint32_t src;
	unsigned int rounds;	  /* that are here */
	bool receiving, complete; /* the image */
	bool restored, flipped, resuming;
	bool discarding, ended;
	unsigned int pending; /* calls whose callbacks hold a pointer to us */
	uint32_t pid;
	json_t *received; /* the keeper's figures */
	char why[256];
	struct peer_call *prepare; /* answered when the keeper waits */
	struct peer_call *round;   /* answered when it is here */
	struct peer_call *restore; /* answered when the copy runs, or failed */
};

static struct move_target *target_find(struct netd *n, const char *app)
{
	for (struct move_target *t = n->moves->targets; t; t = t->next)
		if (strcmp(t->app, app) == 0 && !t->ended)
			return t;
	return NULL;
}

/* A callback is done with its pointer. */
static void target_unref(struct move_target *t)
{
	struct move_target **p = &t->netd->moves->targets;

	if (--t->pending || !t->ended)
		return;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	json_decref(t->received);
	free(t);
}

static struct keeper *target_keeper(struct move_target *t)
{
	return keepers_find(apps_keepers(t->netd->apps), t->app);
}

static void target_ask(struct move_target *t, json_t *request, int fd, unsigned int ms, keeper_done_fn *done)
{
	struct keeper *k = target_keeper(t);

	t->pending++;
	if (k) {
		keeper_call(k, request, fd, ms, done, t);
		return;
	}
	json_decref(request);
	done(t, -ENOTCONN, NULL, NULL);
}

static void target_answer(struct move_target *t, json_t *answer)
{
	struct peer_call *call = t->prepare ?: t->round ?: t->restore;

	t->prepare = t->round = t->restore = NULL;
	if (call)
		peer_call_answer(call, answer);
	else
		json_decref(answer);
}

static void target_end(struct move_target *t, json_t *answer)
{
	target_answer(t, answer);
	t->ended = true;
	datapath_hold_release(t->netd->datapath, t->app);
}

static void target_discarded(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_target *t = arg;

	(void)status;
	(void)ok;
	(void)error;
	datapath_sweep(t->netd->datapath, t->app);
	target_end(t, move_error(NULL, "%s", t->why));
	target_unref(t);
}

/* The copy here is not to run: before the flip, or never whole. */
static void target_discard(struct move_target *t)
{
	if (t->ended || t->discarding)
		return;
	t->discarding = true;
	target_ask(t, json_pack("{ss}", "op", "discard"), -1, MOVE_KEEPER_MS, target_discarded);
}

/* Before the flip the source decides: it is told, and aborts. After a flip by
 * the source's death this was the last copy. */
__attribute__((format(printf, 2, 3))) static void target_fail(struct move_target *t, const char *fmt, ...)
{
	va_list ap;

	if (t->ended || t->discarding)
		return;
	va_start(ap, fmt);
	vsnprintf(t->why, sizeof(t->why), fmt, ap);
	va_end(ap);
	log_err("move of %s from %s: %s", t->app, member_name(t->netd->member, t->src), t->why);
	if (t->flipped) {
		move_record_remove(t->netd, t->app);
		apps_release(t->netd, t->app);
	}
	target_discard(t);
}

/* ---- running ------------------------------------------------------------------------------ */

static void target_publish_pid(struct move_target *t)
{
	struct netd *n = t->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);

	if (b && move_app_state(b, n, t->app, member_self(n->member), APP_RUNNING, t->pid) == 0)
		kddm_submit(b, NULL, NULL);
	else if (b)
		kddm_batch_free(b);
}

static void target_resumed(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_target *t = arg;
	struct hold_stats stats = {0};
	json_t *answer;

	if (json_object_get(ok, "pid"))
		t->pid = (uint32_t)json_integer_value(json_object_get(ok, "pid"));
	datapath_hold_release(t->netd->datapath, t->app);
	if (status < 0 || error) {
		target_fail(t, "the restored copy does not run: %s", move_why(status, error));
		target_unref(t);
		return;
	}
	datapath_hold_stats(t->netd->datapath, t->app, &stats);
	target_publish_pid(t);
	move_stdio_inherited(t->netd, t->app);
	if (!member_alive(t->netd->member, t->src))
		move_record_remove(t->netd, t->app);
	answer = json_pack("{sI sI si}", "held_packets", (json_int_t)stats.packets, "held_dropped",
			   (json_int_t)stats.dropped, "stall_ms", (int)stats.ms_max);
	json_object_update_missing(answer, t->received);
	target_end(t, answer);
	target_unref(t);
}

static void target_resume(struct move_target *t)
{
	if (!t->restored || !t->flipped || t->resuming)
		return;
	t->resuming = true;
	move_images_queued(t->netd->datapath, t->app, false);
	target_ask(t, json_pack("{ss ss}", "op", "resume", "node", member_self_name(t->netd->member)), -1,
		   MOVE_KEEPER_MS, target_resumed);
}

void move_target_record(struct netd *n, const char *app, const struct move_value *m)
{
	struct move_target *t = target_find(n, app);

	if (!t && m->step == MOVE_FLIPPED && !member_alive(n->member, m->src))
		move_record_remove(n, app); /* it runs; the source died before it said so */
	if (!t || t->id != m->id)
		return;
	if (m->step == MOVE_FLIPPED) {
		t->flipped = true;
		target_resume(t);
	} else if (m->step == MOVE_ABORTED && !t->flipped) {
		snprintf(t->why, sizeof(t->why), "the move was aborted: %s", m->reason);
		target_discard(t);
	}
}

/* ---- image, restore, flip --------------------------------------------------------------------- */

static void target_submit(struct move_target *t, struct kddm_batch *b, int err, kddm_done_fn *done)
{
	const int op = err;
	struct kddm_result failed = {.status = err, .n_ops = 1, .op = &op};

	t->pending++;
	if (err < 0) {
		if (b)
			kddm_batch_free(b);
		done(t, &failed);
		return;
	}
	kddm_submit(b, done, t);
}

/* Committed or not, the record's change is what counts; only "certainly not"
 * is told here. */
static void target_flip_done(void *arg, const struct kddm_result *result)
{
	struct move_target *t = arg;
	int status = result->status ? result->status : result->op[0];

	if (status < 0 && status != -ETIMEDOUT && !t->flipped && !t->ended)
		target_fail(t, "the change of owner was refused: %s", move_why(status, NULL));
	target_unref(t);
}

static void target_flip(struct move_target *t)
{
	struct netd *n = t->netd;
	uint32_t self = member_self(n->member);
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	int err = -ENOMEM;

	if (b)
		err = move_step(b, n, t->app, MOVE_FLIPPED, NULL);
	if (!err)
		err = move_ports_give(b, n, t->app, self);
	if (!err)
		err = move_app_state(b, n, t->app, self, APP_RUNNING, t->pid);
	target_submit(t, b, err, target_flip_done);
}

static void target_restored(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_target *t = arg;

	if (t->ended) {
		target_unref(t);
		return;
	}
	if (status < 0 || error) {
		target_fail(t, "it could not be restored: %s", move_why(status, error));
		target_unref(t);
		return;
	}
	t->pid = (uint32_t)json_integer_value(json_object_get(ok, "pid"));
	t->restored = true;
	if (t->flipped)
		target_resume(t);
	else
		target_flip(t);
	target_unref(t);
}

static void target_restore(struct move_target *t)
{
	json_t *request = move_image_request("restore", t->app);

	json_object_set_new(request, "criu", json_string(t->netd->conf.criu));
	target_ask(t, request, -1, MOVE_BULK_MS, target_restored);
}

static void target_complete(void *arg, const struct kddm_result *result)
{
	struct move_target *t = arg;
	int status = result->status ? result->status : result->op[0];

	if (!t->ended && status < 0 && !t->flipped)
		target_fail(t, "the image is here, but that could not be recorded: %s",
			    move_why(status, NULL));
	else if (!t->ended)
		target_restore(t);
	target_unref(t);
}

static void target_received(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_target *t = arg;
	struct kddm_batch *b;
	int err = -ENOMEM;

	if (t->ended) {
		target_unref(t);
		return;
	}
	if (status < 0 || error) {
		target_fail(t, "the image did not arrive whole: %s", move_why(status, error));
		target_unref(t);
		return;
	}
	t->complete = true;
	t->received = json_copy(ok);
	json_object_del(t->received, "state");
	b = kddm_batch_new(t->netd->kddm, true);
	if (b)
		err = move_step(b, t->netd, t->app, MOVE_IMAGE_COMPLETE, NULL);
	target_submit(t, b, err, target_complete);
	target_unref(t);
}

static void target_round_received(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_target *t = arg;

	(void)ok;
	t->receiving = false;
	if (t->ended) {
		target_unref(t);
		return;
	}
	if (status < 0 || error) {
		target_fail(t, "%s", move_why(status, error));
	} else {
		t->rounds++;
		if (t->round)
			target_answer(t, json_object());
	}
	target_unref(t);
}

static struct move_target *target_of(struct netd *n, uint32_t from, json_t *request)
{
	const char *app = json_string_value(json_object_get(request, "app"));
	struct move_target *t = app ? target_find(n, app) : NULL;

	return t && t->src == from && t->id == (uint64_t)json_integer_value(json_object_get(request, "id"))
		       ? t
		       : NULL;
}

static void peer_image(void *arg, uint32_t from, json_t *hello, int fd)
{
	_close_ int stream = fd;
	struct move_target *t = target_of(arg, from, hello);
	json_int_t round = json_integer_value(json_object_get(hello, "round"));
	json_t *recv;

	if (!t || t->receiving || t->complete || (round && round != t->rounds + 1))
		return;
	t->receiving = true;
	recv = move_image_request("recv", t->app);
	json_object_set_new(recv, "rounds", json_integer(t->rounds));
	json_object_set_new(recv, "more", json_boolean(round));
	json_object_set(recv, "conns", json_object_get(hello, "conns") ?: json_false());
	json_object_set_new(recv, "criu", json_string(t->netd->conf.criu));
	target_ask(t, recv, stream, MOVE_BULK_MS, round ? target_round_received : target_received);
}

static void peer_round(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct move_target *t = target_of(arg, from, request);

	if (!t || t->round || t->restore)
		peer_call_answer(call, move_error(NULL, "the move was given up there"));
	else if (json_integer_value(json_object_get(request, "round")) <= t->rounds)
		peer_call_answer(call, json_object());
	else
		t->round = call;
}

static void peer_restore(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct move_target *t = target_of(arg, from, request);

	if (t && !t->restore)
		t->restore = call;
	else
		peer_call_answer(call, move_error(NULL, "no such move here"));
}

/* ---- prepare ---------------------------------------------------------------------------------- */

bool move_target_keeper_ready(struct netd *n, const char *app)
{
	struct move_target *t = target_find(n, app);
	json_t *hello = t && t->prepare ? keeper_hello(target_keeper(t)) : NULL;

	if (t && t->prepare)
		target_answer(t, json_pack("{sO? sO? sb}", "rounds", json_object_get(hello, "rounds"),
					   "conns", json_object_get(hello, "conns"), "queues",
					   datapath_embryos(n->datapath)));
	return t;
}

static json_t *prepare_refuse(struct netd *n, const char *app)
{
	struct keeper *k = keepers_find(apps_keepers(n->apps), app);

	if (drain_is(n, member_self(n->member)))
		return move_error("name another node, or `netctl resume` it first", "it is drained");
	if (target_find(n, app))
		return move_error("try again in a moment", "an earlier move is being cleaned up");
	if (k && strcmp(keeper_state(k), "moved") != 0)
		return move_error("`netctl apps` tells where it is", "a supervisor of that name is here, %s",
				  keeper_state(k));
	if (datapath_error(n->datapath))
		return move_error("`netctl status` there tells more", "%s", datapath_error(n->datapath));
	if (!datapath_serves(n->datapath, app))
		return move_error("try again in a moment", "the cluster address is not exposed there yet");
	return NULL;
}

struct prepare_check {
	struct netd *netd;
	struct peer_call *call;
};

static void prepare_checked(void *arg, json_t *refusals)
{
	struct prepare_check *check = arg;

	peer_call_answer(check->call,
			 json_pack("{sO si}", "refusals", refusals, "conns", move_conns_reads(check->netd)));
	free(check);
}

static void prepare_check(struct netd *n, json_t *request, struct peer_call *call)
{
	struct prepare_check *check = malloc(sizeof(*check));

	if (!check) {
		peer_call_answer(call, move_error(NULL, "out of memory"));
		return;
	}
	*check = (struct prepare_check){n, call};
	move_check(n, json_object_get(request, "cpu"), json_object_get(request, "files"), prepare_checked,
		   check);
}

static void peer_prepare(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;
	const char *app = NULL;
	json_t *desc = NULL, *refused;
	json_int_t id = 0;
	struct move_target *t;
	int dry_run = 0, err;

	if (json_unpack(request, "{ss sI sb so}", "app", &app, "id", &id, "dry_run", &dry_run, "desc",
			&desc) < 0 ||
	    strlen(app) >= APP_NAME_MAX || !json_is_object(desc)) {
		peer_call_answer(call, move_error(NULL, "malformed request"));
		return;
	}
	refused = prepare_refuse(n, app);
	if (refused) {
		peer_call_answer(call, refused);
		return;
	}
	if (dry_run) {
		prepare_check(n, request, call);
		return;
	}
	t = calloc(1, sizeof(*t));
	if (!t) {
		peer_call_answer(call, move_error(NULL, "out of memory"));
		return;
	}
	t->netd = n;
	t->id = (uint64_t)id;
	t->src = from;
	t->prepare = call;
	snprintf(t->app, sizeof(t->app), "%s", app);
	t->next = n->moves->targets;
	n->moves->targets = t;
	/* Whoever makes the ports ours, the source's death too: nothing is released
	 * before the copy runs. */
	datapath_hold_defer(n->datapath, app);
	if (target_keeper(t)) { /* it comes home to the supervisor that started it */
		move_target_keeper_ready(n, app);
		return;
	}
	err = keepers_spawn(apps_keepers(n->apps), desc);
	if (err < 0)
		target_fail(t, "no supervisor could be started: %s", strerror(-err));
}

/* ---- what a restart finds --------------------------------------------------------------------- */

void move_target_reconcile(struct netd *n, const char *app, const struct move_value *m)
{
	struct move_target *t = target_find(n, app);
	struct keeper *k = keepers_find(apps_keepers(n->apps), app);

	if (t)
		return;
	if (!k && keepers_connect(apps_keepers(n->apps), app) == 0)
		return; /* its hello is on its way */
	if (!k) {	/* nothing of it is here; after a flip it was the last copy */
		datapath_hold_release(n->datapath, app);
		if (m->step == MOVE_FLIPPED) {
			apps_release(n, app);
			move_record_remove(n, app);
		}
		return;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return;
	t->netd = n;
	t->id = m->id;
	t->src = m->src;
	snprintf(t->app, sizeof(t->app), "%s", app);
	t->next = n->moves->targets;
	n->moves->targets = t;
	t->restored = strcmp(keeper_state(k), "restored") == 0;
	t->flipped = m->step == MOVE_FLIPPED;
	if (t->restored && t->flipped) {
		target_resume(t);
	} else if (strcmp(keeper_state(k), "running") == 0) {
		if (t->flipped && !member_alive(n->member, t->src))
			move_record_remove(n, app);
		target_end(t, NULL);
		t->pending++;
		target_unref(t);
	} else {
		target_fail(t, "netd was restarted in the middle of it");
	}
}

void move_target_keeper_gone(struct netd *n, const char *app)
{
	struct move_target *t = target_find(n, app);

	if (t)
		target_fail(t, "its supervisor there went away");
}

int move_target_start(struct netd *n)
{
	int err;

	err = peer_handle(n->peers, "move-prepare", peer_prepare, n);
	if (!err)
		err = peer_handle(n->peers, "move-round", peer_round, n);
	if (!err)
		err = peer_handle(n->peers, "move-restore", peer_restore, n);
	if (!err)
		err = peer_accept(n->peers, "move-image", peer_image, n);
	return err;
}
