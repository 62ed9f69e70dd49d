# SPDX-License-Identifier: GPL-2.0
# What takes hours: seeded, and resumed where it was interrupted.
FULL_TESTS += $(addprefix tests/full/,headers.sh simulation.sh)
# What does more when it is for `check-full` (FULL=1, tests/lib.sh).
FULL_NET_TESTS += $(addprefix tests/net/,49-versions.sh 56-refused.sh 57-drain.sh 58-checkpoint.sh 75-linear.sh 81-power-cut.sh)
# What `check` has no time for.
FULL_NET_TESTS += $(addprefix tests/net/,28-interfaces.sh 29-networkd.sh 47-recover-both.sh 54-move-races.sh 71-disk-log.sh 72-disk-fills.sh 82-many-nodes.sh)
# Long-lived clients through every change.
FULL_NET_TESTS += tests/net/85-unbroken.sh
# With packages of their own.
FULL_NET_TESTS += $(addprefix tests/net/,29-networkmanager.sh 29-firewalld.sh)
FULL_FUZZ_TESTS += tests/fuzz/run.sh
