/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An aligned table for people out of the same JSON objects that programs get:
 * a list of columns says which fields are shown and how.
 */
#ifndef SSI_TABLE_H
#define SSI_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_RIGHT 0x01 /* numbers */
#define TABLE_STATE 0x02 /* colour says how it is */
#define TABLE_BOLD  0x04
#define TABLE_AGE   0x08 /* a time, shown as how long ago */
#define TABLE_CUT   0x10 /* the last column: cut at the terminal's edge */
#define TABLE_BYTES 0x20
#define TABLE_HIDE  0x40 /* left out when no object has something there */

struct table_column {
	const char *title;
	const char *field;
	unsigned int flags;
	/* NULL, or makes the text itself: malloc'ed, NULL is "-" */
	char *(*text)(json_t *object);
};

/* A value as people read it: lists joined with ',', null as "-". malloc'ed. */
char *table_text(json_t *value, unsigned int flags);
void table_print(FILE *f, const json_t *objects, const struct table_column *columns, size_t n);

#endif
