# SPDX-License-Identifier: GPL-2.0
# What the tests in namespaces are made of; the scripts run in the order of their names.
$(call prog_static,nsrun,tests/net/nsrun.c,)
$(call prog_static,count-client,tests/net/count_client.c,)
$(call prog_static,count-udp,tests/net/count_udp.c,)
$(call prog_static,rawsend,tests/net/rawsend.c,)
$(call prog_static,held,tests/net/held.c,)
$(call prog_static,socket-calls,tests/net/socket_calls.c,)
$(call prog,filter_hold,tests/net/filter_hold.c userland/lib/log.c,$(O)/lib/kddm.a $(KDDM_LIBS))

NET_TESTS += $(addprefix tests/net/,05-cluster.sh 10-form.sh 11-bad-input.sh 12-netctl.sh 13-json.sh 15-see.sh 16-metrics.sh 20-vip.sh 21-repair.sh 22-refusal.sh 23-bridge.sh 24-taken.sh 25-ipv6.sh 26-source-ports.sh \
	30-redis.sh 33-local.sh 34-pin.sh 35-race.sh 36-many.sh 36-open.sh 39-late.sh 40-netd-restart.sh 41-node-death.sh 42-fence.sh 43-leave.sh 44-cleanup.sh 50-move.sh 51-supervisor.sh 52-move-faults.sh 53-udp.sh \
	60-malformed.sh 61-hostile.sh)
# Both families, several interfaces, a small MTU
NET_TESTS += $(addprefix tests/net/,27-mtu.sh 29-only-ipv6.sh 55-move-ipv6.sh)
# Pinned claims, connections that applications open
NET_TESTS += $(addprefix tests/net/,37-pins.sh 55-calls-move.sh)
# What is refused before a move; a node without applications; checkpoints
NET_TESTS += $(addprefix tests/net/,56-refused.sh 57-drain.sh 58-checkpoint.sh)
FULL_NET_TESTS += tests/net/59-freeze.sh
FULL_NET_TESTS += tests/net/14-unit.sh
# Real programs
FULL_NET_TESTS += $(addprefix tests/net/,59-programs.sh 59-java.sh 59-session.sh 59-move-matrix.sh)
# What is closed when a move begins; what sockets have
FULL_NET_TESTS += tests/net/59-options.sh
NET_TESTS += tests/net/59-closed.sh
# What programs see, against one plain machine; what they call over IPv6 moves with them
FULL_NET_TESTS += tests/net/26-moved-ports.sh tests/net/32-calls.sh tests/net/55-calls-move-ipv6.sh
# Firewalls, network managers
NET_TESTS += $(addprefix tests/net/,29-firewall.sh)
include tests/net/member.mk
# Keys, filters, strangers
NET_TESTS += $(addprefix tests/net/,62-filter.sh 62-rotate.sh 62-strangers.sh 62-control.sh 62-clear.sh)
FULL_NET_TESTS += tests/net/62-clear.sh tests/net/63-copy.sh
include tests/linear/linear.mk
# The disk
NET_TESTS += tests/net/70-disk-full.sh
# Linearizability
NET_TESTS += tests/net/75-linear.sh
# Directories that move
FULL_NET_TESTS += tests/net/59-data.sh
# What sockets have not given to their program
FULL_NET_TESTS += tests/net/59-queued.sh
FULL_NET_TESTS += tests/net/65-keep.sh
