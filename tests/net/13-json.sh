#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Scripts rely on the keys of `netctl -j`: netctl(8) names each key that is printed, and nothing else.
. "${TEST_TOP:?}/tests/net/lib.sh"
cluster_up
cluster_vip
tmpdir

# KEY lines of a command's "Fields:" in the manual page, with their parent: "checks.what". A key whose parenthesis
# says "only" gets a '?', it need not be there. `watch` has a list for each kind of event.
documented()
{
	awk -v want="$1" -v kind="${2-}" '
	/^\.It Cm / { n = split($0, w, " "); name = w[3]; on = name == want }
	on && /^Fields:/ { take = 1 }
	/^\.(It|El|Ss|Sh|Pp)/ { take = 0 }
	take && /^\.Cm/ { text = text " =" $2 $3; next }
	take && /^\.Fl/ { next }
	take { sub(/^Fields:/, ""); text = text " " $0 }
	END {
		if (kind != "") {
			start = match(text, "with " kind "( \\([^)]*\\))?: ")
			if (!start) exit
			text = substr(text, RSTART + RLENGTH)
			sub(/; with.*/, "", text)
		}
		sub(/\. .*/, "", text)
		while (match(text, /\([^()]*\)/)) {
			inner = substr(text, RSTART + 1, RLENGTH - 2)
			before = substr(text, 1, RSTART - 1)
			rest = substr(text, RSTART + RLENGTH)
			sub(/ +$/, "", before)
			parent = before
			sub(/.*[ ,]/, "", parent)
			if (inner ~ /^of .*,/) {
				sub(/^of /, "", inner)
				only = inner ~ /only/
				sub(/:.*/, "", inner)
				m = split(inner, part, /, */)
				for (i = 1; i <= m; i++)
					print parent "." part[i] (only && i == m ? "?" : "")
				text = before rest
			} else {
				text = before (inner ~ /only|^or / ? "?" : "") rest
			}
		}
		m = split(text, part, /[,.;] *| and /)
		for (i = 1; i <= m; i++) {
			gsub(/^ +| +$/, "", part[i])
			if (part[i] ~ /^(=|those of =)/) continue
			if (part[i] ~ /^[a-z_0-9]+\??$/) print part[i]
		}
	}' "$TEST_TOP/docs/man/netctl.8" | sort -u
}

# The keys of all objects, and of the objects in them.
printed()
{
	jq -r '.[] | to_entries[] | .key as $k | $k, (.value |
		if type == "object" then keys[] | "\($k).\(.)"
		elif type == "array" then .[] | objects | keys[] | "\($k).\(.)" else empty end)' | sort -u
}

# same WHAT <JSON: netctl(8) and the printed keys agree; keys in $2 belong to another list.
same()
{
	local what=$1 kind=${2-} more=${3-}
	printed >"$TMP/printed"
	{ documented "$what" "$kind"; [ -z "$more" ] || documented "$more" | grep -v '[.]'; } | sort -u >"$TMP/documented"
	[ -s "$TMP/documented" ] || fail "netctl(8) has no fields of $what $kind"
	[ -s "$TMP/printed" ] || fail "nothing was printed by $what $kind"
	undocumented=$(grep -vxF -f <(tr -d '?' <"$TMP/documented") "$TMP/printed" || :)
	assert_eq "$(echo $undocumented)" "" "$what $kind prints what netctl(8) does not have"
	# A list that is empty has no keys.
	empty=$(sed -n 's/?$//; s/[.].*//p' "$TMP/documented" | sort -u |
		while read -r list; do grep -q "^${list}[.]" "$TMP/printed" || echo "^${list}[.]"; done)
	missing=$(grep -v '?$' "$TMP/documented" | grep -vxF -f "$TMP/printed" | grep -v "${empty:-^$}" || :)
	assert_eq "$(echo $missing)" "" "netctl(8) has of $what $kind what is not printed"
}

step "lists"
redis n2
wait_get n1 "ports :6379" '.[0].state' owned
for what in status nodes vips ports apps sets stats version check help; do
	on n1 netctl $what -j | same $what
done
on n1 netctl explain 10.77.0.250 $VIP:6379 -j | same explain
on n1 netctl token -j | same token

step "a move, its record, and a connection that the server has closed"
on client bash -c 'exec 3<>/dev/tcp/$0/6379; echo QUIT >&3; cat <&3' $VIP | has OK
on n1 sh -c 'netctl watch -j >/tmp/watch.json & echo $! >/tmp/watch.pid'
event() { on n1 jq -se "any(.[]; $1)" /tmp/watch.json >/dev/null; }
{ on n2 netctl migrate redis-server n3 --dry-run -j; on n2 netctl migrate redis-server n3 -j; } |
	jq -s 'add' | same migrate
on n1 netctl flows -j | same flows
# netctl moves prints what the events of a move have; a record is gone before one can look.
wait_for "the events of a move" 10 event '.kind == "move" and .step == "flipped"'
on n1 jq -s '[.[] | select(.kind == "move") | del(.seq, .time, .kind)]' /tmp/watch.json | same moves
on n1 netctl logs redis-server -j | same logs

step "events"
on n1 netctl vip add 10.77.0.101/24
on n2 netctl vip del 10.77.0.101
on n3 netctl signal redis-server TERM
on n2 netctl leave
for kind in node vip port app app-removed; do
	wait_for "an event of kind $kind" 10 event ".kind == \"$kind\""
	more=''
	case $kind in app | port) more=${kind}s ;; esac
	on n1 jq -s "[.[] | select(.kind == \"$kind\") | del(.seq, .time, .kind)]" /tmp/watch.json | same watch $kind $more
done
on n3 sh -c 'netctl watch -j --since 0 >/tmp/watch.json & echo $! >/tmp/watch.pid'
told() { on n3 jq -se "any(.[]; .kind == \"$1\")" /tmp/watch.json >/dev/null; }
for kind in app-exited status lost; do
	wait_for "an event of kind $kind" 5 told $kind
	on n3 jq -s "[.[] | select(.kind == \"$kind\") | del(.seq, .time, .kind)]" /tmp/watch.json | same watch $kind
done
wait_get n1 nodes length 2
on n1 netctl status -j | same status
grep -q problems.remedy "$TMP/printed" || fail "two nodes are no problem?"
