/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Control groups: an application's scope ssi.slice/ssi-NAME.scope. Where
 * systemd runs it makes the scope, elsewhere it is a directory on the cgroup2
 * hierarchy (also that of a hybrid machine).
 */
#ifndef SSI_RUN_CGROUP_H
#define SSI_RUN_CGROUP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Puts pid into NAME's scope. 0, or a negative errno after a line on stderr. */
int cgroup_scope(const char *name, pid_t pid, char *path, size_t size, uint64_t *id);
/* The scope is empty: let it go. */
void cgroup_remove(const char *path);
/* Leave the caller's service or session: what it starts must outlive that. */
int cgroup_leave(const char *name);
/* "/sys/fs/cgroup" or the like, mounted if need be; NULL: there is no cgroup2. */
const char *cgroup_mount(void);

#endif
