// SPDX-License-Identifier: GPL-2.0
/* Asking this node's netd for the name; a standby asks again when netd was restarted meanwhile. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "userland/lib/jsonline.h"
#include "userland/lib/log.h"
#include "userland/run/run.h"

#define NETD_SOCKET RUN_DIR "/netd.sock"
#define RETRY_MS    1000

static struct jsonline line = {.fd = -1};
static struct watch watch;
static struct timer retry;
static bool told_waiting, went;

static void claim_close(void)
{
	loop_unwatch(&watch);
	jsonline_close(&line);
}

static int netd_connect(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = NETD_SOCKET};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* CMD and its arguments, for display. */
static json_t *cmd_text(void)
{
	char text[1024] = "";
	size_t len = 0;

	for (char **a = run.opts.cmd; *a && len < sizeof(text) - 1; a++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? " " : "", *a);
	return jsonline_string(text, sizeof(text));
}

static json_t *request(void)
{
	json_t *data = json_array();

	for (int i = 0; i < run.opts.n_data; i++)
		json_array_append_new(data, jsonline_string(run.opts.data[i], PATH_MAX));
	return json_pack("{ss s{ss so si si sb sb so}}", "cmd", "app-start", "args", "name", run.opts.name,
			 "cmd", cmd_text(), "uid", (int)run.opts.uid, "pid", (int)getpid(), "detach",
			 run.opts.detach, "standby", run.opts.standby, "data", data);
}

static void refused(json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	const char *remedy = json_string_value(json_object_get(answer, "remedy"));

	run_say("error: %s%s%s", error ? error : "netd refused", remedy && *remedy ? "; " : "",
		remedy ? remedy : "");
	run_end(RUN_EXIT);
}

static void take_answer(json_t *answer)
{
	json_t *event = json_object_get(answer, "event"), *result = json_object_get(answer, "result");
	const char *node = NULL;

	if (event) {
		json_unpack(event, "{s{s:s}}", "waiting", "node", &node);
		if (node && !told_waiting)
			run_say("%s runs on %s; waiting for the name", run.opts.name, node);
		told_waiting |= node != NULL;
		if (node)
			run_report();
		return;
	}
	if (!result) {
		if (!went)
			refused(answer);
		return;
	}
	if (json_unpack(json_array_get(result, 0), "{s:s}", "node", &node) == 0 && !run.origin[0])
		snprintf(run.origin, sizeof(run.origin), "%s", node);
	claim_close();
}

static void netd_event(struct watch *w, short revents)
{
	ssize_t n = jsonline_fill(&line);
	json_t *answer;
	int r = 0;

	(void)w;
	(void)revents;
	while (n > 0 && line.fd >= 0 && (r = jsonline_next(&line, &answer)) > 0) {
		take_answer(answer);
		json_decref(answer);
	}
	if (line.fd < 0 || (r >= 0 && (n > 0 || n == -EAGAIN)))
		return;
	claim_close();
	if (went)
		return;
	if (run.opts.standby) {
		loop_timer(&retry, RETRY_MS);
		return;
	}
	run_say("error: netd ended while %s was to start; see: journalctl -u netd", run.opts.name);
	run_end(RUN_EXIT);
}

static int ask(void)
{
	int fd = netd_connect(), err;
	json_t *rq;

	if (fd < 0)
		return fd;
	jsonline_init(&line, fd);
	rq = request();
	err = jsonline_send(&line, rq, NULL, 0);
	json_decref(rq);
	if (err < 0) {
		jsonline_close(&line);
		return err;
	}
	watch = (struct watch){.fd = fd, .events = POLLIN, .fn = netd_event};
	loop_watch(&watch);
	return 0;
}

static void ask_again(struct timer *t)
{
	if (!went && ask() < 0)
		loop_timer(t, RETRY_MS);
}

int claim_begin(void)
{
	int err;

	retry.fn = ask_again;
	err = ask();
	if (err == 0)
		return 0;
	if (err == -EACCES || err == -EPERM)
		log_err("%s: %s; run as root", NETD_SOCKET, strerror(-err));
	else
		log_err("netd is not running on this node; start it: systemctl start netd");
	return RUN_EXIT;
}

void claim_went(void)
{
	went = true;
	run_report();
}
