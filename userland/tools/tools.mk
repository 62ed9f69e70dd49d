# SPDX-License-Identifier: GPL-2.0
netctl_commands := $(sort $(wildcard userland/tools/cmd_*.c))
netctl_rest := $(addprefix userland/tools/netctl_,args.c help.c talk.c values.c) userland/tools/core_module.c

# A library, so that the unit tests have the table of commands, too.
$(call lib,netctl,$(netctl_commands) $(netctl_rest))
$(call prog,netctl,userland/tools/netctl.c,$(O)/lib/netctl.a $(O)/lib/ssi.a -ljansson)
INSTALL_BIN += $(O)/bin/netctl
INSTALL_COMPLETION += $(addprefix userland/tools/completion/,netctl ssi-run netd)
INSTALL_MAN += $(addprefix docs/man/,netctl.8 netd.8 netd.conf.5 ssi-run.1)
