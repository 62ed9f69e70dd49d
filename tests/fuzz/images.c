// SPDX-License-Identifier: GPL-2.0
/*
 * Images from another node, into an empty directory: what is taken are plain files of the sizes that were told, and
 * nothing is written elsewhere. Checksums are all 0 here, or nothing would come further.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ckpt/ckpt.h"
#include "fuzz.h"

uint32_t ckpt_crc32c(uint32_t crc, const void *data, size_t len)
{
	return 0;
}

/* /dev/shm/NAME/images, the one thing in its directory. */
static const char *above(void)
{
	static char dir[64];

	if (!*dir)
		snprintf(dir, sizeof(dir), "/dev/shm/fuzz-images.%d", (int)getpid());
	return dir;
}

static unsigned int entries(const char *path)
{
	unsigned int n = 0;
	DIR *d = opendir(path);

	for (struct dirent *e; d && (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	if (d)
		closedir(d);
	return n;
}

static void only_files(const char *path)
{
	DIR *d = opendir(path);
	struct stat st;

	for (struct dirent *e; d && (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			fuzz_check(!fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
				   S_ISREG(st.st_mode) && *e->d_name != '.');
	if (d)
		closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[128], error[CKPT_ERROR_MAX] = "";
	struct fuzz_stream s;
	uint64_t bytes = 0;
	int err;

	snprintf(path, sizeof(path), "%s/images", above());
	fuzz_check(ckpt_dir_make(path) == 0);
	if (fuzz_open(&s, data, size, 256) < 0)
		return 0;
	while (fuzz_next(&s))
		;
	shutdown(s.peer, SHUT_WR);
	err = ckpt_recv(s.fd, path, NULL, NULL, &bytes, error);
	fuzz_check(!err == !*error);
	fuzz_check(bytes <= size && (err || ckpt_dir_bytes(path) <= bytes));
	fuzz_check(entries(above()) == 1);
	only_files(path);
	close(s.fd);
	fuzz_close(&s);
	ckpt_dir_remove(path);
	rmdir(above());
	return 0;
}
