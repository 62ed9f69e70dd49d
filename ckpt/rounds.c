// SPDX-License-Identifier: GPL-2.0
/* Where the images of rounds lie, and how they hang together: by CRIU's symbolic links. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ckpt/ckpt.h"

void ckpt_round_path(char *out, size_t size, const char *dir, unsigned int round)
{
	if (round)
		snprintf(out, size, "%s/%u", dir, round);
	else
		snprintf(out, size, "%s", dir);
}

void ckpt_round_parent(char *out, size_t size, unsigned int before, bool inner)
{
	snprintf(out, size, "%s%u", inner ? "../" : "", before);
}

bool ckpt_round_memory(const char *dir, unsigned int round)
{
	char path[PATH_MAX], image[PATH_MAX + 16];

	ckpt_round_path(path, sizeof(path), dir, round);
	snprintf(image, sizeof(image), "%s/inventory.img", path);
	return round && access(image, F_OK) == 0;
}

int ckpt_round_link(const char *dir, unsigned int round, unsigned int before)
{
	char path[PATH_MAX], link[PATH_MAX + sizeof(CKPT_PARENT)], parent[16];

	ckpt_round_path(path, sizeof(path), dir, round);
	ckpt_round_parent(parent, sizeof(parent), before, round != 0);
	snprintf(link, sizeof(link), "%s/" CKPT_PARENT, path);
	return symlink(parent, link) < 0 ? -errno : 0;
}

void ckpt_round_blank(const char *dir, unsigned int round)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	ckpt_round_path(path, sizeof(path), dir, round);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		int fd = strncmp(e->d_name, "pages-", 6) == 0 || strncmp(e->d_name, "data-", 5) == 0
				 ? openat(dirfd(d), e->d_name, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW)
				 : -1;

		if (fd >= 0)
			close(fd);
	}
	if (d)
		closedir(d);
}
