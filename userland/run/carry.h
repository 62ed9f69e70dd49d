/* SPDX-License-Identifier: GPL-2.0 */
/* The requests of a move, as lib/keeper.h describes them. */
#ifndef SSI_RUN_CARRY_H
#define SSI_RUN_CARRY_H

#include "userland/run/keeper.h"

keeper_op_fn carry_check, carry_round, carry_ready, carry_dump, carry_send, carry_recv, carry_restore,
	carry_resume, carry_thaw, carry_discard, carry_stdio, carry_moved, carry_place, carry_seal,
	carry_load;

/* The application ended, or we do: images and helpers go. */
void carry_ended(void);

#endif
