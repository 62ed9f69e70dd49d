// SPDX-License-Identifier: GPL-2.0
/*
 * The life of applications' sockets, from the cgroup they run in.
 *   bind4, bind6            a port that another node owns: EADDRINUSE
 *   sockops                 TCP listens, TCP listens no more
 *   post_bind4/6, release   UDP bound, UDP socket gone
 *   sock_create             which cgroup made the socket (who listens may differ)
 * Only sockets of netd's network namespace count.  Events go to a ring buffer;
 * when it is full netd is told by a counter and looks at all sockets again.
 */
#include "vmlinux.h"
#include "dip_maps.h"
#include "sock_note.h"
#include <bpf/bpf_core_read.h>

#define AF_INET	    2
#define AF_INET6    10
#define TCP_LISTEN_ 10
#define EADDRINUSE_ 98

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} dip_events SEC(".maps");

static __always_inline void event_lost(void)
{
	__u32 none = DIP_STATS_NO_VIP;
	struct dip_stats *s = bpf_map_lookup_elem(&dip_stats, &none);

	if (s)
		s->events_lost++;
}

static __always_inline void event_send(struct dip_event *ev)
{
	if (bpf_ringbuf_output(&dip_events, ev, sizeof(*ev), 0))
		event_lost();
}

/* Who is doing this; only valid in the context of the caller. */
static __always_inline void event_who(struct dip_event *ev)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	ev->pid = BPF_CORE_READ(task, tgid);
	bpf_core_read_str(ev->comm, sizeof(ev->comm), &task->comm);
}

SEC("cgroup/sock_create")
int dip_sock_create(struct bpf_sock *sk)
{
	struct sock_note *note;

	note = bpf_sk_storage_get(&dip_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (note)
		note->cgroup = bpf_get_current_cgroup_id();
	return 1;
}

/* ---- bind: may this node have the port? ---- */

/* The node that has the port of this VIP, and is neither this one nor about to be. */
static __always_inline __u16 taken_by(const struct dip_tables *t, __u32 vip, __u32 udp, __u16 port)
{
	struct dip_slot s = dip_slot_find(t, vip, udp, port);
	__u16 self = (__u16)t->conf->self;

	if (s.state == DIP_SLOT_FREE || s.owner == self)
		return DIP_NOBODY;
	if (s.state == DIP_SLOT_HOLD && s.next == self)
		return DIP_NOBODY;
	return s.owner;
}

/* Which families a socket's wildcard address means. */
#define ANY_INET  0x01
#define ANY_INET6 0x02

/* All VIPs of these families. */
static __always_inline __u16 taken_any(const struct dip_tables *t, __u32 any, __u32 udp, __u16 port)
{
	__u32 used = t->conf->vip_used;
	__u16 node;
	int i;

	for (i = 0; i < DIP_VIPS_MAX; i++) {
		if (!(used & 1U << i) || !(any & (used & 1U << (DIP_VIPS_MAX + i) ? ANY_INET6 : ANY_INET)))
			continue;
		node = taken_by(t, i, udp, port);
		if (node)
			return node;
	}
	return DIP_NOBODY;
}

static __always_inline int is_any(const union dip_addr *a)
{
	return !a->a64[0] && !a->a64[1];
}

/* ::ffff:a.b.c.d is an IPv4 address. */
static __always_inline __u8 unmap(union dip_addr *a)
{
	if (a->a64[0] || a->a32[2] != bpf_htonl(0xffff))
		return DIP_INET6;
	a->a32[0] = a->a32[3];
	a->a32[2] = 0;
	a->a32[3] = 0;
	return DIP_INET;
}

/* A global function, so that the verifier looks at it once. */
__noinline int taken(const union dip_addr *addr, __u32 family, __u32 any, __u32 udp, __u32 port)
{
	struct dip_tables t = dip_tables();
	const struct dip_vip *vip;
	union dip_addr a;

	if (!addr)
		return DIP_NOBODY;
	a = *addr;
	if (is_any(&a))
		return taken_any(&t, any, udp, (__u16)port);
	vip = dip_vip_find(&t, (__u8)family, &a);
	return vip ? taken_by(&t, vip->index, udp, (__u16)port) : DIP_NOBODY;
}

static __always_inline void refuse(struct bpf_sock_addr *ctx, struct dip_event *ev)
{
	ev->type = DIP_EV_REFUSED;
	ev->proto = ctx->protocol;
	ev->cookie = bpf_get_socket_cookie(ctx);
	ev->cgroup = bpf_get_current_cgroup_id();
	event_who(ev);
	event_send(ev);
	bpf_set_retval(-EADDRINUSE_);
}

/* Is :: not IPv4's wildcard, too? */
static __always_inline int only6(struct bpf_sock_addr *ctx)
{
	const struct sock_common *sk;

	if (!ctx->sk)
		return 0;
	sk = ctx->protocol == DIP_PROTO_UDP ? (const void *)bpf_skc_to_udp6_sock(ctx->sk)
					    : (const void *)bpf_skc_to_tcp6_sock(ctx->sk);
	return sk ? BPF_CORE_READ_BITFIELD_PROBED(sk, skc_ipv6only) : 0;
}

static __always_inline int bind_check(struct bpf_sock_addr *ctx, struct dip_event *ev, __u32 any)
{
	__u16 port = bpf_ntohs(ctx->user_port);
	__u32 udp = ctx->protocol == DIP_PROTO_UDP;
	struct bpf_sock *sk = ctx->sk;
	struct sock_note *note;

	if (ctx->protocol != DIP_PROTO_TCP && !udp)
		return 1;
	ev->netns_cookie = bpf_get_netns_cookie(ctx);
	if (ev->netns_cookie != dip_conf.netns_cookie)
		return 1;
	if (!port && sk) {
		note = bpf_sk_storage_get(&dip_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (note)
			note->ephemeral = 1;
		return 1;
	}
	ev->port = port;
	ev->owner = (__u16)taken(&ev->addr, ev->family, any, udp, port);
	if (!ev->owner)
		return 1;
	refuse(ctx, ev);
	return 0;
}

SEC("cgroup/bind4")
int dip_bind4(struct bpf_sock_addr *ctx)
{
	struct dip_event ev = {.family = DIP_INET};

	ev.addr.a4 = ctx->user_ip4;
	return bind_check(ctx, &ev, ANY_INET);
}

SEC("cgroup/bind6")
int dip_bind6(struct bpf_sock_addr *ctx)
{
	struct dip_event ev = {.family = DIP_INET6};
	__u32 any = ANY_INET;

	ev.addr.a32[0] = ctx->user_ip6[0];
	ev.addr.a32[1] = ctx->user_ip6[1];
	ev.addr.a32[2] = ctx->user_ip6[2];
	ev.addr.a32[3] = ctx->user_ip6[3];
	ev.family = unmap(&ev.addr);
	if (ev.family == DIP_INET6)
		any = only6(ctx) ? ANY_INET6 : ANY_INET | ANY_INET6;
	return bind_check(ctx, &ev, any);
}

/* ---- UDP ---- */

static __always_inline int udp_bound(struct bpf_sock *sk, struct dip_event *ev)
{
	struct sock_note *note;

	if (sk->protocol != DIP_PROTO_UDP)
		return 1;
	ev->netns_cookie = bpf_get_netns_cookie(sk);
	if (ev->netns_cookie != dip_conf.netns_cookie)
		return 1;
	note = bpf_sk_storage_get(&dip_socks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!note)
		return 1;
	ev->port = sk->src_port;
	note->addr = ev->addr;
	note->family = ev->family;
	note->port = ev->port;
	note->bound = 1;
	if (!note->cgroup)
		note->cgroup = bpf_get_current_cgroup_id();
	ev->type = DIP_EV_BIND;
	ev->proto = DIP_PROTO_UDP;
	ev->flags = note->ephemeral ? DIP_EV_EPHEMERAL : 0;
	ev->cgroup = note->cgroup;
	ev->cookie = bpf_get_socket_cookie(sk);
	event_who(ev);
	event_send(ev);
	return 1;
}

SEC("cgroup/post_bind4")
int dip_post_bind4(struct bpf_sock *sk)
{
	struct dip_event ev = {.family = DIP_INET};

	ev.addr.a4 = sk->src_ip4;
	return udp_bound(sk, &ev);
}

SEC("cgroup/post_bind6")
int dip_post_bind6(struct bpf_sock *sk)
{
	struct dip_event ev = {.family = DIP_INET6};

	ev.addr.a32[0] = sk->src_ip6[0];
	ev.addr.a32[1] = sk->src_ip6[1];
	ev.addr.a32[2] = sk->src_ip6[2];
	ev.addr.a32[3] = sk->src_ip6[3];
	ev.family = unmap(&ev.addr);
	return udp_bound(sk, &ev);
}

/* The port cannot be read here any more: it stands in the note. */
SEC("cgroup/sock_release")
int dip_sock_release(struct bpf_sock *sk)
{
	struct sock_note *note = bpf_sk_storage_get(&dip_socks, sk, 0, 0);
	struct dip_event ev = {.type = DIP_EV_UNBIND, .proto = DIP_PROTO_UDP};

	if (!note || !note->bound)
		return 1;
	ev.family = note->family;
	ev.port = note->port;
	ev.addr = note->addr;
	ev.cgroup = note->cgroup;
	ev.cookie = bpf_get_socket_cookie(sk);
	ev.netns_cookie = bpf_get_netns_cookie(sk);
	event_send(&ev);
	return 1;
}

/* ---- TCP ---- */

static __always_inline int sockops_addr(struct bpf_sock_ops *ctx, struct dip_event *ev)
{
	if (ctx->family == AF_INET) {
		ev->family = DIP_INET;
		ev->addr.a4 = ctx->local_ip4;
		return 1;
	}
	if (ctx->family != AF_INET6)
		return 0;
	ev->addr.a32[0] = ctx->local_ip6[0];
	ev->addr.a32[1] = ctx->local_ip6[1];
	ev->addr.a32[2] = ctx->local_ip6[2];
	ev->addr.a32[3] = ctx->local_ip6[3];
	ev->family = unmap(&ev->addr);
	return 1;
}

static __always_inline void listen_event(struct bpf_sock_ops *ctx, __u8 type)
{
	struct dip_event ev = {.type = type, .proto = DIP_PROTO_TCP};
	struct bpf_sock *sk = ctx->sk;
	struct sock_note *note;

	ev.netns_cookie = bpf_get_netns_cookie(ctx);
	if (ev.netns_cookie != dip_conf.netns_cookie || !sockops_addr(ctx, &ev))
		return;
	ev.port = ctx->local_port;
	ev.cookie = bpf_get_socket_cookie(ctx);
	note = sk ? bpf_sk_storage_get(&dip_socks, sk, 0, 0) : NULL;
	if (note) {
		ev.cgroup = note->cgroup;
		ev.flags = note->ephemeral ? DIP_EV_EPHEMERAL : 0;
	}
	if (type == DIP_EV_LISTEN)
		event_who(&ev);
	event_send(&ev);
}

SEC("sockops")
int dip_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		listen_event(ctx, DIP_EV_LISTEN);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[0] == TCP_LISTEN_)
			listen_event(ctx, DIP_EV_UNLISTEN);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		/* children inherit the flag and have nothing to tell */
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	}
	return 1;
}

char _license[] SEC("license") = "GPL";
