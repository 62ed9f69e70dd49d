/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /etc/netssi/netd.conf: facts of this machine only, "key = value" lines,
 * '#' comments. Unknown keys are an error. netd.conf(5) is the manual.
 */
#ifndef SSI_CONF_H
#define SSI_CONF_H

#include <stdbool.h>
#include <stdint.h>

struct netd_conf {
	char name[64];	     /* node name, default: host name */
	char address[64];    /* cluster address, default: given to init/join */
	char bearer[16];     /* interface of the cluster's own traffic, "" = by address */
	char transport[8];   /* "auto", "tcp", "tipc" */
	uint16_t port;	     /* TCP port of the peers, default 7946 */
	char criu[256];	     /* CRIU program, default "criu" by PATH */
	char connections[8]; /* "auto": of a move by ssi_core where it can, "criu": never */
	char metrics[64];    /* "" = off */
	bool insecure;	     /* command line only */
};

/* Fills defaults, then reads `path` (absent is fine). 0, or a negative errno
 * after one line on stderr that names file, line and remedy. */
int conf_read(struct netd_conf *c, const char *path);

#endif
