# SPDX-License-Identifier: GPL-2.0
# The control socket as a library, for its unit test.
ctl_srcs := $(addprefix userland/netd/,ctl.c ctl_args.c ctl_conn.c ctl_watch.c)
$(call lib,ctl,$(ctl_srcs))
