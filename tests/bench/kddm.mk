# SPDX-License-Identifier: GPL-2.0
# The replicated sets: how fast, how soon after a death, against etcd.
BENCH_SUITES += kddm
$(call prog,kddm-bench,tests/bench/kddm_bench.c tests/bench/kddm_etcd.c tests/linear/probe_call.c,$(O)/lib/ssi.a -lbpf -lelf -lz)
