/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What keeps plain TIPC frames out. A kernel with TIPC keys still accepts frames
 * that are not encrypted, whoever sends them; so an nftables table of ours stands
 * on the ingress of every bearer and lets only encrypted ones in, those in VLAN
 * priority tags included, which the kernel takes off without being asked.
 *
 * The table is owned (nobody else may change or flush it) and outlives netd where
 * the kernel knows how; from elsewhere removed, it is put back at once and logged.
 * One thread: the loop's.
 */
#ifndef SSI_BEARER_FILTER_H
#define SSI_BEARER_FILTER_H

#include <stdbool.h>
#include <uv.h>

#define BEARER_FILTER_TABLE "netssi"

struct bearer_filter;

/* `owned` false: as on a kernel without owners of tables. */
int bearer_filter_new(uv_loop_t *loop, bool owned, struct bearer_filter **out);
/* The interface is guarded from the return on. 0, also when it was already. */
int bearer_filter_add(struct bearer_filter *f, const char *interface);
/* Whether all is in place; tries again when the last attempt failed. */
bool bearer_filter_check(struct bearer_filter *f);
/* `remove`: take the table out, too; else it stays and guards on. */
void bearer_filter_free(struct bearer_filter *f, bool remove);

/* Without a netd: take out what one left. 0, or a negative errno. */
int bearer_filter_cleanup(void);

#endif
