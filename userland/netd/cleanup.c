// SPDX-License-Identifier: GPL-2.0
/*
 * netd --cleanup: takes out of the kernel what a netd left there that will not
 * come back. What netd sets in the kernel it finds again by the tables it pinned,
 * by the protocol number of its routes, and by its marks (undo.h); nothing here
 * needs a cluster, or a netd that ended in good order.
 */
#include "cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "datapath_int.h"
#include "hold.h"
#include "source_reserved.h"
#include "source_route.h"
#include "transport_bearer.h"
#include "undo.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/netdclient.h"

#define MODULE_LOOK_MS 50
#define MODULE_SAY_MS  2000
#define MODULE_WAIT_MS 30000

static bool failed;

__attribute__((format(printf, 2, 3))) static void report(int err, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (err < 0)
		fprintf(stderr, "netd: %s cannot be removed: %s\n", what, strerror(-err));
	else
		printf("removed: %s\n", what);
	failed |= err < 0;
}

/* A stopped netd answers nothing, but its socket takes connections. */
static bool netd_runs(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", netdclient_path());
	return fd >= 0 && (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)) || errno == EAGAIN);
}

/* ---- network ---------------------------------------------------------------- */
/* The filters of interfaces have no protocol number: the tables name them. */
static void remove_filters(struct rtnl *r)
{
	struct dip_bpf *bpf = NULL;
	struct dip_vip v;

	if (dip_bpf_open(&bpf, NULL))
		return;
	for (unsigned int i = 0; i < DIP_VIPS_MAX; i++) {
		struct ipaddr addr;

		if (dip_vip_at(dip_bpf_mem(bpf), i, &v))
			continue;
		addr = ipaddr_of(v.family, &v.addr);
		report(rtnl_filter(r, false, (int)v.ifindex, v.mac), "cluster address %s",
		       ipaddr_text(&addr));
	}
	dip_bpf_close(bpf);
}

static void remove_network(void)
{
	struct rtnl *r = NULL;
	int n = rtnl_open(&r);

	if (n < 0) {
		report(n, "the routes");
		return;
	}
	remove_filters(r);
	undo_all(r);
	n = source_route_clear(r);
	if (n)
		report(n, "%d routes and rules by which programs leave from a cluster address", n);
	n = source_reserved_restore();
	if (n)
		report(n, "source ports of other nodes in net.ipv4.ip_local_reserved_ports");
	n = rtnl_purge(r, NULL, NULL);
	if (n)
		report(n, "%d addresses, routes, rules and neighbours", n);
	n = rtnl_rule_local(r, DIP_INET, false);
	if (!n)
		n = rtnl_rule_local(r, DIP_INET6, false);
	if (n < 0)
		report(n, "the rule for table local at preference %d", RTNL_PREF_LOCAL);
	rtnl_close(r);
}

static void remove_tables(void)
{
	int err;

	if (access(NETD_BPF_DIR, F_OK))
		return;
	err = dip_bpf_unpin(NULL);
	report(err, "the pinned tables and programs in " NETD_BPF_DIR);
}

/* ---- control groups ------------------------------------------------------------ */
static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Only what is empty: an application that runs keeps its own. */
static void remove_cgroup(const char *dir, int depth)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;
	char sub[PATH_MAX];

	while (d && depth && (e = readdir(d))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", dir, e->d_name);
		remove_cgroup(sub, depth - 1);
	}
	if (!d)
		return;
	if (!rmdir(dir)) {
		report(0, "control group %s", dir);
		return;
	}
	failed = true;
	fprintf(stderr,
		"netd: control group %s is still in use; end its programs (`cat %s/cgroup.procs`), then "
		"repeat\n",
		dir, dir);
}

static void remove_cgroups(void)
{
	const char *root = datapath_cgroup_root();
	char dir[PATH_MAX + 16];

	if (!root)
		return;
	snprintf(dir, sizeof(dir), "%s/" NETD_CGROUP, root);
	remove_cgroup(dir, 4);
}

/* ---- modules, files --------------------------------------------------------------- */
/* The programs that use a module are unpinned; the kernel lets go of them some grace periods later. */
static int delete_module(const char *name)
{
	const struct timespec pause = {.tv_nsec = MODULE_LOOK_MS * 1000000L};

	for (unsigned int waited = 0;; waited += MODULE_LOOK_MS) {
		if (!syscall(SYS_delete_module, name, O_NONBLOCK) || errno == ENOENT)
			return 0;
		if (errno != EAGAIN || waited >= MODULE_WAIT_MS)
			return -errno;
		if (waited == MODULE_SAY_MS)
			fprintf(stderr, "netd: waiting until the kernel has let go of module %s ...\n", name);
		nanosleep(&pause, NULL);
	}
}

static void remove_modules(void)
{
	static const char *const modules[] = {"dip", "dynstream", "ssi_core"};
	char path[64];

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", modules[i]);
		if (!access(path, F_OK))
			report(delete_module(modules[i]), "module %s", modules[i]);
	}
}

/* Images of moves are memory; sockets that nobody listens at would be taken for supervisors. */
static void remove_files(const char *dir, bool dead_sockets)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct sockaddr_un sa = {.sun_family = AF_UNIX};
		_close_ int fd = -1;
		char path[PATH_MAX];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_type == DT_DIR && !dead_sockets)
			remove_files(path, false);
		fd = dead_sockets ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
		snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", path);
		if (fd < 0 || (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) && errno == ECONNREFUSED))
			remove(path);
	}
	if (d)
		rmdir(dir);
}

static void remove_bearer(void)
{
	int r = bearer_cleanup(NETD_RUN_DIR);

	if (r)
		report(r, "the TIPC bearer, its keys and its filter");
}

int cleanup_run(void)
{
	if (netd_runs()) {
		fputs("netd: netd runs on this machine; stop it first: `systemctl stop netd`\n", stderr);
		return 1;
	}
	remove_network();
	remove_tables();
	if (if_nametoindex(HOLD_DEVICE))
		report(hold_remove(), "interface " HOLD_DEVICE);
	remove_bearer();
	remove_cgroups();
	remove_modules();
	remove_files(NETD_RUN_DIR "/images", false);
	remove_files(NETD_RUN_DIR "/apps", true);
	if (failed)
		return 1;
	puts("nothing of netssi is left in this kernel");
	return 0;
}
