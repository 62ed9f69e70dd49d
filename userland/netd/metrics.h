/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Metrics of this node for Prometheus and whoever reads its text format, by HTTP on
 * the address of netd.conf (`metrics = ADDR:PORT`); off without one. What it tells is
 * what `netctl status`, `nodes` and `stats` tell. One thread: the loop.
 */
#ifndef SSI_METRICS_H
#define SSI_METRICS_H

#include <stddef.h>

struct netd;

/* Fills n->metrics. An address that cannot be used is logged and does not keep netd from starting. */
int metrics_start(struct netd *n);
void metrics_stop(struct netd *n);

/* The text (malloc), or NULL without memory. */
char *metrics_text(struct netd *n, size_t *len);

#endif
