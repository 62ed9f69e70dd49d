/* SPDX-License-Identifier: GPL-2.0 */
/* What lies behind the tables on the node that takes a packet. */
#ifndef SSI_EXPLAIN_HOST_H
#define SSI_EXPLAIN_HOST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "userland/lib/ipaddr.h"

struct datapath;
struct vip;

/* An array of {"what","ok" (null: it depends),"text","remedy"}. `home`: nobody owns the port, no
 * listener is expected. */
json_t *explain_host(struct datapath *dp, const struct vip *v, const struct ipaddr *client, uint8_t proto,
		     uint16_t port, bool home);

#endif
