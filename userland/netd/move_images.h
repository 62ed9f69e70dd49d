/* SPDX-License-Identifier: GPL-2.0 */
/* What netd itself does with the images of a move. */
#ifndef SSI_MOVE_IMAGES_H
#define SSI_MOVE_IMAGES_H

#include <stdbool.h>
#include <uv.h>

struct datapath;

/* Those that a killed keeper left in memory: off their name at once, removed in a worker thread. */
void move_images_drop(uv_loop_t *loop, const char *app);
/* Source, held: handshakes under way are the first of it. */
void move_images_half_open(struct datapath *dp, const char *app);
/* What the sockets held, when there is anything: the kernel gets it at the release. `back`: where it was, and so only
 * what had to be taken out of them. */
void move_images_queued(struct datapath *dp, const char *app, bool back);

#endif
