// SPDX-License-Identifier: GPL-2.0
/*
 * The hold queue on a TAP device. Every port that is or was lately held has one
 * struct port; frames of a port stand in one list, in order of arrival. Ports
 * that have been opened stay for a while: for late frames and for the figures.
 */
#include "hold_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define FRAME_MAX      65536
#define FRAME_OVERHEAD 256 /* what a frame costs beside its bytes */
#define BURST	       512 /* frames written back before other work gets a turn */
#define READ_BURST     1024
#define DEVICE_MTU     65500
#define DEVICE_QUEUE   8192 /* frames between the kernel and us */
#define SEEN	       256  /* chains for duplicates, a power of two */
#define TICK_MS	       500

struct frame {
	struct frame *next, *same; /* in order; with the same hash */
	uint64_t at_ms;
	uint32_t len;
	bool stranger, segment; /* segment: `mark` names it */
	struct segment {
		uint8_t saddr[16];
		__be32 seq;
		__be16 sport;
		uint16_t len;
		uint8_t flags, pad[3];
	} mark;
	uint8_t data[];
};

struct port {
	struct hold_port held;
	struct frame *head, **tail;
	struct frame *seen[SEEN];
	struct hold_stats stats;
};

struct tap {
	struct hold hold;
	uv_loop_t *loop;
	int fd;
	bool gone;
	size_t bytes[2]; /* of connections, of strangers */
	uv_poll_t poll;
	uv_timer_t tick;
	uv_idle_t releasing;
	int handles; /* not yet closed */
	uint8_t buf[FRAME_MAX];
};

static struct tap *tap(const struct hold *h)
{
	return (struct tap *)h;
}

static struct port *tap_port(const struct hold_port *p)
{
	return (struct port *)p;
}

#define for_each_port(h, p) for (p = tap_port((h)->hold.ports); p; p = tap_port(p->held.next))

/* ---- what a frame is ------------------------------------------------------ */
/* What stands behind the IP headers. */
struct upper {
	const uint8_t *data;
	size_t len, wire; /* present; as the headers say */
};

static void classify_tcp(const struct upper *u, const struct ipaddr *from, struct frame *f)
{
	struct tcphdr th;
	size_t payload;

	if (u->len < sizeof(th))
		return;
	memcpy(&th, u->data, sizeof(th));
	f->stranger = th.syn;
	payload = u->wire > th.doff * 4u ? u->wire - th.doff * 4u : 0;
	/* Bare acknowledgements may well look alike: each counts. */
	f->segment = payload || th.syn || th.fin;
	f->mark = (struct segment){
		.seq = th.seq, .sport = th.source, .len = payload, .flags = th.syn << 1 | th.fin};
	memcpy(f->mark.saddr, from->addr, sizeof(f->mark.saddr));
}

static bool read_ip4(const uint8_t *data, size_t len, struct hold_key *key, struct ipaddr *from,
		     struct upper *u)
{
	struct iphdr ip;
	size_t ihl;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, data, sizeof(ip));
	ihl = ip.ihl * 4u;
	if (ihl < sizeof(ip) || len < ihl || ntohs(ip.tot_len) < ihl)
		return false;
	key->addr = ipaddr_of(DIP_INET, &ip.daddr);
	key->proto = ip.protocol;
	*from = ipaddr_of(DIP_INET, &ip.saddr);
	*u = (struct upper){data + ihl, len - ihl, ntohs(ip.tot_len) - ihl};
	return true;
}

/* Behind one extension header; false: there is none, or it does not fit. */
static bool skip_ext(struct upper *u, uint8_t *proto)
{
	size_t size;

	if (*proto != IPPROTO_HOPOPTS && *proto != IPPROTO_ROUTING && *proto != IPPROTO_DSTOPTS &&
	    *proto != IPPROTO_FRAGMENT)
		return false;
	if (u->len < 8)
		return false;
	size = *proto == IPPROTO_FRAGMENT ? 8 : 8 + u->data[1] * 8u;
	/* Later fragments have no ports to go by. */
	if (u->len < size || u->wire < size || (*proto == IPPROTO_FRAGMENT && (u->data[2] | u->data[3] >> 3)))
		return false;
	*proto = u->data[0];
	*u = (struct upper){u->data + size, u->len - size, u->wire - size};
	return true;
}

static bool read_ip6(const uint8_t *data, size_t len, struct hold_key *key, struct ipaddr *from,
		     struct upper *u)
{
	struct ip6_hdr ip;

	if (len < sizeof(ip))
		return false;
	memcpy(&ip, data, sizeof(ip));
	key->addr = ipaddr_of(DIP_INET6, &ip.ip6_dst);
	key->proto = ip.ip6_nxt;
	*from = ipaddr_of(DIP_INET6, &ip.ip6_src);
	*u = (struct upper){data + sizeof(ip), len - sizeof(ip), ntohs(ip.ip6_plen)};
	while (skip_ext(u, &key->proto))
		;
	return true;
}

static bool read_ip(const uint8_t *data, size_t len, struct hold_key *key, struct ipaddr *from,
		    struct upper *u)
{
	__be16 type;

	if (len < ETH_HLEN)
		return false;
	memcpy(&type, data + 12, sizeof(type));
	switch (ntohs(type)) {
	case ETHERTYPE_IP:
		return read_ip4(data + ETH_HLEN, len - ETH_HLEN, key, from, u);
	case ETHERTYPE_IPV6:
		return read_ip6(data + ETH_HLEN, len - ETH_HLEN, key, from, u);
	}
	return false;
}

/* To whom the frame goes; false: it is nothing that can be held. */
static bool classify(const uint8_t *data, size_t len, struct hold_key *key, struct frame *f)
{
	struct ipaddr from;
	struct upper u;
	__be16 port;

	*key = (struct hold_key){};
	if (!read_ip(data, len, key, &from, &u) || u.len < 4 || u.wire < 4)
		return false;
	if (key->proto != IPPROTO_TCP && key->proto != IPPROTO_UDP)
		return false;
	memcpy(&port, u.data + 2, sizeof(port));
	key->port = ntohs(port);
	if (u.len > u.wire)
		u.len = u.wire;
	f->stranger = key->proto == IPPROTO_UDP;
	f->segment = false;
	if (key->proto == IPPROTO_TCP)
		classify_tcp(&u, &from, f);
	return true;
}

static unsigned int segment_hash(const struct segment *s)
{
	uint32_t part[4], x;

	memcpy(part, s->saddr, sizeof(part));
	x = part[0] ^ part[1] ^ part[2] ^ part[3] ^ s->seq * 2654435761u ^ (uint32_t)s->sport << 16 ^ s->len;
	return (x ^ x >> 15) * 2246822519u >> 24 & (SEEN - 1);
}

/* ---- queue ---------------------------------------------------------------- */
static void queue_put(struct tap *h, struct port *p, struct frame *f)
{
	f->next = NULL;
	*p->tail = f;
	p->tail = &f->next;
	h->bytes[f->stranger] += f->len + FRAME_OVERHEAD;
	if (f->segment) {
		struct frame **chain = &p->seen[segment_hash(&f->mark)];

		f->same = *chain;
		*chain = f;
	}
}

static struct frame *queue_take(struct tap *h, struct port *p)
{
	struct frame *f = p->head, **at;

	if (!f)
		return NULL;
	p->head = f->next;
	if (!p->head)
		p->tail = &p->head;
	h->bytes[f->stranger] -= f->len + FRAME_OVERHEAD;
	if (f->segment) {
		for (at = &p->seen[segment_hash(&f->mark)]; *at != f;)
			at = &(*at)->same;
		*at = f->same;
	}
	return f;
}

static bool queue_has(const struct port *p, const struct segment *s)
{
	const struct frame *f = p->seen[segment_hash(s)];

	while (f && memcmp(&f->mark, s, sizeof(*s)))
		f = f->same;
	return f;
}

static void queue_clear(struct tap *h, struct port *p)
{
	struct frame *f;

	while ((f = queue_take(h, p)))
		free(f);
}

static void write_frame(struct tap *h, const uint8_t *data, size_t len)
{
	ssize_t n = write(h->fd, data, len);

	if (n < 0 && errno != EAGAIN)
		log_debug("hold: cannot write back a frame of %zu bytes: %m", len);
}

static void arrived(struct tap *h, const uint8_t *data, size_t len)
{
	static const size_t limit[2] = {HOLD_BYTES_MAX, HOLD_STRANGERS_MAX};
	struct frame probe = {}, *f;
	struct hold_key key;
	struct port *p;

	if (!classify(data, len, &key, &probe))
		return;
	p = tap_port(hold_port_find(&h->hold, key));
	if (!p)
		return;
	if (p->held.state == HOLD_OPEN) {
		if (p->held.opened)
			write_frame(h, data, len);
		return;
	}
	if (h->bytes[probe.stranger] + len + FRAME_OVERHEAD > limit[probe.stranger] ||
	    (probe.segment && queue_has(p, &probe.mark)) || !(f = malloc(sizeof(*f) + len))) {
		p->stats.dropped++;
		return;
	}
	*f = probe;
	f->at_ms = uv_now(h->loop);
	f->len = len;
	memcpy(f->data, data, len);
	p->stats.packets++;
	queue_put(h, p, f);
}

/* Takes what the device has; true when it is empty now. */
static bool read_device(struct tap *h)
{
	for (int i = 0; i < READ_BURST; i++) {
		ssize_t n = read(h->fd, h->buf, sizeof(h->buf));

		if (n < 0 && errno == EBADFD) { /* the device was deleted */
			h->gone = true;
			uv_poll_stop(&h->poll);
		}
		if (n <= 0)
			return true;
		arrived(h, h->buf, n);
	}
	return false;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct tap *h = poll->data;

	uv_update_time(h->loop);
	read_device(h);
	if (status < 0 || events & ~UV_READABLE) {
		h->gone = true;
		uv_poll_stop(&h->poll);
	}
}

/* ---- release -------------------------------------------------------------- */
static bool release_some(struct tap *h, struct port *p)
{
	uint64_t now = uv_now(h->loop);

	for (int i = 0; i < BURST; i++) {
		struct frame *f = queue_take(h, p);

		if (!f)
			return true;
		if (now - f->at_ms > p->stats.ms_max)
			p->stats.ms_max = now - f->at_ms;
		write_frame(h, f->data, f->len);
		free(f);
	}
	return false;
}

static void open_port(struct tap *h, struct port *p)
{
	hold_port_open(&p->held);
	read_device(h); /* what was on its way when the entry changed */
}

static void release_step(struct tap *h)
{
	bool dry = read_device(h), more = false;
	struct port *p;

	for_each_port(h, p)
	{
		if (p->held.state != HOLD_RELEASING)
			continue;
		/* Once more what came meanwhile, so that little is left to overtake. */
		if (release_some(h, p) && dry && read_device(h) && !p->head)
			open_port(h, p);
		else
			more = true;
	}
	if (!more)
		uv_idle_stop(&h->releasing);
}

static void on_idle(uv_idle_t *idle)
{
	release_step(idle->data);
}

static void tap_release(struct hold *hold, struct hold_key key, hold_opened_fn *opened, void *arg)
{
	struct tap *h = tap(hold);

	if (!hold_port_release(hold, key, opened, arg))
		return;
	uv_update_time(h->loop);
	uv_idle_start(&h->releasing, on_idle);
	release_step(h);
}

static void tap_discard(struct hold *hold, struct hold_key key)
{
	struct port *p = tap_port(hold_port_find(hold, key));

	if (!p)
		return;
	p->held.state = HOLD_OPEN;
	p->held.opened = NULL;
	queue_clear(tap(hold), p);
}

/* ---- ports ---------------------------------------------------------------- */
static int tap_begin(struct hold *hold, struct hold_key key, const char *app)
{
	struct port *p = tap_port(hold_port_find(hold, key));
	struct hold_port *old;

	if (p && p->held.state == HOLD_HELD)
		return 0;
	if (p && p->held.state == HOLD_OPEN)
		p->stats = (struct hold_stats){};
	p = tap_port(hold_port_hold(hold, key, app, sizeof(*p)));
	if (!p)
		return -ENOMEM;
	if (!p->tail)
		p->tail = &p->head;
	while ((old = hold_port_too_many(hold)))
		free(old);
	return 0;
}

static void tap_stats(const struct hold *hold, const char *app, struct hold_stats *out)
{
	const struct port *p;

	for_each_port(tap(hold), p)
	{
		if (strcmp(p->held.app, app))
			continue;
		out->packets += p->stats.packets;
		out->dropped += p->stats.dropped;
		if (p->stats.ms_max > out->ms_max)
			out->ms_max = p->stats.ms_max;
	}
}

/* Frames that waited too long: their senders have sent them again by now. */
static void on_tick(uv_timer_t *tick)
{
	struct tap *h = tick->data;
	uint64_t now = uv_now(h->loop);
	struct port *p;

	for_each_port(h, p)
	{
		while (p->head && now - p->head->at_ms > HOLD_AGE_MS) {
			free(queue_take(h, p));
			p->stats.dropped++;
		}
	}
}

/* ---- the device ----------------------------------------------------------- */
static int device_open(void)
{
	_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	if (fd < 0)
		return -errno;
	strcpy(ifr.ifr_name, HOLD_DEVICE);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
		return -errno;
	return take_fd(fd);
}

static int device_up(int *ifindex)
{
	_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {};

	if (s < 0)
		return -errno;
	strcpy(ifr.ifr_name, HOLD_DEVICE);
	ifr.ifr_qlen = DEVICE_QUEUE;
	if (ioctl(s, SIOCSIFTXQLEN, &ifr) < 0)
		return -errno;
	hold_device_quiet();
	ifr.ifr_mtu = DEVICE_MTU; /* whatever the interfaces have */
	if (ioctl(s, SIOCSIFMTU, &ifr) < 0)
		return -errno;
	ifr.ifr_flags = IFF_UP | IFF_NOARP;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		return -errno;
	if (ioctl(s, SIOCGIFINDEX, &ifr) < 0)
		return -errno;
	*ifindex = ifr.ifr_ifindex;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct tap *h = handle->data;

	if (--h->handles)
		return;
	close(h->fd);
	free(h);
}

static void tap_close(struct hold *hold, bool remove)
{
	struct tap *h = tap(hold);
	struct port *p;

	while ((p = tap_port(hold->ports))) {
		queue_clear(h, p);
		hold->ports = p->held.next;
		free(p);
	}
	if (remove)
		ioctl(h->fd, TUNSETPERSIST, 0);
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->tick, on_closed);
	uv_close((uv_handle_t *)&h->releasing, on_closed);
}

static bool tap_keep(struct hold *hold)
{
	struct tap *h = tap(hold);
	int ifindex = 0;

	if (!h->gone && !device_up(&ifindex) && ifindex == hold->ifindex)
		return true;
	h->gone = true;
	return false;
}

static const struct hold_ops tap_ops = {
	.name = "tap",
	.close = tap_close,
	.keep = tap_keep,
	.begin = tap_begin,
	.release = tap_release,
	.discard = tap_discard,
	.stats = tap_stats,
};

int hold_tap_open(struct hold **out, uv_loop_t *loop)
{
	_close_ int fd = device_open();
	struct tap *h;
	int err, ifindex = 0;

	if (fd < 0)
		return fd;
	err = device_up(&ifindex);
	if (err)
		return err;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->hold = (struct hold){.ops = &tap_ops, .ifindex = ifindex};
	h->loop = loop;
	h->fd = take_fd(fd);
	err = uv_poll_init(loop, &h->poll, h->fd);
	if (err) {
		close(h->fd);
		free(h);
		return err;
	}
	uv_timer_init(loop, &h->tick);
	uv_idle_init(loop, &h->releasing);
	h->handles = 3;
	h->poll.data = h->tick.data = h->releasing.data = h;
	uv_poll_start(&h->poll, UV_READABLE, on_readable);
	uv_timer_start(&h->tick, on_tick, TICK_MS, TICK_MS);
	uv_unref((uv_handle_t *)&h->poll);
	uv_unref((uv_handle_t *)&h->tick);
	*out = &h->hold;
	return 0;
}
