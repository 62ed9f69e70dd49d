// SPDX-License-Identifier: GPL-2.0
/* Two lists in the file: the operator's, and what netd added. See source_reserved.h. */
#include "source_reserved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netd.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define RESERVED      "/proc/sys/net/ipv4/ip_local_reserved_ports"
#define RANGE	      "/proc/sys/net/ipv4/ip_local_port_range"
#define KEPT	      NETD_RUN_DIR "/reserved_ports"
#define WRITE_AT_ONCE 3000 /* the kernel takes less than a page in one go */

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

void source_range(uint16_t *low, uint16_t *high)
{
	_cleanup_(close_file) FILE *f = fopen(RANGE, "re");

	if (!f || fscanf(f, "%hu %hu", low, high) != 2) {
		*low = 32768;
		*high = 60999;
	}
}

static bool same(const struct port_map *a, const struct port_map *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool empty(const struct port_map *m)
{
	static const struct port_map none;

	return same(m, &none);
}

char *port_map_text(const struct port_map *m)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	const char *comma = "";

	if (!f)
		return NULL;
	for (int port = 0; port < 65536; port++) {
		int last = port;

		if (!port_map_has(m, (uint16_t)port))
			continue;
		while (last < 65535 && port_map_has(m, (uint16_t)(last + 1)))
			last++;
		fprintf(f, last > port ? "%s%d-%d" : "%s%d", comma, port, last);
		comma = ",";
		port = last;
	}
	fclose(f);
	return text;
}

static void parse(const char *text, struct port_map *m)
{
	unsigned int low, high;
	int used;

	memset(m, 0, sizeof(*m));
	while (sscanf(text, "%u%n", &low, &used) == 1) {
		text += used;
		high = low;
		if (sscanf(text, "-%u%n", &high, &used) == 1)
			text += used;
		for (unsigned int port = low; port <= high && port < 65536; port++)
			port_map_add(m, (uint16_t)port);
		text += *text == ',';
	}
}

static int read_line(FILE *f, struct port_map *m)
{
	_free_ char *line = NULL;
	size_t size = 0;

	if (getline(&line, &size, f) < 0)
		return -ENODATA;
	parse(line, m);
	return 0;
}

static int read_reserved(struct port_map *m)
{
	_cleanup_(close_file) FILE *f = fopen(RESERVED, "re");

	return f ? read_line(f, m) : -errno;
}

/* In pieces: the first replaces the list, the others add to it. */
static int write_reserved(const struct port_map *m)
{
	_free_ char *text = port_map_text(m);
	_close_ int fd = open(RESERVED, O_WRONLY | O_CLOEXEC);
	size_t len = text ? strlen(text) : 0, at = 0;

	if (fd < 0)
		return -errno;
	if (!text)
		return -ENOMEM;
	if (!len)
		return write(fd, "\n", 1) == 1 ? 0 : -errno;
	while (at < len) {
		size_t n = len - at;

		if (n > WRITE_AT_ONCE)
			for (n = WRITE_AT_ONCE; text[at + n] != ','; n--)
				;
		if (write(fd, text + at, n) != (ssize_t)n)
			return errno ? -errno : -EIO;
		at += n + (at + n < len);
	}
	return 0;
}

static bool read_kept(struct port_map *theirs, struct port_map *ours)
{
	_cleanup_(close_file) FILE *f = fopen(KEPT, "re");

	return f && !read_line(f, theirs) && !read_line(f, ours);
}

static int write_kept(const struct port_map *theirs, const struct port_map *ours)
{
	_free_ char *a = port_map_text(theirs), *b = port_map_text(ours);
	FILE *f = fopen(KEPT ".new", "we");

	if (!f)
		return -errno;
	fprintf(f, "%s\n%s\n", a ?: "", b ?: "");
	if (!a || !b || fclose(f) || rename(KEPT ".new", KEPT))
		return -EIO;
	return 0;
}

/* Which part of the present list is the operator's. */
static void split(const struct port_map *now, struct port_map *theirs, struct port_map *ours)
{
	struct port_map both, more;

	if (!read_kept(theirs, ours)) {
		*theirs = *now;
		memset(ours, 0, sizeof(*ours));
		return;
	}
	for (size_t i = 0; i < sizeof(both.word) / sizeof(both.word[0]); i++) {
		both.word[i] = theirs->word[i] | ours->word[i];
		more.word[i] = now->word[i] & ~ours->word[i];
	}
	if (same(now, &both))
		return;
	log_notice("net.ipv4.ip_local_reserved_ports was changed: the new list is kept beside the source "
		   "ports of "
		   "other nodes");
	for (size_t i = 0; i < sizeof(both.word) / sizeof(both.word[0]); i++)
		if (ours->word[i] & ~now->word[i]) { /* written anew, without ours */
			*theirs = *now;
			return;
		}
	*theirs = more;
}

int source_reserved_set(const struct port_map *foreign)
{
	struct port_map now, theirs, ours, all;
	int err = read_reserved(&now);

	if (err)
		return err;
	split(&now, &theirs, &ours);
	for (size_t i = 0; i < sizeof(all.word) / sizeof(all.word[0]); i++) {
		ours.word[i] = foreign->word[i] & ~theirs.word[i];
		all.word[i] = theirs.word[i] | ours.word[i];
	}
	if (same(&all, &now))
		return 0;
	err = write_kept(&theirs, &ours);
	return err ?: write_reserved(&all);
}

int source_reserved_restore(void)
{
	struct port_map now, theirs, ours;
	int err;

	if (access(KEPT, F_OK))
		return 0;
	err = read_reserved(&now);
	if (err)
		return err;
	split(&now, &theirs, &ours);
	err = empty(&ours) ? 0 : write_reserved(&theirs);
	if (!err)
		unlink(KEPT);
	return err ?: 1;
}
