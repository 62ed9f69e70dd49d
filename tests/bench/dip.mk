# SPDX-License-Identifier: GPL-2.0
# The cluster address against plain addresses.
BENCH_SUITES += dip
$(call prog_static,rtt,tests/bench/rtt.c)
$(call prog,hold-bench,tests/bench/hold_bench.c $(addprefix userland/netd/,hold.c hold_core.c hold_ports.c hold_tap.c rtnl.c),$(O)/lib/ssi.a -luv -lmnl -lbpf -lelf -lz -ljansson)
