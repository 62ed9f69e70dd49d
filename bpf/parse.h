/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From a frame to a struct dip_flow, for XDP, tc and the unit tests.
 *
 * Every function returns DIP_R_NONE or the reason why the packet cannot be read
 * further; nothing is read at or behind `end`.  len is the length of the frame
 * on the wire, 0 when the lengths in its headers need no check (a GSO packet of
 * this machine); it is more than end - data where the rest is not linear.
 */
#ifndef SSI_BPF_PARSE_H
#define SSI_BPF_PARSE_H

#include <ssi/dip_steer.h>

#define ETH_HLEN_   14
#define ETHER_IPV4  0x0800
#define ETHER_IPV6  0x86dd
#define ETHER_VLAN  0x8100
#define ETHER_QINQ  0x88a8
#define EXT_MAX	    4 /* IPv6 extension headers, and what ends them */
#define EXT_HBH	    0
#define EXT_ROUTING 43
#define EXT_FRAG    44
#define EXT_DST	    60
#define EXT_SET	    (1ULL << EXT_HBH | 1ULL << EXT_ROUTING | 1ULL << EXT_FRAG | 1ULL << EXT_DST)

#ifdef __clang__
#define DIP_UNROLL _Pragma("unroll")
#else
#define DIP_UNROLL _Pragma("GCC unroll 8")
#endif

/* where we are in the frame */
struct dip_cursor {
	const __u8 *p;
	const __u8 *end;
	__u32 left;  /* bytes of the frame from p on */
	__u32 check; /* do they come from len? */
	__u32 out;   /* DIP_OUT: the source is the VIP's side */
};

#ifdef __bpf__
DIP_INLINE __be16 load_be16(const __u8 *p)
{
	return *(const __be16 *)p;
}
DIP_INLINE __be32 load_be32(const __u8 *p)
{
	return *(const __be32 *)p;
}
#else
DIP_INLINE __be16 load_be16(const __u8 *p)
{
	__be16 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}

DIP_INLINE __be32 load_be32(const __u8 *p)
{
	__be32 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}
#endif

DIP_INLINE __u16 load_u16(const __u8 *p)
{
	return DIP_NTOH16(load_be16(p));
}

DIP_INLINE void load_addr6(union dip_addr *a, const __u8 *p)
{
#ifdef __bpf__
	a->a64[0] = *(const __u64 *)p;
	a->a64[1] = *(const __u64 *)(p + 8);
#else
	__builtin_memcpy(a, p, sizeof(*a));
#endif
}

DIP_INLINE int addr_equal(const union dip_addr *a, const union dip_addr *b)
{
	return a->a64[0] == b->a64[0] && a->a64[1] == b->a64[1];
}

/* Ports of a header whose sender is the remote side, or the local one. */
DIP_INLINE void load_ports(struct dip_flow *f, const __u8 *p, __u32 from_local)
{
	f->rport = load_be16(from_local ? p + 2 : p);
	f->lport = load_be16(from_local ? p : p + 2);
}

/*
 * What an ICMP error quotes is a packet of the opposite direction; the error
 * belongs to that packet's connection.  src and dst are the quoted addresses.
 */
DIP_INLINE int quote_sides(const struct dip_cursor *c, struct dip_flow *f, const union dip_addr *src,
			   const union dip_addr *dst)
{
	const union dip_addr *local = c->out ? dst : src;

	if (!addr_equal(local, &f->laddr))
		return DIP_R_QUOTE_FOREIGN;
	f->raddr = c->out ? *src : *dst;
	f->flags |= DIP_F_ERROR;
	return DIP_R_NONE;
}

DIP_INLINE int quote_l4(const struct dip_cursor *c, struct dip_flow *f, const __u8 *p, __u8 proto, __u8 icmp)
{
	f->proto = proto;
	if (proto == icmp)
		f->flags |= DIP_F_ICMP;
	if (proto != DIP_PROTO_TCP && proto != DIP_PROTO_UDP)
		return DIP_R_NONE;
	if (p + 4 > c->end)
		return DIP_R_QUOTE_SHORT;
	load_ports(f, p, !c->out);
	return DIP_R_NONE;
}

DIP_INLINE int parse_quote4(const struct dip_cursor *c, struct dip_flow *f, const __u8 *p)
{
	union dip_addr src = {.a64 = {0}}, dst = {.a64 = {0}};
	__u32 hlen;
	int why;

	if (p + 20 > c->end)
		return DIP_R_QUOTE_SHORT;
	hlen = (p[0] & 15) * 4;
	if (p[0] >> 4 != 4 || hlen < 20)
		return DIP_R_QUOTE_FOREIGN;
	src.a4 = load_be32(p + 12);
	dst.a4 = load_be32(p + 16);
	why = quote_sides(c, f, &src, &dst);
	if (why)
		return why;
	if (load_u16(p + 6) & 0x1fff)
		return DIP_R_QUOTE_SHORT;
	return quote_l4(c, f, p + hlen, p[9], DIP_PROTO_ICMP);
}

/* One comparison: the verifier follows each way on. */
DIP_INLINE int is_ext(__u8 proto)
{
	return proto < 64 && EXT_SET >> proto & 1;
}

/* Of the extension header at p, of which 8 bytes are there. */
DIP_INLINE __u32 ext_size(__u8 proto, const __u8 *p)
{
	return proto == EXT_FRAG ? 8 : 8 + p[1] * 8;
}

/* The quoted packet may have an extension header, too; what was sent in fragments has. */
DIP_INLINE int quote_ext(const struct dip_cursor *c, struct dip_flow *f, const __u8 *p, __u8 proto)
{
	if (is_ext(proto)) {
		__u8 next;

		if (p + 8 > c->end || (proto == EXT_FRAG && load_u16(p + 2) & 0xfff8))
			return DIP_R_QUOTE_SHORT;
		next = p[0];
		p += ext_size(proto, p);
		proto = next;
	}
	return is_ext(proto) ? DIP_R_EXT_DEEP : quote_l4(c, f, p, proto, DIP_PROTO_ICMP6);
}

DIP_INLINE int parse_quote6(const struct dip_cursor *c, struct dip_flow *f, const __u8 *p)
{
	union dip_addr src, dst;
	int why;

	if (p + 40 > c->end)
		return DIP_R_QUOTE_SHORT;
	if (p[0] >> 4 != 6)
		return DIP_R_QUOTE_FOREIGN;
	load_addr6(&src, p + 8);
	load_addr6(&dst, p + 24);
	why = quote_sides(c, f, &src, &dst);
	if (why)
		return why;
	return quote_ext(c, f, p + 40, p[6]);
}

DIP_INLINE int parse_icmp4(const struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;

	if (p + 8 > c->end || c->left < 8)
		return DIP_R_ICMP_SHORT;
	switch (p[0]) {
	case 3:	 /* unreachable */
	case 4:	 /* source quench */
	case 5:	 /* redirect */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		return parse_quote4(c, f, p + 8);
	}
	f->flags |= DIP_F_ICMP;
	return DIP_R_NONE;
}

DIP_INLINE int parse_icmp6(const struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;

	if (p + 8 > c->end || c->left < 8)
		return DIP_R_ICMP_SHORT;
	if (p[0] >= 1 && p[0] <= 4)
		return parse_quote6(c, f, p + 8);
	/* multicast listeners, then routers and neighbours */
	if ((p[0] >= 130 && p[0] <= 137) || p[0] == 143)
		f->flags |= DIP_F_ND;
	else
		f->flags |= DIP_F_ICMP;
	return DIP_R_NONE;
}

DIP_INLINE int parse_tcp(const struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;
	__u32 hlen;

	if (p + 20 > c->end || c->left < 20)
		return f->flags & DIP_F_FRAG ? DIP_R_FRAG_TINY : DIP_R_TCP_SHORT;
	load_ports(f, p, c->out);
	hlen = (p[12] >> 4) * 4;
	if (hlen < 20 || (hlen > c->left && !(f->flags & DIP_F_FRAG)))
		return DIP_R_TCP_OFFSET;
	return DIP_R_NONE;
}

DIP_INLINE int parse_udp(const struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;

	if (p + 8 > c->end || c->left < 8)
		return f->flags & DIP_F_FRAG ? DIP_R_FRAG_TINY : DIP_R_UDP_SHORT;
	load_ports(f, p, c->out);
	return DIP_R_NONE;
}

DIP_INLINE int parse_l4(const struct dip_cursor *c, struct dip_flow *f)
{
	if (f->proto == DIP_PROTO_TCP)
		return parse_tcp(c, f);
	if (f->proto == DIP_PROTO_UDP)
		return parse_udp(c, f);
	if (f->family == DIP_INET && f->proto == DIP_PROTO_ICMP)
		return parse_icmp4(c, f);
	if (f->family == DIP_INET6 && f->proto == DIP_PROTO_ICMP6)
		return parse_icmp6(c, f);
	return DIP_R_NONE;
}

DIP_INLINE int parse_ipv4(struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;
	__u32 hlen, total, frag;

	if (p + 20 > c->end)
		return DIP_R_IP_SHORT;
	if (p[0] >> 4 != 4)
		return DIP_R_IP_VERSION;
	f->family = DIP_INET;
	f->proto = p[9];
	f->flags = DIP_F_ADDR;
	f->raddr.a4 = load_be32(c->out ? p + 16 : p + 12);
	f->laddr.a4 = load_be32(c->out ? p + 12 : p + 16);
	hlen = (p[0] & 15) * 4;
	if (hlen < 20)
		return DIP_R_IP_HLEN;
	total = c->check ? load_u16(p + 2) : c->left;
	if (total < hlen)
		return DIP_R_IP_LEN;
	if (total > c->left)
		return DIP_R_IP_TRUNCATED;
	c->left = total - hlen;
	c->p = p + hlen;
	frag = load_u16(p + 6) & 0x3fff;
	if (DIP_UNLIKELY(frag)) {
		f->flags |= DIP_F_FRAG;
		f->frag_id = load_be16(p + 4);
		if (frag & 0x1fff) {
			f->flags |= DIP_F_LATER;
			return DIP_R_NONE;
		}
	}
	return parse_l4(c, f);
}

/*
 * One extension header: 1 when there may be more, 0 when the upper layer has
 * been reached, or a negative reason.
 */
DIP_INLINE int parse_ext(struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;
	__u32 size;

	if (!is_ext(f->proto))
		return 0;
	if (p + 8 > c->end || c->left < 8)
		return -DIP_R_IP_TRUNCATED;
	size = ext_size(f->proto, p);
	if (f->proto == EXT_FRAG) {
		f->flags |= DIP_F_FRAG;
		f->frag_id = load_be32(p + 4);
		if (load_u16(p + 2) & 0xfff8)
			f->flags |= DIP_F_LATER;
	}
	if (size > c->left)
		return -DIP_R_IP_TRUNCATED;
	f->proto = p[0];
	c->p = p + size;
	c->left -= size;
	return !(f->flags & DIP_F_LATER);
}

DIP_INLINE int parse_ipv6(struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;
	__u32 total;
	int i, more = 1;

	if (p + 40 > c->end)
		return DIP_R_IP_SHORT;
	if (p[0] >> 4 != 6)
		return DIP_R_IP_VERSION;
	f->family = DIP_INET6;
	f->proto = p[6];
	f->flags = DIP_F_ADDR;
	load_addr6(&f->raddr, c->out ? p + 24 : p + 8);
	load_addr6(&f->laddr, c->out ? p + 8 : p + 24);
	total = c->check ? load_u16(p + 4) : c->left - 40;
	if (total + 40 > c->left)
		return DIP_R_IP_TRUNCATED;
	c->left = total;
	c->p = p + 40;
	DIP_UNROLL
	for (i = 0; i < EXT_MAX; i++) {
		more = parse_ext(c, f);
		if (more <= 0)
			break;
	}
	if (more < 0)
		return -more;
	if (more)
		return DIP_R_EXT_DEEP;
	if (f->flags & DIP_F_LATER)
		return DIP_R_NONE;
	return parse_l4(c, f);
}

DIP_INLINE int ether_is_tag(__u16 proto)
{
	return proto == ETHER_VLAN || proto == ETHER_QINQ;
}

DIP_INLINE int parse_frame(struct dip_cursor *c, struct dip_flow *f)
{
	const __u8 *p = c->p;
	__u32 off = ETH_HLEN_;
	__u16 proto;
	int i;

	if (p + ETH_HLEN_ > c->end)
		return DIP_R_ETH_SHORT;
	f->dmac = dip_mac_at(p);
	f->smac = dip_mac_at(p + 6);
	proto = load_u16(p + 12);
	DIP_UNROLL
	for (i = 0; i < 2; i++) {
		if (DIP_LIKELY(!ether_is_tag(proto)))
			break;
		if (p + off + 4 > c->end)
			return DIP_R_ETH_SHORT;
		proto = load_u16(p + off + 2);
		off += 4;
	}
	if (ether_is_tag(proto))
		return DIP_R_VLAN_DEEP;
	c->p = p + off;
	c->left = c->left > off ? c->left - off : 0;
	if (DIP_LIKELY(proto == ETHER_IPV4))
		return parse_ipv4(c, f);
	if (proto == ETHER_IPV6)
		return parse_ipv6(c, f);
	return DIP_R_NOT_IP;
}

/*
 * Fill *f (zeroed by the caller) from a frame.  dir says on which side the VIP
 * is.  What could not be read stands in f->malformed.
 */
DIP_INLINE void dip_parse(struct dip_flow *f, const void *data, const void *end, __u32 len, enum dip_dir dir)
{
	struct dip_cursor c = {
		.p = (const __u8 *)data,
		.end = (const __u8 *)end,
		.left = len ? len : 1U << 20,
		.check = len != 0,
		.out = dir == DIP_OUT,
	};

	f->malformed = (__u8)parse_frame(&c, f);
	if (dir == DIP_OUT)
		f->dmac = f->smac = 0;
}

/*
 * The packets that nearly all packets are: untagged, IPv4 without options or
 * fragments or IPv6 without extension headers, TCP or UDP, complete.  1 when it is
 * one, and then *f is what dip_parse() makes of it, but for the MACs, which few
 * will ask for; the compiler sees most of the rest as constants.
 */
DIP_INLINE int parse_common_l4(struct dip_flow *f, const __u8 *l4, __u32 total, __u32 len, enum dip_dir dir)
{
	__u32 hlen = 8;

	if (f->proto == DIP_PROTO_TCP) {
		hlen = (l4[12] >> 4) * 4;
		if (hlen < 20)
			return 0;
	} else if (f->proto != DIP_PROTO_UDP) {
		return 0;
	}
	if (len && (total < hlen || total > len))
		return 0;
	f->flags = DIP_F_ADDR;
	load_ports(f, l4, dir == DIP_OUT);
	return 1;
}

DIP_INLINE int dip_parse_common4(struct dip_flow *f, const void *data, const void *end, __u32 len,
				 enum dip_dir dir)
{
	const __u8 *p = (const __u8 *)data;
	const __u8 *ip = p + ETH_HLEN_;

	if (p + ETH_HLEN_ + 40 > (const __u8 *)end)
		return 0;
	if (load_be16(p + 12) != DIP_NTOH16(ETHER_IPV4) || ip[0] != 0x45 ||
	    load_be16(ip + 6) & DIP_NTOH16(0x3fff))
		return 0;
	f->proto = ip[9];
	if (!parse_common_l4(f, ip + 20, load_u16(ip + 2) - 20, len ? len - ETH_HLEN_ - 20 : 0, dir))
		return 0;
	f->eth = p;
	f->family = DIP_INET;
	f->raddr.a4 = load_be32(dir == DIP_OUT ? ip + 16 : ip + 12);
	f->laddr.a4 = load_be32(dir == DIP_OUT ? ip + 12 : ip + 16);
	return 1;
}

DIP_INLINE int dip_parse_common6(struct dip_flow *f, const void *data, const void *end, __u32 len,
				 enum dip_dir dir)
{
	const __u8 *p = (const __u8 *)data;
	const __u8 *ip = p + ETH_HLEN_;

	if (p + ETH_HLEN_ + 60 > (const __u8 *)end)
		return 0;
	if (load_be16(p + 12) != DIP_NTOH16(ETHER_IPV6) || ip[0] >> 4 != 6)
		return 0;
	f->proto = ip[6];
	if (!parse_common_l4(f, ip + 40, load_u16(ip + 4), len ? len - ETH_HLEN_ - 40 : 0, dir))
		return 0;
	f->eth = p;
	f->family = DIP_INET6;
	load_addr6(&f->raddr, dir == DIP_OUT ? ip + 24 : ip + 8);
	load_addr6(&f->laddr, dir == DIP_OUT ? ip + 8 : ip + 24);
	return 1;
}

#endif /* SSI_BPF_PARSE_H */
