// SPDX-License-Identifier: GPL-2.0
/*
 * A supervisor in the foreground stays on its node when its application moves.
 * It gets a stream to the keeper on the application's node, for stdio and the
 * exit status (frames: lib/keeper.h); signals go as calls. Both keepers hold
 * the fds themselves; netd only introduces them, again when a stream broke.
 */
#include <errno.h>
#include <signal.h>
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
		keeper_call(k,
			    json_pack("{ss ss}", "op", "moved", "node",
				      member_name(i->netd->member, i->node)),
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

static void peer_stdio(void *arg, uint32_t from, json_t *hello, int fd)
{
	struct netd *n = arg;
	_close_ int stream = fd;
	const char *app = json_string_value(json_object_get(hello, "app"));
	struct keeper *k = app ? keepers_find(apps_keepers(n->apps), app) : NULL;

	(void)from;
	if (k)
		keeper_call(k, json_pack("{ss}", "op", "stdio"), stream, MOVE_KEEPER_MS,
			    keeper_ignore, NULL);
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
	return peer_accept(n->peers, "stdio", peer_stdio, n);
}
