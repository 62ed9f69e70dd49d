// SPDX-License-Identifier: GPL-2.0
/*
 * Directories in rounds. A file went and is the same when its inode, kind, size and ctime are: whatever changes a file
 * changes its ctime, and nobody can set that. Two cases are not seen so, and such files always go again: those that
 * changed so shortly before they were looked at that a later change may have the same time, and those that somebody
 * has mapped for writing, which sets the time only at the first write.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/data_int.h"

#define DEPTH	  16	       /* directories that nftw() keeps open */
#define SAME_TIME 1000000000LL /* ns: file systems have coarse clocks */

struct seen {
	int64_t ctime_ns;
	uint64_t size, ino;
	uint32_t mode;
	uint8_t again; /* its time does not tell whether it changes */
	uint8_t sent;
	char *path; /* below the directory; "." itself */
};

struct list {
	struct seen *v;
	size_t n, room;
};

/* Of the walk: nftw() has no argument. */
static struct {
	struct list *list;
	size_t prefix;
	int64_t began_ns;
	dev_t dev;
	bool failed;
} walk;

static int64_t ns(const struct timespec *ts)
{
	return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

static void list_free(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->path, ((const struct seen *)b)->path);
}

static struct seen *list_find(const struct list *l, const char *path)
{
	struct seen key = {.path = (char *)path};

	return l->n ? bsearch(&key, l->v, l->n, sizeof(key), by_path) : NULL;
}

/* Takes over s->path. */
static int list_add(struct list *l, struct seen *s)
{
	size_t room = l->room ? l->room * 2 : 256;
	struct seen *v = l->n < l->room ? l->v : realloc(l->v, room * sizeof(*v));

	if (!s->path || !v) {
		free(s->path);
		return -ENOMEM;
	}
	if (l->n == l->room)
		l->room = room;
	l->v = v;
	l->v[l->n++] = *s;
	return 0;
}

static const char *below(const char *path)
{
	return path[walk.prefix] == '/' ? path + walk.prefix + 1 : ".";
}

static int see(const char *path, const struct stat *st, int type, struct FTW *at)
{
	struct list *l = walk.list;
	struct seen s = {.ctime_ns = ns(&st->st_ctim),
			 .size = (uint64_t)st->st_size,
			 .ino = st->st_ino,
			 .mode = st->st_mode};

	if (type == FTW_NS) /* gone since its name was read */
		return FTW_CONTINUE;
	s.again = s.ctime_ns + SAME_TIME > walk.began_ns;
	s.path = strdup(below(path));
	walk.failed = list_add(l, &s) < 0;
	if (walk.failed)
		return FTW_STOP;
	if (at->level == 0)
		walk.dev = st->st_dev;
	/* of other file systems only the place; files of an overlay have other devices than its directories */
	return S_ISDIR(st->st_mode) && st->st_dev != walk.dev ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static int look(const char *dir, struct list *l)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	walk = (typeof(walk)){.list = l, .prefix = strlen(dir), .began_ns = ns(&now)};
	if (nftw(dir, see, DEPTH, FTW_PHYS | FTW_ACTIONRETVAL) < 0)
		return -errno;
	if (walk.failed)
		return -ENOMEM;
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_path);
	return 0;
}

/* ---- files that are mapped for writing ---------------------------------------------------- */

static void mark_mapping(struct list *l, const char *dir, const char *line)
{
	size_t len = strlen(dir);
	const char *path = strchr(line, '/');
	struct seen *s;

	if (!path || strncmp(path, dir, len) != 0 || path[len] != '/')
		return;
	s = list_find(l, path + len + 1);
	if (s)
		s->again = 1;
}

static void mark_process(struct list *l, const char *dir, const char *pid)
{
	char path[64], line[PATH_MAX + 128], perms[8];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.16s/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%*s %7s", perms) == 1 && perms[1] == 'w' && perms[3] == 's')
			mark_mapping(l, dir, line);
	}
	if (f)
		fclose(f);
}

static void mark_mapped(struct list *l, const char *dir)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
			mark_process(l, dir, e->d_name);
	if (d)
		closedir(d);
}

/* ---- what was seen, from round to round ---------------------------------------------------- */

static void base_path(char *out, size_t size, const char *base, int i)
{
	snprintf(out, size, "%s/.data-%d", base, i);
}

static int save(const char *base, int i, const struct list *l)
{
	char path[PATH_MAX];
	FILE *f;
	int err = 0;

	base_path(path, sizeof(path), base, i);
	f = fopen(path, "we");
	for (size_t k = 0; f && k < l->n; k++)
		fprintf(f, "%lld %llu %llu %u %u %s%c", (long long)l->v[k].ctime_ns,
			(unsigned long long)l->v[k].size, (unsigned long long)l->v[k].ino, l->v[k].mode,
			l->v[k].again, l->v[k].path, 0);
	if (!f || ferror(f))
		err = -EIO;
	if (f && fclose(f) != 0)
		err = -EIO;
	return err;
}

static int load(const char *base, int i, struct list *l)
{
	char path[PATH_MAX];
	char *line = NULL;
	size_t room = 0;
	FILE *f;
	int err = 0;

	base_path(path, sizeof(path), base, i);
	f = fopen(path, "re");
	while (f && !err && getdelim(&line, &room, 0, f) > 0) {
		struct seen s = {0};
		unsigned int again = 0;
		int at = 0;

		if (sscanf(line, "%ld %lu %lu %u %u%n", &s.ctime_ns, &s.size, &s.ino, &s.mode, &again, &at) <
		    5) {
			err = -EIO;
			break;
		}
		s.again = again != 0;
		s.path = strdup(line + at + 1);
		err = list_add(l, &s);
	}
	free(line);
	if (f)
		fclose(f);
	return f ? err : -ENOENT;
}

/* ---- source --------------------------------------------------------------------------------- */

static bool same(const struct seen *a, const struct seen *b)
{
	return a && !a->again && a->ctime_ns == b->ctime_ns && a->size == b->size && a->ino == b->ino &&
	       a->mode == b->mode;
}

/* A file that is replaced in the copy changes the time of its directory there: that goes, too. */
static void choose(struct list *l, const struct list *before)
{
	for (size_t i = 0; i < l->n; i++) {
		struct seen *s = &l->v[i], *up;
		char *slash;

		if (same(list_find(before, s->path), s))
			continue;
		s->sent = 1;
		slash = strrchr(s->path, '/');
		if (slash)
			*slash = '\0';
		up = list_find(l, slash ? s->path : ".");
		if (slash)
			*slash = '/';
		if (up)
			up->sent = 1;
	}
}

static void list_path(char *out, size_t size, const char *images, int i, const char *what)
{
	snprintf(out, size, "%s/data-%d.%s", images, i, what);
}

/* all: what there is, each with its kind before it; else the names of what goes, for tar. */
static int write_list(const char *path, const struct list *l, bool all)
{
	FILE *f = fopen(path, "we");
	int err = f ? 0 : -errno;

	for (size_t i = 0; f && i < l->n; i++) {
		if (all)
			fprintf(f, "%u %s%c", l->v[i].mode & S_IFMT, l->v[i].path, 0);
		else if (l->v[i].sent)
			fprintf(f, "%s%c", l->v[i].path, 0);
	}
	if (f && (ferror(f) | (fclose(f) != 0)))
		err = -ENOSPC;
	return err;
}

/* Running, files may go and change under tar: the next round has them again. */
static int pack(const char *images, int i, const char *dir, bool frozen)
{
	char archive[PATH_MAX], names[PATH_MAX];
	char *argv[] = {"tar",
			"--create",
			"--file",
			archive,
			"--directory",
			(char *)dir,
			"--null",
			"--verbatim-files-from",
			"--no-recursion",
			"--files-from",
			names,
			"--sparse",
			"--numeric-owner",
			"--acls",
			"--xattrs",
			"--xattrs-include=*",
			frozen ? NULL : "--ignore-failed-read",
			NULL};
	int r;

	data_archive(archive, sizeof(archive), images, i);
	list_path(names, sizeof(names), images, i, "names");
	r = data_run(argv);
	unlink(names);
	return r == 1 && !frozen ? 0 : r;
}

static int round_one(const char *images, const char *base, int i, const char *dir, bool first, bool frozen)
{
	struct list now = {0}, before = {0};
	char names[PATH_MAX], all[PATH_MAX];
	int err;

	list_path(names, sizeof(names), images, i, "names");
	list_path(all, sizeof(all), images, i, "list");
	err = first ? 0 : load(base, i, &before);
	if (!err)
		err = look(dir, &now);
	if (!err) {
		mark_mapped(&now, dir);
		choose(&now, &before);
		err = write_list(names, &now, false) ?: write_list(all, &now, true) ?: save(base, i, &now);
	}
	list_free(&now);
	list_free(&before);
	return err ?: pack(images, i, dir, frozen);
}

int ckpt_data_round(const char *images, const char *base, char *const *dirs, bool first, bool frozen,
		    char error[CKPT_ERROR_MAX])
{
	for (int i = 0; dirs && dirs[i]; i++) {
		int r = round_one(images, base, i, dirs[i], first, frozen);

		if (r == 0)
			continue;
		snprintf(error, CKPT_ERROR_MAX, "cannot pack %s: %s; is there room for it in %s?", dirs[i],
			 r < 0 ? strerror(-r) : "tar failed", images);
		return -EIO;
	}
	return 0;
}

/* ---- target ----------------------------------------------------------------------------------- */

static int load_list(const char *path, struct list *l)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;
	int err = f ? 0 : -ENOENT;

	while (f && !err && getdelim(&line, &room, 0, f) > 0) {
		struct seen s = {0};
		int at = 0;

		err = sscanf(line, "%u%n", &s.mode, &at) == 1 && line[at] == ' ' ? 0 : -EIO;
		if (err)
			break;
		s.path = strdup(line + at + 1);
		err = list_add(l, &s);
	}
	free(line);
	if (f)
		fclose(f);
	return err;
}

/* What is not there any more, or of another kind now. */
static int prune(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *name = below(path);
	const struct seen *s = list_find(walk.list, name);

	(void)type;
	(void)at;
	if (strcmp(name, ".") != 0 && (!s || s->mode != (st->st_mode & S_IFMT)))
		remove(path);
	return 0;
}

static int take_one(const char *images, int i, const char *dir, bool first)
{
	char archive[PATH_MAX], all[PATH_MAX], fresh[PATH_MAX];
	struct list l = {0};
	int err;

	data_archive(archive, sizeof(archive), images, i);
	list_path(all, sizeof(all), images, i, "list");
	data_beside(fresh, sizeof(fresh), dir);
	err = first ? data_make(fresh) : load_list(all, &l);
	if (!err && !first) {
		walk = (typeof(walk)){.list = &l, .prefix = strlen(fresh)};
		err = nftw(fresh, prune, DEPTH, FTW_PHYS | FTW_DEPTH) < 0 ? -errno : 0;
	}
	list_free(&l);
	unlink(all);
	return err ?: data_extract(archive, fresh);
}

int ckpt_data_take(const char *images, char *const *dirs, bool first, char error[CKPT_ERROR_MAX])
{
	for (int i = 0; dirs && dirs[i]; i++) {
		int r = take_one(images, i, dirs[i], first);

		if (r == 0)
			continue;
		snprintf(error, CKPT_ERROR_MAX, "cannot unpack %s: %s; is there room for it?", dirs[i],
			 r < 0 ? strerror(-r) : "tar failed");
		return -EIO;
	}
	return 0;
}
