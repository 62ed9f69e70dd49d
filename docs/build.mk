# SPDX-License-Identifier: GPL-2.0
# The reasons of verdicts as a page, out of the one list that has them.
ALL += $(O)/docs/REASONS.md
INSTALL_OTHER += 0644:$(O)/docs/REASONS.md:$(prefix)/share/doc/netssi/REASONS.md
$(O)/docs/REASONS.md: include/ssi/dip_reasons.h docs/reasons.awk
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q)awk -f docs/reasons.awk $< >$@
