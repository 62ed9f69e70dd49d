// SPDX-License-Identifier: GPL-2.0
/*
 * The mark beside the log; see kddm_mark.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kddm_mark.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define MARK_MAGIC  0x4b52414d4d44444bull /* "KDDMMARK" */
#define MARK_SLOTS  2
#define SLOT_STRIDE 4096 /* no disk has larger sectors */

struct slot {
	uint64_t magic;
	uint64_t seq;
	uint64_t index;
	uint64_t term, vote;
	uint64_t old_term, old_vote; /* before the last change */
	uint64_t sum;
};

struct kddm_mark {
	struct slot now;
	int fd;
	bool dirty, syncing, closing;
	uv_timer_t timer;
	uv_fs_t sync;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* FNV-1a over whole words, with a mix: enough against bits that fell over. */
static uint64_t sum_of(const struct slot *s)
{
	const uint64_t *w = (const uint64_t *)s;
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < offsetof(struct slot, sum) / sizeof(*w); i++) {
		h = (h ^ w[i]) * 1099511628211ull;
		h ^= h >> 29;
	}
	return h;
}

static int write_slot(struct kddm_mark *m)
{
	off_t at = (off_t)(++m->now.seq % MARK_SLOTS) * SLOT_STRIDE;

	m->now.sum = sum_of(&m->now);
	if (pwrite(m->fd, &m->now, sizeof(m->now), at) == sizeof(m->now))
		return 0;
	return errno ? -errno : -EIO;
}

static int write_synced(struct kddm_mark *m)
{
	int r = write_slot(m);

	return r < 0 ? r : fdatasync(m->fd) < 0 ? -errno : 0;
}

/* ---- to the disk, a moment later ---- */

static void on_sync_time(uv_timer_t *t);

static void finish_close(uv_handle_t *h)
{
	struct kddm_mark *m = h->data;

	close(m->fd);
	if (m->closed)
		m->closed(m->closed_arg);
	free(m);
}

static void on_synced(uv_fs_t *req)
{
	struct kddm_mark *m = req->data;

	if (req->result < 0)
		log_err("the mark beside the log does not reach the disk: %s", strerror((int)-req->result));
	uv_fs_req_cleanup(req);
	m->syncing = false;
	if (m->closing)
		uv_close((uv_handle_t *)&m->timer, finish_close);
	else if (m->dirty)
		uv_timer_start(&m->timer, on_sync_time, KDDM_MARK_SYNC_MS, 0);
}

static void sync_now(struct kddm_mark *m)
{
	m->dirty = false;
	m->syncing = true;
	uv_fs_fdatasync(m->timer.loop, &m->sync, m->fd, on_synced);
}

static void on_sync_time(uv_timer_t *t)
{
	struct kddm_mark *m = t->data;

	if (m->dirty && !m->syncing)
		sync_now(m);
}

static void sync_soon(struct kddm_mark *m)
{
	if (!m->dirty && !m->syncing)
		uv_timer_start(&m->timer, on_sync_time, KDDM_MARK_SYNC_MS, 0);
	m->dirty = true;
}

/* ---- opening ---- */

static bool read_slots(struct kddm_mark *m)
{
	for (int i = 0; i < MARK_SLOTS; i++) {
		struct slot s;

		if (pread(m->fd, &s, sizeof(s), (off_t)i * SLOT_STRIDE) != sizeof(s))
			continue;
		if (s.magic == MARK_MAGIC && s.sum == sum_of(&s) && s.seq > m->now.seq)
			m->now = s;
	}
	return m->now.seq;
}

/* Both slots exist from the start: later writes need no space on the disk. */
static int make_anew(struct kddm_mark *m, const char *dir)
{
	_close_ int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	m->now.magic = MARK_MAGIC;
	for (int i = 0; i < MARK_SLOTS && !r; i++)
		r = write_synced(m);
	if (!r && (dir_fd < 0 || fsync(dir_fd) < 0))
		r = -errno;
	return r;
}

int kddm_mark_open(uv_loop_t *loop, const char *dir, bool fresh, struct kddm_mark **out)
{
	struct kddm_mark *m = calloc(1, sizeof(*m));
	char path[300];
	int r = 0;

	if (!m)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/mark", dir);
	m->fd = open(path, O_RDWR | O_CLOEXEC | (fresh ? O_CREAT : 0), 0600);
	if (m->fd < 0)
		r = errno == ENOENT ? -ENODATA : -errno;
	else if (!read_slots(m))
		r = fresh ? make_anew(m, dir) : -ENODATA;
	if (r < 0) {
		if (m->fd >= 0)
			close(m->fd);
		free(m);
		return r;
	}
	uv_timer_init(loop, &m->timer);
	m->timer.data = m->sync.data = m;
	*out = m;
	return 0;
}

void kddm_mark_close(struct kddm_mark *m, void (*closed)(void *arg), void *arg)
{
	m->closing = true;
	m->closed = closed;
	m->closed_arg = arg;
	if (m->syncing)
		return; /* what follows now reaches the page cache, and the log itself is whole */
	if (m->dirty)
		sync_now(m);
	else
		uv_close((uv_handle_t *)&m->timer, finish_close);
}

/* ---- promises ---- */

uint64_t kddm_mark_index(const struct kddm_mark *m)
{
	return m->now.index;
}

bool kddm_mark_agrees(struct kddm_mark *m, uint64_t term, uint64_t vote)
{
	struct slot *s = &m->now;

	if (term == s->old_term && vote == s->old_vote) {
		s->term = term;
		s->vote = vote;
	}
	kddm_mark_voted(m);
	return term == s->term && vote == s->vote;
}

int kddm_mark_acked(struct kddm_mark *m, uint64_t index)
{
	int r;

	if (index <= m->now.index)
		return 0;
	m->now.index = index;
	r = write_slot(m);
	sync_soon(m);
	return r;
}

int kddm_mark_cut(struct kddm_mark *m, uint64_t index)
{
	if (index > m->now.index)
		return 0;
	m->now.index = index - 1;
	return write_synced(m);
}

int kddm_mark_vote(struct kddm_mark *m, uint64_t term, uint64_t vote)
{
	m->now.term = term;
	m->now.vote = vote;
	return write_synced(m);
}

/* Until the next change both stand in the mark: it is written first. */
void kddm_mark_voted(struct kddm_mark *m)
{
	m->now.old_term = m->now.term;
	m->now.old_vote = m->now.vote;
}
