// SPDX-License-Identifier: GPL-2.0
#include "vips_frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

#include "userland/lib/cleanup.h"

struct arp_frame {
	struct ether_header eth;
	struct arphdr arp;
	uint8_t sha[6], spa[4], tha[6], tpa[4];
} __attribute__((packed));

/* A solicitation, or an advertisement with its one option. */
struct nd_frame {
	struct ether_header eth;
	struct ip6_hdr ip;
	uint8_t type, code;
	uint16_t check;
	uint32_t flags;
	uint8_t target[16];
	uint8_t opt, opt_len, opt_mac[6];
} __attribute__((packed));

#define ND_OPTION (sizeof(struct nd_frame) - offsetof(struct nd_frame, opt))

static struct vips_frame frame_of(const void *data, size_t len)
{
	struct vips_frame f = {.len = len};

	memcpy(f.data, data, len);
	return f;
}

/* ---- ARP -------------------------------------------------------------------- */
static struct arp_frame arp_frame(uint16_t op, const struct ipaddr *target, const uint8_t from[6])
{
	struct arp_frame f = {
		.eth.ether_type = htons(ETHERTYPE_ARP),
		.arp = {htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4, htons(op)},
	};

	memset(f.eth.ether_dhost, 255, 6);
	memcpy(f.eth.ether_shost, from, 6);
	memcpy(f.sha, from, 6);
	memcpy(f.tpa, target->addr, 4);
	return f;
}

static const uint8_t *arp_says(const struct arp_frame *f, const struct ipaddr *addr)
{
	return f->arp.ar_hrd == htons(ARPHRD_ETHER) && f->arp.ar_pro == htons(ETHERTYPE_IP) &&
			       !memcmp(f->spa, addr->addr, 4)
		       ? f->sha
		       : NULL;
}

/* ---- neighbour discovery ------------------------------------------------------ */
static uint16_t nd_checksum(const struct nd_frame *f, size_t payload)
{
	const uint8_t *p = (const uint8_t *)&f->ip.ip6_src;
	uint32_t sum = payload + IPPROTO_ICMPV6;

	/* The addresses stand before the payload: with the length and the protocol the pseudo header. */
	for (size_t i = 0; i < 32 + payload; i += 2)
		sum += p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static struct vips_frame nd_frame(struct nd_frame *f, const struct ipaddr *to, const uint8_t from[6],
				  bool option)
{
	size_t payload = sizeof(*f) - offsetof(struct nd_frame, type) - (option ? 0 : ND_OPTION);

	ipaddr_group_mac(to, f->eth.ether_dhost);
	memcpy(f->eth.ether_shost, from, 6);
	f->eth.ether_type = htons(ETHERTYPE_IPV6);
	f->ip.ip6_flow = htonl(6u << 28);
	f->ip.ip6_plen = htons(payload);
	f->ip.ip6_nxt = IPPROTO_ICMPV6;
	f->ip.ip6_hlim = 255;
	memcpy(&f->ip.ip6_dst, to->addr, 16);
	f->check = nd_checksum(f, payload);
	return frame_of(f, sizeof(*f) - (option ? 0 : ND_OPTION));
}

static struct vips_frame nd_ask(const struct ipaddr *addr, const uint8_t from[6])
{
	struct nd_frame f = {.type = ND_NEIGHBOR_SOLICIT};
	struct ipaddr group = ipaddr_solicited(addr);

	memcpy(f.target, addr->addr, 16);
	return nd_frame(&f, &group, from, false);
}

static struct vips_frame nd_tell(const struct ipaddr *addr, const uint8_t mac[6], const uint8_t from[6])
{
	static const struct ipaddr all_nodes = {DIP_INET6, {0xff, 0x02, [15] = 1}};
	struct nd_frame f = {.type = ND_NEIGHBOR_ADVERT,
			     .flags = ND_NA_FLAG_OVERRIDE,
			     .opt = ND_OPT_TARGET_LINKADDR,
			     .opt_len = 1};

	memcpy(&f.ip.ip6_src, addr->addr, 16);
	memcpy(f.target, addr->addr, 16);
	memcpy(f.opt_mac, mac, 6);
	return nd_frame(&f, &all_nodes, from, true);
}

/* An advertisement for it, or whatever else asks from it. */
static const uint8_t *nd_says(const struct nd_frame *f, const struct ipaddr *addr)
{
	bool tells = f->type == ND_NEIGHBOR_ADVERT && f->opt == ND_OPT_TARGET_LINKADDR &&
		     !memcmp(f->target, addr->addr, 16);
	bool asks = f->type == ND_NEIGHBOR_SOLICIT && f->opt == ND_OPT_SOURCE_LINKADDR &&
		    !memcmp(&f->ip.ip6_src, addr->addr, 16);

	return f->ip.ip6_nxt == IPPROTO_ICMPV6 && (tells || asks) ? f->opt_mac : NULL;
}

/* ---- either ------------------------------------------------------------------- */
struct vips_frame vips_frame_ask(const struct ipaddr *addr, const uint8_t from[6])
{
	struct arp_frame arp;

	if (addr->family == DIP_INET6)
		return nd_ask(addr, from);
	arp = arp_frame(ARPOP_REQUEST, addr, from);
	return frame_of(&arp, sizeof(arp));
}

struct vips_frame vips_frame_tell(const struct ipaddr *addr, const uint8_t mac[6], const uint8_t from[6],
				  bool answer)
{
	struct arp_frame arp;

	if (addr->family == DIP_INET6)
		return nd_tell(addr, mac, from);
	arp = arp_frame(answer ? ARPOP_REPLY : ARPOP_REQUEST, addr, from);
	memcpy(arp.sha, mac, 6);
	memcpy(arp.spa, addr->addr, 4);
	if (answer)
		memset(arp.tha, 255, 6);
	return frame_of(&arp, sizeof(arp));
}

const uint8_t *vips_frame_says(const uint8_t *data, size_t len, const struct ipaddr *addr)
{
	if (addr->family == DIP_INET6)
		return len >= sizeof(struct nd_frame) ? nd_says((const struct nd_frame *)data, addr) : NULL;
	return len >= sizeof(struct arp_frame) ? arp_says((const struct arp_frame *)data, addr) : NULL;
}

/* Only neighbour discovery: a busy interface has more IPv6 than that. */
static int only_nd(int fd)
{
	static const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct nd_frame, ip.ip6_nxt)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 4),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct nd_frame, type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_SOLICIT, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_ADVERT, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, VIPS_FRAME_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), (struct sock_filter *)code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

int vips_frame_socket(uint8_t family, int ifindex)
{
	uint16_t type = htons(family == DIP_INET6 ? ETHERTYPE_IPV6 : ETHERTYPE_ARP);
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = type, .sll_ifindex = ifindex};
	/* Bound and filtered before it hears anything. */
	_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || (family == DIP_INET6 && only_nd(fd)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return take_fd(fd);
}
