// SPDX-License-Identifier: GPL-2.0
/*
 * What membership keeps on disk:
 *   STATE_DIR/identity    which cluster and how this machine takes part (JSON)
 *   STATE_DIR/raft/       log and snapshots, and `id`: a log that is lost takes
 *                         its raft id with it
 *   key file              the cluster's secret, 64 hex digits, mode 0600
 *   RUN_DIR/generation    how often this boot was declared dead
 * Files are written beside their place, fsynced and renamed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "member_int.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define TOKEN_PREFIX   "t1-"
#define METADATA_BYTES 32

uint64_t member_unix_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

void member_hex(const void *data, size_t len, char *out)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	out[2 * len] = 0;
}

int member_unhex(const char *text, void *out, size_t len)
{
	unsigned char *p = out;

	for (size_t i = 0; i < len; i++) {
		char byte[3] = {text[2 * i], text[2 * i] ? text[2 * i + 1] : 0, 0};
		char *end;

		p[i] = (unsigned char)strtoul(byte, &end, 16);
		if (end != byte + 2)
			return -EINVAL;
	}
	return 0;
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

static int sync_dir_of(const char *path)
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

static int file_write(const char *path, const char *text)
{
	char tmp[272];
	_close_ int fd = -1;
	int r;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	fchmod(fd, 0600);
	r = write_all(fd, text, strlen(text));
	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(tmp);
	return r ? r : sync_dir_of(path);
}

/* Length, or negative errno; NUL-terminated, trailing white space removed. */
static int file_read(const char *path, char *buf, size_t size)
{
	_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	while (n && strchr(" \t\r\n", buf[n - 1]))
		n--;
	buf[n] = 0;
	return (int)n;
}

static void path_of(const char *dir, const char *name, char out[256])
{
	snprintf(out, 256, "%s/%s", dir, name);
}

/* ---- identity ---- */

static void copy_field(json_t *obj, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(obj, name));

	snprintf(out, size, "%s", text ? text : "");
}

int member_state_load(struct member *m)
{
	struct member_identity *id = &m->id;
	char path[256], text[4096];
	json_t *obj;
	int r;

	path_of(m->state_dir, "identity", path);
	r = file_read(path, text, sizeof(text));
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	obj = json_loads(text, 0, NULL);
	memset(id, 0, sizeof(*id));
	copy_field(obj, "cluster", id->cluster, sizeof(id->cluster));
	copy_field(obj, "name", id->name, sizeof(id->name));
	copy_field(obj, "tcp", id->tcp, sizeof(id->tcp));
	copy_field(obj, "address", id->address, sizeof(id->address));
	copy_field(obj, "bearer", id->bearer, sizeof(id->bearer));
	copy_field(obj, "transport", id->transport, sizeof(id->transport));
	m->insecure = json_is_true(json_object_get(obj, "insecure"));
	json_decref(obj);
	if (strlen(id->cluster) != 32 || !nodes_name_valid(id->name) || !id->address[0]) {
		log_err("%s is damaged; remove it and join the cluster again", path);
		return -EILSEQ;
	}
	return 1;
}

int member_state_save(struct member *m)
{
	const struct member_identity *id = &m->id;
	char path[256];
	_free_ char *text = NULL;
	json_t *obj;

	obj = json_pack("{si ss ss ss ss ss ss sb}", "version", 1, "cluster", id->cluster, "name", id->name,
			"tcp", id->tcp, "address", id->address, "bearer", id->bearer, "transport",
			id->transport, "insecure", m->insecure);
	text = json_dumps(obj, JSON_INDENT(2));
	json_decref(obj);
	path_of(m->state_dir, "identity", path);
	return text ? file_write(path, text) : -ENOMEM;
}

static void remove_files(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

void member_state_wipe(struct member *m)
{
	char path[256];

	path_of(m->state_dir, "identity", path);
	unlink(path);
	path_of(m->state_dir, "raft", path);
	remove_files(path);
}

/*
 * The engine's own metadata (term and vote) says that there is a log. It takes
 * files cut short for files never written and would begin anew: not with us.
 */
static bool metadata_is_whole(const char *dir, const char *name)
{
	char path[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return !stat(path, &st) && st.st_size >= METADATA_BYTES;
}

static bool log_is_there(const char *dir)
{
	return metadata_is_whole(dir, "metadata1") || metadata_is_whole(dir, "metadata2");
}

int member_raft_dir(struct member *m, bool fresh)
{
	char dir[256], path[300], text[64];
	int r;

	path_of(m->state_dir, "raft", dir);
	if ((mkdir(m->state_dir, 0755) < 0 && errno != EEXIST) || (mkdir(dir, 0700) < 0 && errno != EEXIST))
		return -errno;
	snprintf(path, sizeof(path), "%s/id", dir);
	if (!fresh) {
		r = file_read(path, text, sizeof(text));
		if (r == 16 && log_is_there(dir)) {
			m->id.raft_id = strtoull(text, NULL, 16);
			return m->id.raft_id ? 0 : -EILSEQ;
		}
		return -ENODATA;
	}
	remove_files(dir);
	do {
		if (getrandom(&m->id.raft_id, sizeof(m->id.raft_id), 0) < 0)
			return -errno;
		m->id.raft_id &= INT64_MAX;
	} while (!m->id.raft_id);
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)m->id.raft_id);
	return file_write(path, text);
}

/* ---- key and tokens ---- */

int member_key_load(struct member *m)
{
	char text[256];
	struct stat st;
	int r;

	m->has_key = false;
	if (m->insecure)
		return 0;
	r = file_read(m->key_path, text, sizeof(text));
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!stat(m->key_path, &st) && (st.st_mode & 077))
		log_warn("%s can be read by others; chmod 600 it", m->key_path);
	if (r != 2 * SECURE_KEY_BYTES || member_unhex(text, m->key, sizeof(m->key)) < 0) {
		log_err("%s is no key: it must hold %d hex digits", m->key_path, 2 * SECURE_KEY_BYTES);
		return -EINVAL;
	}
	m->has_key = true;
	return 1;
}

int member_key_store(struct member *m, const uint8_t key[SECURE_KEY_BYTES])
{
	char text[2 * SECURE_KEY_BYTES + 2];
	int r;

	member_hex(key, SECURE_KEY_BYTES, text);
	strcat(text, "\n");
	r = file_write(m->key_path, text);
	OPENSSL_cleanse(text, sizeof(text));
	if (r < 0)
		return r;
	memcpy(m->key, key, sizeof(m->key));
	m->has_key = true;
	return 0;
}

int member_key_create(struct member *m)
{
	uint8_t key[SECURE_KEY_BYTES];

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -errno;
	return member_key_store(m, key);
}

/*
 * A token is not stored anywhere: its name says when it ends, and its secret
 * is a MAC of the name under the cluster's key, so any member can check it.
 */
static void token_secret(struct member *m, const char *name, uint8_t out[SECURE_KEY_BYTES])
{
	unsigned int len = SECURE_KEY_BYTES;

	HMAC(EVP_sha256(), m->key, SECURE_KEY_BYTES, (const unsigned char *)name, strlen(name), out, &len);
}

static int token_key(struct member *m, const char *name, uint8_t key[SECURE_KEY_BYTES])
{
	unsigned long long expiry;

	if (sscanf(name, TOKEN_PREFIX "%llx-", &expiry) != 1)
		return -EINVAL;
	if (member_unix_ms() / 1000 >= expiry) {
		log_warn("a token that has expired was shown: %s", name);
		return -EKEYEXPIRED;
	}
	token_secret(m, name, key);
	return 0;
}

int member_find_key(void *arg, const char *identity, uint8_t key[SECURE_KEY_BYTES])
{
	struct member *m = arg;

	if (!m->has_key)
		return -ENOKEY;
	if (!strncmp(identity, TOKEN_PREFIX, strlen(TOKEN_PREFIX)))
		return token_key(m, identity, key);
	if (strcmp(identity, "key"))
		return -ENOKEY;
	memcpy(key, m->key, SECURE_KEY_BYTES);
	return 0;
}

int member_token(struct member *m, unsigned int ttl_s, char *out, size_t size)
{
	uint8_t secret[SECURE_KEY_BYTES], nonce[8];
	char name[64], hex[2 * SECURE_KEY_BYTES + 1], nonce_hex[17];

	if (!m->in_cluster)
		return -ENOTCONN;
	if (m->insecure || !m->has_key)
		return -ENOTSUP;
	if (getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce))
		return -errno;
	member_hex(nonce, sizeof(nonce), nonce_hex);
	snprintf(name, sizeof(name), TOKEN_PREFIX "%llx-%s",
		 (unsigned long long)(member_unix_ms() / 1000 + ttl_s), nonce_hex);
	token_secret(m, name, secret);
	member_hex(secret, sizeof(secret), hex);
	if ((size_t)snprintf(out, size, "%s:%s@%s", name, hex, m->id.tcp) >= size)
		return -ENOSPC;
	return 0;
}

int member_secret_parse(const char *text, char identity[SECURE_IDENTITY_MAX], uint8_t key[SECURE_KEY_BYTES],
			char hint[TRANSPORT_ADDRESS_MAX])
{
	char copy[512], *secret, *at;

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
		strcpy(identity, "key");
		return 0;
	}
	if (strncmp(copy, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) ||
	    (size_t)snprintf(identity, SECURE_IDENTITY_MAX, "%s", copy) >= SECURE_IDENTITY_MAX)
		return -EINVAL;
	return 0;
}

/* ---- the life we are in ---- */

static uint64_t boot_hash(void)
{
	char text[64] = "";
	uint64_t h = 14695981039346656037ull;

	file_read("/proc/sys/kernel/random/boot_id", text, sizeof(text));
	for (const char *c = text; *c; c++)
		h = (h ^ (unsigned char)*c) * 1099511628211ull;
	return h;
}

/* Boot (48 bits) and generation (16). RUN_DIR does not outlive the boot. */
uint64_t member_incarnation(struct member *m, bool next)
{
	uint64_t boot = boot_hash() << 16;
	unsigned int generation = 1;
	char path[256], text[32];

	path_of(m->run_dir, "generation", path);
	if (file_read(path, text, sizeof(text)) > 0)
		generation = (unsigned int)strtoul(text, NULL, 10) & 0xffff;
	if (next)
		generation = (generation + 1) & 0xffff;
	snprintf(text, sizeof(text), "%u\n", generation);
	if (next && file_write(path, text) < 0)
		log_err("%s cannot be written: %s", path, strerror(errno));
	return boot | generation;
}
