# SPDX-License-Identifier: GPL-2.0
# The daemon: all of this folder.
NETD_LIBS := $(O)/lib/ssi.a -luv -lraft -lbpf -lelf -lz -lmnl -ljansson -lssl -lcrypto -lsystemd -lmicrohttpd
$(call prog,netd,$(sort $(wildcard userland/netd/*.c)),$(NETD_LIBS))
INSTALL_SBIN += $(O)/bin/netd
