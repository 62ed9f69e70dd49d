# SPDX-License-Identifier: GPL-2.0
# Unit tests: each part has its own fragment.
include $(filter-out tests/unit/build.mk,$(sort $(wildcard tests/unit/*.mk)))
