// SPDX-License-Identifier: GPL-2.0
/*
 * From the cluster's key to the kernel's; see tipc_keys.h.
 */
#include "tipc_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "keys.h"
#include "tipc_genl.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define EXCHANGE_SYSCTL "/proc/sys/net/tipc/key_exchange_enabled"

/* The kernel would hand keys on by itself, to whoever has the last one. */
static void stop_exchange(void)
{
	_close_ int fd = open(EXCHANGE_SYSCTL, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0\n", 2) != 2)
		log_debug("%s: %s", EXCHANGE_SYSCTL, strerror(errno));
}

static void remembered_path(const char *run_dir, char out[256])
{
	snprintf(out, 256, "%s/tipc", run_dir);
}

/* The fingerprint of the key that is set, or "". */
static void recall(const char *run_dir, char out[KEYS_NAME_SIZE])
{
	char path[256];
	_close_ int fd = -1;
	ssize_t n;

	remembered_path(run_dir, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, out, KEYS_NAME_SIZE - 1);
	out[n > 0 ? n : 0] = 0;
	out[strcspn(out, "\n")] = 0;
}

static int remember(const char *run_dir, const char *name)
{
	char path[256], line[KEYS_NAME_SIZE + 2];

	remembered_path(run_dir, path);
	snprintf(line, sizeof(line), "%s\n", name);
	return keys_file_write(path, line);
}

/* *fresh: it had none, so it has no key either, whatever we remember (the module was loaded anew). */
static int set_identity(bool *fresh)
{
	uint8_t id[TIPC_ID_BYTES];
	int r;

	if (getrandom(id, sizeof(id), 0) != sizeof(id))
		return -errno;
	r = tipc_id_set(id);
	*fresh = !r;
	return r == -EPERM ? 0 : r; /* it has one since it booted */
}

int tipc_keys_set(const char *run_dir, const uint8_t secret[32])
{
	char name[KEYS_NAME_SIZE], set[KEYS_NAME_SIZE];
	uint8_t key[TIPC_KEY_BYTES];
	bool fresh = false;
	int r = set_identity(&fresh);

	if (r < 0)
		return r;
	keys_name(secret, name);
	recall(run_dir, set);
	if (!fresh && !strcmp(name, set))
		return 0;
	stop_exchange();
	keys_derive(secret, "netssi tipc 1", key, sizeof(key));
	r = tipc_key_set(key);
	explicit_bzero(key, sizeof(key));
	return r < 0 ? r : remember(run_dir, name);
}

void tipc_keys_forget(const char *run_dir, const uint8_t secret[32])
{
	char name[KEYS_NAME_SIZE], set[KEYS_NAME_SIZE];

	keys_name(secret, name);
	recall(run_dir, set);
	if (set[0] && strcmp(name, set))
		tipc_keys_drop(run_dir);
}

int tipc_keys_drop(const char *run_dir)
{
	char path[256];

	remembered_path(run_dir, path);
	if (access(path, F_OK) < 0)
		return 0; /* not ours */
	unlink(path);
	return tipc_key_flush();
}
