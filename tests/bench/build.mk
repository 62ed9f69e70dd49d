# SPDX-License-Identifier: GPL-2.0
# Benchmarks: each suite has its own fragment.
include $(filter-out tests/bench/build.mk,$(sort $(wildcard tests/bench/*.mk)))
