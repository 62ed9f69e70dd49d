// SPDX-License-Identifier: GPL-2.0
/*
 * The application stands still and goes on, by the control group's freezer: unlike SIGSTOP nobody inside sees it, and a
 * process can neither miss it nor undo it. Its processes go into a group of their own below the scope for that time,
 * since PID 1 serves requests, and what they hold goes on living in the kernel: connections are acknowledged until
 * their buffers are full.
 */
#include "userland/run/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/run/carry_int.h"
#include "userland/run/cgroup.h"
#include "userland/run/run.h"

#define STEP_US	   5000
#define GATHER_MAX 200 /* looks for processes that were forked meanwhile */
#define STILL_MAX  400 /* looks whether all stand still: 2 s */

static int write_to(const char *cgroup, const char *file, const char *text)
{
	char path[1400];
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s/%s", cgroup_mount(), cgroup, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int move_to(const char *cgroup, pid_t pid)
{
	char text[16];
	int err;

	snprintf(text, sizeof(text), "%d", pid);
	err = write_to(cgroup, "cgroup.procs", text);
	return err == -ESRCH ? 0 : err; /* it ended */
}

/* What is in the group forks no more: once a look finds nobody new, all are in. */
static int gather(const char *cgroup)
{
	size_t before = 0, n;

	for (int i = 0; i < GATHER_MAX; i++) {
		_free_ pid_t *pids = space_pids(&run.space);

		for (n = 0; pids && pids[n]; n++) {
			int err = move_to(cgroup, pids[n]);

			if (err < 0)
				return err;
		}
		if (i && n == before)
			return 0;
		before = n;
	}
	return -EBUSY;
}

static bool stands_still(const char *cgroup)
{
	char path[1400], text[128] = "";
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s/cgroup.events", cgroup_mount(), cgroup);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "frozen 1");
}

static void scatter(const char *cgroup)
{
	_free_ pid_t *pids = space_pids(&run.space);
	char path[1400];

	write_to(cgroup, "cgroup.freeze", "0");
	for (pid_t *p = pids; p && *p; p++)
		move_to(run.space.cgroup, *p);
	snprintf(path, sizeof(path), "%s/%s", cgroup_mount(), cgroup);
	if (rmdir(path) < 0)
		log_debug("%s: %s", path, strerror(errno));
}

static int freeze_all(const char *cgroup)
{
	char path[1400];
	int err;

	snprintf(path, sizeof(path), "%s/%s", cgroup_mount(), cgroup);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	err = write_to(cgroup, "cgroup.freeze", "1") ?: gather(cgroup);
	for (int i = 0; err == 0 && !stands_still(cgroup); i++) {
		if (i >= STILL_MAX)
			err = -EBUSY;
		usleep(STEP_US);
	}
	if (err < 0)
		scatter(cgroup);
	return err;
}

static const char *group(void)
{
	static char cgroup[256];

	snprintf(cgroup, sizeof(cgroup), "%s/" KEEPER_FROZEN_GROUP, run.space.cgroup);
	return cgroup;
}

void freeze_app(struct keeper_request rq, json_t *args, int fd)
{
	int err;

	(void)args;
	(void)fd;
	if (run.state == RUN_PAUSED) {
		keeper_ok(rq, NULL);
		return;
	}
	if (!carry_begin(rq, run.state == RUN_RUNNING, "a running application"))
		return;
	err = freeze_all(group());
	if (err < 0) {
		carry_answer_error(
			"it runs on; try again, `ps -o pid,stat,wchan,comm` shows what waits in state D",
			err == -EBUSY ? "its processes do not all come to a halt" : strerror(-err));
		return;
	}
	run.state = RUN_PAUSED;
	carry_answer_ok(NULL);
}

static bool undo(void)
{
	if (run.state != RUN_PAUSED)
		return false;
	scatter(group());
	run.state = RUN_RUNNING;
	return true;
}

void freeze_over(void)
{
	if (undo())
		keeper_event(json_pack("{ss ss}", "kind", "unpaused", "state", run_state_name(run.state)));
}

void freeze_thaw(struct keeper_request rq, json_t *args, int fd)
{
	(void)args;
	(void)fd;
	undo();
	if (run.state == RUN_RUNNING)
		keeper_ok(rq, NULL);
	else
		keeper_error(rq, "try again", "it is %s", run_state_name(run.state));
}
