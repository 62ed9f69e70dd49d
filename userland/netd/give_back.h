/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Gives this node's kernel what the sockets of a frozen program held (lib/queued.h), as packets of the peers that sent
 * it: by the hold device, before what was held since. A connection that waited for accept() begins anew with such a
 * packet. One thread: the loop.
 */
#ifndef SSI_GIVE_BACK_H
#define SSI_GIVE_BACK_H

#include <stddef.h>
#include <stdint.h>

struct dip_bpf;
struct queued;
struct sockdiag;

/* Our part of a handshake under way, to the peer, again. */
void give_answer(const struct queued *q);

/* The records of a file, in their order. How many the kernel took, or -errno. A connection that it did not is reset. */
int give_back(struct dip_bpf *bpf, struct sockdiag *diag, int hold_ifindex, const uint8_t *file, size_t size);

#endif
