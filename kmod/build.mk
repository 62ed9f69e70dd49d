# SPDX-License-Identifier: GPL-2.0
# The kernel modules, built against $(KDIR) below $(O)/kmod: the kernel's build writes beside its sources,
# so there they are links.
KMODS := ssi_core
KMOD_SRC := kmod/Kbuild $(wildcard kmod/*/*.[ch])
KMOD_DIR := $(abspath $(O))/kmod
KMOD_KO := $(KMODS:%=$(O)/kmod/%.ko)
ALL += $(KMOD_KO)
LINT += kmod-lint

# Our O, V and W are not the kernel's.
KMOD_MAKE = env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u V -u W make -j$(JOBS) -C $(KDIR) M=$(KMOD_DIR) SSI_TOP=$(CURDIR) W=1 $(if $(filter 1,$(V)),V=1,-s) \
	$(if $(filter error,$(W)),KCFLAGS=-Werror)

$(KMOD_KO) &: $(KMOD_SRC) $(wildcard include/uapi/ssi/*.h include/ssi/*.h) $(O)/flags
	$(call say,KMOD,$(KMODS))
	$(Q)for f in $(KMOD_SRC); do mkdir -p $(KMOD_DIR)/$$(dirname $${f#kmod/}) && \
		ln -sfn $(CURDIR)/$$f $(KMOD_DIR)/$${f#kmod/}; done
	+$(Q)$(KMOD_MAKE) modules
	@touch $(KMOD_KO)

# Out of the tree, into the kernel that it was built for; depmod is run by scripts/install.
KMOD_VERSION = $(file <$(KDIR)/include/config/kernel.release)
INSTALL_OTHER += $(foreach k,$(KMODS),0644:$(O)/kmod/$k.ko:/usr/lib/modules/$(KMOD_VERSION)/updates/$k.ko)

# What sparse has to say of the modules: nothing.
.PHONY: kmod-lint
kmod-lint: $(KMOD_KO)
	$(Q)out=$$($(KMOD_MAKE) C=2 CF=-D__CHECK_ENDIAN__ CHECK=sparse modules 2>&1 | grep -E '(warning|error):' || :); \
		[ -z "$$out" ] || { echo "$$out" >&2; exit 1; }
