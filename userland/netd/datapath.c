// SPDX-License-Identifier: GPL-2.0
/*
 * Life of the data path: programs and tables loaded over what an earlier netd
 * pinned, attached with the first cluster address and taken out with the last;
 * the lease, and the fence when this node was declared dead.
 */
#include "datapath_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "claims.h"
#include "member.h"
#include "source_ports.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define SETTLE_MS 50
#define RETRY_MS  2000

void datapath_set_error(struct datapath *dp, const char *fmt, ...)
{
	char was[DATAPATH_ERROR];
	va_list ap;

	memcpy(was, dp->error, sizeof(was));
	va_start(ap, fmt);
	vsnprintf(dp->error, sizeof(dp->error), fmt, ap);
	va_end(ap);
	if (dp->error[0] && strcmp(was, dp->error))
		log_err("data path: %s", dp->error);
}

const char *datapath_error(const struct datapath *dp)
{
	return dp->error[0] ? dp->error : NULL;
}

bool datapath_synced(const struct datapath *dp)
{
	return dp->synced;
}

uint32_t datapath_self(const struct datapath *dp)
{
	return member_self(dp->netd->member);
}

/* ---- loading --------------------------------------------------------------- */
static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

const char *datapath_cgroup_root(void)
{
	static char root[PATH_MAX];
	_cleanup_(close_file) FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[8192];

	root[0] = '\0';
	/* id parent dev root MOUNTPOINT options [optional...] - TYPE source ... */
	while (f && !root[0] && fgets(line, sizeof(line), f)) {
		char *type = strstr(line, " - ");

		if (type && !strncmp(type, " - cgroup2 ", 11))
			sscanf(line, "%*s %*s %*s %*s %4095s", root);
	}
	return root[0] ? root : NULL;
}

static int ensure_bpffs(struct datapath *dp)
{
	struct statfs fs;

	if (!statfs("/sys/fs/bpf", &fs) && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (!mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
		return 0;
	datapath_set_error(dp,
			   "cannot pin maps: /sys/fs/bpf is no BPF file system and cannot be mounted: %m");
	return -errno;
}

static int check_kernel(struct datapath *dp)
{
	struct stat st;

	if (stat("/sys/kernel/btf/vmlinux", &st) || !st.st_size) {
		datapath_set_error(dp, "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF); boot one that has, "
				       "such as Debian's");
		return -ENOTSUP;
	}
	return ensure_bpffs(dp);
}

static uint64_t netns_cookie(void)
{
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		return 0;
	return cookie;
}

static void write_lease(struct datapath *dp)
{
	uint64_t jiffies = 0, lease_ns = dp->outdated ? 0 : dp->lease_ns;

	/* Until then the lease of an earlier netd stands in the tables, and holds. */
	if (!dp->lease_known)
		return;
	if (!dp->bpf) {
		/* The programs of an earlier netd go on while ours are loaded. */
		if (dp->loading || !lease_ns)
			dip_bpf_lease(NULL, lease_ns);
		return;
	}
	if (lease_ns && dip_bpf_jiffies(dp->bpf, lease_ns, &jiffies))
		jiffies = 0;
	dip_lease_set(dip_bpf_mem(dp->bpf), jiffies);
}

static void free_parts(struct datapath *dp)
{
	rtnl_close(dp->rtnl);
	rtnl_close(dp->watch);
	sockdiag_close(dp->diag);
	free(dp);
}

/* Handles of the loop and a load under way keep the memory. */
static void put(struct datapath *dp)
{
	if (!--dp->handles)
		free_parts(dp);
}

static void open_hold(struct datapath *dp)
{
	int err = hold_open(&dp->hold, dp->netd->loop);

	if (err) {
		dp->hold = NULL;
		log_warn("no hold queue, a move will lose packets: %s: %s", HOLD_DEVICE, strerror(-err));
	}
	dip_tables_set_hold(dip_bpf_mem(dp->bpf), dp->hold ? hold_ifindex(dp->hold) : 0);
}

/* In a worker thread: the verifier takes from milliseconds to seconds, and the
 * loop has a lease to renew. */
struct load_job {
	uv_work_t work;
	struct datapath *dp; /* loop thread only */
	struct dip_bpf *bpf;
	struct claim_lsm *lsm; /* NULL: lsm_error */
	uint16_t self;
	bool reused;
	int err;
	char error[DATAPATH_ERROR], lsm_error[DATAPATH_ERROR];
};

/* The kernel checks the programs for half a second: meanwhile this worker goes behind the rest of netd. */
static void load_work(uv_work_t *work)
{
	const struct sched_param behind = {0};
	struct sched_param usual;
	struct load_job *job = work->data;
	int policy = sched_getscheduler(0);

	sched_getparam(0, &usual);
	sched_setscheduler(0, SCHED_OTHER, &behind);
	job->err = dip_bpf_load(&job->bpf, NULL, job->self, &job->reused);
	if (job->err)
		snprintf(job->error, sizeof(job->error), "%s", dip_bpf_error());
	else if (claim_lsm_load(&job->lsm, NULL))
		snprintf(job->lsm_error, sizeof(job->lsm_error), "%s", claim_lsm_error());
	if (policy >= 0)
		sched_setscheduler(0, policy, &usual);
}

/* The tables say what the sets say, once they are loaded and synchronised. */
static void renewed(struct datapath *dp)
{
	if (!dp->outdated || !dp->bpf || !dp->synced)
		return;
	dp->outdated = false;
	write_lease(dp);
}

static void load_take(struct datapath *dp, struct load_job *job)
{
	if (job->err) {
		datapath_set_error(dp, "%s", job->error);
		return;
	}
	dp->bpf = take_ptr(job->bpf);
	dp->lsm = take_ptr(job->lsm);
	memcpy(dp->lsm_error, job->lsm_error, sizeof(dp->lsm_error));
	if (datapath_self(dp))
		dip_tables_set_self(dip_bpf_mem(dp->bpf), datapath_self(dp));
	dip_tables_set_netns(dip_bpf_mem(dp->bpf), netns_cookie());
	open_hold(dp);
	sources_loaded(dp);
	write_lease(dp);
	datapath_set_error(dp, "%s", "");
	log_info("data path loaded%s", job->reused		  ? ", tables taken over"
				       : dip_bpf_foreign(dp->bpf) ? ", in place of another version's"
								  : "");
	claims_resync(dp->netd->claims);
	vips_apply(dp);
	renewed(dp);
}

static void on_settle(uv_timer_t *t);

static void tell_waiters(struct datapath *dp)
{
	struct load_waiter *w, *all = dp->waiters;

	dp->waiters = NULL;
	while ((w = all)) {
		all = w->next;
		if (!dp->stopped)
			w->fn(w->arg);
		free(w);
	}
}

static void load_done(uv_work_t *work, int status)
{
	struct load_job *job = work->data;
	struct datapath *dp = job->dp;

	dp->loading = false;
	if (dp->discard) {
		dip_bpf_close(job->bpf);
		job->bpf = NULL;
		dip_bpf_unpin(NULL);
		if (dp->synced)
			uv_timer_start(&dp->settle, on_settle, SETTLE_MS, 0);
	} else if (!dp->stopped) {
		load_take(dp, job);
	}
	dp->discard = false;
	if (job->bpf)
		dip_bpf_close(job->bpf);
	claim_lsm_close(job->lsm);
	free(job);
	tell_waiters(dp);
	put(dp);
}

int datapath_load_wait(struct datapath *dp, void (*fn)(void *arg), void *arg)
{
	struct load_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct load_waiter){dp->waiters, fn, arg};
	dp->waiters = w;
	return 0;
}

int datapath_load(struct datapath *dp)
{
	struct load_job *job;
	int err;

	if (dp->bpf)
		return 0;
	dp->reload |= dp->unloading;
	if (dp->loading || dp->unloading)
		return -EINPROGRESS;
	err = check_kernel(dp);
	if (err)
		return err;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->dp = dp;
	job->self = datapath_self(dp);
	job->work.data = job;
	err = uv_queue_work(dp->netd->loop, &job->work, load_work, load_done);
	if (err) {
		free(job);
		return err;
	}
	dp->loading = true;
	dp->handles++;
	write_lease(dp);
	return -EINPROGRESS;
}

/*
 * Programs leave an interface or a control group one after the other, and for each the
 * kernel waits for its processors: in a worker thread, too.
 */
struct unload_job {
	uv_work_t work;
	struct datapath *dp; /* loop thread only */
	struct dip_bpf *bpf;
};

static void unload_work(uv_work_t *work)
{
	struct unload_job *job = work->data;

	if (job->bpf)
		dip_bpf_close(job->bpf);
	dip_bpf_unpin(NULL);
}

static void unload_done(uv_work_t *work, int status)
{
	struct unload_job *job = work->data;
	struct datapath *dp = job->dp;

	dp->unloading = false;
	free(job);
	if (dp->reload && !dp->stopped && datapath_load(dp) != -EINPROGRESS)
		tell_waiters(dp);
	dp->reload = false;
	put(dp);
}

static void unload(struct datapath *dp)
{
	claim_lsm_close(take_ptr(dp->lsm));
	struct unload_job *job = calloc(1, sizeof(*job)), now = {.bpf = dp->bpf};

	trace_stop(dp);
	dp->bpf = NULL;
	if (job) {
		*job = (struct unload_job){.dp = dp, .bpf = now.bpf};
		job->work.data = job;
	}
	if (!job || uv_queue_work(dp->netd->loop, &job->work, unload_work, unload_done)) {
		now.work.data = &now;
		unload_work(&now.work);
		free(job);
		return;
	}
	dp->unloading = true;
	dp->handles++;
}

/* ---- what is attached once -------------------------------------------------- */
static uint64_t slice_inode(void)
{
	const char *root = datapath_cgroup_root();
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" NETD_CGROUP, root ? root : "");
	return root && !stat(path, &st) ? st.st_ino : 0;
}

static int open_slice(struct datapath *dp)
{
	const char *root = datapath_cgroup_root();
	char path[PATH_MAX + 16];
	int fd;

	if (!root) {
		datapath_set_error(
			dp, "no control groups (v2) are mounted; mount -t cgroup2 none /sys/fs/cgroup");
		return -ENOENT;
	}
	snprintf(path, sizeof(path), "%s/" NETD_CGROUP, root);
	if (mkdir(path, 0755) && errno != EEXIST)
		goto fail;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
fail:
	datapath_set_error(dp, "cannot make the control group %s: %m", path);
	return -errno;
}

static int attach(struct datapath *dp, enum dip_prog prog, int target, const char *name)
{
	int err = dip_bpf_attach(dp->bpf, prog, target, 0, name);

	if (err)
		datapath_set_error(dp, "cannot attach %s: %s", name, dip_bpf_error());
	return err;
}

/* Without somebody who answers they would only keep programs waiting. */
static void attach_lsm(struct datapath *dp)
{
	if (dp->lsm && claim_lsm_attach(dp->lsm)) {
		snprintf(dp->lsm_error, sizeof(dp->lsm_error), "%s", claim_lsm_error());
		claim_lsm_close(take_ptr(dp->lsm));
	}
	if (!dp->lsm) {
		claim_lsm_detach(NULL);
		log_info("programs do not wait in listen(): %s", dp->lsm_error);
	}
}

static int attach_hold(struct datapath *dp)
{
	int ifindex = hold_ifindex(dp->hold), err;

	err = attach(dp, DIP_PROG_TC_TAP, ifindex, dip_bpf_prog_name(DIP_PROG_TC_TAP));
	return err ?: attach(dp, DIP_PROG_TC_BACK, ifindex, dip_bpf_prog_name(DIP_PROG_TC_BACK));
}

int datapath_attach(struct datapath *dp)
{
	_close_ int slice = -1, netns = -1;
	int err = 0;

	if (dp->attached)
		return 0;
	slice = open_slice(dp);
	if (slice < 0)
		return slice;
	netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return -errno;
	for (int prog = DIP_PROG_SOCK_CREATE; prog < DIP_PROGS && !err; prog++)
		err = attach(dp, prog, slice, dip_bpf_prog_name(prog));
	if (!err)
		err = attach(dp, DIP_PROG_SK_LOOKUP, netns, dip_bpf_prog_name(DIP_PROG_SK_LOOKUP));
	if (!err && dp->hold)
		err = attach_hold(dp);
	if (!err)
		attach_lsm(dp);
	dp->attached = !err;
	dp->slice = slice_inode();
	return err;
}

/* Hooks end with their control group, and an empty one may be removed. */
static void keep_hooks(struct datapath *dp)
{
	if (!dp->attached || dp->slice == slice_inode())
		return;
	log_warn("the control group " NETD_CGROUP " was removed; making it again");
	dp->attached = false;
	datapath_attach(dp);
	claims_resync(dp->netd->claims); /* what was not seen meanwhile */
}

void datapath_keep_hold(struct datapath *dp)
{
	if (!dp->attached || !dp->hold || hold_keep(dp->hold))
		return;
	log_warn("%s was taken away; making it again", HOLD_DEVICE);
	hold_close(dp->hold, true);
	open_hold(dp);
	if (dp->hold)
		attach_hold(dp);
	datapath_ports_apply(dp, NULL);
}

void datapath_detach(struct datapath *dp)
{
	struct dip_bpf *bpf = dp->bpf;

	dp->attached = dp->reload = false;
	dp->bpf = NULL;
	claims_resync(dp->netd->claims); /* it reads from the ring of these maps */
	dp->bpf = bpf;
	if (!dp->unloading)
		unload(dp);
	hold_close(dp->hold, true);
	dp->hold = NULL;
	datapath_set_error(dp, "%s", "");
}

/* ---- following the sets ------------------------------------------------------ */
static void apply_all(struct datapath *dp)
{
	vips_apply(dp);
	datapath_nodes_apply(dp);
}

static void on_settle(uv_timer_t *t)
{
	struct datapath *dp = t->data;

	if (dp->synced)
		vips_apply(dp);
}

static void on_retry(uv_timer_t *t)
{
	struct datapath *dp = t->data;
	bool broken = dp->error[0];

	for (int i = 0; i < DATAPATH_VIPS; i++)
		broken |= dp->vips[i].used && !dp->vips[i].exposed;
	if (dp->synced && broken)
		apply_all(dp);
	keep_hooks(dp);
	/* Of UDP sockets that another version's programs saw begin, ours do not see the end. */
	if (dp->synced && dp->bpf && dip_bpf_foreign(dp->bpf))
		claims_resync(dp->netd->claims);
	if (dp->synced && dp->push_pending)
		datapath_nodes_push(dp);
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
	struct datapath *dp = poll->data;
	bool seen = false, gone = false;
	int what;

	while ((what = rtnl_watch_read(dp->watch, dp->rtnl)) > 0) {
		seen = true;
		gone |= what == 2;
	}
	if (gone && dp->synced && !uv_is_active((uv_handle_t *)&dp->settle))
		log_notice("routes, rules or neighbours of cluster addresses were taken away; putting them "
			   "back");
	if (seen && !uv_is_active((uv_handle_t *)&dp->settle))
		uv_timer_start(&dp->settle, on_settle, SETTLE_MS, 0);
}

int datapath_sync(struct datapath *dp)
{
	dp->synced = true;
	/* Fresh tables have nothing to answer with yet; a lease must stand in them before the
	 * programs are swapped. */
	if (dp->bpf && dip_bpf_foreign(dp->bpf))
		datapath_lease(dp, member_lease_expiry_ns(dp->netd->member));
	if (dp->bpf)
		dip_tables_set_self(dip_bpf_mem(dp->bpf), datapath_self(dp));
	apply_all(dp);
	datapath_ports_apply(dp, NULL);
	write_lease(dp);
	renewed(dp);
	claims_resync(dp->netd->claims);
	if (!member_witness(dp->netd->member, datapath_self(dp)))
		datapath_load(dp); /* the first address need not wait for it */
	return dp->error[0] ? -EIO : 0;
}

void datapath_leave(struct datapath *dp)
{
	dp->synced = false;
	dp->discard = dp->loading;
	datapath_ports_stop(dp);
	sources_withdraw(dp);
	vips_withdraw(dp);
	datapath_detach(dp);
	datapath_set_error(dp, "%s", "");
}

/* ---- lease and fence ---------------------------------------------------------- */
void datapath_lease(struct datapath *dp, uint64_t expiry_monotonic_ns)
{
	bool regained = !dp->lease_ns && expiry_monotonic_ns;

	dp->lease_ns = expiry_monotonic_ns;
	dp->lease_known = true;
	write_lease(dp);
	for (int i = 0; i < DATAPATH_VIPS && regained; i++)
		if (dp->vips[i].exposed)
			vips_announce(&dp->vips[i]);
}

void datapath_fence(struct datapath *dp)
{
	/* Nobody writes into them yet: what was this node's may be another's before they are. */
	dp->outdated |= !dp->bpf || !dp->synced;
	datapath_lease(dp, 0);
	for (int i = 0; i < DATAPATH_VIPS; i++) {
		struct ipaddr addr = vips_addr(&dp->vips[i]);
		int n;

		if (!dp->vips[i].used)
			continue;
		n = sockdiag_destroy_addr(dp->diag, &addr, 0, NULL, NULL);
		if (n < 0)
			log_err("cannot end the sockets of a cluster address: %s", strerror(-n));
		else if (n)
			log_notice("ended %d sockets of a cluster address: this node was declared dead", n);
	}
}

/* ---- start, stop, status --------------------------------------------------------- */
/* An earlier netd left its tables: load over them while the way back into the
 * cluster is still being found. */
static void on_early(uv_timer_t *t)
{
	if (!access(NETD_BPF_DIR "/dip_conf", F_OK))
		datapath_load(t->data);
}

static int start_loop_parts(struct datapath *dp)
{
	uv_loop_t *loop = dp->netd->loop;
	int err = uv_poll_init(loop, &dp->watch_poll, rtnl_watch_fd(dp->watch));

	if (err)
		return err;
	uv_timer_init(loop, &dp->settle);
	uv_timer_init(loop, &dp->retry);
	uv_timer_init(loop, &dp->flows_look);
	uv_timer_init(loop, &dp->kept_look);
	uv_timer_init(loop, &dp->half_open);
	dp->handles = 6;
	dp->watch_poll.data = dp->settle.data = dp->retry.data = dp->flows_look.data = dp->kept_look.data =
		dp->half_open.data = dp;
	uv_poll_start(&dp->watch_poll, UV_READABLE, on_watch);
	uv_timer_start(&dp->retry, on_retry, RETRY_MS, RETRY_MS);
	uv_timer_start(&dp->settle, on_early, 0, 0);
	return 0;
}

int datapath_start(struct netd *n)
{
	struct datapath *dp = calloc(1, sizeof(*dp));
	int err;

	if (!dp)
		return -ENOMEM;
	dp->netd = n;
	err = rtnl_open(&dp->rtnl);
	if (!err)
		err = rtnl_watch_open(&dp->watch);
	if (!err)
		err = sockdiag_open(&dp->diag);
	if (!err)
		err = start_loop_parts(dp);
	if (err) {
		log_err("data path: cannot open netlink sockets: %s", strerror(-err));
		free_parts(dp);
		return err;
	}
	dp->leftovers = true;
	n->datapath = dp;
	vips_start(dp);
	datapath_nodes_start(dp);
	datapath_flows_start(dp);
	datapath_ports_start(dp);
	if (sources_start(dp))
		datapath_set_error(dp, "cannot follow the source ports of the cluster");
	vips_cmd_start(dp);
	explain_start(dp);
	stats_start(dp);
	trace_start(dp);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	put(handle->data);
}

void datapath_stop(struct netd *n)
{
	struct datapath *dp = n->datapath;
	struct deferred *d;

	if (!dp)
		return;
	n->datapath = NULL;
	dp->synced = false;
	dp->stopped = true;
	datapath_ports_stop(dp);
	datapath_flows_stop(dp);
	sources_stop(dp);
	trace_stop(dp);
	hold_close(dp->hold, false);
	if (dp->bpf)
		dip_bpf_close(dp->bpf);
	claim_lsm_close(take_ptr(dp->lsm));
	dp->hold = NULL;
	dp->bpf = NULL;
	while ((d = dp->deferred)) {
		dp->deferred = d->next;
		free(d->queued);
		free(d);
	}
	uv_close((uv_handle_t *)&dp->watch_poll, on_closed);
	uv_close((uv_handle_t *)&dp->settle, on_closed);
	uv_close((uv_handle_t *)&dp->retry, on_closed);
	uv_close((uv_handle_t *)&dp->flows_look, on_closed);
	uv_close((uv_handle_t *)&dp->kept_look, on_closed);
	datapath_half_open_stop();
	uv_close((uv_handle_t *)&dp->half_open, on_closed);
}

json_t *datapath_status(struct datapath *dp)
{
	const char *problem = dp->error[0] ? dp->error : NULL, *xdp = "none";
	json_t *sources = sources_problem(dp), *o;
	int used = 0, exposed = 0;

	for (int i = 0; i < DATAPATH_VIPS; i++) {
		const struct vip *v = &dp->vips[i];

		used += v->used;
		exposed += v->exposed;
		if (v->exposed)
			xdp = v->xdp;
		else if (v->used && !problem && !dp->loading && !dp->unloading)
			problem = v->state;
	}
	o = json_pack("{ss,ss,ss,ss,si,si,ss*}", "datapath", "ebpf", "xdp", xdp, "hold",
		      dp->hold ? hold_name(dp->hold) : "none", "listen",
		      dp->attached && dp->lsm ? "synchronous" : "asynchronous", "vips", used, "exposed",
		      exposed, "problem", problem);
	if (sources)
		json_object_set_new(o, "problems", json_pack("[o]", sources));
	return o;
}
