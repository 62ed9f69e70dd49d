// SPDX-License-Identifier: GPL-2.0
/*
 * Keys, their derivation and their files; see keys.h.
 */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define NONCE_BYTES 12
#define TAG_BYTES   16
#define WRAP_LABEL  "netssi key wrap 1"
#define NAME_LABEL  "netssi key name 1"

/* ---- hex ---- */

static void to_hex(const uint8_t *data, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", data[i]);
	out[2 * len] = 0;
}

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static int from_hex(const char *text, uint8_t *out, size_t len)
{
	if (!text || strlen(text) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* ---- derivation ---- */

static void kdf_context_free(EVP_KDF_CTX **c)
{
	EVP_KDF_CTX_free(*c);
}

/* A library that cannot do HKDF is no library to go on with. */
void keys_derive(const uint8_t secret[KEYS_BYTES], const char *label, uint8_t *out, size_t len)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	_cleanup_(kdf_context_free) EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, KEYS_BYTES),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	EVP_KDF_free(kdf);
	if (!c || EVP_KDF_derive(c, out, len, params) <= 0)
		abort();
}

void keys_name(const uint8_t secret[KEYS_BYTES], char out[KEYS_NAME_SIZE])
{
	uint8_t name[(KEYS_NAME_SIZE - 1) / 2];

	keys_derive(secret, NAME_LABEL, name, sizeof(name));
	to_hex(name, sizeof(name), out);
}

int keys_random(uint8_t key[KEYS_BYTES])
{
	return getrandom(key, KEYS_BYTES, 0) == KEYS_BYTES ? 0 : -EIO;
}

/* ---- wrapping ---- */

static void cipher_free(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

/* In and out are nonce, text and tag in a row; `from` and `to` may not be one. */
static int wrap_cipher(const uint8_t under[KEYS_BYTES], bool seal, const uint8_t nonce[NONCE_BYTES],
		       const uint8_t *from, uint8_t *to, uint8_t tag[TAG_BYTES])
{
	_cleanup_(cipher_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t kek[KEYS_BYTES];
	int n, ok;

	if (!c)
		return -ENOMEM;
	keys_derive(under, WRAP_LABEL, kek, sizeof(kek));
	ok = EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, kek, nonce, seal);
	OPENSSL_cleanse(kek, sizeof(kek));
	ok = ok && EVP_CipherUpdate(c, to, &n, from, KEYS_BYTES);
	if (ok && !seal)
		ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag);
	ok = ok && EVP_CipherFinal_ex(c, to + KEYS_BYTES, &n) > 0;
	if (ok && seal)
		ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag);
	return ok ? 0 : -EKEYREJECTED;
}

int keys_wrap(const uint8_t under[KEYS_BYTES], const uint8_t key[KEYS_BYTES], char out[KEYS_WRAP_SIZE])
{
	uint8_t raw[NONCE_BYTES + KEYS_BYTES + TAG_BYTES];
	int r;

	if (getrandom(raw, NONCE_BYTES, 0) != NONCE_BYTES)
		return -EIO;
	r = wrap_cipher(under, true, raw, key, raw + NONCE_BYTES, raw + NONCE_BYTES + KEYS_BYTES);
	to_hex(raw, sizeof(raw), out);
	return r;
}

int keys_unwrap(const uint8_t under[KEYS_BYTES], const char *text, uint8_t key[KEYS_BYTES])
{
	uint8_t raw[NONCE_BYTES + KEYS_BYTES + TAG_BYTES], plain[KEYS_BYTES];
	int r = from_hex(text, raw, sizeof(raw));

	if (!r)
		r = wrap_cipher(under, false, raw, raw + NONCE_BYTES, plain, raw + NONCE_BYTES + KEYS_BYTES);
	if (!r)
		memcpy(key, plain, sizeof(plain));
	OPENSSL_cleanse(plain, sizeof(plain));
	return r;
}

/* ---- files ---- */

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory(const char *path)
{
	char dir[256];
	char *slash;
	_close_ int fd = -1;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash)
		return 0;
	*slash = 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int keys_file_write(const char *path, const char *text)
{
	char beside[272];
	_close_ int fd = -1;
	int r;

	snprintf(beside, sizeof(beside), "%s.new", path);
	unlink(beside);
	fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, strlen(text));
	if (!r && rename(beside, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(beside);
	return r ? r : sync_directory(path);
}

static int write_key(const struct keyring *k, const uint8_t key[KEYS_BYTES])
{
	char text[2 * KEYS_BYTES + 2];
	int r;

	to_hex(key, KEYS_BYTES, text);
	strcat(text, "\n");
	r = keys_file_write(k->path, text);
	OPENSSL_cleanse(text, sizeof(text));
	return r;
}

static int write_ring(const struct keyring *k)
{
	char path[256], old[2 * KEYS_BYTES + 1] = "";
	_free_ char *text = NULL;
	json_t *o;
	int r;

	if (k->old_until_ms)
		to_hex(k->old, KEYS_BYTES, old);
	o = json_pack("{si ss si ss sI}", "version", 1, "name", k->name, "generation", (int)k->generation,
		      "old", old, "old_until_ms", (json_int_t)k->old_until_ms);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	OPENSSL_cleanse(old, sizeof(old));
	if (!text)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/keyring", k->state_dir);
	r = keys_file_write(path, text);
	OPENSSL_cleanse(text, strlen(text));
	return r;
}

/* ---- the keyring ---- */

static int read_key(struct keyring *k)
{
	char text[256];
	_close_ int fd = open(k->path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!fstat(fd, &st) && (st.st_mode & 077))
		log_warn("%s can be read by others; chmod 600 it", k->path);
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	text[n] = 0;
	r = from_hex(text, k->key, KEYS_BYTES);
	OPENSSL_cleanse(text, sizeof(text));
	if (r < 0) {
		log_err("%s is no key: it must hold %d hex digits", k->path, 2 * KEYS_BYTES);
		return r;
	}
	return 1;
}

/* What belongs to another key than the one in the key file is out of date. */
static void read_ring(struct keyring *k)
{
	json_t *o, *until;
	char path[256];

	snprintf(path, sizeof(path), "%s/keyring", k->state_dir);
	o = json_load_file(path, 0, NULL);
	if (!o || strcmp(json_string_value(json_object_get(o, "name")) ?: "", k->name)) {
		json_decref(o);
		return;
	}
	k->generation = (unsigned int)json_integer_value(json_object_get(o, "generation"));
	until = json_object_get(o, "old_until_ms");
	if (!from_hex(json_string_value(json_object_get(o, "old")), k->old, KEYS_BYTES)) {
		k->old_until_ms = (uint64_t)json_integer_value(until);
		keys_name(k->old, k->old_name);
	}
	json_decref(o);
}

static void forget_old(struct keyring *k)
{
	OPENSSL_cleanse(k->old, sizeof(k->old));
	k->old_name[0] = 0;
	k->old_until_ms = 0;
}

int keyring_load(struct keyring *k)
{
	int r;

	k->has_key = false;
	k->generation = 0;
	forget_old(k);
	r = read_key(k);
	if (r <= 0)
		return r;
	k->has_key = true;
	keys_name(k->key, k->name);
	read_ring(k);
	return 1;
}

/* The ring is written first: one that belongs to another key is not believed. */
static int keyring_write(struct keyring *k, const struct keyring *next)
{
	int r;

	mkdir(k->state_dir, 0755);
	r = write_ring(next);
	if (!r)
		r = write_key(next, next->key);
	if (!r)
		*k = *next;
	return r;
}

int keyring_store(struct keyring *k, const uint8_t key[KEYS_BYTES], unsigned int generation)
{
	struct keyring next = *k;
	int r;

	next.has_key = true;
	next.generation = generation;
	memcpy(next.key, key, KEYS_BYTES);
	keys_name(key, next.name);
	forget_old(&next);
	r = keyring_write(k, &next);
	OPENSSL_cleanse(&next, sizeof(next));
	return r;
}

int keyring_rotate(struct keyring *k, const uint8_t key[KEYS_BYTES], unsigned int generation,
		   uint64_t old_until_ms)
{
	struct keyring next = *k;
	int r;

	memcpy(next.old, k->key, KEYS_BYTES);
	strcpy(next.old_name, k->name);
	next.old_until_ms = old_until_ms;
	next.generation = generation;
	memcpy(next.key, key, KEYS_BYTES);
	keys_name(key, next.name);
	r = keyring_write(k, &next);
	OPENSSL_cleanse(&next, sizeof(next));
	return r;
}

bool keyring_expire(struct keyring *k, uint64_t now_ms)
{
	if (!k->old_until_ms || now_ms < k->old_until_ms)
		return false;
	forget_old(k);
	if (write_ring(k) < 0)
		log_warn("%s/keyring cannot be written: the old key stays on disk", k->state_dir);
	return true;
}

int keyring_find(const struct keyring *k, const char *name, uint8_t key[KEYS_BYTES], bool *old)
{
	*old = k->old_until_ms && !strcmp(name, k->old_name);
	if (!k->has_key || (!*old && strcmp(name, k->name)))
		return -ENOKEY;
	memcpy(key, *old ? k->old : k->key, KEYS_BYTES);
	return 0;
}
