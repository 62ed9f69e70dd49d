/* SPDX-License-Identifier: GPL-2.0 */
/* What trace.c (a node's watched flows) and trace_cmd.c (the command, asking all nodes) share. One thread. */
#ifndef SSI_TRACE_H
#define SSI_TRACE_H

#include <jansson.h>

#include <ssi/dip.h>

struct datapath;

/* A flow as arguments of the command and of the question to the peers have it, with `id`, a
 * number that the watch is known by. 0, or -EINVAL with *out partly filled. */
int trace_want(json_t *args, struct dip_want *out);
void trace_cmd_start(struct datapath *dp);

#endif
