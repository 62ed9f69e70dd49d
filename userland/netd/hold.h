/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hold queue: a device into which the tc programs redirect what arrives for a
 * held port. Packets wait behind it and come back through it; its ingress program
 * hands them to the interface of their VIP. With the module ssi_core they wait in
 * the kernel (hold_core.c, ssi/core.h); without it the device is a TAP and they wait
 * in netd (hold_tap.c).
 *
 * A port is open (not known here), held, or releasing: then the queue is
 * written back in order and what still arrives joins its end. Bounded in bytes:
 * handshakes of strangers have a small share of their own, so that they never
 * crowd out connections. What waits too long is dropped, oldest first; nothing
 * is ever released out of order. One thread: the loop.
 */
#ifndef SSI_HOLD_H
#define SSI_HOLD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "datapath.h"
#include "userland/lib/ipaddr.h"

#define HOLD_DEVICE	   "ssi-hold"
#define HOLD_BYTES_MAX	   (32u << 20) /* of connections */
#define HOLD_STRANGERS_MAX (2u << 20)  /* of SYNs and UDP */
#define HOLD_AGE_MS	   15000

struct hold;

struct hold_key {
	struct ipaddr addr; /* of the VIP */
	uint8_t proto;
	uint16_t port; /* host order */
};

/* Makes the device, or takes over the one of an earlier netd. */
int hold_open(struct hold **out, uv_loop_t *loop);
/* `remove`: the device goes, too. */
void hold_close(struct hold *h, bool remove);
/* The device that an earlier netd left. */
int hold_remove(void);
int hold_ifindex(const struct hold *h);
/* Who queues: "ssi_core" or "tap". */
const char *hold_name(const struct hold *h);
/* Others may take the device down, or away: puts it up again; false: it is gone,
 * close and open anew. */
bool hold_keep(struct hold *h);

/* From now on the queue takes packets of this port: before its table entry
 * says HOLD. */
int hold_begin(struct hold *h, struct hold_key key, const char *app);
/* Write back. `opened` runs when the queue is empty, now or later, and opens
 * the table entry; packets on their way here are passed on even after that. */
typedef void hold_opened_fn(void *arg, struct hold_key key);
void hold_release(struct hold *h, struct hold_key key, hold_opened_fn *opened, void *arg);
/* Forget what was queued: another node answers. */
void hold_discard(struct hold *h, struct hold_key key);
bool hold_is_held(const struct hold *h, struct hold_key key);
void hold_stats(const struct hold *h, const char *app, struct hold_stats *out);

#endif
