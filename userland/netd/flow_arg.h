/* SPDX-License-Identifier: GPL-2.0 */
/* The flow that a command is asked about: a client and a port of a cluster address. One thread: the loop. */
#ifndef SSI_FLOW_ARG_H
#define SSI_FLOW_ARG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "userland/lib/ipaddr.h"

struct ctl_request;
struct datapath;

struct flow_arg {
	struct ipaddr client, vip;  /* of one family */
	uint16_t client_port, port; /* host order; client_port 0: any */
	uint8_t proto;		    /* IPPROTO_TCP, IPPROTO_UDP */
};

/* Out of the arguments of a command, which are those of the question to the peers. NULL, or what
 * cannot be read, with *out partly filled. */
const char *flow_arg_parse(json_t *args, struct flow_arg *out);
/* The same for a command: false when `ctl` has been told what is wrong, an address that is no cluster address, too. */
bool flow_arg_take(struct datapath *dp, struct ctl_request *ctl, json_t *args, const char *usage,
		   struct flow_arg *out);

#endif
