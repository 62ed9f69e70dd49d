// SPDX-License-Identifier: GPL-2.0
/*
 * A snapshot from a disk or a peer. Its length and checksum are made right first, or nothing would come
 * further. Refused: the state is as it was. Taken: it can be written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "userland/netd/kddm_fsm.h"

static const struct kddm_type types[] = {
	{.id = 40, .name = "any"},
	{.id = 41, .name = "fixed", .key_len = 4},
};

#define WORD_BYTES 3 /* of the header in kddm_snapshot.c: where all bytes are counted, and the checksum */
#define WORD_SUM   5
#define WORDS	   6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum_of(const uint64_t *w, size_t n)
{
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ w[i]) * 1099511628211ull;
		h ^= h >> 32;
	}
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kddm_fsm f;
	struct kddm_buf again = {0};
	uint64_t *copy = aligned_alloc(8, (size + 15) & ~7ul), before;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (size % 8 == 0 && size >= WORDS * 8) {
		copy[WORD_BYTES] = size;
		copy[WORD_SUM] = sum_of(copy + WORDS, size / 8 - WORDS);
	}
	kddm_fsm_init(&f, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		kddm_fsm_register(&f, &types[i], NULL);
	before = kddm_fsm_digest(&f);
	if (kddm_fsm_restore(&f, copy, size) < 0) {
		if (kddm_fsm_digest(&f) != before)
			abort();
	} else {
		before = kddm_fsm_digest(&f);
		kddm_fsm_snapshot(&f, &again);
		if (kddm_fsm_restore(&f, again.data, again.len) < 0 || kddm_fsm_digest(&f) != before)
			abort();
	}
	kddm_buf_free(&again);
	kddm_fsm_clear(&f);
	free(copy);
	return 0;
}
