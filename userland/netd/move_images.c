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

void move_images_queued(struct datapath *dp, const char *app)
{
	char path[sizeof(MOVE_IMAGE_DIR) + APP_NAME_MAX + sizeof(QUEUED_FILE) + 4];
	_free_ uint8_t *file = NULL;
	_close_ int fd = -1;
	struct stat st;

	snprintf(path, sizeof(path), MOVE_IMAGE_DIR "/%s/" QUEUED_FILE, app);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
		return;
	file = malloc((size_t)st.st_size);
	if (file && read(fd, file, (size_t)st.st_size) == st.st_size)
		datapath_hold_before(dp, app, take_ptr(file), (size_t)st.st_size);
	else
		log_err("what was queued for %s cannot be read: %s", app, strerror(errno));
}
