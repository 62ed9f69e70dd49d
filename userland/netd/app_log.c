// SPDX-License-Identifier: GPL-2.0
/* The end of a log file, by lines. */
#include "app_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netd.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"

#define TAIL_BYTES (256 << 10)
#define LINE_SHOWN 4096

/* The last bytes of the file, with a NUL behind; NULL: it cannot be read. */
static char *read_tail(const char *path)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_free_ char *text = malloc(TAIL_BYTES + 1);
	struct stat st;
	ssize_t n;

	if (fd < 0 || !text || fstat(fd, &st) < 0)
		return NULL;
	n = pread(fd, text, TAIL_BYTES, st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0);
	if (n < 0)
		return NULL;
	text[n] = 0;
	return take_ptr(text);
}

json_t *app_log_tail(const char *app, size_t lines)
{
	_free_ char *text = NULL;
	char path[sizeof(NETD_RUN_DIR) + APP_NAME_MAX + 16];
	json_t *list;

	if (!*app || *app == '.' || strchr(app, '/') || strlen(app) >= APP_NAME_MAX)
		return NULL;
	snprintf(path, sizeof(path), NETD_RUN_DIR "/log/%s.log", app);
	text = read_tail(path);
	if (!text)
		return NULL;
	list = json_array();
	for (char *line = text, *end; *line; line = end) {
		end = line + strcspn(line, "\n");
		json_array_append_new(list, jsonline_string(line, (size_t)(end - line) < LINE_SHOWN
									  ? (size_t)(end - line)
									  : LINE_SHOWN));
		end += *end != 0;
		if (json_array_size(list) > lines)
			json_array_remove(list, 0);
	}
	return json_pack("{so}", "lines", list);
}
