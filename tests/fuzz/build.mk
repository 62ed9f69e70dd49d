# SPDX-License-Identifier: GPL-2.0
# Fuzzers of what comes from peers, programs and disks (libFuzzer): tests/fuzz/NAME.c with what it tries out,
# inputs to begin with in tests/fuzz/corpus/NAME. FUZZ_SECONDS for each (10).
FUZZ_CFLAGS := -O1 -g -std=gnu11 -fno-strict-aliasing -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
define fuzzer_rules
FUZZERS += $(O)/fuzz/$1
$(O)/fuzz/$1: tests/fuzz/$1.c $2 $$(wildcard tests/fuzz/*.h userland/*/*.h) $4 $(O)/flags
	$$(call say,FUZZ,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(INCLUDES) -D_GNU_SOURCE $$(FUZZ_CFLAGS) -o $$@ tests/fuzz/$1.c $2 $3
endef
# $(call fuzzer,NAME,SOURCES,LIBS,SOURCE): the last is taken in by NAME.c itself
fuzzer = $(eval $(call fuzzer_rules,$1,$2,$3,$4))
FSM_SRCS := $(addprefix userland/netd/,kddm.c kddm_fsm.c kddm_op.c kddm_set.c kddm_snapshot.c nodes.c) userland/lib/log.c
$(call fuzzer,entry,$(FSM_SRCS),)
$(call fuzzer,snapshot,$(FSM_SRCS),)
$(call fuzzer,jsonline,userland/lib/jsonline.c userland/lib/log.c,-ljansson)
$(call fuzzer,message,$(addprefix userland/netd/,kddm_message.c kddm_op.c),-lraft)
$(call fuzzer,peer,userland/netd/kddm_op.c userland/netd/secure_log.c userland/lib/log.c,-ljansson,userland/netd/peer.c)
$(call fuzzer,ctl,$(ctl_srcs) userland/lib/jsonline.c userland/lib/log.c,-ljansson -luv)
$(call fuzzer,keepers,userland/lib/jsonline.c userland/lib/log.c,-ljansson -luv,userland/netd/keepers.c)
$(call fuzzer,keeper,userland/run/loop.c userland/lib/jsonline.c userland/lib/log.c,-ljansson,userland/run/keeper.c)
$(call fuzzer,images,ckpt/images.c,-ljansson)
$(call fuzzer,frame,userland/lib/dip_tables.c userland/lib/ipaddr.c userland/lib/log.c userland/netd/vips_frame.c userland/netd/hold_ports.c,-luv,userland/netd/hold_tap.c bpf/dip_xdp.h bpf/parse.h include/ssi/dip_steer.h)
