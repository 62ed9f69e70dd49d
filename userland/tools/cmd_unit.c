// SPDX-License-Identifier: GPL-2.0
/*
 * netctl unit: a systemd drop-in by which a service's program runs under ssi-run. Made of the unit's own file: what it
 * starts, as whom, and which of its restrictions ssi-run, that makes namespaces and control groups, could not live with.
 */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

#define LINE_MAX_LEN 4096

struct unit {
	const char *name; /* without .service */
	char path[PATH_MAX];
	char exec[LINE_MAX_LEN], type[32], user[64], group[64], runtime[128];
	bool reload, pid_file;
	char *resets; /* lines of the drop-in */
};

/* What stands against ssi-run, and the value that takes it away. */
static const struct {
	const char *key, *none;
} restrictions[] = {
	{"CapabilityBoundingSet", "~"},
	{"AmbientCapabilities", ""},
	{"DynamicUser", "no"},
	{"ExecPaths", ""},
	{"InaccessiblePaths", ""},
	{"LockPersonality", "no"},
	{"MemoryDenyWriteExecute", "no"},
	{"NoExecPaths", ""},
	{"NoNewPrivileges", "no"},
	{"PrivateDevices", "no"},
	{"PrivateMounts", "no"},
	{"PrivateNetwork", "no"},
	{"PrivateTmp", "no"},
	{"PrivateUsers", "no"},
	{"ProcSubset", "all"},
	{"ProtectClock", "no"},
	{"ProtectControlGroups", "no"},
	{"ProtectHome", "no"},
	{"ProtectHostname", "no"},
	{"ProtectKernelLogs", "no"},
	{"ProtectKernelModules", "no"},
	{"ProtectKernelTunables", "no"},
	{"ProtectProc", "default"},
	{"ProtectSystem", "no"},
	{"ReadOnlyPaths", ""},
	{"ReadWritePaths", ""},
	{"ReadWriteDirectories", ""},
	{"RemoveIPC", "no"},
	{"RestrictAddressFamilies", ""},
	{"RestrictNamespaces", "no"},
	{"RestrictRealtime", "no"},
	{"RestrictSUIDSGID", "no"},
	{"SystemCallArchitectures", ""},
	{"SystemCallFilter", ""},
	{"PIDFile", ""},
	{"ExecStop", ""},
	{"ExecStopPost", ""},
	{"User", ""},
	{"Group", ""},
};

static void add_reset(struct unit *u, const char *key, const char *none)
{
	size_t len = u->resets ? strlen(u->resets) : 0;
	char line[128], *more, *there;

	snprintf(line, sizeof(line), "%s=%s\n", key, none);
	there = u->resets ? strstr(u->resets, line) : NULL;
	if (there && (there == u->resets || there[-1] == '\n'))
		return;
	more = realloc(u->resets, len + strlen(line) + 1);
	if (!more)
		return;
	u->resets = more;
	strcpy(more + len, line);
}

static void take(char *to, size_t size, const char *value)
{
	if (strlen(value) < size)
		strcpy(to, value);
}

static void setting(struct unit *u, const char *key, const char *value)
{
	if (strcmp(key, "ExecStart") == 0)
		take(u->exec, sizeof(u->exec), value + strspn(value, "-@:+!"));
	else if (strcmp(key, "Type") == 0)
		take(u->type, sizeof(u->type), value);
	else if (strcmp(key, "User") == 0)
		take(u->user, sizeof(u->user), value);
	else if (strcmp(key, "Group") == 0)
		take(u->group, sizeof(u->group), value);
	else if (strcmp(key, "RuntimeDirectory") == 0)
		take(u->runtime, sizeof(u->runtime), value);
	else if (strcmp(key, "ExecReload") == 0)
		u->reload = true;
	for (size_t i = 0; i < N_COLUMNS(restrictions); i++)
		if (strcmp(key, restrictions[i].key) == 0)
			add_reset(u, key, restrictions[i].none);
}

static void close_unit(FILE **f)
{
	if (*f)
		fclose(*f);
}

static bool read_unit(struct unit *u)
{
	_cleanup_(close_unit) FILE *f = fopen(u->path, "re");
	char line[LINE_MAX_LEN], *value;
	bool service = false;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (*line == '[')
			service = strcmp(line, "[Service]") == 0;
		value = strchr(line, '=');
		if (!service || !value || *line == '#' || *line == ';')
			continue;
		*value++ = '\0';
		setting(u, line, value);
	}
	return f != NULL;
}

/* A template's file serves its instances. */
static bool find_unit(struct unit *u)
{
	static const char *const dirs[] = {"/etc/systemd/system", "/run/systemd/system",
					   "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
					   "/lib/systemd/system"};
	const char *at = strchr(u->name, '@');

	for (size_t i = 0; i < N_COLUMNS(dirs); i++) {
		snprintf(u->path, sizeof(u->path), "%s/%s.service", dirs[i], u->name);
		if (read_unit(u))
			return true;
		if (!at)
			continue;
		snprintf(u->path, sizeof(u->path), "%s/%.*s@.service", dirs[i], (int)(at - u->name), u->name);
		if (read_unit(u))
			return true;
	}
	return false;
}

/* Debian's own way of starting these goes into the background; theirs in the foreground instead. */
static void foreground(struct unit *u)
{
	char version[32], cluster[64];

	if (strcmp(u->name, "nginx") == 0) {
		strcpy(u->exec, "/usr/sbin/nginx -g 'daemon off; master_process on;'");
		strcpy(u->type, "exec");
		add_reset(u, "KillSignal", "SIGQUIT");
	} else if (sscanf(u->name, "postgresql@%31[0-9]-%63[A-Za-z0-9_.]", version, cluster) == 2) {
		snprintf(u->exec, sizeof(u->exec),
			 "/usr/lib/postgresql/%s/bin/postgres -D /var/lib/postgresql/%s/%s "
			 "-c config_file=/etc/postgresql/%s/%s/postgresql.conf",
			 version, version, cluster, version, cluster);
		strcpy(u->type, "exec");
		strcpy(u->user, "postgres");
		add_reset(u, "KillSignal", "SIGINT");
	}
}

static void print_exec(FILE *out, const struct unit *u, bool standby)
{
	char self[PATH_MAX] = "", version[32], cluster[64], app[80];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *bin = n > 0 ? dirname(self) : "/usr/local/bin";
	size_t len;

	snprintf(app, sizeof(app), "%.63s", u->name);
	for (len = 0; app[len]; len++)
		if (app[len] == '@')
			app[len] = '-';
	if (*u->runtime && *u->user)
		fprintf(out, "ExecStartPre=/bin/chown %s:%s /run/%s\n", u->user,
			*u->group ? u->group : u->user, u->runtime);
	fprintf(out, "ExecStart=\nExecStart=%s/ssi-run --name %s%s%s%s", bin, app,
		standby ? " --standby" : "", *u->user ? " --user " : "", u->user);
	if (sscanf(u->name, "postgresql@%31[0-9]-%63[A-Za-z0-9_.]", version, cluster) == 2)
		fprintf(out, " --data /var/lib/postgresql/%s/%s", version, cluster);
	fprintf(out, " -- %s\n", u->exec);
	if (u->reload)
		fprintf(out, "ExecReload=\nExecReload=%s/netctl signal %s HUP\n", bin, app);
}

static char *drop_in(const struct unit *u, bool standby)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "# netctl unit %s%s >/etc/systemd/system/%s.service.d/netssi.conf\n", u->name,
		standby ? " --standby" : "", u->name);
	fprintf(out,
		"[Unit]\nWants=netd.service\nAfter=netd.service\nBefore=netssi-drain.service\n\n[Service]\n");
	/* A standby waits for the name, perhaps for ever: that is no start that lasts too long. */
	fprintf(out, "Type=%s\n", strcmp(u->type, "notify") == 0 && !standby ? "notify" : "exec");
	fprintf(out, "NotifyAccess=main\nRestart=%s\n", standby ? "always" : "on-failure");
	print_exec(out, u, standby);
	fprintf(out, "%s", u->resets ? u->resets : "");
	fclose(out);
	return text;
}

static int refuse(struct netctl *c, const char *what, const char *remedy)
{
	return print_error(EXIT_FAILED, remedy, "%s: %s", c->arg[0], what);
}

static int run_unit(struct netctl *c)
{
	struct unit u = {.name = c->arg[0]};
	char name[NAME_MAX], *end;
	_free_ char *text = NULL, *resets = NULL;
	json_t *list;

	snprintf(name, sizeof(name), "%s", c->arg[0]);
	end = strstr(name, ".service");
	if (end && !end[8])
		*end = '\0';
	u.name = name;
	if (!*name || strchr(name, '/') || strchr(name, '"') || strchr(name, '\\') || !find_unit(&u))
		return refuse(c, "there is no such service", "`systemctl list-unit-files` names them");
	foreground(&u);
	resets = u.resets;
	if (strcmp(u.type, "forking") == 0 || strcmp(u.type, "oneshot") == 0 || !*u.exec)
		return refuse(c, "its program does not stay in the foreground",
			      "write a drop-in with an ExecStart= that does; of PostgreSQL name "
			      "postgresql@17-main");
	text = drop_in(&u, netctl_option(c, "standby") != NULL);
	if (!text)
		return EXIT_FAILED;
	list = json_pack("[{s:s, s:s, s:s}]", "unit", name, "file", u.path, "text", text);
	if (!netctl_json(c, list))
		fputs(text, stdout);
	json_decref(list);
	return EXIT_OK;
}

const struct netctl_command cmd_unit = {
	.name = "unit",
	.summary = "a systemd drop-in by which a service runs under ssi-run",
	.args = {{.value = "NAME", .kind = VALUE_TEXT}},
	.options = {{"standby", NULL, VALUE_NONE, NULL,
		     "for one enabled unit on each node: one of them runs"}},
	.run = run_unit,
};
