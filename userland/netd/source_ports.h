/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Source ports: what programs of this node leave a cluster address from. The node leases blocks of the ephemeral
 * range (set `blocks`) and keeps all others out of use (net.ipv4.ip_local_reserved_ports), so that what comes
 * back for a port is this node's, without a word to anybody. Loop thread.
 *
 *   free --leased, committed--> LEASED --every node knows--> OURS <--> LEAVING --unused--> free
 *
 * Programs get only what is OURS. More is leased when three quarters are in use, up to this node's fair
 * share; what is above the share, because nodes came, is given back.
 */
#ifndef SSI_SOURCE_PORTS_H
#define SSI_SOURCE_PORTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct datapath;
struct sources;

int sources_start(struct datapath *dp); /* fills dp->sources */
void sources_stop(struct datapath *dp); /* the kernel goes on as it is */
/* Tables, interfaces or routes may have changed: bring the kernel in line. */
void sources_apply(struct datapath *dp);
/* Takes everything out of the kernel: on leaving the cluster. */
void sources_withdraw(struct datapath *dp);

/* Programs of this control group leave from the node's address (`node`), or not any more. */
void sources_group(struct datapath *dp, uint64_t cgroup, bool node);
/* Tables were loaded: tell them of the groups. */
void sources_loaded(struct datapath *dp);

/* What stands against it, as problems of `status`; a new reference or NULL. */
json_t *sources_problem(struct datapath *dp);
/* The ports that `node` has leased, "32768-33279,40000-40063"; malloc'ed, NULL when none. */
char *sources_ranges(struct datapath *dp, uint32_t node);
/* Who has leased a port, 0: nobody. */
uint32_t sources_lessee(const struct datapath *dp, uint16_t port);

#endif
