# SPDX-License-Identifier: GPL-2.0
$(call prog,kddm_node,tests/unit/kddm_node.c tests/unit/kddm_node_main.c userland/lib/log.c,$(O)/lib/kddm.a $(KDDM_LIBS))
KDDM_TEST_LIBS := $(O)/asan/kddm.a $(KDDM_LIBS)
$(call gtest,kddm_set_test,tests/unit/kddm_set_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_fsm_test,tests/unit/kddm_fsm_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_lease_test,tests/unit/kddm_lease_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_cluster_test,tests/unit/kddm_cluster_test.cc tests/unit/kddm_node.c userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_sim_test,tests/unit/kddm_sim_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
