/* SPDX-License-Identifier: GPL-2.0 */
/* What handshakes.bpf.c writes of each handshake under way. */
#ifndef SSI_BPF_HALF_OPEN_H
#define SSI_BPF_HALF_OPEN_H

#include <ssi/dip.h>

struct half_open {
	union dip_addr raddr, laddr; /* IPv4 to a socket of IPv6: mapped */
	__be16 rport;
	__u16 lport; /* host order */
	__u32 clock; /* of our timestamps */
	__u32 echo;  /* the peer's newest */
	struct dip_embryo agreed;
	__u8 family; /* DIP_INET, DIP_INET6 */
	__u8 pad[3];
};

#endif
