/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What TIPC's topology server tells: which netd are there, and at once when one
 * is not there any more (its process ended, or the links to its node are down
 * for the tolerance). A hint only: a death is declared by leases. One thread.
 */
#ifndef SSI_TRANSPORT_TOPOLOGY_H
#define SSI_TRANSPORT_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct topology;

/* `instance`: as in transport_tipc_address(). */
typedef void topology_fn(void *arg, uint32_t instance, bool there);
/* 0 or a negative errno: no TIPC. */
int topology_open(uv_loop_t *loop, topology_fn *fn, void *arg, struct topology **out);
void topology_close(struct topology *t); /* NULL is fine; freed by the loop */

#endif
