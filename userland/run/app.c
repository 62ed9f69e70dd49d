// SPDX-License-Identifier: GPL-2.0
/* The application on this node: its start, the signals it gets, its end. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/run/carry.h"
#include "userland/run/keeper.h"
#include "userland/run/notice.h"
#include "userland/run/run.h"
#include "userland/run/stdio.h"

#ifndef LIBEXEC_DIR
#define LIBEXEC_DIR "/usr/local/libexec/netssi"
#endif

/* ---- in a child of PID 1 --------------------------------------------------------------- */

/* Beside this program (a build directory), or where it was installed to. By path: the file must be
 * found again through the mounts of the application's own namespace. */
static const char *init_program(void)
{
	static char path[PATH_MAX + 64];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/ssi-init", self);
		if (access(path, X_OK) == 0)
			return path;
		snprintf(path, sizeof(path), "%s/../libexec/netssi/ssi-init", self);
		if (access(path, X_OK) == 0 && realpath(path, self)) {
			snprintf(path, sizeof(path), "%s", self);
			return path;
		}
	}
	return LIBEXEC_DIR "/ssi-init";
}

static void set_environment(const struct run_opts *o)
{
	if (!o->user)
		return;
	setenv("HOME", o->home, 1);
	setenv("SHELL", o->shell, 1);
	setenv("USER", o->user, 1);
	setenv("LOGNAME", o->user, 1);
}

static char **init_argv(const struct run_opts *o)
{
	static char uid[16], gid[16];
	size_t n = 0;
	char **argv;

	while (o->cmd[n])
		n++;
	argv = calloc(n + 5, sizeof(*argv));
	if (!argv)
		return NULL;
	snprintf(uid, sizeof(uid), o->user ? "%u" : "-", o->uid);
	snprintf(gid, sizeof(gid), o->user ? "%u" : "-", o->gid);
	argv[0] = (char *)"ssi-init";
	argv[1] = uid;
	argv[2] = gid;
	argv[3] = o->groups ? o->groups : (char *)"-";
	memcpy(argv + 4, o->cmd, n * sizeof(*argv));
	return argv;
}

/* The first process of the application; fds: its stdio. */
static int root_main(const char *blob, const int *fds, int n_fds)
{
	const struct run_opts *o = &run.opts;
	char **argv = init_argv(o);

	(void)blob;
	if (getpid() != ROOT_PID || n_fds != 3 || !argv)
		return RUN_EXIT;
	setsid();
	prctl(PR_SET_PDEATHSIG, 0);
	if (!o->ipc_host && unshare(CLONE_NEWIPC) < 0)
		return RUN_EXIT;
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return RUN_EXIT;
	close_range(3, ~0U, 0);
	for (size_t i = 0; run_ignored[i]; i++)
		signal(run_ignored[i], SIG_DFL);
	set_environment(o);
	execv(init_program(), argv);
	dprintf(2, "ssi-run: error: %s: %s; install netssi again\n", init_program(), strerror(errno));
	return RUN_EXIT;
}

/* ---- supervisor --------------------------------------------------------------------------- */

int app_prepare(void)
{
	int err;

	if (run.space.init > 0)
		return 0;
	if (!run.opts.keeper && run.state == RUN_STARTING && notify_open(false) < 0)
		return -errno;
	err = notice_open();
	if (err < 0)
		return err;
	run.space.ended = app_child_ended;
	run.space.lost = app_lost;
	return space_open(&run.space, run.opts.name);
}

void app_find_pids(void)
{
	run.pid = space_host_pid(&run.space, ROOT_PID);
	run.main_pid = space_host_pid(&run.space, MAIN_PID);
}

int app_start(void)
{
	int child[3] = {-1, -1, -1}, err = app_prepare();

	if (err == 0)
		err = stdio_pipes(run.opts.uid, run.opts.gid, child);
	if (err == 0)
		err = space_run(&run.space, root_main, NULL, child, 3, 0);
	for (int i = 0; i < 3; i++)
		if (child[i] >= 0)
			close(child[i]);
	if (err < 0)
		return err;
	app_find_pids();
	run.state = RUN_RUNNING;
	return 0;
}

/* What a terminal sends goes to the whole group, as a terminal would. */
static bool from_terminal(int sig)
{
	return sig == SIGINT || sig == SIGQUIT || sig == SIGHUP || sig == SIGWINCH || sig == SIGTSTP ||
	       sig == SIGCONT;
}

void app_signal(int sig)
{
	if (run.state == RUN_MOVED) {
		if (stdio_send_signal(sig) < 0)
			keeper_event(json_pack("{ss si}", "kind", "signal", "sig", sig));
		return;
	}
	if (!from_terminal(sig) || space_kill(&run.space, -MAIN_PID, sig) < 0)
		space_kill(&run.space, MAIN_PID, sig);
}

static void finished(void)
{
	if (WIFSIGNALED(run.exit_status))
		run_end(-WTERMSIG(run.exit_status));
	else
		run_end(WEXITSTATUS(run.exit_status));
}

/* The application is no more, here or (moved) where it was. */
void app_ended(int status)
{
	json_t *event = json_pack("{ss ss}", "kind", "exited", "state", "exited");

	run.exit_status = status;
	if (WIFSIGNALED(status))
		json_object_set_new(event, "signal", json_integer(WTERMSIG(status)));
	else
		json_object_set_new(event, "status", json_integer(WEXITSTATUS(status)));
	if (run.state == RUN_MOVED) { /* its last node told netd already */
		json_decref(event);
		finished();
		return;
	}
	run.state = RUN_EXITED;
	stdio_freeze(false);
	notice_forget();
	space_close(&run.space);
	keeper_event(event);
	stdio_finish(status, finished);
	carry_ended();
}

void app_lost(struct space *s)
{
	(void)s;
	if (run.state == RUN_RUNNING || run.state == RUN_PAUSED || run.state == RUN_FROZEN ||
	    run.state == RUN_RESTORED) {
		run_say("%s was killed together with its namespaces", run.opts.name);
		app_ended(SIGKILL);
	}
}

void app_child_ended(struct space *s, pid_t pid, int status)
{
	(void)s;
	if (pid == ROOT_PID &&
	    (run.state == RUN_RUNNING || run.state == RUN_PAUSED || run.state == RUN_FROZEN))
		app_ended(status);
}
