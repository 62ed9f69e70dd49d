/* SPDX-License-Identifier: GPL-2.0 */
/* Does this kernel tell which pages of memory were written since (CONFIG_MEM_SOFT_DIRTY)? */
#ifndef SSI_SOFT_DIRTY_H
#define SSI_SOFT_DIRTY_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"

#define SOFT_DIRTY (1ULL << 55) /* Documentation/admin-guide/mm/pagemap.rst */

/* A page that was just written is dirty where there is such a bit. */
static inline bool soft_dirty_works(void)
{
	_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0;

	if (at == MAP_FAILED)
		return false;
	*(volatile char *)at = 1;
	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)at / page * sizeof(entry))) != sizeof(entry))
		entry = 0;
	munmap(at, page);
	return entry & SOFT_DIRTY;
}

#endif
