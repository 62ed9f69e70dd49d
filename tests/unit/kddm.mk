# SPDX-License-Identifier: GPL-2.0
$(call prog,kddm_node,tests/unit/kddm_node.c tests/unit/kddm_node_main.c userland/lib/log.c,$(O)/lib/kddm.a $(KDDM_LIBS))
comma := ,
KDDM_TEST_LIBS := $(O)/asan/kddm.a $(KDDM_LIBS)
$(call gtest,kddm_set_test,tests/unit/kddm_set_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_fsm_test,tests/unit/kddm_fsm_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_lease_test,tests/unit/kddm_lease_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,keys_test,tests/unit/keys_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_cluster_test,tests/unit/kddm_cluster_test.cc tests/unit/kddm_node.c userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_core_test,tests/unit/kddm_core_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_sim_test,tests/unit/kddm_sim_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_message_test,tests/unit/kddm_message_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,member_raft_test,tests/unit/member_raft_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS) -Wl$(comma)-z$(comma)muldefs -Wl$(comma)--wrap=clock_gettime)
$(call gtest,secure_stream_test,tests/unit/secure_stream_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
$(call gtest,kddm_history_test,tests/unit/kddm_history_test.cc,$(KDDM_TEST_LIBS))
$(call gtest,kddm_tell_test,tests/unit/kddm_tell_test.cc userland/lib/log.c,$(KDDM_TEST_LIBS))
# The simulation plays the machine: its functions come before those of libuv, libraft and netd.
WORLD_SRCS := $(addprefix tests/unit/,kddm_world_loop.cc kddm_world_net.cc kddm_world_letters.cc kddm_world_disk.cc kddm_world_run.cc kddm_world_faults.cc kddm_world_test.cc) userland/lib/log.c
WORLD_LIBS := $(KDDM_TEST_LIBS) -Wl,-z,muldefs -Wl,--wrap=clock_gettime -Wl,--wrap=kddm_apply
$(call gtest,kddm_world_test,$(WORLD_SRCS),$(WORLD_LIBS))
# It must find bugs in the engine: the same with a changed source. $(call world_mutant,NAME,SOURCE,WHAT,SED)
define world_mutant_rules
$(O)/mutant/$1.c: userland/netd/$2 tests/unit/kddm.mk
	@mkdir -p $$(@D)
	@! sed '$4' $$< | cmp -s - $$< || { echo '$$<: nothing to change for $1' >&2; exit 1; }
	@{ printf '%s\n' '#include <stdint.h>' 'uint64_t world_mutant_now(void);' 'extern const char *world_mutant;' \
		'const char *world_mutant = "$3";'; sed '$4' $$<; } >$$@
$(O)/asan/$(O)/mutant/$1.o: CPPFLAGS += -Iuserland/netd
$(call gtest,kddm_world_$1_test,$(WORLD_SRCS) $(O)/mutant/$1.c,$(WORLD_LIBS))
endef
world_mutant = $(eval $(call world_mutant_rules,$1,$2,$3,$4))
$(call world_mutant,received,lease.c,leases counted from when they arrive,s/uint64_t expiry = g->sent_ns +/uint64_t expiry = world_mutant_now() +/)
$(call world_mutant,twice,kddm_fsm.c,requests are not known again,s/known = outcomes_find(o$(comma) req->seq)/known = NULL/;s/if (req->seq < o->low)/if (0)/)
