/* SPDX-License-Identifier: GPL-2.0 */
/* The keeper's side of lib/keeper.h: its socket, requests and answers. */
#ifndef SSI_RUN_KEEPER_H
#define SSI_RUN_KEEPER_H

#include <jansson.h>

#include "userland/lib/keeper.h"

/* Whom to answer; may be kept, the connection may end meanwhile. */
struct keeper_request {
	unsigned int conn; /* serial number, 0: nobody */
	json_int_t id;
};

/* An operation owns fd (-1: none came) and answers now or later, exactly once. */
typedef void keeper_op_fn(struct keeper_request rq, json_t *args, int fd);

/* 0, or a negative errno after a line on stderr: -EADDRINUSE when one of this name is here. */
int keeper_listen(void);
/* A standby has the name now: its socket takes the application's place. */
int keeper_take_name(void);
void keeper_close(void);

/* Both steal. */
void keeper_event(json_t *event);
void keeper_ok(struct keeper_request rq, json_t *fields);
__attribute__((format(printf, 3, 4))) void keeper_error(struct keeper_request rq, const char *remedy,
							const char *fmt, ...);

#endif
