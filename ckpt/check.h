/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of ckpt_check() share: check.c, check_inet.c, check_files.c. */
#ifndef SSI_CKPT_CHECK_H
#define SSI_CKPT_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ckpt/fds.h"

struct check {
	json_t *refusals;
	const pid_t *pids;
	const uint64_t *pipes;
	ino_t *unix_sockets; /* of the application */
	size_t n_unix, room_unix;
	struct check_group *groups; /* multicast groups that this node has joined */
	size_t n_groups;
	bool ipc_host;
};

/* fd -1: none; path "": none. */
void check_refuse(struct check *c, pid_t pid, int fd, const char *path, const char *reason,
		  const char *remedy);
void check_refuse_fd(struct check *c, const struct ckpt_fd *f, const char *reason, const char *remedy);

/* check_inet.c; `fd`: ours */
void check_groups(struct check *c);
void check_inet(struct check *c, const struct ckpt_fd *f, int fd);

/* check_limits.c */
void check_limits(struct check *c, pid_t pid);

/* check_files.c */
void check_mapped(struct check *c, pid_t pid, const char *path);

#endif
