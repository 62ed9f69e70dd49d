// SPDX-License-Identifier: GPL-2.0
/*
 * Raft's messages from another node, in pieces. What is taken is written again: it must be what was read, and
 * no byte of it may be missing from the input.
 */
#include <raft.h>
#include <stdlib.h>
#include <string.h>

#include "userland/netd/kddm_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size, at;
};

static bool take(void *arg, struct raft_message *m)
{
	struct kddm_buf again = {0};
	struct input *in = arg;

	if (!kddm_message_encode(&again, m) || in->size - in->at < again.len ||
	    memcmp(again.data, in->data + in->at, again.len))
		abort();
	in->at += again.len;
	kddm_buf_free(&again);
	kddm_message_clear(m);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kddm_message_reader r = {0};
	size_t step = size ? data[0] * 8u + 1 : 1;
	struct input in = {data + 1, size ? size - 1 : 0, 0};

	for (size_t at = 0; at < in.size; at += step)
		if (kddm_message_read(&r, in.data + at, in.size - at < step ? in.size - at : step, take, &in))
			break;
	kddm_message_reader_free(&r);
	return 0;
}
