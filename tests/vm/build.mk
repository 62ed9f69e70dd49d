# SPDX-License-Identifier: GPL-2.0
# What the guests need, static: the two ends of the exec channel, and their network segment.
$(call prog_static,vm-agent,tests/vm/agent.c)
$(call prog_static,vmexec,tests/vm/vmexec.c)
$(call prog_static,vmswitch,tests/vm/switch.c)
VM_TESTS += $(addprefix tests/vm/,guests.sh member.sh web.sh steps.sh)
