# SPDX-License-Identifier: GPL-2.0
$(call prog,kddm_node,tests/unit/kddm_node.c,$(O)/lib/kddm.a $(O)/lib/ssi.a $(KDDM_LIBS))
