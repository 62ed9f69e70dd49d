// SPDX-License-Identifier: GPL-2.0
/*
 * netd: the daemon on each node. Builds the parts of struct netd in order, tells
 * them of the events of membership, and takes them down in reverse. Nothing is
 * decided here.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "apps.h"
#include "checkpoint.h"
#include "claims.h"
#include "cleanup.h"
#include "ctl.h"
#include "ctl_cluster.h"
#include "datapath.h"
#include "drain.h"
#include "freeze.h"
#include "member.h"
#include "metrics.h"
#include "moves.h"
#include "netd.h"
#include "userland/lib/log.h"
#include "userland/lib/version.h"

#define CONF_PATH NETD_ETC_DIR "/netd.conf"
#define KEY_PATH  NETD_ETC_DIR "/key"
/* A planned restart may take as long before the cluster gives this node up. */
#define RESTART_HOLD_MS 15000
/* Clients wait so long for a cluster that has not come up; then they are told. */
#define READY_WAIT_MS 5000
/* Allocations of so many bytes are mappings of their own. */
#define OWN_MAPPING (128 * 1024)

static struct {
	struct netd netd;
	uv_loop_t loop;
	uv_signal_t term, intr;
	uv_timer_t ready_wait;
	bool stopping, again; /* after the end: the same program anew */
} main_state;

static const char usage[] =
	"Usage: netd [--conf FILE] [--insecure] [--debug]\n"
	"       netd --cleanup\n"
	"The daemon of a netssi node; started by netd.service. It is idle until\n"
	"`netctl init` or `netctl join`.\n"
	"\n"
	"  --conf FILE   instead of " CONF_PATH "\n"
	"  --insecure    talk to peers in clear text, for tests only\n"
	"  --debug       log more\n"
	"  --cleanup     take out of the kernel what an earlier netd left there, and end\n"
	"  --help, --version\n";

static void on_stopped(void *arg);

/* ---- events of membership ------------------------------------------------------------ */

static void on_lease(void *arg, uint64_t expiry_ns)
{
	struct netd *n = arg;

	datapath_lease(n->datapath, expiry_ns);
}

static void on_ready(void *arg)
{
	struct netd *n = arg;

	moves_hold(n);
	if (datapath_sync(n->datapath) < 0)
		log_err("no data path: %s", datapath_error(n->datapath));
	apps_reconcile(n);
	claims_resync(n->claims);
	ctl_ready(n->ctl);
	sd_notify(0, "READY=1");
}

static void on_fenced(void *arg)
{
	struct netd *n = arg;

	log_err("this node was declared dead: its applications and connections end here");
	datapath_fence(n->datapath);
	apps_fence(n);
}

static void on_status(void *arg, enum member_status status)
{
	struct netd *n = arg;

	sd_notifyf(0, "STATUS=%s", member_status_name(status));
	ctl_publish(n->ctl, "status", json_pack("{ss}", "state", member_status_name(status)));
	if (status == MEMBER_IDLE) { /* it left: the names of its applications are free again */
		datapath_leave(n->datapath);
		apps_fence(n);
	}
}

static void on_behind(void *arg, bool behind)
{
	struct netd *n = arg;

	datapath_behind(n->datapath, behind);
}

static void on_restart(void *arg)
{
	struct netd *n = arg;

	if (main_state.stopping)
		return;
	main_state.stopping = main_state.again = true;
	member_stop(n->member, false, 0, on_stopped, n);
}

static const struct member_events member_events = {
	.lease = on_lease,
	.ready = on_ready,
	.fenced = on_fenced,
	.status = on_status,
	.behind = on_behind,
	.restart = on_restart,
};

static bool gate_member(void *arg)
{
	struct netd *n = arg;

	return member_status(n->member) != MEMBER_IDLE;
}

static bool gate_quorum(void *arg)
{
	struct netd *n = arg;

	return member_status(n->member) == MEMBER_LIVE;
}

static const struct ctl_gate ctl_gate = {.member = gate_member, .quorum = gate_quorum};

static void say_local(void *arg, const char *app, uint8_t proto, uint16_t port)
{
	char text[160];

	snprintf(text, sizeof(text),
		 "port %u/%s listens on the loopback only: it is not on the cluster address; bind "
		 "to 0.0.0.0 or the cluster address to expose it",
		 port, proto == 17 ? "udp" : "tcp");
	apps_say(arg, app, text);
}

/* ---- life -------------------------------------------------------------------------------- */

static void close_walk(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static void on_stopped(void *arg)
{
	struct netd *n = arg;

	metrics_stop(n);
	moves_stop(n);
	apps_stop(n);
	claims_stop(n);
	datapath_stop(n);
	ctl_stop(n);
	uv_close((uv_handle_t *)&main_state.term, NULL);
	uv_close((uv_handle_t *)&main_state.intr, NULL);
	uv_close((uv_handle_t *)&main_state.ready_wait, NULL);
}

static void on_signal(uv_signal_t *h, int sig)
{
	struct netd *n = h->data;

	if (main_state.stopping)
		return;
	main_state.stopping = true;
	log_notice("%s: stopping; applications and connections go on", strsignal(sig));
	sd_notify(0, "STOPPING=1");
	member_stop(n->member, true, RESTART_HOLD_MS, on_stopped, n);
}

static void on_ready_wait(uv_timer_t *t)
{
	struct netd *n = t->data;

	ctl_ready(n->ctl);
	sd_notify(0, "READY=1");
}

static void nothing(uv_work_t *req)
{
	(void)req;
}

/*
 * The lease is renewed from this thread, and the loop's workers write what an entry waits for: a busy machine
 * must neither fence itself nor make every claim of the cluster slow. What netd starts does not inherit it.
 */
static void run_ahead(uv_loop_t *loop)
{
	static uv_work_t first; /* makes all the workers, with this thread's priority */
	const struct sched_param param = {.sched_priority = 2}; /* what a move does in its pause has 1 */
	int r = sched_setscheduler(0, SCHED_RR, &param);

	uv_queue_work(loop, &first, nothing, NULL);
	if (r < 0 || sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) < 0)
		log_warn("no real-time priority: %s; a busy machine may lose its lease", strerror(errno));
}

static void wipe_and_free(void *p)
{
	explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/*
 * The cluster's key, and what connections are encrypted with, get into no core file and no swap; keys and tokens travel
 * as JSON. What is never swapped out is also never waited for, when a lease is to be renewed.
 */
static void keep_secrets(void)
{
	json_set_alloc_funcs(malloc, wipe_and_free);
	prctl(PR_SET_DUMPABLE, 0);
	/* What is locked goes back to the kernel as a whole mapping or not at all: the types of the kernel, which libbpf
	 * reads when programs are loaded, are some 10 MB. */
	mallopt(M_MMAP_THRESHOLD, OWN_MAPPING);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_warn("memory cannot be locked: %s; the cluster's key may get into swap", strerror(errno));
}

static int make_dirs(void)
{
	static const char *const dirs[] = {NETD_RUN_DIR, NETD_STATE_DIR, NETD_ETC_DIR};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (mkdir(dirs[i], 0755) < 0 && errno != EEXIST) {
			log_err("%s cannot be made: %s", dirs[i], strerror(errno));
			return -errno;
		}
	}
	return 0;
}

static int start_member(struct netd *n)
{
	const struct member_params params = {
		.loop = n->loop,
		.state_dir = NETD_STATE_DIR,
		.key_path = KEY_PATH,
		.run_dir = NETD_RUN_DIR,
		.insecure = n->conf.insecure,
		.events = &member_events,
		.arg = n,
	};
	int err = member_new(&params, &n->member);

	if (err < 0)
		return err;
	n->kddm = member_kddm(n->member);
	n->peers = member_peers(n->member);
	ctl_set_gate(n->ctl, &ctl_gate, n);
	return objects_register(n->kddm, &n->sets);
}

static int start_parts(struct netd *n)
{
	static const struct {
		const char *name;
		int (*start)(struct netd *n);
	} parts[] = {
		{"control socket", ctl_start},
		{"membership", start_member},
		{"data path", datapath_start},
		{"claims", claims_start},
		{"applications", apps_start},
		{"moves", moves_start},
		{"drain", drain_start},
		{"checkpoints", checkpoint_start},
		{"freeze", freeze_start},
		{"restarts", restart_start},
		{"cluster commands", ctl_cluster_start},
		{"key commands", ctl_key_start},
		{"metrics", metrics_start},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int err = parts[i].start(n);

		if (err < 0) {
			if (err != -EADDRINUSE) /* told already */
				log_err("%s: %s", parts[i].name, strerror(-err));
			return err;
		}
	}
	claims_on_local(n->claims, say_local, n);
	return member_boot(n->member);
}

static int run(struct netd *n)
{
	uv_loop_init(&main_state.loop);
	run_ahead(&main_state.loop);
	n->loop = &main_state.loop;
	uv_signal_init(n->loop, &main_state.term);
	uv_signal_init(n->loop, &main_state.intr);
	uv_timer_init(n->loop, &main_state.ready_wait);
	main_state.term.data = main_state.intr.data = main_state.ready_wait.data = n;
	if (make_dirs() < 0 || start_parts(n) < 0)
		return 1;
	uv_signal_start(&main_state.term, on_signal, SIGTERM);
	uv_signal_start(&main_state.intr, on_signal, SIGINT);
	uv_timer_start(&main_state.ready_wait, on_ready_wait,
		       member_status(n->member) == MEMBER_IDLE ? 0 : READY_WAIT_MS, 0);
	uv_run(n->loop, UV_RUN_DEFAULT);
	member_free(n->member);
	uv_walk(n->loop, close_walk, NULL);
	uv_run(n->loop, UV_RUN_DEFAULT);
	uv_loop_close(n->loop);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"conf", required_argument, NULL, 'c'},
		{"insecure", no_argument, NULL, 'i'},
		{"debug", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{"cleanup", no_argument, NULL, 'k'},
		{},
	};
	struct netd *n = &main_state.netd;
	const char *conf = CONF_PATH;
	bool insecure = false, cleanup = false;
	int level = LOG_INFO, opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			conf = optarg;
			break;
		case 'i':
			insecure = true;
			break;
		case 'd':
			level = LOG_DEBUG;
			break;
		case 'k':
			cleanup = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("netd " SSI_VERSION);
			return 0;
		default:
			fprintf(stderr, "netd: bad option \"%s\"; see netd --help\n", argv[optind - 1]);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "netd: unexpected argument \"%s\"; see netd --help\n", argv[optind]);
		return 2;
	}
	if (geteuid() != 0) {
		fputs("netd: must run as root; start it with `systemctl start netd`\n", stderr);
		return 1;
	}
	log_init("netd", level);
	if (cleanup)
		return cleanup_run();
	if (conf_read(&n->conf, conf) < 0)
		return 1;
	n->conf.insecure = insecure;
	keep_secrets();
	signal(SIGPIPE, SIG_IGN);
	if (run(n) != 0)
		return 1;
	if (!main_state.again)
		return 0;
	execv("/proc/self/exe", argv);
	log_err("cannot start anew: %s", strerror(errno));
	return 1;
}
