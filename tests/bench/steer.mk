# SPDX-License-Identifier: GPL-2.0
# The cost of the steering decision.
BENCH_SUITES += steer
$(call bpf_obj,tests/bench/steer.bpf.c)
$(call prog,steer-bench,tests/bench/steer_bench.c,$(O)/lib/ssi.a -lbpf -lelf -lz)
