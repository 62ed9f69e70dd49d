/* SPDX-License-Identifier: GPL-2.0 */
/*
 * net.ipv4.ip_local_reserved_ports of this network namespace: the operator's list, and beside it the
 * source ports that are not this node's. What is the operator's is remembered in a file, so that a netd
 * that comes after a crash, or --cleanup, gives back what was there; what others write meanwhile counts
 * as the operator's. Loop thread.
 */
#ifndef SSI_SOURCE_RESERVED_H
#define SSI_SOURCE_RESERVED_H

#include <stdbool.h>
#include <stdint.h>

struct port_map {
	uint64_t word[65536 / 64];
};

static inline void port_map_add(struct port_map *m, uint16_t port)
{
	m->word[port / 64] |= 1ull << port % 64;
}

static inline bool port_map_has(const struct port_map *m, uint16_t port)
{
	return m->word[port / 64] >> port % 64 & 1;
}

/* "1-10,20" as the kernel writes it; malloc'ed. */
char *port_map_text(const struct port_map *m);

/* Keep programs out of `foreign`, beside what the operator keeps them out of. 0 or -errno. */
int source_reserved_set(const struct port_map *foreign);
/* Back to the operator's list. 1: it was changed; 0: there was nothing; -errno. */
int source_reserved_restore(void);
/* net.ipv4.ip_local_port_range */
void source_range(uint16_t *low, uint16_t *high);

#endif
