// SPDX-License-Identifier: GPL-2.0
/* Results of requests: an array of JSON objects, or an error with its remedy. */
#include <errno.h>
#include <stdlib.h>

#include "userland/api/api.h"

struct netssi_result *result_new(json_t *objects)
{
	struct netssi_result *r = calloc(1, sizeof(*r));

	if (r)
		r->objects = objects;
	else
		json_decref(objects);
	return r;
}

void netssi_result_free(struct netssi_result *r)
{
	if (!r)
		return;
	json_decref(r->objects);
	free(r->error);
	free(r->remedy);
	free(r);
}

const char *netssi_result_error(const struct netssi_result *r)
{
	return r && r->error ? r->error : "";
}

const char *netssi_result_remedy(const struct netssi_result *r)
{
	return r && r->remedy ? r->remedy : "";
}

size_t netssi_result_count(const struct netssi_result *r)
{
	return r ? json_array_size(r->objects) : 0;
}

static json_t *field_of(const struct netssi_result *r, size_t i, const char *field)
{
	return r && field ? json_object_get(json_array_get(r->objects, i), field) : NULL;
}

const char *netssi_result_text(const struct netssi_result *r, size_t i, const char *field)
{
	return json_string_value(field_of(r, i, field));
}

int netssi_result_number(const struct netssi_result *r, size_t i, const char *field, double *out)
{
	json_t *v = field_of(r, i, field);

	if (!json_is_number(v))
		return -ENOENT;
	*out = json_number_value(v);
	return 0;
}

int netssi_result_flag(const struct netssi_result *r, size_t i, const char *field, bool *out)
{
	json_t *v = field_of(r, i, field);

	if (!json_is_boolean(v))
		return -ENOENT;
	*out = json_is_true(v);
	return 0;
}

char *netssi_result_json(const struct netssi_result *r)
{
	return r && r->objects ? json_dumps(r->objects, JSON_COMPACT) : NULL;
}
