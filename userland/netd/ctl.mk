# SPDX-License-Identifier: GPL-2.0
# The control socket as a library: netd links it, its unit test does, too.
$(call lib,ctl,$(addprefix userland/netd/,ctl.c ctl_args.c ctl_conn.c ctl_watch.c))
