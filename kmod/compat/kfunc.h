/* SPDX-License-Identifier: GPL-2.0 */
/* Kernels that take only trusted arguments for kfuncs have no flag for it (7.x). */
#ifndef SSI_COMPAT_KFUNC_H
#define SSI_COMPAT_KFUNC_H

#include <linux/btf.h>

#ifndef KF_TRUSTED_ARGS
#define KF_TRUSTED_ARGS 0
#endif

#endif
