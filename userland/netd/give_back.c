// SPDX-License-Identifier: GPL-2.0
#include "give_back.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "sockdiag.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/dip_bpf.h"
#include "userland/lib/log.h"
#include "userland/lib/queued.h"

#define HEADERS 128 /* room for those before the data */
#define TRIES	5   /* for what the kernel did not take */
#define PIECE	48  /* of data, at least: a peer may have asked for segments of one byte */

struct giver {
	int fd, ifindex;
	struct dip_bpf *bpf;
	struct sockdiag *diag;
};

struct packet {
	uint8_t head[HEADERS]; /* the headers at its end */
	size_t len;
	const uint8_t *data;
	size_t data_len;
};

static void *push(struct packet *p, size_t len)
{
	p->len += len;
	return memset(p->head + HEADERS - p->len, 0, len);
}

/* ---- checksums ------------------------------------------------------------------ */
static uint32_t sum(uint32_t s, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		s += (uint32_t)p[len - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

/* Of UDP or TCP, whose header is the last that was pushed. */
static uint16_t checksum(const struct packet *p, const struct queued *q, uint8_t proto)
{
	size_t addr = q->family == DIP_INET6 ? 16 : 4;
	uint32_t s = (uint32_t)(proto + p->len + p->data_len);

	s = sum(s, q->raddr, addr);
	s = sum(s, q->laddr, addr);
	s = sum(s, p->head + HEADERS - p->len, p->len);
	s = ~sum(s, p->data, p->data_len) & 0xffff;
	return htons((uint16_t)s);
}

/* ---- headers ---------------------------------------------------------------------- */
static void push_ip4(struct packet *p, const struct queued *q, uint8_t proto)
{
	uint16_t total = (uint16_t)(sizeof(struct iphdr) + p->len + p->data_len);
	struct iphdr *ip = push(p, sizeof(*ip));

	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = q->tos;
	ip->tot_len = htons(total);
	ip->ttl = q->ttl;
	ip->protocol = proto;
	memcpy(&ip->saddr, q->raddr, 4);
	memcpy(&ip->daddr, q->laddr, 4);
	ip->check = htons((uint16_t)~sum(0, ip, sizeof(*ip)));
}

static void push_ip6(struct packet *p, const struct queued *q, uint8_t proto)
{
	uint16_t payload = (uint16_t)(p->len + p->data_len);
	struct ip6_hdr *ip = push(p, sizeof(*ip));

	ip->ip6_flow = htonl(6u << 28 | (uint32_t)q->tos << 20);
	ip->ip6_plen = htons(payload);
	ip->ip6_nxt = proto;
	ip->ip6_hlim = q->ttl;
	memcpy(&ip->ip6_src, q->raddr, 16);
	memcpy(&ip->ip6_dst, q->laddr, 16);
}

static int send_packet(const struct giver *g, struct packet *p, const struct queued *q, uint8_t proto)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = g->ifindex,
				 .sll_halen = 6,
				 .sll_protocol =
					 htons(q->family == DIP_INET6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP)};
	struct iovec iov[2];
	struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = iov, .msg_iovlen = 2};
	struct ether_header *eth;

	if (q->family == DIP_INET6)
		push_ip6(p, q, proto);
	else
		push_ip4(p, q, proto);
	eth = push(p, sizeof(*eth));
	eth->ether_type = to.sll_protocol;
	iov[0] = (struct iovec){p->head + HEADERS - p->len, p->len};
	iov[1] = (struct iovec){(void *)p->data, p->data_len};
	return sendmsg(g->fd, &m, 0) < 0 ? -errno : 0;
}

/* ---- what it was -------------------------------------------------------------------- */
static int give_datagram(const struct giver *g, const struct queued *q, const uint8_t *data)
{
	struct packet p = {.data = data, .data_len = q->len};
	struct udphdr *udp = push(&p, sizeof(*udp));

	udp->source = q->rport;
	udp->dest = q->lport;
	udp->len = htons((uint16_t)(sizeof(*udp) + q->len));
	udp->check = checksum(&p, q, IPPROTO_UDP);
	if (!udp->check)
		udp->check = 0xffff;
	return send_packet(g, &p, q, IPPROTO_UDP);
}

/* A segment of the peer's, `from` bytes after its SYN. */
static int send_segment(const struct giver *g, const struct queued *q, uint32_t from, const uint8_t *data,
			size_t len, bool fin)
{
	struct packet p = {.data = data, .data_len = len};
	bool times = q->agreed.flags & DIP_EMBRYO_TIMES;
	uint32_t clock = htonl(q->clock);
	struct tcphdr *th;
	uint8_t *option;

	if (times) {
		option = push(&p, 12);
		memcpy(option, (const uint8_t[]){1, 1, 8, 10}, 4);
		memcpy(option + 8, &clock, sizeof(clock));
	}
	th = push(&p, sizeof(*th));
	th->source = q->rport;
	th->dest = q->lport;
	th->seq = htonl(q->agreed.rcv_isn + 1 + from);
	th->ack_seq = htonl(q->agreed.snt_isn + 1);
	th->doff = (uint16_t)(p.len / 4);
	th->ack = 1;
	th->fin = fin;
	th->window = htons(q->window);
	th->check = checksum(&p, q, IPPROTO_TCP);
	return send_packet(g, &p, q, IPPROTO_TCP);
}

static struct sockdiag_sock sock_of(const struct queued *q)
{
	return (struct sockdiag_sock){.proto = IPPROTO_TCP,
				      .family = q->family == DIP_INET6 ? AF_INET6 : AF_INET,
				      .port = ntohs(q->lport),
				      .rport = ntohs(q->rport),
				      .addr = ipaddr_of(q->family, q->laddr),
				      .raddr = ipaddr_of(q->family, q->raddr)};
}

static struct dip_embryo_key key_of(const struct queued *q)
{
	struct dip_embryo_key k = {.rport = q->rport, .lport = q->lport, .family = q->family};

	memcpy(&k.raddr, q->raddr, sizeof(q->raddr));
	memcpy(&k.laddr, q->laddr, sizeof(q->laddr));
	return k;
}

/* From where on the kernel does not have what came; -errno: it has no such connection. */
static int64_t missing(const struct giver *g, const struct queued *q)
{
	struct sockdiag_sock s = sock_of(q);
	uint64_t bytes;
	int err = sockdiag_received(g->diag, &s, &bytes);

	return err ?: (int64_t)bytes;
}

static int give_data(const struct giver *g, const struct queued *q, const uint8_t *data)
{
	int64_t all = (int64_t)q->len + q->fin, at = missing(g, q);
	size_t piece = q->agreed.mss > PIECE ? q->agreed.mss : PIECE;

	for (int i = 0; i < TRIES && at >= 0 && at < all; i++, at = missing(g, q)) {
		for (; at < q->len; at += (int64_t)piece) {
			size_t left = (size_t)(q->len - at);

			send_segment(g, q, (uint32_t)at, data + at, left < piece ? left : piece, false);
		}
		if (q->fin)
			send_segment(g, q, q->len, NULL, 0, true);
	}
	return at < 0 ? (int)at : at < all ? -ENOBUFS : 0;
}

static int give_connection(const struct giver *g, const struct queued *q, const uint8_t *data)
{
	struct dip_embryo_key key = key_of(q);
	struct sockdiag_sock s = sock_of(q);
	uint64_t bytes;
	int err = q->agreed.mss ? dip_bpf_embryo_put(g->bpf, &key, &q->agreed) : -EINVAL;

	for (int i = 0; i < TRIES && !err && missing(g, q) < 0; i++)
		err = send_segment(g, q, 0, NULL, 0, false);
	if (!err)
		err = give_data(g, q, data);
	dip_bpf_embryo_del(g->bpf, &key);
	if (err) {
		log_warn("a connection that waited for accept() is lost: %s", strerror(-err));
		if (sockdiag_received(g->diag, &s, &bytes) == 0)
			sockdiag_destroy(g->diag, &s);
	}
	return err;
}

/* ---- a handshake -------------------------------------------------------------------------- */
static size_t answer_options(const struct queued *q, uint8_t opt[40])
{
	uint16_t full = q->family == DIP_INET6 ? 1440 : 1460;
	uint16_t mss = htons(q->agreed.mss < full ? q->agreed.mss : full);
	uint32_t times[2] = {htonl(q->clock), htonl(q->echo)};
	size_t n = 4;

	memcpy(opt, (const uint8_t[]){2, 4}, 2);
	memcpy(opt + 2, &mss, sizeof(mss));
	if (q->agreed.flags & DIP_EMBRYO_SACK) {
		memcpy(opt + n, (const uint8_t[]){1, 1, 4, 2}, 4);
		n += 4;
	}
	if (q->agreed.flags & DIP_EMBRYO_TIMES) {
		memcpy(opt + n, (const uint8_t[]){1, 1, 8, 10}, 4);
		memcpy(opt + n + 4, times, sizeof(times));
		n += 12;
	}
	if (q->agreed.flags & DIP_EMBRYO_WSCALE) {
		memcpy(opt + n, (const uint8_t[]){1, 3, 3, q->agreed.rcv_wscale}, 4);
		n += 4;
	}
	return n;
}

static void push_answer(struct packet *p, const struct queued *back)
{
	uint8_t options[40];
	size_t n = answer_options(back, options);
	struct tcphdr *th;

	memcpy(push(p, n), options, n);
	th = push(p, sizeof(*th));
	th->source = back->rport;
	th->dest = back->lport;
	th->seq = htonl(back->agreed.snt_isn);
	th->ack_seq = htonl(back->agreed.rcv_isn + 1);
	th->doff = (uint16_t)(p->len / 4);
	th->syn = th->ack = 1;
	th->res2 = back->agreed.flags & DIP_EMBRYO_ECN ? 1 : 0; /* ECE */
	th->window = htons(0xffff);
	th->check = checksum(p, back, IPPROTO_TCP);
}

void give_answer(const struct queued *q)
{
	struct sockaddr_in to4 = {.sin_family = AF_INET};
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6};
	bool six = q->family == DIP_INET6;
	struct queued back = *q;
	struct packet p = {};
	_close_ int fd =
		socket(six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);

	memcpy(back.raddr, q->laddr, 16);
	memcpy(back.laddr, q->raddr, 16);
	back.rport = q->lport;
	back.lport = q->rport;
	push_answer(&p, &back);
	if (six)
		push_ip6(&p, &back, IPPROTO_TCP);
	else
		push_ip4(&p, &back, IPPROTO_TCP);
	memcpy(&to4.sin_addr, q->raddr, 4);
	memcpy(&to6.sin6_addr, q->raddr, 16);
	if (fd < 0 || sendto(fd, p.head + HEADERS - p.len, p.len, 0, six ? (void *)&to6 : (void *)&to4,
			     six ? sizeof(to6) : sizeof(to4)) < 0)
		log_debug("a handshake is not answered: %s", strerror(errno));
}

/* One for all times: closing a packet socket waits for every CPU. */
static int packet_socket(uint32_t mark)
{
	static int fd = -1;

	if (fd < 0)
		fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ? -errno : fd;
}

static int give_one(const struct giver *g, const struct queued *q, const uint8_t *data)
{
	int err;

	if (q->kind == QUEUED_HALF_OPEN)
		return -EINPROGRESS;
	if (q->kind == QUEUED_CONNECTION)
		return give_connection(g, q, data);
	err = q->kind == QUEUED_DATAGRAM ? give_datagram(g, q, data) : -EINVAL;
	if (err)
		log_warn("a datagram of %u bytes is lost: %s", q->len, strerror(-err));
	return err;
}

/* What one CPU sends, it receives in that order. */
static void stay_here(cpu_set_t *was)
{
	int cpu = sched_getcpu();
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_ZERO(was);
	if (cpu >= 0 && sched_getaffinity(0, sizeof(*was), was) == 0) {
		CPU_SET(cpu, &here);
		sched_setaffinity(0, sizeof(here), &here);
	}
}

int give_back(struct dip_bpf *bpf, struct sockdiag *diag, int hold_ifindex, const uint8_t *file, size_t size)
{
	struct giver g = {.fd = packet_socket(dip_bpf_mem(bpf)->conf->mark),
			  .ifindex = hold_ifindex,
			  .bpf = bpf,
			  .diag = diag};
	const uint8_t *data;
	struct queued q;
	cpu_set_t cpus;
	size_t at = 0;
	int n = 0;

	if (g.fd < 0)
		return g.fd;
	stay_here(&cpus);
	while (queued_next(file, size, &at, &q, &data))
		n += !give_one(&g, &q, data);
	if (CPU_COUNT(&cpus))
		sched_setaffinity(0, sizeof(cpus), &cpus);
	return n;
}
