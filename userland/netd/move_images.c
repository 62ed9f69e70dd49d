// SPDX-License-Identifier: GPL-2.0
/*
 * A directory is renamed first, so that a move that begins meanwhile finds its
 * place free; removing much memory could cost the lease, so a worker does it.
 */
#include "move_images.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datapath.h"
#include "move.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "userland/lib/queued.h"

struct drop {
	uv_work_t work;
	char dir[sizeof(MOVE_IMAGE_DIR) + APP_NAME_MAX + 32];
};

static int drop_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path);
	return 0;
}

static void drop_files(uv_work_t *work)
{
	struct drop *d = work->data;

	nftw(d->dir, drop_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void dropped(uv_work_t *work, int status)
{
	(void)status;
	free(work->data);
}

void move_images_drop(uv_loop_t *loop, const char *app)
{
	static unsigned int n;
	struct drop *d = calloc(1, sizeof(*d));
	char dir[sizeof(d->dir)];

	if (!d)
		return;
	d->work.data = d;
	snprintf(dir, sizeof(dir), MOVE_IMAGE_DIR "/%s", app);
	snprintf(d->dir, sizeof(d->dir), MOVE_IMAGE_DIR "/.%u.%s", n++, app);
	if (rename(dir, d->dir) < 0) {
		if (errno != ENOENT)
			log_warn("%s cannot be removed: %s", dir, strerror(errno));
		free(d);
		return;
	}
	uv_queue_work(loop, &d->work, drop_files, dropped);
}

/* Leaves the connections; returns their size. */
static size_t only_connections(uint8_t *file, size_t size)
{
	size_t at = 0, begin = 0, kept = 0;
	const uint8_t *data;
	struct queued q;

	for (; queued_next(file, size, &at, &q, &data); begin = at) {
		if (q.kind != QUEUED_CONNECTION)
			continue;
		memmove(file + kept, file + begin, at - begin);
		kept += at - begin;
	}
	return kept;
}

void move_images_half_open(struct datapath *dp, const char *app)
{
	char path[sizeof(MOVE_IMAGE_DIR) + APP_NAME_MAX + sizeof(QUEUED_FILE) + 4];
	size_t size = 0;
	_free_ uint8_t *records = datapath_half_open(dp, app, &size);
	_close_ int fd = -1;

	if (!size)
		return;
	snprintf(path, sizeof(path), MOVE_IMAGE_DIR "/%s/" QUEUED_FILE, app);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || write(fd, records, size) != (ssize_t)size)
		log_err("handshakes under way at %s are lost: %s", app, strerror(errno));
}

void move_images_queued(struct datapath *dp, const char *app, bool back)
{
	char path[sizeof(MOVE_IMAGE_DIR) + APP_NAME_MAX + sizeof(QUEUED_FILE) + 4];
	_free_ uint8_t *file = NULL;
	_close_ int fd = -1;
	struct stat st;
	size_t size;

	snprintf(path, sizeof(path), MOVE_IMAGE_DIR "/%s/" QUEUED_FILE, app);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
		return;
	size = (size_t)st.st_size;
	file = malloc(size);
	if (!file || read(fd, file, size) != st.st_size) {
		log_err("what was queued for %s cannot be read: %s", app, strerror(errno));
		return;
	}
	if (back)
		size = only_connections(file, size);
	if (size)
		datapath_hold_before(dp, app, take_ptr(file), size);
}
