// SPDX-License-Identifier: GPL-2.0
/*
 * listen() and bind() that wait until the cluster has answered: LSM programs, since
 * only these may sleep and may refuse. They choose whom it concerns; ssi_core waits
 * (kmod/ssi-core/claim.c). An object of its own, for kernels without either.
 */
#include "vmlinux.h"

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include <ssi/dip.h>

#include "sock_note.h"

#define MAX_ERRNO 4095

/* The pinned dip_conf, taken by fd. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct dip_conf);
} claim_conf SEC(".maps");

extern int bpf_ssi_claim_listen(struct socket *sock, __u64 cookie, __u64 cgroup) __ksym;
extern int bpf_ssi_claim_bind(struct socket *sock, struct sockaddr *uaddr, int addrlen, __u64 cookie,
			      __u64 cgroup) __ksym;

/* The control group of an application whose sockets the cluster cares for; 0: of none. */
static __always_inline __u64 cgroup_of(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct dip_conf *conf;
	struct sock_note *note;
	__u32 zero = 0;

	conf = bpf_map_lookup_elem(&claim_conf, &zero);
	if (!conf || !conf->vip_used || !sk)
		return 0;
	if (sk->__sk_common.skc_net.net->net_cookie != conf->netns_cookie)
		return 0;
	note = bpf_sk_storage_get(&dip_socks, sk, 0, 0);
	return note ? note->cgroup : 0;
}

/* The verifier wants to see what an LSM program may return. */
static __always_inline int clamp(int ret)
{
	return ret > 0 ? 0 : ret < -MAX_ERRNO ? -MAX_ERRNO : ret;
}

SEC("lsm.s/socket_listen")
int BPF_PROG(dip_claim_listen, struct socket *sock, int backlog, int ret)
{
	__u64 cgroup;

	if (ret)
		return ret;
	cgroup = cgroup_of(sock);
	if (!cgroup)
		return 0;
	return clamp(bpf_ssi_claim_listen(sock, bpf_get_socket_cookie(sock->sk), cgroup));
}

SEC("lsm.s/socket_bind")
int BPF_PROG(dip_claim_bind, struct socket *sock, struct sockaddr *address, int addrlen, int ret)
{
	__u64 cgroup;

	if (ret)
		return ret;
	cgroup = cgroup_of(sock);
	if (!cgroup)
		return 0;
	return clamp(bpf_ssi_claim_bind(sock, address, addrlen, bpf_get_socket_cookie(sock->sk), cgroup));
}

char _license[] SEC("license") = "GPL";
