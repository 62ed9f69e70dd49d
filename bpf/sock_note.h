/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs keep of a socket that an application made (below ssi.slice):
 * only such sockets have a note.
 */
#ifndef SSI_BPF_SOCK_NOTE_H
#define SSI_BPF_SOCK_NOTE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <ssi/dip.h>

struct sock_note {
	union dip_addr addr;
	__u64 cgroup;
	__u16 port;
	__u8 family;
	__u8 bound;	/* UDP: BIND was told */
	__u8 ephemeral; /* port 0 was asked for */
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sock_note);
} dip_socks SEC(".maps");

#endif /* SSI_BPF_SOCK_NOTE_H */
