/* SPDX-License-Identifier: GPL-2.0 */
/* `netctl freeze` and `thaw`: an application that stands still until it is told to go on. */
#ifndef SSI_RUN_FREEZE_H
#define SSI_RUN_FREEZE_H

#include "userland/run/keeper.h"

/* running -> paused, all of it or nothing; and back. */
keeper_op_fn freeze_app, freeze_thaw;
/* It goes on, if it was paused, since it is to end; netd is told. */
void freeze_over(void);

#endif
