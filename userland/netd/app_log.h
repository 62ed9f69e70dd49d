/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log that a detached application left on this node: readable when its
 * keeper, who answers as long as it runs, is gone.
 */
#ifndef SSI_APP_LOG_H
#define SSI_APP_LOG_H

#include <jansson.h>
#include <stddef.h>

/* {"lines":[…]}: the last `lines` of it; NULL when there is no log. */
json_t *app_log_tail(const char *app, size_t lines);

#endif
