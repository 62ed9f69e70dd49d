// SPDX-License-Identifier: GPL-2.0
/*
 * The engine's I/O with the mark held against it; see kddm_log.h. Each function
 * here stands before libraft's own of the same name. What the mark must say
 * before a promise leaves this machine is written before the engine hears that
 * its own write is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kddm_log.h"
#include "userland/lib/log.h"

struct kddm_log_append {
	struct raft_io_append req; /* libraft's */
	struct raft_io_append *asked;
	raft_io_append_cb cb;
	struct kddm_log *log;
	raft_index last;
	raft_term term; /* of that entry; 0: it was cut off meanwhile */
	struct kddm_log_append *next;
};

struct put {
	struct raft_io_snapshot_put req;
	struct raft_io_snapshot_put *asked;
	raft_io_snapshot_put_cb cb;
	struct kddm_log *log;
	raft_index replaces; /* the whole log ends here now; 0: it does not */
};

static struct kddm_log *log_of(struct raft_io *io)
{
	return (struct kddm_log *)((char *)io - offsetof(struct kddm_log, io));
}

/* ---- loading ---- */

static void free_entries(struct raft_entry *entries, size_t n)
{
	void *batch = NULL;

	for (size_t i = 0; i < n; i++) {
		if (entries[i].batch && entries[i].batch == batch)
			continue;
		batch = entries[i].batch;
		raft_free(batch ? batch : entries[i].buf.base);
	}
	raft_free(entries);
}

static void free_snapshot(struct raft_snapshot *s)
{
	if (!s)
		return;
	raft_configuration_close(&s->configuration);
	for (unsigned int i = 0; i < s->n_bufs; i++)
		raft_free(s->bufs[i].base);
	raft_free(s->bufs);
	raft_free(s);
}

static bool is_writable(const char *dir)
{
	char path[300], block[4096] = "";
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "%s/probe", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	ok = write(fd, block, sizeof(block)) == sizeof(block) && !fsync(fd);
	close(fd);
	unlink(path);
	return ok;
}

static int compare(struct kddm_log *log, raft_term term, raft_id vote)
{
	uint64_t index = kddm_mark_index(log->mark);

	if (log->last < index)
		snprintf(log->io.errmsg, sizeof(log->io.errmsg),
			 "entries up to %llu were acknowledged, the log ends at %llu",
			 (unsigned long long)index, (unsigned long long)log->last);
	else if (!kddm_mark_agrees(log->mark, term, vote))
		snprintf(log->io.errmsg, sizeof(log->io.errmsg),
			 "the term and vote in the log (%llu, %llx) are not those given",
			 (unsigned long long)term, (unsigned long long)vote);
	else
		return 0;
	log->damaged = true;
	return RAFT_CORRUPT;
}

static int guarded_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
			struct raft_snapshot **snapshot, raft_index *start_index,
			struct raft_entry *entries[], size_t *n_entries)
{
	struct kddm_log *log = log_of(io);
	int rv = log->uv.load(io, term, voted_for, snapshot, start_index, entries, n_entries);

	/* A disk that takes new files and does not give back the old ones. */
	log->damaged = rv && is_writable(log->dir);
	if (rv)
		return log->damaged ? RAFT_CORRUPT : rv;
	log->term = *term;
	log->last = *start_index + *n_entries - 1;
	for (size_t i = 0; i < *n_entries; i++)
		log->bytes += (*entries)[i].buf.len;
	log->last_term = *n_entries ? (*entries)[*n_entries - 1].term : 0;
	if (*snapshot && (*snapshot)->index >= log->last) {
		log->last = (*snapshot)->index;
		log->last_term = (*snapshot)->term;
	}
	rv = compare(log, *term, *voted_for);
	/* The first heartbeat that fits is answered with all that is here. */
	if (!rv && kddm_mark_acked(log->mark, log->last) < 0)
		rv = RAFT_IOERR;
	if (!rv)
		return 0;
	free_entries(*entries, *n_entries);
	free_snapshot(*snapshot);
	*entries = NULL;
	*snapshot = NULL;
	*n_entries = 0;
	return rv;
}

/* ---- writing ---- */

static int guarded_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
	struct kddm_log *log = log_of(io);

	int rv;

	if (kddm_mark_vote(log->mark, 1, 0) < 0) /* what it writes */
		return RAFT_IOERR;
	rv = log->uv.bootstrap(io, conf);
	if (!rv)
		kddm_mark_voted(log->mark);
	return rv;
}

static int guarded_set_term(struct raft_io *io, raft_term term)
{
	struct kddm_log *log = log_of(io);
	int rv;

	if (kddm_mark_vote(log->mark, term, 0) < 0)
		return RAFT_IOERR;
	rv = log->uv.set_term(io, term);
	if (rv)
		return rv;
	log->term = term;
	kddm_mark_voted(log->mark);
	return 0;
}

static int guarded_set_vote(struct raft_io *io, raft_id id)
{
	struct kddm_log *log = log_of(io);
	int rv;

	if (kddm_mark_vote(log->mark, log->term, id) < 0)
		return RAFT_IOERR;
	rv = log->uv.set_vote(io, id);
	if (!rv)
		kddm_mark_voted(log->mark);
	return rv;
}

static void append_forget(struct kddm_log_append *a)
{
	struct kddm_log_append **p = &a->log->appends;

	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
}

static void on_appended(struct raft_io_append *req, int status)
{
	struct kddm_log_append *a = req->data;
	struct raft_io_append *asked = a->asked;
	raft_io_append_cb cb = a->cb;

	append_forget(a);
	a->log->done++;
	if (!status && kddm_mark_acked(a->log->mark, a->last) < 0)
		status = RAFT_IOERR;
	if (!status && a->term) {
		a->log->stored.index = a->last;
		a->log->stored.term = a->term;
	}
	free(a);
	cb(asked, status);
}

static int guarded_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[],
			  unsigned int n, raft_io_append_cb cb)
{
	struct kddm_log *log = log_of(io);
	struct kddm_log_append *a = calloc(1, sizeof(*a));
	int rv;

	if (!a)
		return RAFT_NOMEM;
	a->req.data = a;
	a->asked = req;
	a->cb = cb;
	a->log = log;
	a->last = log->last + n;
	a->term = n ? entries[n - 1].term : 0;
	a->next = log->appends;
	log->appends = a;
	rv = log->uv.append(io, &a->req, entries, n, on_appended);
	log->refused = rv == RAFT_NOSPACE;
	if (!rv) {
		log->last += n;
		log->last_term = n ? entries[n - 1].term : log->last_term;
		for (unsigned int i = 0; i < n; i++)
			log->bytes += entries[i].buf.len;
		return 0;
	}
	append_forget(a);
	free(a);
	return rv;
}

/* What was to be cut off is not acknowledged any more, whoever still writes it. */
static int guarded_truncate(struct raft_io *io, raft_index index)
{
	struct kddm_log *log = log_of(io);
	int rv;

	if (kddm_mark_cut(log->mark, index) < 0)
		return RAFT_IOERR;
	rv = log->uv.truncate(io, index);
	if (rv)
		return rv;
	for (struct kddm_log_append *a = log->appends; a; a = a->next)
		if (a->last >= index) {
			a->last = index - 1;
			a->term = 0;
		}
	if (log->stored.index >= index)
		log->stored.index = log->stored.term = 0;
	log->last = index - 1;
	return 0;
}

static void on_put(struct raft_io_snapshot_put *req, int status)
{
	struct put *p = req->data;
	struct raft_io_snapshot_put *asked = p->asked;
	raft_io_snapshot_put_cb cb = p->cb;

	if (!status && p->replaces && kddm_mark_acked(p->log->mark, p->replaces) < 0)
		status = RAFT_IOERR;
	free(p);
	cb(asked, status);
}

/* Without trailing entries it is another's snapshot, in place of our log. */
static int guarded_put(struct raft_io *io, unsigned int trailing, struct raft_io_snapshot_put *req,
		       const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct kddm_log *log = log_of(io);
	struct put *p = calloc(1, sizeof(*p));
	int rv;

	if (!p)
		return RAFT_NOMEM;
	p->req.data = p;
	p->asked = req;
	p->cb = cb;
	p->log = log;
	if (!trailing) {
		p->replaces = snapshot->index;
		if (kddm_mark_cut(log->mark, snapshot->index + 1) < 0) {
			free(p);
			return RAFT_IOERR;
		}
		log->last = snapshot->index;
		log->last_term = snapshot->term;
		log->stored.index = log->stored.term = 0;
	}
	rv = log->uv.snapshot_put(io, trailing, &p->req, snapshot, on_put);
	if (rv)
		free(p);
	return rv;
}

/* ---- opening ---- */

static bool has_log(const char *dir)
{
	static const char *const names[] = {"metadata1", "metadata2"};
	char path[300];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (!access(path, F_OK))
			return true;
	}
	return false;
}

static int open_mark(struct kddm_log *log, uv_loop_t *loop, const char *dir)
{
	int r = kddm_mark_open(loop, dir, !has_log(dir), &log->mark);

	if (!r)
		return 0;
	log->damaged = r == -ENODATA;
	if (log->damaged)
		snprintf(log->io.errmsg, sizeof(log->io.errmsg), "its mark is missing or cannot be read");
	else
		snprintf(log->io.errmsg, sizeof(log->io.errmsg), "%s/mark: %s", dir, strerror(-r));
	return log->damaged ? RAFT_CORRUPT : r == -ENOSPC ? RAFT_NOSPACE : RAFT_IOERR;
}

static int no_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	(void)t;
	(void)id;
	(void)address;
	return 0;
}

static int no_listen(struct raft_uv_transport *t, raft_uv_accept_cb cb)
{
	(void)t;
	(void)cb;
	return 0;
}

static int no_connect(struct raft_uv_transport *t, struct raft_uv_connect *req, raft_id id,
		      const char *address, raft_uv_connect_cb cb)
{
	(void)t;
	(void)req;
	(void)id;
	(void)address;
	(void)cb;
	return RAFT_NOCONNECTION;
}

static void no_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	cb(t);
}

int kddm_log_open(struct kddm_log *log, uv_loop_t *loop, const char *dir)
{
	int rv;

	memset(log, 0, sizeof(*log));
	snprintf(log->dir, sizeof(log->dir), "%s", dir);
	rv = open_mark(log, loop, dir);
	if (rv)
		return rv;
	log->transport = (struct raft_uv_transport){
		.version = 1, .init = no_init, .listen = no_listen, .connect = no_connect, .close = no_close};
	rv = raft_uv_init(&log->io, loop, dir, &log->transport);
	if (rv) {
		kddm_mark_close(log->mark, NULL, NULL);
		return rv;
	}
	log->uv = log->io;
	log->io.load = guarded_load;
	log->io.bootstrap = guarded_bootstrap;
	log->io.set_term = guarded_set_term;
	log->io.set_vote = guarded_set_vote;
	log->io.append = guarded_append;
	log->io.truncate = guarded_truncate;
	log->io.snapshot_put = guarded_put;
	return 0;
}

void kddm_log_close(struct kddm_log *log, void (*closed)(void *arg), void *arg)
{
	raft_uv_close(&log->io);
	kddm_mark_close(log->mark, closed, arg);
}
