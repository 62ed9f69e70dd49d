// SPDX-License-Identifier: GPL-2.0
/*
 * Applications of this node: starting them under a name that is unique in the
 * cluster, and ending their claim with them. See apps.h.
 */
#include "apps.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app_cgroup.h"
#include "app_log.h"
#include "checkpoint.h"
#include "ctl.h"
#include "drain.h"
#include "freeze.h"
#include "keepers.h"
#include "member.h"
#include "move.h"
#include "move_images.h"
#include "moves.h"
#include "netd.h"
#include "peer.h"
#include "source_ports.h"
#include "userland/lib/log.h"

#define KEEPER_TIMEOUT_MS 10000
#define PEER_TIMEOUT_MS	  15000
#define LOG_LINES	  1000
#define LOG_LINES_MAX	  100000

/* One `app-start` on its way: claim the name, then let the keeper go. */
struct start {
	struct start *next;
	struct netd *netd;
	struct ctl_request *request;
	char name[APP_NAME_MAX];
	char socket[APP_NAME_MAX + 1]; /* a standby's is NAME@ until it has the name */
	struct app_value value;
	bool standby, waiting, submitted, granted;
	bool closed; /* the client went away: nobody is to be started */
};

struct apps {
	struct netd *netd;
	struct keepers *keepers;
	struct start *starts;
};

struct keepers *apps_keepers(struct apps *a)
{
	return a->keepers;
}

bool apps_find(struct netd *n, const char *name, struct app_value *out, const struct kddm_object **obj)
{
	const struct kddm_object *o = kddm_find(n->sets.apps, name, strlen(name));

	if (!o)
		return false;
	if (out)
		object_read(o, out, sizeof(*out));
	if (obj)
		*obj = o;
	return true;
}

void apps_say(struct netd *n, const char *name, const char *text)
{
	struct keeper *k = n->apps ? keepers_find(n->apps->keepers, name) : NULL;

	if (k)
		keeper_call(k, json_pack("{ssss}", "op", "say", "text", text), -1, KEEPER_TIMEOUT_MS,
			    keeper_ignore, NULL);
}

static uint64_t unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- removing the claim --------------------------------------------------- */

/* The life of an application that ended; a later one of the same name has another epoch. */
struct release {
	struct netd *netd;
	uint64_t epoch;
	char name[APP_NAME_MAX];
};

static void release_done(void *arg, const struct kddm_result *result);

static void release_submit(struct release *r, uint64_t version)
{
	struct kddm_batch *b = kddm_batch_new(r->netd->kddm, true);

	if (b && kddm_remove(b, r->netd->sets.apps, r->name, strlen(r->name), version) == 0) {
		kddm_submit(b, release_done, r);
		return;
	}
	if (b)
		kddm_batch_free(b);
	free(r);
}

/*
 * A program that ends at once overtakes the entry that publishes its pid, and the cluster may be
 * without a quorum just then: the claim must not outlive the program in either case.
 */
static void release_done(void *arg, const struct kddm_result *result)
{
	struct release *r = arg;
	struct netd *n = r->netd;
	int status = result->status ? result->status : result->op[0];
	const struct kddm_object *obj;

	if (n->apps && (status == -ESTALE || status == -EAGAIN || status == -ETIMEDOUT) &&
	    apps_find(n, r->name, NULL, &obj) && obj->epoch == r->epoch &&
	    !kddm_find(n->sets.moves, r->name, strlen(r->name)))
		release_submit(r, obj->version);
	else
		free(r);
}

void apps_release(struct netd *n, const char *name)
{
	const struct kddm_object *obj;
	struct release *r;
	struct app_value v;

	if (!apps_find(n, name, &v, &obj) || v.node != member_self(n->member))
		return;
	r = calloc(1, sizeof(*r));
	if (!r)
		return;
	r->netd = n;
	r->epoch = obj->epoch;
	snprintf(r->name, sizeof(r->name), "%s", name);
	release_submit(r, obj->version);
}

/* ---- starting -------------------------------------------------------------- */

static void start_free(struct start *s)
{
	struct start **p = &s->netd->apps->starts;

	while (*p && *p != s)
		p = &(*p)->next;
	if (*p)
		*p = s->next;
	free(s);
}

static void start_fail(struct start *s, int code, const char *remedy, const char *text)
{
	ctl_fail(s->request, code, remedy, "%s: %s", s->name, text);
	start_free(s);
}

/* The pid is known once the keeper has started the program; told until it stands there. */
struct publish {
	struct netd *netd;
	uint64_t epoch;
	struct app_value value;
	char name[APP_NAME_MAX];
};

static void published(void *arg, const struct kddm_result *result);

static void publish_submit(struct publish *p, uint64_t version)
{
	struct kddm_batch *b = kddm_batch_new(p->netd->kddm, true);

	if (b && kddm_put(b, p->netd->sets.apps, p->name, strlen(p->name), &p->value, sizeof(p->value),
			  version) == 0) {
		kddm_submit(b, published, p);
		return;
	}
	if (b)
		kddm_batch_free(b);
	free(p);
}

static void published(void *arg, const struct kddm_result *result)
{
	struct publish *p = arg;
	struct netd *n = p->netd;
	int status = result->status ? result->status : result->op[0];
	const struct kddm_object *obj;
	struct app_value v;

	if (n->apps && (status == -ESTALE || status == -EAGAIN || status == -ETIMEDOUT) &&
	    apps_find(n, p->name, &v, &obj) && obj->epoch == p->epoch && v.state == APP_STARTING)
		publish_submit(p, obj->version);
	else
		free(p);
}

static void start_publish(struct start *s, uint32_t pid)
{
	const struct kddm_object *obj;
	struct publish *p;

	if (!apps_find(s->netd, s->name, NULL, &obj) || !(p = calloc(1, sizeof(*p))))
		return;
	*p = (struct publish){.netd = s->netd, .epoch = obj->epoch, .value = s->value};
	p->value.state = APP_RUNNING;
	p->value.pid = pid;
	strcpy(p->name, s->name);
	publish_submit(p, obj->version);
}

static void start_went(void *arg, int status, json_t *ok, json_t *error)
{
	struct start *s = arg;
	const char *why = json_string_value(json_object_get(error, "error"));

	if (status < 0 || error) {
		apps_release(s->netd, s->name);
		start_fail(s, CTL_FAILED, NULL, why ? why : "its supervisor went away");
		return;
	}
	start_publish(s, (uint32_t)json_integer_value(json_object_get(ok, "pid")));
	ctl_ok(s->request, json_pack("[{ssss}]", "app", s->name, "node",
				     member_name(s->netd->member, member_self(s->netd->member))));
	start_free(s);
}

/* Its programs call from the node's address; `where` has its control group, when that is made. */
static void tell_source(struct netd *n, struct keeper *k, json_t *where, bool node)
{
	uint64_t cgroup = (uint64_t)json_integer_value(json_object_get(where, "cgroup_id"));
	json_t *flags = json_object_get(keeper_hello(k), "flags"), *flag;
	size_t i;

	json_array_foreach(flags, i,
			   flag) if (cgroup && !strcmp(json_string_value(flag) ?: "", "source-node"))
		sources_group(n->datapath, cgroup, node);
}

/* A request to the keeper of an application whose name was granted. */
static void start_ask(struct start *s, json_t *request, keeper_done_fn *done)
{
	struct keeper *k = keepers_find(s->netd->apps->keepers, s->socket);

	if (k && !s->closed) {
		keeper_call(k, request, -1, KEEPER_TIMEOUT_MS, done, s);
		return;
	}
	json_decref(request);
	done(s, -ENOTCONN, NULL, NULL);
}

static void start_prepared(void *arg, int status, json_t *ok, json_t *error)
{
	struct start *s = arg;

	struct keeper *k = keepers_find(s->netd->apps->keepers, s->socket);

	if (k)
		tell_source(s->netd, k, ok, true);
	if (status < 0 || error)
		start_went(s, status, ok, error);
	else
		start_ask(s, json_pack("{ss ss}", "op", "go", "node", member_self_name(s->netd->member)),
			  start_went);
}

static void start_go(struct start *s)
{
	s->granted = true;
	start_ask(s, json_pack("{ss}", "op", "prepare"), start_prepared);
}

static void start_taken(struct start *s)
{
	struct app_value v;
	const char *node = "another node";
	char text[160];

	if (apps_find(s->netd, s->name, &v, NULL))
		node = member_name(s->netd->member, v.node);
	if (!s->standby) {
		snprintf(text, sizeof(text), "an application of this name runs on %s", node);
		start_fail(s, CTL_FAILED, "choose another with --name, or wait for it with --standby", text);
		return;
	}
	if (!s->waiting)
		ctl_event(s->request, json_pack("{s{ss}}", "waiting", "node", node));
	s->waiting = true;
}

/*
 * The name is taken, but by a request of this node that was given up: by the same standby, which asked
 * again, or by one that ended. No supervisor but ours has the name here.
 */
static bool start_has_it(struct start *s)
{
	struct app_value v;

	return apps_find(s->netd, s->name, &v, NULL) && v.node == member_self(s->netd->member) &&
	       v.state == APP_STARTING && (!s->standby || !keepers_find(s->netd->apps->keepers, s->name));
}

static void start_claimed(void *arg, const struct kddm_result *result)
{
	struct start *s = arg;
	int status = result->status ? result->status : result->op[0];

	s->submitted = false;
	if (status == 0 || (status == -EEXIST && start_has_it(s))) {
		start_go(s);
	} else if (s->closed) {
		start_fail(s, CTL_FAILED, NULL, "its supervisor went away");
	} else if (status == -EEXIST) {
		start_taken(s);
	} else if (s->standby) {
		s->waiting = true; /* no quorum at the moment: tried again on the next change */
	} else {
		ctl_fail_status(s->request, status, s->name);
		start_free(s);
	}
}

static void start_claim(struct start *s)
{
	struct netd *n = s->netd;
	struct kddm_batch *b;

	if (s->standby && drain_is(n, member_self(n->member))) {
		s->waiting = true; /* until `resume` */
		return;
	}
	b = kddm_batch_new(n->kddm, true);
	s->value.node = (uint16_t)member_self(n->member);
	s->value.origin = s->value.node;
	s->value.since_ms = unix_ms();
	if (!b || kddm_grab(b, n->sets.apps, s->name, strlen(s->name), &s->value, sizeof(s->value),
			    KDDM_ABSENT, s->value.node) < 0) {
		if (b)
			kddm_batch_free(b);
		start_fail(s, CTL_FAILED, NULL, "out of memory");
		return;
	}
	s->submitted = true;
	kddm_submit(b, start_claimed, s);
}

static void start_closed(void *arg)
{
	struct start *s = arg;

	s->closed = true;
	if (!s->submitted && !s->granted)
		start_fail(s, CTL_FAILED, NULL, "its supervisor went away");
}

static bool name_usable(const char *name)
{
	size_t len = strlen(name);

	return len && len < APP_NAME_MAX && *name != '.' && *name != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static bool start_pending(struct apps *a, const char *name)
{
	for (struct start *s = a->starts; s; s = s->next)
		if (strcmp(s->name, name) == 0)
			return true;
	return false;
}

static void ctl_app_start(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	const char *name = NULL, *cmd = "";
	char socket[APP_NAME_MAX + 1];
	int detached = 0, standby = 0, uid = 0, err;
	struct start *s;

	if (json_unpack(args, "{ss s?s s?b s?b s?i}", "name", &name, "cmd", &cmd, "detach", &detached,
			"standby", &standby, "uid", &uid) < 0 ||
	    !name_usable(name)) {
		ctl_fail(r, CTL_USAGE, "use 1 to 63 letters, digits, '.', '_' and '-'",
			 "not a name for an application");
		return;
	}
	if (member_witness(n->member, member_self(n->member))) {
		ctl_fail(r, CTL_FAILED, "start it on another node", "this node is a witness: it only votes");
		return;
	}
	if (!standby && drain_is(n, member_self(n->member))) {
		ctl_fail(r, CTL_FAILED, "start it on another node, or `netctl resume` here first",
			 "%s: this node is drained", name);
		return;
	}
	if (start_pending(n->apps, name)) {
		ctl_fail(r, CTL_FAILED, "wait for it, or choose another with --name",
			 "%s: already being started on this node", name);
		return;
	}
	snprintf(socket, sizeof(socket), "%s%s", name, standby ? "@" : "");
	err = keepers_connect(n->apps->keepers, socket);
	if (err < 0) {
		ctl_fail(r, CTL_FAILED, "start programs with ssi-run", "%s: no supervisor listens: %s", name,
			 strerror(-err));
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		ctl_fail(r, CTL_FAILED, NULL, "out of memory");
		return;
	}
	s->netd = n;
	s->request = r;
	s->standby = standby;
	snprintf(s->name, sizeof(s->name), "%s", name);
	strcpy(s->socket, socket);
	snprintf(s->value.cmd, sizeof(s->value.cmd), "%s", cmd);
	s->value.state = APP_STARTING;
	s->value.uid = (uint32_t)uid;
	s->value.flags = (detached ? APP_DETACHED : 0) | (standby ? APP_STANDBY : 0);
	s->next = n->apps->starts;
	n->apps->starts = s;
	ctl_on_close(r, start_closed, s);
	if (keepers_find(n->apps->keepers, socket))
		start_claim(s); /* else its hello claims */
}

/* ---- keepers come and go ---------------------------------------------------- */

static void keeper_said_hello(void *arg, struct keeper *k)
{
	struct netd *n = arg;

	tell_source(n, k, keeper_hello(k), true);
	for (struct start *s = n->apps->starts; s; s = s->next) {
		if (strcmp(s->socket, keeper_name(k)) == 0 && !s->submitted && !s->waiting) {
			start_claim(s);
			return;
		}
	}
	if (!restart_hello(n, k))
		moves_keeper_hello(n, k);
}

static void keeper_event(void *arg, struct keeper *k, const char *kind, json_t *event)
{
	struct netd *n = arg;

	if (strcmp(kind, "exited") == 0) {
		json_t *publish = json_copy(event);

		json_object_set_new(publish, "app", json_string(keeper_name(k)));
		ctl_publish(n->ctl, "app-exited", publish);
		apps_release(n, keeper_name(k));
		return;
	}
	if (strcmp(kind, "unpaused") == 0)
		freeze_settle(n, keeper_name(k));
	else
		moves_keeper_event(n, k, kind, event);
}

static void keeper_gone(void *arg, struct keeper *k)
{
	struct netd *n = arg;

	tell_source(n, k, keeper_hello(k), false);
	moves_keeper_gone(n, k);
	if (!kddm_find(n->sets.moves, keeper_name(k), strlen(keeper_name(k))))
		apps_release(n, keeper_name(k)); /* else its move decides */
	move_images_drop(n->loop, keeper_name(k));
	app_cgroup_drop(n, keeper_name(k));
}

static const struct keeper_events keeper_events = {
	.hello = keeper_said_hello,
	.event = keeper_event,
	.gone = keeper_gone,
};

/* ---- the set ----------------------------------------------------------------- */

/* A name became free, or the cluster has a quorum again. */
static void wake_standby(struct netd *n)
{
	for (struct start *s = n->apps->starts, *next; s; s = next) {
		next = s->next;
		if (s->waiting && !s->submitted && !s->granted &&
		    !kddm_find(n->sets.apps, s->name, strlen(s->name)))
			start_claim(s);
	}
}

/* A port is claimed on each cluster address. */
static void put_once(json_t *list, const char *text)
{
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		if (!strcmp(json_string_value(o), text))
			return;
	}
	json_array_append_new(list, json_string(text));
}

static json_t *app_json(struct netd *n, const struct kddm_object *obj)
{
	static const char *const states[] = {"?", "starting", "running", "moving"};
	const char *state;
	struct app_value v;
	json_t *o, *flags, *ports = json_array();
	const struct kddm_object *p;
	struct passwd *pw;
	char user[16];

	object_read(obj, &v, sizeof(v));
	kddm_for_each(n->sets.ports, p)
	{
		const struct port_key *pk = p->key;
		struct port_value pv;
		char text[32];

		object_read(p, &pv, sizeof(pv));
		if (strlen(pv.app) != obj->key_len || memcmp(pv.app, obj->key, obj->key_len))
			continue;
		snprintf(text, sizeof(text), "%u/%s", pk->port, pk->proto == 17 ? "udp" : "tcp");
		put_once(ports, text);
	}
	pw = getpwuid(v.uid);
	snprintf(user, sizeof(user), "%u", v.uid);
	flags = json_array();
	if (v.flags & APP_DETACHED)
		json_array_append_new(flags, json_string("detached"));
	if (v.flags & APP_STANDBY)
		json_array_append_new(flags, json_string("standby"));
	state = v.state == APP_RUNNING && v.flags & APP_FROZEN ? "frozen" : states[v.state & 3];
	o = json_pack("{s:s% s:s s:s s:s s:i s:s s:s s:o s:o s:I}", "app", obj->key, obj->key_len, "node",
		      member_name(n->member, v.node), "origin", member_name(n->member, v.origin), "state",
		      state, "pid", (int)v.pid, "user", pw ? pw->pw_name : user, "cmd", v.cmd, "ports", ports,
		      "flags", flags, "epoch", (json_int_t)obj->epoch);
	ctl_time_set(o, "since", v.since_ms);
	return o;
}

static void app_changed(void *arg, const struct kddm_object *obj)
{
	struct netd *n = arg;

	ctl_publish(n->ctl, "app", app_json(n, obj));
}

/*
 * A name of this node that nobody waits for: taken after all, when the outcome had been unknown for
 * so long that the start was given up. A standby goes on waiting: for that.
 */
static void app_late(struct netd *n, const char *name)
{
	if (restart_pending(n, name))
		return;
	for (struct start *s = n->apps->starts; s; s = s->next) {
		if (strcmp(s->name, name))
			continue;
		if (s->waiting && !s->submitted && !s->granted)
			start_go(s);
		return;
	}
	log_notice("application %s: its start was given up before its name was granted", name);
	apps_release(n, name);
}

static void app_inserted(void *arg, const struct kddm_object *obj)
{
	struct netd *n = arg;
	char name[APP_NAME_MAX];

	app_changed(n, obj);
	snprintf(name, sizeof(name), "%.*s", (int)obj->key_len, (const char *)obj->key);
	if (n->moves && n->moves->settled && obj->owner == member_self(n->member))
		app_late(n, name);
}

static void app_updated(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	struct netd *n = arg;
	char name[APP_NAME_MAX];

	app_changed(n, obj);
	if (old->owner == obj->owner)
		return;
	/* It moved on from one node to another: its supervisor may be here. */
	snprintf(name, sizeof(name), "%.*s", (int)obj->key_len, (const char *)obj->key);
	move_stdio_connect(n, name);
}

/* The application died with its node: its supervisor here will hear nothing more. */
static void tell_lost(struct netd *n, const char *name, uint32_t node)
{
	struct keeper *k = keepers_find(n->apps->keepers, name);
	char text[128];

	if (!k || strcmp(keeper_state(k), "moved") != 0 || member_alive(n->member, node))
		return;
	snprintf(text, sizeof(text), "it ran on %s, which died", member_name(n->member, node));
	keeper_call(k, json_pack("{ss ss}", "op", "lost", "text", text), -1, KEEPER_TIMEOUT_MS, keeper_ignore,
		    NULL);
}

static void app_removed(void *arg, const struct kddm_object *old)
{
	struct netd *n = arg;
	char name[APP_NAME_MAX];

	snprintf(name, sizeof(name), "%.*s", (int)old->key_len, (const char *)old->key);
	tell_lost(n, name, old->owner);
	ctl_publish(n->ctl, "app-removed", json_pack("{s:s%}", "app", old->key, old->key_len));
}

static void app_entry_done(void *arg, uint64_t index)
{
	(void)index;
	wake_standby(arg);
}

static const struct kddm_linker app_linker = {
	.insert = app_inserted,
	.update = app_updated,
	.remove = app_removed,
	.entry_done = app_entry_done,
};

static void ctl_apps(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	json_t *list = json_array();
	const struct kddm_object *obj;

	(void)args;
	kddm_for_each(n->sets.apps, obj) json_array_append_new(list, app_json(n, obj));
	ctl_ok(r, list);
}

/* ---- signal and logs: carried to the node where the application is ------------ */

static void relay_answer(void *arg, int status, json_t *ok, json_t *error)
{
	struct peer_call *call = arg;

	if (status < 0)
		peer_call_answer(call, json_pack("{sssi}", "error", "its supervisor went away", "code", 1));
	else
		peer_call_answer(call, json_incref(ok ? ok : error));
}

static void peer_app_op(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;
	const char *name = json_string_value(json_object_get(request, "app"));
	struct keeper *k = name ? keepers_find(n->apps->keepers, name) : NULL;
	const char *op = json_string_value(json_object_get(request, "op"));

	(void)from;
	if (!k || !op || (strcmp(op, "signal") && strcmp(op, "logs"))) {
		peer_call_answer(call, json_pack("{sssi}", "error", "it does not run here", "code", 1));
		return;
	}
	keeper_call(k, json_copy(request), -1, KEEPER_TIMEOUT_MS, relay_answer, call);
}

static void ctl_app_op(struct netd *n, struct ctl_request *r, json_t *args, const char *op)
{
	const char *name = json_string_value(json_object_get(args, "app"));
	struct app_value v;
	json_t *request;

	if (!name || !apps_find(n, name, &v, NULL)) {
		ctl_fail(r, CTL_FAILED, "`netctl apps` lists them", "%s: no such application",
			 name ? name : "");
		return;
	}
	request = json_copy(args);
	json_object_set_new(request, "op", json_string(op));
	peer_call(n->peers, v.node, "app-op", request, PEER_TIMEOUT_MS, ctl_answered, r);
	json_decref(request);
}

static void ctl_signal(void *arg, struct ctl_request *r, json_t *args)
{
	if (!json_is_integer(json_object_get(args, "sig")))
		ctl_fail(r, CTL_USAGE, "`kill -l` lists them", "which signal?");
	else
		ctl_app_op(arg, r, args, "signal");
}

static void ctl_logs(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	const char *app = ctl_arg_string(args, "app", "", &bad);
	int64_t lines = ctl_arg_int(args, "lines", LOG_LINES, 0, LOG_LINES_MAX, &bad);
	json_t *left = NULL;

	if (bad) {
		ctl_fail(r, CTL_USAGE, "usage: netctl logs APP [--lines 0..100000]", "logs: bad arguments");
		return;
	}
	if (!apps_find(n, app, NULL, NULL))
		left = app_log_tail(app, (size_t)lines);
	if (left)
		ctl_ok(r, json_pack("[o]", left));
	else
		ctl_app_op(n, r, args, "logs");
}

/* ---- life ---------------------------------------------------------------------- */

void apps_reconcile(struct netd *n)
{
	const struct kddm_object *obj;
	struct app_value v;

	kddm_for_each(n->sets.apps, obj)
	{
		char name[APP_NAME_MAX];

		object_read(obj, &v, sizeof(v));
		snprintf(name, sizeof(name), "%.*s", (int)obj->key_len, (const char *)obj->key);
		if (v.node != member_self(n->member) || keepers_connect(n->apps->keepers, name) == 0)
			continue;
		log_notice("application %s ended while netd was away", name);
		apps_release(n, name);
	}
	moves_reconcile(n);
	wake_standby(n);
}

static void fence_one(struct netd *n, const char *name)
{
	struct keeper *k = keepers_find(n->apps->keepers, name);

	if (!k)
		return;
	log_err("application %s ends here: this node was cut off or left, others may have taken it over",
		name);
	keeper_call(k, json_pack("{ss}", "op", "discard"), -1, KEEPER_TIMEOUT_MS, keeper_ignore, NULL);
}

void apps_fence(struct netd *n)
{
	keepers_each(n->apps->keepers, n, fence_one);
}

int apps_start(struct netd *n)
{
	struct apps *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->netd = n;
	n->apps = a;
	err = keepers_start(n, &keeper_events, n, &a->keepers);
	if (err < 0)
		return err;
	ctl_register(n->ctl, "app-start", CTL_ROOT | CTL_MEMBER, ctl_app_start, n);
	ctl_register(n->ctl, "apps", CTL_MEMBER, ctl_apps, n);
	ctl_register(n->ctl, "signal", CTL_ROOT | CTL_MEMBER, ctl_signal, n);
	ctl_register(n->ctl, "logs", CTL_MEMBER, ctl_logs, n);
	err = peer_handle(n->peers, "app-op", peer_app_op, n);
	if (err < 0)
		return err;
	return kddm_link(n->sets.apps, &app_linker, n);
}

void apps_stop(struct netd *n)
{
	if (!n->apps)
		return;
	keepers_stop(n->apps->keepers);
	while (n->apps->starts)
		start_free(n->apps->starts);
	free(n->apps);
	n->apps = NULL;
}
