/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which protocols between nodes this netd speaks: from `min` to the newest. A
 * hello names both ("vmin", "v"); two nodes that have one in common work
 * together, in the highest of these. A release that changes what is on the wire
 * or in the log raises the newest and keeps speaking the one before, so that
 * nodes can be upgraded one after the other.
 *
 * Protocol 1, inside TLS: the hello (secure.h), then by its purpose frames of
 * peers (peer_int.h), raft's messages as libraft writes them (kddm_message.h),
 * or a stream of bytes.
 */
#ifndef SSI_MEMBER_VERSION_H
#define SSI_MEMBER_VERSION_H

#include <jansson.h>

#define MEMBER_PROTOCOL	    1
#define MEMBER_PROTOCOL_MIN 1

extern const unsigned int member_protocol;
extern const unsigned int member_protocol_min;

/* The protocol that both speak, 0: none. */
static inline unsigned int member_version_common(json_t *hello)
{
	json_int_t v = json_integer_value(json_object_get(hello, "v"));
	json_t *min = json_object_get(hello, "vmin");
	json_int_t vmin = min ? json_integer_value(min) : v, common;

	common = v < (json_int_t)member_protocol ? v : (json_int_t)member_protocol;
	if (v < 1 || vmin < 1 || vmin > v || common < vmin || common < (json_int_t)member_protocol_min)
		return 0;
	return (unsigned int)common;
}

#endif
