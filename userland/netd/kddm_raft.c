// SPDX-License-Identifier: GPL-2.0
/*
 * Glue to the C raft library; see kddm_raft.h. What it hears and says is in kddm_raft_io.c, who takes part in
 * kddm_raft_members.c. What to know about it:
 * buffers it takes over come from raft_malloc() and are multiples of 8 bytes;
 * apply() is not told the index (it is last_applied + 1); "leadership lost"
 * means "outcome unknown"; requests must live until their callback.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_raft_int.h"
#include "userland/lib/log.h"

#define SNAPSHOT_THRESHOLD	4096
#define SNAPSHOT_TRAILING	1024
#define SNAPSHOT_TRAILING_LARGE 16
#define SNAPSHOT_BYTES		(16u << 20) /* a log of large entries gets one earlier */
#define DISK_RETRY_MS		1000
#define INSTALL_SNAPSHOT_MS	10000

struct proposal {
	struct raft_apply req;
	struct kddm_raft *kr;
};

int kddm_raft_errno(int rv)
{
	switch (rv) {
	case 0:
		return 0;
	case RAFT_NOMEM:
		return -ENOMEM;
	case RAFT_NOTLEADER:
	case RAFT_LEADERSHIPLOST:
		return -EAGAIN;
	case RAFT_CANTCHANGE:
	case RAFT_BUSY:
		return -EBUSY;
	case RAFT_NOSPACE:
		return -ENOSPC;
	case RAFT_CORRUPT:
	case RAFT_MALFORMED:
		return -EILSEQ;
	case RAFT_SHUTDOWN:
	case RAFT_CANCELED:
		return -ESHUTDOWN;
	case RAFT_NOTFOUND:
	case RAFT_BADID:
		return -ENOENT;
	default:
		return -EIO;
	}
}

void kddm_raft_fail(struct kddm_raft *kr, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(kr->failure, sizeof(kr->failure), fmt, ap);
	va_end(ap);
	kr->failed = true;
	log_err("the replicated log cannot go on: %s", kr->failure);
}

/* ---- the state machine's side ---- */

/* The disk holds the log since the last snapshot, and as many bytes as that has. */
static void limit_log(struct kddm_raft *kr)
{
	uint64_t limit = SNAPSHOT_BYTES > 2 * kr->snapshot_bytes ? SNAPSHOT_BYTES : 2 * kr->snapshot_bytes;
	bool large = kr->log.bytes > limit;

	if (large == kr->large)
		return;
	kr->large = large;
	raft_set_snapshot_threshold(&kr->raft, large ? 1 : SNAPSHOT_THRESHOLD);
	raft_set_snapshot_trailing(&kr->raft, large ? SNAPSHOT_TRAILING_LARGE : SNAPSHOT_TRAILING);
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct kddm_raft *kr = fsm->data;
	uint64_t index = raft_last_applied(&kr->raft) + 1;
	int r = kr->events->apply(kr->arg, index, buf->base, buf->len);

	*result = NULL;
	limit_log(kr);
	if (r == 0)
		return 0;
	kddm_raft_fail(kr, "entry %llu cannot be applied (%s); is this netd older than the cluster's?",
		       (unsigned long long)index, strerror(-r));
	return RAFT_MALFORMED;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned int *n_bufs)
{
	struct kddm_raft *kr = fsm->data;
	struct kddm_buf out = {0};

	*bufs = raft_malloc(sizeof(**bufs));
	if (!*bufs)
		return RAFT_NOMEM;
	kr->events->snapshot(kr->arg, &out);
	kr->snapshot_bytes = out.len;
	kr->log.bytes = 0;
	(*bufs)[0].base = raft_malloc(out.len);
	(*bufs)[0].len = out.len;
	*n_bufs = 1;
	if (!(*bufs)[0].base) {
		raft_free(*bufs);
		kddm_buf_free(&out);
		return RAFT_NOMEM;
	}
	memcpy((*bufs)[0].base, out.data, out.len);
	kddm_buf_free(&out);
	return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct kddm_raft *kr = fsm->data;
	int r = kr->events->restore(kr->arg, buf->base, buf->len);

	if (r < 0) {
		kddm_raft_fail(kr, "a snapshot cannot be read: %s", strerror(-r));
		kr->log.damaged = true;
		return RAFT_CORRUPT;
	}
	raft_free(buf->base);
	return 0;
}

static void trace(struct raft_tracer *t, int type, const void *data)
{
	const struct raft_tracer_info *info = data;

	(void)t;
	if (type != RAFT_TRACER_DIAGNOSTIC || info->diagnostic.level > 2)
		return;
	log_line(info->diagnostic.level == 1 ? LOG_ERR : LOG_WARNING, "raft: %s", info->diagnostic.message);
}

/* ---- life ---- */

static void on_log_closed(void *arg)
{
	struct kddm_raft *kr = arg;

	if (kr->closed)
		kr->closed(kr->closed_arg);
	free(kr);
}

static void on_closed(struct raft *raft)
{
	struct kddm_raft *kr = raft->data;

	kddm_log_close(&kr->log, on_log_closed, kr);
}

void kddm_raft_stop(struct kddm_raft *kr, void (*closed)(void *arg), void *arg)
{
	kr->closed = closed;
	kr->closed_arg = arg;
	if (kr->opened)
		raft_close(&kr->raft, on_closed);
	else if (kr->log.mark)
		kddm_log_close(&kr->log, on_log_closed, kr);
	else
		on_log_closed(kr);
}

/* An empty log, or one whose voters are lost, becomes a cluster of this node alone. */
static int begin_alone(struct kddm_raft *kr, const struct kddm_raft_config *c)
{
	struct raft_configuration conf;
	int rv;

	raft_configuration_init(&conf);
	rv = raft_configuration_add(&conf, c->id, c->address, RAFT_VOTER);
	if (!rv)
		rv = c->recover ? raft_recover(&kr->raft, &conf) : raft_bootstrap(&kr->raft, &conf);
	raft_configuration_close(&conf);
	return rv;
}

static int configure_and_start(struct kddm_raft *kr, const struct kddm_raft_config *c, bool bootstrap)
{
	int rv;

	kr->raft.data = kr;
	kddm_raft_watch_io(kr);
	kr->raft.tracer = &kr->tracer;
	raft_uv_set_segment_size(&kr->log.io, KDDM_SEGMENT_BYTES);
	raft_uv_set_disk_retry(&kr->log.io, DISK_RETRY_MS);
	raft_uv_set_auto_recovery(&kr->log.io, false); /* it throws away what it cannot read */
	raft_uv_set_tracer(&kr->log.io, &kr->tracer);
	raft_set_election_timeout(&kr->raft, c->election_ms);
	raft_set_heartbeat_timeout(&kr->raft, c->heartbeat_ms);
	raft_set_install_snapshot_timeout(&kr->raft, INSTALL_SNAPSHOT_MS);
	raft_set_snapshot_threshold(&kr->raft, SNAPSHOT_THRESHOLD);
	raft_set_snapshot_trailing(&kr->raft, SNAPSHOT_TRAILING);
	raft_set_pre_vote(&kr->raft, true);
	rv = bootstrap || c->recover ? begin_alone(kr, c) : 0;
	if (!rv)
		rv = raft_start(&kr->raft);
	return rv ? rv : kddm_raft_watch(kr);
}

/* What is wrong with the files themselves does not go away by waiting. */
static int start_failed(struct kddm_raft *kr, const struct kddm_raft_config *c, int rv, const char *text)
{
	if (rv == RAFT_CORRUPT || rv == RAFT_MALFORMED)
		kr->log.damaged = true;
	snprintf(kr->failure, sizeof(kr->failure), "%s: %s", c->dir,
		 text && text[0] ? text : raft_strerror(rv));
	kr->failed = true;
	log_err("cannot start from the log in %s", kr->failure);
	return kr->log.damaged ? -EILSEQ : kddm_raft_errno(rv);
}

int kddm_raft_start(const struct kddm_raft_config *c, bool bootstrap, struct kddm_raft **out)
{
	struct kddm_raft *kr = calloc(1, sizeof(*kr));
	int rv;

	if (!kr)
		return -ENOMEM;
	*out = kr;
	kr->events = c->events;
	kr->arg = c->arg;
	kr->tracer = (struct raft_tracer){.impl = kr, .version = 2, .emit = trace};
	kr->fsm = (struct raft_fsm){.version = 1,
				    .data = kr,
				    .apply = fsm_apply,
				    .snapshot = fsm_snapshot,
				    .restore = fsm_restore};
	rv = kddm_log_open(&kr->log, c->loop, c->dir);
	if (rv)
		return start_failed(kr, c, rv, kr->log.io.errmsg);
	rv = raft_init(&kr->raft, &kr->log.io, &kr->fsm, c->id, c->address);
	if (rv)
		return start_failed(kr, c, rv, raft_errmsg(&kr->raft));
	kr->opened = true;
	rv = configure_and_start(kr, c, bootstrap);
	return rv ? start_failed(kr, c, rv, raft_errmsg(&kr->raft)) : 0;
}

/* ---- what it knows ---- */

bool kddm_raft_leads(struct kddm_raft *kr)
{
	return kr->leads && raft_state(&kr->raft) == RAFT_LEADER;
}

uint64_t kddm_raft_leader(struct kddm_raft *kr)
{
	const char *address;
	raft_id id = 0;

	raft_leader(&kr->raft, &id, &address);
	return id;
}

uint64_t kddm_raft_term(struct kddm_raft *kr)
{
	return raft_current_term(&kr->raft);
}

uint64_t kddm_raft_last_index(struct kddm_raft *kr)
{
	return raft_last_index(&kr->raft);
}

uint64_t kddm_raft_last_term(const struct kddm_raft *kr)
{
	return kr->log.last_term;
}

uint64_t kddm_raft_commit_index(struct kddm_raft *kr)
{
	return raft_commit_index(&kr->raft);
}

uint64_t kddm_raft_applied(struct kddm_raft *kr)
{
	return raft_last_applied(&kr->raft);
}

const struct raft_configuration *kddm_raft_members(struct kddm_raft *kr)
{
	return &kr->raft.configuration;
}

int kddm_raft_role(struct kddm_raft *kr, uint64_t id)
{
	const struct raft_configuration *conf = &kr->raft.configuration;

	for (unsigned int i = 0; i < conf->n; i++)
		if (conf->servers[i].id == id)
			return conf->servers[i].role;
	return -1;
}

const char *kddm_raft_failure(struct kddm_raft *kr)
{
	if (kr->failed)
		return kr->failure;
	return raft_state(&kr->raft) == RAFT_UNAVAILABLE ? raft_errmsg(&kr->raft) : NULL;
}

bool kddm_raft_damaged(const struct kddm_raft *kr)
{
	return kr->log.damaged;
}

bool kddm_raft_diverged(const struct kddm_raft *kr)
{
	return kr->diverged;
}

bool kddm_raft_writes(const struct kddm_raft *kr, uint64_t *done)
{
	*done = kr->log.done;
	return kr->log.appends || kr->log.refused;
}

bool kddm_raft_refused(const struct kddm_raft *kr)
{
	return kr->log.refused;
}

/* ---- writing ---- */

static void on_proposed(struct raft_apply *req, int status, void *result)
{
	struct proposal *p = req->data;

	(void)result;
	if (status && status != RAFT_LEADERSHIPLOST && status != RAFT_SHUTDOWN)
		log_warn("raft: %s", raft_strerror(status));
	p->kr->events->proposed(p->kr->arg);
	free(p);
}

int kddm_raft_propose(struct kddm_raft *kr, const void *data, size_t len)
{
	struct raft_buffer buf = {.base = raft_malloc(len), .len = len};
	struct proposal *p = calloc(1, sizeof(*p));
	int rv;

	if (!buf.base || !p)
		abort();
	memcpy(buf.base, data, len);
	p->kr = kr;
	p->req.data = p;
	rv = raft_apply(&kr->raft, &p->req, &buf, 1, on_proposed);
	kr->log.refused = rv == RAFT_NOSPACE;
	if (rv) {
		raft_free(buf.base);
		free(p);
	}
	return kddm_raft_errno(rv);
}

static void on_kicked(struct raft_barrier *req, int status)
{
	struct kddm_raft *kr = req->data;

	(void)status;
	kr->kicking = false;
	free(req);
}

bool kddm_raft_kick(struct kddm_raft *kr)
{
	struct raft_barrier *req;
	int rv;

	if (kr->kicking || !kddm_raft_leads(kr))
		return false;
	req = calloc(1, sizeof(*req));
	if (!req)
		return false;
	req->data = kr;
	kr->kicking = true;
	rv = raft_barrier(&kr->raft, req, on_kicked);
	kr->log.refused = rv == RAFT_NOSPACE;
	if (rv) {
		kr->kicking = false;
		free(req);
	}
	return kr->kicking;
}
