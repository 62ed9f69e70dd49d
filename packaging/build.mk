# SPDX-License-Identifier: GPL-2.0
UNITS := $(O)/units/netd.service $(O)/units/netssi-drain.service packaging/systemd/ssi.slice
$(O)/units/%: packaging/systemd/%.in $(O)/prefix
	@mkdir -p $(@D)
	$(Q)sed 's|@prefix@|$(prefix)|g' $< >$@
ifneq ($(prefix),$(strip $(file <$(O)/prefix)))
$(shell mkdir -p $(O))
$(file >$(O)/prefix,$(prefix))
endif
$(O)/prefix: ;

INSTALL_UNITS += $(UNITS)
INSTALL_OTHER += 0644:packaging/netssi.modules.conf:$(prefix)/lib/modules-load.d/netssi.conf
INSTALL_OTHER += 0644:packaging/netssi.sysusers.conf:$(prefix)/lib/sysusers.d/netssi.conf
# firewalld looks in /usr/lib and /etc, whatever the prefix.
INSTALL_OTHER += 0644:packaging/firewalld/netssi.xml:/usr/lib/firewalld/services/netssi.xml
