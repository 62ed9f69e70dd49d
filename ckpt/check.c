// SPDX-License-Identifier: GPL-2.0
/*
 * What stands against a move, found before anything is frozen. Each refusal
 * names process, fd and kind, and what to do about it. pids of this node.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ckpt/check.h"
#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"

#define MAX_REFUSALS 64

/* Processes that forked share what they opened before. */
static bool refused_already(const struct check *c, const char *path, const char *reason)
{
	json_t *r;
	size_t i;

	json_array_foreach(c->refusals, i, r)
	{
		if (strcmp(json_string_value(json_object_get(r, "path")), path) == 0 &&
		    strcmp(json_string_value(json_object_get(r, "reason")), reason) == 0)
			return true;
	}
	return false;
}

void check_refuse(struct check *c, pid_t pid, int fd, const char *path, const char *reason,
		  const char *remedy)
{
	if (json_array_size(c->refusals) >= MAX_REFUSALS || refused_already(c, path, reason))
		return;
	json_array_append_new(c->refusals,
			      json_pack("{ss si so si ss}", "reason", reason, "fd", fd, "path",
					jsonline_string(path, PATH_MAX), "pid", pid, "remedy", remedy));
}

void check_refuse_fd(struct check *c, const struct ckpt_fd *f, const char *reason, const char *remedy)
{
	check_refuse(c, f->pid, f->fd, f->link, reason, remedy);
}

/* ---- anonymous inodes ------------------------------------------------------------------------- */

static void check_anon(struct check *c, const struct ckpt_fd *f, const char *kind)
{
	static const char *const fine[] = {"[eventfd]", "[eventpoll]", "[signalfd]", "[timerfd]",
					   "inotify",	"[fanotify]",  "[pidfd]"};
	char reason[128];

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		if (strcmp(kind, fine[i]) == 0)
			return;
	if (strstr(kind, "io_uring"))
		check_refuse_fd(c, f, "an io_uring cannot be moved",
				"configure the program to do without io_uring");
	else if (strstr(kind, "bpf"))
		check_refuse_fd(c, f, "BPF maps, programs and links cannot be moved",
				"do without them in this program");
	else if (strstr(kind, "perf_event"))
		check_refuse_fd(c, f, "a perf event cannot be moved", "stop profiling the program");
	else {
		snprintf(reason, sizeof(reason), "an open file of the kind %.80s cannot be moved", kind);
		check_refuse_fd(c, f, reason, "close it in the program");
	}
}

/* ---- pipes ---------------------------------------------------------------------------------------- */

struct ends {
	ino_t inode;
	dev_t dev;
	int readers, writers;
};

static void count_ends(void *arg, const struct ckpt_fd *f)
{
	struct ends *e = arg;
	int mode;

	if (!S_ISFIFO(f->st.st_mode) || f->st.st_ino != e->inode || f->st.st_dev != e->dev)
		return;
	mode = fds_mode(f);
	e->readers += mode != O_WRONLY;
	e->writers += mode != O_RDONLY;
}

/* Does anyone hold the other end? */
static bool other_end_held(const struct ckpt_fd *f, int mode)
{
	_close_ int fd = fds_get(f);
	struct pollfd p = {.fd = fd, .events = 0};

	if (fd < 0 || poll(&p, 1, 0) < 0)
		return false;
	return !(p.revents & (mode == O_RDONLY ? POLLHUP : POLLERR));
}

static void check_pipe(struct check *c, const struct ckpt_fd *f)
{
	struct ends e = {.inode = f->st.st_ino, .dev = f->st.st_dev};
	int mode = fds_mode(f);

	for (int i = 0; i < 3; i++)
		if (f->st.st_ino == c->pipes[i] && strncmp(f->link, "pipe:", 5) == 0)
			return;
	fds_each(c->pids, count_ends, &e);
	if ((e.readers && e.writers) || !other_end_held(f, mode))
		return;
	check_refuse_fd(c, f, "the other end of this pipe is held outside the application",
			"start both ends together under one ssi-run");
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

static bool own_unix(const struct check *c, ino_t inode)
{
	for (size_t i = 0; i < c->n_unix; i++)
		if (c->unix_sockets[i] == inode)
			return true;
	return false;
}

static void collect_unix(void *arg, const struct ckpt_fd *f)
{
	struct check *c = arg;

	if (!S_ISSOCK(f->st.st_mode))
		return;
	if (c->n_unix == c->room_unix) {
		size_t room = c->room_unix ? c->room_unix * 2 : 64;
		ino_t *more = realloc(c->unix_sockets, room * sizeof(*more));

		if (!more)
			return;
		c->unix_sockets = more;
		c->room_unix = room;
	}
	c->unix_sockets[c->n_unix++] = f->st.st_ino;
}

static int diag_ask(int nl, ino_t inode)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} rq = {.h = {.nlmsg_len = sizeof(rq),
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = NLM_F_REQUEST},
		.r = {.sdiag_family = AF_UNIX,
		      .udiag_states = ~0U,
		      .udiag_ino = (uint32_t)inode,
		      .udiag_show = UDIAG_SHOW_PEER,
		      .udiag_cookie = {~0U, ~0U}}};

	return send(nl, &rq, sizeof(rq), 0) < 0 ? -errno : 0;
}

/* The inode of the socket that a UNIX socket is connected with, 0: none or not known. */
static ino_t unix_peer(ino_t inode)
{
	_close_ int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	char buf[4096] __attribute__((aligned(8)));
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct nlattr *a;
	ssize_t n, left;

	if (nl < 0 || diag_ask(nl, inode) < 0)
		return 0;
	n = recv(nl, buf, sizeof(buf), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct unix_diag_msg)) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    h->nlmsg_len > (size_t)n)
		return 0;
	a = (struct nlattr *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
	left = (ssize_t)h->nlmsg_len - ((char *)a - buf);
	while (left >= (ssize_t)sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= left) {
		uint32_t peer;

		if (a->nla_type == UNIX_DIAG_PEER && a->nla_len >= sizeof(*a) + sizeof(peer)) {
			memcpy(&peer, a + 1, sizeof(peer));
			return peer;
		}
		left -= NLA_ALIGN(a->nla_len);
		a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len));
	}
	return 0;
}

static void check_unix(struct check *c, const struct ckpt_fd *f, int type)
{
	ino_t peer;

	if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
		return; /* a datagram socket finds its peer by name again */
	peer = unix_peer(f->st.st_ino);
	if (peer && !own_unix(c, peer))
		check_refuse_fd(c, f, "this UNIX socket is connected with a process outside the application",
				"let the program connect by TCP, or close the connection first");
}

static int int_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

static void check_socket(struct check *c, const struct ckpt_fd *f)
{
	_close_ int fd = fds_get(f);
	char reason[96];
	int domain;

	if (fd < 0)
		return;
	domain = int_option(fd, SO_DOMAIN);
	switch (domain) {
	case AF_INET:
	case AF_INET6:
		check_inet(c, f, fd);
		return;
	case AF_UNIX:
		check_unix(c, f, int_option(fd, SO_TYPE));
		return;
	case AF_NETLINK:
	case AF_PACKET:
		return;
	default:
		snprintf(reason, sizeof(reason), "a socket of address family %d cannot be moved", domain);
		check_refuse_fd(c, f, reason, "let the program use TCP, UDP or UNIX sockets");
	}
}

/* ---- devices, files ----------------------------------------------------------------------------------- */

static void check_char(struct check *c, const struct ckpt_fd *f)
{
	unsigned int major_nr = major(f->st.st_rdev), minor_nr = minor(f->st.st_rdev);

	if (major_nr == 1 &&
	    (minor_nr == 3 || minor_nr == 5 || minor_nr == 7 || minor_nr == 8 || minor_nr == 9))
		return; /* null zero full random urandom */
	if (major_nr == 5 && minor_nr == 2)
		return; /* ptmx: a terminal of its own */
	if (major_nr >= 136 && major_nr <= 143)
		return; /* its other side */
	if (major_nr == 4 || major_nr == 5)
		check_refuse_fd(c, f, "a terminal of this node cannot be moved",
				"redirect it; fds 0 to 2 move by themselves");
	else
		check_refuse_fd(c, f, "a device of this node cannot be moved", "close it in the program");
}

static void check_fd(void *arg, const struct ckpt_fd *f)
{
	struct check *c = arg;

	if (strncmp(f->link, "anon_inode:", 11) == 0)
		check_anon(c, f, f->link + 11);
	else if (S_ISFIFO(f->st.st_mode))
		check_pipe(c, f);
	else if (S_ISSOCK(f->st.st_mode))
		check_socket(c, f);
	else if (S_ISCHR(f->st.st_mode))
		check_char(c, f);
	else if (S_ISBLK(f->st.st_mode))
		check_refuse_fd(c, f, "a disk of this node cannot be moved", "close it in the program");
}

/* ---- processes ------------------------------------------------------------------------------------------- */

static ino_t ns_of(pid_t pid, const char *ns)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, ns);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static void check_ns(struct check *c, pid_t pid)
{
	static const struct {
		const char *ns, *reason;
	} all[] = {{"mnt", "it has a mount namespace of its own"},
		   {"net", "it has a network namespace of its own"},
		   {"pid", "it has a pid namespace of its own"},
		   {"user", "it has a user namespace of its own"}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		ino_t own = ns_of(pid, all[i].ns), root = ns_of(c->pids[0], all[i].ns);

		if (own && root && own != root)
			check_refuse(c, pid, -1, all[i].ns, all[i].reason,
				     "switch off the program's sandbox (PrivateTmp and the like)");
	}
}

static int tracer_of(pid_t pid)
{
	char path[64], line[256];
	int tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	if (f)
		fclose(f);
	return tracer;
}

bool ckpt_traced(const pid_t *pids)
{
	return pids && *pids && tracer_of(*pids) != 0;
}

/* Memory that is shared with a device or with processes outside. */
static void check_maps(struct check *c, pid_t pid)
{
	char path[64], line[PATH_MAX + 128], file[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		file[0] = '\0';
		if (sscanf(line, "%*s %*s %*s %*s %*s %4095[^\n]", file) != 1)
			continue;
		check_mapped(c, pid, file);
		if (strncmp(file, "/dev/", 5) == 0 && strncmp(file, "/dev/zero", 9) != 0 &&
		    strncmp(file, "/dev/shm/", 9) != 0)
			check_refuse(c, pid, -1, file, "memory of a device is mapped",
				     "close it in the program");
		if (c->ipc_host && strncmp(file, "/SYSV", 5) == 0)
			check_refuse(c, pid, -1, file, "System V shared memory of the node cannot be moved",
				     "start it without --ipc host");
		if (strstr(file, "io_uring"))
			check_refuse(c, pid, -1, file, "an io_uring cannot be moved",
				     "configure the program to do without io_uring");
	}
	if (f)
		fclose(f);
}

json_t *ckpt_check(const pid_t *pids, const uint64_t pipes[3], bool ipc_host)
{
	struct check c = {.refusals = json_array(), .pids = pids, .pipes = pipes, .ipc_host = ipc_host};

	check_groups(&c);
	fds_each(pids, collect_unix, &c);
	fds_each(pids, check_fd, &c);
	for (const pid_t *p = pids; p && *p; p++) {
		check_ns(&c, *p);
		check_limits(&c, *p);
		if (tracer_of(*p))
			check_refuse(&c, *p, -1, "", "a debugger holds it", "end gdb or strace first");
		check_maps(&c, *p);
	}
	free(c.unix_sockets);
	free(c.groups);
	return c.refusals;
}
