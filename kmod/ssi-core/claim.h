/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Claims that programs wait for in listen() and bind(); see ssi/core.h.
 */
#ifndef SSI_CORE_CLAIM_H
#define SSI_CORE_CLAIM_H

#include <linux/in6.h>
#include <linux/sched.h>
#include <linux/types.h>
#include <ssi/core.h>

struct net;
struct netlink_ext_ack;
struct sockaddr;
struct socket;

/* What is asked for. */
struct claim {
	u32 id;
	struct in6_addr addr; /* IPv4: mapped */
	u16 port;	      /* host order */
	u8 proto;
	bool only6;
	u64 cookie, cgroup;
	u32 pid;
	char comm[TASK_COMM_LEN];
};

/* A namespace's claims as user space sees them. */
struct claims_info {
	u32 limit_ms, server, waiting;
	u64 reasons[SSI_CLAIM_REASON_COUNT];
};

int __init claim_init(void);
void claim_exit(void);

/* -EBUSY with a text: another socket serves. */
int claim_serve(struct net *net, u32 portid, u32 limit_ms, struct netlink_ext_ack *extack);
/* `err`: 0 or -EADDRINUSE. -EPERM, -ENOENT with a text. */
int claim_answer(struct net *net, u32 portid, u32 id, int err, struct netlink_ext_ack *extack);
void claims_get(struct net *net, struct claims_info *out);

/* For BPF LSM programs: see claim.c. */
int bpf_ssi_claim_listen(struct socket *sock, u64 cookie, u64 cgroup);
int bpf_ssi_claim_bind(struct socket *sock, struct sockaddr *uaddr, int addrlen, u64 cookie, u64 cgroup);

#endif
