/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control socket: listening, the table of commands, who may run what. What
 * happens on one connection is in ctl_conn.c. One thread: the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/netd/ctl_internal.h"
#include "userland/netd/netd.h"

#define GROUP "netssi"

/* ---- the commands ---- */

static struct ctl_command *find(struct ctl *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->n_commands; i++)
		if (!strcmp(c->commands[i].name, name))
			return &c->commands[i];
	return NULL;
}

void ctl_register(struct ctl *c, const char *cmd, unsigned int flags, ctl_fn *fn, void *arg)
{
	struct ctl_command *slot = find(c, cmd);

	if (!slot) {
		c->commands = reallocarray(c->commands, c->n_commands + 1, sizeof(*c->commands));
		if (!c->commands)
			abort(); /* a few bytes at start */
		slot = &c->commands[c->n_commands++];
	}
	*slot = (struct ctl_command){.name = cmd, .flags = flags, .fn = fn, .arg = arg};
}

void ctl_set_gate(struct ctl *c, const struct ctl_gate *gate, void *arg)
{
	c->gate = *gate;
	c->gate_arg = arg;
}

/* Whether the gates let the request through; answers it when not. */
static bool admitted(struct ctl_request *r)
{
	struct ctl *c = r->ctl;
	unsigned int flags = r->cmd.flags;

	if (flags & (CTL_MEMBER | CTL_QUORUM) && !(c->gate.member && c->gate.member(c->gate_arg))) {
		ctl_fail(r, CTL_NO_NETD,
			 "make a cluster with `netctl init` or enter one with `netctl join ADDR`",
			 "this node is not a member of a cluster");
		return false;
	}
	if (flags & CTL_QUORUM && !(c->gate.quorum && c->gate.quorum(c->gate_arg))) {
		ctl_fail(r, CTL_NO_QUORUM, "bring back enough voters: `netctl nodes` shows which are missing",
			 "the cluster has no quorum: nothing can be changed");
		return false;
	}
	return true;
}

static void run(struct ctl_request *r)
{
	r->state = CTL_RUNNING;
	r->deadline = 0;
	r->held = true;
	if (!admitted(r))
		return;
	if (r->cmd.flags & CTL_ROOT)
		log_info("uid %u, pid %d: %s", (unsigned int)r->peer.uid, (int)r->peer.pid, r->cmd.name);
	r->cmd.fn(r->cmd.arg, r, r->args);
}

void ctl_dispatch(struct ctl_request *r, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "cmd"));
	json_t *args = json_object_get(request, "args");
	struct ctl_command *cmd;

	r->held = true;
	r->state = CTL_RUNNING;
	if (!name || (args && !json_is_object(args))) {
		ctl_fail(r, CTL_USAGE, "send {\"cmd\":\"NAME\",\"args\":{...}}", "this is not a request");
		return;
	}
	cmd = find(r->ctl, name);
	if (!cmd) {
		ctl_fail(r, CTL_USAGE, "compare the versions of netctl and netd with `netctl version`",
			 "this netd has no command '%.32s'", name);
		return;
	}
	r->cmd = *cmd;
	r->args = args ? json_incref(args) : json_object();
	if (!r->args) {
		ctl_fail(r, CTL_FAILED, "free some memory", "out of memory");
	} else if (cmd->flags & CTL_ROOT && r->peer.uid != 0) {
		ctl_fail(r, CTL_FAILED, "run it as root", "only root may change the cluster (%s)", cmd->name);
	} else if (!r->ctl->ready) {
		r->held = false;
		r->state = CTL_WAITING;
		r->deadline = uv_now(r->ctl->loop) + CTL_READY_MS;
	} else {
		run(r);
	}
}

void ctl_ready(struct ctl *c)
{
	struct ctl_request *r, *next;

	c->ready = true;
	for (r = LIST_FIRST(&c->requests); r; r = next) {
		next = LIST_NEXT(r, link);
		if (r->state == CTL_WAITING)
			run(r);
	}
}

/* ---- listening ---- */

/* An answer for a client that is not taken in: it fits into any socket buffer. */
static void turn_away(int fd)
{
	static const char line[] = "{\"error\":\"netd has too many clients\",\"code\":1,"
				   "\"remedy\":\"end some netctl commands, or try again\"}\n";

	if (send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("ctl: a client went away: %s", strerror(errno));
}

static void admit(struct ctl *c, int fd)
{
	_close_ int owned = fd;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return;
	if (c->n_requests >= CTL_CLIENTS || (peer.uid && c->n_unprivileged >= CTL_CLIENTS_UNPRIVILEGED)) {
		turn_away(fd);
		return;
	}
	if (ctl_conn_open(c, fd, &peer) == 0)
		take_fd(owned);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
	struct ctl *c = poll->data;

	for (;;) {
		int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			admit(c, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* not again at once: the tick listens again */
			log_warn("ctl: cannot take a client: %s", strerror(errno));
			uv_poll_stop(&c->listener);
			break;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			break;
		}
	}
}

static void on_tick(uv_timer_t *tick)
{
	struct ctl *c = tick->data;
	struct ctl_request *r, *next;

	for (r = LIST_FIRST(&c->requests); r; r = next) {
		next = LIST_NEXT(r, link);
		ctl_conn_tick(r);
	}
	if (!uv_is_active((uv_handle_t *)&c->listener))
		uv_poll_start(&c->listener, UV_READABLE, on_client);
}

/* The group may use the socket; without the group it is root's alone. */
static void give_to_group(const char *path)
{
	struct group *g = getgrnam(GROUP);

	if (!g)
		log_notice("ctl: there is no group '" GROUP "': only root can use %s", path);
	else if (chown(path, -1, g->gr_gid) < 0 || chmod(path, 0660) < 0)
		log_warn("ctl: cannot give %s to group " GROUP ": %s", path, strerror(errno));
}

static int make_directory(const char *path)
{
	_free_ char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (!dir)
		return -ENOMEM;
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	return mkdir(dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* One netd a socket: the lock ends with the process, however it ends. */
static int take_lock(const char *path)
{
	char name[128];
	_close_ int fd = -1;

	snprintf(name, sizeof(name), "%s.lock", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
	return take_fd(fd);
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old;
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	old = umask(0177); /* nobody else before the group has it */
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(old);
	if (r < 0)
		return r;
	give_to_group(path);
	if (listen(fd, CTL_CLIENTS) < 0)
		return -errno;
	return take_fd(fd);
}

static int start(struct ctl *c, const char *path)
{
	int r = make_directory(path);

	if (r < 0) {
		log_err("ctl: cannot make the directory of %s: %s", path, strerror(-r));
		return r;
	}
	c->lock = take_lock(path);
	if (c->lock == -EADDRINUSE)
		log_err("ctl: another netd runs here; stop it first: `systemctl stop netd`");
	else if (c->lock < 0)
		log_err("ctl: cannot lock %s.lock: %s; run netd as root", path, strerror(-c->lock));
	if (c->lock < 0)
		return c->lock;
	c->fd = listen_at(path);
	if (c->fd < 0) {
		log_err("ctl: cannot listen on %s: %s", path, strerror(-c->fd));
		return c->fd;
	}
	strcpy(c->path, path);
	return 0;
}

int ctl_start_at(struct netd *n, const char *path)
{
	struct ctl *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = n->loop;
	LIST_INIT(&c->requests);
	c->fd = c->lock = -1;
	r = start(c, path);
	if (r == 0)
		r = uv_poll_init(c->loop, &c->listener, c->fd);
	if (r < 0) {
		if (c->fd >= 0)
			close(c->fd);
		if (c->lock >= 0)
			close(c->lock);
		free(c);
		return r;
	}
	uv_timer_init(c->loop, &c->tick);
	c->listener.data = c->tick.data = c;
	c->handles = 2;
	uv_poll_start(&c->listener, UV_READABLE, on_client);
	uv_timer_start(&c->tick, on_tick, 1000, 1000);
	ctl_watch_init(c);
	n->ctl = c;
	return 0;
}

int ctl_start(struct netd *n)
{
	return ctl_start_at(n, NETD_RUN_DIR "/netd.sock");
}

static void on_closed(uv_handle_t *handle)
{
	struct ctl *c = handle->data;

	if (--c->handles > 0)
		return;
	close(c->fd);
	close(c->lock);
	ctl_watch_exit(c);
	free(c->commands);
	free(c);
}

void ctl_stop(struct netd *n)
{
	struct ctl *c = n->ctl;

	if (!c)
		return;
	n->ctl = NULL;
	unlink(c->path);
	while (!LIST_EMPTY(&c->requests)) {
		struct ctl_request *r = LIST_FIRST(&c->requests);

		r->closed = NULL;
		ctl_conn_gone(r);
	}
	uv_close((uv_handle_t *)&c->listener, on_closed);
	uv_close((uv_handle_t *)&c->tick, on_closed);
}
