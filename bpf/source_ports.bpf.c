// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of applications leave from a VIP: sockets get a mark when they are
 * made, and routes by that mark name the VIP as the source (source_route.c).  So
 * whatever way a program connects or sends, the kernel chooses as it always does.
 *   sock_create   the mark, unless the application is one of dip_node_groups
 *   sendmsg4/6    a datagram without a connection: what answers may find the socket
 *   release       that ends
 *   connect4/6    TCP from a port of the program's choice that is not this node's: no
 *                 answer would come back, so it leaves from the node's address
 */
#include "vmlinux.h"
#include "dip_maps.h"

#define GROUP_LEVELS 8

#define SOL_SOCKET_    1
#define SO_MARK_       36
#define EADDRNOTAVAIL_ 99

/* Control groups of applications that leave from the node's address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u8);
} dip_node_groups SEC(".maps");

/* The port that dip_udp_sources knows a socket by. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u16);
} dip_source_socks SEC(".maps");

static __always_inline int from_node(void)
{
	for (int level = 1; level < GROUP_LEVELS; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			return 0;
		if (bpf_map_lookup_elem(&dip_node_groups, &id))
			return 1;
	}
	return 0;
}

/* ping and the like stay with the node: echoes are answered by whose home the address is. */
SEC("cgroup/sock_create")
int dip_source_mark(struct bpf_sock *sk)
{
	if (sk->protocol != DIP_PROTO_TCP && sk->protocol != DIP_PROTO_UDP)
		return 1;
	if (bpf_get_netns_cookie(sk) == dip_conf.netns_cookie && !from_node())
		sk->mark = DIP_SOURCE_MARK;
	return 1;
}

static __always_inline int sends(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__u16 *told, port;
	__u64 cookie;

	if (!sk || sk->mark != DIP_SOURCE_MARK)
		return 1;
	told = bpf_sk_storage_get(&dip_source_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!told || *told)
		return 1;
	port = (__u16)sk->src_port;
	cookie = bpf_get_socket_cookie(ctx);
	if (!bpf_map_update_elem(&dip_udp_sources, &port, &cookie, BPF_ANY))
		*told = port;
	return 1;
}

SEC("cgroup/sendmsg4")
int dip_source_send4(struct bpf_sock_addr *ctx)
{
	return sends(ctx);
}

SEC("cgroup/sendmsg6")
int dip_source_send6(struct bpf_sock_addr *ctx)
{
	return sends(ctx);
}

/* ---- TCP from a port that the program chose ---- */

/* Is this port of a VIP this node's, or about to be? */
static __always_inline int is_ours(const struct dip_tables *t, __u32 vip, __u16 port)
{
	struct dip_slot s = dip_slot_find(t, vip, 0, port);
	__u16 self = (__u16)t->conf->self;

	return s.state != DIP_SLOT_FREE && (s.owner == self || (s.state == DIP_SLOT_HOLD && s.next == self));
}

/* The same of all VIPs of a family. */
static __always_inline int all_ours(const struct dip_tables *t, __u8 family, __u16 port)
{
	__u32 used = t->conf->vip_used;
	int i;

	for (i = 0; i < DIP_VIPS_MAX; i++) {
		__u8 is = used & 1U << (DIP_VIPS_MAX + i) ? DIP_INET6 : DIP_INET;

		if (used & 1U << i && is == family && !is_ours(t, i, port))
			return 0;
	}
	return 1;
}

/* A global function, so that the verifier looks at it once. 1: answers come back; 0: not; -1: not to another address. */
__noinline int answered(const union dip_addr *addr, __u32 family, __u32 port)
{
	struct dip_tables t = dip_tables();
	const struct dip_vip *vip;
	union dip_addr a;

	if (!addr)
		return 1;
	a = *addr;
	if (!a.a64[0] && !a.a64[1])
		return all_ours(&t, (__u8)family, (__u16)port);
	vip = dip_vip_find(&t, (__u8)family, &a);
	return !vip || is_ours(&t, vip->index, (__u16)port) ? 1 : -1;
}

static __always_inline int connects(struct bpf_sock_addr *ctx, const union dip_addr *from, __u8 family)
{
	struct bpf_sock *sk = ctx->sk;
	int none = 0, back;

	if (!sk || ctx->protocol != DIP_PROTO_TCP || sk->mark != DIP_SOURCE_MARK || !sk->src_port)
		return 1;
	back = answered(from, family, sk->src_port);
	if (back > 0)
		return 1;
	if (!back && !bpf_setsockopt(ctx, SOL_SOCKET_, SO_MARK_, &none, sizeof(none)))
		return 1;
	bpf_set_retval(-EADDRNOTAVAIL_);
	return 0;
}

SEC("cgroup/connect4")
int dip_source_connect4(struct bpf_sock_addr *ctx)
{
	union dip_addr from = {};

	if (ctx->sk)
		from.a4 = ctx->sk->src_ip4;
	return connects(ctx, &from, DIP_INET);
}

/* ::ffff:a.b.c.d on either side means IPv4. */
static __always_inline int is_mapped(const union dip_addr *a)
{
	return !a->a64[0] && a->a32[2] == bpf_htonl(0xffff);
}

SEC("cgroup/connect6")
int dip_source_connect6(struct bpf_sock_addr *ctx)
{
	union dip_addr from = {}, to;
	__u8 family = DIP_INET6;

	to.a32[0] = ctx->user_ip6[0];
	to.a32[1] = ctx->user_ip6[1];
	to.a32[2] = ctx->user_ip6[2];
	to.a32[3] = ctx->user_ip6[3];
	if (ctx->sk) {
		from.a32[0] = ctx->sk->src_ip6[0];
		from.a32[1] = ctx->sk->src_ip6[1];
		from.a32[2] = ctx->sk->src_ip6[2];
		from.a32[3] = ctx->sk->src_ip6[3];
	}
	if (is_mapped(&to))
		family = DIP_INET;
	if (is_mapped(&from)) {
		from.a32[0] = from.a32[3];
		from.a32[2] = 0;
		from.a32[3] = 0;
	}
	return connects(ctx, &from, family);
}

/* The port cannot be read here any more; another socket may have it already. */
SEC("cgroup/sock_release")
int dip_source_end(struct bpf_sock *sk)
{
	__u16 *told = bpf_sk_storage_get(&dip_source_socks, sk, 0, 0), port;
	__u64 *known;

	if (!told || !*told)
		return 1;
	port = *told;
	known = bpf_map_lookup_elem(&dip_udp_sources, &port);
	if (known && *known == bpf_get_socket_cookie(sk))
		bpf_map_delete_elem(&dip_udp_sources, &port);
	return 1;
}

char _license[] SEC("license") = "GPL";
