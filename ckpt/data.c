// SPDX-License-Identifier: GPL-2.0
/*
 * Directories that move with an application. While it is frozen they are packed
 * beside the images (tar: owners, times, links, holes, attributes). On the target
 * they are unpacked beside their place and exchanged with what is there, so an
 * undone move puts back what was there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/data_int.h"

#define SUFFIX ".netssi" /* beside the directory: new before the exchange, old after it */

int data_run(char *const argv[])
{
	int status, null;
	pid_t pid = fork();

	if (pid == 0) {
		null = open("/dev/null", O_RDWR);
		for (int i = 0; i < 3; i++)
			dup2(null, i);
		execvp(argv[0], argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return pid < 0 ? -errno : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void data_archive(char *out, size_t size, const char *images, int i)
{
	snprintf(out, size, "%s/data-%d.tar", images, i);
}

void data_beside(char *out, size_t size, const char *dir)
{
	snprintf(out, size, "%s" SUFFIX, dir);
}

static void remove_tree(const char *dir)
{
	char *const argv[] = {"rm", "-rf", "--one-file-system", "--", (char *)dir, NULL};

	data_run(argv);
}

int ckpt_data_pack(const char *images, char *const *dirs, char error[CKPT_ERROR_MAX])
{
	char archive[PATH_MAX];

	for (int i = 0; dirs && dirs[i]; i++) {
		char *const argv[] = {"tar",
				      "--create",
				      "--file",
				      archive,
				      "--directory",
				      dirs[i],
				      "--sparse",
				      "--numeric-owner",
				      "--acls",
				      "--xattrs",
				      "--xattrs-include=*",
				      "--one-file-system",
				      ".",
				      NULL};
		int r;

		data_archive(archive, sizeof(archive), images, i);
		r = data_run(argv);
		if (r == 0)
			continue;
		snprintf(error, CKPT_ERROR_MAX,
			 "cannot pack %s: tar ended with %d; is there room for it in %s?", dirs[i], r,
			 images);
		return -EIO;
	}
	return 0;
}

/* mkdir with parents. */
static int make_parents(const char *dir)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", dir);
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return 0;
}

int data_make(const char *fresh)
{
	int err;

	remove_tree(fresh);
	err = make_parents(fresh);
	return err ?: mkdir(fresh, 0700) < 0 ? -errno : 0;
}

int data_extract(const char *archive, const char *into)
{
	char *const argv[] = {"tar",
			      "--extract",
			      "--file",
			      (char *)archive,
			      "--directory",
			      (char *)into,
			      "--numeric-owner",
			      "--same-owner",
			      "--same-permissions",
			      "--acls",
			      "--xattrs",
			      "--xattrs-include=*",
			      NULL};
	int r = data_run(argv);

	unlink(archive);
	return r;
}

static int unpack_one(const char *images, int i, const char *dir, char error[CKPT_ERROR_MAX])
{
	char archive[PATH_MAX], fresh[PATH_MAX];
	int r;

	data_archive(archive, sizeof(archive), images, i);
	data_beside(fresh, sizeof(fresh), dir);
	r = data_make(fresh);
	if (r < 0) {
		snprintf(error, CKPT_ERROR_MAX, "%.900s: %s", fresh, strerror(-r));
		return r;
	}
	r = data_extract(archive, fresh);
	if (r == 0)
		return 0;
	snprintf(error, CKPT_ERROR_MAX, "cannot unpack %s: tar ended with %d; is there room for it?", dir, r);
	return -EIO;
}

int ckpt_data_unpack(const char *images, char *const *dirs, char error[CKPT_ERROR_MAX])
{
	int err = 0;

	for (int i = 0; dirs && dirs[i] && !err; i++)
		err = unpack_one(images, i, dirs[i], error);
	return err;
}

/* The new one into its place; what was there goes beside it. */
static int swap_one(const char *dir)
{
	char fresh[PATH_MAX];

	data_beside(fresh, sizeof(fresh), dir);
	if (renameat2(AT_FDCWD, fresh, AT_FDCWD, dir, RENAME_EXCHANGE) == 0)
		return 0;
	return errno == ENOENT && rename(fresh, dir) == 0 ? 0 : -errno;
}

/* Back out again: there may be nothing beside it, when there was nothing in its place. */
static void swap_back(const char *dir)
{
	char old[PATH_MAX];

	data_beside(old, sizeof(old), dir);
	if (renameat2(AT_FDCWD, old, AT_FDCWD, dir, RENAME_EXCHANGE) < 0 && errno == ENOENT)
		rename(dir, old);
}

int ckpt_data_swap(char *const *dirs, char error[CKPT_ERROR_MAX])
{
	int i, err = 0;

	for (i = 0; dirs && dirs[i] && !err; i++)
		err = swap_one(dirs[i]);
	if (!err)
		return 0;
	snprintf(error, CKPT_ERROR_MAX, "%s cannot be replaced: %s%s", dirs[i - 1], strerror(-err),
		 err == -EBUSY ? "; it is a mount point: name a directory below it" : "");
	for (i--; i-- > 0;)
		swap_back(dirs[i]);
	return err;
}

void ckpt_data_undo(char *const *dirs)
{
	for (int i = 0; dirs && dirs[i]; i++)
		swap_back(dirs[i]);
	ckpt_data_forget(dirs);
}

void ckpt_data_forget(char *const *dirs)
{
	char old[PATH_MAX];

	for (int i = 0; dirs && dirs[i]; i++) {
		data_beside(old, sizeof(old), dirs[i]);
		remove_tree(old);
	}
}
