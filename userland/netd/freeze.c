// SPDX-License-Identifier: GPL-2.0
/* freeze and thaw, carried to the application's node; there the supervisor first, then the set. See freeze.h. */
#include "freeze.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member.h"
#include "move.h"

struct freeze {
	struct netd *netd;
	struct peer_call *call; /* NULL: nobody asked */
	char app[APP_NAME_MAX];
};

static bool is_paused(struct keeper *k)
{
	return strcmp(keeper_state(k), "paused") == 0;
}

static void freeze_end(struct freeze *f, json_t *answer)
{
	if (f->call)
		peer_call_answer(f->call, answer);
	else
		json_decref(answer);
	free(f);
}

static json_t *freeze_answer(struct netd *n, const char *app, bool frozen, bool changed)
{
	return json_pack("{s:s s:s s:s s:b}", "app", app, "node", member_self_name(n->member), "state",
			 frozen ? "frozen" : "running", "changed", changed);
}

/* ---- the set --------------------------------------------------------------------------------- */

static void freeze_written(void *arg, const struct kddm_result *result);

/* Until it says what is so: the cluster may be without a quorum just then. */
static void freeze_write(struct freeze *f)
{
	struct netd *n = f->netd;
	struct keeper *k = n->apps ? keepers_find(apps_keepers(n->apps), f->app) : NULL;
	const struct kddm_object *obj;
	struct kddm_batch *b;
	struct app_value v;

	if (!k || !apps_find(n, f->app, &v, &obj) || v.node != member_self(n->member)) {
		freeze_end(f, move_error("`netctl apps` tells where it is", "it does not run here any more"));
		return;
	}
	if (!(v.flags & APP_FROZEN) == !is_paused(k)) {
		freeze_end(f, freeze_answer(n, f->app, is_paused(k), true));
		return;
	}
	v.flags ^= APP_FROZEN;
	b = kddm_batch_new(n->kddm, true);
	if (b && kddm_put(b, n->sets.apps, f->app, strlen(f->app), &v, sizeof(v), obj->version) == 0) {
		kddm_submit(b, freeze_written, f);
		return;
	}
	if (b)
		kddm_batch_free(b);
	freeze_end(f, move_error(NULL, "out of memory"));
}

static void freeze_written(void *arg, const struct kddm_result *result)
{
	struct freeze *f = arg;
	int status = result->status ? result->status : result->op[0];

	if (status == 0 || status == -ESTALE || status == -EAGAIN || status == -ETIMEDOUT)
		freeze_write(f);
	else
		freeze_end(f, move_error(NULL, "the cluster was not told: %s", move_why(status, NULL)));
}

void freeze_settle(struct netd *n, const char *name)
{
	struct keeper *k = keepers_find(apps_keepers(n->apps), name);
	struct app_value v;
	struct freeze *f;

	if (!k || !apps_find(n, name, &v, NULL) || v.node != member_self(n->member) ||
	    !(v.flags & APP_FROZEN) == !is_paused(k) || !(f = calloc(1, sizeof(*f))))
		return;
	f->netd = n;
	snprintf(f->app, sizeof(f->app), "%s", name);
	freeze_write(f);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void freeze_done(void *arg, int status, json_t *ok, json_t *error)
{
	struct freeze *f = arg;

	(void)ok;
	if (status < 0)
		freeze_end(f, move_error(NULL, "its supervisor does not answer: %s", move_why(status, NULL)));
	else if (error)
		freeze_end(f, json_incref(error));
	else
		freeze_write(f);
}

static json_t *freeze_refuse(struct netd *n, const char *app, struct app_value *v)
{
	if (!apps_find(n, app, v, NULL) || v->node != member_self(n->member) ||
	    !keepers_find(apps_keepers(n->apps), app))
		return move_error("`netctl apps` tells where it is", "it does not run here any more");
	if (kddm_find(n->sets.moves, app, strlen(app)))
		return move_error("`netctl moves` tells how far it is", "it is being moved");
	if (v->state != APP_RUNNING)
		return move_error("try again when it runs", "it is still starting");
	return NULL;
}

static void peer_freeze(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;
	const char *app = "";
	struct freeze *f;
	struct app_value v;
	struct keeper *k;
	json_t *refused;
	int frozen = 0;

	(void)from;
	if (json_unpack(request, "{ss sb}", "app", &app, "frozen", &frozen) < 0 ||
	    strlen(app) >= APP_NAME_MAX) {
		peer_call_answer(call, move_error(NULL, "malformed request"));
		return;
	}
	refused = freeze_refuse(n, app, &v);
	k = refused ? NULL : keepers_find(apps_keepers(n->apps), app);
	if (k && is_paused(k) == frozen && !(v.flags & APP_FROZEN) == !frozen)
		refused = freeze_answer(n, app, frozen, false);
	f = refused ? NULL : calloc(1, sizeof(*f));
	if (!f) {
		peer_call_answer(call, refused ? refused : move_error(NULL, "out of memory"));
		return;
	}
	f->netd = n;
	f->call = call;
	snprintf(f->app, sizeof(f->app), "%s", app);
	keeper_call(k, json_pack("{ss}", "op", frozen ? "pause" : "unpause"), -1, MOVE_KEEPER_MS, freeze_done,
		    f);
}

static void freeze_or_thaw(struct netd *n, struct ctl_request *r, json_t *args, bool frozen)
{
	bool bad = false;
	const char *app = ctl_arg_string(args, "app", "", &bad);
	struct app_value v;
	json_t *request;

	if (bad || !*app) {
		ctl_fail(r, CTL_USAGE, "usage: netctl freeze|thaw APP", "which application?");
		return;
	}
	if (strlen(app) >= APP_NAME_MAX || !apps_find(n, app, &v, NULL)) {
		ctl_fail(r, CTL_FAILED, "`netctl apps` lists them", "%s: no such application", app);
		return;
	}
	request = json_pack("{ss sb}", "app", app, "frozen", frozen);
	peer_call(n->peers, v.node, "app-freeze", request, MOVE_PEER_MS, ctl_answered, r);
	json_decref(request);
}

static void ctl_freeze(void *arg, struct ctl_request *r, json_t *args)
{
	freeze_or_thaw(arg, r, args, true);
}

static void ctl_thaw(void *arg, struct ctl_request *r, json_t *args)
{
	freeze_or_thaw(arg, r, args, false);
}

int freeze_start(struct netd *n)
{
	ctl_register(n->ctl, "freeze", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, ctl_freeze, n);
	ctl_register(n->ctl, "thaw", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, ctl_thaw, n);
	return peer_handle(n->peers, "app-freeze", peer_freeze, n);
}
