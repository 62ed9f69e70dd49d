# SPDX-License-Identifier: GPL-2.0
# netd with a set for tests and a socket to it; who writes to it under faults; who judges the history.
$(call prog,netd-probe,$(sort $(wildcard userland/netd/*.c)) tests/linear/probe_netd.c tests/linear/probe_call.c,\
	$(NETD_LIBS) -Xlinker --wrap=objects_register -Xlinker --wrap=ctl_cluster_start)
$(call prog,linear-load,tests/linear/linear_load.c tests/linear/probe_call.c,)
$(call prog,linear-check,tests/linear/linear_check.c tests/linear/linear.c,)
