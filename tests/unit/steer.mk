# SPDX-License-Identifier: GPL-2.0
# The steering decision: in plain memory without root, and the loaded programs as root.

$(call gtest,steer_test,tests/unit/steer_test.cc tests/unit/steer_vectors.cc,$(O)/asan/ssi.a)
$(call gtest,steer_tables_test,tests/unit/steer_tables_test.cc tests/unit/steer_vectors.cc,$(O)/asan/ssi.a)

# A gtest that needs root: built by `make all`, run by check-net.
define steer_root_test
ALL += $(O)/tests/$1
NET_TESTS += $(O)/tests/$1
DEPFILES += $(patsubst %.o,%.d,$(call objs,asan,$2))
$(O)/tests/$1: $(call objs,asan,$2) $(O)/asan/ssi.a
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CXX) $$(LDFLAGS) $$(SANITIZE) -o $$@ $$^ -lgtest -lgtest_main -lpthread -lbpf -lelf -lz
endef
$(eval $(call steer_root_test,steer_bpf_test,tests/unit/steer_bpf_test.cc tests/unit/steer_vectors.cc))
$(eval $(call steer_root_test,steer_hooks_test,tests/unit/steer_hooks_test.cc))
$(eval $(call steer_root_test,steer_path_test,tests/unit/steer_path_test.cc tests/unit/steer_vectors.cc))
