/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The output of a detached application: /run/netssi/log/NAME.log, and the part
 * before it in NAME.log.1. Together they never hold more than 2 * LOGFILE_MAX.
 */
#ifndef SSI_RUN_LOGFILE_H
#define SSI_RUN_LOGFILE_H

#include <jansson.h>
#include <stddef.h>

#define LOGFILE_DIR "/run/netssi/log"
#define LOGFILE_MAX (1 << 20)

/* fresh: forget what an earlier application of this name wrote. */
int logfile_open(const char *name, int fresh);
void logfile_write(const char *data, size_t len);
const char *logfile_path(void);
/* The last lines, oldest first; an array of strings. */
json_t *logfile_lines(size_t max);
/* The last bytes, for the next node; *len of them, caller frees. */
char *logfile_tail(size_t max, size_t *len);

#endif
