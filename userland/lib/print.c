/* SPDX-License-Identifier: GPL-2.0 */
/* Colours, errors, and small formats for people; see print.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/jsonline.h"
#include "userland/lib/print.h"

static struct {
	const char *program;
	bool json, tty, colour;
} out = {.program = "netssi"};

void print_init(const char *program, bool json)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	out.program = program;
	out.json = json;
	out.tty = isatty(STDOUT_FILENO);
	out.colour = out.tty && !(none && *none) && !(term && !strcmp(term, "dumb"));
}

bool print_is_tty(void)
{
	return out.tty;
}

int print_width(void)
{
	struct winsize w;

	return out.tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

const char *print_on(enum print_style style)
{
	static const char *const codes[] = {
		[PRINT_PLAIN] = "",	    [PRINT_BOLD] = "\033[1m",	 [PRINT_DIM] = "\033[2m",
		[PRINT_GREEN] = "\033[32m", [PRINT_YELLOW] = "\033[33m", [PRINT_RED] = "\033[31m",
		[PRINT_CYAN] = "\033[36m",
	};

	return out.colour ? codes[style] : "";
}

const char *print_off(enum print_style style)
{
	return out.colour && style != PRINT_PLAIN ? "\033[0m" : "";
}

static bool one_of(const char *word, const char *list)
{
	size_t len = strlen(word);
	const char *p;

	for (p = len ? strstr(list, word) : NULL; p; p = strstr(p + 1, word))
		if ((p == list || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
			return true;
	return false;
}

enum print_style print_state_style(const char *word)
{
	if (one_of(word, "up ok yes running owned pinned leader healthy flipped active"))
		return PRINT_GREEN;
	if (one_of(word, "dead fail error down fenced aborted no lost unreachable drop"))
		return PRINT_RED;
	if (one_of(word, "hold degraded joining starting moving prepared image-complete warn local left idle "
			 "away unheard"))
		return PRINT_YELLOW;
	return PRINT_PLAIN;
}

void print_json(FILE *f, const json_t *value, bool pretty)
{
	json_dumpf(value, f, (pretty ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(8));
	fputc('\n', f);
}

int print_error(int code, const char *remedy, const char *fmt, ...)
{
	_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	fflush(stdout);
	if (out.json) {
		json_t *error = json_pack("{s:o, s:i, s:o}", "error", jsonline_string(text ?: "", 65536),
					  "code", code, "remedy", jsonline_string(remedy ?: "", 65536));

		print_json(stderr, error, false);
		json_decref(error);
	} else {
		fprintf(stderr, "%s: %s%s%s\n", out.program, text ?: "", remedy && *remedy ? "; " : "",
			remedy ?: "");
	}
	return code;
}

void print_age(const char *rfc3339, char *buf, size_t size)
{
	struct tm tm = {0};
	long long s;

	snprintf(buf, size, "-");
	if (!rfc3339 || !strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm))
		return;
	s = (long long)(time(NULL) - timegm(&tm));
	if (s < 0)
		s = 0;
	if (s < 60)
		snprintf(buf, size, "%llds", s);
	else if (s < 3600)
		snprintf(buf, size, "%lldm %llds", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%lldh %lldm", s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%lldd %lldh", s / 86400, s / 3600 % 24);
}

void print_bytes(double bytes, char *buf, size_t size)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	size_t i = 0;

	while (bytes >= 1000 && i < 4) {
		bytes /= 1000;
		i++;
	}
	snprintf(buf, size, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}
