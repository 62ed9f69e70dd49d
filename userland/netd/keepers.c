// SPDX-License-Identifier: GPL-2.0
/*
 * Keepers: a poll handle and a list of unanswered requests for each. A socket
 * file nobody listens on is what a killed keeper left: it is removed.
 */
#include "keepers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <uv.h>

#include "netd.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"
#include "userland/lib/keeper.h"
#include "userland/lib/log.h"

struct keeper_request {
	struct keeper_request *next;
	struct keeper *keeper;
	json_int_t id;
	uv_timer_t timer;
	keeper_done_fn *done;
	void *arg;
};

struct keeper {
	struct keeper *next;
	struct keepers *all;
	char name[APP_NAME_MAX + 1]; /* of its socket: a waiting standby's ends with '@' */
	struct jsonline line;
	uv_poll_t poll;
	json_t *hello; /* NULL until it came */
	struct keeper_request *requests;
	json_int_t last_id;
};

struct keepers {
	struct netd *netd;
	const struct keeper_events *events;
	void *arg;
	struct keeper *list;
	bool stopping;
	uv_fs_event_t dir;
};

const char *keeper_name(const struct keeper *k)
{
	return k->name;
}

json_t *keeper_hello(const struct keeper *k)
{
	return k->hello;
}

const char *keeper_state(const struct keeper *k)
{
	const char *state = json_string_value(json_object_get(k->hello, "state"));

	return state ? state : "unknown";
}

struct keeper *keepers_find(struct keepers *ks, const char *name)
{
	for (struct keeper *k = ks->list; k; k = k->next)
		if (strcmp(k->name, name) == 0)
			return k->hello ? k : NULL;
	return NULL;
}

unsigned int keepers_pending(const struct keepers *ks)
{
	unsigned int n = 0;

	for (struct keeper *k = ks->list; k; k = k->next)
		n += !k->hello;
	return n;
}

void keepers_each(struct keepers *ks, struct netd *n, void (*fn)(struct netd *n, const char *name))
{
	for (struct keeper *k = ks->list, *next; k; k = next) {
		next = k->next;
		if (k->hello)
			fn(n, k->name);
	}
}

/* ---- requests ----------------------------------------------------------- */

static void free_handle(uv_handle_t *h)
{
	free(h->data);
}

static void request_end(struct keeper_request *r, int status, json_t *ok, json_t *error)
{
	struct keeper_request **p = &r->keeper->requests;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	r->done(r->arg, status, ok, error);
	uv_close((uv_handle_t *)&r->timer, free_handle);
}

static void request_timeout(uv_timer_t *t)
{
	request_end(t->data, -ETIMEDOUT, NULL, NULL);
}

void keeper_call(struct keeper *k, json_t *request, int fd, unsigned int timeout_ms, keeper_done_fn *done,
		 void *arg)
{
	struct keeper_request *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (r) {
		r->keeper = k;
		r->id = ++k->last_id;
		r->done = done;
		r->arg = arg;
		json_object_set_new(request, "id", json_integer(r->id));
		if (fd >= 0)
			json_object_set_new(request, "fd", json_true());
		err = jsonline_send_now(&k->line, request, &fd, fd >= 0);
	}
	json_decref(request);
	if (err < 0) {
		free(r);
		/* One that is stopped, and reads nothing, is not gone; netd must not wait for it. */
		done(arg, err == -EAGAIN ? -ETIMEDOUT : -ENOTCONN, NULL, NULL);
		return;
	}
	r->next = k->requests;
	k->requests = r;
	uv_timer_init(k->all->netd->loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, request_timeout, timeout_ms, 0);
}

void keeper_ignore(void *arg, int status, json_t *ok, json_t *error)
{
	(void)arg;
	(void)status;
	(void)ok;
	(void)error;
}

static void keeper_answer(struct keeper *k, json_t *line)
{
	json_int_t id = json_integer_value(json_object_get(line, "id"));
	json_t *ok = json_object_get(line, "ok"), *state;

	state = json_object_get(ok, "state");
	if (state)
		json_object_set(k->hello, "state", state);
	if (json_object_get(ok, "pid"))
		json_object_set(k->hello, "pid", json_object_get(ok, "pid"));
	for (struct keeper_request *r = k->requests; r; r = r->next) {
		if (r->id == id) {
			request_end(r, 0, ok, ok ? NULL : line);
			return;
		}
	}
}

/* ---- connection --------------------------------------------------------- */

static void keeper_close(struct keeper *k)
{
	struct keeper **p = &k->all->list;

	while (*p != k)
		p = &(*p)->next;
	*p = k->next;
	while (k->requests)
		request_end(k->requests, -ENOTCONN, NULL, NULL);
	if (k->hello)
		k->all->events->gone(k->all->arg, k);
	uv_poll_stop(&k->poll);
	json_decref(k->hello);
	jsonline_close(&k->line);
	uv_close((uv_handle_t *)&k->poll, free_handle);
	/* Another of its name may be there by now; else what is left of its socket goes. */
	if (!k->all->stopping)
		keepers_connect(k->all, k->name);
}

static int keeper_hello_line(struct keeper *k, json_t *hello)
{
	const char *name = json_string_value(json_object_get(hello, "name"));

	if (k->hello || !name || strcmp(name, k->name) != 0)
		return -EPROTO;
	k->hello = json_incref(hello);
	k->all->events->hello(k->all->arg, k);
	return 0;
}

static int keeper_line(struct keeper *k, json_t *line)
{
	json_t *o;

	o = json_object_get(line, "hello");
	if (o)
		return keeper_hello_line(k, o);
	if (!k->hello)
		return -EPROTO;
	o = json_object_get(line, "event");
	if (o) {
		const char *kind = json_string_value(json_object_get(o, "kind"));

		if (json_object_get(o, "state"))
			json_object_set(k->hello, "state", json_object_get(o, "state"));
		k->all->events->event(k->all->arg, k, kind ? kind : "", o);
		return 0;
	}
	keeper_answer(k, line);
	return 0;
}

static void keeper_readable(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	ssize_t n = status < 0 ? status : jsonline_fill(&k->line);
	json_t *line;
	int r = 0;

	(void)events;
	while (n > 0 && (r = jsonline_next(&k->line, &line)) > 0) {
		r = keeper_line(k, line);
		json_decref(line);
		if (r < 0)
			break;
	}
	if (r < 0)
		log_err("application %s: its supervisor does not speak our language", k->name);
	if (r < 0 || n == 0 || (n < 0 && n != -EAGAIN))
		keeper_close(k);
}

static int keeper_socket(const char *name)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_close_ int fd = -1;
	int err;

	if (snprintf(sa.sun_path, sizeof(sa.sun_path), KEEPER_DIR "/%s", name) >= (int)sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err = -errno;
		if (err == -ECONNREFUSED)
			unlink(sa.sun_path);
		return err;
	}
	return take_fd(fd);
}

int keepers_connect(struct keepers *ks, const char *name)
{
	struct keeper *k;
	int fd;

	for (k = ks->list; k; k = k->next)
		if (strcmp(k->name, name) == 0)
			return 0;
	fd = keeper_socket(name);
	if (fd < 0)
		return fd;
	k = calloc(1, sizeof(*k));
	if (!k) {
		close(fd);
		return -ENOMEM;
	}
	k->all = ks;
	snprintf(k->name, sizeof(k->name), "%s", name);
	jsonline_init(&k->line, fd);
	uv_poll_init(ks->netd->loop, &k->poll, fd);
	k->poll.data = k;
	uv_poll_start(&k->poll, UV_READABLE, keeper_readable);
	k->next = ks->list;
	ks->list = k;
	return 0;
}

/* A keeper renames its listening socket into place, so what appears answers. */
static void dir_changed(uv_fs_event_t *h, const char *file, int events, int status)
{
	struct keepers *ks = h->data;

	(void)events;
	if (status == 0 && file && *file != '.' && strlen(file) <= APP_NAME_MAX)
		keepers_connect(ks, file);
}

static void dir_scan(struct keepers *ks)
{
	DIR *d = opendir(KEEPER_DIR);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (*e->d_name != '.' && strlen(e->d_name) <= APP_NAME_MAX)
			keepers_connect(ks, e->d_name);
	if (d)
		closedir(d);
}

int keepers_start(struct netd *n, const struct keeper_events *events, void *arg, struct keepers **out)
{
	struct keepers *ks;
	int err;

	if (mkdir(KEEPER_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	ks = calloc(1, sizeof(*ks));
	if (!ks)
		return -ENOMEM;
	ks->netd = n;
	ks->events = events;
	ks->arg = arg;
	uv_fs_event_init(n->loop, &ks->dir);
	ks->dir.data = ks;
	err = uv_fs_event_start(&ks->dir, dir_changed, KEEPER_DIR, 0);
	if (err < 0)
		log_warn("%s cannot be watched: %s", KEEPER_DIR, uv_strerror(err));
	*out = ks;
	dir_scan(ks);
	return 0;
}

void keepers_stop(struct keepers *ks)
{
	if (!ks)
		return;
	ks->stopping = true;
	for (struct keeper *k; (k = ks->list);) {
		json_decref(k->hello);
		k->hello = NULL; /* nobody is told: the applications go on */
		keeper_close(k);
	}
	uv_close((uv_handle_t *)&ks->dir, free_handle);
}

/* ---- a keeper on the target of a move ------------------------------------ */

static void spawn_exited(uv_process_t *p, int64_t status, int sig)
{
	if (status || sig)
		log_err("the supervisor of a moved application could not start");
	uv_close((uv_handle_t *)p, free_handle);
}

struct spawn_pipe {
	uv_pipe_t pipe;
	uv_write_t write;
	char *text;
};

static void spawn_pipe_free(uv_handle_t *h)
{
	struct spawn_pipe *s = h->data;

	free(s->text);
	free(s);
}

static void spawn_written(uv_write_t *w, int status)
{
	struct spawn_pipe *s = w->data;

	(void)status;
	uv_close((uv_handle_t *)&s->pipe, spawn_pipe_free);
}

int keepers_spawn(struct keepers *ks, json_t *desc)
{
	char *argv[] = {"ssi-run", "--keeper", NULL};
	uv_process_t *p = calloc(1, sizeof(*p));
	struct spawn_pipe *s = calloc(1, sizeof(*s));
	uv_stdio_container_t stdio[3] = {
		{.flags = UV_CREATE_PIPE | UV_READABLE_PIPE},
		{.flags = UV_INHERIT_FD, .data.fd = 2},
		{.flags = UV_INHERIT_FD, .data.fd = 2},
	};
	uv_process_options_t o = {.exit_cb = spawn_exited, .file = "ssi-run", .args = argv};
	uv_buf_t buf;
	int err;

	if (!p || !s) {
		free(p);
		free(s);
		return -ENOMEM;
	}
	p->data = p;
	s->text = json_dumps(desc, JSON_COMPACT);
	uv_pipe_init(ks->netd->loop, &s->pipe, 0);
	s->pipe.data = s->write.data = s;
	stdio[0].data.stream = (uv_stream_t *)&s->pipe;
	o.stdio = stdio;
	o.stdio_count = 3;
	o.flags = UV_PROCESS_DETACHED;
	err = uv_spawn(ks->netd->loop, p, &o);
	if (err < 0) {
		uv_close((uv_handle_t *)p, free_handle);
		uv_close((uv_handle_t *)&s->pipe, spawn_pipe_free);
		return err;
	}
	buf = uv_buf_init(s->text, (unsigned int)strlen(s->text));
	err = uv_write(&s->write, (uv_stream_t *)&s->pipe, &buf, 1, spawn_written);
	if (err < 0)
		uv_close((uv_handle_t *)&s->pipe, spawn_pipe_free);
	return err;
}
