// SPDX-License-Identifier: GPL-2.0
/* The record of a move, the commands `migrate` and `moves`, and who is told of a change. */
#include "moves.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "datapath.h"
#include "drain.h"
#include "freeze.h"
#include "member.h"
#include "move.h"
#include "userland/lib/log.h"
#include "userland/lib/notice.h"
#include "warmup.h"

/* ---- records ------------------------------------------------------------------ */

bool move_read(struct netd *n, const char *app, struct move_value *out, const struct kddm_object **obj)
{
	const struct kddm_object *o = kddm_find(n->sets.moves, app, strlen(app));

	if (!o)
		return false;
	object_read(o, out, sizeof(*out));
	if (obj)
		*obj = o;
	return true;
}

json_t *move_error(const char *remedy, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	json_t *o;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	o = json_pack("{sssi}", "error", text, "code", CTL_FAILED);
	if (remedy)
		json_object_set_new(o, "remedy", json_string(remedy));
	return o;
}

const char *move_why(int status, json_t *error)
{
	static char text[512];
	const char *why = json_string_value(json_object_get(error, "error"));

	snprintf(text, sizeof(text), "%s",
		 why			? why
		 : status == -ETIMEDOUT ? "no answer in time"
		 : status == -ENOTCONN	? "its supervisor went away"
		 : status == -EHOSTDOWN ? "the node cannot be reached"
					: strerror(-status));
	return text;
}

json_t *move_notice_request(struct netd *n, const char *what, uint32_t node, unsigned int *timeout_ms)
{
	unsigned int limit = member_conf_uint(n->member, "notice_ms", NOTICE_LIMIT_MS);

	*timeout_ms = limit + MOVE_KEEPER_MS;
	return json_pack("{ss ss ss si}", "op", "notice", "what", what, "node", member_name(n->member, node),
			 "limit_ms", (int)limit);
}

json_t *move_image_request(const char *op, const char *app)
{
	char dir[sizeof(MOVE_IMAGE_DIR) + APP_NAME_MAX + 1];

	snprintf(dir, sizeof(dir), MOVE_IMAGE_DIR "/%s", app);
	return json_pack("{ss ss}", "op", op, "dir", dir);
}

int move_step(struct kddm_batch *b, struct netd *n, const char *app, enum move_step step, const char *reason)
{
	const struct kddm_object *obj;
	struct move_value m;

	if (!move_read(n, app, &m, &obj))
		return -ENOENT;
	m.step = step;
	if (reason)
		snprintf(m.reason, sizeof(m.reason), "%s", reason);
	return kddm_put(b, n->sets.moves, app, strlen(app), &m, sizeof(m), obj->version);
}

static bool port_of(const struct kddm_object *obj, const char *app, struct port_value *v)
{
	const struct port_key *k = obj->key;

	object_read(obj, v, sizeof(*v));
	return k->vip != PORT_VIP_LOCAL && strcmp(v->app, app) == 0;
}

int move_ports_hold(struct kddm_batch *b, struct netd *n, const char *app, uint32_t dst)
{
	const struct kddm_object *obj;
	struct port_value v;
	int err = 0;

	kddm_for_each(n->sets.ports, obj)
	{
		if (err || !port_of(obj, app, &v) || v.node != member_self(n->member))
			continue;
		v.state = PORT_HOLD;
		v.next = (uint16_t)dst;
		err = kddm_put(b, n->sets.ports, obj->key, obj->key_len, &v, sizeof(v), obj->version);
	}
	return err;
}

int move_ports_give(struct kddm_batch *b, struct netd *n, const char *app, uint32_t node)
{
	const struct kddm_object *obj;
	struct port_value v;
	int err = 0;

	kddm_for_each(n->sets.ports, obj)
	{
		if (err || !port_of(obj, app, &v) || v.state != PORT_HOLD)
			continue;
		v.state = PORT_OWNED;
		v.next = 0;
		if (v.node == node) {
			err = kddm_put(b, n->sets.ports, obj->key, obj->key_len, &v, sizeof(v), obj->version);
			continue;
		}
		v.node = (uint16_t)node;
		err = kddm_grab(b, n->sets.ports, obj->key, obj->key_len, &v, sizeof(v), obj->version, node);
	}
	return err;
}

int move_app_state(struct kddm_batch *b, struct netd *n, const char *app, uint32_t node, enum app_state state,
		   uint32_t pid)
{
	const struct kddm_object *obj;
	struct app_value v;

	if (!apps_find(n, app, &v, &obj))
		return -ENOENT;
	v.state = (uint8_t)state;
	if (pid)
		v.pid = pid;
	if (v.node == node)
		return kddm_put(b, n->sets.apps, app, strlen(app), &v, sizeof(v), obj->version);
	v.node = (uint16_t)node;
	return kddm_grab(b, n->sets.apps, app, strlen(app), &v, sizeof(v), obj->version, node);
}

void move_record_remove(struct netd *n, const char *app)
{
	const struct kddm_object *obj;
	struct kddm_batch *b;
	struct move_value m;

	if (!move_read(n, app, &m, &obj))
		return;
	b = kddm_batch_new(n->kddm, true);
	if (b && kddm_remove(b, n->sets.moves, app, strlen(app), obj->version) == 0)
		kddm_submit(b, NULL, NULL);
	else if (b)
		kddm_batch_free(b);
}

/* ---- changes of the set --------------------------------------------------------- */

struct move_watch {
	struct move_watch *next;
	struct netd *netd;
	struct ctl_request *request;
	char app[APP_NAME_MAX];
};

static const char *const step_names[8] = {"?", "prepared", "image-complete", "flipped", "aborted", "?",
					  "?", "?"};

static json_t *move_json(struct netd *n, const char *app, const struct move_value *m)
{
	json_t *o = json_pack("{s:s s:s s:s s:s s:s}", "app", app, "step", step_names[m->step & 7], "from",
			      member_name(n->member, m->src), "to", member_name(n->member, m->dst), "reason",
			      m->reason);

	ctl_time_set(o, "since", m->since_ms);
	json_object_set_new(o, "round", json_integer(m->round));
	return o;
}

/* To whoever waits for a move. */
static json_t *move_progress(const struct move_value *m)
{
	char round[16];

	if (m->step != MOVE_PREPARED || !m->round)
		return json_pack("{ss ss}", "what", "move", "step", step_names[m->step & 7]);
	snprintf(round, sizeof(round), "round %u", m->round);
	return json_pack("{ss ss sI}", "what", "move", "step", round, "bytes",
			 (json_int_t)m->round_mib << 20);
}

static void move_changed(void *arg, const struct kddm_object *obj)
{
	struct netd *n = arg;
	uint32_t self = member_self(n->member);
	char app[APP_NAME_MAX];
	struct move_value m;

	snprintf(app, sizeof(app), "%.*s", (int)obj->key_len, (const char *)obj->key);
	object_read(obj, &m, sizeof(m));
	ctl_publish(n->ctl, "move", move_json(n, app, &m));
	for (struct move_watch *w = n->moves->watches; w; w = w->next)
		if (strcmp(w->app, app) == 0)
			ctl_event(w->request, move_progress(&m));
	if (m.src == self)
		move_source_record(n, app, &m);
	if (m.dst == self)
		move_target_record(n, app, &m);
}

static void move_updated(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	(void)old;
	move_changed(arg, obj);
}

/* The move decided, while it lasted, what becomes of a supervisor's end. */
static void move_removed(void *arg, const struct kddm_object *old)
{
	struct netd *n = arg;
	char app[APP_NAME_MAX];
	struct app_value v;

	snprintf(app, sizeof(app), "%.*s", (int)old->key_len, (const char *)old->key);
	if (n->moves->settled && apps_find(n, app, &v, NULL) && v.node == member_self(n->member) &&
	    keepers_connect(apps_keepers(n->apps), app) < 0)
		apps_release(n, app);
}

static const struct kddm_linker move_linker = {
	.insert = move_changed,
	.update = move_updated,
	.remove = move_removed,
};

/* ---- commands ---------------------------------------------------------------------- */

static void ctl_moves(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	const struct kddm_object *obj;
	json_t *list = json_array();

	(void)args;
	kddm_for_each(n->sets.moves, obj)
	{
		char app[APP_NAME_MAX];
		struct move_value m;

		snprintf(app, sizeof(app), "%.*s", (int)obj->key_len, (const char *)obj->key);
		object_read(obj, &m, sizeof(m));
		json_array_append_new(list, move_json(n, app, &m));
	}
	ctl_ok(r, list);
}

/* Of its first process, as in `netctl apps`, or of one that listens, as in `netctl ports`. */
static bool app_by_pid(struct netd *n, uint32_t node, uint32_t pid, char *app)
{
	const struct kddm_object *obj;
	struct port_value port;
	struct app_value v;

	kddm_for_each(n->sets.apps, obj)
	{
		object_read(obj, &v, sizeof(v));
		if (v.node != node || v.pid != pid)
			continue;
		snprintf(app, APP_NAME_MAX, "%.*s", (int)obj->key_len, (const char *)obj->key);
		return true;
	}
	kddm_for_each(n->sets.ports, obj)
	{
		object_read(obj, &port, sizeof(port));
		if (port.node != node || port.pid != pid || !*port.app)
			continue;
		snprintf(app, APP_NAME_MAX, "%s", port.app);
		return true;
	}
	return false;
}

static int vip_index(struct netd *n, const char *addr)
{
	const struct kddm_object *obj;
	struct vip_key k = {.family = strchr(addr, ':') ? 6 : 4};
	struct vip_value v;

	if (inet_pton(k.family == 6 ? AF_INET6 : AF_INET, addr, k.addr) != 1)
		return -1;
	obj = kddm_find(n->sets.vips, &k, sizeof(k));
	if (!obj)
		return -1;
	object_read(obj, &v, sizeof(v));
	return v.index;
}

/* vip NULL: any */
static bool app_by_port(struct netd *n, const char *vip, uint8_t proto, uint16_t port, char *app)
{
	const struct kddm_object *obj;
	struct port_value v;
	int index = vip ? vip_index(n, vip) : -1;

	if (vip && index < 0)
		return false;
	kddm_for_each(n->sets.ports, obj)
	{
		const struct port_key *k = obj->key;

		object_read(obj, &v, sizeof(v));
		if (k->port != port || k->proto != proto || !*v.app ||
		    (vip ? k->vip != index : k->vip == PORT_VIP_LOCAL))
			continue;
		snprintf(app, APP_NAME_MAX, "%s", v.app);
		return true;
	}
	return false;
}

/* By name, by a port it listens on, or by the pid of a process. */
static bool app_resolve(struct netd *n, json_t *args, char *app, bool *bad)
{
	const char *name = ctl_arg_string(args, "app", NULL, bad);
	const char *vip = ctl_arg_string(args, "vip", NULL, bad);
	const char *proto = ctl_arg_string(args, "proto", "tcp", bad);
	const char *node = ctl_arg_string(args, "pid_node", NULL, bad);
	int64_t port = ctl_arg_int(args, "port", 0, 1, 65535, bad);
	int64_t pid = ctl_arg_int(args, "pid", 0, 1, INT32_MAX, bad);

	if (*bad || (!name && !port && !pid) || (name && strlen(name) >= APP_NAME_MAX))
		*bad = true;
	else if (name)
		snprintf(app, APP_NAME_MAX, "%s", name);
	else if (port)
		return app_by_port(n, vip, strcmp(proto, "udp") ? IPPROTO_TCP : IPPROTO_UDP, (uint16_t)port,
				   app);
	else
		return app_by_pid(n, node ? member_find(n->member, node) : member_self(n->member),
				  (uint32_t)pid, app);
	return !*bad && kddm_find(n->sets.apps, app, strlen(app));
}

static void migrate_done(void *arg, int status, json_t *answer)
{
	struct move_watch *w = arg, **p = &w->netd->moves->watches;
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *remedy = json_string_value(json_object_get(answer, "remedy"));

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	if (status < 0)
		ctl_fail(w->request, CTL_FAILED, "`netctl moves` and `netctl apps` tell where it is",
			 "%s: the node that runs it did not answer: %s", w->app, move_why(status, NULL));
	else if (error)
		ctl_fail(w->request, CTL_FAILED,
			 remedy && *remedy ? remedy : "journalctl -u netd on both nodes tells more", "%s: %s",
			 w->app, error);
	else
		ctl_ok(w->request, json_pack("[O]", answer));
	free(w);
}

static void ctl_migrate(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	char app[APP_NAME_MAX] = "";
	bool bad = false;
	bool found = app_resolve(n, args, app, &bad);
	const char *node = ctl_arg_string(args, "node", NULL, &bad);
	bool dry_run = ctl_arg_bool(args, "dry_run", &bad);
	struct move_watch *w;
	struct app_value v;
	json_t *request;

	if (bad || !node) {
		ctl_fail(r, CTL_USAGE, "usage: netctl migrate APP NODE", "what is to go where?");
		return;
	}
	if (!found || !apps_find(n, app, &v, NULL)) {
		if (*app)
			ctl_fail(r, CTL_FAILED, "`netctl apps` lists them", "%s: no such application", app);
		else
			ctl_fail(r, CTL_FAILED, "`netctl apps` and `netctl ports` show what can",
				 "no application has this port or pid");
		return;
	}
	if (!member_find(n->member, node)) {
		ctl_fail(r, CTL_FAILED, "`netctl nodes` lists them", "%s: no such node", node);
		return;
	}
	if (member_witness(n->member, member_find(n->member, node))) {
		ctl_fail(r, CTL_FAILED, "name another node", "%s is a witness: it only votes", node);
		return;
	}
	if (v.node != member_find(n->member, node) && drain_is(n, member_find(n->member, node))) {
		ctl_fail(r, CTL_FAILED, "name another node, or `netctl resume` it first", "%s is drained",
			 node);
		return;
	}
	if (v.node == member_find(n->member, node) && v.state == APP_RUNNING) {
		ctl_ok(r, json_pack("[{ss ss sb}]", "app", app, "node", node, "changed", 0));
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		ctl_fail(r, CTL_FAILED, NULL, "out of memory");
		return;
	}
	w->netd = n;
	w->request = r;
	snprintf(w->app, sizeof(w->app), "%s", app);
	w->next = n->moves->watches;
	n->moves->watches = w;
	request = json_pack("{ss si sb}", "app", app, "node", (int)member_find(n->member, node), "dry_run",
			    dry_run);
	peer_call(n->peers, v.node, "move-run", request, MOVE_BULK_MS, migrate_done, w);
	json_decref(request);
}

static void peer_move_run(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	const char *app = NULL;
	int node = 0, dry_run = 0;

	(void)from;
	if (json_unpack(request, "{ss si s?b}", "app", &app, "node", &node, "dry_run", &dry_run) < 0)
		peer_call_answer(call, move_error(NULL, "malformed request"));
	else
		move_source_begin(arg, app, (uint32_t)node, dry_run, call);
}

/* ---- keepers ------------------------------------------------------------------------- */

/* What a keeper holds against what the sets say, where nothing under way here
 * explains it: after netd, or the node's membership, was away. */
static void settle(struct netd *n, struct keeper *k)
{
	const char *app = keeper_name(k), *state = keeper_state(k), *op = NULL;
	bool ours = false;
	struct move_value m;
	struct app_value v;

	if (move_read(n, app, &m, NULL)) {
		if (m.src == member_self(n->member))
			move_source_reconcile(n, app, &m);
		if (m.dst == member_self(n->member))
			move_target_reconcile(n, app, &m);
		return;
	}
	ours = apps_find(n, app, &v, NULL) && v.node == member_self(n->member);
	if (ours)
		checkpoint_settle(n, app, strcmp(state, "frozen") == 0 || strcmp(state, "running") == 0);
	if (strcmp(state, "frozen") == 0)
		op = ours ? "thaw" : "discard";
	else if (strcmp(state, "waiting") == 0 || strcmp(state, "restored") == 0 ||
		 ((strcmp(state, "running") == 0 || strcmp(state, "paused") == 0) && !ours))
		op = "discard";
	if (!op) {
		freeze_settle(n, app);
		return;
	}
	log_notice("application %s, %s here, belongs %s: %s", app, state,
		   ours ? "here" : "elsewhere or nowhere", op);
	keeper_call(k, json_pack("{ss}", "op", op), -1, MOVE_KEEPER_MS, keeper_ignore, NULL);
}

static void settle_by_name(struct netd *n, const char *name)
{
	struct keeper *k = keepers_find(apps_keepers(n->apps), name);

	if (k)
		settle(n, k);
}

void moves_keeper_hello(struct netd *n, struct keeper *k)
{
	if (strcmp(keeper_state(k), "moved") == 0)
		move_stdio_connect(n, keeper_name(k));
	else if (!move_target_keeper_ready(n, keeper_name(k)) && n->moves->settled)
		settle(n, k);
}

void moves_keeper_event(struct netd *n, struct keeper *k, const char *kind, json_t *event)
{
	if (strcmp(kind, "signal") == 0)
		move_stdio_signal(n, keeper_name(k), (int)json_integer_value(json_object_get(event, "sig")));
	else if (strcmp(kind, "stdio-lost") == 0)
		move_stdio_lost(n, keeper_name(k));
}

void moves_keeper_gone(struct netd *n, struct keeper *k)
{
	move_source_keeper_gone(n, keeper_name(k));
	move_target_keeper_gone(n, keeper_name(k));
}

/* ---- life ------------------------------------------------------------------------------- */

/* Both sides of every move: nothing is released to a program that does not run. */
void moves_hold(struct netd *n)
{
	const struct kddm_object *obj;

	kddm_for_each(n->sets.moves, obj)
	{
		char app[APP_NAME_MAX];
		struct move_value m;

		snprintf(app, sizeof(app), "%.*s", (int)obj->key_len, (const char *)obj->key);
		object_read(obj, &m, sizeof(m));
		if (m.src == member_self(n->member) || m.dst == member_self(n->member))
			datapath_hold_defer(n->datapath, app);
	}
}

void moves_reconcile(struct netd *n)
{
	const struct kddm_object *obj;

	n->moves->settled = true;
	kddm_for_each(n->sets.moves, obj)
	{ /* with a keeper here or without */
		char app[APP_NAME_MAX];
		struct move_value m;

		snprintf(app, sizeof(app), "%.*s", (int)obj->key_len, (const char *)obj->key);
		object_read(obj, &m, sizeof(m));
		if (m.src == member_self(n->member))
			move_source_reconcile(n, app, &m);
		if (m.dst == member_self(n->member))
			move_target_reconcile(n, app, &m);
	}
	keepers_each(apps_keepers(n->apps), n, settle_by_name);
}

int moves_start(struct netd *n)
{
	struct moves *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->netd = n;
	n->moves = m;
	ctl_register(n->ctl, "moves", CTL_MEMBER, ctl_moves, n);
	ctl_register(n->ctl, "migrate", CTL_ROOT | CTL_QUORUM, ctl_migrate, n);
	err = peer_handle(n->peers, "move-run", peer_move_run, n);
	if (!err)
		err = move_target_start(n);
	if (!err)
		err = move_stdio_start(n);
	if (!err)
		err = kddm_link(n->sets.moves, &move_linker, n);
	warmup_criu(n);
	return err;
}

void moves_stop(struct netd *n)
{
	free(n->moves);
	n->moves = NULL;
}
