/* SPDX-License-Identifier: GPL-2.0 */
/* Does the kernel's module move TCP connections? */
#ifndef SSI_CONNS_H
#define SSI_CONNS_H

/* The format of ssi/conn.h that the module reads and writes; 0: there is none that does. */
int conns_format(void);

#endif
