# SPDX-License-Identifier: GPL-2.0
$(call lib,ckpt,$(sort $(wildcard ckpt/*.c)))
