// SPDX-License-Identifier: GPL-2.0
/*
 * Whose sockets they are: the application by the control group that made the
 * socket (ssi.slice/ssi-NAME.scope or below), the process by who holds it. What
 * an event does not tell is looked up for all new sockets at once.
 */
#include "claims_int.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "userland/lib/cleanup.h"

#define LIST_MS	     2 /* a socket that listens is listed soon after it was told */
#define SCOPE_PREFIX "ssi-"
#define SCOPE_SUFFIX ".scope"
#define DEPTH_MAX    8
#define FIRST_PID_NS 0xEFFFFFFC /* inode of the first pid namespace */

/* ---- control groups -------------------------------------------------------------- */
static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* A directory at or below `path` whose inode, which is the group's id, is `id`. */
static bool group_below(const char *path, uint64_t id, int depth)
{
	_cleanup_(close_dir) DIR *dir = NULL;
	char sub[PATH_MAX];
	struct dirent *e;
	struct stat st;

	if (!stat(path, &st) && st.st_ino == id)
		return true;
	dir = depth < DEPTH_MAX ? opendir(path) : NULL;
	while (dir && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) < (int)sizeof(sub) &&
		    group_below(sub, id, depth + 1))
			return true;
	}
	return false;
}

static bool scope_name(const char *dir, char app[APP_NAME_MAX])
{
	size_t len = strlen(dir), fix = strlen(SCOPE_PREFIX) + strlen(SCOPE_SUFFIX);

	if (len <= fix || len - fix >= APP_NAME_MAX || strncmp(dir, SCOPE_PREFIX, strlen(SCOPE_PREFIX)) ||
	    strcmp(dir + len - strlen(SCOPE_SUFFIX), SCOPE_SUFFIX))
		return false;
	snprintf(app, APP_NAME_MAX, "%.*s", (int)(len - fix), dir + strlen(SCOPE_PREFIX));
	return true;
}

static bool app_of_group(uint64_t id, char app[APP_NAME_MAX])
{
	const char *root = datapath_cgroup_root();
	_cleanup_(close_dir) DIR *dir = NULL;
	char slice[PATH_MAX], path[PATH_MAX];
	struct dirent *e;

	if (!root || !id)
		return false;
	snprintf(slice, sizeof(slice), "%.3000s/" NETD_CGROUP, root);
	dir = opendir(slice);
	while (dir && (e = readdir(dir))) {
		if (!scope_name(e->d_name, app))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", slice, e->d_name) < (int)sizeof(path) &&
		    group_below(path, id, 0))
			return true;
	}
	return false;
}

bool claims_procs_app(uint64_t cgroup, char app[APP_NAME_MAX])
{
	/* Most sockets come in a row from one program; ids are never used again. */
	static uint64_t last;
	static char last_app[APP_NAME_MAX];

	if (cgroup && cgroup == last) {
		strcpy(app, last_app);
		return true;
	}
	if (!app_of_group(cgroup, app))
		return false;
	last = cgroup;
	strcpy(last_app, app);
	return true;
}

bool claims_procs_foreign(void)
{
	static int foreign = -1;
	struct stat st;

	if (foreign < 0)
		foreign = !stat("/proc/self/ns/pid", &st) && st.st_ino != FIRST_PID_NS;
	return foreign;
}

/* ---- what events do not tell ------------------------------------------------------- */
static void diag_fn(void *arg, const struct sockdiag_sock *d)
{
	struct claims *c = arg;
	struct claims_sock *s = claims_socks_find(c, d->cookie);

	if (!s || !s->resolve)
		return;
	s->inode = d->inode;
	if (s->only6 == d->only6)
		return;
	s->only6 = d->only6;
	claims_sock_changed(c, s);
}

/* Sockets without a process, by inode. */
struct orphans {
	struct claims_sock **sock;
	size_t n, size;
};

static int by_inode(const void *a, const void *b)
{
	const struct claims_sock *x = *(struct claims_sock *const *)a, *y = *(struct claims_sock *const *)b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void holder_fn(void *arg, int pid, uint32_t inode)
{
	struct claims_sock want = {.inode = inode}, *key = &want, **found;
	struct orphans *o = arg;

	found = bsearch(&key, o->sock, o->n, sizeof(*o->sock), by_inode);
	if (found && !(*found)->pid)
		(*found)->pid = pid;
}

static bool orphans_gather(struct claims *c, struct orphans *o)
{
	struct claims_sock *s;
	int i;

	claims_for_each(c, i, s) o->size += s->resolve && !s->pid;
	o->sock = o->size ? calloc(o->size, sizeof(*o->sock)) : NULL;
	if (!o->sock)
		return false;
	claims_for_each(c, i, s) if (s->resolve && !s->pid) o->sock[o->n++] = s;
	qsort(o->sock, o->n, sizeof(*o->sock), by_inode);
	return true;
}

/* One look at the processes of each application that has such sockets. */
static void find_holders(struct claims *c)
{
	const char *root = datapath_cgroup_root(), *app = "";
	struct orphans o = {};
	char path[PATH_MAX];

	if (!root || !orphans_gather(c, &o))
		return;
	for (size_t i = 0; i < o.n; i++) {
		if (o.sock[i]->pid || !strcmp(o.sock[i]->app, app))
			continue;
		app = o.sock[i]->app;
		snprintf(path, sizeof(path), "%.3000s/" NETD_CGROUP "/" SCOPE_PREFIX "%s" SCOPE_SUFFIX, root,
			 app);
		sockdiag_holders(path, holder_fn, &o);
	}
	free(o.sock);
}

void claims_procs_resolve(struct claims *c)
{
	struct sockdiag *diag = c->netd->datapath->diag;
	bool any = false, inodes = false;
	struct claims_sock *s;
	int i;

	claims_for_each(c, i, s)
	{
		any |= s->resolve;
		inodes |= s->resolve && (!s->inode || s->only6);
	}
	if (!any)
		return;
	if (inodes) {
		sockdiag_dump(diag, AF_INET, IPPROTO_TCP, SOCKDIAG_LISTEN, diag_fn, c);
		sockdiag_dump(diag, AF_INET6, IPPROTO_TCP, SOCKDIAG_LISTEN, diag_fn, c);
		sockdiag_dump(diag, AF_INET, IPPROTO_UDP, SOCKDIAG_UDP, diag_fn, c);
		sockdiag_dump(diag, AF_INET6, IPPROTO_UDP, SOCKDIAG_UDP, diag_fn, c);
	}
	find_holders(c);
	any = false;
	claims_for_each(c, i, s)
	{
		/* Told before the kernel lists it. */
		s->resolve = s->resolve && s->only6 && !s->inode;
		any |= s->resolve;
	}
	if (any)
		claims_schedule(c, LIST_MS);
}
