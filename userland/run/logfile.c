// SPDX-License-Identifier: GPL-2.0
/* One log for each supervisor; a full file becomes NAME.log.1. */
#include "userland/run/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"

#define LINE_SHOWN 4096

static char path[PATH_MAX], old_path[PATH_MAX];
static int log_fd = -1;
static size_t size;

static int reopen(int flags)
{
	struct stat st;

	if (log_fd >= 0)
		close(log_fd);
	log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (log_fd < 0)
		return -errno;
	size = fstat(log_fd, &st) < 0 ? 0 : (size_t)st.st_size;
	return 0;
}

int logfile_open(const char *name, int fresh)
{
	mkdir(LOGFILE_DIR, 0755);
	snprintf(path, sizeof(path), LOGFILE_DIR "/%s.log", name);
	snprintf(old_path, sizeof(old_path), LOGFILE_DIR "/%s.log.1", name);
	if (fresh)
		unlink(old_path);
	return reopen(fresh ? O_TRUNC : 0);
}

const char *logfile_path(void)
{
	return path;
}

void logfile_write(const char *data, size_t len)
{
	while (len > 0 && log_fd >= 0) {
		size_t part = len;
		ssize_t n;

		if (size >= LOGFILE_MAX && rename(path, old_path) == 0)
			reopen(O_TRUNC);
		if (part > LOGFILE_MAX - size)
			part = LOGFILE_MAX - size;
		n = write(log_fd, data, part);
		if (n <= 0)
			return; /* a full disk must not stop the application */
		size += (size_t)n;
		data += n;
		len -= (size_t)n;
	}
}

/* Appends the last `max` bytes of a file. */
static void append_tail(const char *file, size_t max, char *buf, size_t *len)
{
	_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	off_t from;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
	while (*len < max && (n = pread(fd, buf + *len, max - *len, from)) > 0) {
		*len += (size_t)n;
		from += n;
	}
}

char *logfile_tail(size_t max, size_t *len)
{
	char *buf = malloc(max + 1);

	*len = 0;
	if (!buf || log_fd < 0)
		return buf;
	if (size < max)
		append_tail(old_path, max - size, buf, len);
	if (*len + size > max)
		*len = 0;
	append_tail(path, max, buf, len);
	return buf;
}

json_t *logfile_lines(size_t max)
{
	json_t *lines = json_array();
	_free_ char *buf = NULL;
	size_t len, end, count = 0;

	buf = logfile_tail(LOGFILE_MAX / 2, &len);
	if (!buf)
		return lines;
	if (len > 0 && buf[len - 1] == '\n')
		len--;
	for (end = len; end > 0 && count < max; count++) {
		char *nl = memrchr(buf, '\n', end);
		size_t start = nl ? (size_t)(nl - buf) + 1 : 0, n = end - start;

		json_array_insert_new(lines, 0,
				      jsonline_string(buf + start, n < LINE_SHOWN ? n : LINE_SHOWN));
		end = nl ? (size_t)(nl - buf) : 0;
	}
	return lines;
}
