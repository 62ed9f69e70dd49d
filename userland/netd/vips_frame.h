/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is said on the wire about an address: who has it (ARP request, neighbour
 * solicitation), and that it is here (ARP, neighbour advertisement). A frame of either
 * family, to everybody who must hear it.
 */
#ifndef SSI_VIPS_FRAME_H
#define SSI_VIPS_FRAME_H

#include <net/ethernet.h>
#include <stdbool.h>
#include <stddef.h>

#include "userland/lib/ipaddr.h"

#define VIPS_FRAME_MAX 96

struct vips_frame {
	uint8_t data[VIPS_FRAME_MAX];
	size_t len;
};

/* As RFC 5227 and RFC 4862 ask: no sender, so that no neighbour's cache is touched. */
struct vips_frame vips_frame_ask(const struct ipaddr *addr, const uint8_t from[6]);
/* Unasked; `mac` is told, the Ethernet source is `from`. ARP: as an answer, or a request. */
struct vips_frame vips_frame_tell(const struct ipaddr *addr, const uint8_t mac[6], const uint8_t from[6],
				  bool answer);
/* Does the frame speak as `addr`? Then the MAC that it tells; NULL: it does not. */
const uint8_t *vips_frame_says(const uint8_t *data, size_t len, const struct ipaddr *addr);
/* A packet socket for such frames of a family, and no others, on an interface; -errno. */
int vips_frame_socket(uint8_t family, int ifindex);

#endif
