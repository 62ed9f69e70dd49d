# SPDX-License-Identifier: GPL-2.0
RUN_LIB_OBJS := $(O)/obj/userland/lib/log.o $(O)/obj/userland/lib/jsonline.o
RUN_CORE_OBJS := $(O)/obj/userland/lib/conns.o $(O)/obj/userland/lib/genl.o

# ssi-run, and the root of an application's process tree: static, since it moves with it.
$(call prog,ssi-run,$(filter-out userland/run/init.c,$(sort $(wildcard userland/run/*.c))),$(O)/lib/ckpt.a $(RUN_LIB_OBJS) $(RUN_CORE_OBJS) -ljansson -lsystemd -lmnl)
$(call prog_static,ssi-init,userland/run/init.c,)
$(O)/obj/userland/run/app.o: CFLAGS += -DLIBEXEC_DIR='"$(prefix)/libexec/netssi"'
INSTALL_BIN += $(O)/bin/ssi-run
INSTALL_LIBEXEC += $(O)/bin/ssi-init
# Speaks to it as netd would, in tests.
$(call prog,keeper-call,tests/net/keeper_call.c,$(RUN_LIB_OBJS) -ljansson)
NET_TESTS += tests/net/45-ssi-run.sh tests/net/46-ckpt-move.sh
