# SPDX-License-Identifier: GPL-2.0
# The steering decision: in plain memory without root, and the loaded programs as root.

$(call gtest,steer_test,tests/unit/steer_test.cc tests/unit/steer_vectors.cc,$(O)/asan/ssi.a)
$(call gtest,steer_tables_test,tests/unit/steer_tables_test.cc tests/unit/steer_vectors.cc,$(O)/asan/ssi.a)

STEER_BPF_OBJS := $(O)/asan/tests/unit/steer_bpf_test.o $(O)/asan/tests/unit/steer_vectors.o
DEPFILES += $(STEER_BPF_OBJS:.o=.d)
ALL += $(O)/tests/steer_bpf_test
NET_TESTS += $(O)/tests/steer_bpf_test
$(O)/tests/steer_bpf_test: $(STEER_BPF_OBJS) $(O)/asan/ssi.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) $(SANITIZE) -o $@ $^ -lgtest -lgtest_main -lpthread -lbpf -lelf -lz
