// SPDX-License-Identifier: GPL-2.0
/*
 * An application from a checkpoint: its directory is examined in another thread, then its name is taken, a keeper
 * started that loads and checks the images, restores, and lets it run. What fails before leaves nothing.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint.h"
#include "ctl.h"
#include "datapath.h"
#include "drain.h"
#include "member.h"
#include "move.h"
#include "move_check.h"
#include "userland/lib/log.h"

#define DIR_MAX	 3900
#define FORMAT	 1 /* ckpt/ckpt.h, CKPT_FORMAT */
#define HELLO_MS 15000

#define RENEW_MS 120000 /* connections that were kept stay while it is being restored */

struct restart {
	struct restart *next;
	struct netd *netd;
	struct peer_call *call;
	uv_work_t work;
	uv_timer_t timer; /* until its keeper says hello */
	char dir[DIR_MAX], from[DIR_MAX + 16];
	char app[APP_NAME_MAX]; /* "" until the manifest was read */
	char error[512], remedy[160];
	unsigned int version;
	json_t *manifest;
	bool named; /* the name is ours */
	bool greeted;
	/* Connections that were kept: all of them are there still, and are renewed until it runs. */
	bool kept;
	uint64_t kept_since_ms, kept_until_ms;
	int connections;
	uint32_t pid;
	json_int_t bytes;
};

static struct restart *restarts;

/* ---- life of the object -------------------------------------------------------------------- */

static struct restart *restart_find(const char *name)
{
	struct restart *r = restarts;

	while (r && strcmp(r->app, name))
		r = r->next;
	return r;
}

bool restart_pending(struct netd *n, const char *name)
{
	(void)n;
	return restart_find(name) != NULL;
}

static void restart_freed(uv_handle_t *h)
{
	struct restart *r = h->data;

	json_decref(r->manifest);
	free(r);
}

static void restart_end(struct restart *r, json_t *answer)
{
	struct restart **p = &restarts;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	peer_call_answer(r->call, answer);
	uv_close((uv_handle_t *)&r->timer, restart_freed);
}

static void restart_give_up(struct restart *r, json_t *error)
{
	struct keeper *k = r->named ? keepers_find(apps_keepers(r->netd->apps), r->app) : NULL;

	if (k)
		keeper_call(k, json_pack("{ss}", "op", "discard"), -1, MOVE_KEEPER_MS, keeper_ignore, NULL);
	if (r->named)
		apps_release(r->netd, r->app);
	restart_end(r, error);
}

static void restart_unkeep(struct restart *r)
{
	struct netd *n = r->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, false);

	/* Another try has the time that is left. */
	if (b && datapath_kept_renew(n->datapath, b, r->app, r->kept_since_ms, r->kept_until_ms) +
				 datapath_kept_ports_back(n->datapath, b, r->app) >
			 0)
		kddm_submit(b, NULL, NULL);
	else if (b)
		kddm_batch_free(b);
	datapath_hold_release(n->datapath, r->app);
}

static void restart_fail(struct restart *r, json_t *error)
{
	if (r->kept)
		restart_unkeep(r);
	restart_give_up(r, error);
}

static void restart_ask(struct restart *r, json_t *request, unsigned int ms, keeper_done_fn *done)
{
	struct keeper *k = keepers_find(apps_keepers(r->netd->apps), r->app);

	if (k) {
		keeper_call(k, request, -1, ms, done, r);
		return;
	}
	json_decref(request);
	done(r, -ENOTCONN, NULL, NULL);
}

static bool restart_failed(struct restart *r, const char *what, int status, json_t *error)
{
	const char *remedy = json_string_value(json_object_get(error, "remedy"));

	if (status == 0 && !error)
		return false;
	restart_fail(r, move_error(remedy && *remedy ? remedy : "journalctl -u netd there tells more",
				   "%s: %s", what, move_why(status, error)));
	return true;
}

/* ---- the directory, in another thread --------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static bool reject(struct restart *r, const char *remedy,
							 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->error, sizeof(r->error), fmt, ap);
	va_end(ap);
	snprintf(r->remedy, sizeof(r->remedy), "%s", remedy);
	return false;
}

/* Whoever writes there decides what runs here as root. */
static bool examine_owner(struct restart *r, const char *dir)
{
	struct stat st;

	if (lstat(dir, &st) < 0)
		return reject(r, "it must be there on the node that restarts it", "%.300s: %s", dir,
			      strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return reject(r, "name the directory of the checkpoints", "%.300s is no directory", dir);
	if (st.st_uid != 0 || (st.st_mode & 022))
		return reject(r, "make sure that it is yours, then `chown root` and `chmod go-w` it",
			      "%.300s: others than root may write to it", dir);
	return true;
}

/* The directory of one version, or of several: then the last of them. */
static bool examine_versions(struct restart *r)
{
	char manifest[DIR_MAX + 32];
	struct dirent *e;
	DIR *d;

	snprintf(manifest, sizeof(manifest), "%s/manifest.json", r->dir);
	snprintf(r->from, sizeof(r->from), "%s", r->dir);
	r->version = (unsigned int)atoi(strrchr(r->dir, '/') + 1);
	if (access(manifest, F_OK) == 0)
		return true;
	d = opendir(r->dir);
	r->version = 0;
	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) && (unsigned int)atoi(e->d_name) > r->version)
			r->version = (unsigned int)atoi(e->d_name);
	if (d)
		closedir(d);
	if (!r->version)
		return reject(r, "`netctl checkpoint APP DIR` makes one",
			      "%.300s: there is no checkpoint in it", r->dir);
	snprintf(r->from, sizeof(r->from), "%s/%u", r->dir, r->version);
	return examine_owner(r, r->from);
}

static bool examine_images(struct restart *r)
{
	json_t *images = json_object_get(r->manifest, "images"), *image;
	char path[DIR_MAX + 300];
	const char *name;
	struct stat st;

	json_object_foreach(images, name, image)
	{
		snprintf(path, sizeof(path), "%s/%.256s", r->from, name);
		if (lstat(path, &st) < 0)
			return reject(r, "restart another version",
				      "the checkpoint %.300s is incomplete: %.64s is missing", r->from, name);
		if (!S_ISREG(st.st_mode) || st.st_size != json_integer_value(json_object_get(image, "size")))
			return reject(r, "restart another version",
				      "the checkpoint %.300s is damaged: %.64s is not what it was", r->from,
				      name);
	}
	return true;
}

static bool examine_manifest(struct restart *r)
{
	static const char *const remedy = "restart another version";
	char path[DIR_MAX + 32];
	json_t *desc;
	const char *app;

	snprintf(path, sizeof(path), "%s/manifest.json", r->from);
	r->manifest = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (!json_object_get(r->manifest, "netssi"))
		return reject(r, remedy, "%.300s is no checkpoint of netssi, or its manifest is damaged",
			      r->from);
	if (json_integer_value(json_object_get(r->manifest, "netssi")) != FORMAT)
		return reject(r, "restart it with the release that made it", "%.300s has another format",
			      r->from);
	app = json_string_value(json_object_get(r->manifest, "app"));
	desc = json_object_get(r->manifest, "desc");
	if (!app || !*app || strlen(app) >= APP_NAME_MAX || strchr(app, '/') || strchr(app, '@') ||
	    strcmp(json_string_value(json_object_get(desc, "name")) ?: "", app) ||
	    !json_array_size(json_object_get(desc, "cmd")) ||
	    !json_object_size(json_object_get(r->manifest, "images")))
		return reject(r, remedy, "the manifest of %.300s is damaged", r->from);
	return examine_images(r);
}

static void restart_examine(uv_work_t *work)
{
	struct restart *r = work->data;

	if (examine_owner(r, r->dir) && examine_versions(r))
		examine_manifest(r);
}

/* ---- restore ------------------------------------------------------------------------------------- */

static void restart_publish(struct restart *r)
{
	struct netd *n = r->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);

	if (b && move_app_state(b, n, r->app, member_self(n->member), APP_RUNNING, r->pid) == 0)
		kddm_submit(b, NULL, NULL);
	else if (b)
		kddm_batch_free(b);
}

static void restart_answer(struct restart *r)
{
	json_t *answer = json_pack("{s:s s:s s:s s:i s:i s:I}", "app", r->app, "node",
				   member_self_name(r->netd->member), "dir", r->dir, "version",
				   (int)r->version, "pid", (int)r->pid, "bytes", r->bytes);

	if (json_object_get(r->manifest, "kept"))
		json_object_set_new(answer, "connections", json_integer(r->kept ? r->connections : 0));
	restart_end(r, answer);
}

static void restart_released(void *arg, const struct kddm_result *result)
{
	struct restart *r = arg;

	if (result->status)
		log_warn("restart of %s: its connections go on when their time is over: %s", r->app,
			 move_why(result->status, NULL));
	datapath_hold_release(r->netd->datapath, r->app);
	restart_answer(r);
}

/* It runs: its ports and what its peers send are for this node, in one entry. */
static void restart_release(struct restart *r)
{
	struct netd *n = r->netd;
	struct kddm_batch *b = kddm_batch_new(n->kddm, false);
	const int failed = -ENOMEM;

	if (b && move_ports_give(b, n, r->app, member_self(n->member)) == 0 &&
	    datapath_kept_remove(n->datapath, b, r->app, r->kept_since_ms) >= 0) {
		kddm_submit(b, restart_released, r);
		return;
	}
	if (b)
		kddm_batch_free(b);
	restart_released(r, &(struct kddm_result){.status = failed, .n_ops = 1, .op = &failed});
}

static void restart_resumed(void *arg, int status, json_t *ok, json_t *error)
{
	struct restart *r = arg;

	if (restart_failed(r, "it was restored, but does not run", status, error))
		return;
	r->pid = (uint32_t)json_integer_value(json_object_get(ok, "pid"));
	restart_publish(r);
	if (r->kept)
		restart_release(r);
	else
		restart_answer(r);
}

static void restart_restored(void *arg, int status, json_t *ok, json_t *error)
{
	struct restart *r = arg;

	(void)ok;
	if (restart_failed(r, "it could not be restored", status, error))
		return;
	restart_ask(r, json_pack("{ss ss}", "op", "resume", "node", member_self_name(r->netd->member)),
		    MOVE_BULK_MS, restart_resumed);
}

static void restart_loaded(void *arg, int status, json_t *ok, json_t *error)
{
	struct restart *r = arg;
	json_t *request;

	if (restart_failed(r, "nothing was started", status, error))
		return;
	r->bytes = json_integer_value(json_object_get(ok, "bytes"));
	request = move_image_request("restore", r->app);
	json_object_set_new(request, "connect", json_boolean(r->kept));
	json_object_set_new(request, "criu", json_string(r->netd->conf.criu));
	restart_ask(r, request, MOVE_BULK_MS, restart_restored);
}

bool restart_hello(struct netd *n, struct keeper *k)
{
	struct restart *r = restart_find(keeper_name(k));
	json_t *request;

	(void)n;
	if (!r || !r->named || r->greeted)
		return r != NULL;
	r->greeted = true;
	uv_timer_stop(&r->timer);
	request = move_image_request("load", r->app);
	json_object_set_new(request, "from", json_string(r->from));
	restart_ask(r, request, MOVE_BULK_MS, restart_loaded);
	return true;
}

static void restart_alone(uv_timer_t *t)
{
	struct restart *r = t->data;

	restart_fail(r, move_error("journalctl -u netd there tells more", "no supervisor could be started"));
}

/* ---- the name --------------------------------------------------------------------------------------- */

static void restart_named(void *arg, const struct kddm_result *result)
{
	struct restart *r = arg;
	int status = result->status ? result->status : result->op[0], err;

	if (status < 0) {
		restart_fail(r, status == -EEXIST
					? move_error("`netctl apps` tells where", "%s runs already", r->app)
					: move_error("`netctl status` tells more",
						     "its name could not be claimed: %s",
						     move_why(status, NULL)));
		return;
	}
	r->named = true;
	uv_timer_start(&r->timer, restart_alone, HELLO_MS, 0);
	err = keepers_spawn(apps_keepers(r->netd->apps), json_object_get(r->manifest, "desc"));
	if (err < 0)
		restart_fail(r, move_error(NULL, "no supervisor could be started: %s", strerror(-err)));
}

static void restart_claim(struct restart *r)
{
	struct netd *n = r->netd;
	json_t *desc = json_object_get(r->manifest, "desc"), *word;
	struct kddm_batch *b = kddm_batch_new(n->kddm, true);
	struct app_value v = {.node = (uint16_t)member_self(n->member),
			      .origin = (uint16_t)member_self(n->member),
			      .state = APP_STARTING,
			      .flags = APP_DETACHED,
			      .uid = (uint32_t)json_integer_value(json_object_get(desc, "uid"))};
	struct timespec ts;
	size_t i, len = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	v.since_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	json_array_foreach(json_object_get(desc, "cmd"), i, word)
	{
		snprintf(v.cmd + len, sizeof(v.cmd) - len, "%s%s", i ? " " : "",
			 json_string_value(word) ?: "");
		len = strlen(v.cmd);
	}
	if (b &&
	    kddm_grab(b, n->sets.apps, r->app, strlen(r->app), &v, sizeof(v), KDDM_ABSENT, v.node) == 0) {
		kddm_submit(b, restart_named, r);
		return;
	}
	if (b)
		kddm_batch_free(b);
	restart_fail(r, move_error(NULL, "out of memory"));
}

/* CRIU connects only from ports that are this node's already. */
static void restart_renew_applied(void *arg, int status)
{
	struct restart *r = arg;

	if (status < 0)
		restart_fail(r, move_error("try again", "its connections could not be had: %s",
					   move_why(status, NULL)));
	else
		restart_claim(r);
}

static void restart_renewed(void *arg, const struct kddm_result *result)
{
	struct restart *r = arg;
	uint32_t self = member_self(r->netd->member);

	r->kept = !result->status;
	for (size_t i = 0; i < result->n_ops; i++)
		r->kept &= !result->op[i];
	if (r->kept) {
		kddm_wait_applied(r->netd->kddm, result->index, &self, 1, MOVE_APPLIED_MS,
				  restart_renew_applied, r);
		return;
	}
	datapath_hold_release(r->netd->datapath, r->app);
	restart_claim(r);
}

/* All that were kept, or none: a peer of one that is over was told so. */
static void restart_renew(struct restart *r)
{
	struct netd *n = r->netd;
	json_t *kept = json_object_get(r->manifest, "kept");
	struct kddm_batch *b = kept ? kddm_batch_new(n->kddm, true) : NULL;
	int there;

	if (!b) {
		restart_claim(r);
		return;
	}
	r->connections = (int)json_integer_value(json_object_get(kept, "connections"));
	r->kept_since_ms = (uint64_t)json_integer_value(json_object_get(kept, "since_ms"));
	r->kept_until_ms =
		r->kept_since_ms + (uint64_t)json_integer_value(json_object_get(kept, "seconds")) * 1000;
	there = datapath_kept_renew(n->datapath, b, r->app, r->kept_since_ms, datapath_unix_ms() + RENEW_MS);
	if (there > 0 && there == r->connections &&
	    datapath_kept_ports(n->datapath, b, r->app, r->kept_since_ms) == 0) {
		datapath_hold_defer(n->datapath, r->app); /* until it runs */
		kddm_submit(b, restart_renewed, r);
		return;
	}
	kddm_batch_free(b);
	restart_claim(r);
}

static void restart_checked(void *arg, json_t *refusals)
{
	struct restart *r = arg;

	if (json_array_size(refusals))
		restart_fail(r, move_check_error(refusals));
	else
		restart_renew(r);
}

static void restart_examined(uv_work_t *work, int status)
{
	struct restart *r = work->data;
	struct netd *n = r->netd;
	const char *app = json_string_value(json_object_get(r->manifest, "app"));
	struct app_value v;

	(void)status;
	if (*r->error) {
		restart_fail(r, move_error(r->remedy, "%s", r->error));
		return;
	}
	if (restart_find(app)) {
		restart_fail(r, move_error("wait for its end", "%s is being restarted already", app));
		return;
	}
	if (apps_find(n, app, &v, NULL)) {
		restart_fail(r, move_error("end that one first", "%s runs already, on %s", app,
					   member_name(n->member, v.node)));
		return;
	}
	snprintf(r->app, sizeof(r->app), "%s", app);
	if (keepers_find(apps_keepers(n->apps), app))
		restart_fail(r,
			     move_error("try again in a moment", "a supervisor of that name is still there"));
	else
		move_check(n, json_object_get(r->manifest, "cpu"), json_object_get(r->manifest, "files"),
			   restart_checked, r);
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void peer_restart(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;
	const char *dir = json_string_value(json_object_get(request, "dir"));
	struct restart *r = dir && *dir == '/' && strlen(dir) < DIR_MAX ? calloc(1, sizeof(*r)) : NULL;

	(void)from;
	if (!r) {
		peer_call_answer(call, move_error(NULL, "malformed request"));
		return;
	}
	if (drain_is(n, member_self(n->member)) || datapath_error(n->datapath)) {
		free(r);
		peer_call_answer(call, move_error("restart it on another node", "%s",
						  datapath_error(n->datapath) ?: "this node is drained"));
		return;
	}
	r->netd = n;
	r->call = call;
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
	for (size_t len = strlen(r->dir); len > 1 && r->dir[len - 1] == '/'; len--)
		r->dir[len - 1] = '\0';
	uv_timer_init(n->loop, &r->timer);
	r->timer.data = r->work.data = r;
	r->next = restarts;
	restarts = r;
	if (uv_queue_work(n->loop, &r->work, restart_examine, restart_examined) < 0)
		restart_fail(r, move_error(NULL, "out of memory"));
}

static void ctl_restart(void *arg, struct ctl_request *r, json_t *args)
{
	struct netd *n = arg;
	bool bad = false;
	const char *dir = ctl_arg_string(args, "dir", NULL, &bad);
	const char *name = ctl_arg_string(args, "node", NULL, &bad);
	uint32_t node = name ? member_find(n->member, name) : member_self(n->member);
	json_t *request;

	if (bad || !dir || *dir != '/' || strlen(dir) >= DIR_MAX) {
		ctl_fail(r, CTL_USAGE, "usage: netctl restart /DIR", "from which directory?");
		return;
	}
	if (!node || !member_alive(n->member, node) || member_witness(n->member, node)) {
		ctl_fail(r, CTL_FAILED, "`netctl nodes` lists them",
			 "%s: no node that is up and runs applications", name ?: "this node");
		return;
	}
	request = json_pack("{ss}", "dir", dir);
	peer_call(n->peers, node, "restart-run", request, MOVE_BULK_MS, ctl_answered, r);
	json_decref(request);
}

int restart_start(struct netd *n)
{
	ctl_register(n->ctl, "restart", CTL_ROOT | CTL_MEMBER | CTL_QUORUM, ctl_restart, n);
	return peer_handle(n->peers, "restart-run", peer_restart, n);
}
