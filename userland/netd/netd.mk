# SPDX-License-Identifier: GPL-2.0
# The daemon: all of this folder.
$(call prog,netd,$(sort $(wildcard userland/netd/*.c)),$(O)/lib/ssi.a -luv -lraft -lbpf -lelf -lz \
	-lmnl -ljansson -lssl -lcrypto -lsystemd)
INSTALL_SBIN += $(O)/bin/netd
