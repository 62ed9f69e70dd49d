/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Scope-bound ownership: a variable marked _cleanup_(f) is released by f when
 * it goes out of scope, take_ptr()/take_fd() hand the ownership on.
 */
#ifndef SSI_CLEANUP_H
#define SSI_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _free_	_cleanup_(free_ptr)
#define _close_ _cleanup_(close_fd)

#define take_ptr(p)                         \
	({                                  \
		__typeof__(p) _taken = (p); \
		(p) = NULL;                 \
		_taken;                     \
	})

static inline int take_fd_of(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define take_fd(fd) take_fd_of(&(fd))

#endif
