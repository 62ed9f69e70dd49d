// SPDX-License-Identifier: GPL-2.0
/*
 * Is an address free on an interface's segment? As RFC 5227 asks, by ARP requests
 * that name no sender, so that no neighbour's cache is touched; with shorter waits:
 * what is up answers within milliseconds. All nodes ask at the same time, so the
 * probes of others say nothing; whoever speaks as the address has it.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "datapath_int.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"
#include "vips_arp.h"

#define PROBES	3
#define GAP_MS	100
#define WAIT_MS 300 /* after the last */

struct probe {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd, sent, handles;
	struct vips_arp frame;
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
	struct vips_arp f;

	(void)status;
	(void)events;
	while (recv(p->fd, &f, sizeof(f), MSG_DONTWAIT) >= (ssize_t)sizeof(f)) {
		if (f.arp.ar_hrd != htons(ARPHRD_ETHER) || f.arp.ar_pro != htons(ETHERTYPE_IP) ||
		    memcmp(f.spa, p->frame.tpa, sizeof(f.spa)) || !memcmp(f.sha, p->own, sizeof(f.sha)))
			continue;
		probe_end(p, f.sha);
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
	if (send(p->fd, &p->frame, sizeof(p->frame), MSG_DONTWAIT) < 0)
		log_debug("ARP probe: %m");
	uv_timer_start(t, probe_tick, ++p->sent == PROBES ? WAIT_MS : GAP_MS, 0);
}

static int probe_socket(int ifindex)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_ARP), .sll_ifindex = ifindex};
	_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETHERTYPE_ARP));

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return take_fd(fd);
}

int vips_probe(struct datapath *dp, const struct rtnl_link *link, __be32 addr, const uint8_t mac[6],
	       vips_probe_fn *done, void *arg)
{
	int fd = probe_socket(link->index);
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
	p->frame = vips_arp(ARPOP_REQUEST, link->mac);
	memcpy(p->frame.sha, link->mac, 6);
	memcpy(p->frame.tpa, &addr, 4);
	uv_poll_init(dp->netd->loop, &p->poll, fd);
	uv_timer_init(dp->netd->loop, &p->timer);
	p->poll.data = p->timer.data = p;
	p->handles = 2;
	uv_poll_start(&p->poll, UV_READABLE, probe_readable);
	probe_tick(&p->timer);
	return 0;
}
