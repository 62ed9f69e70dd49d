/* SPDX-License-Identifier: GPL-2.0 */
/* Aligned tables out of JSON objects; see table.h. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/print.h"
#include "userland/lib/table.h"

#define GAP 2

/* Columns on the screen; bytes when the locale cannot tell. */
static size_t width(const char *s)
{
	wchar_t wide[1024];
	size_t n = mbstowcs(wide, s, 1024);
	int w;

	if (n == (size_t)-1 || n >= 1024)
		return strlen(s);
	w = wcswidth(wide, n);
	return w < 0 ? strlen(s) : (size_t)w;
}

static char *join(json_t *list)
{
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	json_t *v;

	if (!f)
		return NULL;
	json_array_foreach(list, i, v)
	{
		_free_ char *one = table_text(v, 0);

		fprintf(f, "%s%s", i ? "," : "", one ?: "-");
	}
	fclose(f);
	if (!json_array_size(list)) {
		free(text);
		return strdup("-");
	}
	return text;
}

char *table_text(json_t *v, unsigned int flags)
{
	char buf[64];

	if (json_is_string(v) && flags & TABLE_AGE) {
		print_age(json_string_value(v), buf, sizeof(buf));
		return strdup(buf);
	}
	if (json_is_string(v))
		return strdup(json_string_length(v) ? json_string_value(v) : "-");
	if (json_is_number(v) && flags & TABLE_BYTES) {
		print_bytes(json_number_value(v), buf, sizeof(buf));
		return strdup(buf);
	}
	if (json_is_array(v))
		return join(v);
	if (json_is_boolean(v))
		return strdup(json_is_true(v) ? "yes" : "no");
	if (json_is_integer(v))
		snprintf(buf, sizeof(buf), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		snprintf(buf, sizeof(buf), "%.1f", json_real_value(v));
	else if (json_is_object(v))
		return json_dumps(v, JSON_COMPACT);
	else
		return strdup("-");
	return strdup(buf);
}

struct grid {
	const struct table_column *columns;
	size_t n, rows;
	char **cells; /* rows * n */
	size_t *width;
	bool *shown;
};

static void fill(struct grid *g, const json_t *objects)
{
	size_t row, c;

	for (c = 0; c < g->n; c++) {
		g->width[c] = width(g->columns[c].title);
		g->shown[c] = !(g->columns[c].flags & TABLE_HIDE);
	}
	for (row = 0; row < g->rows; row++) {
		json_t *o = json_array_get(objects, row);

		for (c = 0; c < g->n; c++) {
			const struct table_column *col = &g->columns[c];
			char *text = col->text ? col->text(o)
					       : table_text(json_object_get(o, col->field), col->flags);

			if (!text)
				text = strdup("-");
			g->cells[row * g->n + c] = text;
			if (text && width(text) > g->width[c])
				g->width[c] = width(text);
			if (text && strcmp(text, "-"))
				g->shown[c] = true;
		}
	}
}

/* Bytes of s that fit into `room` columns of the screen. */
static size_t fitting(const char *s, size_t room)
{
	size_t bytes = strlen(s);
	_free_ char *copy = strdup(s);

	while (copy && bytes > 0 && width(copy) > room) {
		do
			bytes--;
		while (bytes > 0 && (copy[bytes] & 0xc0) == 0x80);
		copy[bytes] = '\0';
	}
	return bytes;
}

/* The titles when there are no cells. */
static void print_row(FILE *f, struct grid *g, char *const *cells)
{
	bool title = !cells;
	size_t c, used = 0, screen = print_width(), pending = 0;

	for (c = 0; c < g->n; c++) {
		const struct table_column *col = &g->columns[c];
		const char *text = cells ? cells[c] ?: "-" : col->title;
		enum print_style style = title			    ? PRINT_BOLD
					 : col->flags & TABLE_STATE ? print_state_style(text)
					 : col->flags & TABLE_BOLD  ? PRINT_BOLD
								    : PRINT_PLAIN;
		size_t pad = g->width[c] - width(text), bytes = strlen(text);

		if (!g->shown[c])
			continue;
		if (col->flags & TABLE_CUT && screen > used)
			bytes = fitting(text, screen - used);
		if (col->flags & TABLE_RIGHT)
			pending += pad;
		fprintf(f, "%*s%s%.*s%s", (int)pending, "", print_on(style), (int)bytes, text,
			print_off(style));
		pending = GAP + (col->flags & TABLE_RIGHT ? 0 : pad);
		used += g->width[c] + GAP;
	}
	fputc('\n', f);
}

void table_print(FILE *f, const json_t *objects, const struct table_column *columns, size_t n)
{
	struct grid g = {.columns = columns, .n = n, .rows = json_array_size(objects)};
	size_t i;

	g.cells = calloc(g.rows * n + 1, sizeof(*g.cells));
	g.width = calloc(n, sizeof(*g.width));
	g.shown = calloc(n, sizeof(*g.shown));
	if (g.cells && g.width && g.shown) {
		fill(&g, objects);
		print_row(f, &g, NULL);
		for (i = 0; i < g.rows; i++)
			print_row(f, &g, g.cells + i * n);
	}
	for (i = 0; g.cells && i < g.rows * n; i++)
		free(g.cells[i]);
	free(g.cells);
	free(g.width);
	free(g.shown);
}
