// SPDX-License-Identifier: GPL-2.0
/*
 * Files: CRIU carries none but those that were deleted, so each must be there on the target, with the same
 * size. What is looked up is as the processes see it; the list of it is for the target.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/check.h"
#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"

#define DELETED	    " (deleted)"
#define FILES_BYTES (400 << 10) /* what is beyond is left to CRIU */

static int stat_inside(pid_t pid, const char *path, struct stat *st)
{
	char inside[PATH_MAX + 32];

	snprintf(inside, sizeof(inside), "/proc/%d/root%s", pid, path);
	return stat(inside, st);
}

/* Is the name "PATH (deleted)", of a file and not of memory? Cuts the word off. */
static bool cut_deleted(char *path)
{
	size_t len = strlen(path), word = strlen(DELETED);

	if (path[0] != '/' || len <= word || strcmp(path + len - word, DELETED) != 0)
		return false;
	path[len - word] = '\0';
	return true;
}

void check_mapped(struct check *c, pid_t pid, const char *path)
{
	char name[PATH_MAX];
	struct stat st;

	if ((size_t)snprintf(name, sizeof(name), "%s", path) >= sizeof(name) || !cut_deleted(name) ||
	    strncmp(name, "/memfd:", 7) == 0 || strncmp(name, "/SYSV", 5) == 0 ||
	    strncmp(name, "/dev/", 5) == 0 || stat_inside(pid, name, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	check_refuse(c, pid, -1, name, "this file was replaced since the program started, by an upgrade",
		     "restart the application once");
}

/* ---- the list --------------------------------------------------------------------------------- */

struct files {
	json_t *list; /* {PATH: {"size", "grows"}} */
	char *const *data;
	size_t bytes; /* of the paths */
};

static bool travels(char *const *dirs, const char *path)
{
	for (; dirs && *dirs; dirs++) {
		size_t len = strlen(*dirs);

		if (strncmp(path, *dirs, len) == 0 && (path[len] == '/' || !path[len]))
			return true;
	}
	return false;
}

/* Made anew on each node, by the kernel or by the supervisor. */
static bool of_the_node(const char *path)
{
	static const char *const roots[] = {"/proc", "/sys", "/dev"};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		if (strncmp(path, roots[i], strlen(roots[i])) == 0 && strchr("/", path[strlen(roots[i])]))
			return true;
	return false;
}

static void add_file(struct files *fs, const char *path, const struct stat *st, bool grows)
{
	json_t *o = jsonline_string(path, PATH_MAX);
	const char *key = json_string_value(o);

	if (key && strcmp(key, path) == 0 && path[0] == '/' && !travels(fs->data, path) &&
	    !of_the_node(path) && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) && fs->bytes < FILES_BYTES &&
	    !json_object_get(fs->list, key)) {
		fs->bytes += strlen(key) + 32;
		json_object_set_new(fs->list, key,
				    json_pack("{sI sb}", "size",
					      (json_int_t)(S_ISREG(st->st_mode) ? st->st_size : -1), "grows",
					      grows));
	}
	json_decref(o);
}

static void add_fd(void *arg, const struct ckpt_fd *f)
{
	char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s", f->link);
	if (f->st.st_nlink && !cut_deleted(name))
		add_file(arg, name, &f->st, fds_mode(f) != O_RDONLY);
}

static void add_maps(struct files *fs, pid_t pid)
{
	char path[64], line[PATH_MAX + 128], file[PATH_MAX], last[PATH_MAX] = "";
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		file[0] = '\0';
		if (sscanf(line, "%*s %*s %*s %*s %*s %4095[^\n]", file) != 1 || strcmp(file, last) == 0)
			continue;
		snprintf(last, sizeof(last), "%s", file);
		if (!cut_deleted(file) && file[0] == '/' && stat_inside(pid, file, &st) == 0)
			add_file(fs, file, &st, false);
	}
	if (f)
		fclose(f);
}

static void add_cwd(struct files *fs, pid_t pid)
{
	char path[64], cwd[PATH_MAX];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
	n = readlink(path, cwd, sizeof(cwd) - 1);
	if (n <= 0 || stat(path, &st) < 0)
		return;
	cwd[n] = '\0';
	add_file(fs, cwd, &st, false);
}

json_t *ckpt_files(const pid_t *pids, char *const *data)
{
	struct files fs = {.list = json_object(), .data = data};

	for (const pid_t *p = pids; p && *p; p++) {
		add_maps(&fs, *p);
		add_cwd(&fs, *p);
	}
	fds_each(pids, add_fd, &fs);
	return fs.list;
}
