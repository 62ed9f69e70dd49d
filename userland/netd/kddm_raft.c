// SPDX-License-Identifier: GPL-2.0
/*
 * Glue to the C raft library; see kddm_raft.h. What to know about it:
 * buffers it takes over come from raft_malloc() and are multiples of 8 bytes;
 * apply() is not told the index (it is last_applied + 1); "leadership lost"
 * means "outcome unknown"; requests must live until their callback.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_raft.h"
#include "userland/lib/log.h"

#define SEGMENT_BYTES	    (4u << 20)
#define SNAPSHOT_THRESHOLD  4096
#define SNAPSHOT_TRAILING   1024
#define CONNECT_RETRY_MS    100
#define INSTALL_SNAPSHOT_MS 10000

struct kddm_raft {
	struct raft raft;
	struct raft_io io;
	struct raft_fsm fsm;
	struct raft_tracer tracer;
	const struct kddm_raft_events *events;
	void *arg;
	bool started, failed, kicking, changing;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct proposal {
	struct raft_apply req;
	struct kddm_raft *kr;
};

struct change {
	struct raft_change req;
	struct kddm_raft *kr;
	kddm_raft_done_fn *done;
	void *arg;
};

struct transfer {
	struct raft_transfer req;
	struct kddm_raft *kr;
	kddm_raft_done_fn *done;
	void *arg;
};

static int to_errno(int rv)
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

/* ---- the state machine's side ---- */

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	struct kddm_raft *kr = fsm->data;
	uint64_t index = raft_last_applied(&kr->raft) + 1;
	int r = kr->events->apply(kr->arg, index, buf->base, buf->len);

	*result = NULL;
	if (r == 0)
		return 0;
	log_err("log entry %llu cannot be applied (%s); is this netd older than the cluster's?",
		(unsigned long long)index, strerror(-r));
	kr->failed = true;
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
		log_err("snapshot cannot be restored (%s); remove /var/lib/netssi and join again",
			strerror(-r));
		kr->failed = true;
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

static void on_closed(struct raft *raft)
{
	struct kddm_raft *kr = raft->data;

	raft_uv_close(&kr->io);
	if (kr->closed)
		kr->closed(kr->closed_arg);
	free(kr);
}

void kddm_raft_stop(struct kddm_raft *kr, void (*closed)(void *arg), void *arg)
{
	kr->closed = closed;
	kr->closed_arg = arg;
	raft_close(&kr->raft, on_closed);
}

static int bootstrap_alone(struct kddm_raft *kr, const struct kddm_raft_config *c)
{
	struct raft_configuration conf;
	int rv;

	raft_configuration_init(&conf);
	rv = raft_configuration_add(&conf, c->id, c->address, RAFT_VOTER);
	if (!rv)
		rv = raft_bootstrap(&kr->raft, &conf);
	raft_configuration_close(&conf);
	return rv;
}

static int configure_and_start(struct kddm_raft *kr, const struct kddm_raft_config *c, bool bootstrap)
{
	int rv;

	kr->raft.data = kr;
	kr->raft.tracer = &kr->tracer;
	raft_uv_set_segment_size(&kr->io, SEGMENT_BYTES);
	raft_uv_set_connect_retry_delay(&kr->io, CONNECT_RETRY_MS);
	raft_uv_set_tracer(&kr->io, &kr->tracer);
	raft_set_election_timeout(&kr->raft, c->election_ms);
	raft_set_heartbeat_timeout(&kr->raft, c->heartbeat_ms);
	raft_set_install_snapshot_timeout(&kr->raft, INSTALL_SNAPSHOT_MS);
	raft_set_snapshot_threshold(&kr->raft, SNAPSHOT_THRESHOLD);
	raft_set_snapshot_trailing(&kr->raft, SNAPSHOT_TRAILING);
	raft_set_pre_vote(&kr->raft, true);
	rv = bootstrap ? bootstrap_alone(kr, c) : 0;
	if (!rv)
		rv = raft_start(&kr->raft);
	if (rv)
		log_err("cannot start from the log in %s: %s (%s); if the disk is sound, remove that folder "
			"and "
			"the file identity beside it, and join the cluster again under the same name",
			c->dir, raft_errmsg(&kr->raft), raft_strerror(rv));
	return rv;
}

int kddm_raft_start(const struct kddm_raft_config *c, bool bootstrap, struct kddm_raft **out)
{
	struct kddm_raft *kr = calloc(1, sizeof(*kr));
	int rv;

	if (!kr)
		return -ENOMEM;
	kr->events = c->events;
	kr->arg = c->arg;
	kr->tracer = (struct raft_tracer){.impl = kr, .version = 2, .emit = trace};
	kr->fsm = (struct raft_fsm){.version = 1,
				    .data = kr,
				    .apply = fsm_apply,
				    .snapshot = fsm_snapshot,
				    .restore = fsm_restore};
	rv = raft_uv_init(&kr->io, c->loop, c->dir, c->transport);
	if (rv) {
		log_err("cannot use %s for the log: %s", c->dir, kr->io.errmsg);
		free(kr);
		return to_errno(rv);
	}
	rv = raft_init(&kr->raft, &kr->io, &kr->fsm, c->id, c->address);
	if (rv) {
		log_err("cannot open the log in %s: %s", c->dir, raft_errmsg(&kr->raft));
		raft_uv_close(&kr->io);
		free(kr);
		return to_errno(rv);
	}
	rv = configure_and_start(kr, c, bootstrap);
	if (rv) {
		kddm_raft_stop(kr, NULL, NULL);
		return to_errno(rv);
	}
	*out = kr;
	return 0;
}

/* ---- what it knows ---- */

bool kddm_raft_leads(struct kddm_raft *kr)
{
	return raft_state(&kr->raft) == RAFT_LEADER;
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
	if (!kr->failed && raft_state(&kr->raft) != RAFT_UNAVAILABLE)
		return NULL;
	return raft_errmsg(&kr->raft);
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
	if (rv) {
		raft_free(buf.base);
		free(p);
	}
	return to_errno(rv);
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

	if (kr->kicking || !kddm_raft_leads(kr))
		return false;
	req = calloc(1, sizeof(*req));
	if (!req)
		return false;
	req->data = kr;
	kr->kicking = true;
	if (raft_barrier(&kr->raft, req, on_kicked)) {
		kr->kicking = false;
		free(req);
	}
	return kr->kicking;
}

/* ---- members ---- */

static void on_changed(struct raft_change *req, int status)
{
	struct change *c = req->data;

	c->kr->changing = false;
	c->done(c->arg, to_errno(status));
	free(c);
}

static struct change *change_new(struct kddm_raft *kr, kddm_raft_done_fn *done, void *arg)
{
	struct change *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->req.data = c;
	c->kr = kr;
	c->done = done;
	c->arg = arg;
	return c;
}

static int change_begun(struct change *c, int rv)
{
	c->kr->changing = !rv;
	if (rv)
		free(c);
	return to_errno(rv);
}

int kddm_raft_add(struct kddm_raft *kr, uint64_t id, const char *address, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	c = change_new(kr, done, arg);
	return change_begun(c, raft_add(&kr->raft, &c->req, id, address, on_changed));
}

int kddm_raft_assign(struct kddm_raft *kr, uint64_t id, int role, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	c = change_new(kr, done, arg);
	return change_begun(c, raft_assign(&kr->raft, &c->req, id, role, on_changed));
}

int kddm_raft_remove(struct kddm_raft *kr, uint64_t id, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	c = change_new(kr, done, arg);
	return change_begun(c, raft_remove(&kr->raft, &c->req, id, on_changed));
}

static void on_transferred(struct raft_transfer *req)
{
	struct transfer *t = req->data;

	t->done(t->arg, kddm_raft_leads(t->kr) ? -EBUSY : 0);
	free(t);
}

int kddm_raft_transfer(struct kddm_raft *kr, kddm_raft_done_fn *done, void *arg)
{
	struct transfer *t = calloc(1, sizeof(*t));
	int rv;

	if (!t)
		abort();
	t->req.data = t;
	t->kr = kr;
	t->done = done;
	t->arg = arg;
	rv = raft_transfer(&kr->raft, &t->req, 0, on_transferred);
	if (rv)
		free(t);
	return to_errno(rv);
}
