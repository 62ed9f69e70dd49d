// SPDX-License-Identifier: GPL-2.0
/* The TCP connections of processes, all at once, by the module ssi_core. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/genetlink.h>
#include <ssi/conn.h>
#include <ssi/core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/conns.h"
#include "ckpt/fds.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/conns.h"
#include "userland/lib/genl.h"
#include "userland/lib/grow.h"

#define TASKS_MAX 480 /* of one request, GENL_MESSAGE_MAX */

/* ---- what the module does not see -------------------------------------------------------- */

/* File descriptors that were sent to a UNIX socket of theirs and not taken: no process has them. */
static void count_sent(void *arg, const struct ckpt_fd *f)
{
	char path[64], line[128];
	unsigned int n = 0;
	FILE *info;

	if (!S_ISSOCK(f->st.st_mode))
		return;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", f->pid, f->fd);
	info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "scm_fds: %u", &n) == 1)
			break;
	if (info)
		fclose(info);
	*(unsigned int *)arg += n;
}

static int none_sent(const pid_t *pids, const struct fds_set *but, char error[CKPT_ERROR_MAX])
{
	unsigned int n = 0;

	fds_each_but(pids, but, count_sent, &n);
	if (n)
		snprintf(error, CKPT_ERROR_MAX, "files are on their way between its processes");
	return n ? -EBUSY : 0;
}

/* ---- what the file says ---------------------------------------------------------------------- */

struct connection {
	struct ssi_conn_ident id;
	struct ssi_conn_settings settings;
};

static size_t padded(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

/* The part at `at`; NULL: there is none that is whole. */
static const struct ssi_conn_part *part_at(const char *at, const char *end)
{
	const struct ssi_conn_part *p = (const void *)at;

	return (size_t)(end - at) >= sizeof(*p) && padded(p->len) <= (size_t)(end - at) - sizeof(*p) ? p
												     : NULL;
}

static void read_part(void *to, size_t size, const struct ssi_conn_part *p)
{
	memset(to, 0, size);
	memcpy(to, p + 1, p->len < size ? p->len : size);
}

static void read_connection(struct connection *c, const char *at, const char *end)
{
	const struct ssi_conn_part *p;

	memset(c, 0, sizeof(*c));
	for (; (p = part_at(at, end)); at += sizeof(*p) + padded(p->len)) {
		if (p->type == SSI_CONN_IDENT)
			read_part(&c->id, sizeof(c->id), p);
		else if (p->type == SSI_CONN_SETTINGS)
			read_part(&c->settings, sizeof(c->settings), p);
	}
}

static void add_plain(struct fds_set *set, const char *at, const char *end)
{
	const struct ssi_conn_part *p;
	struct connection c;
	size_t size = 0;

	for (; (p = part_at(at, end)); at += sizeof(*p) + padded(p->len)) {
		if (p->type != SSI_CONN_CONNECTION)
			continue;
		read_connection(&c, (const char *)(p + 1), (const char *)(p + 1) + p->len);
		if (!(c.settings.flags & SSI_CONN_PLAIN))
			continue;
		set->names = grow(set->names, &size, set->n * sizeof(*set->names), sizeof(*set->names));
		set->names[set->n++] = (struct fds_name){(pid_t)c.id.task, (int)c.id.fd};
	}
}

void ckpt_conns_plain(const char *dir, struct fds_set *set)
{
	char path[PATH_MAX], *all;
	_close_ int fd = -1;
	struct stat st;

	*set = (struct fds_set){0};
	snprintf(path, sizeof(path), "%s/" CKPT_CONNS_FILE, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(struct ssi_conn_head))
		return;
	all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (all == MAP_FAILED)
		return;
	add_plain(set, all + sizeof(struct ssi_conn_head), all + st.st_size);
	munmap(all, (size_t)st.st_size);
	fds_set_sort(set);
}

/* ---- requests ------------------------------------------------------------------------------ */

static int count_attr(const struct nlattr *a, void *to)
{
	if (mnl_attr_get_type(a) == SSI_CORE_A_COUNT && mnl_attr_validate(a, MNL_TYPE_U32) == 0)
		*(int *)to = (int)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int take_count(const struct nlmsghdr *nlh, void *to)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), count_attr, to);
}

/* By the names that they have wherever they are restored. */
static int put_tasks(struct nlmsghdr *nlh, const pid_t *pids)
{
	struct ssi_conn_task tasks[TASKS_MAX];
	size_t n = 0;

	for (; pids && *pids; pids++) {
		if (n == TASKS_MAX)
			return -E2BIG;
		tasks[n++] = (struct ssi_conn_task){.pid = (uint32_t)*pids,
						    .name = (uint32_t)fds_inner_pid(*pids)};
	}
	mnl_attr_put(nlh, SSI_CORE_A_TASKS, n * sizeof(*tasks), tasks);
	return 0;
}

struct request {
	uint8_t cmd;
	int attr; /* besides the tasks; 0: none */
	uint32_t value;
};

static struct nlmsghdr *put_request(struct genl *g, const struct request *rq)
{
	struct nlmsghdr *nlh = genl_message(g, rq->cmd, 0);

	if (rq->attr == SSI_CORE_A_TRY)
		mnl_attr_put(nlh, SSI_CORE_A_TRY, 0, NULL);
	else if (rq->attr)
		mnl_attr_put_u32(nlh, (uint16_t)rq->attr, rq->value);
	return nlh;
}

/* How many connections, or -errno with a line. */
static int ask(struct request rq, const pid_t *pids, char error[CKPT_ERROR_MAX])
{
	struct nlmsghdr *nlh;
	int count = 0, err;
	struct genl *g;

	err = genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &g);
	if (err < 0) {
		snprintf(error, CKPT_ERROR_MAX, "the module ssi_core is gone: %s", strerror(-err));
		return err;
	}
	nlh = put_request(g, &rq);
	err = put_tasks(nlh, pids) ?: genl_talk(g, nlh, take_count, &count);
	if (err < 0)
		snprintf(error, CKPT_ERROR_MAX, "TCP connections: %s",
			 *genl_why(g) ? genl_why(g) : strerror(-err));
	genl_close(g);
	return err < 0 ? err : count;
}

static int open_file(const char *dir, int flags, char error[CKPT_ERROR_MAX])
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/" CKPT_CONNS_FILE, dir);
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		snprintf(error, CKPT_ERROR_MAX, "the file of its connections: %s", strerror(errno));
	return fd < 0 ? -errno : fd;
}

/* ---- the operations -------------------------------------------------------------------------- */

int ckpt_conns_try(const pid_t *pids, char error[CKPT_ERROR_MAX])
{
	int format = conns_format(), err;

	if (!format)
		snprintf(error, CKPT_ERROR_MAX, "no module ssi_core");
	if (!format)
		return 0;
	err = none_sent(pids, NULL, error)
		      ?: ask((struct request){SSI_CORE_CMD_EXPORT, SSI_CORE_A_TRY, 0}, pids, error);
	return err < 0 ? 0 : format;
}

int ckpt_conns_export(const pid_t *pids, const char *dir, char error[CKPT_ERROR_MAX])
{
	_close_ int fd = open_file(dir, O_WRONLY | O_CREAT | O_EXCL, error);
	struct fds_set plain = {0};
	char ignored[CKPT_ERROR_MAX];
	int n, err;

	if (fd < 0)
		return fd;
	n = ask((struct request){SSI_CORE_CMD_EXPORT, SSI_CORE_A_FD, (uint32_t)fd}, pids, error);
	if (n < 0)
		return n;
	ckpt_conns_plain(dir, &plain);
	err = none_sent(pids, &plain, error);
	free(plain.names);
	if (err < 0)
		ckpt_conns_run(pids, 0, ignored);
	return err < 0 ? err : n;
}

int ckpt_conns_import(const pid_t *pids, const char *dir, char error[CKPT_ERROR_MAX])
{
	_close_ int fd = open_file(dir, O_RDONLY, error);

	return fd < 0 ? fd
		      : ask((struct request){SSI_CORE_CMD_IMPORT, SSI_CORE_A_FD, (uint32_t)fd}, pids, error);
}

int ckpt_conns_run(const pid_t *pids, uint32_t advance_ms, char error[CKPT_ERROR_MAX])
{
	return ask((struct request){SSI_CORE_CMD_RUN, SSI_CORE_A_ADVANCE, advance_ms}, pids, error);
}
