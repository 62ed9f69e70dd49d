// SPDX-License-Identifier: GPL-2.0
/*
 * `drain` marks the node, then moves its applications one after the other, each to the node that has the
 * fewest. The client is told of each; when it goes away, the move that is under way is the last. See drain.h.
 */
#include "drain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps.h"
#include "ctl.h"
#include "keepers.h"
#include "member.h"
#include "move.h"
#include "userland/lib/log.h"

#define BUSY_RETRY_MS 100 /* while it is being moved by somebody else */

/* ---- the mark --------------------------------------------------------------------------- */

#define ALWAYS "1"
#define NEVER  "0"

static const char *mark_key(char key[32], uint32_t node)
{
	snprintf(key, 32, "drain/%u", node);
	return key;
}

/* Of a drain that ends when the node boots. */
static void mark_of_life(char text[24], const struct node_info *info)
{
	snprintf(text, 24, "%016llx", (unsigned long long)info->incarnation);
}

static const struct node_info *info_of(struct netd *n, uint32_t node)
{
	return nodes_get(kddm_set_by_id(n->kddm, NODES_TYPE_ID), node);
}

static bool mark_is(struct netd *n, uint32_t node, const char *wanted)
{
	char key[32], value[32];

	return member_conf(n->member, mark_key(key, node), value, sizeof(value)) && !strcmp(value, wanted);
}

bool drain_is(struct netd *n, uint32_t node)
{
	const struct node_info *info = info_of(n, node);
	char life[24];

	if (!info)
		return false;
	mark_of_life(life, info);
	return mark_is(n, node, ALWAYS) || mark_is(n, node, life);
}

/* ---- one drain ---------------------------------------------------------------------------- */

struct drain {
	struct netd *netd;
	struct ctl_request *request;
	uint32_t node, target;
	char app[APP_NAME_MAX]; /* that is being moved */
	bool changed;		/* the mark is new */
	bool closed;		/* the client went away */
	json_t *moved;		/* what `migrate` returned */
	json_t *stayed;		/* {APP: {"reason","remedy"}} */
	json_t *tried;		/* {NODE: true}: refused `app` */
	uv_timer_t retry;
};

static void drain_next(struct drain *d);

static void drain_freed(uv_handle_t *h)
{
	free(h->data);
}

static json_t *stayed_json(struct drain *d)
{
	json_t *list = json_array(), *why;
	const char *app;

	json_object_foreach(d->stayed, app, why) json_array_append_new(
		list, json_pack("{s:s s:O s:O}", "app", app, "reason", json_object_get(why, "reason"),
				"remedy", json_object_get(why, "remedy")));
	return list;
}

/* Supervisors whose applications are elsewhere now: nobody here is to end them by ending these. */
static void drain_hand_over(struct drain *d)
{
	json_t *request = json_object();

	peer_call(d->netd->peers, d->node, "drain-handover", request, MOVE_PEER_MS, NULL, NULL);
	json_decref(request);
}

static void drain_end(struct drain *d)
{
	drain_hand_over(d);
	ctl_ok(d->request, json_pack("[{s:s s:b s:O s:o}]", "node", member_name(d->netd->member, d->node),
				     "changed", d->changed || json_array_size(d->moved), "moved", d->moved,
				     "stayed", stayed_json(d)));
	json_decref(d->moved);
	json_decref(d->stayed);
	json_decref(d->tried);
	uv_close((uv_handle_t *)&d->retry, drain_freed);
}

static unsigned int apps_on(struct netd *n, uint32_t node)
{
	const struct kddm_object *obj;
	unsigned int count = 0;
	struct app_value v;

	kddm_for_each(n->sets.apps, obj)
	{
		object_read(obj, &v, sizeof(v));
		count += v.node == node;
	}
	return count;
}

/* The next application that is still there, in d->app. */
static bool drain_find(struct drain *d)
{
	const struct kddm_object *obj;
	struct app_value v;

	kddm_for_each(d->netd->sets.apps, obj)
	{
		object_read(obj, &v, sizeof(v));
		snprintf(d->app, sizeof(d->app), "%.*s", (int)obj->key_len, (const char *)obj->key);
		if (v.node == d->node && !json_object_get(d->stayed, d->app))
			return true;
	}
	return false;
}

/* Where it has not been refused yet, the emptiest; 0: nowhere. */
static uint32_t drain_choose(struct drain *d)
{
	struct netd *n = d->netd;
	const struct kddm_object *obj;
	unsigned int fewest = 0;
	uint32_t best = 0;

	kddm_for_each(kddm_set_by_id(n->kddm, NODES_TYPE_ID), obj)
	{
		const struct node_info *info = obj->value;
		unsigned int count;

		if (info->number == d->node || !nodes_in_datapath(info) || (info->flags & NODE_AWAY) ||
		    drain_is(n, info->number) || json_object_get(d->tried, info->name))
			continue;
		count = apps_on(n, info->number);
		if (!best || count < fewest) {
			best = info->number;
			fewest = count;
		}
	}
	return best;
}

static void drain_tell(struct drain *d, const char *what)
{
	if (!d->closed)
		ctl_event(d->request, json_pack("{s:s s:s s:s s:i}", "what", what, "app", d->app, "to",
						member_name(d->netd->member, d->target), "left",
						(int)apps_on(d->netd, d->node)));
}

static void drain_stays(struct drain *d, const char *reason, const char *remedy)
{
	json_object_set_new(d->stayed, d->app,
			    json_pack("{s:s s:s}", "reason", reason, "remedy",
				      remedy && *remedy ? remedy : "see `netctl migrate --dry-run`"));
	drain_tell(d, "stays");
}

/* The word of the last target stands when there is no other. */
static void drain_refused(struct drain *d, const char *reason, const char *remedy)
{
	json_object_set_new(d->tried, member_name(d->netd->member, d->target), json_true());
	if (!drain_choose(d))
		drain_stays(d, reason, remedy);
}

static void drain_moved(void *arg, int status, json_t *answer)
{
	struct drain *d = arg;
	const char *error = json_string_value(json_object_get(answer, "error"));
	struct app_value v;

	if (status == 0 && !error) {
		json_array_append(d->moved, answer);
		drain_tell(d, "moved");
	} else if (apps_find(d->netd, d->app, &v, NULL) && v.node == d->node &&
		   !kddm_find(d->netd->sets.moves, d->app, strlen(d->app))) {
		drain_refused(d, error ? error : move_why(status, NULL),
			      json_string_value(json_object_get(answer, "remedy")));
	}
	drain_next(d);
}

static void drain_retry(uv_timer_t *t)
{
	drain_next(t->data);
}

static void drain_move(struct drain *d)
{
	json_t *request = json_pack("{ss si}", "app", d->app, "node", (int)d->target);

	drain_tell(d, "moving");
	peer_call(d->netd->peers, d->node, "move-run", request, MOVE_BULK_MS, drain_moved, d);
	json_decref(request);
}

static void drain_next(struct drain *d)
{
	char before[APP_NAME_MAX];
	struct app_value v;

	strcpy(before, d->app);
	if (d->closed || !drain_is(d->netd, d->node) || !drain_find(d)) {
		drain_end(d);
		return;
	}
	if (strcmp(before, d->app))
		json_object_clear(d->tried);
	if (kddm_find(d->netd->sets.moves, d->app, strlen(d->app)) ||
	    (apps_find(d->netd, d->app, &v, NULL) && v.state == APP_STARTING)) {
		uv_timer_start(&d->retry, drain_retry, BUSY_RETRY_MS, 0);
		return;
	}
	d->target = drain_choose(d);
	if (d->target) {
		drain_move(d);
		return;
	}
	drain_stays(d, "no other node can take it", "start another node, or add one");
	uv_timer_start(&d->retry, drain_retry, 0, 0);
}

static void drain_closed(void *arg)
{
	struct drain *d = arg;

	d->closed = true;
}

static void drain_marked(void *arg, const struct member_error *error)
{
	struct drain *d = arg;

	if (!error) {
		drain_next(d);
		return;
	}
	ctl_fail(d->request, error->code, error->remedy, "%s", error->text);
	json_decref(d->moved);
	json_decref(d->stayed);
	json_decref(d->tried);
	uv_close((uv_handle_t *)&d->retry, drain_freed);
}

/* ---- commands --------------------------------------------------------------------------------- */

/* The node that is meant, this one without a name; 0 after the request was failed. */
static uint32_t node_arg(struct netd *n, struct ctl_request *r, json_t *args, const char *usage)
{
	bool bad = false;
	const char *name = ctl_arg_string(args, "node", NULL, &bad);
	uint32_t node = name ? member_find(n->member, name) : member_self(n->member);

	if (bad)
		ctl_fail(r, CTL_USAGE, usage, "which node?");
	else if (!node)
		ctl_fail(r, CTL_FAILED, "`netctl nodes` lists them", "%s: no such node", name);
	else if (member_witness(n->member, node))
		ctl_fail(r, CTL_FAILED, "just stop it", "%s is a witness: nothing runs on it",
			 member_name(n->member, node));
	else
		return node;
	return 0;
}

static void ctl_drain(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false, until_boot = ctl_arg_bool(args, "until_boot", &bad);
	uint32_t node = node_arg(n, r, args, "usage: netctl drain [NODE]");
	struct drain *d = node ? calloc(1, sizeof(*d)) : NULL;
	char key[32], life[24];

	if (!d) {
		if (node)
			ctl_fail(r, CTL_FAILED, NULL, "out of memory");
		return;
	}
	*d = (struct drain){.netd = n,
			    .request = r,
			    .node = node,
			    .changed = !drain_is(n, node),
			    .moved = json_array(),
			    .stayed = json_object(),
			    .tried = json_object()};
	uv_timer_init(n->loop, &d->retry);
	d->retry.data = d;
	ctl_on_close(r, drain_closed, d);
	mark_of_life(life, info_of(n, node));
	if (mark_is(n, node, ALWAYS) || (until_boot && !d->changed))
		drain_marked(d, NULL);
	else
		member_conf_set(n->member, mark_key(key, node), until_boot ? life : ALWAYS, drain_marked, d);
}

struct resume {
	struct netd *netd;
	struct ctl_request *request;
	uint32_t node;
};

static void resume_json(struct netd *n, struct ctl_request *r, uint32_t node, bool changed)
{
	ctl_ok(r, json_pack("[{s:s s:b}]", "node", member_name(n->member, node), "changed", changed));
}

static void resume_done(void *arg, const struct member_error *error)
{
	struct resume *rs = arg;

	if (error)
		ctl_fail(rs->request, error->code, error->remedy, "%s", error->text);
	else
		resume_json(rs->netd, rs->request, rs->node, true);
	free(rs);
}

static void ctl_resume(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	uint32_t node = node_arg(n, r, args, "usage: netctl resume [NODE]");
	struct resume *rs;
	char key[32];

	if (!node)
		return;
	if (!drain_is(n, node)) {
		resume_json(n, r, node, false);
		return;
	}
	rs = calloc(1, sizeof(*rs));
	if (!rs) {
		ctl_fail(r, CTL_FAILED, NULL, "out of memory");
		return;
	}
	*rs = (struct resume){n, r, node};
	member_conf_set(n->member, mark_key(key, node), NEVER, resume_done, rs);
}

static void hand_over(struct netd *n, const char *name)
{
	struct keeper *k = keepers_find(apps_keepers(n->apps), name);
	struct app_value v;

	if (k && strcmp(keeper_state(k), "moved") == 0 && apps_find(n, name, &v, NULL))
		keeper_call(k, json_pack("{ss ss}", "op", "handover", "node", member_name(n->member, v.node)),
			    -1, MOVE_KEEPER_MS, keeper_ignore, NULL);
}

static void peer_handover(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;

	(void)from;
	(void)request;
	keepers_each(apps_keepers(n->apps), n, hand_over);
	peer_call_answer(call, json_object());
}

int drain_start(struct netd *n)
{
	ctl_register(n->ctl, "drain", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, ctl_drain, n);
	ctl_register(n->ctl, "resume", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, ctl_resume, n);
	return peer_handle(n->peers, "drain-handover", peer_handover, n);
}
