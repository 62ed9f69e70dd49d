/* SPDX-License-Identifier: GPL-2.0 */
/* How the TCP connections of a move go: by ssi_core, when all who take part can do that, else by CRIU. */
#ifndef SSI_MOVE_CONNS_H
#define SSI_MOVE_CONNS_H

#include <jansson.h>
#include <stdbool.h>

struct netd;

struct move_conns {
	bool apart;    /* by ssi_core */
	char why[160]; /* else: why not */
};

/* What this node reads as a target: a format of ssi/conn.h, or 0. */
int move_conns_reads(const struct netd *n);
/* By what the supervisor here answered to "check" and the target, `node`, to its dry run. */
void move_conns_choose(struct move_conns *c, const struct netd *n, json_t *here, json_t *there,
		       const char *node);
/* Supervisors may be older than netd: by the hello of the one here, and what the target tells of the other. */
void move_conns_confirm(struct move_conns *c, json_t *here, json_t *there);
/* Fields of a result: connections_by, connections_why. */
void move_conns_show(const struct move_conns *c, json_t *o);

#endif
