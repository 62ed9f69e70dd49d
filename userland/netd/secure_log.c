// SPDX-License-Identifier: GPL-2.0
/*
 * Rate-limited log lines; see secure_log.h.
 */
#include "secure_log.h"

#include <stdio.h>
#include <string.h>

#include "userland/lib/log.h"

#define OTHERS 0 /* the entry of those that found no room */

void secure_log_host(const char *peer, char host[64])
{
	size_t len = strcspn(peer, peer[0] == '[' ? "]" : ":");

	if (!strncmp(peer, "tipc", 4)) /* no port in it */
		len = strlen(peer);
	snprintf(host, 64, "%.*s", (int)(len < 63 ? len : 63), peer[0] == '[' ? peer + 1 : peer);
	host[strcspn(host, "]")] = 0;
}

static void tell_held_back(struct secure_log *l, size_t i)
{
	if (l->entry[i].more)
		log_warn("%s: %s (%u times more in %u s)",
			 l->entry[i].host[0] ? l->entry[i].host : "other addresses", l->entry[i].said,
			 l->entry[i].more, SECURE_LOG_MS / 1000);
}

void secure_log_tick(struct secure_log *l, uint64_t now_ms)
{
	for (size_t i = 0; i < SECURE_LOG_ENTRIES; i++) {
		if (!l->entry[i].cause || now_ms - l->entry[i].since_ms < SECURE_LOG_MS)
			continue;
		tell_held_back(l, i);
		if (l->entry[i].more) { /* it goes on: the next line in as long again */
			l->entry[i].more = 0;
			l->entry[i].since_ms = now_ms;
		} else {
			l->entry[i].cause = NULL;
		}
	}
}

/* The entry of cause and host, or a free one, or the one of the others. */
static size_t find_entry(const struct secure_log *l, const char *cause, const char *host)
{
	size_t free_one = OTHERS;

	for (size_t i = OTHERS + 1; i < SECURE_LOG_ENTRIES; i++) {
		if (!l->entry[i].cause)
			free_one = free_one ? free_one : i;
		else if (!strcmp(l->entry[i].cause, cause) && !strcmp(l->entry[i].host, host))
			return i;
	}
	return free_one;
}

void secure_log_say(struct secure_log *l, uint64_t now_ms, const char *peer, const char *cause,
		    const char *text)
{
	char host[64];
	size_t i;

	secure_log_host(peer, host);
	i = find_entry(l, cause, host);
	if (l->entry[i].cause) {
		l->entry[i].more++;
		return;
	}
	l->entry[i].cause = cause;
	l->entry[i].since_ms = now_ms;
	l->entry[i].more = 0;
	snprintf(l->entry[i].said, sizeof(l->entry[i].said), "%s", text ? text : cause);
	snprintf(l->entry[i].host, sizeof(l->entry[i].host), "%s", i == OTHERS ? "" : host);
	log_warn("%s: %s", host, l->entry[i].said);
}
