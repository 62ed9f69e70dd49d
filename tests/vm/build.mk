# SPDX-License-Identifier: GPL-2.0
# What the guests need, static: the two ends of the exec channel, and their network segment.
$(call prog_static,vm-agent,tests/vm/agent.c)
$(call prog_static,vmexec,tests/vm/vmexec.c)
$(call prog_static,vmswitch,tests/vm/switch.c)
$(call prog_static,tsc-khz,tests/vm/tsc_khz.c)
$(call prog_static,tipc_attack,tests/vm/tipc_attack.c,)
$(call prog_static,listen-try,tests/net/listen_try.c,)
VM_TESTS += $(addprefix tests/vm/,guests.sh member.sh secure.sh steps.sh)
FULL_VM_TESTS += $(addprefix tests/vm/,web.sh failure.sh precopy.sh service.sh moved.sh)

# The tests of the modules, run by scripts in a guest.
define guest_test
ALL += $(O)/tests/$1
DEPFILES += $(patsubst %.o,%.d,$(call objs,asan,$2))
$(O)/tests/$1: $(call objs,asan,$2) $(O)/asan/ssi.a
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CXX) $$(LDFLAGS) $$(SANITIZE) -o $$@ $$^ -lgtest -lgtest_main -lpthread -lmnl
endef
$(eval $(call guest_test,hold_test,tests/vm/hold_test.cc))
$(eval $(call guest_test,conn_test,tests/vm/conn_test.cc))
$(eval $(call guest_test,core_stress_test,tests/vm/core_stress_test.cc))
VM_TESTS += tests/vm/hold.sh
FULL_VM_TESTS += $(addprefix tests/vm/,listen.sh calls.sh module.sh conn.sh)
DEBUG_TESTS += $(addprefix tests/vm/,planted.sh stress.sh hold.sh listen.sh conn.sh)
