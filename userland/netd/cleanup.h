/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SSI_CLEANUP_CMD_H
#define SSI_CLEANUP_CMD_H

/* `netd --cleanup`: takes out of this machine's kernel what an earlier netd left there, and says so. Refuses while
 * one runs. Exit status: 0 nothing is left, 1. */
int cleanup_run(void);

#endif
