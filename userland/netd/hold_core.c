// SPDX-License-Identifier: GPL-2.0
/*
 * The hold queue of the kernel module; its protocol is in ssi/core.h. Kept here:
 * which application a port belongs to, and whom to tell when it is open. A queue
 * is released a budget at a time between other work of the loop.
 */
#include "hold_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ssi/core.h>

#include "rtnl.h"
#include "userland/lib/genl.h"
#include "userland/lib/log.h"

struct core {
	struct hold hold;
	struct genl *genl;
	struct rtnl *rtnl;
	uv_idle_t releasing;
};

/* What the kernel says of a port. */
struct answer {
	uint8_t state;
	uint32_t waiting, held_ms;
	uint64_t reasons[SSI_HOLD_REASON_COUNT];
};

static struct core *core(const struct hold *h)
{
	return (struct core *)h;
}

/* ---- the protocol ------------------------------------------------------------ */
static int reason_cb(const struct nlattr *attr, void *arg)
{
	struct answer *a = arg;
	unsigned int reason = mnl_attr_get_type(attr) - 1;

	if (reason < SSI_HOLD_REASON_COUNT)
		a->reasons[reason] = mnl_attr_get_u64(attr);
	return MNL_CB_OK;
}

static int answer_attr(const struct nlattr *attr, void *arg)
{
	struct answer *a = arg;

	switch (mnl_attr_get_type(attr)) {
	case SSI_CORE_A_STATE:
		a->state = mnl_attr_get_u8(attr);
		break;
	case SSI_CORE_A_WAITING:
		a->waiting = mnl_attr_get_u32(attr);
		break;
	case SSI_CORE_A_HELD_MS:
		a->held_ms = mnl_attr_get_u32(attr);
		break;
	case SSI_CORE_A_REASONS:
		return mnl_attr_parse_nested(attr, reason_cb, a);
	}
	return MNL_CB_OK;
}

static int answer_cb(const struct nlmsghdr *nlh, void *arg)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), answer_attr, arg);
}

static int ask(const struct core *c, uint8_t cmd, struct hold_key key, struct answer *answer)
{
	struct nlmsghdr *nlh = genl_message(c->genl, cmd, 0);

	mnl_attr_put_u32(nlh, SSI_CORE_A_IFINDEX, (uint32_t)c->hold.ifindex);
	mnl_attr_put(nlh, key.addr.family == DIP_INET6 ? SSI_CORE_A_ADDR6 : SSI_CORE_A_ADDR4,
		     ipaddr_len(&key.addr), key.addr.addr);
	mnl_attr_put_u8(nlh, SSI_CORE_A_PROTO, key.proto);
	mnl_attr_put_u16(nlh, SSI_CORE_A_PORT, key.port);
	return genl_talk(c->genl, nlh, answer_cb, answer);
}

static void complain(const struct core *c, const char *what, struct hold_key key, int err)
{
	log_err("ssi_core cannot %s port %u: %s", what, key.port,
		*genl_why(c->genl) ? genl_why(c->genl) : strerror(-err));
}

/* ---- ports ------------------------------------------------------------------- */
static int core_begin(struct hold *h, struct hold_key key, const char *app)
{
	struct core *c = core(h);
	struct hold_port *p = hold_port_find(h, key);
	int err;

	if (p && p->state == HOLD_HELD)
		return 0;
	err = ask(c, SSI_CORE_CMD_HOLD, key, NULL);
	if (err) {
		complain(c, "hold", key, err);
		return err;
	}
	if (!hold_port_hold(h, key, app, sizeof(*p))) {
		ask(c, SSI_CORE_CMD_DISCARD, key, NULL);
		return -ENOMEM;
	}
	while ((p = hold_port_too_many(h))) {
		ask(c, SSI_CORE_CMD_DISCARD, p->key, NULL);
		free(p);
	}
	return 0;
}

/* One budget; true: the queue is empty, what still comes is passed on. */
static bool release_some(struct core *c, const struct hold_port *p)
{
	struct answer a = {};
	int err = ask(c, SSI_CORE_CMD_RELEASE, p->key, &a);

	/* Without its queue nothing can be given back; the connections send again. */
	if (err)
		complain(c, "release", p->key, err);
	return err || a.state == SSI_HOLD_PASSING;
}

static void on_idle(uv_idle_t *idle)
{
	struct core *c = idle->data;
	bool more = false;

	for (struct hold_port *p = c->hold.ports; p; p = p->next) {
		if (p->state != HOLD_RELEASING)
			continue;
		if (release_some(c, p))
			hold_port_open(p);
		else
			more = true;
	}
	if (!more)
		uv_idle_stop(&c->releasing);
}

static void core_release(struct hold *h, struct hold_key key, hold_opened_fn *opened, void *arg)
{
	struct core *c = core(h);

	if (!hold_port_release(h, key, opened, arg))
		return;
	uv_idle_start(&c->releasing, on_idle);
	on_idle(&c->releasing);
}

static void core_discard(struct hold *h, struct hold_key key)
{
	struct core *c = core(h);
	struct hold_port **at = &h->ports, *p;

	while ((p = *at) && !hold_same_key(p->key, key))
		at = &p->next;
	if (!p)
		return;
	*at = p->next;
	free(p);
	ask(c, SSI_CORE_CMD_DISCARD, key, NULL);
}

static void core_stats(const struct hold *h, const char *app, struct hold_stats *out)
{
	const struct core *c = core(h);

	for (const struct hold_port *p = h->ports; p; p = p->next) {
		struct answer a = {};

		if (strcmp(p->app, app) || ask(c, SSI_CORE_CMD_GET, p->key, &a))
			continue;
		out->packets += a.reasons[SSI_HOLD_R_QUEUED];
		out->dropped += a.reasons[SSI_HOLD_R_DUPLICATE] + a.reasons[SSI_HOLD_R_FULL] +
				a.reasons[SSI_HOLD_R_STRANGERS_FULL] + a.reasons[SSI_HOLD_R_AGED];
		if (a.held_ms > out->ms_max)
			out->ms_max = a.held_ms;
	}
}

/* ---- the device ---------------------------------------------------------------- */
static bool core_keep(struct hold *h)
{
	struct core *c = core(h);
	struct rtnl_link link = {};

	return !rtnl_link_get(c->rtnl, h->ifindex, NULL, &link) && !rtnl_link_up(c->rtnl, h->ifindex);
}

static void free_parts(struct core *c)
{
	struct hold_port *p;

	while ((p = c->hold.ports)) {
		c->hold.ports = p->next;
		free(p);
	}
	rtnl_close(c->rtnl);
	genl_close(c->genl);
	free(c);
}

static void on_closed(uv_handle_t *handle)
{
	free_parts(handle->data);
}

static void core_close(struct hold *h, bool remove)
{
	struct core *c = core(h);

	for (const struct hold_port *p = h->ports; p; p = p->next)
		ask(c, SSI_CORE_CMD_DISCARD, p->key, NULL);
	if (remove)
		rtnl_link_del(c->rtnl, h->ifindex);
	uv_close((uv_handle_t *)&c->releasing, on_closed);
}

/* Makes the device; a TAP of a netd that had no module gives way. */
static int device_open(struct core *c)
{
	struct rtnl_link link = {};
	int err = rtnl_link_get(c->rtnl, 0, HOLD_DEVICE, &link);

	if (!err && strcmp(link.kind, SSI_HOLD_KIND)) {
		err = rtnl_link_del(c->rtnl, link.index);
		if (err)
			return err;
	}
	err = rtnl_link_add(c->rtnl, HOLD_DEVICE, SSI_HOLD_KIND);
	if (!err)
		err = rtnl_link_get(c->rtnl, 0, HOLD_DEVICE, &link);
	if (err)
		return err;
	c->hold.ifindex = link.index;
	hold_device_quiet();
	return rtnl_link_up(c->rtnl, link.index);
}

static const struct hold_ops core_ops = {
	.name = "ssi_core",
	.close = core_close,
	.keep = core_keep,
	.begin = core_begin,
	.release = core_release,
	.discard = core_discard,
	.stats = core_stats,
};

int hold_core_open(struct hold **out, uv_loop_t *loop)
{
	struct core *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->hold.ops = &core_ops;
	err = genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &c->genl);
	if (!err)
		err = rtnl_open(&c->rtnl);
	if (!err)
		err = device_open(c);
	if (err) {
		free_parts(c);
		return err;
	}
	uv_idle_init(loop, &c->releasing);
	c->releasing.data = c;
	*out = &c->hold;
	return 0;
}
