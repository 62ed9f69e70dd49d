/* SPDX-License-Identifier: GPL-2.0 */
/* What dip_bpf.c and dip_count.c share. See dip_bpf.h. */
#ifndef SSI_DIP_BPF_INT_H
#define SSI_DIP_BPF_INT_H

#include <limits.h>

#include "dip_bpf.h"

#include "dip.skel.h"

struct dip_bpf {
	struct dip *skel; /* NULL: opened read-only */
	struct dip_mem mem;
	struct dip_wants *wants;
	int stats_fd;
	size_t flows_size;
	char dir[PATH_MAX / 2];
	bool clsact;
	bool embryos;	  /* the kernel can make them */
	int half_open_fd; /* lists handshakes; -1: the kernel cannot */
	bool foreign;	  /* another version's tables were pinned; its programs may still run */
};

/* Does this kernel make connections out of what a program says of them? Reads all of its type information. */
bool dip_embryo_known(void);
/* Fills half_open_fd. */
void dip_half_open_load(struct dip_bpf *d);

/* Notes the line for dip_bpf_error(), returns err. */
int dip_bpf_fail(int err, const char *what);

#endif /* SSI_DIP_BPF_INT_H */
