/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a moved program's sockets had not given to it when it was frozen: a file of the images, written where it was and
 * given to the kernel again where it goes on. Records, each followed by its data; in the byte order of the machine but
 * for addresses and ports. The peer is `r`, the program's side `l`.
 */
#ifndef SSI_QUEUED_H
#define SSI_QUEUED_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ssi/dip.h>

#define QUEUED_FILE "queued"

enum queued_kind {
	QUEUED_DATAGRAM = 1, /* UDP, in the socket's queue */
	QUEUED_CONNECTION,   /* TCP, waits for accept(); the data is what came on it */
	QUEUED_HALF_OPEN,    /* TCP, a handshake under way */
};

struct queued {
	uint8_t kind;	/* enum queued_kind */
	uint8_t family; /* DIP_INET, DIP_INET6: of the packets */
	uint8_t tos, ttl;
	__be16 rport, lport;
	uint8_t raddr[16], laddr[16]; /* IPv4 in the first four bytes, the rest zero */
	uint32_t len;		      /* of the data */
	/* Of a connection, on which nothing was sent yet. */
	struct dip_embryo agreed;
	uint32_t clock;	 /* of our timestamps, when it was frozen */
	uint32_t echo;	 /* (a handshake) the peer's */
	uint16_t window; /* of the peer, as in its packets */
	uint8_t fin;	 /* it has said that this was all */
	uint8_t pad;
};

/* The record at *at, which is then that of the next; false: there is none, or not the whole of it. */
bool queued_next(const uint8_t *file, size_t size, size_t *at, struct queued *q, const uint8_t **data);

#endif
