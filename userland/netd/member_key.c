// SPDX-License-Identifier: GPL-2.0
/*
 * The cluster's key as what a connection is authenticated by. Identities:
 *   key            the key of a cluster that was never rotated
 *   key-NAME       the key of that name (keys.h)
 *   t1-END-NONCE   a token that is good until END (Unix time, hex)
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define TOKEN_PREFIX "t1-"
#define KEY_PREFIX   "key-"
#define KEY_FIRST    "key"

/* ---- the key ---- */

int member_key_load(struct member *m)
{
	m->keys.has_key = false;
	return m->insecure ? 0 : keyring_load(&m->keys);
}

int member_key_store(struct member *m, const uint8_t key[SECURE_KEY_BYTES], unsigned int generation)
{
	return keyring_store(&m->keys, key, generation);
}

int member_key_create(struct member *m)
{
	uint8_t key[SECURE_KEY_BYTES];
	int r = keys_random(key);

	if (!r)
		r = member_key_store(m, key, 1);
	OPENSSL_cleanse(key, sizeof(key));
	return r;
}

void member_identity(void *arg, char identity[SECURE_IDENTITY_MAX])
{
	const struct member *m = arg;

	if (m->keys.generation == 1)
		strcpy(identity, KEY_FIRST);
	else
		snprintf(identity, SECURE_IDENTITY_MAX, KEY_PREFIX "%s", m->keys.name);
}

static int first_key(const struct member *m, uint8_t key[SECURE_KEY_BYTES])
{
	const struct keyring *k = &m->keys;

	if (k->generation > 2 || (k->generation == 2 && !k->old_until_ms))
		return -ENOKEY;
	memcpy(key, k->generation == 2 ? k->old : k->key, SECURE_KEY_BYTES);
	return 0;
}

/* ---- tokens ---- */

bool member_is_token(const char *identity)
{
	return !strncmp(identity, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
}

/*
 * A token is not stored anywhere: its name says when it ends, and its secret
 * is a MAC of the name under the cluster's key, so any member can check it, and
 * a new key ends all tokens.
 */
static void token_secret(struct member *m, const char *name, uint8_t out[SECURE_KEY_BYTES])
{
	unsigned int len = SECURE_KEY_BYTES;

	HMAC(EVP_sha256(), m->keys.key, SECURE_KEY_BYTES, (const unsigned char *)name, strlen(name), out,
	     &len);
}

static int token_key(struct member *m, const char *name, uint8_t key[SECURE_KEY_BYTES])
{
	unsigned long long expiry;

	if (sscanf(name, TOKEN_PREFIX "%llx-", &expiry) != 1)
		return -EINVAL;
	if (member_unix_ms() / 1000 >= expiry)
		return -EKEYEXPIRED;
	token_secret(m, name, key);
	return 0;
}

int member_token(struct member *m, unsigned int ttl_s, char *out, size_t size)
{
	uint8_t secret[SECURE_KEY_BYTES], nonce[8];
	char name[64], hex[2 * SECURE_KEY_BYTES + 1], nonce_hex[17];

	if (!m->in_cluster)
		return -ENOTCONN;
	if (m->insecure || !m->keys.has_key)
		return -ENOTSUP;
	if (getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce))
		return -errno;
	member_hex(nonce, sizeof(nonce), nonce_hex);
	snprintf(name, sizeof(name), TOKEN_PREFIX "%llx-%s",
		 (unsigned long long)(member_unix_ms() / 1000 + ttl_s), nonce_hex);
	token_secret(m, name, secret);
	member_hex(secret, sizeof(secret), hex);
	OPENSSL_cleanse(secret, sizeof(secret));
	if ((size_t)snprintf(out, size, "%s:%s@%s", name, hex, m->id.tcp) >= size)
		return -ENOSPC;
	return 0;
}

/* ---- what connections ask ---- */

int member_find_key(void *arg, const char *identity, uint8_t key[SECURE_KEY_BYTES])
{
	struct member *m = arg;
	bool old;
	int r;

	if (!m->keys.has_key)
		return -ENOKEY;
	if (member_is_token(identity))
		return token_key(m, identity, key);
	if (!strcmp(identity, KEY_FIRST))
		return first_key(m, key);
	if (strncmp(identity, KEY_PREFIX, strlen(KEY_PREFIX)))
		return -ENOKEY;
	r = keyring_find(&m->keys, identity + strlen(KEY_PREFIX), key, &old);
	if (r < 0)
		member_rotate_unknown(m);
	return r;
}

int member_secret_parse(const char *text, char identity[SECURE_IDENTITY_MAX], uint8_t key[SECURE_KEY_BYTES],
			char hint[TRANSPORT_ADDRESS_MAX])
{
	char copy[512], name[KEYS_NAME_SIZE], *secret, *at;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy))
		return -EINVAL;
	copy[strcspn(copy, " \t\r\n")] = 0;
	hint[0] = 0;
	at = strchr(copy, '@');
	if (at) {
		*at++ = 0;
		snprintf(hint, TRANSPORT_ADDRESS_MAX, "%s", at);
	}
	secret = strchr(copy, ':');
	if (secret)
		*secret++ = 0;
	else
		secret = copy;
	if (strlen(secret) != 2 * SECURE_KEY_BYTES || member_unhex(secret, key, SECURE_KEY_BYTES) < 0)
		return -EINVAL;
	if (secret == copy) {
		keys_name(key, name);
		snprintf(identity, SECURE_IDENTITY_MAX, KEY_PREFIX "%s", name);
		return 0;
	}
	if (!member_is_token(copy) ||
	    (size_t)snprintf(identity, SECURE_IDENTITY_MAX, "%s", copy) >= SECURE_IDENTITY_MAX)
		return -EINVAL;
	return 0;
}

bool member_secret_ours(struct member *m, const char *text)
{
	char identity[SECURE_IDENTITY_MAX], hint[TRANSPORT_ADDRESS_MAX];
	uint8_t theirs[SECURE_KEY_BYTES], ours[SECURE_KEY_BYTES];
	bool old, same = false;

	if (member_secret_parse(text, identity, theirs, hint) < 0 || !m->keys.has_key)
		return false;
	if (member_is_token(identity)) {
		token_secret(m, identity, ours);
		same = !CRYPTO_memcmp(ours, theirs, sizeof(ours));
	} else if (keyring_find(&m->keys, identity + strlen(KEY_PREFIX), ours, &old) >= 0) {
		same = !CRYPTO_memcmp(ours, theirs, sizeof(ours));
	}
	OPENSSL_cleanse(ours, sizeof(ours));
	OPENSSL_cleanse(theirs, sizeof(theirs));
	return same;
}
