// SPDX-License-Identifier: GPL-2.0
/*
 * Lines of JSON from a program or a keeper, in pieces of every size. What was read can be written and read.
 */
#include "fuzz.h"
#include "userland/lib/jsonline.h"

static void take_objects(struct jsonline *j)
{
	json_t *obj;

	while (jsonline_next(j, &obj) == 1) {
		size_t len;
		char *text = jsonline_text(obj, &len);
		json_t *again = text ? json_loadb(text, len, 0, NULL) : NULL;

		fuzz_check(!text || json_equal(obj, again));
		json_decref(again);
		free(text);
		json_decref(obj);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_stream s;
	struct jsonline j;

	if (fuzz_open(&s, data, size, 1) < 0)
		return 0;
	jsonline_init(&j, s.fd);
	while (fuzz_next(&s) && jsonline_fill(&j) >= 0)
		take_objects(&j);
	json_decref(jsonline_string((const char *)data, size));
	fuzz_close(&s);
	jsonline_close(&j);
	return 0;
}
