// SPDX-License-Identifier: GPL-2.0
/*
 * keeper-call: speaks to ssi-run as netd would.
 *
 *	keeper-call netd [NODE]			listens as netd.sock; grants every name, prints each request
 *	keeper-call NAME OP [KEY=VALUE...] [connect=ADDR:PORT | listen=PORT]
 *						one operation; prints the answer; 0 when it is "ok"
 *	keeper-call NAME hello			prints what `ssi-run --keeper` on the next node wants
 *	keeper-call NAME watch			prints hello and events until the keeper hangs up
 *
 * With connect or listen the keeper gets a TCP stream with the operation. A VALUE of digits is sent
 * as a number. With keep=1 the stream is left to the keeper and events are awaited until one of
 * kind "exited" or the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "userland/lib/jsonline.h"
#include "userland/lib/keeper.h"

#define NETD_SOCKET "/run/netssi/netd.sock"
#define PATIENCE_S  20

static void die(const char *what)
{
	fprintf(stderr, "keeper-call: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void print(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT);
	puts("");
	fflush(stdout);
}

static int unix_connect(const char *name)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), KEEPER_DIR "/%s", name);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die(sa.sun_path);
	return fd;
}

static int tcp_listen(const char *port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, got;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0)
		die(port);
	got = accept(fd, NULL, NULL);
	close(fd);
	return got;
}

static int tcp_connect(char *where)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	char *colon = strrchr(where, ':');
	time_t end = time(NULL) + PATIENCE_S;
	int fd;

	*colon = '\0';
	inet_pton(AF_INET, where, &sa.sin_addr);
	sa.sin_port = htons((uint16_t)atoi(colon + 1));
	for (;;) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
			return fd;
		if (time(NULL) > end)
			die(where);
		close(fd);
		usleep(10000);
	}
}

static json_t *value_of(const char *text)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	return *text && !*end ? json_integer(n) : json_string(text);
}

/* Reads up to the answer, or the end. Events are printed when asked for. */
static json_t *answer(struct jsonline *j, bool events)
{
	json_t *o;

	while (jsonline_recv(j, &o) > 0) {
		if (json_object_get(o, "ok") || json_object_get(o, "error"))
			return o;
		if (events)
			print(o);
		json_decref(o);
	}
	return NULL;
}

static void until_exited(struct jsonline *j)
{
	json_t *o;

	while (jsonline_recv(j, &o) > 0) {
		const char *kind = json_string_value(json_object_get(json_object_get(o, "event"), "kind"));
		int end = kind && strcmp(kind, "exited") == 0;

		print(o);
		json_decref(o);
		if (end)
			return;
	}
}

static int call(const char *name, const char *op, char **args)
{
	json_t *rq = json_pack("{si ss}", "id", 1, "op", op), *o;
	struct jsonline j;
	int fd = -1, keep = 0, ok;

	for (; *args; args++) {
		char *value = strchr(*args, '=');

		if (!value)
			die(*args);
		*value++ = '\0';
		if (strcmp(*args, "listen") == 0)
			fd = tcp_listen(value);
		else if (strcmp(*args, "connect") == 0)
			fd = tcp_connect(value);
		else if (strcmp(*args, "keep") == 0)
			keep = 1;
		else
			json_object_set_new(rq, *args, value_of(value));
	}
	jsonline_init(&j, unix_connect(name));
	if (strcmp(op, "hello") == 0) {
		if (jsonline_recv(&j, &o) <= 0)
			die(name);
		print(json_object_get(o, "hello"));
		return 0;
	}
	if (strcmp(op, "watch") == 0) {
		until_exited(&j);
		return 0;
	}
	if (fd >= 0)
		json_object_set_new(rq, "fd", json_true());
	if (jsonline_send(&j, rq, &fd, fd >= 0) < 0)
		die(name);
	if (fd >= 0)
		close(fd);
	o = answer(&j, keep);
	if (!o)
		die("no answer");
	print(o);
	ok = json_object_get(o, "ok") != NULL;
	if (keep && ok)
		until_exited(&j);
	return !ok;
}

/* ---- as netd ------------------------------------------------------------------------------------ */

static void grant(struct jsonline *client, json_t *args, const char *node)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	char file[128];
	struct jsonline k;
	json_t *o;

	snprintf(file, sizeof(file), "%s%s", name, json_is_true(json_object_get(args, "standby")) ? "@" : "");
	jsonline_init(&k, unix_connect(file));
	o = json_pack("{si ss ss}", "id", 1, "op", "go", "node", node);
	jsonline_send(&k, o, NULL, 0);
	json_decref(o);
	o = answer(&k, false);
	if (o)
		print(o);
	json_decref(o);
	jsonline_close(&k);
	o = json_pack("{s[{ssss}]}", "result", "name", name, "node", node);
	jsonline_send(client, o, NULL, 0);
	json_decref(o);
}

static void refuse(struct jsonline *client)
{
	json_t *o = json_pack("{sssiss}", "error", "refused: an application of this name runs on n9", "code",
			      1, "remedy", "choose another with --name");

	jsonline_send(client, o, NULL, 0);
	json_decref(o);
}

static void __attribute__((noreturn)) as_netd(const char *node)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = NETD_SOCKET};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	mkdir("/run/netssi", 0755);
	unlink(NETD_SOCKET);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 8) < 0)
		die(NETD_SOCKET);
	for (;;) {
		struct jsonline client;
		const char *name;
		json_t *o, *args;

		jsonline_init(&client, accept(fd, NULL, NULL));
		if (jsonline_recv(&client, &o) <= 0) {
			jsonline_close(&client);
			continue;
		}
		print(o);
		args = json_object_get(o, "args");
		name = json_string_value(json_object_get(args, "name"));
		if (name && strncmp(name, "refused", 7) == 0)
			refuse(&client);
		else if (name)
			grant(&client, args, node);
		json_decref(o);
		jsonline_close(&client);
	}
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "netd") == 0)
		as_netd(argc > 2 ? argv[2] : "n1");
	if (argc < 3) {
		fprintf(stderr, "usage: keeper-call netd [NODE] | NAME OP [KEY=VALUE...]\n");
		return 2;
	}
	return call(argv[1], argv[2], argv + 3);
}
