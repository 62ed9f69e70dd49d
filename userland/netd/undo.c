// SPDX-License-Identifier: GPL-2.0
/* One empty file a setting and interface: SETTING.IFINDEX, for interfaces get other names. See undo.h. One thread. */
#include "undo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netd.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define UNDO_DIR NETD_RUN_DIR "/undo"

#define ACCEPT_LOCAL "accept_local"
#define PROMISC	     "promisc"

struct mark {
	char path[sizeof(UNDO_DIR) + 32];
};

static struct mark mark_of(const char *setting, int index)
{
	struct mark m;

	snprintf(m.path, sizeof(m.path), UNDO_DIR "/%.16s.%d", setting, index);
	return m;
}

/* Before the change: what is not remembered is never put back. */
static int note(const char *setting, int index)
{
	struct mark m = mark_of(setting, index);
	_close_ int fd = -1;

	if (mkdir(UNDO_DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(m.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : 0;
}

static bool take(const char *setting, int index)
{
	struct mark m = mark_of(setting, index);

	return !unlink(m.path);
}

static int accept_local_open(const char *ifname)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/accept_local", ifname);
	return open(path, O_RDWR | O_CLOEXEC);
}

int undo_accept_local(const struct rtnl_link *link)
{
	_close_ int fd = accept_local_open(link->name);
	char was = '0';
	int err;

	if (fd < 0 || pread(fd, &was, 1, 0) != 1)
		return -errno;
	if (was != '0')
		return 0;
	err = note(ACCEPT_LOCAL, link->index);
	if (!err && pwrite(fd, "1", 1, 0) != 1)
		err = -errno;
	return err;
}

int undo_promisc(struct rtnl *r, const struct rtnl_link *link)
{
	int err = link->promisc ? 0 : note(PROMISC, link->index);

	return err || link->promisc ? err : rtnl_promisc(r, true, link->index);
}

void undo_link(struct rtnl *r, int index)
{
	bool accept_local = take(ACCEPT_LOCAL, index), promisc = take(PROMISC, index);
	struct rtnl_link link;

	if (!(accept_local || promisc) || rtnl_link_get(r, index, NULL, &link))
		return;
	if (promisc)
		rtnl_promisc(r, false, index);
	if (accept_local) {
		_close_ int fd = accept_local_open(link.name);

		if (fd >= 0 && pwrite(fd, "0", 1, 0) != 1)
			log_warn("accept_local of %s stays as it is: %m", link.name);
	}
}

void undo_all(struct rtnl *r)
{
	DIR *dir = opendir(UNDO_DIR);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		const char *dot = strchr(e->d_name, '.');

		if (e->d_name[0] != '.' && dot)
			undo_link(r, atoi(dot + 1));
	}
	if (dir)
		closedir(dir);
	rmdir(UNDO_DIR);
}
