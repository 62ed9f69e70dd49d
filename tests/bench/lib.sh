# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# For bench suites: a table on standard output and $O/bench/SUITE.json of the same rows.
#
#	bench_begin SUITE	reads O; prints the head
#	row NAME VALUE UNIT BASELINE-NAME BASELINE RATIO TARGET MET	TARGET and MET may be null
#	bench_end		writes the file
#	calc FORMAT EXPRESSION	holds CONDITION (true, false)	median VALUE...
#	die MESSAGE		what cannot be measured is an error
rows=''

die() { printf 'bench %s: error: %s\n' "$suite" "$*" >&2; exit 1; }

bench_begin()
{
	suite=$1
	json=$O/bench/$suite.json
	mkdir -p "$(dirname "$json")"
	printf '%-44s %12s %-9s %-34s %12s %8s\n' 'what' 'value' 'unit' 'against' 'value' 'ratio'
}

row()
{
	local target=$7 met=$8

	printf '%-44s %12s %-9s %-34s %12s %8s  %s\n' "$1" "$2" "$3" "$4" "$5" "$6" \
		"$([ "$target" = null ] || { [ "$met" = true ] && echo "met ($target)" || echo "MISSED ($target)"; })"
	rows+=$(printf '{"name":"%s","value":%s,"unit":"%s","baseline_name":"%s","baseline_value":%s,"ratio":%s,"target":%s,"met":%s}' "$@"),
}

bench_end()
{
	printf '{"suite":"%s","kernel":"%s","cpus":%s,"results":[%s]}\n' "$suite" "$(uname -r)" "$(nproc)" "${rows%,}" |
		jq . >"$json"
	echo "written: $json"
}

calc() { awk "BEGIN { printf \"$1\", $2 }"; }
holds() { awk "BEGIN { exit !($1) }" && echo true || echo false; }
median() { tr ' ' '\n' <<<"$*" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
