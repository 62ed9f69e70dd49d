// SPDX-License-Identifier: GPL-2.0
/*
 * What membership keeps on disk:
 *   STATE_DIR/identity    which cluster and how this machine takes part (JSON)
 *   STATE_DIR/raft/       log and snapshots, `mark` (kddm_mark.h), and `id`: a log
 *                         that is lost takes its raft id with it
 *   STATE_DIR/peers       addresses of the others (member_rotate.c), also for when the log is lost
 *   RUN_DIR/generation    how often this boot was declared dead
 * Files are written beside their place, fsynced and renamed. The keys have files of
 * their own (keys.h).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "member_int.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

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
	copy_field(obj, "rejoin", id->rejoin, sizeof(id->rejoin));
	copy_field(obj, "diverged", id->diverged, sizeof(id->diverged));
	m->insecure = json_is_true(json_object_get(obj, "insecure"));
	id->witness = json_is_true(json_object_get(obj, "witness"));
	id->recover = json_is_true(json_object_get(obj, "recover"));
	generation_unpack(obj, &id->generation);
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
	generation_pack(obj, &id->generation);
	if (id->witness)
		json_object_set_new(obj, "witness", json_true());
	if (id->recover)
		json_object_set_new(obj, "recover", json_true());
	if (id->rejoin[0])
		json_object_set_new(obj, "rejoin", json_string(id->rejoin));
	if (id->diverged[0])
		json_object_set_new(obj, "diverged", json_string(id->diverged));
	text = json_dumps(obj, JSON_INDENT(2));
	json_decref(obj);
	path_of(m->state_dir, "identity", path);
	return text ? keys_file_write(path, text) : -ENOMEM;
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
	path_of(m->state_dir, "peers", path);
	unlink(path);
	path_of(m->state_dir, "raft", path);
	remove_files(path);
	member_log_forget_aside(m);
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
		if (r < 0 && r != -ENOENT)
			return r;
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
	return keys_file_write(path, text);
}

/* ---- a log that cannot be used ---- */

/* The log grows by whole segments. */
bool member_disk_full(struct member *m)
{
	struct statvfs s;

	return !statvfs(m->state_dir, &s) &&
	       (s.f_bavail * s.f_frsize < KDDM_SEGMENT_BYTES || (s.f_files && !s.f_favail));
}

/* An older one that is there already is worth more than what came after it. */
void member_log_set_aside(struct member *m)
{
	char dir[256], aside[256];

	path_of(m->state_dir, "raft", dir);
	path_of(m->state_dir, "raft.damaged", aside);
	if (rename(dir, aside) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
		log_warn("%s cannot be set aside: %s", dir, strerror(errno));
}

void member_log_forget_aside(struct member *m)
{
	char aside[256];

	path_of(m->state_dir, "raft.damaged", aside);
	remove_files(aside);
	rmdir(aside);
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
	if (next && keys_file_write(path, text) < 0)
		log_err("%s cannot be written: %s", path, strerror(errno));
	return boot | generation;
}
