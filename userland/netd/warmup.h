/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CRIU finds out what the kernel can do when it runs for the first time after a
 * boot, and keeps that in /run. Done here, at the start, it does not add to the
 * time for which the first application that moves is frozen.
 */
#ifndef SSI_WARMUP_H
#define SSI_WARMUP_H

struct netd;

/* Starts it in the background; nothing waits for it and nobody is told. */
void warmup_criu(struct netd *n);

#endif
