/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The cluster's key and what is made of it. A key is 32 random bytes; each use
 * has a key of its own (HKDF-SHA256 with the use's label). Its name, for the wire
 * and the log, is 16 hex digits that say nothing about it.
 *
 * A keyring is the key of now and, after a rotation, the one before for as long
 * as nodes that were away may still come with it. On disk: the key file (64 hex
 * digits, what an administrator copies) and STATE_DIR/keyring (the rest, JSON); both
 * 0600, written beside their place, fsynced, renamed. One thread: the loop's.
 */
#ifndef SSI_KEYS_H
#define SSI_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_BYTES     32
#define KEYS_NAME_SIZE 17				/* with the NUL */
#define KEYS_WRAP_SIZE (2 * (12 + KEYS_BYTES + 16) + 1) /* nonce, key, tag; hex */

struct keyring {
	char path[200], state_dir[200];
	bool has_key;
	uint8_t key[KEYS_BYTES];
	char name[KEYS_NAME_SIZE];
	unsigned int generation; /* how often rotated; 0 not known: the key came by hand */
	uint8_t old[KEYS_BYTES];
	char old_name[KEYS_NAME_SIZE];
	uint64_t old_until_ms; /* Unix time; 0: no old key */
};

void keys_derive(const uint8_t secret[KEYS_BYTES], const char *label, uint8_t *out, size_t len);
void keys_name(const uint8_t secret[KEYS_BYTES], char out[KEYS_NAME_SIZE]);
int keys_random(uint8_t key[KEYS_BYTES]);

/* A key on its way to those who know `under` (AES-256-GCM). -EKEYREJECTED: another key wrapped it. */
int keys_wrap(const uint8_t under[KEYS_BYTES], const uint8_t key[KEYS_BYTES], char out[KEYS_WRAP_SIZE]);
int keys_unwrap(const uint8_t under[KEYS_BYTES], const char *text, uint8_t key[KEYS_BYTES]);

/* 0600, whole or not at all, on disk on return. */
int keys_file_write(const char *path, const char *text);

/* 1, 0: no key file, or a negative errno after a log line. */
int keyring_load(struct keyring *k);
/* The first key, or one that was handed over when joining: no old one. */
int keyring_store(struct keyring *k, const uint8_t key[KEYS_BYTES], unsigned int generation);
/* The next key; the present one is good until then. On failure all is as before. */
int keyring_rotate(struct keyring *k, const uint8_t key[KEYS_BYTES], unsigned int generation,
		   uint64_t old_until_ms);
/* Forgets the old key when its time is over: true when that happened now. */
bool keyring_expire(struct keyring *k, uint64_t now_ms);
/* The key of that name: present or old (*old). -ENOKEY. */
int keyring_find(const struct keyring *k, const char *name, uint8_t key[KEYS_BYTES], bool *old);

#endif
