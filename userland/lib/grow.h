/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SSI_GROW_H
#define SSI_GROW_H

#include <stddef.h>
#include <stdlib.h>

/*
 * `data` with room for `more` bytes behind `len`, `*size` doubled as often as that takes. A machine
 * without memory for it ends the program: a replica that has lost part of its input must not go on.
 */
static inline void *grow(void *data, size_t *size, size_t len, size_t more)
{
	size_t want = *size ? *size : 256;

	if (*size - len >= more)
		return data;
	while (want - len < more)
		want *= 2;
	data = realloc(data, want);
	if (!data)
		abort();
	*size = want;
	return data;
}

#endif
