// SPDX-License-Identifier: GPL-2.0
/* Options: parsed without side effects besides lines on stderr. */
#include "userland/run/opts.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/lib/version.h"

static const char usage[] =
	"Usage: ssi-run [OPTION]... [--] CMD [ARG]...\n"
	"Runs CMD as an application of the cluster: one instance, which can move between nodes.\n"
	"\n"
	"  --name NAME     its name in the cluster (default: the last part of CMD)\n"
	"  --user USER     run CMD as this user\n"
	"  --standby       wait until no application of this name runs, then start\n"
	"  --data DIR      a directory that moves with it; may be given again\n"
	"  --source vip|node  where its connections come from: the cluster's address (default) or the "
	"node's\n"
	"  --ipc own|host  System V IPC and message queues: its own (default) or the node's\n"
	"  --detach        print name and log file, go on in the background\n"
	"  --help, --version\n"
	"\n"
	"Relays stdio and signals wherever CMD is and exits as CMD does; 125: ssi-run itself failed,\n"
	"126: CMD cannot be run, 127: there is no CMD. `netctl migrate NAME NODE` moves it.\n";

static const struct option options[] = {
	{"name", required_argument, NULL, 'n'},
	{"user", required_argument, NULL, 'u'},
	{"standby", no_argument, NULL, 's'},
	{"data", required_argument, NULL, 'd'},
	{"ipc", required_argument, NULL, 'i'},
	{"detach", no_argument, NULL, 'D'},
	{"source", required_argument, NULL, 'S'},
	{"keeper", no_argument, NULL, 'k'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'v'},
	{0},
};

bool opts_name_ok(const char *name, const char **why)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(name);

	*why = "use 1 to 63 letters, digits, '.', '_' and '-', and no '.' or '-' in front";
	return len > 0 && len <= OPTS_NAME_MAX && strspn(name, set) == len && *name != '.' && *name != '-';
}

static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == EACCES ? 126 : 127;
	return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? 0 : 126;
}

int opts_find_command(const char *cmd)
{
	const char *path = getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin";
	int best = 127;

	if (strchr(cmd, '/'))
		return executable(cmd);
	while (*cmd) {
		size_t len = strcspn(path, ":");
		char file[PATH_MAX];
		int r;

		snprintf(file, sizeof(file), "%.*s%s%s", (int)len, path, len ? "/" : "", cmd);
		r = executable(file);
		if (r == 0)
			return 0;
		if (r < best)
			best = r;
		path += len;
		if (*path++ == '\0')
			break;
	}
	return best;
}

static char *groups_text(const struct passwd *pw)
{
	gid_t list[1024];
	int n = 1024;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if (getgrouplist(pw->pw_name, pw->pw_gid, list, &n) < 0)
		n = 1024;
	for (int i = 0; i < n; i++)
		fprintf(f, "%s%u", i ? "," : "", list[i]);
	fclose(f);
	return text;
}

static int set_user(struct run_opts *o)
{
	const struct passwd *pw;

	o->uid = getuid();
	o->gid = getgid();
	if (!o->user)
		return 0;
	pw = getpwnam(o->user);
	if (!pw) {
		log_err("there is no user '%s'; getent passwd lists them", o->user);
		return -1;
	}
	o->uid = pw->pw_uid;
	o->gid = pw->pw_gid;
	o->groups = groups_text(pw);
	o->home = strdup(pw->pw_dir);
	o->shell = strdup(pw->pw_shell);
	return o->groups && o->home && o->shell ? 0 : -1;
}

static int add_data(struct run_opts *o, const char *dir)
{
	char *real = realpath(dir, NULL);
	struct stat st;
	char **more;

	if (!real || stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
		log_err("--data %s: %s; create the directory", dir,
			real ? "not a directory" : strerror(errno));
		free(real);
		return -1;
	}
	more = realloc(o->data, (o->n_data + 2) * sizeof(*more));
	if (!more)
		return -1;
	o->data = more;
	o->data[o->n_data++] = real;
	o->data[o->n_data] = NULL;
	return 0;
}

static int set_name(struct run_opts *o, const char *name, const char *cmd)
{
	const char *slash = strrchr(cmd, '/'), *why;

	if (!name)
		name = slash ? slash + 1 : cmd;
	if (!opts_name_ok(name, &why)) {
		log_err("'%s' is no name for an application; %s (--name)", name, why);
		return -1;
	}
	if (o->standby && strlen(name) == OPTS_NAME_MAX) {
		log_err("'%s' is too long together with --standby; use at most 62 characters (--name)", name);
		return -1;
	}
	memcpy(o->name, name, strlen(name) + 1);
	return 0;
}

static int bad_option(const char *fmt, const char *what)
{
	log_err(fmt, what);
	return -1;
}

/* 1: go on, 0: done, -1: error. */
static int one_option(struct run_opts *o, int c, const char **name, char *arg)
{
	switch (c) {
	case 'n':
		*name = optarg;
		return 1;
	case 'u':
		o->user = optarg;
		return 1;
	case 's':
		o->standby = true;
		return 1;
	case 'd':
		return add_data(o, optarg) < 0 ? -1 : 1;
	case 'i':
		if (strcmp(optarg, "own") && strcmp(optarg, "host"))
			return bad_option("--ipc %s: use own or host", optarg);
		o->ipc_host = strcmp(optarg, "host") == 0;
		return 1;
	case 'S':
		if (strcmp(optarg, "vip") && strcmp(optarg, "node"))
			return bad_option("--source %s: use vip or node", optarg);
		o->source_node = strcmp(optarg, "node") == 0;
		return 1;
	case 'D':
		o->detach = true;
		return 1;
	case 'k':
		o->keeper = true;
		return 1;
	case 'h':
		fputs(usage, stdout);
		return 0;
	case 'v':
		puts("ssi-run " SSI_VERSION);
		return 0;
	case ':':
		return bad_option("%s needs a value; see ssi-run --help", arg);
	default:
		return bad_option("unknown option %s; see ssi-run --help", arg);
	}
}

enum opts_result opts_parse(struct run_opts *o, int argc, char **argv)
{
	const char *name = NULL;
	int c, r = 1;

	optind = 1;
	opterr = 0;
	while (r == 1 && (c = getopt_long(argc, argv, "+:", options, NULL)) != -1)
		r = one_option(o, c, &name, argv[optind - 1]);
	if (r < 1)
		return r == 0 ? OPTS_DONE : OPTS_ERROR;
	if (o->keeper)
		return OPTS_RUN;
	o->cmd = argv + optind;
	if (!*o->cmd || !**o->cmd) {
		log_err("which command? Usage: ssi-run [OPTION]... [--] CMD [ARG]...; see ssi-run --help");
		return OPTS_ERROR;
	}
	if (set_name(o, name, *o->cmd) < 0 || set_user(o) < 0)
		return OPTS_ERROR;
	if (!getcwd(o->cwd, sizeof(o->cwd))) {
		log_err("the current directory is gone; change to another");
		return OPTS_ERROR;
	}
	c = opts_find_command(*o->cmd);
	if (c)
		log_err("cannot run '%s': %s", *o->cmd,
			c == 127 ? "no such command; check its name and PATH"
				 : "it is not an executable file; check its permissions");
	return c == 127 ? OPTS_NOT_FOUND : c == 126 ? OPTS_NOT_RUNNABLE : OPTS_RUN;
}

/* ---- a description that came from another node ------------------------------------- */

static char **strings(json_t *list, int *n)
{
	size_t i, count = json_array_size(list);
	char **out = calloc(count + 1, sizeof(*out));

	for (i = 0; out && i < count; i++)
		out[i] = strdup(json_string_value(json_array_get(list, i)) ?: "");
	if (n)
		*n = (int)count;
	return out;
}

static bool has_flag(json_t *flags, const char *flag)
{
	size_t i;
	json_t *f;

	json_array_foreach(flags, i,
			   f) if (json_is_string(f) && strcmp(json_string_value(f), flag) == 0) return true;
	return false;
}

int opts_from_json(struct run_opts *o, json_t *desc)
{
	const char *name = NULL, *cwd = "/", *why;
	json_t *cmd = NULL, *data = NULL, *flags = NULL;
	int uid = 0, gid = 0;

	if (json_unpack(desc, "{s:s s?s s:o s?o s?o s?i s?i}", "name", &name, "cwd", &cwd, "cmd", &cmd,
			"data", &data, "flags", &flags, "uid", &uid, "gid", &gid) < 0 ||
	    !opts_name_ok(name, &why) || !json_is_array(cmd))
		return -EPROTO;
	memcpy(o->name, name, strlen(name) + 1);
	snprintf(o->cwd, sizeof(o->cwd), "%s", cwd);
	o->uid = (uid_t)uid;
	o->gid = (gid_t)gid;
	o->detach = has_flag(flags, "detached");
	o->standby = has_flag(flags, "standby");
	o->ipc_host = has_flag(flags, "ipc-host");
	o->source_node = has_flag(flags, "source-node");
	o->cmd = strings(cmd, NULL);
	o->data = strings(data, &o->n_data);
	return o->cmd && o->data ? 0 : -ENOMEM;
}
