/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few kernel types that the UAPI headers lack.  CO-RE relocates the fields,
 * so only names and types matter, not the layout.
 */
#ifndef SSI_BPF_VMLINUX_H
#define SSI_BPF_VMLINUX_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	int tgid;
	char comm[16];
};

struct sock_common {
	unsigned char skc_ipv6only : 1;
};

#pragma clang attribute pop

#endif /* SSI_BPF_VMLINUX_H */
