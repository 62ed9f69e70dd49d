// SPDX-License-Identifier: GPL-2.0
/* Changes of who takes part in the replicated log. One at a time. */
#include <errno.h>
#include <stdlib.h>

#include "kddm_raft_int.h"

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

static void on_changed(struct raft_change *req, int status)
{
	struct change *c = req->data;

	c->kr->changing = false;
	c->done(c->arg, kddm_raft_errno(status));
	free(c);
}

/*
 * After restarts the engine may go on to believe that a configuration is under
 * way which it has committed and applied long ago, and refuses all others for
 * ever. It uses that configuration already; only its note is wrong.
 */
static void settle_configuration(struct kddm_raft *kr)
{
	struct raft *r = &kr->raft;
	struct raft_configuration copy;

	if (!r->configuration_uncommitted_index || r->last_applied < r->configuration_uncommitted_index)
		return;
	raft_configuration_init(&copy);
	for (unsigned int i = 0; i < r->configuration.n; i++)
		if (raft_configuration_add(&copy, r->configuration.servers[i].id,
					   r->configuration.servers[i].address,
					   r->configuration.servers[i].role)) {
			raft_configuration_close(&copy);
			return;
		}
	raft_configuration_close(&r->configuration_committed);
	r->configuration_committed = copy;
	r->configuration_committed_index = r->configuration_uncommitted_index;
	r->configuration_uncommitted_index = 0;
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
	return kddm_raft_errno(rv);
}

int kddm_raft_add(struct kddm_raft *kr, uint64_t id, const char *address, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	settle_configuration(kr);
	c = change_new(kr, done, arg);
	return change_begun(c, raft_add(&kr->raft, &c->req, id, address, on_changed));
}

int kddm_raft_assign(struct kddm_raft *kr, uint64_t id, int role, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	settle_configuration(kr);
	c = change_new(kr, done, arg);
	return change_begun(c, raft_assign(&kr->raft, &c->req, id, role, on_changed));
}

int kddm_raft_remove(struct kddm_raft *kr, uint64_t id, kddm_raft_done_fn *done, void *arg)
{
	struct change *c;

	if (kr->changing)
		return -EBUSY;
	settle_configuration(kr);
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
	return kddm_raft_errno(rv);
}
