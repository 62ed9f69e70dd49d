#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 100000
# Every fuzzer of build/fuzz for FUZZ_SECONDS (4, in check-full 60) each, from the inputs in tests/fuzz/corpus; what it learns
# stays in build/fuzz/corpus. FUZZ_SEED (1; 0: another one each time) says where it begins. An input that breaks
# something is left in build/fuzz and named.
. "${TEST_TOP:?}/tests/lib.sh"
seconds=${FUZZ_SECONDS:-$(full && echo 60 || echo 4)}
for fuzzer in "$TEST_TOP"/tests/fuzz/*.c; do
	name=$(basename "$fuzzer" .c)
	learnt=$TEST_O/fuzz/corpus/$name
	mkdir -p "$learnt"
	step "$name"
	"$TEST_O/fuzz/$name" -max_total_time="$seconds" -seed="${FUZZ_SEED:-1}" -max_len=65536 -timeout=10 -rss_limit_mb=1024 \
		-artifact_prefix="$TEST_O/fuzz/$name-" -print_final_stats=1 -verbosity=0 \
		"$learnt" "$TEST_TOP/tests/fuzz/corpus/$name" 2>&1 | tail -n 60 ||
		fail "$name found something; the input is $TEST_O/fuzz/$name-*"
done
