// SPDX-License-Identifier: GPL-2.0
/*
 * Log lines and the ring of the last ones; see log.h. One thread.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

#define LINE_MAX_BYTES 1024

static struct {
	const char *name;
	int max_priority;
	bool journal;
	char *ring[LOG_RING_LINES];
	unsigned int next;
} logger = {.name = "netssi", .max_priority = LOG_INFO};

/* systemd names the journal's stream by device and inode. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return !fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *name, int max_priority)
{
	logger.name = name;
	logger.max_priority = max_priority;
	logger.journal = stderr_is_journal();
}

static void ring_add(const char *line)
{
	char **slot = &logger.ring[logger.next++ % LOG_RING_LINES];

	free(*slot);
	*slot = strdup(line);
}

void log_line(int priority, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	if (priority > logger.max_priority)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* One message is one line, whatever a peer put into it. */
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	ring_add(line);
	if (logger.journal)
		fprintf(stderr, "<%d>%s\n", priority, line);
	else
		fprintf(stderr, "%s: %s\n", logger.name, line);
}

void log_ring_walk(void (*fn)(void *arg, const char *line), void *arg)
{
	for (unsigned int i = 0; i < LOG_RING_LINES; i++) {
		const char *line = logger.ring[(logger.next + i) % LOG_RING_LINES];

		if (line)
			fn(arg, line);
	}
}
