# SPDX-License-Identifier: GPL-2.0
# Sets, membership and the connections between nodes as a library: netd links it, its tests do, too.
KDDM_SRCS := $(sort $(foreach p,kddm*.c member*.c nodes.c lease.c peer*.c secure*.c transport*.c keys.c \
	tipc_*.c bearer_*.c, \
	$(wildcard userland/netd/$p)))
KDDM_LIBS := -lraft -luv -lssl -lcrypto -ljansson -lmnl -lpthread
$(call lib,kddm,$(KDDM_SRCS) userland/lib/genl.c)
