/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Gives this node's kernel what the sockets of a frozen program held (lib/queued.h), as packets of the peers that sent
 * it: by the hold device, before what was held since. One thread: the loop.
 */
#ifndef SSI_GIVE_BACK_H
#define SSI_GIVE_BACK_H

#include <stddef.h>
#include <stdint.h>

/* The records of a file, in their order; `mark` is that of `dip_conf`. How many the kernel took, or -errno. */
int give_back(int hold_ifindex, uint32_t mark, const uint8_t *file, size_t size);

#endif
