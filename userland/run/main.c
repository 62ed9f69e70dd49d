// SPDX-License-Identifier: GPL-2.0
/*
 * ssi-run: starts a program as an application of the cluster and keeps it.
 * In the foreground this process is the keeper itself; with --detach a child of
 * it; netd starts `ssi-run --keeper` where an application is about to arrive.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"
#include "userland/lib/log.h"
#include "userland/run/carry.h"
#include "userland/run/cgroup.h"
#include "userland/run/freeze.h"
#include "userland/run/keeper.h"
#include "userland/run/logfile.h"
#include "userland/run/notice.h"
#include "userland/run/run.h"
#include "userland/run/stdio.h"
#include "userland/run/worker.h"

#define DESC_MAX	  (256 << 10)
#define STDIO_PATIENCE_MS 30000
#define WAIT_PATIENCE_MS  120000

struct run run = {.report = -1};
int run_ignored[4];

static struct watch signals = {.fd = -1};
static struct timer patience;

const char *run_state_name(enum run_state s)
{
	static const char *const names[] = {"starting", "running",  "paused", "frozen",
					    "waiting",	"restored", "moved",  "exited"};

	return names[s];
}

void run_say(const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (run.opts.detach && run.report < 0) {
		logfile_write("ssi-run: ", 9);
		logfile_write(text, strlen(text));
		logfile_write("\n", 1);
	} else {
		log_notice("%s", text);
	}
}

void run_end(int code)
{
	carry_ended();
	space_close(&run.space);
	keeper_close();
	notify_close();
	notice_close();
	loop_quit(code);
}

/* ---- the hello -------------------------------------------------------------------------- */

static json_t *flags_json(void)
{
	json_t *flags = json_array();

	if (run.opts.detach)
		json_array_append_new(flags, json_string("detached"));
	if (run.opts.standby)
		json_array_append_new(flags, json_string("standby"));
	if (run.opts.ipc_host)
		json_array_append_new(flags, json_string("ipc-host"));
	if (run.opts.source_node)
		json_array_append_new(flags, json_string("source-node"));
	return flags;
}

static json_t *strings_json(char **list)
{
	json_t *out = json_array();

	for (char **s = list; s && *s; s++)
		json_array_append_new(out, jsonline_string(*s, PATH_MAX));
	return out;
}

json_t *run_hello(const char *name)
{
	if (run.space.init > 0 && !run.main_pid && run.state == RUN_RUNNING)
		app_find_pids();
	return json_pack("{s{ss ss si si sI ss si si so so ss so so sI sb sb sb}}", "hello", "name", name,
			 "state", run_state_name(run.state), "pid", run.pid, "main", run.main_pid,
			 "cgroup_id", (json_int_t)run.space.cgroup_id, "cgroup", run.space.cgroup, "uid",
			 (int)run.opts.uid, "gid", (int)run.opts.gid, "cmd", strings_json(run.opts.cmd),
			 "cwd", jsonline_string(run.opts.cwd, PATH_MAX), "origin", run.origin, "flags",
			 flags_json(), "data", strings_json(run.opts.data), "since", (json_int_t)run.since_ms,
			 "rounds", 1, "conns", 1, "early", 1);
}

/* ---- signals ------------------------------------------------------------------------------ */

static void take_signal(int sig)
{
	if (sig == SIGCHLD) {
		space_reap(&run.space);
		return;
	}
	if (run.state == RUN_STARTING || run.state == RUN_WAITING) {
		if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP || sig == SIGQUIT)
			run_end(-sig);
		return;
	}
	if (run.state == RUN_PAUSED && (sig == SIGTERM || sig == SIGINT || sig == SIGHUP || sig == SIGQUIT))
		freeze_over(); /* else it could not end */
	app_signal(sig);
	if (sig == SIGTSTP)
		raise(SIGSTOP);
}

static void signal_event(struct watch *w, short revents)
{
	struct signalfd_siginfo si;

	(void)revents;
	while (read(w->fd, &si, sizeof(si)) == sizeof(si))
		take_signal((int)si.ssi_signo);
}

static void ignore(int sig)
{
	static int n;

	if (signal(sig, SIG_IGN) != SIG_IGN)
		run_ignored[n++] = sig;
}

static void catch_signals(void)
{
	static const int list[] = {SIGTERM, SIGINT,   SIGHUP,  SIGQUIT, SIGUSR1,
				   SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		struct sigaction old;

		/* what nohup or a shell had us ignore stays ignored, for CMD, too */
		if (sigaction(list[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN && list[i] != SIGCHLD)
			continue;
		sigaddset(&set, list[i]);
	}
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signals = (struct watch){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN, .fn = signal_event};
	loop_watch(&signals);
	ignore(SIGPIPE);
	ignore(SIGTTIN);
	ignore(SIGTTOU);
}

/* ---- stdio's news ---------------------------------------------------------------------------- */

static void impatient(struct timer *t)
{
	(void)t;
	if (run.state == RUN_WAITING) {
		log_warn("%s: no image came", run.opts.name);
		run_end(1);
	} else if (run.state == RUN_EXITED) {
		run_end(0); /* the supervisor on the node of origin is gone */
	}
}

static void stdio_lost(void)
{
	keeper_event(json_pack("{ss}", "kind", "stdio-lost"));
}

static const struct stdio_events stdio_events = {
	.lost = stdio_lost,
	.exited = app_ended,
	.signalled = app_signal,
	.notified = notify_pass,
};

static void prepare(void *arg)
{
	(void)arg;
	stdio_prepare();
	if (run.state == RUN_EXITED && run.user_away && !patience.at_ms)
		loop_timer(&patience, STDIO_PATIENCE_MS);
}

/* ---- three ways to run -------------------------------------------------------------------------- */

static void to_null(int from, int to)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = from; i <= to; i++)
		dup2(null, i);
	if (null > 2)
		close(null);
}

/* Tells the process that the user started that all is well; it prints and exits. */
void run_report(void)
{
	if (run.report < 0)
		return;
	if (write(run.report, "", 1) < 0)
		log_debug("nobody waits for the start");
	close(run.report);
	run.report = -1;
	if (run.opts.detach && !run.opts.keeper)
		to_null(0, 2);
}

/* In the child: goes on as the keeper. In the parent: waits for it to be ready or to fail. */
static void daemonise(void)
{
	int p[2], status;
	pid_t pid;
	char c;

	if (pipe2(p, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		log_err("cannot go into the background: %s", strerror(errno));
		exit(RUN_EXIT);
	}
	if (pid == 0) {
		/* Of whoever started us nothing but stdio and the report stays open. */
		run.report = dup2(p[1], 3);
		fcntl(run.report, F_SETFD, FD_CLOEXEC);
		close_range(4, ~0U, 0);
		setsid();
		return;
	}
	close(p[1]);
	if (read(p[0], &c, 1) == 1) {
		if (!run.opts.keeper)
			printf("%s " LOGFILE_DIR "/%s.log\n", run.opts.name, run.opts.name);
		fflush(stdout);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : RUN_EXIT);
}

static int go_on(void)
{
	int code = loop_run();

	if (code >= 0)
		return code;
	/* As CMD ended, so that whoever waits for us sees the same. */
	sigset_t none;
	const struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	signal(-code, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	kill(getpid(), -code);
	return 128 - code;
}

static int64_t unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The manager would keep the sockets, whose port is this node's alone. */
static bool has_unit_sockets(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	return pid && fds && atol(pid) == getpid() && atol(fds) > 0;
}

static int run_command(void)
{
	if (has_unit_sockets()) {
		log_err("%s: sockets of a socket unit cannot belong to an application; disable the .socket "
			"unit, the "
			"program opens them itself then",
			run.opts.name);
		return RUN_EXIT;
	}
	run.state = RUN_STARTING;
	run.since_ms = unix_ms();
	if (run.opts.detach)
		daemonise();
	catch_signals();
	if (keeper_listen() < 0)
		return RUN_EXIT;
	if (run.opts.detach &&
	    (cgroup_leave(run.opts.name) < 0 || logfile_open(run.opts.name, !run.opts.standby) < 0))
		log_warn("%s: its output, or the session it was started in, may end it", run.opts.name);
	stdio_init(run.opts.detach ? STDIO_LOG : STDIO_REAL, &stdio_events);
	loop_prepare(prepare, NULL);
	/* A standby's place is made when it has the name: until then another may visit this node. */
	if ((!run.opts.standby && app_prepare() < 0) || claim_begin() != 0) {
		run_end(RUN_EXIT);
		return RUN_EXIT;
	}
	return go_on();
}

static json_t *read_description(void)
{
	char *buf = malloc(DESC_MAX);
	size_t len = 0;
	json_t *desc;
	ssize_t n;

	while (buf && len < DESC_MAX && (n = read(0, buf + len, DESC_MAX - len)) > 0)
		len += (size_t)n;
	desc = buf ? json_loadb(buf, len, 0, NULL) : NULL;
	free(buf);
	return desc;
}

static int run_keeper(void)
{
	json_t *desc = read_description();
	const char *origin = json_string_value(json_object_get(desc, "origin"));

	if (!desc || opts_from_json(&run.opts, desc) < 0) {
		log_err("--keeper is for netd: it wants the description of an application on stdin");
		return RUN_EXIT;
	}
	snprintf(run.origin, sizeof(run.origin), "%s", origin ? origin : "");
	run.since_ms = json_integer_value(json_object_get(desc, "since")) ?: unix_ms();
	run.user_away = !run.opts.detach;
	run.state = RUN_WAITING;
	to_null(0, 1);
	daemonise();
	catch_signals();
	if (cgroup_leave(run.opts.name) < 0 || keeper_listen() < 0 ||
	    (run.opts.detach && logfile_open(run.opts.name, 1) < 0))
		return RUN_EXIT;
	stdio_init(run.opts.detach ? STDIO_LOG : STDIO_AWAY, &stdio_events);
	loop_prepare(prepare, NULL);
	if (notify_open(true) < 0 || app_prepare() < 0) {
		run_end(RUN_EXIT);
		return RUN_EXIT;
	}
	patience.fn = impatient;
	loop_timer(&patience, WAIT_PATIENCE_MS);
	run_report();
	return go_on();
}

int main(int argc, char **argv)
{
	int null;

	log_init("ssi-run", LOG_INFO);
	patience.fn = impatient;
	run.space.ctl = run.space.events.fd = -1;
	do /* 0 to 2 are there */
		null = open("/dev/null", O_RDWR);
	while (null >= 0 && null < 3);
	close(null);
	switch (opts_parse(&run.opts, argc, argv)) {
	case OPTS_DONE:
		return 0;
	case OPTS_ERROR:
		return RUN_EXIT;
	case OPTS_NOT_FOUND:
		return 127;
	case OPTS_NOT_RUNNABLE:
		return 126;
	case OPTS_RUN:
		break;
	}
	if (geteuid() != 0) {
		log_err("needs root to make namespaces; run it with sudo, and CMD as you with --user");
		return RUN_EXIT;
	}
	return run.opts.keeper ? run_keeper() : run_command();
}
