// SPDX-License-Identifier: GPL-2.0
/* Scopes by systemd's manager (over its private socket or the bus) or by mkdir. */
#include "userland/run/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/keeper.h"
#include "userland/lib/log.h"

#define SLICE		"ssi.slice"
#define OWN_MOUNT	"/run/netssi/cgroup2"
#define JOB_TIMEOUT_US	5000000
#define MANAGER		"org.freedesktop.systemd1"
#define MANAGER_PATH	"/org/freedesktop/systemd1"
#define MANAGER_IFACE	"org.freedesktop.systemd1.Manager"
#define PRIVATE_ADDRESS "unix:path=/run/systemd/private"

static int find_mount(char *out, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], root[1024], at[1024];

	out[0] = '\0';
	while (f && !out[0] && fgets(line, sizeof(line), f))
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %1023s %1023s", root, at) == 2 &&
		    strcmp(root, "/") == 0)
			snprintf(out, size, "%s", at);
	if (f)
		fclose(f);
	return out[0] ? 0 : -ENOENT;
}

const char *cgroup_mount(void)
{
	static char at[1024];

	if (at[0] || find_mount(at, sizeof(at)) == 0)
		return at;
	mkdir("/run/netssi", 0755);
	mkdir(OWN_MOUNT, 0755);
	if (mount("cgroup2", OWN_MOUNT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return NULL;
	snprintf(at, sizeof(at), OWN_MOUNT);
	return at;
}

static int join(const char *path, pid_t pid)
{
	char file[1200];
	int fd, err = 0;

	snprintf(file, sizeof(file), "%s/%s/cgroup.procs", cgroup_mount(), path);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d", pid) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static int make_scope(const char *path, pid_t pid)
{
	char dir[1200];

	snprintf(dir, sizeof(dir), "%s/" SLICE, cgroup_mount());
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	snprintf(dir, sizeof(dir), "%s/%s", cgroup_mount(), path);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	return join(path, pid);
}

/* ---- systemd -------------------------------------------------------------------- */

static void bus_close(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

static void message_unref(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}

/* The private socket works before and without dbus-daemon. */
static int bus_open(sd_bus **out)
{
	_cleanup_(bus_close) sd_bus *bus = NULL;

	if (sd_bus_new(&bus) >= 0 && sd_bus_set_address(bus, PRIVATE_ADDRESS) >= 0 &&
	    sd_bus_start(bus) >= 0 && sd_bus_is_ready(bus) >= 0) {
		*out = take_ptr(bus);
		return 0;
	}
	return sd_bus_open_system(out);
}

struct job {
	const char *path;
	bool done;
};

static int job_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct job *job = arg;
	const char *path = NULL;

	(void)error;
	if (sd_bus_message_is_signal(m, MANAGER_IFACE, "JobRemoved") &&
	    sd_bus_message_read(m, "uo", NULL, &path) >= 0 && job->path && strcmp(path, job->path) == 0)
		job->done = true;
	return 0;
}

static int job_wait(sd_bus *bus, struct job *job)
{
	while (!job->done) {
		int r = sd_bus_process(bus, NULL);

		if (r == 0 && !job->done)
			r = sd_bus_wait(bus, JOB_TIMEOUT_US) ?: -ETIMEDOUT;
		if (r < 0)
			return r;
	}
	return 0;
}

static int call_start_scope(sd_bus *bus, const char *unit, const char *slice, pid_t pid,
			    sd_bus_message **reply, sd_bus_error *error)
{
	_cleanup_(message_unref) sd_bus_message *m = NULL;
	int r;

	r = sd_bus_message_new_method_call(bus, &m, MANAGER, MANAGER_PATH, MANAGER_IFACE,
					   "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(m, "ssa(sv)a(sa(sv))", unit, "fail", 6, "Description", "s",
					  "netssi application", "Slice", "s", slice, "PIDs", "au", 1,
					  (uint32_t)pid, "DelegateControllers", "as", 0,
					  /* KEEPER_FROZEN_GROUP */ "CollectMode", "s", "inactive-or-failed",
					  "TimeoutStopUSec", "t", (uint64_t)5000000, 0);
	return r < 0 ? r : sd_bus_call(bus, m, JOB_TIMEOUT_US, error, reply);
}

static int systemd_scope(const char *unit, const char *slice, pid_t pid)
{
	_cleanup_(bus_close) sd_bus *bus = NULL;
	_cleanup_(message_unref) sd_bus_message *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	struct job job = {0};
	int r = bus_open(&bus);

	if (r >= 0)
		r = sd_bus_add_filter(bus, NULL, job_removed, &job);
	if (r >= 0) /* signals are sent to those who subscribed; the private socket gets them anyway */
		sd_bus_call_method(bus, MANAGER, MANAGER_PATH, MANAGER_IFACE, "Subscribe", NULL, NULL, NULL);
	if (r >= 0)
		r = call_start_scope(bus, unit, slice, pid, &reply, &error);
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &job.path);
	if (r >= 0)
		r = job_wait(bus, &job);
	if (r < 0)
		log_err("systemd did not make %s: %s; see: journalctl -b UNIT=%s", unit,
			error.message ? error.message : strerror(-r), unit);
	return r < 0 ? r : 0;
}

/* ---- both ------------------------------------------------------------------------ */

/* Where the process really is, below the mount. */
static int scope_of(pid_t pid, char *path, size_t size)
{
	char file[64], line[1024];
	int err = -ENOENT;
	FILE *f;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	f = fopen(file, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(path, size, "%s", line + 4);
		err = 0;
	}
	if (f)
		fclose(f);
	return err;
}

int cgroup_scope(const char *name, pid_t pid, char *path, size_t size, uint64_t *id)
{
	char unit[128], dir[1200];
	struct stat st;
	int err;

	if (!cgroup_mount()) {
		log_err("there is no cgroup2 hierarchy; mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
		return -ENOENT;
	}
	snprintf(unit, sizeof(unit), "ssi-%s.scope", name);
	snprintf(path, size, SLICE "/%s", unit);
	if (sd_booted() > 0) {
		err = systemd_scope(unit, SLICE, pid);
		if (err == 0)
			err = scope_of(pid, path, size);
	} else {
		err = make_scope(path, pid);
	}
	snprintf(dir, sizeof(dir), "%s/%s", cgroup_mount(), path);
	if (err == 0 && stat(dir, &st) < 0)
		err = -errno;
	if (err < 0) {
		path[0] = '\0';
		return err;
	}
	*id = st.st_ino;
	return 0;
}

void cgroup_remove(const char *path)
{
	char dir[1200];

	if (sd_booted() > 0)
		return; /* systemd sees the last process leave */
	snprintf(dir, sizeof(dir), "%s/%s/" KEEPER_FROZEN_GROUP, cgroup_mount(), path);
	rmdir(dir);
	snprintf(dir, sizeof(dir), "%s/%s", cgroup_mount(), path);
	rmdir(dir);
}

int cgroup_leave(const char *name)
{
	char unit[128];

	if (sd_booted() > 0) {
		snprintf(unit, sizeof(unit), "ssi-keeper-%s.scope", name);
		return systemd_scope(unit, "system.slice", getpid());
	}
	return cgroup_mount() ? join(".", getpid()) : -ENOENT;
}
