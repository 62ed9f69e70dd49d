# SPDX-License-Identifier: GPL-2.0
# The cluster address against plain addresses.
BENCH_SUITES += dip
$(call prog_static,rtt,tests/bench/rtt.c)
