/* SPDX-License-Identifier: GPL-2.0 */
/* What the file of connections tells; see conns.c. */
#ifndef SSI_CKPT_CONNS_H
#define SSI_CKPT_CONNS_H

#include "ckpt/fds.h"

/* The fds of connections whose options are all in the file, as the source's module wrote it. No file: none. Caller
 * frees set->names. */
void ckpt_conns_plain(const char *dir, struct fds_set *set);

#endif
