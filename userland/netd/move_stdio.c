// SPDX-License-Identifier: GPL-2.0
/*
 * A supervisor in the foreground stays on its node when its application moves.
 * It gets a stream to the keeper on the application's node, for stdio and the
 * exit status (frames: lib/keeper.h); signals go as calls. Both keepers hold
 * the fds themselves; netd only introduces them, again when a stream broke.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "member.h"
#include "move.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

struct introduction {
	struct netd *netd;
	char app[APP_NAME_MAX];
	uint32_t node;
};

static void stdio_stream(void *arg, int status, int fd)
{
	struct introduction *i = arg;
	_close_ int stream = fd;
	struct keeper *k = keepers_find(apps_keepers(i->netd->apps), i->app);

	if (status < 0)
		log_warn("%s: no stream for its output from %s: %s", i->app,
			 member_name(i->netd->member, i->node), move_why(status, NULL));
	else if (k)
		keeper_call(
			k, json_pack("{ss ss}", "op", "moved", "node", member_name(i->netd->member, i->node)),
			stream, MOVE_KEEPER_MS, keeper_ignore, NULL);
	free(i);
}

void move_stdio_connect(struct netd *n, const char *app)
{
	struct keeper *k = keepers_find(apps_keepers(n->apps), app);
	struct introduction *i;
	struct app_value v;
	json_t *hello;

	if (!k || strcmp(keeper_state(k), "moved") != 0 || !apps_find(n, app, &v, NULL) ||
	    v.node == member_self(n->member))
		return;
	i = calloc(1, sizeof(*i));
	if (!i)
		return;
	i->netd = n;
	i->node = v.node;
	strcpy(i->app, app);
	hello = json_pack("{ss}", "app", app);
	peer_stream_open(n->peers, v.node, "stdio", hello, stdio_stream, i);
	json_decref(hello);
}

/* ---- a supervisor that is no more --------------------------------------------------- */

/* Nobody relays any more: what it writes goes to the log of its node. */
static void orphan(struct netd *n, const char *app)
{
	struct keeper *k = keepers_find(apps_keepers(n->apps), app);

	if (!k)
		return;
	log_notice("%s: its supervisor is gone; it goes on, its output to the log", app);
	keeper_call(k, json_pack("{ss}", "op", "stdio"), -1, MOVE_KEEPER_MS, keeper_ignore, NULL);
}

static void asked_again(void *arg, int status, json_t *answer)
{
	struct introduction *i = arg;

	if (status < 0 || json_object_get(answer, "error"))
		orphan(i->netd, i->app);
	free(i);
}

/* A supervisor on the origin that still is gets a new stream; without one we are alone. */
static void ask_origin(struct netd *n, const char *app, uint32_t origin)
{
	struct introduction *i = calloc(1, sizeof(*i));
	json_t *request;

	if (!i)
		return;
	i->netd = n;
	i->node = origin;
	snprintf(i->app, sizeof(i->app), "%s", app);
	request = json_pack("{ss}", "app", app);
	peer_call(n->peers, origin, "stdio-again", request, MOVE_PEER_MS, asked_again, i);
	json_decref(request);
}

static void peer_stdio_again(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct netd *n = arg;
	const char *app = json_string_value(json_object_get(request, "app"));
	struct keeper *k = app ? keepers_find(apps_keepers(n->apps), app) : NULL;

	(void)from;
	if (!k || strcmp(keeper_state(k), "moved") != 0) {
		peer_call_answer(call, move_error(NULL, "no supervisor of it is here"));
		return;
	}
	peer_call_answer(call, json_object());
	move_stdio_connect(n, app);
}

void move_stdio_lost(struct netd *n, const char *app)
{
	struct app_value v;

	if (!apps_find(n, app, &v, NULL))
		return;
	if (v.node != member_self(n->member))
		move_stdio_connect(n, app);
	else if (v.origin != v.node && !(v.flags & APP_DETACHED))
		ask_origin(n, app, v.origin);
}

void move_stdio_inherited(struct netd *n, const char *app)
{
	struct app_value v;

	if (apps_find(n, app, &v, NULL) && !(v.flags & APP_DETACHED) && !member_alive(n->member, v.origin))
		orphan(n, app);
}

static void peer_stdio(void *arg, uint32_t from, json_t *hello, int fd)
{
	struct netd *n = arg;
	_close_ int stream = fd;
	const char *app = json_string_value(json_object_get(hello, "app"));
	struct keeper *k = app ? keepers_find(apps_keepers(n->apps), app) : NULL;

	(void)from;
	if (k)
		keeper_call(k, json_pack("{ss}", "op", "stdio"), stream, MOVE_KEEPER_MS, keeper_ignore, NULL);
}

static void signal_sent(void *arg, int status, json_t *answer)
{
	(void)arg;
	if (status < 0 || json_object_get(answer, "error"))
		log_warn("a signal did not reach a moved application: %s", move_why(status, answer));
}

void move_stdio_signal(struct netd *n, const char *app, int sig)
{
	struct app_value v;
	json_t *request;

	if (sig <= 0 || sig >= NSIG || !apps_find(n, app, &v, NULL))
		return;
	request = json_pack("{ss ss si}", "app", app, "op", "signal", "sig", sig);
	peer_call(n->peers, v.node, "app-op", request, MOVE_PEER_MS, signal_sent, NULL);
	json_decref(request);
}

int move_stdio_start(struct netd *n)
{
	int err = peer_handle(n->peers, "stdio-again", peer_stdio_again, n);

	return err ? err : peer_accept(n->peers, "stdio", peer_stdio, n);
}
