/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a hold queue is made of: one of two devices behind the calls of hold.h.
 */
#ifndef SSI_HOLD_INT_H
#define SSI_HOLD_INT_H

#include "hold.h"

struct hold_ops {
	const char *name;
	void (*close)(struct hold *h, bool remove);
	bool (*keep)(struct hold *h);
	int (*begin)(struct hold *h, struct hold_key key, const char *app);
	void (*release)(struct hold *h, struct hold_key key, hold_opened_fn *opened, void *arg);
	void (*discard)(struct hold *h, struct hold_key key);
	bool (*is_held)(const struct hold *h, struct hold_key key);
	void (*stats)(const struct hold *h, const char *app, struct hold_stats *out);
};

/* The first member of each. */
struct hold {
	const struct hold_ops *ops;
	int ifindex;
};

static inline bool hold_same_key(struct hold_key a, struct hold_key b)
{
	return ipaddr_equal(&a.addr, &b.addr) && a.port == b.port && a.proto == b.proto;
}

int hold_tap_open(struct hold **out, uv_loop_t *loop);
/* -ENOENT: the kernel has no module ssi_core. */
int hold_core_open(struct hold **out, uv_loop_t *loop);

/* IPv6 would speak on the device by itself. */
void hold_device_quiet(void);

#endif
