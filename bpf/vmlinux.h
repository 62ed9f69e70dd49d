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

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	possible_net_t skc_net;
	unsigned char skc_ipv6only : 1;
};

struct sock {
	struct sock_common __sk_common;
};

struct sockaddr {
	unsigned short sa_family;
};

struct socket {
	struct sock *sk;
};

#pragma clang attribute pop

#endif /* SSI_BPF_VMLINUX_H */
