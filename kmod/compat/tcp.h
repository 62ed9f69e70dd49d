/* SPDX-License-Identifier: GPL-2.0 */
/* Names of TCP that newer kernels have changed. */
#ifndef SSI_COMPAT_TCP_H
#define SSI_COMPAT_TCP_H

#include <net/tcp.h>

#ifndef TCP_ECN_OK /* "negotiated as RFC 3168 says", among others since 6.18 */
#define TCP_ECN_OK TCP_ECN_MODE_RFC3168
#endif

#endif
