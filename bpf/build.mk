# SPDX-License-Identifier: GPL-2.0
# The BPF programs: several objects over the same maps, linked into one skeleton, dip.skel.h.

DIP_BPF := dip_xdp dip_tc dip_sk port_hooks source_ports dip_tables
DIP_BPF_OBJS := $(DIP_BPF:%=$(O)/bpf/%.tmp.o)
DEPFILES += $(DIP_BPF_OBJS:.o=.d)
SKELS += $(O)/bpf/dip.skel.h
ALL += $(O)/bpf/dip.bpf.o

$(DIP_BPF_OBJS): $(O)/bpf/%.tmp.o: bpf/%.bpf.c $(O)/flags
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<
$(O)/bpf/dip.bpf.o: $(DIP_BPF_OBJS)
	$(call say,BPF-LD,$@)
	$(Q)$(BPFTOOL) gen object $@ $^
$(O)/bpf/dip.skel.h: $(O)/bpf/dip.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name dip >$@.new && mv $@.new $@

# The programs that need ssi_core and BPF LSM.
$(call bpf_obj,bpf/claim_hooks.bpf.c)

# Handshakes under way.
$(call bpf_obj,bpf/handshakes.bpf.c)
