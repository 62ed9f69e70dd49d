// SPDX-License-Identifier: GPL-2.0
/*
 * sd_notify: the application finds a socket of ours in NOTIFY_SOCKET, at the
 * same path on every node. What it says goes to the service manager that
 * started ssi-run, over the stream of stdio when that is on another node.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/run/run.h"
#include "userland/run/stdio.h"

#define NOTIFY_DIR  RUN_DIR "/notify"
#define MESSAGE_MAX 4096

static struct watch watch = {.fd = -1};
static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static char *manager; /* NOTIFY_SOCKET as we got it */

static bool foreign_line(const char *line)
{
	return strncmp(line, "MAINPID=", 8) == 0 || strncmp(line, "FDSTORE", 7) == 0 ||
	       strncmp(line, "MAINPIDFD", 9) == 0 || strncmp(line, "BARRIER=", 8) == 0;
}

/* To the service manager, without what would be wrong there: its main process is us. */
void notify_pass(const char *text, size_t len)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_free_ char *copy = strndup(text, len);
	char out[MESSAGE_MAX] = "", *line, *rest = copy;
	size_t n = 0, sa_len;
	_close_ int fd = -1;

	while (copy && (line = strsep(&rest, "\n")))
		if (*line && !foreign_line(line) && n < sizeof(out) - 1)
			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s\n", line);
	if (!manager || n == 0 || strlen(manager) >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, manager, strlen(manager));
	sa_len = offsetof(struct sockaddr_un, sun_path) + strlen(manager);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && sendto(fd, out, strnlen(out, sizeof(out)), MSG_NOSIGNAL, (struct sockaddr *)&sa,
			      (socklen_t)sa_len) < 0)
		log_debug("service manager: %s", strerror(errno));
}

static void message(struct watch *w, short revents)
{
	char text[MESSAGE_MAX];
	ssize_t n = recv(w->fd, text, sizeof(text), MSG_DONTWAIT);

	(void)revents;
	if (n <= 0)
		return;
	if (run.user_away)
		stdio_send_notify(text, (size_t)n);
	else
		notify_pass(text, (size_t)n);
}

/* relay: on a node where the application only visits, its environment decides. */
int notify_open(bool relay)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *env = getenv("NOTIFY_SOCKET");
	int fd;

	if (!relay && (!env || !*env || run.opts.detach)) {
		unsetenv("NOTIFY_SOCKET");
		return 0;
	}
	if (!relay)
		manager = strdup(env);
	mkdir(RUN_DIR, 0755);
	mkdir(NOTIFY_DIR, 0755);
	chmod(NOTIFY_DIR, 0755); /* whatever the umask of a service is: the program may be another user's */
	snprintf(path, sizeof(path), NOTIFY_DIR "/%s", run.opts.name);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, 0666) < 0) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	watch = (struct watch){.fd = fd, .events = POLLIN, .fn = message};
	loop_watch(&watch);
	setenv("NOTIFY_SOCKET", path, 1);
	return 0;
}

void notify_close(void)
{
	if (watch.fd < 0)
		return;
	loop_unwatch(&watch);
	close(watch.fd);
	watch.fd = -1;
	unlink(path);
}
