# SPDX-License-Identifier: GPL-2.0
# The two ends of the guests' exec channel, static: one runs in any guest, the other on any host.
$(call prog_static,vm-agent,tests/vm/agent.c)
$(call prog_static,vmexec,tests/vm/vmexec.c)
