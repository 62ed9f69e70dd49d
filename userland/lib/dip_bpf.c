// SPDX-License-Identifier: GPL-2.0
/*
 * Loading, pinning and attaching the BPF programs of the distributed IP.
 *
 * dip_conf is pinned last: a pin directory without it is what a crash left
 * behind and is made anew; with it, the maps are whole and are used again.
 * One thread; nothing here is called while packets wait.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/membarrier.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "cleanup.h"
#include "dip_bpf_int.h"

#define FLOW_BITS     12
#define FLOW_BITS_MAX 22
#define LINKS	      "links"
#define BTF_PATH      "/sys/kernel/btf/vmlinux"
#define TC_PRIORITY   0x5351 /* ours on a clsact shared with others */

static char error_text[512];

const char *dip_bpf_error(void)
{
	return error_text;
}

__attribute__((format(printf, 2, 3))) static int fail(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error_text, sizeof(error_text), fmt, ap);
	va_end(ap);
	return err;
}

int dip_bpf_fail(int err, const char *what)
{
	if (err == -EPERM || err == -EACCES)
		return fail(err, "%s: not permitted; run as root (CAP_BPF, CAP_NET_ADMIN)", what);
	return fail(err, "%s: %s", what, strerror(-err));
}

/* ---- programs ---- */

enum target { TO_DEVICE, TO_NETNS, TO_CGROUP };

static const struct prog_info {
	const char *name;
	enum bpf_attach_type type;
	enum target target;
} progs[DIP_PROGS] = {
	[DIP_PROG_XDP] = {"dip_xdp", BPF_XDP, TO_DEVICE},
	[DIP_PROG_TC_IN] = {"dip_tc_in", BPF_TCX_INGRESS, TO_DEVICE},
	[DIP_PROG_TC_OUT] = {"dip_tc_out", BPF_TCX_EGRESS, TO_DEVICE},
	[DIP_PROG_TC_TAP] = {"dip_tc_tap", BPF_TCX_INGRESS, TO_DEVICE},
	[DIP_PROG_TC_BACK] = {"dip_tc_back", BPF_TCX_EGRESS, TO_DEVICE},
	[DIP_PROG_SK_LOOKUP] = {"dip_sk_lookup", BPF_SK_LOOKUP, TO_NETNS},
	[DIP_PROG_SOCK_CREATE] = {"dip_sock_create", BPF_CGROUP_INET_SOCK_CREATE, TO_CGROUP},
	[DIP_PROG_SOCK_RELEASE] = {"dip_sock_release", BPF_CGROUP_INET_SOCK_RELEASE, TO_CGROUP},
	[DIP_PROG_BIND4] = {"dip_bind4", BPF_CGROUP_INET4_BIND, TO_CGROUP},
	[DIP_PROG_BIND6] = {"dip_bind6", BPF_CGROUP_INET6_BIND, TO_CGROUP},
	[DIP_PROG_POST_BIND4] = {"dip_post_bind4", BPF_CGROUP_INET4_POST_BIND, TO_CGROUP},
	[DIP_PROG_POST_BIND6] = {"dip_post_bind6", BPF_CGROUP_INET6_POST_BIND, TO_CGROUP},
	[DIP_PROG_SOCKOPS] = {"dip_sockops", BPF_CGROUP_SOCK_OPS, TO_CGROUP},
	[DIP_PROG_SOURCE_MARK] = {"dip_source_mark", BPF_CGROUP_INET_SOCK_CREATE, TO_CGROUP},
	[DIP_PROG_SOURCE_SEND4] = {"dip_source_send4", BPF_CGROUP_UDP4_SENDMSG, TO_CGROUP},
	[DIP_PROG_SOURCE_SEND6] = {"dip_source_send6", BPF_CGROUP_UDP6_SENDMSG, TO_CGROUP},
	[DIP_PROG_SOURCE_CONNECT4] = {"dip_source_connect4", BPF_CGROUP_INET4_CONNECT, TO_CGROUP},
	[DIP_PROG_SOURCE_CONNECT6] = {"dip_source_connect6", BPF_CGROUP_INET6_CONNECT, TO_CGROUP},
	[DIP_PROG_SOURCE_END] = {"dip_source_end", BPF_CGROUP_INET_SOCK_RELEASE, TO_CGROUP},
};

const char *dip_bpf_prog_name(enum dip_prog prog)
{
	return progs[prog].name;
}

int dip_bpf_prog_fd(const struct dip_bpf *d, enum dip_prog prog)
{
	struct bpf_program *p;

	p = bpf_object__find_program_by_name(d->skel->obj, progs[prog].name);
	return p ? bpf_program__fd(p) : -ENOENT;
}

/* ---- tables in memory ---- */

static void grace(void)
{
	/* waits for an RCU grace period: every program that ran has ended */
	syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

static size_t page_round(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) & ~(page - 1);
}

static int map_value_size(int fd, size_t *size)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);

	if (bpf_map_get_info_by_fd(fd, &info, &len))
		return -errno;
	*size = info.value_size;
	return 0;
}

static int map_memory(int fd, size_t size, bool ro, void **out)
{
	void *p = mmap(NULL, page_round(size), PROT_READ | (ro ? 0 : PROT_WRITE), MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

static void unmap(void *p, size_t size)
{
	if (p)
		munmap(p, page_round(size));
}

/*
 * The three tables behind their fds; what is mapped is freed by dip_bpf_close. `mapped`: where libbpf mapped the
 * ports already (16 MiB that need not be there twice), or NULL.
 */
static int tables_map(struct dip_bpf *d, int conf, int ports, int flows, void *mapped, bool ro)
{
	size_t conf_size = 0, ports_size = 0;
	void *p;
	int err;

	err = map_value_size(conf, &conf_size);
	err = err ? err : map_value_size(ports, &ports_size);
	err = err ? err : map_value_size(flows, &d->flows_size);
	if (err)
		return dip_bpf_fail(err, "BPF maps");
	if (conf_size != sizeof(struct dip_conf) || ports_size != sizeof(struct dip_slot) * DIP_SLOTS ||
	    d->flows_size % sizeof(struct dip_bucket) || (d->flows_size & (d->flows_size - 1)))
		return fail(-EPROTO, "%s holds tables of another netssi version; stop netd and remove it",
			    d->dir);
	err = map_memory(conf, conf_size, ro, &p);
	if (err)
		return dip_bpf_fail(err, "mmap of dip_conf");
	d->mem.conf = p;
	p = mapped;
	err = p ? 0 : map_memory(ports, ports_size, ro, &p);
	if (err)
		return dip_bpf_fail(err, "mmap of dip_ports");
	d->mem.ports = p;
	err = map_memory(flows, d->flows_size, ro, &p);
	if (err)
		return dip_bpf_fail(err, "mmap of dip_flows");
	d->mem.flows = p;
	d->mem.flow_mask = (uint32_t)(d->flows_size / sizeof(struct dip_bucket)) - 1;
	d->mem.grace = ro ? NULL : grace;
	return 0;
}

struct dip_mem *dip_bpf_mem(struct dip_bpf *d)
{
	return &d->mem;
}

bool dip_bpf_foreign(const struct dip_bpf *d)
{
	return d->foreign;
}

int dip_bpf_events_fd(const struct dip_bpf *d)
{
	return bpf_map__fd(d->skel->maps.dip_events);
}

int dip_bpf_source(const struct dip_bpf *d, uint64_t cgroup, bool node)
{
	int fd = bpf_map__fd(d->skel->maps.dip_node_groups), err;
	__u8 one = 1;

	err = node ? bpf_map_update_elem(fd, &cgroup, &one, BPF_ANY) : bpf_map_delete_elem(fd, &cgroup);
	return err == -ENOENT ? 0 : err;
}

/* ---- pins ---- */

static int pin_path(const struct dip_bpf *d, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s", d->dir, name);

	return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The tables are global data of the programs: section .bss.X is map dip_X. */
#define TABLE_SECTION ".bss."

static bool map_is_table(const struct bpf_map *map)
{
	return !strncmp(bpf_map__name(map), TABLE_SECTION, strlen(TABLE_SECTION));
}

/* Maps that live as long as the node: all but the constants, and what a move needs for a moment. */
static bool map_is_pinned(const struct bpf_map *map)
{
	return (!bpf_map__is_internal(map) || map_is_table(map)) &&
	       strcmp(bpf_map__name(map), "dip_embryos") != 0;
}

static int map_pin_path(const struct dip_bpf *d, const struct bpf_map *map, char out[PATH_MAX])
{
	const char *name = bpf_map__name(map);
	char table[64];

	if (!map_is_table(map))
		return pin_path(d, name, out);
	snprintf(table, sizeof(table), "dip_%s", name + strlen(TABLE_SECTION));
	return pin_path(d, table, out);
}

static void maps_unpin(struct dip_bpf *d)
{
	struct bpf_map *map;
	char path[PATH_MAX];

	bpf_object__for_each_map(map, d->skel->obj) if (map_is_pinned(map) && !map_pin_path(d, map, path))
		unlink(path);
}

/* Is a pinned map what a program will take it for? The table of flows may have any size, and more entries do no harm. */
static bool map_fits(const struct bpf_map *map, const struct bpf_map_info *info)
{
	__u32 size = bpf_map__value_size(map), flags = bpf_map__map_flags(map);

	if (info->type != bpf_map__type(map) || info->key_size != bpf_map__key_size(map) ||
	    (info->map_flags & flags) != flags)
		return false;
	if (!strcmp(bpf_map__name(map), TABLE_SECTION "flows"))
		return info->value_size && !(info->value_size % sizeof(struct dip_bucket));
	return info->value_size == size;
}

static int map_reuse(struct bpf_map *map, const char *path)
{
	int fd = bpf_obj_get(path), err;
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	if (fd == -ENOENT)
		return fail(-EPROTO, "%s is missing, its directory is incomplete; stop netd and remove it",
			    path);
	if (fd < 0)
		return dip_bpf_fail(fd, path);
	err = bpf_map_get_info_by_fd(fd, &info, &len);
	if (!err && !map_fits(map, &info)) {
		close(fd);
		return fail(-EPROTO,
			    "%s is a map of another type or size; stop netd and remove its directory", path);
	}
	/* libbpf maps tables into memory, by the size it knows */
	if (!err && map_is_table(map))
		err = bpf_map__set_value_size(map, info.value_size);
	if (!err)
		err = bpf_map__reuse_fd(map, fd);
	close(fd);
	return err ? dip_bpf_fail(err, path) : 0;
}

/* Are the pinned tables of this version? Only its dip_conf can tell. */
static int pins_fit(const char *conf)
{
	int fd = bpf_obj_get(conf), err;
	size_t size = 0;
	void *p;

	if (fd < 0)
		return dip_bpf_fail(fd, conf);
	err = map_value_size(fd, &size);
	if (!err && size == sizeof(struct dip_conf))
		err = map_memory(fd, size, true, &p);
	close(fd);
	if (err)
		return dip_bpf_fail(err, conf);
	if (size != sizeof(struct dip_conf))
		return 0;
	err = ((struct dip_conf *)p)->abi == DIP_ABI;
	unmap(p, size);
	return err;
}

/* 1: all maps stand and are used again; 0: there are none (any more), or they are
 * another version's and stay where they are for now. */
static int maps_reuse(struct dip_bpf *d)
{
	struct bpf_map *map;
	char path[PATH_MAX];
	int fit;

	if (pin_path(d, "dip_conf", path) || access(path, F_OK)) {
		maps_unpin(d);
		return 0;
	}
	fit = pins_fit(path);
	if (fit <= 0) {
		d->foreign = !fit;
		return fit;
	}
	bpf_object__for_each_map(map, d->skel->obj)
	{
		int err;

		if (!map_is_pinned(map))
			continue;
		err = map_pin_path(d, map, path);
		err = err ? err : map_reuse(map, path);
		if (err)
			return err;
	}
	return 1;
}

/* All maps and programs; first the one that says that the rest is whole. */
static int pins_remove(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *ls;

	snprintf(path, sizeof(path), "%s/dip_conf", dir);
	unlink(path);
	ls = opendir(dir);
	if (!ls)
		return -errno;
	while ((e = readdir(ls))) {
		if (strncmp(e->d_name, "dip_", 4))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		unlink(path);
	}
	closedir(ls);
	return 0;
}

static int maps_pin(struct dip_bpf *d)
{
	struct bpf_map *map, *last = d->skel->maps.bss_conf;
	char path[PATH_MAX];
	int err;

	bpf_object__for_each_map(map, d->skel->obj)
	{
		if (!map_is_pinned(map) || map == last)
			continue;
		err = map_pin_path(d, map, path);
		err = err ? err : bpf_obj_pin(bpf_map__fd(map), path);
		if (err)
			return fail(err,
				    "%s cannot be pinned (%s); is %s on a bpf file system? mount -t bpf bpf "
				    "/sys/fs/bpf",
				    path, strerror(-err), d->dir);
	}
	err = map_pin_path(d, last, path);
	return err ? err : bpf_obj_pin(bpf_map__fd(last), path);
}

static int dir_make(const struct dip_bpf *d)
{
	if (!mkdir(d->dir, 0700) || errno == EEXIST)
		return 0;
	if (geteuid())
		return fail(-errno, "%s cannot be made (%s); run as root", d->dir, strerror(errno));
	return fail(-errno, "%s cannot be made (%s); mount -t bpf bpf /sys/fs/bpf", d->dir, strerror(errno));
}

/* ---- load and open ---- */

static int new_handle(struct dip_bpf **out, const char *pin_dir)
{
	struct dip_bpf *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->stats_fd = d->half_open_fd = -1;
	if (snprintf(d->dir, sizeof(d->dir), "%s", pin_dir ? pin_dir : DIP_PIN_DIR) >= (int)sizeof(d->dir)) {
		free(d);
		return fail(-ENAMETOOLONG, "%s: path too long", pin_dir);
	}
	*out = d;
	return 0;
}

static int flows_size(struct dip_bpf *d, unsigned int bits, int reused)
{
	size_t size = sizeof(struct dip_bucket) << (bits ? bits : FLOW_BITS);
	int err = 0;

	if (bits > FLOW_BITS_MAX)
		return fail(-EINVAL, "at most 2^%d buckets of flows", FLOW_BITS_MAX);
	if (reused)
		err = map_value_size(bpf_map__fd(d->skel->maps.bss_flows), &size);
	else
		err = bpf_map__set_value_size(d->skel->maps.bss_flows, (__u32)size);
	d->skel->rodata->dip_flow_mask = (__u32)(size / sizeof(struct dip_bucket)) - 1;
	return err ? dip_bpf_fail(err, "dip_flows") : 0;
}

/* So that the next netd can tell the time before it has loaded anything. */
static int clock_pin(struct dip_bpf *d)
{
	char path[PATH_MAX];
	int err = pin_path(d, "dip_clock", path);

	if (err)
		return err;
	unlink(path);
	err = bpf_obj_pin(bpf_program__fd(d->skel->progs.dip_clock), path);
	return err ? dip_bpf_fail(err, path) : 0;
}

/* Fresh tables belong to self; those of an earlier netd must be of this ABI. */
static int tables_begin(struct dip_bpf *d, uint16_t self, bool again)
{
	int err = again ? dip_tables_check(&d->mem) : dip_tables_init(&d->mem, self);

	if (err && again)
		return fail(err, "%s holds tables of another netssi version; stop netd and remove it",
			    d->dir);
	if (err)
		return fail(err, "node number %u is out of range", self);
	if (again && self)
		dip_tables_set_self(&d->mem, self);
	return 0;
}

/* The programs over maps that are chosen, and their pins. */
static int load_over(struct dip_bpf *d, const struct dip_bpf_opts *opts, uint16_t self, bool again)
{
	int err = flows_size(d, opts->flow_bits, again);
	void *wants;

	if (err)
		return err;
	err = dip__load(d->skel);
	if (err)
		return dip_bpf_fail(err, "BPF programs do not load");
	d->embryos = dip_embryo_known();
	dip_half_open_load(d);
	err = tables_map(d, bpf_map__fd(d->skel->maps.bss_conf), bpf_map__fd(d->skel->maps.bss_ports),
			 bpf_map__fd(d->skel->maps.bss_flows), again ? NULL : d->skel->bss_ports, false);
	if (err)
		return err;
	d->stats_fd = bpf_map__fd(d->skel->maps.dip_stats);
	err = map_memory(bpf_map__fd(d->skel->maps.bss_wants), sizeof(struct dip_wants), false, &wants);
	if (err)
		return dip_bpf_fail(err, "mmap of dip_wants");
	d->wants = wants;
	for (unsigned int i = 0; i < DIP_WANTS_MAX; i++) /* of a netd that is gone */
		dip_bpf_watch(d, i, NULL);
	err = tables_begin(d, self, again);
	if (err || opts->no_pin)
		return err;
	if (d->foreign)
		pins_remove(d->dir);
	err = again ? 0 : maps_pin(d);
	return err ? err : clock_pin(d);
}

static int load(struct dip_bpf *d, const struct dip_bpf_opts *opts, uint16_t self, bool *reused)
{
	int err, again = 0;

	if (access(BTF_PATH, R_OK))
		return fail(-ENOENT, "this kernel has no BTF (%s); it needs CONFIG_DEBUG_INFO_BTF", BTF_PATH);
	d->skel = dip__open();
	if (!d->skel)
		return dip_bpf_fail(-errno, "BPF object");
	if (!opts->no_pin) {
		err = dir_make(d);
		again = err ? err : maps_reuse(d);
		if (again < 0)
			return again;
	}
	*reused = again;
	err = load_over(d, opts, self, again);
	if (err && !again && !opts->no_pin && !d->foreign) {
		/* nothing half done */
		maps_unpin(d);
		rmdir(d->dir);
	}
	return err;
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_WARN && getenv("NETSSI_LIBBPF"))
		return vfprintf(stderr, fmt, ap);
	return 0;
}

int dip_bpf_load(struct dip_bpf **out, const struct dip_bpf_opts *opts, uint16_t self, bool *reused)
{
	struct dip_bpf *d;
	static const struct dip_bpf_opts defaults;
	bool again = false;
	int err;

	libbpf_set_print(quiet);
	opts = opts ? opts : &defaults;
	err = new_handle(&d, opts->pin_dir);
	if (err)
		return err;
	d->clsact = opts->clsact;
	err = load(d, opts, self, &again);
	if (err) {
		dip_bpf_close(d);
		return err;
	}
	if (reused)
		*reused = again;
	*out = d;
	return 0;
}

static int open_map(struct dip_bpf *d, const char *name)
{
	char path[PATH_MAX];
	int fd = pin_path(d, name, path);

	if (fd)
		return fd;
	/* not BPF_F_RDONLY: such an fd cannot be mapped shared */
	fd = bpf_obj_get(path);
	if (fd == -ENOENT)
		return fail(fd, "%s is not there: no VIP was ever served here; is netd running?", path);
	return fd < 0 ? dip_bpf_fail(fd, path) : fd;
}

int dip_bpf_open(struct dip_bpf **out, const char *pin_dir)
{
	int conf = -1, ports = -1, flows = -1, err;
	struct dip_bpf *d;

	libbpf_set_print(quiet);
	err = new_handle(&d, pin_dir);
	if (err)
		return err;
	conf = open_map(d, "dip_conf");
	ports = conf < 0 ? conf : open_map(d, "dip_ports");
	flows = ports < 0 ? ports : open_map(d, "dip_flows");
	d->stats_fd = flows < 0 ? flows : open_map(d, "dip_stats");
	err = d->stats_fd < 0 ? d->stats_fd : tables_map(d, conf, ports, flows, NULL, true);
	if (!err && dip_tables_check(&d->mem))
		err = fail(-EPROTO, "%s holds tables of another netssi version", d->dir);
	if (conf >= 0)
		close(conf);
	if (ports >= 0)
		close(ports);
	if (flows >= 0)
		close(flows);
	if (err) {
		dip_bpf_close(d);
		return err;
	}
	*out = d;
	return 0;
}

void dip_bpf_close(struct dip_bpf *d)
{
	if (!d)
		return;
	unmap(d->mem.conf, sizeof(struct dip_conf));
	if (!d->skel || (void *)d->mem.ports != (void *)d->skel->bss_ports)
		unmap(d->mem.ports, sizeof(struct dip_slot) * DIP_SLOTS);
	unmap(d->mem.flows, d->flows_size);
	unmap(d->wants, sizeof(struct dip_wants));
	close_fd(&d->half_open_fd);
	if (d->skel)
		dip__destroy(d->skel);
	else if (d->stats_fd >= 0)
		close(d->stats_fd);
	free(d);
}

/* ---- attaching ---- */

static int link_path(const struct dip_bpf *d, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/" LINKS "/%s", d->dir, name);

	if (n <= 0 || n >= PATH_MAX || strchr(name, '/'))
		return fail(-EINVAL, "%s: bad name of a link", name);
	return 0;
}

/* Is the pinned link still where it should be? (a device that goes takes it along) */
static bool link_fits(int link, enum dip_prog prog, int target)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	struct stat st;

	if (bpf_link_get_info_by_fd(link, &info, &len))
		return false;
	if (prog == DIP_PROG_XDP)
		return info.type == BPF_LINK_TYPE_XDP && (int)info.xdp.ifindex == target;
	if (progs[prog].target == TO_DEVICE)
		return info.type == BPF_LINK_TYPE_TCX && (int)info.tcx.ifindex == target &&
		       info.tcx.attach_type == progs[prog].type;
	if (fstat(target, &st))
		return false;
	if (progs[prog].target == TO_NETNS)
		return info.type == BPF_LINK_TYPE_NETNS && info.netns.netns_ino == st.st_ino;
	return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == st.st_ino &&
	       info.cgroup.attach_type == progs[prog].type;
}

/* 1: this program runs in the pinned link now; 0: there is none that fits. */
static int link_swap(const char *path, enum dip_prog prog, int target, int prog_fd)
{
	int link = bpf_obj_get(path), err;

	if (link == -ENOENT)
		return 0;
	if (link < 0)
		return dip_bpf_fail(link, path);
	if (!link_fits(link, prog, target)) {
		bpf_link_detach(link);
		close(link);
		return unlink(path) ? dip_bpf_fail(-errno, path) : 0;
	}
	err = bpf_link_update(link, prog_fd, NULL);
	close(link);
	return err ? dip_bpf_fail(err, path) : 1;
}

static bool is_tc(enum dip_prog prog)
{
	return progs[prog].target == TO_DEVICE && prog != DIP_PROG_XDP;
}

static enum bpf_tc_attach_point clsact_point(int prog)
{
	return progs[prog].type == BPF_TCX_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

/* Kernels before 6.6 have no tcx: a filter on clsact, found again by priority. */
static int clsact_attach(enum dip_prog prog, int ifindex, int prog_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = clsact_point(prog));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = TC_PRIORITY, .prog_fd = prog_fd,
		    .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);

	if (err && err != -EEXIST)
		return dip_bpf_fail(err, "clsact");
	err = bpf_tc_attach(&hook, &opts);
	return err ? dip_bpf_fail(err, "tc filter") : 0;
}

/* Such a filter is remembered by a pin of its program, NAME:IFINDEX:PROG. */
static int clsact_keep(const struct dip_bpf *d, enum dip_prog prog, int ifindex, int prog_fd,
		       const char *name)
{
	char path[PATH_MAX], full[NAME_MAX];
	int err;

	snprintf(full, sizeof(full), "%s:%d:%d", name, ifindex, prog);
	err = link_path(d, full, path);
	if (err)
		return err;
	unlink(path);
	err = clsact_attach(prog, ifindex, prog_fd);
	if (err)
		return err;
	return bpf_obj_pin(prog_fd, path) ? dip_bpf_fail(-errno, path) : 0;
}

static void clsact_forget(int ifindex, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = clsact_point(prog));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = TC_PRIORITY);

	bpf_tc_detach(&hook, &opts);
}

int dip_bpf_attach(struct dip_bpf *d, enum dip_prog prog, int target, uint32_t flags, const char *name)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int fd = dip_bpf_prog_fd(d, prog), link, err;
	char path[PATH_MAX], ifname[IF_NAMESIZE];

	snprintf(path, sizeof(path), "%s/" LINKS, d->dir);
	if (mkdir(path, 0700) && errno != EEXIST)
		return dip_bpf_fail(-errno, path);
	err = link_path(d, name, path);
	if (err)
		return err;
	if (progs[prog].target == TO_DEVICE && !if_indextoname((unsigned int)target, ifname))
		return fail(-ENODEV, "%s: no interface has number %d", name, target);
	err = link_swap(path, prog, target, fd);
	if (err)
		return err < 0 ? err : 0;
	link = is_tc(prog) && d->clsact ? -EINVAL : bpf_link_create(fd, target, progs[prog].type, &opts);
	if (link == -EINVAL && is_tc(prog))
		return clsact_keep(d, prog, target, fd, name);
	if (link < 0)
		return dip_bpf_fail(link, progs[prog].name);
	err = bpf_obj_pin(link, path) ? dip_bpf_fail(-errno, path) : 0;
	close(link);
	return err;
}

/* One file of the links directory: a link, or the program of a tc filter. */
static int link_end(const char *path, const char *file)
{
	const char *tc = strchr(file, ':');
	int ifindex, prog, fd;

	if (tc && sscanf(tc, ":%d:%d", &ifindex, &prog) == 2) {
		clsact_forget(ifindex, prog);
	} else {
		fd = bpf_obj_get(path);
		if (fd < 0)
			return fd;
		bpf_link_detach(fd);
		close(fd);
	}
	return unlink(path) ? -errno : 0;
}

/* Ends what is called NAME (NULL: everything); returns how many there were. */
static int links_end(const char *dir, const char *name)
{
	char links[PATH_MAX], path[PATH_MAX + NAME_MAX + 1];
	struct dirent *e;
	int n = 0, err = 0;
	DIR *ls;

	snprintf(links, sizeof(links), "%s/" LINKS, dir);
	ls = opendir(links);
	if (!ls)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(ls))) {
		size_t len = strcspn(e->d_name, ":");

		if (e->d_name[0] == '.')
			continue;
		if (name && (strlen(name) != len || strncmp(name, e->d_name, len)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", links, e->d_name);
		err = err ? err : link_end(path, e->d_name);
		n++;
	}
	closedir(ls);
	if (!name)
		rmdir(links);
	return err ? err : n;
}

int dip_bpf_detach(struct dip_bpf *d, const char *name)
{
	int n = links_end(d->dir, name);

	if (n < 0)
		return dip_bpf_fail(n, name);
	return n ? 0 : fail(-ENOENT, "%s: no such link", name);
}

int dip_bpf_unpin(const char *pin_dir)
{
	const char *dir = pin_dir ? pin_dir : DIP_PIN_DIR;
	int n;

	n = links_end(dir, NULL);
	if (n < 0)
		return dip_bpf_fail(n, dir);
	n = pins_remove(dir);
	if (n < 0)
		return n == -ENOENT ? 0 : n;
	return rmdir(dir) ? dip_bpf_fail(-errno, dir) : 0;
}

/* ---- clock ---- */

static int clock_run(int prog, uint64_t monotonic_ns, uint64_t *jiffies)
{
	struct {
		__u64 jiffies, monotonic;
	} now = {0};
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = &now, .ctx_size_in = sizeof(now));
	struct timespec tick;
	uint64_t ns;
	int err;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick))
		return -errno;
	ns = (uint64_t)tick.tv_sec * 1000000000 + (uint64_t)tick.tv_nsec;
	err = bpf_prog_test_run_opts(prog, &run);
	if (err)
		return dip_bpf_fail(err, "dip_clock");
	*jiffies = now.jiffies;
	if (monotonic_ns > now.monotonic)
		*jiffies += (monotonic_ns - now.monotonic) / ns;
	return 0;
}

int dip_bpf_jiffies(const struct dip_bpf *d, uint64_t monotonic_ns, uint64_t *jiffies)
{
	return clock_run(bpf_program__fd(d->skel->progs.dip_clock), monotonic_ns, jiffies);
}

static int lease_write(int conf, int clock, uint64_t monotonic_ns)
{
	struct dip_mem m = {0};
	uint64_t jiffies = 0;
	size_t size = 0;
	void *p;
	int err;

	err = map_value_size(conf, &size);
	if (!err && size != sizeof(struct dip_conf))
		err = -EPROTO;
	if (!err && monotonic_ns)
		err = clock_run(clock, monotonic_ns, &jiffies);
	err = err ? err : map_memory(conf, size, false, &p);
	if (err)
		return dip_bpf_fail(err, "lease");
	m.conf = p;
	if (m.conf->abi == DIP_ABI)
		dip_lease_set(&m, jiffies);
	unmap(p, size);
	return 0;
}

int dip_bpf_lease(const char *pin_dir, uint64_t monotonic_ns)
{
	const char *dir = pin_dir ? pin_dir : DIP_PIN_DIR;
	char path[PATH_MAX];
	int conf, clock, err;

	snprintf(path, sizeof(path), "%s/dip_conf", dir);
	conf = bpf_obj_get(path);
	if (conf < 0)
		return conf;
	snprintf(path, sizeof(path), "%s/dip_clock", dir);
	clock = bpf_obj_get(path);
	err = clock < 0 ? clock : lease_write(conf, clock, monotonic_ns);
	close(conf);
	if (clock >= 0)
		close(clock);
	return err;
}
