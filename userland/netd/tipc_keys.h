/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's TIPC keys, made from the cluster's key. AES-GCM breaks when a key is
 * used twice with the same counter, and the kernel's counter begins at 0 with each
 * setting: so a key is set once in a boot (remembered in RUN_DIR/tipc, by its
 * fingerprint), and the node identity, which is part of the nonce, is random in
 * every boot.
 */
#ifndef SSI_TIPC_KEYS_H
#define SSI_TIPC_KEYS_H

#include <stdint.h>

/* Identity and key are set, unless they are. -EBUSY: try again later. */
int tipc_keys_set(const char *run_dir, const uint8_t secret[32]);
/* Before the bearer is up: keys of another cluster go. */
void tipc_keys_forget(const char *run_dir, const uint8_t secret[32]);
/* No keys any more: clear text. */
int tipc_keys_drop(const char *run_dir);

#endif
