# SPDX-License-Identifier: GPL-2.0
# libnetssi: the C API, a shared library. Its number changes when what include/netssi.h promises does.
API_SONAME := libnetssi.so.1
API_SRCS := $(sort $(wildcard userland/api/*.c)) $(addprefix userland/lib/,jsonline.c netdclient.c)
API_OBJS := $(call objs,pic,$(API_SRCS))
API := $(O)/lib/$(API_SONAME)
ALL += $(API) $(O)/lib/libnetssi.pc
DEPFILES += $(API_OBJS:.o=.d)

$(O)/pic/%.o: %.c $(O)/flags
	$(call say,CC-PIC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -c -o $@ $<
$(API): $(API_OBJS) userland/api/netssi.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,$(API_SONAME) -Wl,--version-script=userland/api/netssi.map -Wl,-z,defs \
		-Wl,-z,relro,-z,now -o $@ $(API_OBJS) -ljansson
$(O)/lib/libnetssi.pc: userland/api/libnetssi.pc.in userland/lib/version.h $(O)/prefix
	@mkdir -p $(@D)
	$(Q)sed -e 's|@prefix@|$(prefix)|g' \
		-e "s|@version@|$$(sed -n 's/.*SSI_VERSION[[:space:]]*"\(.*\)"/\1/p' userland/lib/version.h)|" $< >$@

INSTALL_OTHER += 0644:include/netssi.h:$(prefix)/include/netssi.h 0644:$(API):$(prefix)/lib/$(API_SONAME) \
	0644:$(O)/lib/libnetssi.pc:$(prefix)/lib/pkgconfig/libnetssi.pc
INSTALL_LINKS += $(API_SONAME):$(prefix)/lib/libnetssi.so
INSTALL_MAN += docs/man/libnetssi.3
FULL_NET_TESTS += tests/net/64-api.sh
INSTALL_OTHER += 0644:docs/examples/visitor.c:$(prefix)/share/doc/netssi/visitor.c
