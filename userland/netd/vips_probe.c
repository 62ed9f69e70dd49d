// SPDX-License-Identifier: GPL-2.0
/*
 * Speaking about an address on an interface's segment: that it is ours, and the question
 * whether it is free. As RFC 5227 and RFC 4862 ask, with shorter waits: what is up
 * answers within milliseconds. All nodes ask at the same time, so the probes of
 * others say nothing; whoever speaks as the address has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "datapath_int.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "vips_frame.h"

#define PROBES	3
#define GAP_MS	100
#define WAIT_MS 300 /* after the last */

/* The frame's source stays this node's own MAC, so that no switch ever learns the shared one. */
void vips_announce(const struct vip *v)
{
	struct ipaddr addr = vips_addr(v);
	_close_ int fd = vips_frame_socket(addr.family, v->link.index);

	for (int i = 0; i < 2 && fd >= 0; i++) {
		struct vips_frame f = vips_frame_tell(&addr, v->value.mac, v->link.mac, i);

		if (send(fd, f.data, f.len, MSG_DONTWAIT) < 0)
			log_debug("cannot announce %s: %m", ipaddr_text(&addr));
	}
}

struct probe {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd, sent, handles;
	struct ipaddr addr;
	struct vips_frame frame;
	uint8_t own[6]; /* the cluster's MAC: another node that still has the address */
	vips_probe_fn *done;
	void *arg;
};

static void probe_closed(uv_handle_t *h)
{
	struct probe *p = h->data;

	if (--p->handles)
		return;
	close(p->fd);
	free(p);
}

static void probe_end(struct probe *p, const uint8_t *holder)
{
	p->done(p->arg, holder);
	uv_close((uv_handle_t *)&p->poll, probe_closed);
	uv_close((uv_handle_t *)&p->timer, probe_closed);
}

static void probe_readable(uv_poll_t *poll, int status, int events)
{
	struct probe *p = poll->data;
	uint8_t data[VIPS_FRAME_MAX];
	const uint8_t *mac;
	ssize_t n;

	(void)status;
	(void)events;
	while ((n = recv(p->fd, data, sizeof(data), MSG_DONTWAIT)) >= 0) {
		mac = vips_frame_says(data, n, &p->addr);
		if (!mac || !memcmp(mac, p->own, sizeof(p->own)))
			continue;
		probe_end(p, mac);
		return;
	}
}

static void probe_tick(uv_timer_t *t)
{
	struct probe *p = t->data;

	if (p->sent == PROBES) {
		probe_end(p, NULL);
		return;
	}
	if (send(p->fd, p->frame.data, p->frame.len, MSG_DONTWAIT) < 0)
		log_debug("probe of %s: %m", ipaddr_text(&p->addr));
	uv_timer_start(t, probe_tick, ++p->sent == PROBES ? WAIT_MS : GAP_MS, 0);
}

int vips_probe(struct datapath *dp, const struct rtnl_link *link, const struct ipaddr *addr,
	       const uint8_t mac[6], vips_probe_fn *done, void *arg)
{
	int fd = vips_frame_socket(addr->family, link->index);
	struct probe *p;

	if (fd < 0)
		return fd;
	p = calloc(1, sizeof(*p));
	if (!p) {
		close(fd);
		return -ENOMEM;
	}
	p->fd = fd;
	p->done = done;
	p->arg = arg;
	memcpy(p->own, mac, sizeof(p->own));
	p->addr = *addr;
	p->frame = vips_frame_ask(addr, link->mac);
	uv_poll_init(dp->netd->loop, &p->poll, fd);
	uv_timer_init(dp->netd->loop, &p->timer);
	p->poll.data = p->timer.data = p;
	p->handles = 2;
	uv_poll_start(&p->poll, UV_READABLE, probe_readable);
	probe_tick(&p->timer);
	return 0;
}
