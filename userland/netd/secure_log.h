/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Log lines that strangers cause: one for each cause and address every ten
 * seconds, the next one says how many there were. Bounded whatever they do: with
 * more addresses than there is room for, the rest shares a line.
 */
#ifndef SSI_SECURE_LOG_H
#define SSI_SECURE_LOG_H

#include <stdint.h>

#define SECURE_LOG_MS	   10000
#define SECURE_LOG_ENTRIES 64

struct secure_log {
	struct {
		const char *cause; /* static text; NULL: free */
		char host[64];	   /* "" stands for all that found no room */
		uint64_t since_ms;
		unsigned int more; /* not yet told */
		char said[160];	   /* the line, without the address */
	} entry[SECURE_LOG_ENTRIES];
};

/* `peer` is an address, with or without a port. `cause` is static: lines of one cause count as one. The line is the
 * cause, or, when there is one, the `text` instead of it. */
void secure_log_say(struct secure_log *l, uint64_t now_ms, const char *peer, const char *cause,
		    const char *text);
/* Tells what was held back, forgets what is over; now and then. */
void secure_log_tick(struct secure_log *l, uint64_t now_ms);
/* Address without port: what counts as one. */
void secure_log_host(const char *peer, char host[64]);

#endif
