// SPDX-License-Identifier: GPL-2.0
#include "queued.h"

#include <string.h>

bool queued_next(const uint8_t *file, size_t size, size_t *at, struct queued *q, const uint8_t **data)
{
	if (size - *at < sizeof(*q))
		return false;
	memcpy(q, file + *at, sizeof(*q));
	if (size - *at - sizeof(*q) < q->len)
		return false;
	*data = file + *at + sizeof(*q);
	*at += sizeof(*q) + q->len;
	return true;
}
