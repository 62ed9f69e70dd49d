/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fuzzers of streams share; it defines libFuzzer's initialization, so it is included once in a program.
 *
 *	struct fuzz_stream s;
 *
 *	if (fuzz_open(&s, data, size, 8) < 0)
 *		return 0;
 *	while (fuzz_next(&s))
 *		... read s.fd
 *	fuzz_close(&s);
 */
#ifndef SSI_FUZZ_H
#define SSI_FUZZ_H

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fuzz_stream {
	int fd;	  /* where the input comes out; the caller's to close */
	int peer; /* where it goes in */
	const uint8_t *at;
	size_t left, step;
};

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

static inline void fuzz_check(int ok)
{
	if (!ok)
		abort();
}

/* The input's first byte says how long the pieces are in which it comes, in units. */
static inline int fuzz_open(struct fuzz_stream *s, const uint8_t *data, size_t size, size_t unit)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		return -1;
	*s = (struct fuzz_stream){fd[0], fd[1], data, size, size ? data[0] * unit + 1 : 1};
	return 0;
}

/* The length of the next piece, which can be read now; 0 at the end, or when nothing more is taken. */
static inline size_t fuzz_next(struct fuzz_stream *s)
{
	size_t n = s->left < s->step ? s->left : s->step;

	if (!n || write(s->peer, s->at, n) != (ssize_t)n)
		return 0;
	s->at += n;
	s->left -= n;
	return n;
}

/* What was answered, thrown away. */
static inline void fuzz_drain(struct fuzz_stream *s)
{
	char answer[4096];

	while (read(s->peer, answer, sizeof(answer)) > 0)
		;
}

static inline void fuzz_close(struct fuzz_stream *s)
{
	close(s->peer);
}

#endif
