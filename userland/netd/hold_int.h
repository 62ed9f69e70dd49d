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
	void (*stats)(const struct hold *h, const char *app, struct hold_stats *out);
};

/* A port that is held, or was lately: the first member of what each device keeps of it. */
struct hold_port {
	struct hold_port *next;
	struct hold_key key;
	enum { HOLD_OPEN, HOLD_HELD, HOLD_RELEASING } state;
	char app[64];
	hold_opened_fn *opened; /* in state OPEN: NULL, unless it was released */
	void *opened_arg;
};

/* The first member of each. */
struct hold {
	const struct hold_ops *ops;
	int ifindex;
	struct hold_port *ports; /* newest first */
};

static inline bool hold_same_key(struct hold_key a, struct hold_key b)
{
	return ipaddr_equal(&a.addr, &b.addr) && a.port == b.port && a.proto == b.proto;
}

struct hold_port *hold_port_find(const struct hold *h, struct hold_key key);
/* Held from now on; one of `size` bytes, zeroed, where there is none. NULL: no memory. */
struct hold_port *hold_port_hold(struct hold *h, struct hold_key key, const char *app, size_t size);
/* To be released: NULL when it is open already, and `opened` has run. */
struct hold_port *hold_port_release(struct hold *h, struct hold_key key, hold_opened_fn *opened, void *arg);
void hold_port_open(struct hold_port *p);
/* Takes out an open port that is one too many, or NULL. */
struct hold_port *hold_port_too_many(struct hold *h);

int hold_tap_open(struct hold **out, uv_loop_t *loop);
/* -ENOENT: the kernel has no module ssi_core; -EPROTONOSUPPORT: it has one of another release. */
int hold_core_open(struct hold **out, uv_loop_t *loop);

/* IPv6 would speak on the device by itself. */
void hold_device_quiet(void);

#endif
