// SPDX-License-Identifier: GPL-2.0
/*
 * A directory is renamed first, so that a move that begins meanwhile finds its
 * place free; removing much memory could cost the lease, so a worker does it.
 */
#include "move_images.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "move.h"
#include "userland/lib/log.h"

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
