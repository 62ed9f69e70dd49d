# SPDX-License-Identifier: GPL-2.0
# What the tests in namespaces are made of; the scripts run in the order of their names.
$(call prog_static,nsrun,tests/net/nsrun.c,)
$(call prog_static,count-client,tests/net/count_client.c,)
$(call prog_static,rawsend,tests/net/rawsend.c,)

NET_TESTS += $(addprefix tests/net/,05-cluster.sh)
NET_TESTS += tests/net/12-netctl.sh
