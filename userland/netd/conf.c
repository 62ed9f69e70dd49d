// SPDX-License-Identifier: GPL-2.0
/* netd.conf: one table of keys, each with its place in struct netd_conf. */
#include "conf.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define DEFAULT_PORT 7946

enum conf_kind { CONF_TEXT, CONF_PORT };

static const struct conf_entry {
	const char *key;
	enum conf_kind kind;
	size_t offset, size;
} conf_entries[] = {
#define TEXT(f) {#f, CONF_TEXT, offsetof(struct netd_conf, f), sizeof(((struct netd_conf *)0)->f)}
	TEXT(name),    TEXT(address),
	TEXT(bearer),  TEXT(transport),
	TEXT(criu),    TEXT(connections),
	TEXT(metrics), {"port", CONF_PORT, offsetof(struct netd_conf, port), sizeof(uint16_t)},
#undef TEXT
};

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	for (n = strlen(s); n && strchr(" \t\r\n", s[n - 1]); n--)
		s[n - 1] = 0;
	return s;
}

static int conf_set(struct netd_conf *c, const char *key, const char *value, const char **why)
{
	for (size_t i = 0; i < sizeof(conf_entries) / sizeof(conf_entries[0]); i++) {
		const struct conf_entry *e = &conf_entries[i];
		char *end;
		long port;

		if (strcmp(e->key, key) != 0)
			continue;
		if (e->kind == CONF_TEXT) {
			*why = "value too long";
			if (strlen(value) >= e->size)
				return -EINVAL;
			strcpy((char *)c + e->offset, value);
			return 0;
		}
		*why = "not a port number from 1 to 65535";
		port = strtol(value, &end, 10);
		if (*value == 0 || *end || port < 1 || port > 65535)
			return -EINVAL;
		*(uint16_t *)((char *)c + e->offset) = (uint16_t)port;
		return 0;
	}
	*why = "unknown key, see netd.conf(5)";
	return -EINVAL;
}

static int conf_line(struct netd_conf *c, char *line, const char **why)
{
	char *eq;

	line[strcspn(line, "#")] = 0;
	line = trim(line);
	if (!*line)
		return 0;
	eq = strchr(line, '=');
	if (!eq) {
		*why = "not of the form key = value";
		return -EINVAL;
	}
	*eq = 0;
	return conf_set(c, trim(line), trim(eq + 1), why);
}

static int conf_check(const struct netd_conf *c, const char *path)
{
	if (strcmp(c->transport, "auto") && strcmp(c->transport, "tcp") && strcmp(c->transport, "tipc")) {
		log_err("%s: transport \"%s\" is not auto, tcp or tipc", path, c->transport);
		return -EINVAL;
	}
	if (strcmp(c->connections, "auto") && strcmp(c->connections, "criu")) {
		log_err("%s: connections \"%s\" is not auto or criu", path, c->connections);
		return -EINVAL;
	}
	return 0;
}

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

int conf_read(struct netd_conf *c, const char *path)
{
	_cleanup_(close_file) FILE *f = NULL;
	char line[512];
	const char *why;

	memset(c, 0, sizeof(*c));
	gethostname(c->name, sizeof(c->name) - 1);
	strcpy(c->transport, "auto");
	strcpy(c->criu, "criu");
	strcpy(c->connections, "auto");
	c->port = DEFAULT_PORT;

	f = fopen(path, "re");
	if (!f && errno == ENOENT)
		return 0;
	if (!f) {
		log_err("%s: %s", path, strerror(errno));
		return -errno;
	}
	for (unsigned int n = 1; fgets(line, sizeof(line), f); n++) {
		if (conf_line(c, line, &why) < 0) {
			log_err("%s:%u: %s", path, n, why);
			return -EINVAL;
		}
	}
	return conf_check(c, path);
}
