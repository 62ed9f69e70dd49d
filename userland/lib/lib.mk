# SPDX-License-Identifier: GPL-2.0
$(call lib,ssi,$(sort $(wildcard userland/lib/*.c)))
