// SPDX-License-Identifier: GPL-2.0
/*
 * The processes' memory, as far as rounds need it. The kernel keeps a bit for each page table entry, and a huge page
 * has one for its 2 MB: a program that writes a few bytes here and there would never get any cleaner. A huge page is
 * split when a single small page of it is named as cold, which moves that one page to another list and no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/soft_dirty.h"

#define BATCH 512 /* of process_madvise() */

bool ckpt_tracks(void)
{
	return soft_dirty_works();
}

/* A field of /proc/PID/status in kB. */
static uint64_t status_kb(pid_t pid, const char *field)
{
	char path[64], line[256];
	uint64_t kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && !kb && fgets(line, sizeof(line), f))
		if (strncmp(line, field, strlen(field)) == 0)
			sscanf(line + strlen(field), " %" SCNu64, &kb);
	if (f)
		fclose(f);
	return kb;
}

uint64_t ckpt_memory(const pid_t *pids)
{
	uint64_t kb = 0;

	for (const pid_t *p = pids; p && *p; p++)
		kb += status_kb(*p, "RssAnon:") + status_kb(*p, "RssShmem:");
	return kb << 10;
}

static void split_batch(int pidfd, struct iovec *v, size_t *n)
{
	size_t done = 0;

	/* what cannot be split any more (locked, shared, unmapped meanwhile) stays as it is */
	while (done < *n) {
		long r = syscall(SYS_process_madvise, pidfd, v + done, *n - done, MADV_COLD, 0);
		size_t whole = r > 0 ? (size_t)r / v->iov_len : 0;

		done += whole < *n - done ? whole + 1 : whole;
	}
	*n = 0;
}

static void split_range(int pidfd, uintptr_t start, uintptr_t end, size_t huge)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
	struct iovec v[BATCH];

	for (uintptr_t at = (start + huge - 1) / huge * huge; at + huge <= end; at += huge) {
		v[n++] = (struct iovec){(void *)at, page};
		if (n == BATCH)
			split_batch(pidfd, v, &n);
	}
	split_batch(pidfd, v, &n);
}

/* Of each mapping the first line says where, one of the others how much of it is huge. */
static unsigned int split_process(pid_t pid, size_t huge)
{
	_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	unsigned int found = 0;
	uintptr_t start = 0, end = 0, a, b;
	char path[64], line[512];
	uint64_t kb;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = pidfd < 0 ? NULL : fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &a, &b) == 2) {
			start = a;
			end = b;
		} else if (sscanf(line, "AnonHugePages: %" SCNu64, &kb) == 1 && kb) {
			found += (unsigned int)(kb * 1024 / huge);
			split_range(pidfd, start, end, huge);
		}
	}
	if (f)
		fclose(f);
	return found;
}

unsigned int ckpt_split_huge(const pid_t *pids)
{
	unsigned int found = 0;
	char line[32] = "";
	size_t huge = 0;
	_close_ int fd = open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, line, sizeof(line) - 1) > 0)
		sscanf(line, "%zu", &huge);
	for (const pid_t *p = pids; huge && p && *p; p++)
		found += split_process(*p, huge);
	return found;
}
