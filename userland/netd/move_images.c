// SPDX-License-Identifier: GPL-2.0
/*
 * A directory is renamed first, so that a move that begins meanwhile finds its
 * place free; removing much memory could cost the lease, so a worker does it.
 */
#include "move_images.h"

#include <dirent.h>
#include <errno.h>
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

/* Images are flat. */
static void drop_files(uv_work_t *work)
{
	struct drop *d = work->data;
	DIR *dir = opendir(d->dir);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(d->dir);
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
