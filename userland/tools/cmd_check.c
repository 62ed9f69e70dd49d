/* SPDX-License-Identifier: GPL-2.0 */
/* netctl check: what this machine has of what netssi needs; a remedy each. Needs no netd. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/inet_diag.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/netdclient.h"
#include "userland/lib/print.h"
#include "userland/lib/soft_dirty.h"
#include "userland/tools/core_module.h"
#include "userland/tools/netctl.h"

static void add(json_t *list, const char *what, const char *ok, const char *text, const char *remedy)
{
	bool fine = !strcmp(ok, "ok");

	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "what", what, "ok", ok, "text", text,
					      "remedy", fine ? "" : remedy));
}

/* "ok" or how bad it is that it is not. */
static const char *verdict(bool ok, const char *bad)
{
	return ok ? "ok" : bad;
}

static void check_kernel(json_t *list)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;
	bool ok;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	ok = major > 6 || (major == 6 && minor >= 1);
	add(list, "kernel", verdict(ok, "fail"), u.release, "boot Linux 6.12 or newer (Debian 13's)");
	ok = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
	add(list, "btf", verdict(ok, "fail"),
	    ok ? "the kernel describes its types" : "no /sys/kernel/btf/vmlinux",
	    "use a kernel with CONFIG_DEBUG_INFO_BTF, as Debian's are");
}

static bool is_mounted(const char *path, long magic)
{
	struct statfs s;

	return statfs(path, &s) == 0 && s.f_type == magic;
}

static void check_mounts(json_t *list)
{
	bool bpf = is_mounted("/sys/fs/bpf", BPF_FS_MAGIC);
	bool cgroup = is_mounted("/sys/fs/cgroup", CGROUP2_SUPER_MAGIC) ||
		      is_mounted("/sys/fs/cgroup/unified", CGROUP2_SUPER_MAGIC);

	add(list, "bpffs", verdict(bpf, "warn"), bpf ? "mounted at /sys/fs/bpf" : "nothing at /sys/fs/bpf",
	    "mount -t bpf bpf /sys/fs/bpf (netd does it, too)");
	add(list, "cgroup2", verdict(cgroup, "warn"), cgroup ? "mounted" : "not mounted",
	    "boot without systemd.unified_cgroup_hierarchy=0");
}

/* The first line of a small file, "" when there is none. */
static void read_line(const char *path, char *out, size_t size)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static void check_lockdown(json_t *list)
{
	char line[128];
	bool strict;

	read_line("/sys/kernel/security/lockdown", line, sizeof(line));
	strict = strstr(line, "[confidentiality]") != NULL;
	add(list, "lockdown", verdict(!strict, "fail"), *line ? line : "none",
	    "boot without lockdown=confidentiality: it forbids BPF programs to read the kernel");
}

/* Exit status of a program without a word on the screen; -1 when it cannot be run. */
static int quiet_run(char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int status = -1, err, fd;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	for (fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
	err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

static void check_criu(json_t *list)
{
	char *const check[] = {"criu", "check", NULL}, *const version[] = {"criu", "--version", NULL};
	bool there = quiet_run(version) == 0;

	if (!there)
		add(list, "criu", "warn", "not installed",
		    "apt install criu: without it nothing can be migrated");
	else if (geteuid() != 0)
		add(list, "criu", "ok", "installed (run as root to try it)", "");
	else if (quiet_run(check) == 0)
		add(list, "criu", "ok", "works on this kernel", "");
	else
		add(list, "criu", "fail", "does not work on this kernel",
		    "see what `criu check` says; try a newer CRIU");
}

static void check_memory(json_t *list)
{
	bool works = soft_dirty_works();

	add(list, "memory", verdict(works, "warn"),
	    works ? "the kernel tells what changes: moved in rounds"
		  : "the kernel does not tell what changes",
	    "none is needed: a move sends all of it while the program stands still; kernels with "
	    "CONFIG_MEM_SOFT_DIRTY (Debian's) send most of it before");
}

/* Whether the kernel has a module, loaded, built in or to be loaded. */
static bool have_module(const char *name)
{
	char *const argv[] = {"modprobe", "-n", "-q", (char *)name, NULL};
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return access(path, F_OK) == 0 || quiet_run(argv) == 0;
}

/* Whether the kernel lists sockets of a family and protocol (and loads what it needs for that). */
static bool can_list(int family, int protocol)
{
	struct {
		struct nlmsghdr h;
		union {
			struct inet_diag_req_v2 inet;
			struct unix_diag_req un;
		};
	} req = {.h = {.nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	union {
		struct nlmsghdr h;
		char bytes[8192];
	} answer;

	if (family == AF_UNIX)
		req.un.sdiag_family = AF_UNIX;
	else
		req.inet = (struct inet_diag_req_v2){.sdiag_family = family, .sdiag_protocol = protocol};
	req.h.nlmsg_len = NLMSG_LENGTH(family == AF_UNIX ? sizeof(req.un) : sizeof(req.inet));
	if (fd < 0 || send(fd, &req, req.h.nlmsg_len, 0) < 0)
		return false;
	return recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)sizeof(answer.h) &&
	       answer.h.nlmsg_type != NLMSG_ERROR;
}

static void check_modules(json_t *list, const struct core_module *core)
{
	bool tipc = have_module("tipc"), tun = access("/dev/net/tun", F_OK) == 0 || have_module("tun");
	bool diag = can_list(AF_INET, IPPROTO_TCP) && can_list(AF_INET, IPPROTO_UDP) && can_list(AF_UNIX, 0);

	add(list, "tipc", verdict(tipc, "warn"), tipc ? "the kernel has TIPC" : "the kernel has no TIPC",
	    "nothing to do: nodes talk TCP; for faster failure detection use a kernel with TIPC");
	add(list, "sock_diag", verdict(diag, "fail"),
	    diag ? "sockets can be listed" : "sockets cannot be listed",
	    "use a kernel with INET_DIAG and UNIX_DIAG, as Debian's are");
	add(list, "tun", verdict(tun, "fail"),
	    tun ? "packets can be held during a move" : "no TUN/TAP device",
	    "modprobe tun, or use a kernel that has it");
	add(list, "ssi_core", verdict(core->queue && core->claims, "warn"), core->text, core->remedy);
}

/* Where the list of LSMs cannot be read, netd finds out (`netctl status -j`, listen). */
static void check_listen(json_t *list, const struct core_module *core)
{
	bool works, lsm;
	char line[256];

	read_line("/sys/kernel/security/lsm", line, sizeof(line));
	lsm = !*line || strstr(line, "bpf");
	works = core->queue && core->claims && lsm;
	add(list, "listen", verdict(works, "warn"),
	    works ? "a program that listens waits for the cluster's answer"
		  : "a program that listens does not wait: who loses a race loses his socket, later",
	    lsm ? "see ssi_core above" : "boot with lsm=...,bpf: the kernel runs no BPF LSM programs");
}

/* The last word of firewalld's configuration, which has none for what is not there. */
static bool firewalld_filters_paths(void)
{
	FILE *f = fopen("/etc/firewalld/firewalld.conf", "re");
	char line[256], value[32] = "strict", other[32];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "IPv6_rpfilter = %31s", other) == 1)
			strcpy(value, other);
	if (f)
		fclose(f);
	return strcasecmp(value, "no") && strcasecmp(value, "false");
}

/* What this node's programs send to a cluster address comes in from outside with the node's own address. */
static void check_firewalld(json_t *list)
{
	char *const state[] = {"firewall-cmd", "--state", NULL};
	bool drops;

	if (access("/etc/firewalld", F_OK) || quiet_run(state) != 0)
		return;
	drops = firewalld_filters_paths();
	add(list, "firewalld", verdict(!drops, "warn"),
	    drops ? "drops what this node's programs send to cluster addresses of IPv6 (IPv6_rpfilter)"
		  : "has no filter of reverse paths",
	    "with a cluster address of IPv6: IPv6_rpfilter=no in /etc/firewalld/firewalld.conf, then "
	    "systemctl restart firewalld");
}

static void check_netd(json_t *list)
{
	struct jsonline j;
	int r = netdclient_open(&j);

	if (r == 0)
		jsonline_close(&j);
	add(list, "netd", verdict(r == 0, "warn"),
	    r == 0	   ? "running"
	    : r == -EACCES ? "no access"
			   : "not running",
	    r == -EACCES ? "run this as root, or join the group netssi" : "systemctl enable --now netd");
}

/* modprobe and modinfo are not on the path of everybody. */
static void find_tools(void)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s:/usr/sbin:/sbin", getenv("PATH") ?: "/usr/bin:/bin");
	setenv("PATH", path, 1);
}

static int run_check(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"", "ok", TABLE_STATE, NULL},
		{"WHAT", "what", TABLE_BOLD, NULL},
		{"HERE", "text", 0, NULL},
		{"REMEDY", "remedy", TABLE_HIDE, NULL},
	};
	json_t *list = json_array(), *o;
	struct core_module core;
	bool failed = false;
	size_t i;

	find_tools();
	check_kernel(list);
	check_mounts(list);
	check_lockdown(list);
	check_criu(list);
	check_memory(list);
	core_module_look(&core);
	check_modules(list, &core);
	check_listen(list, &core);
	check_firewalld(list);
	check_netd(list);
	json_array_foreach(list, i, o) failed |= !strcmp(json_string_value(json_object_get(o, "ok")), "fail");
	if (!netctl_json(c, list))
		table_print(stdout, list, columns, N_COLUMNS(columns));
	json_decref(list);
	return failed ? EXIT_FAILED : EXIT_OK;
}

const struct netctl_command cmd_check = {
	.name = "check",
	.summary = "what this machine has of what netssi needs, with a remedy each",
	.run = run_check,
};
