/* SPDX-License-Identifier: GPL-2.0 */
/* Images that a killed keeper left in memory: off its name at once, removed in a worker thread. */
#ifndef SSI_MOVE_IMAGES_H
#define SSI_MOVE_IMAGES_H

#include <uv.h>

void move_images_drop(uv_loop_t *loop, const char *app);

#endif
