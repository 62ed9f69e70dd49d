/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring of events that the control-group programs write: sockets of
 * applications that begin and end. Read on netd's loop.
 */
#ifndef SSI_HOOKS_H
#define SSI_HOOKS_H

#include <uv.h>

#include <ssi/dip.h>

struct dip_bpf;
struct hooks;

struct hooks_ops {
	void (*event)(void *arg, const struct dip_event *ev);
	/* after the last event of a burst */
	void (*burst_done)(void *arg);
	/* the ring was full: look at all sockets again */
	void (*lost)(void *arg);
};

int hooks_open(struct hooks **out, uv_loop_t *loop, struct dip_bpf *bpf, const struct hooks_ops *ops,
	       void *arg);
void hooks_close(struct hooks *h);

#endif
