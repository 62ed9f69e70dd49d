# SPDX-License-Identifier: GPL-2.0
# The network side of netd: data path, cluster addresses, claims, explanations.
NETD_SRCS += $(addprefix userland/netd/,rtnl.c rtnl_vip.c sockdiag.c hold.c hold_ports.c hold_core.c hold_tap.c hooks.c datapath.c datapath_ask.c \
	datapath_nodes.c datapath_ports.c vips.c vips_cmd.c explain.c explain_host.c stats.c \
	claims.c claims_socks.c claims_procs.c claims_cmd.c claims_ask.c)
