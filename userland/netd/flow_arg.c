// SPDX-License-Identifier: GPL-2.0
#include "flow_arg.h"

#include <netinet/in.h>
#include <string.h>

#include "datapath_int.h"

const char *flow_arg_parse(json_t *args, struct flow_arg *out)
{
	bool bad = false;
	const char *client = ctl_arg_string(args, "client", "", &bad);
	const char *vip = ctl_arg_string(args, "vip", "", &bad);
	const char *proto = ctl_arg_string(args, "proto", "tcp", &bad);

	*out = (struct flow_arg){
		.client_port = ctl_arg_int(args, "client_port", 0, 0, 65535, &bad),
		.port = ctl_arg_int(args, "port", 0, 1, 65535, &bad),
		.proto = strcmp(proto, "udp") ? IPPROTO_TCP : IPPROTO_UDP,
	};
	return !ipaddr_parse(client, &out->client)	      ? "the client's address"
	       : !ipaddr_parse(vip, &out->vip)		      ? "the cluster address"
	       : out->client.family != out->vip.family	      ? "addresses of two families"
	       : bad || !out->port			      ? "a port"
	       : strcmp(proto, "tcp") && strcmp(proto, "udp") ? "the protocol"
							      : NULL;
}

bool flow_arg_take(struct datapath *dp, struct ctl_request *ctl, json_t *args, const char *usage,
		   struct flow_arg *out)
{
	const char *what = flow_arg_parse(args, out);

	if (what)
		ctl_fail(ctl, CTL_USAGE, usage, "cannot read %s", what);
	else if (!vips_find(dp, &out->vip))
		ctl_fail(ctl, CTL_FAILED, "`netctl vips` lists them", "%s is no cluster address",
			 ipaddr_text(&out->vip));
	else
		return true;
	return false;
}
