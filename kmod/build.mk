# SPDX-License-Identifier: GPL-2.0
# The kernel modules, built against $(KDIR) below $(O)/kmod: the kernel's build writes beside its sources,
# so there they are links.
KMODS := ssi_core
KMOD_SRC := kmod/Kbuild $(wildcard kmod/*/*.[ch])
KMOD_DIR := $(abspath $(O))/kmod
KMOD_KO := $(KMODS:%=$(O)/kmod/%.ko)
ALL += $(KMOD_KO)
LINT += kmod-lint

# Our O, V and W are not the kernel's. $1: the kernel's build folder, $2: ours.
kmod_make = env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u V -u W make -j$(JOBS) -C $1 M=$2 SSI_TOP=$(CURDIR) W=1 $(if $(filter 1,$(V)),V=1,-s) \
	$(if $(filter error,$(W)),KCFLAGS=-Werror)
KMOD_MAKE = $(call kmod_make,$(KDIR),$(KMOD_DIR))
kmod_links = for f in $(KMOD_SRC); do mkdir -p $1/$$(dirname $${f\#kmod/}) && ln -sfn $(CURDIR)/$$f $1/$${f\#kmod/}; done
KMOD_HEADERS := $(wildcard include/uapi/ssi/*.h include/ssi/*.h)

$(KMOD_KO) &: $(KMOD_SRC) $(KMOD_HEADERS) $(O)/flags
	$(call say,KMOD,$(KMODS))
	$(Q)$(call kmod_links,$(KMOD_DIR))
	+$(Q)$(KMOD_MAKE) modules
	@touch $(KMOD_KO)

# Out of the tree, into the kernel that it was built for; depmod is run by scripts/install.
KMOD_VERSION = $(file <$(KDIR)/include/config/kernel.release)
INSTALL_OTHER += $(foreach k,$(KMODS),0644:$(O)/kmod/$k.ko:/usr/lib/modules/$(KMOD_VERSION)/updates/$k.ko)

# The same for the kernel of check-debug, and the staged installation with it.
DEBUG := $(abspath $(O))/debug-kernel
.PHONY: debug-kernel debug-stage
debug-kernel:
	@scripts/debug-kernel $(DEBUG)
$(DEBUG)/stamp: debug-kernel ;
$(DEBUG)/kmod/ssi_core.ko: $(KMOD_SRC) $(KMOD_HEADERS) $(DEBUG)/stamp
	$(call say,KMOD,$(KMODS) for the debug kernel)
	$(Q)$(call kmod_links,$(DEBUG)/kmod)
	+$(Q)$(call kmod_make,$(DEBUG)/build,$(DEBUG)/kmod) modules
	@touch $@
debug-stage: stage $(DEBUG)/kmod/ssi_core.ko
	$(Q)dir=$(DEBUG)/stage/usr/lib/modules/$$(cat $(DEBUG)/release); rm -rf $(DEBUG)/stage && cp -a $(O)/stage $(DEBUG)/stage && \
		rm -rf $(DEBUG)/stage/usr/lib/modules && mkdir -p $$dir/updates && cp $(KMOD_KO:$(O)/kmod/%=$(DEBUG)/kmod/%) $$dir/updates && \
		cp $(DEBUG)/build/modules.builtin $(DEBUG)/build/modules.builtin.modinfo $$dir && : >$$dir/modules.order && \
		depmod -b $(DEBUG)/stage/usr $$(cat $(DEBUG)/release)

# What sparse has to say of the modules: nothing.
.PHONY: kmod-lint
kmod-lint: $(KMOD_KO)
	$(Q)out=$$($(KMOD_MAKE) C=2 CF=-D__CHECK_ENDIAN__ CHECK=sparse modules 2>&1 | grep -E '(warning|error):' || :); \
		[ -z "$$out" ] || { echo "$$out" >&2; exit 1; }
