# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# For test scripts: . "${TEST_TOP:?}/tests/lib.sh"
#
#	assert CMD...			fails unless CMD succeeds
#	assert_fails STATUS CMD...	fails unless CMD ends with STATUS
#	assert_eq GOT WANTED [WHAT]	fails with both values
#	assert_match STRING REGEX [WHAT]
#	CMD | has GREP-ARGUMENTS	succeeds if the output has such a line
#	wait_for WHAT SECONDS CMD...	runs CMD again and again until it succeeds; SECONDS are enough on an idle
#					machine, on a loaded one it is SLACK (5) times as long before it fails
#	fail MESSAGE			prints the message and the place, ends the test
#	skip WHAT			ends the test as skipped; WHAT names the missing prerequisite
#	full				succeeds in `make check-full`, where a test is to have its full size
#	need PROGRAM...			skips without them
#	layer PACKAGE...		lays what only `make check-full` uses (mk/packages.txt) over the tree of the
#					nodes that are made afterwards
#	step MESSAGE			a headline in the log
#	at_exit CMD			runs CMD when the test ends, the latest first
#	tmpdir				a directory of the test's own, removed at its end, in $TMP
#
# The script stops at the first failing command; the place is printed.
set -euo pipefail

TEST_NAME=$(basename "$0" .sh)
TEST_TOP=${TEST_TOP:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
TEST_O=${O:-build}
case $TEST_O in /*) ;; *) TEST_O=$TEST_TOP/$TEST_O ;; esac
PATH=$TEST_O/bin:$PATH
_at_exit=()
_said=''

_place()
{
	local i
	for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
		[ "${BASH_SOURCE[i]}" = "${BASH_SOURCE[0]}" ] && continue
		echo "${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}"
		return
	done
}

_ended()
{
	local rc=$? command=$BASH_COMMAND i
	trap - EXIT ERR
	# Within a function a command that fails ends the script unnamed: ERR is not inherited, or its words would
	# stand in what tests capture.
	case $rc in 0 | 77 | 130) ;; *) [ -n "$_said" ] || echo "FAIL near $(_place): '$command' ended with $rc" >&2 ;; esac
	set +e
	for ((i = ${#_at_exit[@]} - 1; i >= 0; i--)); do
		eval "${_at_exit[i]}"
	done
	exit $rc
}

fail() { _said=1; echo "FAIL $(_place): $*" >&2; exit 1; }
skip() { echo "needs $*"; exit 77; }
step() { echo "== $*"; }
full() { [ "${FULL-}" = 1 ]; }
at_exit() { _at_exit+=("$*"); }

need()
{
	local program
	for program; do
		command -v "$program" >/dev/null || skip "the program $program"
	done
}

# What apt-get changes is what is newer than its beginning: / is a layer of memory, and seldom written otherwise.
layer()
{
	local package dir=$TEST_O/layer/$* log=$TEST_O/log/layer.log
	export LAYER=${dir// /+}
	[ ! "$LAYER" -nt /.netssi-tree ] || return 0
	for package; do
		grep -Eq "^${package}[[:space:]]+full[[:space:]]" "$TEST_TOP/mk/packages.txt" || fail "mk/packages.txt has no $package"
	done
	rm -rf --one-file-system "$LAYER" "$LAYER.new"
	# the tree has no manual pages, and packages that link theirs fail without the directory
	mkdir -p "$LAYER.new" "${log%/*}" /usr/share/man/man1
	touch "$LAYER.begin"
	{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } >"$log" 2>&1 ||
		fail "apt-get could not install $*, see $log; is there a network?"
	(cd / && find etc usr var -xdev \( -path var/cache/apt -o -path var/lib/apt \) -prune -o -cnewer "$LAYER.begin" -print0) |
		tar -C / -c --null --no-recursion -T - | tar -x -C "$LAYER.new"
	mv "$LAYER.new" "$LAYER"
	touch "$LAYER" && rm "$LAYER.begin"
}

tmpdir()
{
	TMP=$(mktemp -d)
	at_exit "rm -rf --one-file-system '$TMP'"
}

assert() { "$@" || fail "'$*' ended with $?"; }

assert_fails()
{
	local want=$1 rc=0
	shift
	"$@" || rc=$?
	[ "$rc" = "$want" ] || fail "'$*' ended with $rc, not with $want"
}

assert_eq() { [ "$1" = "$2" ] || fail "${3:-value}: got '$1', wanted '$2'"; }

assert_match() { [[ $1 =~ $2 ]] || fail "${3:-value}: '$1' does not match '$2'"; }

# Reads to the end, where grep -q would leave CMD to be killed by SIGPIPE: a failure under pipefail.
has() { [ "$(grep -c "$@")" != 0 ]; }

wait_for()
{
	local what=$1 seconds=$(($2 * ${SLACK:-5})) deadline
	deadline=$((${EPOCHREALTIME//[!0-9]/} + seconds * 1000000))
	shift 2
	until "$@"; do
		[ "${EPOCHREALTIME//[!0-9]/}" -lt $deadline ] || fail "not within $seconds s: $what"
		sleep 0.05
	done
}

_failed() { _said=1; echo "FAIL $(_place): '$2' ended with $1" >&2; }

trap _ended EXIT
trap '_failed $? "$BASH_COMMAND"' ERR
trap 'exit 130' INT TERM HUP
