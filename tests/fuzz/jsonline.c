// SPDX-License-Identifier: GPL-2.0
/*
 * Lines of JSON from a program or a keeper, in pieces of every size. What was read can be written and read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "userland/lib/jsonline.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As netd does. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void take_objects(struct jsonline *j)
{
	json_t *obj;

	while (jsonline_next(j, &obj) == 1) {
		size_t len;
		char *text = jsonline_text(obj, &len);
		json_t *again = text ? json_loadb(text, len, 0, NULL) : NULL;

		if (text && !json_equal(obj, again))
			abort();
		json_decref(again);
		free(text);
		json_decref(obj);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step = size ? data[0] % 64 + 1 : 1;
	struct jsonline j;
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		return 0;
	jsonline_init(&j, fd[0]);
	for (size_t at = 0; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		if (write(fd[1], data + at, n) != (ssize_t)n || jsonline_fill(&j) < 0)
			break;
		take_objects(&j);
	}
	json_decref(jsonline_string((const char *)data, size));
	close(fd[1]);
	jsonline_close(&j);
	return 0;
}
