/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tools print: colours on a terminal only (and not with NO_COLOR), errors
 * on stderr as one line that names the remedy, or as JSON.
 */
#ifndef SSI_PRINT_H
#define SSI_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum print_style { PRINT_PLAIN, PRINT_BOLD, PRINT_DIM, PRINT_GREEN, PRINT_YELLOW, PRINT_RED, PRINT_CYAN };

/* Looks at the terminal; before all others. */
void print_init(const char *program, bool json);
bool print_is_tty(void); /* stdout */
/* Columns of the terminal, 0 when stdout is none. */
int print_width(void);
/* Escape sequences, "" when there is no colour. */
const char *print_on(enum print_style style);
const char *print_off(enum print_style style);
/* The style of a word that says how something is ("up", "hold", "dead"). */
enum print_style print_state_style(const char *word);

/* An array of objects: one line, or indented. */
void print_json(FILE *f, const json_t *value, bool pretty);

/* "PROGRAM: error; remedy" or {"error","code","remedy"}; returns code. */
__attribute__((format(printf, 3, 4))) int print_error(int code, const char *remedy, const char *fmt, ...);

/* How long ago an RFC 3339 time is, for people: "5s", "3m", "2h 5m", "4d 3h". */
void print_age(const char *rfc3339, char *out, size_t size);
/* Bytes for people: "812 B", "3.4 MB". */
void print_bytes(double bytes, char *out, size_t size);

#endif
