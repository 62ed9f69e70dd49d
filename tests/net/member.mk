# SPDX-License-Identifier: GPL-2.0
# Membership and failure. Netd as the next release and the one after it would be:
netd_but_version := $(filter-out %/member_version.c,$(sort $(wildcard userland/netd/*.c)))
$(call prog,netd-next,$(netd_but_version) tests/net/version_next.c,$(NETD_LIBS))
$(call prog,netd-far,$(netd_but_version) tests/net/version_far.c,$(NETD_LIBS))
NET_TESTS += $(addprefix tests/net/,44-witness.sh 47-recover.sh 48-restart.sh 49-versions.sh 80-failures.sh 81-power-cut.sh)
