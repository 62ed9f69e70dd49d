/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Drained nodes: their applications move away, and no others come until `resume`. A drain is
 * part of the replicated settings (conf: "drain/NUMBER"), so it lasts over reboots of the
 * node, or ends with the life of the node that it was for. Commands: drain, resume.
 */
#ifndef SSI_DRAIN_H
#define SSI_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

struct netd;

int drain_start(struct netd *n);

/* Takes no applications. */
bool drain_is(struct netd *n, uint32_t node);

#endif
