/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Log lines on stderr, one line a message, with the syslog priority prefix
 * "<N>" when stderr goes to the journal. Also kept in a ring of the last
 * LOG_RING_LINES lines, which `netctl logs` and `netctl watch` read.
 * Not thread safe: each process logs from one thread.
 */
#ifndef SSI_LOG_H
#define SSI_LOG_H

#include <syslog.h>

#define LOG_RING_LINES 512

/* Called once; `name` (not copied) stands in front of lines on a terminal. */
void log_init(const char *name, int max_priority);

__attribute__((format(printf, 2, 3))) void log_line(int priority, const char *fmt, ...);

#define log_err(...)	log_line(LOG_ERR, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	log_line(LOG_DEBUG, __VA_ARGS__)

/* Walk the ring, oldest first. `line` is valid during the call only. */
void log_ring_walk(void (*fn)(void *arg, const char *line), void *arg);

#endif
