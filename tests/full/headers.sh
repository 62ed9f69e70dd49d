#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# timeout: 900
# The modules build without a warning against the newest kernel headers that Debian has for this release. They come
# into a layer over the tree that ends with the build.
. "${TEST_TOP:?}/tests/lib.sh"

build()
{
	local mirror kdir work
	mirror=$(sed -n 's/^deb \(\S*\) trixie main.*/\1/p' /etc/apt/sources.list | head -n 1)
	echo "deb $mirror trixie-backports main" >/etc/apt/sources.list.d/backports.list
	{ apt-get -qq update && apt-get -qq install -y --no-install-recommends -t trixie-backports linux-headers-amd64; } \
		>/dev/null 2>&1 || skip "trixie-backports from a mirror"
	kdir=$(printf '%s\n' /lib/modules/*/build | sort -V | tail -n 1)
	step "$kdir"
	work=$(mktemp -d)
	cp -r "$TEST_TOP/kmod" "$TEST_TOP/include" "$work"
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u V -u W make -s -C "$kdir" M="$work/kmod" SSI_TOP="$work" \
		W=1 KCFLAGS=-Werror modules
}

case ${1-} in
.build) build ;;
*) exec "$TEST_TOP/scripts/tree" run "$0" .build ;;
esac
