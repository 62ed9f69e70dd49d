# SPDX-License-Identifier: GPL-2.0
# dip_reasons.h -> a table for people
BEGIN {
	print "# Why a packet met its fate\n"
	print "`netctl stats` counts these reasons on every node; `netctl explain` names one.\n"
	print "| reason | verdict | meaning |"
	print "|---|---|---|"
}
match($0, /^\tR\(/) {
	line = substr($0, RLENGTH + 1)
	split(line, field, /,[ \t]*/)
	text = line
	sub(/^[^"]*"/, "", text)
	sub(/"\).*/, "", text)
	printf "| `%s` | %s | %s |\n", field[1], field[2], text
}
