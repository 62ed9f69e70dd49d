/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SSI_APP_CGROUP_H
#define SSI_APP_CGROUP_H

#include "netd.h"

/* The supervisor of `name` ended, perhaps without a chance to tidy up: its control group goes as soon as the last
 * process has left it. */
void app_cgroup_drop(struct netd *n, const char *name);

#endif
