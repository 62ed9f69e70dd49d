// SPDX-License-Identifier: GPL-2.0
/*
 * Images that are kept: DIR/1, DIR/2 ... each with a manifest that names every file with its size and checksum. A
 * version appears under its number when it is whole and on disk; it is read with the same suspicion as one from a
 * stranger.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"

#define BUFFER	  (256 << 10)
#define PATH_SIZE 4096

__attribute__((format(printf, 3, 4))) static int fail(char *error, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, CKPT_ERROR_MAX, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- the place ------------------------------------------------------------------------------- */

static int check_place(const char *dir, char *error)
{
	struct statvfs vfs;
	struct stat st;

	if (*dir != '/' || strlen(dir) > PATH_SIZE - 64)
		return fail(error, -EINVAL, "%.200s: give an absolute path", dir);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail(error, -errno, "%s: %s", dir, strerror(errno));
	if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return fail(error, -ENOTDIR, "%s is no directory", dir);
	if (st.st_uid != 0 || (st.st_mode & 022))
		return fail(error, -EPERM,
			    "%s: others than root may write to it; `chown root` and `chmod go-w` it", dir);
	if (statvfs(dir, &vfs) < 0 || (vfs.f_flag & ST_RDONLY))
		return fail(error, -EROFS, "%s is read-only", dir);
	return vfs.f_bavail ? 0 : fail(error, -ENOSPC, "%s: the disk is full", dir);
}

static bool is_number(const char *name)
{
	size_t len = strspn(name, "0123456789");

	return len && len < 9 && !name[len] && name[0] != '0';
}

int ckpt_place(const char *dir, unsigned int *number, char error[CKPT_ERROR_MAX])
{
	int err = check_place(dir, error);
	DIR *d = err ? NULL : opendir(dir);
	struct dirent *e;

	*number = 1;
	while (!err && d && (e = readdir(d))) {
		unsigned int n = is_number(e->d_name) ? (unsigned int)atoi(e->d_name) : 0;

		if (e->d_name[0] == '.' || strcmp(e->d_name, "lost+found") == 0)
			continue;
		if (!n)
			err = fail(error, -ENOTEMPTY, "%s is not empty: %s is no checkpoint; choose another",
				   dir, e->d_name);
		else if (n >= *number)
			*number = n + 1;
	}
	if (d)
		closedir(d);
	return err;
}

/* ---- writing ------------------------------------------------------------------------------------ */

static int sum_file(int dir, const char *name, char *buf, uint64_t *size, uint32_t *crc)
{
	_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = -1;

	*size = *crc = 0;
	while (fd >= 0 && (n = read(fd, buf, BUFFER)) > 0) {
		*crc = ckpt_crc32c(*crc, buf, (size_t)n);
		*size += (uint64_t)n;
	}
	return n < 0 ? -errno : 0;
}

static bool is_log(const char *name)
{
	return strcmp(name, CKPT_LOG_DUMP) == 0 || strcmp(name, CKPT_LOG_RESTORE) == 0;
}

/* {NAME: {"size","crc"}} of all files in it, or NULL. */
static json_t *sum_files(const char *dir, uint64_t *bytes, char *error)
{
	_free_ char *buf = malloc(BUFFER);
	DIR *d = opendir(dir);
	json_t *images = json_object();
	struct dirent *e;
	int err = d && buf ? 0 : fail(error, -errno, "%s: %s", dir, strerror(errno));

	*bytes = 0;
	while (!err && (e = readdir(d))) {
		uint64_t size;
		uint32_t crc;

		if (e->d_name[0] == '.' || is_log(e->d_name))
			continue;
		err = sum_file(dirfd(d), e->d_name, buf, &size, &crc);
		if (err)
			fail(error, err, "%s: %s", e->d_name, strerror(-err));
		*bytes += size;
		json_object_set_new(images, e->d_name,
				    json_pack("{sI sI}", "size", (json_int_t)size, "crc", (json_int_t)crc));
	}
	if (d)
		closedir(d);
	if (!err)
		return images;
	json_decref(images);
	return NULL;
}

static int write_manifest(const char *dir, json_t *manifest)
{
	char path[PATH_SIZE + 32];
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/" CKPT_MANIFEST, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || json_dumpfd(manifest, fd, JSON_INDENT(1)) < 0 || syncfs(fd) < 0)
		return errno ? -errno : -EIO;
	return 0;
}

int ckpt_seal(const char *dir, const char *to, json_t *about, uint64_t *bytes, char error[CKPT_ERROR_MAX])
{
	json_t *images = sum_files(dir, bytes, error), *manifest;
	_close_ int parent = -1;
	char up[PATH_SIZE];
	int err;

	if (!images)
		return -EIO;
	manifest = json_copy(about);
	json_object_set_new(manifest, "netssi", json_integer(CKPT_FORMAT));
	json_object_set_new(manifest, "images", images);
	err = write_manifest(dir, manifest);
	json_decref(manifest);
	snprintf(up, sizeof(up), "%.*s", (int)(strrchr(to, '/') - to), to);
	if (!err && rename(dir, to) < 0)
		err = -errno;
	parent = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!err && (parent < 0 || fsync(parent) < 0))
		err = -errno;
	return err ? fail(error, err, "%s: %s; free some of the disk", to, strerror(-err)) : 0;
}

/* ---- reading --------------------------------------------------------------------------------------- */

static int copy_file(int from, int to, const char *name, char *buf, uint64_t *size, uint32_t *crc)
{
	_close_ int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_close_ int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n = -1;

	*size = *crc = 0;
	while (in >= 0 && out >= 0 && (n = read(in, buf, BUFFER)) > 0) {
		*crc = ckpt_crc32c(*crc, buf, (size_t)n);
		*size += (uint64_t)n;
		if (write(out, buf, (size_t)n) != n)
			return errno ? -errno : -ENOSPC;
	}
	return n < 0 ? -errno : 0;
}

static bool plain_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') && strlen(name) < 200;
}

static int load_images(json_t *images, int from, int to, uint64_t *bytes, char *error)
{
	_free_ char *buf = malloc(BUFFER);
	const char *name;
	json_t *image;

	if (!buf)
		return fail(error, -ENOMEM, "out of memory");
	json_object_foreach(images, name, image)
	{
		uint64_t size;
		uint32_t crc;
		int err = plain_name(name) ? copy_file(from, to, name, buf, &size, &crc) : -EINVAL;

		if (err == -ENOENT)
			return fail(error, err, "the checkpoint is incomplete: %s is missing", name);
		if (err)
			return fail(error, err, "%.200s: %s", name, strerror(-err));
		if ((json_int_t)size != json_integer_value(json_object_get(image, "size")) ||
		    (json_int_t)crc != json_integer_value(json_object_get(image, "crc")))
			return fail(error, -EBADMSG, "the checkpoint is damaged: %s is not what it was",
				    name);
		*bytes += size;
	}
	return 0;
}

int ckpt_load(const char *from, const char *dir, uint64_t *bytes, char error[CKPT_ERROR_MAX])
{
	char path[PATH_SIZE + 32];
	_close_ int in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_close_ int out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *manifest, *images;
	int err;

	*bytes = 0;
	if (in < 0 || out < 0)
		return fail(error, -errno, "%s: %s", in < 0 ? from : dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/" CKPT_MANIFEST, from);
	manifest = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	images = json_object_get(manifest, "images");
	if (json_integer_value(json_object_get(manifest, "netssi")) != CKPT_FORMAT ||
	    !json_object_size(images))
		err = fail(error, -EBADMSG, "%s is no checkpoint of this version of netssi", from);
	else
		err = load_images(images, in, out, bytes, error);
	json_decref(manifest);
	return err;
}
