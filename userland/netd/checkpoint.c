// SPDX-License-Identifier: GPL-2.0
/*
 * The node of the application: look for what stands against it, freeze and write, seal; then it runs on, or
 * ends. What fails leaves it running. See checkpoint.h.
 */
#include "checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "claims.h"
#include "ctl.h"
#include "datapath.h"
#include "member.h"
#include "move.h"
#include "move_check.h"
#include "userland/lib/log.h"

#define DIR_MAX	   3900
#define KEEP_S_MAX 600 /* restored TCP clocks are set ahead by no more (run/carry_restore.c) */

struct checkpoint {
	struct netd *netd;
	struct peer_call *call;
	char app[APP_NAME_MAX];
	char dir[DIR_MAX];
	unsigned int number;
	bool leave;	     /* it runs on */
	unsigned int keep_s; /* its connections are kept for so long, 0: they are closed */
	uint64_t since_ms;   /* tells them from those of others */
	int connections;
	json_t *files;
	json_t *figures;
	json_t *error; /* once it is frozen: told when it runs on */
	uint64_t t_freeze;
};

/* ---- steps ----------------------------------------------------------------------------------- */

static void checkpoint_end(struct checkpoint *c, json_t *answer)
{
	peer_call_answer(c->call, answer);
	json_decref(c->files);
	json_decref(c->figures);
	json_decref(c->error);
	free(c);
}

static void checkpoint_ask(struct checkpoint *c, json_t *request, unsigned int ms, keeper_done_fn *done)
{
	struct keeper *k = keepers_find(apps_keepers(c->netd->apps), c->app);

	if (k) {
		keeper_call(k, request, -1, ms, done, c);
		return;
	}
	json_decref(request);
	done(c, -ENOTCONN, NULL, NULL);
}

static json_t *failure(const char *what, int status, json_t *error)
{
	return move_error(json_string_value(json_object_get(error, "remedy")), "%s: %s", what,
			  move_why(status, error));
}

static json_t *summary(struct checkpoint *c)
{
	json_t *o = json_pack("{s:s s:s s:s s:i s:b s:f}", "app", c->app, "node",
			      member_self_name(c->netd->member), "dir", c->dir, "version", (int)c->number,
			      "running", c->leave, "frozen_ms", (double)(uv_hrtime() - c->t_freeze) / 1e6);

	if (c->keep_s) {
		json_object_set_new(o, "connections", json_integer(c->connections));
		ctl_time_set(o, "kept_until", c->since_ms + c->keep_s * 1000ULL);
	}
	json_object_update_missing(o, c->figures);
	return o;
}

static void checkpoint_thawed(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;

	(void)ok;
	if (c->keep_s)
		datapath_hold_release(c->netd->datapath, c->app);
	if (status < 0 || error)
		checkpoint_end(c, failure("it does not run on", status, error));
	else
		checkpoint_end(c, c->error ? json_incref(c->error) : summary(c));
}

static void checkpoint_thaw(struct checkpoint *c)
{
	checkpoint_ask(c, json_pack("{ss}", "op", "thaw"), MOVE_BULK_MS, checkpoint_thawed);
}

/* A supervisor in the foreground has nothing to supervise any more. */
static void checkpoint_discarded(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;
	struct keeper *k = keepers_find(apps_keepers(c->netd->apps), c->app);
	char text[DIR_MAX + 64];

	(void)ok;
	if (c->keep_s) /* what waited for those that are kept is lost in silence, like all that comes now */
		datapath_hold_release(c->netd->datapath, c->app);
	if (status == -ETIMEDOUT || error) {
		checkpoint_end(c, failure("it is written, but did not end", status, error));
		return;
	}
	snprintf(text, sizeof(text), "ended, its checkpoint is %s/%u", c->dir, c->number);
	if (k && strcmp(keeper_state(k), "moved") == 0)
		keeper_call(k, json_pack("{ss ss}", "op", "handover", "text", text), -1, MOVE_KEEPER_MS,
			    keeper_ignore, NULL);
	checkpoint_end(c, summary(c));
}

/* ---- its connections are kept: datapath_kept.c ------------------------------------------------- */

static int batch_status(const struct kddm_result *r)
{
	for (size_t i = 0; !r->status && i < r->n_ops; i++)
		if (r->op[i])
			return r->op[i];
	return r->status;
}

static void keep_submit(struct checkpoint *c, struct kddm_batch *b, int err, kddm_done_fn *done)
{
	const int op = err < 0 ? err : 0;
	struct kddm_result failed = {.status = op, .n_ops = 1, .op = &op};

	if (b && err >= 0) {
		kddm_submit(b, done, c);
		return;
	}
	if (b)
		kddm_batch_free(b);
	done(c, &failed);
}

static void keep_undone(void *arg, const struct kddm_result *result)
{
	if (batch_status(result) < 0)
		log_warn("checkpoint of %s: its ports are still held: %s", ((struct checkpoint *)arg)->app,
			 move_why(batch_status(result), NULL));
	checkpoint_thaw(arg);
}

/* It runs on as if nothing had been. */
static void keep_undo(struct checkpoint *c, const char *what, int status, json_t *error)
{
	struct kddm_batch *b = kddm_batch_new(c->netd->kddm, false);

	json_decref(c->error);
	c->error = failure(what, status, error);
	keep_submit(c, b, b ? move_ports_give(b, c->netd, c->app, member_self(c->netd->member)) : -ENOMEM,
		    keep_undone);
}

static void keep_applied(void *arg, int status)
{
	struct checkpoint *c = arg;

	if (status < 0)
		log_warn("checkpoint of %s: not all nodes said that they keep its connections", c->app);
	checkpoint_ask(c, json_pack("{ss}", "op", "discard"), MOVE_KEEPER_MS, checkpoint_discarded);
}

static void keep_reserved(void *arg, const struct kddm_result *result)
{
	struct checkpoint *c = arg;

	if (batch_status(result) < 0)
		keep_undo(c, "it runs on, its connections could not be kept", batch_status(result), NULL);
	else
		kddm_wait_applied(c->netd->kddm, result->index, NULL, 0, MOVE_APPLIED_MS, keep_applied, c);
}

/* One entry: the connections are nobody's, and its ports are open for others, until it ends in a moment. */
static void keep_reserve(struct checkpoint *c)
{
	struct netd *n = c->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	int err = b ? move_ports_give(b, n, c->app, member_self(n->member)) : -ENOMEM;

	if (!err)
		err = datapath_flows_stay(n->datapath, b, c->app);
	if (err >= 0)
		err = datapath_kept_add(n->datapath, b, c->app, c->since_ms,
					c->since_ms + c->keep_s * 1000ULL);
	if (err >= 0 && err != c->connections)
		err = -EAGAIN;
	keep_submit(c, b, err, keep_reserved);
}

static void checkpoint_sealed(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;

	if (status < 0 || error)
		c->error = failure("it runs on, no checkpoint was made", status, error);
	else
		json_object_set(c->figures, "bytes", json_object_get(ok, "bytes"));
	if (c->error && c->keep_s)
		keep_undo(c, "it runs on, no checkpoint was made", status, error);
	else if (c->error || c->leave)
		checkpoint_thaw(c);
	else if (c->keep_s)
		keep_reserve(c);
	else
		checkpoint_ask(c, json_pack("{ss}", "op", "discard"), MOVE_KEEPER_MS, checkpoint_discarded);
}

/* What a keeper needs to hold it, as after a move; its user is gone. */
static json_t *description(struct keeper *k)
{
	static const char *const fields[] = {"name", "cmd", "cwd", "uid", "gid", "data", "since"};
	json_t *hello = keeper_hello(k), *desc = json_object(), *flags = json_array(), *flag;
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (json_object_get(hello, fields[i]))
			json_object_set(desc, fields[i], json_object_get(hello, fields[i]));
	json_array_foreach(json_object_get(hello, "flags"), i, flag)
	{
		if (strcmp(json_string_value(flag) ?: "", "standby") &&
		    strcmp(json_string_value(flag) ?: "", "detached"))
			json_array_append(flags, flag);
	}
	json_array_append_new(flags, json_string("detached"));
	json_object_set_new(desc, "flags", flags);
	return desc;
}

/* How many connections are to be kept; -errno. */
static int keep_count(struct checkpoint *c)
{
	struct kddm_batch *b = kddm_batch_new(c->netd->kddm, false);

	c->connections = b ? datapath_kept_add(c->netd->datapath, b, c->app, c->since_ms, 0) : -ENOMEM;
	if (b)
		kddm_batch_free(b);
	return c->connections;
}

static void checkpoint_dumped(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;
	struct keeper *k = keepers_find(apps_keepers(c->netd->apps), c->app);
	char to[DIR_MAX + 16];
	struct utsname u;
	json_t *about;

	if ((status < 0 || error || !k) && c->keep_s) {
		keep_undo(c, "it could not be written", status ? status : -ENOTCONN, error);
		return;
	}
	if (status < 0 || error || !k) {
		checkpoint_end(c, failure("it could not be written", status ? status : -ENOTCONN, error));
		return;
	}
	if (c->keep_s && (keep_count(c) < 0 || claims_calls_unheld(c->netd->claims, c->app))) {
		keep_undo(c, "its connections cannot be kept, it called others", -ENOTSUP, NULL);
		return;
	}
	c->figures = json_pack("{s:O}", "bytes", json_object_get(ok, "bytes"));
	uname(&u);
	snprintf(to, sizeof(to), "%s/%u", c->dir, c->number);
	about = json_pack("{s:s s:s s:I s:s s:o s:o s:O}", "app", c->app, "node",
			  member_self_name(c->netd->member), "time_ms",
			  (json_int_t)json_integer_value(json_object_get(ok, "frozen_at_ms")), "kernel",
			  u.release, "desc", description(k), "cpu", move_check_cpu(), "files", c->files);
	if (c->keep_s)
		json_object_set_new(about, "kept",
				    json_pack("{sI si si}", "since_ms", (json_int_t)c->since_ms, "seconds",
					      (int)c->keep_s, "connections", c->connections));
	checkpoint_ask(c, json_pack("{ss ss so}", "op", "seal", "to", to, "about", about), MOVE_BULK_MS,
		       checkpoint_sealed);
}

static void checkpoint_write(struct checkpoint *c)
{
	char dir[DIR_MAX + 8];

	snprintf(dir, sizeof(dir), "%s/.new", c->dir);
	c->t_freeze = uv_hrtime();
	c->since_ms = datapath_unix_ms();
	checkpoint_ask(c,
		       json_pack("{ss ss ss sb}", "op", "dump", "dir", dir, "criu", c->netd->conf.criu,
				 "close", !c->keep_s),
		       MOVE_BULK_MS, checkpoint_dumped);
}

static void keep_held(void *arg, int status)
{
	struct checkpoint *c = arg;

	if (status < 0)
		keep_undo(c, "its ports could not be held", status, NULL);
	else
		checkpoint_write(c);
}

static void keep_hold_done(void *arg, const struct kddm_result *result)
{
	struct checkpoint *c = arg;
	uint32_t self = member_self(c->netd->member);

	if (batch_status(result) < 0)
		keep_undo(c, "its ports could not be held", batch_status(result), NULL);
	else
		kddm_wait_applied(c->netd->kddm, result->index, &self, 1, MOVE_APPLIED_MS, keep_held, c);
}

/* What comes from now on is not in the images: it waits, and is lost when all is well, given back when it runs on. */
static void keep_hold(struct checkpoint *c)
{
	struct netd *n = c->netd;
	struct kddm_batch *b;

	if (claims_calls_unheld(n->claims, c->app)) {
		checkpoint_end(c, move_error("checkpoint it without --keep-connections",
					     "it has connections that it opened itself: only those that "
					     "clients opened can be kept"));
		return;
	}
	b = kddm_batch_new(n->kddm, true);
	datapath_hold_defer(n->datapath, c->app);
	keep_submit(c, b, b ? move_ports_hold(b, n, c->app, member_self(n->member)) : -ENOMEM,
		    keep_hold_done);
}

static void checkpoint_dump(struct checkpoint *c)
{
	if (c->keep_s)
		keep_hold(c);
	else
		checkpoint_write(c);
}

/* An answer that is missing stops no checkpoint. */
static void checkpoint_noticed(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;

	(void)ok;
	if (status < 0 || error)
		log_warn("checkpoint of %s: it could not be told: %s", c->app, move_why(status, error));
	checkpoint_dump(c);
}

static void checkpoint_checked(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;
	json_t *refusals = json_object_get(ok, "refusals"), *request;
	unsigned int ms;

	if (status < 0 || error) {
		checkpoint_end(c, failure("it could not be examined", status, error));
	} else if (json_array_size(refusals)) {
		checkpoint_end(c, move_check_error(refusals));
	} else {
		c->files = json_object_get(ok, "files") ? json_incref(json_object_get(ok, "files"))
							: json_object();
		if (json_integer_value(json_object_get(ok, "notices")) > 0) {
			request = move_notice_request(c->netd, "saving", member_self(c->netd->member), &ms);
			checkpoint_ask(c, request, ms, checkpoint_noticed);
		} else {
			checkpoint_dump(c);
		}
	}
}

static void checkpoint_placed(void *arg, int status, json_t *ok, json_t *error)
{
	struct checkpoint *c = arg;

	if (status < 0 || error) {
		checkpoint_end(c, failure("no checkpoint can be made", status, error));
		return;
	}
	c->number = (unsigned int)json_integer_value(json_object_get(ok, "number"));
	checkpoint_ask(c, json_pack("{ss}", "op", "check"), MOVE_PEER_MS, checkpoint_checked);
}

static bool holds_ports(struct netd *n, const char *app)
{
	const struct kddm_object *obj;
	struct port_value v;

	kddm_for_each(n->sets.ports, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (v.state == PORT_HOLD && !strcmp(v.app, app))
			return true;
	}
	return false;
}

void checkpoint_settle(struct netd *n, const char *app, bool runs)
{
	struct kddm_batch *b = kddm_batch_new(n->kddm, false);
	int kept = !b ? -ENOMEM : runs ? datapath_kept_remove(n->datapath, b, app, 0) : 0;
	bool held = holds_ports(n, app);

	if (kept >= 0 && held)
		kept = move_ports_give(b, n, app, member_self(n->member)) ?: kept;
	if (kept > 0 || (kept == 0 && held))
		kddm_submit(b, NULL, NULL);
	else if (b)
		kddm_batch_free(b);
}

/* ---- requests ----------------------------------------------------------------------------------- */

static json_t *checkpoint_refuse(struct netd *n, const char *app)
{
	struct app_value v;

	if (!apps_find(n, app, &v, NULL) || v.node != member_self(n->member))
		return move_error("`netctl apps` tells where it is", "it does not run here any more");
	if (kddm_find(n->sets.moves, app, strlen(app)))
		return move_error("`netctl moves` tells how far it is", "it is being moved");
	if (v.state != APP_RUNNING)
		return move_error("try again when it runs", "it is still starting");
	if (v.flags & APP_FROZEN)
		return move_error("`netctl thaw` it first", "it is frozen");
	return NULL;
}

static void peer_checkpoint(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;
	const char *app = "", *dir = "";
	struct checkpoint *c;
	json_t *refused;
	int leave = 0, keep_s = 0;

	(void)from;
	if (json_unpack(request, "{ss ss sb s?i}", "app", &app, "dir", &dir, "leave", &leave, "keep_s",
			&keep_s) < 0 ||
	    strlen(app) >= APP_NAME_MAX || strlen(dir) >= DIR_MAX) {
		peer_call_answer(call, move_error(NULL, "malformed request"));
		return;
	}
	refused = checkpoint_refuse(n, app);
	c = refused ? NULL : calloc(1, sizeof(*c));
	if (!c) {
		peer_call_answer(call, refused ? refused : move_error(NULL, "out of memory"));
		return;
	}
	c->netd = n;
	c->call = call;
	c->leave = leave;
	c->keep_s = (unsigned int)keep_s;
	snprintf(c->app, sizeof(c->app), "%s", app);
	snprintf(c->dir, sizeof(c->dir), "%s", dir);
	checkpoint_ask(c, json_pack("{ss ss}", "op", "place", "dir", dir), MOVE_KEEPER_MS, checkpoint_placed);
}

static void ctl_checkpoint(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	const char *app = ctl_arg_string(args, "app", NULL, &bad);
	const char *dir = ctl_arg_string(args, "dir", NULL, &bad);
	bool leave = ctl_arg_bool(args, "leave_running", &bad);
	int64_t keep_s = ctl_arg_int(args, "keep_s", 0, 1, KEEP_S_MAX, &bad);
	struct app_value v;
	json_t *request;

	if (leave && keep_s) {
		ctl_fail(r, CTL_USAGE, "take one of the two",
			 "what runs on has its connections: --keep-connections is for what ends");
		return;
	}
	if (bad || !app || !dir || *dir != '/' || strlen(dir) >= DIR_MAX) {
		ctl_fail(r, CTL_USAGE, "usage: netctl checkpoint APP /DIR", "what is to be written where?");
		return;
	}
	if (strlen(app) >= APP_NAME_MAX || !apps_find(n, app, &v, NULL)) {
		ctl_fail(r, CTL_FAILED, "`netctl apps` lists them", "%s: no such application", app);
		return;
	}
	request = json_pack("{ss ss sb si}", "app", app, "dir", dir, "leave", leave, "keep_s", (int)keep_s);
	peer_call(n->peers, v.node, "checkpoint-run", request, MOVE_BULK_MS, ctl_answered, r);
	json_decref(request);
}

int checkpoint_start(struct netd *n)
{
	ctl_register(n->ctl, "checkpoint", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, ctl_checkpoint, n);
	return peer_handle(n->peers, "checkpoint-run", peer_checkpoint, n);
}
