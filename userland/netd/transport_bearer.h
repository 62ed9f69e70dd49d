/* SPDX-License-Identifier: GPL-2.0 */
/*
 * This machine in TIPC: its identity, the kernel's keys, the filter that lets
 * only encrypted frames in, the bearer; in this order, so that nothing plain is
 * ever taken. Other bearers of the machine, whoever enabled them, are guarded, too.
 *
 * All of it stays when netd ends, for the programs that use TIPC go on. One
 * thread: the loop's.
 */
#ifndef SSI_TRANSPORT_BEARER_H
#define SSI_TRANSPORT_BEARER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define BEARER_SECRET_BYTES 32

struct bearer;

struct bearer_params {
	uv_loop_t *loop;
	const char *interface;
	const char *run_dir;   /* lasts as long as the boot */
	const uint8_t *secret; /* the cluster's key; NULL: clear text */
};

/* 0 or a negative errno after a log line. */
int bearer_start(const struct bearer_params *p, struct bearer **out);
/* Silence after which the kernel gives up a link. */
void bearer_tolerance(struct bearer *b, unsigned int ms);
/* A new key of the cluster: the kernel turns to it when all peers have it. */
void bearer_rekey(struct bearer *b, const uint8_t secret[BEARER_SECRET_BYTES]);
/* `leave`: out of the cluster, the bearer and the filter go, too. */
void bearer_stop(struct bearer *b, bool leave);
/* Without a netd: what one left. 1 something was removed, 0, or a negative errno. */
int bearer_cleanup(const char *run_dir);

#endif
