/* SPDX-License-Identifier: GPL-2.0 */
/* The keeper's side of lib/notice.h: which processes want to hear of moves, and telling them. */
#ifndef SSI_RUN_NOTICE_H
#define SSI_RUN_NOTICE_H

#include <stdbool.h>

#include "userland/run/keeper.h"

/* Makes the socket, and its path known to the application that starts after. 0 or -errno. */
int notice_open(void);
void notice_close(void);

/* How many registered and are there. */
unsigned int notice_count(void);
/* The operation `notice`: tells all, answers when each has said that it is ready, or its time is over. */
keeper_op_fn notice_tell;
/* They were told of something that does not come, or is over: they stay. */
void notice_stayed(void);

/* What the images are to know, and, restored and still held, from there (borrowed, may be NULL). */
json_t *notice_export(void);
void notice_import(json_t *state);
/* They run: tells them where they are. `kept`: by a restart. */
void notice_arrived(bool kept);
/* The application is not here any more. */
void notice_forget(void);

#endif
