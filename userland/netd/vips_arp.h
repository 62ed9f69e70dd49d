/* SPDX-License-Identifier: GPL-2.0 */
/* An ARP frame for IPv4 on Ethernet, as it stands on the wire. */
#ifndef SSI_VIPS_ARP_H
#define SSI_VIPS_ARP_H

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stdint.h>
#include <string.h>

struct vips_arp {
	struct ether_header eth;
	struct arphdr arp;
	uint8_t sha[6], spa[4], tha[6], tpa[4];
} __attribute__((packed));

/* To everybody; the addresses within are the caller's. */
static inline struct vips_arp vips_arp(uint16_t op, const uint8_t from[6])
{
	struct vips_arp f = {
		.eth.ether_type = htons(ETHERTYPE_ARP),
		.arp = {htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4, htons(op)},
	};

	memset(f.eth.ether_dhost, 255, sizeof(f.eth.ether_dhost));
	memcpy(f.eth.ether_shost, from, sizeof(f.eth.ether_shost));
	return f;
}

#endif
