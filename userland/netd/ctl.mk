# SPDX-License-Identifier: GPL-2.0
# The control socket, as a library for its unit test; and the commands about the cluster.
ctl_srcs := $(addprefix userland/netd/,ctl.c ctl_args.c ctl_conn.c ctl_watch.c)
$(call lib,ctl,$(ctl_srcs))
NETD_SRCS += $(ctl_srcs) userland/netd/ctl_cluster.c userland/netd/ctl_status.c
