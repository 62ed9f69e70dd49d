// SPDX-License-Identifier: GPL-2.0
/*
 * One round after the other: a stream, then our keeper writes and sends while the target's receives; both answer.
 * See move_rounds.h. What becomes of the move when one fails decides who asked.
 */
#include "move_rounds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member.h"
#include "move.h"
#include "move_enough.h"
#include "userland/lib/cleanup.h"

struct move_rounds {
	struct netd *netd;
	char app[APP_NAME_MAX];
	uint64_t id, memory;
	uint32_t dst;
	uint64_t sent[ROUNDS_MAX];
	unsigned int n, pending;
	bool data;		    /* it has directories, of which nobody knows how large they are */
	char here[200], there[200]; /* what failed */
	move_rounds_done_fn *done;
	void *arg;
};

static void rounds_next(struct move_rounds *r);

static void rounds_end(struct move_rounds *r, enum enough end)
{
	struct move_sent sent = {.rounds = r->n, .end = move_enough_name(end)};
	char error[sizeof(r->here) + sizeof(r->there) + 64] = "";

	for (unsigned int i = 0; i < r->n; i++)
		sent.bytes += r->sent[i];
	if (*r->here || *r->there)
		snprintf(error, sizeof(error), "%s%s%s%s%s", r->here, *r->here && *r->there ? "; " : "",
			 *r->there ? member_name(r->netd->member, r->dst) : "", *r->there ? ": " : "",
			 r->there);
	r->done(r->arg, &sent, *error ? error : NULL);
	free(r);
}

/* ---- told to all, by the record ------------------------------------------------------------ */

/* Committed or not: what the record says decides, and who asked knows it. */
static void rounds_told(void *arg, const struct kddm_result *result)
{
	(void)result;
	rounds_next(arg);
}

static void rounds_tell(struct move_rounds *r)
{
	struct netd *n = r->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	const struct kddm_object *obj;
	uint64_t mib = (r->sent[r->n - 1] + (1 << 20) - 1) >> 20;
	struct move_value m;

	if (b && move_read(n, r->app, &m, &obj) && m.id == r->id && m.step == MOVE_PREPARED) {
		m.round = (uint8_t)r->n;
		m.round_mib = mib < UINT16_MAX ? (uint16_t)mib : UINT16_MAX;
		if (kddm_put(b, n->sets.moves, r->app, strlen(r->app), &m, sizeof(m), obj->version) == 0) {
			kddm_submit(b, rounds_told, r);
			return;
		}
	}
	if (b)
		kddm_batch_free(b);
	rounds_next(r);
}

/* ---- one round ------------------------------------------------------------------------------- */

static void rounds_answered(struct move_rounds *r)
{
	if (--r->pending)
		return;
	if (*r->here || *r->there) {
		rounds_end(r, ENOUGH_NOT);
		return;
	}
	r->n++;
	rounds_tell(r);
}

static void rounds_sent(void *arg, int status, json_t *ok, json_t *error)
{
	struct move_rounds *r = arg;

	r->sent[r->n] = (uint64_t)json_integer_value(json_object_get(ok, "bytes"));
	if (status < 0 || error)
		snprintf(r->here, sizeof(r->here), "%s", move_why(status, error));
	rounds_answered(r);
}

static void rounds_received(void *arg, int status, json_t *answer)
{
	struct move_rounds *r = arg;

	if (status < 0 || json_object_get(answer, "error"))
		snprintf(r->there, sizeof(r->there), "%s", move_why(status, answer));
	rounds_answered(r);
}

static void rounds_stream(void *arg, int status, int fd)
{
	struct move_rounds *r = arg;
	struct keeper *k = keepers_find(apps_keepers(r->netd->apps), r->app);
	json_t *request;
	_close_ int stream = fd;

	if (status < 0 || !k) {
		snprintf(r->here, sizeof(r->here), "no stream to the target: %s",
			 move_why(status < 0 ? status : -ENOTCONN, NULL));
		rounds_end(r, ENOUGH_NOT);
		return;
	}
	r->pending = 2;
	request = json_pack("{ss sI si}", "app", r->app, "id", (json_int_t)r->id, "round", (int)r->n + 1);
	peer_call(r->netd->peers, r->dst, "move-round", request, MOVE_BULK_MS, rounds_received, r);
	json_decref(request);
	request = move_image_request("round", r->app);
	json_object_set_new(request, "criu", json_string(r->netd->conf.criu));
	json_object_set_new(request, "rounds", json_integer(r->n));
	json_object_set_new(request, "memory", json_boolean(r->memory));
	keeper_call(k, request, stream, MOVE_BULK_MS, rounds_sent, r);
}

static void rounds_next(struct move_rounds *r)
{
	enum enough e = move_enough(r->data ? UINT64_MAX : r->memory, r->sent, r->n);
	struct move_value m;
	json_t *hello;

	if (!move_read(r->netd, r->app, &m, NULL) || m.id != r->id || m.step != MOVE_PREPARED) {
		snprintf(r->here, sizeof(r->here), "the move was given up");
		e = ENOUGH_LIMIT;
	}
	if (e != ENOUGH_NOT) {
		rounds_end(r, e);
		return;
	}
	hello = json_pack("{ss sI si}", "app", r->app, "id", (json_int_t)r->id, "round", (int)r->n + 1);
	peer_stream_open(r->netd->peers, r->dst, "move-image", hello, rounds_stream, r);
	json_decref(hello);
}

void move_rounds_run(struct netd *n, const char *app, uint64_t id, uint32_t dst, uint64_t memory, bool data,
		     move_rounds_done_fn *done, void *arg)
{
	struct move_rounds *r = calloc(1, sizeof(*r));
	struct move_sent none = {.end = ""};

	if (!r) {
		done(arg, &none, "out of memory");
		return;
	}
	r->netd = n;
	r->id = id;
	r->dst = dst;
	r->memory = memory;
	r->data = data;
	r->done = done;
	r->arg = arg;
	snprintf(r->app, sizeof(r->app), "%s", app);
	rounds_next(r);
}
