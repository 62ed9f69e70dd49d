# SPDX-License-Identifier: GPL-2.0
# User space: each part has its own fragment; the library comes first.
include userland/lib/lib.mk
include $(sort $(wildcard userland/netd/*.mk userland/run/*.mk userland/api/*.mk userland/tools/*.mk))
