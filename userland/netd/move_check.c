// SPDX-License-Identifier: GPL-2.0
/* See move_check.h. A program has looked at its processor once, when it started, and goes on by that. */
#include "move_check.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "move.h"

#define REFUSALS_MAX 64

static void refuse(json_t *list, const char *path, const char *remedy, const char *reason)
{
	if (json_array_size(list) < REFUSALS_MAX)
		json_array_append_new(list, json_pack("{s:s s:i s:s s:i s:s}", "reason", reason, "fd", -1,
						      "path", path, "pid", 0, "remedy", remedy));
}

/* ---- processor ---------------------------------------------------------------------------- */

/* Of the flags of x86 those that a program acts upon; a name with '*' is a beginning. */
static bool of_programs(const char *flag)
{
	static const char *const names[] = {
		"abm",	  "adx",   "aes",	 "amx_*",    "avx*",   "bmi*",	"clflushopt", "clwb",
		"cx16",	  "f16c",  "fma*",	 "fsgsbase", "gfni",   "hle",	"lahf_lm",    "movbe",
		"movdi*", "ospke", "pclmulqdq",	 "pni",	     "popcnt", "rdpid", "rdrand",     "rdseed",
		"rdtscp", "rtm",   "serialize",	 "sha_ni",   "sha512", "sm3",	"sm4",	      "sse*",
		"ssse3",  "vaes",  "vpclmulqdq", "waitpkg",  "xop",    "xsave", "xsavec",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strcspn(names[i], "*");

		if (strncmp(flag, names[i], len) == 0 && (names[i][len] || !flag[len]))
			return true;
	}
	return false;
}

json_t *move_check_cpu(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	json_t *list = json_array();
	char *line = NULL, *rest, *word;
	bool x86 = false, found = false;
	size_t size = 0;

	while (f && !found && getline(&line, &size, f) > 0) {
		x86 = strncmp(line, "flags\t", 6) == 0;
		found = x86 || strncmp(line, "Features\t", 9) == 0;
	}
	rest = found ? strchr(line, ':') : NULL;
	for (word = rest ? strtok_r(rest + 1, " \n", &rest) : NULL; word; word = strtok_r(NULL, " \n", &rest))
		if (!x86 || of_programs(word))
			json_array_append_new(list, json_string(word));
	free(line);
	if (f)
		fclose(f);
	return list;
}

static void check_cpu(json_t *refusals, json_t *wanted)
{
	json_t *have = json_object(), *own = move_check_cpu(), *flag;
	char missing[160] = "", reason[256];
	size_t i;

	json_array_foreach(own, i, flag) json_object_set_new(have, json_string_value(flag), json_true());
	json_array_foreach(wanted, i, flag)
	{
		const char *name = json_string_value(flag);
		size_t len = strlen(missing);

		if (name && !json_object_get(have, name) && len + strlen(name) + 2 < sizeof(missing))
			snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? " " : "", name);
	}
	json_decref(own);
	json_decref(have);
	if (!*missing)
		return;
	snprintf(reason, sizeof(reason), "its processor lacks what the program may use: %s", missing);
	refuse(refusals, "", "move it to a node with the same processor, or start it on this one", reason);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* One that is written grows, on a shared file system, while we look. */
static void check_file(json_t *refusals, const char *path, json_int_t size, bool grows)
{
	static const char *const remedy =
		"install the same packages on both nodes; what it writes itself: share it, "
		"or name its directory with ssi-run --data";
	char reason[160];
	struct stat st;

	if (stat(path, &st) < 0) {
		snprintf(reason, sizeof(reason), "a file that it uses is not there: %s", strerror(errno));
		refuse(refusals, path, remedy, reason);
	} else if (size < 0 ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode)) {
		refuse(refusals, path, remedy, "what it uses is another kind of file there");
	} else if (size >= 0 && (grows ? st.st_size < size : st.st_size != size)) {
		snprintf(reason, sizeof(reason), "a file that it uses is another there: %lld bytes, not %lld",
			 (long long)st.st_size, (long long)size);
		refuse(refusals, path, remedy, reason);
	}
}

struct check_job {
	uv_work_t work;
	json_t *cpu, *files, *refusals; /* ours alone, for the other thread */
	move_check_fn *done;
	void *arg;
};

static void check_work(uv_work_t *work)
{
	struct check_job *job = work->data;
	const char *path;
	json_t *file;

	if (job->cpu)
		check_cpu(job->refusals, job->cpu);
	json_object_foreach(job->files, path, file)
	{
		if (strlen(path) < PATH_MAX && *path == '/')
			check_file(job->refusals, path, json_integer_value(json_object_get(file, "size")),
				   json_is_true(json_object_get(file, "grows")));
	}
}

static void check_worked(uv_work_t *work, int status)
{
	struct check_job *job = work->data;

	(void)status;
	job->done(job->arg, job->refusals);
	json_decref(job->cpu);
	json_decref(job->files);
	json_decref(job->refusals);
	free(job);
}

void move_check(struct netd *n, json_t *cpu, json_t *files, move_check_fn *done, void *arg)
{
	struct check_job *job = calloc(1, sizeof(*job));
	json_t *none;

	if (job) {
		job->work.data = job;
		job->done = done;
		job->arg = arg;
		job->cpu = json_deep_copy(cpu);
		job->files = json_deep_copy(files);
		job->refusals = json_array();
		if (uv_queue_work(n->loop, &job->work, check_work, check_worked) == 0)
			return;
		check_worked(&job->work, 0);
		return;
	}
	none = json_array();
	done(arg, none);
	json_decref(none);
}

/* ---- as one error ------------------------------------------------------------------------------- */

json_t *move_check_error(json_t *refusals)
{
	json_t *r = json_array_get(refusals, 0);
	const char *reason = json_string_value(json_object_get(r, "reason")) ?: "?";
	const char *path = json_string_value(json_object_get(r, "path")) ?: "";
	int pid = (int)json_integer_value(json_object_get(r, "pid"));
	int fd = (int)json_integer_value(json_object_get(r, "fd"));
	size_t more = json_array_size(refusals) - 1;
	char what[PATH_MAX + 64] = "", rest[64] = "";

	if (pid && fd >= 0)
		snprintf(what, sizeof(what), "pid %d fd %d %s: ", pid, fd, path);
	else if (*path)
		snprintf(what, sizeof(what), "%s: ", path);
	if (more)
		snprintf(rest, sizeof(rest), " (and %zu more: --dry-run lists them)", more);
	r = move_error(json_string_value(json_object_get(r, "remedy")), "cannot be moved: %.300s%s%s", what,
		       reason, rest);
	json_object_set(r, "refusals", refusals);
	return r;
}
