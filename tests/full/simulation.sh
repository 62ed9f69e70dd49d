#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 14400
# Thousands of random schedules of the simulation (tests/unit/kddm_world.h): SCHEDULES of them (5000) from
# SEED (1000) on. A run that was interrupted goes on where it was; SEED=N begins elsewhere.
. "${TEST_TOP:?}/tests/lib.sh"
first=${SEED:-1000} count=${SCHEDULES:-5000} step=50
state=$TEST_O/full/simulation
mkdir -p "${state%/*}"
read -r was next 2>/dev/null <"$state" || was='' next=''
[ "$was" = "$first+$count" ] || next=$first
end=$((first + count))
echo "seeds $next to $((end - 1))"
while [ "$next" -lt $end ]; do
	WORLD_SEEDS=$next-$((next + step - 1)) "$TEST_O/tests/kddm_world_test" \
		--gtest_filter='*RandomSchedules' >"$state.log" 2>&1 ||
		{ tail -n 40 "$state.log"; fail "a schedule failed, see $state.log for its seed"; }
	next=$((next + step))
	echo "$first+$count $next" >"$state"
	echo "schedules done: $((next - first)) of $count"
done
rm -f "$state"
