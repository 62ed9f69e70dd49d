/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's TIPC, by its generic netlink family TIPCv2. Each call opens a
 * socket, asks and closes; blocking, but the kernel answers at once. 0 or a
 * negative errno.
 */
#ifndef SSI_TIPC_GENL_H
#define SSI_TIPC_GENL_H

#include <stdint.h>

#define TIPC_ID_BYTES  16
#define TIPC_KEY_BYTES 36 /* AES-256 and 4 bytes of salt */

/* "eth:INTERFACE"; an enabled bearer gets the tolerance all the same. */
int tipc_bearer_enable(const char *interface, unsigned int tolerance_ms);
int tipc_bearer_disable(const char *interface);
/* Every bearer by its name ("eth:eth0", "udp:NAME"). */
int tipc_bearer_each(void (*fn)(void *arg, const char *name), void *arg);

/* Who this machine is in TIPC; -EPERM: it is somebody already, until it reboots. */
int tipc_id_set(const uint8_t id[TIPC_ID_BYTES]);

/*
 * A key of the whole cluster, for what is sent and received; the first at once,
 * each later one when the peers have it, too. The kernel makes up no keys of its own.
 * -EBUSY: the change before is not through yet.
 */
int tipc_key_set(const uint8_t key[TIPC_KEY_BYTES]);
int tipc_key_flush(void);

#endif
