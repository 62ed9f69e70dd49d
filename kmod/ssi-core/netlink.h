/* SPDX-License-Identifier: GPL-2.0 */
/* The generic netlink family "ssi_core"; see ssi/core.h. */
#ifndef SSI_CORE_NETLINK_H
#define SSI_CORE_NETLINK_H

int __init ssi_netlink_init(void);
void ssi_netlink_exit(void);

#endif
