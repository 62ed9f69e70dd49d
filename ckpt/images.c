// SPDX-License-Identifier: GPL-2.0
/*
 * Images over a stream. The receiver trusts nothing: names are plain file names,
 * counts and sizes are bounded by the room there is, each file is checked.
 * Reads and writes wait at most IO_PATIENCE_MS for the other end.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"

#define MAGIC	       "SSICKPT1"
#define NAME_MAX_LEN   200
#define FILES_MAX      100000
#define IO_PATIENCE_MS 60000
#define BUFFER	       (256 << 10)
#define ALL_WELL       'k'

struct transfer {
	int fd;
	char *buf; /* BUFFER bytes */
	uint64_t bytes, of;
	ckpt_progress_fn *progress;
	void *arg;
	char *error;
};

__attribute__((format(printf, 3, 4))) static int fail(struct transfer *t, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->error, CKPT_ERROR_MAX, fmt, ap);
	va_end(ap);
	return err;
}

static int wait_io(struct transfer *t, short events)
{
	struct pollfd p = {.fd = t->fd, .events = events};
	int r;

	do
		r = poll(&p, 1, IO_PATIENCE_MS);
	while (r < 0 && errno == EINTR);
	return r > 0 ? 0 : fail(t, -ETIMEDOUT, "the other node stopped taking part");
}

static int write_all(struct transfer *t, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n;

		if (wait_io(t, POLLOUT) < 0)
			return -ETIMEDOUT;
		n = send(t->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return fail(t, -EPIPE, "the connection to the other node broke: %s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_all(struct transfer *t, void *data, size_t len)
{
	char *at = data;

	while (len > 0) {
		ssize_t n;

		if (wait_io(t, POLLIN) < 0)
			return -ETIMEDOUT;
		n = recv(t->fd, at, len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return fail(t, -EPIPE, "the connection to the other node broke");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static void advance(struct transfer *t, size_t n)
{
	t->bytes += n;
	if (t->progress)
		t->progress(t->arg, t->bytes, t->of);
}

static bool is_log(const char *name)
{
	return strcmp(name, CKPT_LOG_DUMP) == 0 || strcmp(name, CKPT_LOG_RESTORE) == 0;
}

static bool plain_name(const char *name)
{
	return *name && *name != '.' && strlen(name) <= NAME_MAX_LEN && !strchr(name, '/');
}

/* ---- sending ------------------------------------------------------------------------------- */

static int send_data(struct transfer *t, int file, uint64_t size, uint32_t *crc)
{
	while (size > 0) {
		ssize_t n = read(file, t->buf, size < BUFFER ? (size_t)size : BUFFER);

		if (n <= 0)
			return fail(t, -EIO, "an image became shorter while it was sent");
		*crc = ckpt_crc32c(*crc, t->buf, (size_t)n);
		if (write_all(t, t->buf, (size_t)n) < 0)
			return -EPIPE;
		size -= (uint64_t)n;
		advance(t, (size_t)n);
	}
	return 0;
}

static int send_file(struct transfer *t, int dir, const char *name)
{
	_close_ int file = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint32_t len = htobe32((uint32_t)strlen(name)), crc = 0, be;
	struct stat st;
	uint64_t size;
	int err;

	if (file < 0 || fstat(file, &st) < 0)
		return fail(t, -errno, "%s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return 0;
	size = htobe64((uint64_t)st.st_size);
	err = write_all(t, &len, sizeof(len));
	if (!err)
		err = write_all(t, name, strlen(name));
	if (!err)
		err = write_all(t, &size, sizeof(size));
	if (!err)
		err = send_data(t, file, (uint64_t)st.st_size, &crc);
	be = htobe32(crc);
	return err ?: write_all(t, &be, sizeof(be));
}

static int send_files(struct transfer *t, const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int err = d ? 0 : fail(t, -errno, "%s: %s", path, strerror(errno));

	while (!err && (e = readdir(d)))
		if (*e->d_name != '.' && !is_log(e->d_name) && strcmp(e->d_name, CKPT_PARENT) != 0)
			err = send_file(t, dirfd(d), e->d_name);
	if (d)
		closedir(d);
	return err;
}

int ckpt_send(int fd, const char *dir, bool (*last)(void *arg), ckpt_progress_fn *progress, void *arg,
	      char error[CKPT_ERROR_MAX])
{
	_free_ char *buf = malloc(BUFFER);
	struct transfer t = {.fd = fd,
			     .buf = buf,
			     .of = ckpt_dir_bytes(dir),
			     .progress = progress,
			     .arg = arg,
			     .error = error};
	uint64_t of = htobe64(t.of);
	uint32_t end = 0;
	char answer = 0;
	int err;

	if (!buf)
		return fail(&t, -ENOMEM, "out of memory");
	err = write_all(&t, MAGIC, strlen(MAGIC)) ?: write_all(&t, &of, sizeof(of));
	if (!err)
		err = send_files(&t, dir);
	if (!err && last && !last(arg))
		err = fail(&t, -ECANCELED, "the images shall not be complete");
	if (!err)
		err = write_all(&t, &end, sizeof(end));
	if (!err)
		err = read_all(&t, &answer, 1);
	if (!err && answer != ALL_WELL)
		err = fail(&t, -EIO, "the other node did not take the images");
	return err;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static int write_file(struct transfer *t, int file, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(file, t->buf + done, len - done);

		if (n < 0)
			return fail(t, -errno, "cannot write the images: %s; free memory or disk",
				    strerror(errno));
		done += (size_t)n;
	}
	return 0;
}

static int recv_data(struct transfer *t, int file, uint64_t size)
{
	uint32_t crc = 0, be;
	int err = 0;

	while (!err && size > 0) {
		size_t part = size < BUFFER ? (size_t)size : BUFFER;

		err = read_all(t, t->buf, part);
		if (err)
			break;
		crc = ckpt_crc32c(crc, t->buf, part);
		err = write_file(t, file, part);
		size -= part;
		advance(t, part);
	}
	if (!err)
		err = read_all(t, &be, sizeof(be));
	if (!err && be32toh(be) != crc)
		err = fail(t, -EBADMSG, "an image was damaged on its way");
	return err;
}

/* 1: one more, 0: that was all, or a negative errno. */
static int recv_file(struct transfer *t, int dir, uint64_t room)
{
	char name[NAME_MAX_LEN + 1] = "";
	_close_ int file = -1;
	uint32_t len;
	uint64_t size;
	int err = read_all(t, &len, sizeof(len));

	len = be32toh(len);
	if (err || len == 0)
		return err;
	if (len > NAME_MAX_LEN)
		return fail(t, -EPROTO, "the other node does not send images");
	err = read_all(t, name, len) ?: read_all(t, &size, sizeof(size));
	if (err)
		return err;
	size = be64toh(size);
	if (strlen(name) != len || !plain_name(name))
		return fail(t, -EPROTO, "the other node sends images with bad names");
	if (size > room)
		return fail(t, -ENOSPC, "no room for the images: %llu bytes; free memory or disk",
			    (unsigned long long)size);
	file = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file < 0)
		return fail(t, -errno, "%s: %s", name, strerror(errno));
	return recv_data(t, file, size) ?: 1;
}

static uint64_t room_in(int dir)
{
	struct statvfs vfs;

	return fstatvfs(dir, &vfs) < 0 ? 0 : (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

int ckpt_recv(int fd, const char *dir, ckpt_progress_fn *progress, void *arg, uint64_t *bytes,
	      char error[CKPT_ERROR_MAX])
{
	_free_ char *buf = malloc(BUFFER);
	struct transfer t = {.fd = fd, .buf = buf, .progress = progress, .arg = arg, .error = error};
	char magic[sizeof(MAGIC) - 1], answer = ALL_WELL;
	_close_ int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t of = 0;
	int err, files = 0;

	if (!buf || d < 0)
		return fail(&t, -ENOMEM, "%s: %s", dir, strerror(errno));
	err = read_all(&t, magic, sizeof(magic)) ?: read_all(&t, &of, sizeof(of));
	if (!err && memcmp(magic, MAGIC, sizeof(magic)) != 0)
		err = fail(&t, -EPROTO, "the other node does not send images; use the same version on both");
	t.of = be64toh(of);
	if (err == 0 && t.of > room_in(d))
		err = fail(&t, -ENOSPC, "no room for the images: %llu bytes; free memory or disk",
			   (unsigned long long)t.of);
	while (err == 0 || err == 1) {
		err = recv_file(&t, d, room_in(d));
		if (err == 0)
			break;
		if (err == 1 && ++files > FILES_MAX)
			err = fail(&t, -EPROTO, "too many images");
	}
	*bytes = t.bytes;
	return err ?: write_all(&t, &answer, 1);
}

/* ---- the directory ----------------------------------------------------------------------------- */

typedef void entry_fn(int dir, const char *name, void *arg);

static void each_entry(DIR *d, entry_fn *fn, void *arg)
{
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			fn(dirfd(d), e->d_name, arg);
	if (d)
		closedir(d);
}

static void each_file(const char *dir, entry_fn *fn, void *arg)
{
	each_entry(opendir(dir), fn, arg);
}

static void unlink_one(int dir, const char *name, void *arg)
{
	const int *depth = arg, below = 0;
	int sub;

	if (unlinkat(dir, name, 0) == 0 || errno != EISDIR || !*depth)
		return;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (sub >= 0)
		each_entry(fdopendir(sub), unlink_one, (void *)&below);
	unlinkat(dir, name, AT_REMOVEDIR);
}

static void add_size(int dir, const char *name, void *arg)
{
	struct stat st;

	if (!is_log(name) && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
		*(uint64_t *)arg += (uint64_t)st.st_size;
}

int ckpt_dir_make(const char *dir)
{
	char path[4096];

	if (*dir != '/' || strlen(dir) >= sizeof(path) || strstr(dir, "/../"))
		return -EINVAL;
	snprintf(path, sizeof(path), "%s", dir);
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	ckpt_dir_remove(dir);
	return mkdir(dir, 0700) < 0 ? -errno : 0;
}

void ckpt_dir_remove(const char *dir)
{
	int depth = 1; /* rounds are directories below it */

	each_file(dir, unlink_one, &depth);
	rmdir(dir);
}

uint64_t ckpt_dir_bytes(const char *dir)
{
	uint64_t bytes = 0;

	each_file(dir, add_size, &bytes);
	return bytes;
}
