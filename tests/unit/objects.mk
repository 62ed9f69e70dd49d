# SPDX-License-Identifier: GPL-2.0
$(call gtest,objects_test,tests/unit/objects_test.cc userland/netd/objects.c userland/netd/nodes.c \
	$(wildcard userland/netd/kddm.c userland/netd/kddm_fsm.c userland/netd/kddm_op.c \
	userland/netd/kddm_set.c userland/netd/kddm_snapshot.c),$(O)/asan/ssi.a -ljansson)
