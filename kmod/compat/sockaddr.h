/* SPDX-License-Identifier: GPL-2.0 */
/* What bind and connect take inside the kernel has a name of its own since 6.19. */
#ifndef SSI_COMPAT_SOCKADDR_H
#define SSI_COMPAT_SOCKADDR_H

#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
#define ssi_sockaddr sockaddr_unsized
#else
#define ssi_sockaddr sockaddr
#endif

#endif
