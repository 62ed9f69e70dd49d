# SPDX-License-Identifier: GPL-2.0
#
# netssi: one network identity for a cluster of Linux machines. `make help` lists the targets.
#
# Everything is built inside a Debian 13 tree (build/tree, see scripts/tree): outside of it, make
# makes the tree (root) and runs itself inside. A Debian 13 machine with all build packages of
# mk/packages.txt builds `all` and `install` natively. All that is generated lies under $(O).
#
# There is one make; every directory adds a fragment DIR/build.mk that may use:
#
#   $(call prog,NAME,SRCS,LIBS)		program $(O)/bin/NAME from C files; LIBS: -lfoo or $(O)/lib/foo.a
#   $(call prog_static,NAME,SRCS,LIBS)	the same, linked statically
#   $(call lib,NAME,SRCS)		static library $(O)/lib/NAME.a
#   $(call bpf_obj,SRC.bpf.c)		$(O)/bpf/SRC.bpf.o and the skeleton $(O)/bpf/SRC.skel.h
#					(in C: #include "SRC.skel.h"); skeletons are made before any C object
#   $(call gtest,NAME,SRCS,LIBS)	unit test $(O)/tests/NAME from .c and .cc files, with ASan and
#					UBSan and gtest's main; adds itself to UNIT_TESTS. A LIBS archive
#					$(O)/asan/NAME.a is the instrumented twin of $(O)/lib/NAME.a
#
# Paths in the calls are relative to the top. Headers are found from the top, include/,
# include/uapi/, and $(O)/bpf; header dependencies are automatic. More flags for one object:
#   $(O)/obj/userland/netd/foo.o: CFLAGS += -DBAR
#
# Lists that fragments append to (+=):
#   ALL						more targets of `make all` (prog and lib add themselves)
#   INSTALL_BIN INSTALL_SBIN INSTALL_LIBEXEC	files that go to $(prefix)/bin, sbin, libexec/netssi
#   INSTALL_UNITS INSTALL_MAN INSTALL_COMPLETION	units, man pages (name.8), bash completions
#   INSTALL_OTHER				MODE:FILE:DESTINATION for what fits nowhere above
#   INSTALL_LINKS				TARGET:DESTINATION, symbolic links
#   NET_TESTS VM_TESTS DEBUG_TESTS		test scripts, run by `check-net`, `check-vm`, `check-debug`
#   BENCH_SUITES				names; `make bench SUITE=x` runs the executable tests/bench/x
#   LINT					more targets of `make lint`

O ?= build
override O := $(patsubst %/,%,$(O))
TREE ?= build/tree
V ?= 0
W ?= $(if $(CI),error)
prefix ?= /usr/local
DESTDIR ?=
SUITE ?=
JOBS ?= $(shell nproc)

MAKEFLAGS += --no-builtin-rules --no-builtin-variables --no-print-directory
SHELL := /bin/bash
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
Q := $(if $(filter 1,$(V)),,@)

CHECKS := check check-full check-unit check-fuzz check-net check-vm check-debug
HOST_GOALS := help deps tree clean distclean install uninstall
GOALS := $(or $(MAKECMDGOALS),all)

.PHONY: all $(HOST_GOALS) $(CHECKS) demo bench lint format manifest stage

# ---- where we are: in the tree, on a machine that is as good, or outside ------------------------
INSIDE := $(wildcard /.netssi-tree)
ifeq ($(INSIDE),)
ifeq ($(filter-out all install uninstall,$(GOALS)),)
INSIDE := $(shell scripts/native ready 2>/dev/null && echo native)
endif
endif

help:
	@echo 'make                 build everything'
	@echo 'sudo make demo       the main job on guests: one IP, a real server, a live move (KEEP=1 leaves it up)'
	@echo 'sudo make check      one representative of every test, lint included, under 25 minutes'
	@echo 'sudo make check-full that, and what takes hours: thousands of simulated schedules (SEED=N SCHEDULES=N), resumed'
	@echo 'make check-unit      unit tests, without root, seconds'
	@echo 'sudo make check-net  cluster in network namespaces on the running kernel'
	@echo 'sudo make check-vm   cluster of guests on the stock Debian 13 kernel'
	@echo 'sudo make check-debug the module on a kernel that finds its faults (KASAN, lockdep, kmemleak), built on the first call'
	@echo 'make check-fuzz      fuzzers of what comes from peers, programs and disks (FUZZ_SECONDS=4 each)'
	@echo 'sudo make bench      benchmarks; SUITE=NAME for one of: steer kddm dip migrate stream ipc'
	@echo 'make lint            format, static checks, dependency arrows; make format FILES="..." mends the format'
	@echo 'sudo make deps       install the packages that a machine of a cluster builds and runs with (Debian 13)'
	@echo 'sudo make install    install under DESTDIR and prefix ($(prefix)); uninstall removes it again'
	@echo 'sudo make tree       only make or refresh the Debian 13 tree ($(TREE))'
	@echo 'make clean           remove what was built, keep the tree; distclean removes both'
	@echo
	@echo 'V=1 shows commands and all test output; O=DIR builds elsewhere; TESTS="a b" runs just these tests;'
	@echo 'KDIR=DIR names the kernel headers; W=error turns warnings into errors'

deps:
	@scripts/native install

tree:
	@TREE='$(TREE)' scripts/tree build

clean:
	$(Q)! [ -d $(O)/vm ] || [ ! -x tests/vm/cluster ] || VMDIR=$(O)/vm tests/vm/cluster down --quiet
	$(Q)[ ! -d $(O) ] || find $(O) -mindepth 1 -maxdepth 1 ! -name 'tree*' ! -name 'o-*' -exec rm -rf --one-file-system {} +

distclean: clean
	$(Q)rm -rf --one-file-system $(TREE) $(TREE).* $(O)

# ---- outside: forward every other goal into the tree --------------------------------------------
ifeq ($(INSIDE),)

FORWARD := $(filter-out $(HOST_GOALS),$(GOALS)) $(if $(filter install uninstall,$(GOALS)),manifest)
FORWARD := $(sort $(FORWARD))
letters := $(filter-out --%,$(firstword -$(MAKEFLAGS)))
flags := $(foreach f,k n s B,$(if $(findstring $f,$(letters)),-$f))
outside = $(filter-out $(CURDIR)/%,$(filter /%,$(abspath $(O)) $(abspath $(TREE)) $(KDIR)))

.PHONY: forward $(FORWARD)
$(filter-out manifest,$(FORWARD)): forward ; @:
manifest: forward ; @:
forward: tree
	+@unset MAKEFLAGS MFLAGS MAKELEVEL; TREE='$(TREE)' scripts/tree run $(outside:%=--bind %) \
		make --no-print-directory -j$(JOBS) $(flags) $(MAKEOVERRIDES) $(FORWARD); rc=$$?; \
		scripts/give-back $(O); exit $$rc

else # ---- inside: the real rules ----------------------------------------------------------------

CC := gcc
CXX := g++
AR := gcc-ar
CLANG := clang
BPFTOOL := $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)

WARN := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wno-unused-parameter \
	-Wno-missing-field-initializers $(if $(filter error,$(W)),-Werror)
INCLUDES := -I. -Iinclude -Iinclude/uapi -I$(O)/bpf
CPPFLAGS := $(INCLUDES) -D_GNU_SOURCE -MMD -MP
CFLAGS := -O2 -g -std=gnu11 -fno-strict-aliasing $(WARN)
CXXFLAGS := -O1 -g -std=gnu++17 $(filter-out -Wmissing-prototypes -Wstrict-prototypes,$(WARN))
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS := -g
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wno-missing-declarations \
	-Wno-address-of-packed-member $(if $(filter error,$(W)),-Werror) -MMD -MP \
	$(INCLUDES) -Ibpf -I/usr/include/$(shell gcc -print-multiarch)
KVER = $(notdir $(lastword $(sort $(wildcard /lib/modules/*))))
KDIR ?= /lib/modules/$(KVER)/build

ALL :=
SKELS :=
UNIT_TESTS :=
NET_TESTS :=
VM_TESTS :=
DEBUG_TESTS :=
BENCH_SUITES :=
FULL_TESTS :=
FULL_FUZZ_TESTS :=
FULL_NET_TESTS :=
FULL_VM_TESTS :=
FUZZERS :=
LINT :=
DEPFILES :=

say = @printf '  %-7s %s\n' '$1' '$(2:$(O)/%=%)'
ifeq ($(V),1)
say = @:
endif
objs = $(patsubst %,$(O)/$1/%.o,$(basename $2))

define prog_rules
ALL += $(O)/bin/$1
DEPFILES += $(patsubst %.o,%.d,$(call objs,obj,$2))
$(O)/bin/$1: $(call objs,obj,$2) $(filter %.a %.o,$3)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS) $4 -o $$@ $(call objs,obj,$2) $3
endef
prog = $(eval $(call prog_rules,$1,$2,$3,))
prog_static = $(eval $(call prog_rules,$1,$2,$3,-static))

define lib_rules
ALL += $(O)/lib/$1.a
DEPFILES += $(patsubst %.o,%.d,$(call objs,obj,$2) $(call objs,asan,$2))
$(O)/lib/$1.a: $(call objs,obj,$2)
	$$(call say,AR,$$@)
	@mkdir -p $$(@D) && rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
$(O)/asan/$1.a: $(call objs,asan,$2)
	$$(call say,AR,$$@)
	@mkdir -p $$(@D) && rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
endef
lib = $(eval $(call lib_rules,$1,$2))

define bpf_rules
SKELS += $(O)/bpf/$2.skel.h
ALL += $(O)/bpf/$2.bpf.o
DEPFILES += $(O)/bpf/$2.tmp.d
$(O)/bpf/$2.tmp.o: $1 $(O)/flags
	$$(call say,BPF,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(BPF_CFLAGS) -c -o $$@ $$<
$(O)/bpf/$2.bpf.o: $(O)/bpf/$2.tmp.o
	$$(Q)$$(BPFTOOL) gen object $$@ $$<
$(O)/bpf/$2.skel.h: $(O)/bpf/$2.bpf.o
	$$(call say,SKEL,$$@)
	$$(Q)$$(BPFTOOL) gen skeleton $$< name $(subst -,_,$2) >$$@.new && mv $$@.new $$@
endef
bpf_obj = $(eval $(call bpf_rules,$1,$(patsubst %.bpf.c,%,$(notdir $1))))

define gtest_rules
UNIT_TESTS += $(O)/tests/$1
DEPFILES += $(patsubst %.o,%.d,$(call objs,asan,$2))
$(O)/tests/$1: $(call objs,asan,$2) $(filter %.a %.o,$3)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CXX) $$(LDFLAGS) $$(SANITIZE) -o $$@ $(call objs,asan,$2) $3 -lgtest -lgtest_main -lpthread
endef
gtest = $(eval $(call gtest_rules,$1,$2,$3))

.SECONDEXPANSION:
$(O)/obj/%.o: %.c $(O)/flags | $$(SKELS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(O)/asan/%.o: %.c $(O)/flags | $$(SKELS)
	$(call say,CC-ASAN,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -O1 $(SANITIZE) -c -o $@ $<
$(O)/asan/%.o: %.cc $(O)/flags | $$(SKELS)
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(SANITIZE) -c -o $@ $<

# Other flags rebuild everything; the same flags rebuild nothing.
flags_now := $(strip $(CPPFLAGS) $(CFLAGS) $(CXXFLAGS) $(SANITIZE) $(BPF_CFLAGS) $(KDIR))
ifneq ($(flags_now),$(strip $(file <$(O)/flags)))
$(shell mkdir -p $(O))
$(file >$(O)/flags,$(flags_now))
endif
$(O)/flags: ;

-include packaging/build.mk bpf/build.mk userland/build.mk ckpt/build.mk kmod/build.mk docs/build.mk
-include tests/unit/build.mk tests/fuzz/build.mk tests/full/build.mk tests/net/build.mk tests/vm/build.mk tests/bench/build.mk
-include $(sort $(DEPFILES))

all: $$(sort $$(ALL)) manifest

# ---- what gets installed: MODE FILE DESTINATION, a line each ------------------------------------
entries = $(foreach f,$2,$1:$f:$3/$(notdir $f))
manifest_now = $(call entries,0755,$(INSTALL_BIN),$(prefix)/bin) \
	$(call entries,0755,$(INSTALL_SBIN),$(prefix)/sbin) \
	$(call entries,0755,$(INSTALL_LIBEXEC),$(prefix)/libexec/netssi) \
	$(call entries,0644,$(INSTALL_UNITS),$(prefix)/lib/systemd/system) \
	$(foreach f,$(INSTALL_MAN),0644:$f:$(prefix)/share/man/man$(patsubst .%,%,$(suffix $f))/$(notdir $f)) \
	$(call entries,0644,$(INSTALL_COMPLETION),$(prefix)/share/bash-completion/completions) \
	$(INSTALL_OTHER) $(INSTALL_LINKS:%=link:%)
other_files = $(foreach e,$(INSTALL_OTHER),$(word 2,$(subst :, ,$e)))
manifest: $$(INSTALL_BIN) $$(INSTALL_SBIN) $$(INSTALL_LIBEXEC) $$(INSTALL_UNITS) $$(INSTALL_MAN) \
		$$(INSTALL_COMPLETION) $$(other_files) $$(sort $$(ALL))
	@printf '%s\n' $(manifest_now) | cmp -s - $(O)/manifest || printf '%s\n' $(manifest_now) >$(O)/manifest

# The installation that the guests see as a layer over the tree.
stage: manifest
	$(Q)scripts/install stage $(O)/manifest $(O)/stage

# ---- tests --------------------------------------------------------------------------------------
export O TREE V FUZZ_SECONDS SEED SCHEDULES
RUN = tests/run --log $(O)/log
# Of these tests, or of those that only check-full runs, the ones that TESTS names; else all of these.
pick = $(if $(TESTS),$(foreach t,$(TESTS),$(filter $t %/$t %/$t.sh,$(sort $1 $2))),$1)
need_root = @[ "$$(cat /proc/self/uid_map | awk '{ print $$3; exit }')" -gt 1 ] && [ $$EUID = 0 ] || \
	{ echo "make $@: needs root; run: sudo make $@" >&2; exit 1; }

check-unit: $$(UNIT_TESTS)
	@$(RUN) unit $(call pick,$(UNIT_TESTS))
check-net: all stage
	$(need_root)
	@$(RUN) net $(call pick,$(NET_TESTS),$(FULL_NET_TESTS))
check-fuzz: $$(FUZZERS)
	@$(RUN) fuzz tests/fuzz/run.sh
check-vm: all stage
	$(need_root)
	@$(RUN) vm $(call pick,$(VM_TESTS),$(FULL_VM_TESTS))
# On a kernel with KASAN, lockdep and the like, emulated: two nodes are enough for the module, and as much as two cores carry.
check-debug: all debug-stage
	$(need_root)
	@echo "check-debug: guests on $$(cat $(DEBUG)/release) with KASAN, UBSAN, lockdep, kmemleak, fault injection; any report fails"
	@SLOW=6 SLACK=30 NODES=2 KERNEL_DIR=$(DEBUG) STAGE=$(DEBUG)/stage NODE_MEMORY=1600 CLIENT_MEMORY=1200 BOOT_SECONDS=900 \
		$(RUN) vm $(call pick,$(DEBUG_TESTS))
check: all stage $$(UNIT_TESTS) $$(LINT) $$(FUZZERS)
	$(need_root)
	@$(RUN) lint scripts/lint unit $(UNIT_TESTS) fuzz tests/fuzz/run.sh net $(NET_TESTS) vm $(VM_TESTS)
# Some of them again in their full size, and what takes hours. TESTS="a b" runs just these, without `check`.
check-full: $$(if $$(TESTS),all stage $$(UNIT_TESTS) $$(FUZZERS),check)
	$(need_root)
	@FULL=1 $(RUN) fuzz $(call pick,$(FULL_FUZZ_TESTS)) net $(call pick,$(FULL_NET_TESTS)) \
		vm $(call pick,$(FULL_VM_TESTS)) full $(call pick,$(FULL_TESTS))
demo: all stage
	$(need_root)
	@tests/vm/demo
bench: all stage
	$(need_root)
	@mkdir -p $(O)/bench
	$(Q)set -e; for s in $(or $(SUITE),$(BENCH_SUITES)); do \
		[ -x tests/bench/$$s ] || { echo "no bench suite '$$s'; there are: $(BENCH_SUITES)" >&2; exit 2; }; \
		tests/bench/$$s; done
lint: $$(LINT)
	@scripts/lint
format:
	$(if $(FILES),,@echo 'make format: name the files: make format FILES="a.c b.h"' >&2; exit 2)
	$(Q)clang-format -i $(FILES)

endif

# ---- installation runs on the machine itself ----------------------------------------------------
install: manifest
	$(Q)scripts/install install $(O)/manifest '$(DESTDIR)'
uninstall: manifest
	$(Q)scripts/install uninstall $(O)/manifest '$(DESTDIR)'
