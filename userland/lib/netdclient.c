/* SPDX-License-Identifier: GPL-2.0 */
/* One command to netd over its control socket; see netdclient.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/netdclient.h"

const char *netdclient_path(void)
{
	const char *path = getenv("NETSSI_SOCKET");

	return path && *path ? path : NETDCLIENT_SOCKET;
}

int netdclient_connect(int flags)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = netdclient_path();
	_close_ int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return take_fd(fd);
}

int netdclient_open(struct jsonline *j)
{
	int fd = netdclient_connect(0);

	if (fd >= 0)
		jsonline_init(j, fd);
	return fd < 0 ? fd : 0;
}

json_t *netdclient_request(const char *cmd, json_t *args)
{
	return json_pack("{s:s, s:o}", "cmd", cmd, "args", args ? json_incref(args) : json_object());
}

int netdclient_take(json_t *answer, json_t *parts, netdclient_event_fn *event, void *arg)
{
	json_t *part = json_object_get(answer, "part"), *result = json_object_get(answer, "result");
	json_t *e = json_object_get(answer, "event");

	if (e) {
		if (event)
			event(arg, e);
		return 0;
	}
	if (part || result)
		return json_array_extend(parts, part ?: result) ? -EPROTO : result != NULL;
	return json_is_string(json_object_get(answer, "error")) ? 1 : -EPROTO;
}

int netdclient_talk(struct jsonline *j, const char *cmd, json_t *args, netdclient_event_fn *event, void *arg,
		    json_t **out)
{
	json_t *request = netdclient_request(cmd, args);
	json_t *parts = json_array(), *answer = NULL;
	int sent = jsonline_send(j, request, NULL, 0), r = 0;

	/* refused while still sending? then its reason can be read all the same */
	if (sent == 0 || sent == -EPIPE || sent == -ECONNRESET) {
		do {
			json_decref(answer);
			answer = NULL;
			r = jsonline_recv(j, &answer);
			r = r <= 0 ? (r ?: -EPIPE) : netdclient_take(answer, parts, event, arg);
		} while (r == 0);
	} else {
		r = sent;
	}
	json_decref(request);
	if (r > 0 && json_object_get(answer, "result"))
		json_object_set(answer, "result", parts);
	json_decref(parts);
	if (r < 0) {
		json_decref(answer);
		return r == -ECONNRESET ? -EPIPE : r;
	}
	*out = answer;
	return 0;
}

int netdclient_call(const char *cmd, json_t *args, netdclient_event_fn *event, void *arg, json_t **out)
{
	struct jsonline j;
	int r = netdclient_open(&j);

	if (r < 0)
		return r;
	r = netdclient_talk(&j, cmd, args, event, arg, out);
	jsonline_close(&j);
	return r;
}
