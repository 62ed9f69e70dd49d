// SPDX-License-Identifier: GPL-2.0
/*
 * Notices for the application's processes. All that is known of one that registered is in a struct listener, by its
 * pid inside, which is the same on every node; what it has open is borrowed for the moment of a notice. On the
 * target they are looked up while all are held: when they begin to run CRIU goes, and with it the tree by which
 * they are found for a moment.
 */
#include "userland/run/notice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "ckpt/fds.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/lib/notice.h"
#include "userland/run/carry_int.h"
#include "userland/run/run.h"

#define LISTENERS_MAX 32
#define FORGOTTEN_MS  120000 /* then whoever announced a move is gone */

struct listener {
	pid_t pid; /* inside, 0: free */
	int pidfd;
	int page, wake;
	uint64_t token;
	unsigned int limit_ms;
	int64_t until_ms; /* its answer is awaited until then, 0: no */
};

static struct listener list[LISTENERS_MAX];
static struct watch watch = {.fd = -1};
static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static struct keeper_request asked; /* .conn 0: nobody waits */
static unsigned int n_told, n_ready;
static int64_t told_at_ms;
static bool announced; /* they wait for what comes */
static struct timer late, forgotten;

/* ---- what a process has open ------------------------------------------------------------------- */

static int borrow(int pidfd, int fd)
{
	return pidfd < 0 || fd < 0 ? -EBADF : pidfd_getfd(pidfd, fd, 0);
}

static bool is_eventfd(int fd)
{
	char name[64], link[64] = "";

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return readlink(name, link, sizeof(link) - 1) > 0 && strcmp(link, "anon_inode:[eventfd]") == 0;
}

/* Memory, and not a file that may keep us waiting. */
static bool is_page(int fd, uint64_t token, uint64_t *head)
{
	struct notice_page page;
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC ||
	    pread(fd, &page, sizeof(page), 0) != sizeof(page))
		return false;
	*head = page.head;
	return page.magic == NOTICE_MAGIC && page.token == token;
}

static int write_slot(int fd, uint64_t head, enum notice_what what, const char *node)
{
	struct notice_slot slot = {.what = what};
	off_t at = (off_t)(offsetof(struct notice_page, slot) + head % NOTICE_SLOTS * sizeof(slot));

	snprintf(slot.node, sizeof(slot.node), "%s", node);
	head++;
	return pwrite(fd, &slot, sizeof(slot), at) == sizeof(slot) &&
			       pwrite(fd, &head, sizeof(head), offsetof(struct notice_page, head)) ==
				       sizeof(head)
		       ? 0
		       : -EIO;
}

/* The eventfd before the page, see lib/notice.h. -errno: it is not there any more. */
static int tell(const struct listener *l, enum notice_what what, const char *node)
{
	_close_ int wake = borrow(l->pidfd, l->wake);
	_close_ int page = wake < 0 ? -1 : borrow(l->pidfd, l->page);
	struct pollfd room = {.fd = wake, .events = POLLOUT};
	uint64_t head, one = 1;

	if (page < 0 || !is_eventfd(wake) || !is_page(page, l->token, &head))
		return -ESRCH;
	if (write_slot(page, head, what, node) < 0)
		return -EIO;
	/* A counter that is full wakes, too; a write would wait for its reader. */
	if (poll(&room, 1, 0) == 1 && room.revents & POLLOUT && write(wake, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

static void listener_drop(struct listener *l)
{
	if (l->pid && l->pidfd >= 0)
		close(l->pidfd);
	*l = (struct listener){0};
}

static void tell_all(enum notice_what what, const char *node)
{
	for (struct listener *l = list; l < list + LISTENERS_MAX; l++)
		if (l->pid && tell(l, what, node) < 0)
			listener_drop(l);
}

/* ---- what processes say -------------------------------------------------------------------------- */

static struct listener *listener_find(pid_t pid, uint64_t token)
{
	for (struct listener *l = list; l < list + LISTENERS_MAX; l++)
		if (l->pid == pid && l->token == token)
			return l;
	return NULL;
}

static void answer(void)
{
	struct keeper_request rq = asked;

	for (struct listener *l = list; l < list + LISTENERS_MAX; l++)
		if (l->pid && l->until_ms)
			return;
	loop_timer(&late, -1);
	asked = (struct keeper_request){0};
	if (rq.conn)
		keeper_ok(rq, json_pack("{si si sI}", "told", (int)n_told, "ready", (int)n_ready, "ms",
					(json_int_t)(loop_now_ms() - told_at_ms)));
}

static void take_register(pid_t host_pid, pid_t pid, const struct notice_message *m)
{
	struct listener *l = listener_find(pid, m->token);

	if (!l)
		l = listener_find(0, 0);
	if (!l) {
		log_warn("%s: more than %d of its processes want to hear of moves; pid %d does not",
			 run.opts.name, LISTENERS_MAX, pid);
		return;
	}
	listener_drop(l);
	*l = (struct listener){.pid = pid,
			       .pidfd = pidfd_open(host_pid, 0),
			       .page = m->page,
			       .wake = m->wake,
			       .token = m->token,
			       .limit_ms = m->limit_ms};
	if (tell(l, NOTICE_HERE, run.here) < 0)
		listener_drop(l);
}

static void take(pid_t host_pid, const struct notice_message *m)
{
	pid_t pid = fds_inner_pid(host_pid);
	struct listener *l = listener_find(pid, m->token);

	if (pid && m->op == NOTICE_REGISTER)
		take_register(host_pid, pid, m);
	else if (l && m->op == NOTICE_LEAVE)
		listener_drop(l);
	else if (l && m->op == NOTICE_READY && l->until_ms) {
		l->until_ms = 0;
		n_ready++;
	}
	if (asked.conn)
		answer();
}

static void message(struct watch *w, short revents)
{
	struct notice_message m;
	union {
		char buf[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&m, sizeof(m)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(w->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	struct ucred cred;

	(void)revents;
	if (n != sizeof(m) || msg.msg_flags & MSG_TRUNC || m.magic != NOTICE_MAGIC || m.token > INT64_MAX ||
	    !c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
		return;
	memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	if (space_holds(&run.space, cred.pid))
		take(cred.pid, &m);
}

int notice_open(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_close_ int fd = -1;
	int on = 1;

	if (watch.fd >= 0)
		return 0;
	mkdir(RUN_DIR, 0755);
	mkdir(NOTICE_DIR, 0755);
	chmod(NOTICE_DIR, 0755); /* the program may be another user's */
	snprintf(path, sizeof(path), NOTICE_DIR "/%s", run.opts.name);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, 0666) < 0)
		return -errno;
	watch = (struct watch){.fd = take_fd(fd), .events = POLLIN, .fn = message};
	loop_watch(&watch);
	setenv(NOTICE_ENV, path, 1);
	return 0;
}

void notice_close(void)
{
	if (watch.fd < 0)
		return;
	loop_unwatch(&watch);
	close(watch.fd);
	watch.fd = -1;
	unlink(path);
}

/* ---- moves ------------------------------------------------------------------------------------------ */

unsigned int notice_count(void)
{
	unsigned int n = 0;

	for (struct listener *l = list; l < list + LISTENERS_MAX; l++)
		n += l->pid != 0;
	return n;
}

static void time_over(struct timer *t)
{
	int64_t at = loop_now_ms(), next = INT64_MAX;

	for (struct listener *l = list; l < list + LISTENERS_MAX; l++) {
		if (!l->pid || !l->until_ms)
			continue;
		if (l->until_ms <= at) {
			log_warn("%s: its process %d did not say within %lld ms that it is ready to be moved",
				 run.opts.name, l->pid, (long long)(at - told_at_ms));
			l->until_ms = 0;
		} else if (l->until_ms < next) {
			next = l->until_ms;
		}
	}
	if (next < INT64_MAX)
		loop_timer(t, (int)(next - at));
	else
		answer();
}

static void nothing_came(struct timer *t)
{
	if (now.busy)
		loop_timer(t, FORGOTTEN_MS);
	else if (run.state == RUN_RUNNING)
		notice_stayed();
}

void notice_tell(struct keeper_request rq, json_t *args, int fd)
{
	const char *what = json_string_value(json_object_get(args, "what")) ?: "";
	const char *node = json_string_value(json_object_get(args, "node")) ?: "";
	json_int_t max = json_integer_value(json_object_get(args, "limit_ms"));
	enum notice_what notice = strcmp(what, "saving") ? NOTICE_MOVING : NOTICE_SAVING;

	(void)fd;
	if (run.state != RUN_RUNNING || asked.conn || max < 0 || max > INT32_MAX ||
	    (notice == NOTICE_MOVING && strcmp(what, "moving"))) {
		keeper_error(rq, NULL, "nobody can be told that now; it is %s", run_state_name(run.state));
		return;
	}
	tell_all(notice, node);
	asked = rq;
	announced = true;
	n_told = n_ready = 0;
	told_at_ms = loop_now_ms();
	for (struct listener *l = list; l < list + LISTENERS_MAX; l++) {
		unsigned int limit = l->limit_ms < max ? l->limit_ms : (unsigned int)max;

		n_told += l->pid != 0;
		l->until_ms = l->pid && limit ? told_at_ms + limit : 0;
	}
	late.fn = time_over;
	forgotten.fn = nothing_came;
	loop_timer(&forgotten, FORGOTTEN_MS);
	time_over(&late);
}

void notice_stayed(void)
{
	if (!announced)
		return;
	announced = false;
	loop_timer(&forgotten, -1);
	tell_all(NOTICE_STAYED, run.here);
}

json_t *notice_export(void)
{
	json_t *out = json_array();

	for (struct listener *l = list; l < list + LISTENERS_MAX; l++)
		if (l->pid)
			json_array_append_new(out,
					      json_pack("{si si si sI si}", "pid", l->pid, "page", l->page,
							"wake", l->wake, "token", (json_int_t)l->token,
							"limit_ms", (int)(l->limit_ms & INT32_MAX)));
	return out;
}

void notice_import(json_t *state)
{
	json_t *o;
	size_t i;

	notice_forget();
	json_array_foreach(state, i, o)
	{
		json_int_t token = 0;
		int limit = 0;
		struct listener l = {0};
		pid_t pid;

		if (i >= LISTENERS_MAX ||
		    json_unpack(o, "{si si si sI si}", "pid", &l.pid, "page", &l.page, "wake", &l.wake,
				"token", &token, "limit_ms", &limit) < 0 ||
		    l.pid <= 0)
			continue;
		pid = space_host_pid(&run.space, l.pid);
		l.pidfd = pid ? pidfd_open(pid, 0) : -1;
		l.token = (uint64_t)token;
		l.limit_ms = (unsigned int)limit;
		list[i] = l;
	}
}

void notice_arrived(bool kept)
{
	tell_all(kept ? NOTICE_RESTARTED : NOTICE_MOVED, run.here);
}

void notice_forget(void)
{
	for (struct listener *l = list; l < list + LISTENERS_MAX; l++)
		listener_drop(l);
	announced = false;
	loop_timer(&forgotten, -1);
	if (asked.conn)
		answer();
}
