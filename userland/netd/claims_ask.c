// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that wait in listen() or bind() for their claim (ssi/core.h). The socket
 * that is asked for enters the table as one that is expected, so that claims.c claims
 * its port; the program is answered when the port's home knows of the claim, or when
 * another node has the port. What never comes to listen is taken out again.
 */
#include "claims_int.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <stdlib.h>
#include <string.h>

#include <ssi/core.h>

#include "member.h"
#include "userland/lib/genl.h"
#include "userland/lib/log.h"

#define TICK_MS	  1000
#define EXPECT_MS 2000 /* from the answer to the event that it listens */

struct ask {
	struct ask *next;
	uint32_t id;
	uint64_t cookie;
};

struct claims_asks {
	struct claims *claims;
	struct genl *genl;
	struct ask *all;
	uint32_t limit_ms; /* told to the kernel */
	uv_poll_t poll;
	uv_timer_t tick;
	int handles;
};

/* What the kernel says. */
struct notice {
	uint32_t id;
	uint8_t reason;
	struct claims_sock sock;
	uint8_t addr[16];
	bool six;
};

static uint64_t now_ms(const struct claims_asks *a)
{
	return uv_now(a->claims->netd->loop);
}

/* ---- to the kernel ---------------------------------------------------------------- */
static void serve(struct claims_asks *a)
{
	struct nlmsghdr *nlh = genl_message(a->genl, SSI_CORE_CMD_SERVE, 0);
	int err;

	a->limit_ms = member_conf_uint(a->claims->netd->member, "answer_ms", SSI_CLAIM_LIMIT_MS);
	mnl_attr_put_u32(nlh, SSI_CORE_A_LIMIT_MS, a->limit_ms);
	err = genl_send(a->genl, nlh);
	if (err)
		log_err("cannot answer programs that listen: %s", strerror(-err));
	else
		log_info("programs that listen wait for their claim, %u ms at most", a->limit_ms);
}

static void answer(struct claims_asks *a, uint32_t id, int error)
{
	struct nlmsghdr *nlh = genl_message(a->genl, SSI_CORE_CMD_ANSWER, 0);
	int err;

	nlh->nlmsg_flags &= ~NLM_F_ACK;
	mnl_attr_put_u32(nlh, SSI_CORE_A_ID, id);
	mnl_attr_put_u32(nlh, SSI_CORE_A_ERROR, (uint32_t)error);
	err = genl_send(a->genl, nlh);
	if (err)
		log_err("cannot answer a program that listens: %s", strerror(-err));
}

/* ---- who waits --------------------------------------------------------------------- */
static void ask_end(struct ask **at)
{
	struct ask *ask = *at;

	*at = ask->next;
	free(ask);
}

/* 0, EADDRINUSE, or EINPROGRESS. */
static int verdict(struct claims *c, const struct claims_sock *s)
{
	struct port_key k = {.proto = s->proto, .port = s->port};
	int rc = 0;

	for (k.vip = 0; k.vip < DATAPATH_VIPS; k.vip++) {
		int one = claims_sock_covers(c, s, &k) ? claims_key_verdict(c, &k, s) : 0;

		if (one == EADDRINUSE)
			return one;
		if (one)
			rc = one;
	}
	return rc;
}

static void log_refusal(const struct claims_sock *s)
{
	log_notice("%s (pid %u, %.16s) asked for %s port %u, which another node has: address in use", s->app,
		   s->pid, s->comm, s->proto == IPPROTO_TCP ? "TCP" : "UDP", s->port);
}

/* True: the program is answered. */
static bool decide(struct claims_asks *a, const struct ask *ask)
{
	struct claims *c = a->claims;
	struct claims_sock *s = claims_socks_find(c, ask->cookie);
	int rc = s ? verdict(c, s) : 0;

	if (rc == EINPROGRESS)
		return false;
	if (rc)
		log_refusal(s);
	answer(a, ask->id, rc);
	if (s && rc)
		claims_socks_forget(c, ask->cookie);
	else if (s && s->expected_ms)
		s->expected_ms = now_ms(a) + EXPECT_MS;
	return true;
}

void claims_ask_check(struct claims *c)
{
	struct claims_asks *a = c->asks;
	struct ask **at = a ? &a->all : NULL;

	if (!a || !c->netd->datapath->synced)
		return;
	while (*at) {
		if (decide(a, *at))
			ask_end(at);
		else
			at = &(*at)->next;
	}
}

static void asked(struct claims_asks *a, struct notice *n)
{
	struct claims *c = a->claims;
	struct ask *ask;

	n->sock.expected_ms = now_ms(a) + a->limit_ms + EXPECT_MS;
	ask = claims_procs_app(n->sock.cgroup, n->sock.app) ? calloc(1, sizeof(*ask)) : NULL;
	if (!ask || claims_socks_expect(c, &n->sock, n->six, n->addr)) {
		free(ask);
		answer(a, n->id, 0); /* the event that it listens is good enough */
		return;
	}
	ask->id = n->id;
	ask->cookie = n->sock.cookie;
	ask->next = a->all;
	a->all = ask;
	claims_schedule(c, 0);
}

static void ended(struct claims_asks *a, const struct notice *n)
{
	struct ask **at = &a->all;
	const struct claims_sock *s;

	while (*at && (*at)->id != n->id)
		at = &(*at)->next;
	if (!*at)
		return;
	s = claims_socks_find(a->claims, (*at)->cookie);
	if (s && n->reason == SSI_CLAIM_R_TIME_OUT)
		log_warn("%s (pid %u, %.16s) waited %u ms for %s port %u in vain, see netctl status", s->app,
			 s->pid, s->comm, a->limit_ms, s->proto == IPPROTO_TCP ? "TCP" : "UDP", s->port);
	claims_socks_forget(a->claims, (*at)->cookie);
	ask_end(at);
}

/* ---- from the kernel ----------------------------------------------------------------- */
static int notice_attr(const struct nlattr *attr, void *arg)
{
	struct notice *n = arg;

	switch (mnl_attr_get_type(attr)) {
	case SSI_CORE_A_ID:
		n->id = mnl_attr_get_u32(attr);
		break;
	case SSI_CORE_A_ADDR4:
	case SSI_CORE_A_ADDR6:
		n->six = mnl_attr_get_type(attr) == SSI_CORE_A_ADDR6;
		memcpy(n->addr, mnl_attr_get_payload(attr), n->six ? 16 : 4);
		break;
	case SSI_CORE_A_PROTO:
		n->sock.proto = mnl_attr_get_u8(attr);
		break;
	case SSI_CORE_A_PORT:
		n->sock.port = mnl_attr_get_u16(attr);
		break;
	case SSI_CORE_A_REASON:
		n->reason = mnl_attr_get_u8(attr);
		break;
	case SSI_CORE_A_COOKIE:
		n->sock.cookie = mnl_attr_get_u64(attr);
		break;
	case SSI_CORE_A_CGROUP:
		n->sock.cgroup = mnl_attr_get_u64(attr);
		break;
	case SSI_CORE_A_PID:
		n->sock.pid = mnl_attr_get_u32(attr);
		break;
	case SSI_CORE_A_COMM:
		strncpy(n->sock.comm, mnl_attr_get_str(attr), sizeof(n->sock.comm) - 1);
		break;
	case SSI_CORE_A_ONLY6:
		n->sock.only6 = true;
		break;
	}
	return MNL_CB_OK;
}

static int notice_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);
	struct claims_asks *a = arg;
	struct notice n = {};

	mnl_attr_parse(nlh, sizeof(*genl), notice_attr, &n);
	if (genl->cmd == SSI_CORE_CMD_CLAIM)
		asked(a, &n);
	else if (genl->cmd == SSI_CORE_CMD_ENDED)
		ended(a, &n);
	return MNL_CB_OK;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct claims_asks *a = poll->data;
	int rc;

	while ((rc = genl_read(a->genl, notice_cb, a)) != -EAGAIN) {
		/* Somebody who went before his answer is nothing to speak of. */
		if (rc && rc != -ENOENT)
			log_err("ssi_core: %s", *genl_why(a->genl) ? genl_why(a->genl) : strerror(-rc));
		if (rc == -EBUSY)
			a->limit_ms = 0; /* another netd is still there: again with the next tick */
		if (rc == -ENOBUFS || rc == -EBADF)
			break;
	}
}

static void on_tick(uv_timer_t *tick)
{
	struct claims_asks *a = tick->data;

	if (member_conf_uint(a->claims->netd->member, "answer_ms", SSI_CLAIM_LIMIT_MS) != a->limit_ms)
		serve(a);
	claims_socks_expire(a->claims, now_ms(a));
}

/* ---- life ------------------------------------------------------------------------------ */
int claims_ask_open(struct claims *c)
{
	struct claims_asks *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->claims = c;
	err = genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &a->genl);
	if (!err)
		err = uv_poll_init(c->netd->loop, &a->poll, genl_fd(a->genl));
	if (err) {
		genl_close(a->genl);
		free(a);
		return err;
	}
	uv_timer_init(c->netd->loop, &a->tick);
	a->handles = 2;
	a->poll.data = a->tick.data = a;
	uv_poll_start(&a->poll, UV_READABLE, on_readable);
	uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
	c->asks = a;
	serve(a);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct claims_asks *a = handle->data;

	if (--a->handles)
		return;
	free(a);
}

void claims_ask_close(struct claims *c, bool grant)
{
	struct claims_asks *a = c->asks;

	if (!a)
		return;
	c->asks = NULL;
	while (a->all) {
		if (grant)
			answer(a, a->all->id, 0);
		ask_end(&a->all);
	}
	uv_poll_stop(&a->poll);
	genl_close(a->genl);
	a->genl = NULL;
	uv_close((uv_handle_t *)&a->poll, on_closed);
	uv_close((uv_handle_t *)&a->tick, on_closed);
}
