// SPDX-License-Identifier: GPL-2.0
/*
 * Programs of applications leave from a VIP: sockets get a mark when they are
 * made, and routes by that mark name the VIP as the source (source_route.c).  So
 * whatever way a program connects or sends, the kernel chooses as it always does.
 *   sock_create   the mark, unless the application is one of dip_node_groups
 *   sendmsg4      a datagram without a connection: what answers may find the socket
 *   release       that ends
 */
#include "vmlinux.h"
#include "dip_maps.h"

#define GROUP_LEVELS 8

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

SEC("cgroup/sendmsg4")
int dip_source_send4(struct bpf_sock_addr *ctx)
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
