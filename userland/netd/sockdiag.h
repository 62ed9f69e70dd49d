/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's sockets of this network namespace, by sock_diag: which there
 * are, of which control group, and the power to destroy one.
 */
#ifndef SSI_SOCKDIAG_H
#define SSI_SOCKDIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "userland/lib/ipaddr.h"

struct sockdiag;

struct sockdiag_sock {
	uint8_t proto;	      /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t family;	      /* AF_INET, AF_INET6 */
	uint8_t state;	      /* TCP_LISTEN ... */
	bool mapped;	      /* an IPv6 socket whose address is IPv4 */
	bool only6;	      /* IPV6_V6ONLY */
	uint16_t port, rport; /* host order */
	uint32_t inode;
	uint64_t cookie;
	uint64_t cgroup;	   /* 0: the kernel does not say */
	struct ipaddr addr, raddr; /* mapped ones: IPv4 */
};

int sockdiag_open(struct sockdiag **out);
void sockdiag_close(struct sockdiag *d);

typedef void sockdiag_fn(void *arg, const struct sockdiag_sock *s);
/* All sockets of `family` and `proto` whose state is in `states` (a mask of
 * 1 << state; UDP knows only bit 7 unconnected and bit 1 connected). */
int sockdiag_dump(struct sockdiag *d, int family, int proto, uint32_t states, sockdiag_fn *fn, void *arg);
/* A TCP connection of these addresses and ports: fills state and cookie, and how many bytes (the peer's FIN counts) it
 * has received so far; -ENOENT. */
int sockdiag_received(struct sockdiag *d, struct sockdiag_sock *s, uint64_t *bytes);
/* Ends a socket: its program sees ECONNABORTED. -ENOENT when it is gone. */
int sockdiag_destroy(struct sockdiag *d, const struct sockdiag_sock *s);
/* Ends the socket with this cookie among those that listen or are bound. */
int sockdiag_destroy_cookie(struct sockdiag *d, int proto, uint64_t cookie);
/* Ends every socket whose own address is `addr` and own port `port` (0: any),
 * TIME_WAIT, half-open ones and those without a process included, but for those
 * that `spare`, unless NULL, says true of. The number of them or -errno. */
typedef bool sockdiag_spare_fn(void *arg, const struct sockdiag_sock *s);
int sockdiag_destroy_addr(struct sockdiag *d, const struct ipaddr *addr, uint16_t port,
			  sockdiag_spare_fn *spare, void *arg);

#define SOCKDIAG_CLOSED \
	(1u << 4 | 1u << 5 | 1u << 6 | 1u << 9 | 1u << 11) /* FIN_WAIT1 and 2, TIME_WAIT, LAST_ACK, CLOSING */
#define SOCKDIAG_LISTEN (1u << 10)
#define SOCKDIAG_UDP	(1u << 7 | 1u << 1)
#define SOCKDIAG_ALL	0xffffu

/* Every socket that a process of control group directory `cgroup`, or below it,
 * holds: once for each fd. */
typedef void sockdiag_holder_fn(void *arg, int pid, uint32_t inode);
void sockdiag_holders(const char *cgroup, sockdiag_holder_fn *fn, void *arg);

#endif
