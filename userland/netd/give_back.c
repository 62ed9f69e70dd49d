// SPDX-License-Identifier: GPL-2.0
#include "give_back.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/socket.h>

#include "userland/lib/log.h"
#include "userland/lib/queued.h"

#define HEADERS 128 /* room for those before the data */

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

static int send_packet(int fd, int ifindex, struct packet *p, const struct queued *q, uint8_t proto)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = ifindex,
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
	return sendmsg(fd, &m, 0) < 0 ? -errno : 0;
}

/* ---- what it was -------------------------------------------------------------------- */
static int give_datagram(int fd, int ifindex, const struct queued *q, const uint8_t *data)
{
	struct packet p = {.data = data, .data_len = q->len};
	struct udphdr *udp = push(&p, sizeof(*udp));

	udp->source = q->rport;
	udp->dest = q->lport;
	udp->len = htons((uint16_t)(sizeof(*udp) + q->len));
	udp->check = checksum(&p, q, IPPROTO_UDP);
	if (!udp->check)
		udp->check = 0xffff;
	return send_packet(fd, ifindex, &p, q, IPPROTO_UDP);
}

/* One for all times: closing a packet socket waits for every CPU. */
static int packet_socket(uint32_t mark)
{
	static int fd = -1;

	if (fd < 0)
		fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ? -errno : fd;
}

int give_back(int hold_ifindex, uint32_t mark, const uint8_t *file, size_t size)
{
	int fd = packet_socket(mark), n = 0;
	const uint8_t *data;
	struct queued q;
	size_t at = 0;

	while (fd >= 0 && queued_next(file, size, &at, &q, &data)) {
		int err = q.kind == QUEUED_DATAGRAM ? give_datagram(fd, hold_ifindex, &q, data) : 0;

		if (err)
			log_warn("a datagram of %u bytes is lost: %s", q.len, strerror(-err));
		n += !err;
	}
	return fd < 0 ? fd : n;
}
