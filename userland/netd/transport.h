/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections between nodes, whatever carries them. An address is text:
 *   10.77.0.1:7946  [fd77::1]:7946     TCP
 *   tipc:TYPE:INSTANCE                 AF_TIPC, SOCK_STREAM
 * Both give a nonblocking, close-on-exec stream socket; nothing is
 * authenticated here (secure.h does that).
 */
#ifndef SSI_TRANSPORT_H
#define SSI_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSPORT_ADDRESS_MAX  64
#define TRANSPORT_TOLERANCE_MS 500	/* of TIPC links, without a setting */
#define TRANSPORT_TIPC_TYPE    0x4e531u /* our service type */

struct transport_ops {
	const char *name;
	bool (*takes)(const char *address);
	/* fd or negative errno */
	int (*listen)(const char *address);
	/* fd (perhaps still connecting: wait until writable) or negative errno */
	int (*connect)(const char *address);
	/* tune a socket that was accepted, and name its other end for the log */
	void (*accepted)(int fd, char peer[TRANSPORT_ADDRESS_MAX]);
};

extern const struct transport_ops transport_tcp, transport_tipc;

int transport_listen(const char *address);
int transport_connect(const char *address);
void transport_accepted(const char *listening, int fd, char peer[TRANSPORT_ADDRESS_MAX]);
const char *transport_name(const char *address);

/* "IP[:PORT]" or "[IP6][:PORT]" or a bare IPv6 address -> canonical address.
 * -EINVAL. */
int transport_tcp_address(const char *text, uint16_t default_port, char out[TRANSPORT_ADDRESS_MAX]);
/* A UDP socket connected to a TCP address: its own address tells the route. */
int transport_udp_route(const char *address);
/* Is the IP of this TCP address one of this machine's? */
bool transport_is_local(const char *address);
/* The service instance of a node's netd. */
static inline uint32_t transport_tipc_instance(uint64_t raft_id)
{
	return (uint32_t)(raft_id & 0x7fffffff);
}
void transport_tipc_address(uint32_t instance, char out[TRANSPORT_ADDRESS_MAX]);
/* Can this kernel speak TIPC (module loaded or loadable)? */
bool transport_tipc_available(void);

#endif
