// SPDX-License-Identifier: GPL-2.0
/*
 * Which sockets of applications listen or are bound. Events keep the table up
 * to date; a dump by sock_diag sets it right at the start, after lost events
 * and before a claim is given up.
 */
#include "claims_int.h"

#include <netinet/in.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

static struct claims_sock **sock_at(struct claims *c, uint64_t cookie)
{
	struct claims_sock **at = &c->chain[cookie % CLAIMS_CHAINS];

	while (*at && (*at)->cookie != cookie)
		at = &(*at)->next;
	return at;
}

struct claims_sock *claims_socks_find(struct claims *c, uint64_t cookie)
{
	return *sock_at(c, cookie);
}

/* ---- sockets ----------------------------------------------------------------------- */
static bool ended_lately(const struct claims *c, uint64_t cookie)
{
	for (int i = 0; i < CLAIMS_ENDED; i++)
		if (c->ended[i] == cookie)
			return true;
	return false;
}

static void chain_port(struct claims *c, struct claims_sock *s)
{
	struct claims_sock **head = &c->by_port[s->port % CLAIMS_CHAINS];

	s->next_port = *head;
	*head = s;
}

static void unchain_port(struct claims *c, struct claims_sock *s)
{
	struct claims_sock **at = &c->by_port[s->port % CLAIMS_CHAINS];

	while (*at != s)
		at = &(*at)->next_port;
	*at = s->next_port;
}

static void sock_remove(struct claims *c, struct claims_sock **at)
{
	struct claims_sock *s = *at;

	*at = s->next;
	unchain_port(c, s);
	claims_sock_changed(c, s);
	free(s);
}

static void sock_end(struct claims *c, uint64_t cookie)
{
	struct claims_sock **at = sock_at(c, cookie);

	c->ended[c->n_ended++ % CLAIMS_ENDED] = cookie;
	if (*at)
		sock_remove(c, at);
}

static bool is_loopback(const struct ipaddr *addr)
{
	static const struct ipaddr six = {DIP_INET6, {[15] = 1}};

	return addr->family == DIP_INET ? addr->addr[0] == 127 : ipaddr_equal(addr, &six);
}

static struct claims_sock *sock_insert(struct claims *c, struct claims_sock probe)
{
	struct claims_sock **at = sock_at(c, probe.cookie), *s = *at;

	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		*at = s;
	} else {
		probe.next = s->next;
		unchain_port(c, s);
	}
	*s = probe;
	c->unresolved |= s->resolve;
	chain_port(c, s);
	claims_sock_changed(c, s);
	return s;
}

int claims_socks_expect(struct claims *c, const struct claims_sock *probe, bool six, const void *addr)
{
	struct claims_sock s = *probe;

	s.addr = ipaddr_of(six ? DIP_INET6 : DIP_INET, addr);
	if (is_loopback(&s.addr))
		return -EINVAL;
	if (claims_procs_foreign())
		s.pid = 0;
	s.resolve = !s.pid;
	return sock_insert(c, s) ? 0 : -ENOMEM;
}

void claims_socks_forget(struct claims *c, uint64_t cookie)
{
	struct claims_sock **at = sock_at(c, cookie);

	if (*at && (*at)->expected_ms)
		sock_remove(c, at);
}

void claims_socks_expire(struct claims *c, uint64_t now_ms)
{
	for (int i = 0; i < CLAIMS_CHAINS; i++) {
		struct claims_sock **at = &c->chain[i];

		while (*at) {
			if ((*at)->expected_ms && (*at)->expected_ms < now_ms)
				sock_remove(c, at);
			else
				at = &(*at)->next;
		}
	}
}

static void sock_begin(struct claims *c, const struct dip_event *ev)
{
	const struct claims_sock *known = *sock_at(c, ev->cookie);
	bool fresh = !known;
	struct claims_sock s = {
		.cookie = ev->cookie,
		.cgroup = ev->cgroup,
		.proto = ev->proto,
		.port = ev->port,
		.pid = ev->pid,
		.addr = ipaddr_of(ev->family == DIP_INET6 ? DIP_INET6 : DIP_INET, &ev->addr),
	};

	memcpy(s.comm, ev->comm, sizeof(s.comm) - 1);
	s.loopback = is_loopback(&s.addr);
	/* A client's socket: nobody outside knows the port. */
	if (ev->proto == IPPROTO_UDP && ev->flags & DIP_EV_EPHEMERAL && ipaddr_any(&s.addr))
		return;
	if (!claims_procs_app(ev->cgroup, s.app))
		return;
	if (claims_procs_foreign())
		s.pid = 0;
	/* An event does not tell of IPV6_V6ONLY: nothing of IPv4 is claimed before that is known. */
	s.only6 = s.addr.family == DIP_INET6 && ipaddr_any(&s.addr);
	s.resolve = !s.pid || s.only6;
	if (known && known->expected_ms) { /* it was known when the program asked */
		s.only6 = known->only6;
		s.resolve = !s.pid;
	}
	/* CRIU tries what the kernel can with sockets of its own. */
	if (sock_insert(c, s) && fresh && s.loopback && ev->proto == IPPROTO_TCP && c->local_fn &&
	    strcmp(s.comm, "criu"))
		c->local_fn(c->local_arg, s.app, s.proto, s.port);
}

void claims_socks_event(struct claims *c, const struct dip_event *ev)
{
	char app[APP_NAME_MAX];

	switch (ev->type) {
	case DIP_EV_LISTEN:
	case DIP_EV_BIND:
		sock_begin(c, ev);
		break;
	case DIP_EV_UNLISTEN:
	case DIP_EV_UNBIND:
		sock_end(c, ev->cookie);
		break;
	case DIP_EV_REFUSED:
		if (!claims_procs_app(ev->cgroup, app))
			strcpy(app, "?");
		log_notice("%s (pid %u, %.16s) asked for %s port %u, which node %s has: address in use", app,
			   ev->pid, ev->comm, ev->proto == IPPROTO_TCP ? "TCP" : "UDP", ev->port,
			   datapath_node_name(c->netd->datapath, ev->owner));
		break;
	}
}

/* ---- the dump ------------------------------------------------------------------------ */
static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static bool is_ephemeral(uint16_t port)
{
	_cleanup_(close_file) FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned int low = 32768, high = 60999;

	if (f && fscanf(f, "%u %u", &low, &high) != 2)
		low = 32768;
	return port >= low && port <= high;
}

/* Whether port 0 was asked for is not known of a socket that is found, but what
 * had a claim before was no client's. */
static bool has_claim(const struct claims *c, const struct claims_sock *s)
{
	struct port_key k = {.proto = s->proto, .port = s->port};
	const struct kddm_object *obj;
	struct port_value v;

	for (k.vip = 0; k.vip < DATAPATH_VIPS; k.vip++) {
		obj = kddm_find(c->netd->sets.ports, &k, sizeof(k));
		if (!obj)
			continue;
		object_read(obj, &v, sizeof(v));
		if (!strcmp(v.app, s->app))
			return true;
	}
	return false;
}

static void scan_fn(void *arg, const struct sockdiag_sock *d)
{
	struct claims *c = arg;
	struct claims_sock *known = *sock_at(c, d->cookie);
	struct claims_sock s = {
		.cookie = d->cookie,
		.cgroup = d->cgroup,
		.proto = d->proto,
		.port = d->port,
		.inode = d->inode,
		.addr = d->addr,
		.loopback = is_loopback(&d->addr),
		.only6 = d->only6,
		.seen = true,
		.resolve = true,
	};

	if (known) {
		known->seen = true;
		known->expected_ms = 0;
		return;
	}
	if (!d->port || ended_lately(c, d->cookie) || !claims_procs_app(d->cgroup, s.app))
		return;
	if (d->proto == IPPROTO_UDP && ipaddr_any(&s.addr) && is_ephemeral(d->port) && !has_claim(c, &s))
		return;
	sock_insert(c, s);
}

void claims_socks_scan(struct claims *c)
{
	static const struct {
		int family, proto;
		uint32_t states;
	} what[] = {
		{AF_INET, IPPROTO_TCP, SOCKDIAG_LISTEN},
		{AF_INET6, IPPROTO_TCP, SOCKDIAG_LISTEN},
		{AF_INET, IPPROTO_UDP, SOCKDIAG_UDP},
		{AF_INET6, IPPROTO_UDP, SOCKDIAG_UDP},
	};
	struct sockdiag *diag = c->netd->datapath->diag;
	struct claims_sock *s;
	int i, err = 0;

	claims_for_each(c, i, s) s->seen = false;
	for (i = 0; i < 4 && !err; i++)
		err = sockdiag_dump(diag, what[i].family, what[i].proto, what[i].states, scan_fn, c);
	if (err) {
		log_err("cannot read the sockets: %s", strerror(-err));
		return;
	}
	for (i = 0; i < CLAIMS_CHAINS; i++) {
		struct claims_sock **at = &c->chain[i];

		while ((s = *at)) {
			if (s->seen || s->expected_ms) {
				at = &s->next;
				continue;
			}
			sock_remove(c, at);
		}
	}
}

void claims_socks_clear(struct claims *c)
{
	struct claims_sock *s;

	for (int i = 0; i < CLAIMS_CHAINS; i++) {
		while ((s = c->chain[i])) {
			c->chain[i] = s->next;
			free(s);
		}
		c->by_port[i] = NULL;
	}
}
