// SPDX-License-Identifier: GPL-2.0
/*
 * sock_diag over libmnl; one socket, one request at a time, netd's loop only.
 * Destroying needs CAP_NET_ADMIN and a kernel with INET_DIAG_DESTROY.
 */
#include "sockdiag.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "userland/lib/cleanup.h"

struct sockdiag {
	struct mnl_socket *nl;
	uint32_t seq;
	char buf[32768];
};

int sockdiag_open(struct sockdiag **out)
{
	struct sockdiag *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	if (!d->nl || mnl_socket_bind(d->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		err = -errno;
		sockdiag_close(d);
		return err;
	}
	*out = d;
	return 0;
}

void sockdiag_close(struct sockdiag *d)
{
	if (!d)
		return;
	if (d->nl)
		mnl_socket_close(d->nl);
	free(d);
}

static struct inet_diag_req_v2 *request(struct sockdiag *d, struct nlmsghdr **nlh, char *buf, uint16_t type,
					uint16_t flags)
{
	*nlh = mnl_nlmsg_put_header(buf);
	(*nlh)->nlmsg_type = type;
	(*nlh)->nlmsg_flags = NLM_F_REQUEST | flags;
	(*nlh)->nlmsg_seq = ++d->seq;
	return mnl_nlmsg_put_extra_header(*nlh, sizeof(struct inet_diag_req_v2));
}

static int talk(struct sockdiag *d, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	unsigned int portid = mnl_socket_get_portid(d->nl);
	ssize_t n;
	int rc;

	if (mnl_socket_sendto(d->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(d->nl, d->buf, sizeof(d->buf));
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(d->buf, n, nlh->nlmsg_seq, portid, cb, arg);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

struct dump {
	int proto;
	sockdiag_fn *fn;
	void *arg;
};

static bool is_mapped(const __be32 src[4], int family)
{
	return family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)src);
}

static struct ipaddr read_addr(const __be32 src[4], int family)
{
	if (is_mapped(src, family))
		return ipaddr_of(DIP_INET, &src[3]);
	return ipaddr_of(family == AF_INET6 ? DIP_INET6 : DIP_INET, src);
}

static int dump_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	const struct dump *dump = arg;
	const struct nlattr *a;
	struct sockdiag_sock s = {
		.proto = dump->proto,
		.family = m->idiag_family,
		.state = m->idiag_state,
		.port = ntohs(m->id.idiag_sport),
		.rport = ntohs(m->id.idiag_dport),
		.inode = m->idiag_inode,
		.cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0],
		.mapped = is_mapped(m->id.idiag_src, m->idiag_family),
		.addr = read_addr(m->id.idiag_src, m->idiag_family),
		.raddr = read_addr(m->id.idiag_dst, m->idiag_family),
	};

	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		if (mnl_attr_get_type(a) == INET_DIAG_CGROUP_ID)
			memcpy(&s.cgroup, mnl_attr_get_payload(a), sizeof(s.cgroup));
		else if (mnl_attr_get_type(a) == INET_DIAG_SKV6ONLY)
			s.only6 = mnl_attr_get_u8(a);
	}
	dump->fn(dump->arg, &s);
	return MNL_CB_OK;
}

int sockdiag_dump(struct sockdiag *d, int family, int proto, uint32_t states, sockdiag_fn *fn, void *arg)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct dump dump = {proto, fn, arg};
	struct nlmsghdr *nlh;
	struct inet_diag_req_v2 *req = request(d, &nlh, buf, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
	int err;

	req->sdiag_family = family;
	req->sdiag_protocol = proto;
	req->idiag_states = states;
	err = talk(d, nlh, dump_cb, &dump);
	/* No handler: the kernel has no tcp_diag or udp_diag, or no IPv6. */
	return family == AF_INET6 && err == -ENOENT ? 0 : err;
}

static void fill_addr(__be32 dst[4], const struct ipaddr *addr, bool mapped)
{
	if (mapped) {
		dst[2] = htonl(0xffff);
		memcpy(&dst[3], addr->addr, 4);
	} else {
		memcpy(dst, addr->addr, 16);
	}
}

static void fill_id(struct inet_diag_sockid *id, const struct sockdiag_sock *s)
{
	id->idiag_sport = htons(s->port);
	id->idiag_dport = htons(s->rport);
	id->idiag_cookie[0] = (uint32_t)s->cookie;
	id->idiag_cookie[1] = s->cookie >> 32;
	fill_addr(id->idiag_src, &s->addr, s->mapped);
	fill_addr(id->idiag_dst, &s->raddr, s->mapped);
}

int sockdiag_destroy(struct sockdiag *d, const struct sockdiag_sock *s)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh;
	struct inet_diag_req_v2 *req = request(d, &nlh, buf, SOCK_DESTROY, NLM_F_ACK);

	req->sdiag_family = s->family;
	req->sdiag_protocol = s->proto;
	req->idiag_states = 1u << s->state;
	fill_id(&req->id, s);
	return talk(d, nlh, NULL, NULL);
}

struct received {
	uint64_t bytes;
	struct sockdiag_sock *sock;
};

static int received_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(nlh);
	struct received *r = arg;
	const struct nlattr *a;
	struct tcp_info info = {};
	size_t len;

	r->sock->state = m->idiag_state;
	r->sock->cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		if (mnl_attr_get_type(a) != INET_DIAG_INFO)
			continue;
		len = mnl_attr_get_payload_len(a);
		memcpy(&info, mnl_attr_get_payload(a), len < sizeof(info) ? len : sizeof(info));
		r->bytes = info.tcpi_bytes_received;
	}
	return MNL_CB_OK;
}

int sockdiag_received(struct sockdiag *d, struct sockdiag_sock *s, uint64_t *bytes)
{
	char buf[MNL_NLMSG_HDRLEN + 256];
	struct nlmsghdr *nlh;
	struct inet_diag_req_v2 *req = request(d, &nlh, buf, SOCK_DIAG_BY_FAMILY, NLM_F_ACK);
	struct received r = {.sock = s};
	int err;

	req->sdiag_family = s->family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = SOCKDIAG_ALL;
	req->idiag_ext = 1 << (INET_DIAG_INFO - 1);
	fill_id(&req->id, s);
	req->id.idiag_cookie[0] = req->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	err = talk(d, nlh, received_cb, &r);
	*bytes = r.bytes;
	/* Where there is none, the kernel finds the listener. */
	return err ?: 1u << s->state & SOCKDIAG_LISTEN ? -ENOENT : 0;
}

/* Sockets are gathered first: a request within a dump would mix up answers. */
struct gather {
	struct sockdiag_sock *sock;
	size_t n, size;
	struct ipaddr addr; /* take these, of this port (0: all), or */
	uint16_t port;
	uint64_t cookie; /* this one */
	sockdiag_spare_fn *spare;
	void *arg;
	bool no_memory;
};

static void gather_fn(void *arg, const struct sockdiag_sock *s)
{
	struct gather *g = arg;

	if (g->cookie ? s->cookie != g->cookie
		      : !ipaddr_equal(&s->addr, &g->addr) || (g->port && s->port != g->port))
		return;
	if (g->spare && g->spare(g->arg, s))
		return;
	if (g->n == g->size) {
		size_t size = g->size ? 2 * g->size : 64;
		void *p = reallocarray(g->sock, size, sizeof(*g->sock));

		if (!p) {
			g->no_memory = true;
			return;
		}
		g->sock = p;
		g->size = size;
	}
	g->sock[g->n++] = *s;
}

static int destroy_gathered(struct sockdiag *d, struct gather *g, int family, int proto, uint32_t states)
{
	int err = sockdiag_dump(d, family, proto, states, gather_fn, g);
	int n = 0;

	for (size_t i = 0; i < g->n && !err; i++) {
		err = sockdiag_destroy(d, &g->sock[i]);
		if (err == -ENOENT) /* ended by itself */
			err = 0;
		else if (!err)
			n++;
	}
	g->n = 0;
	return err ? err : n;
}

int sockdiag_destroy_cookie(struct sockdiag *d, int proto, uint64_t cookie)
{
	uint32_t states = proto == IPPROTO_TCP ? SOCKDIAG_LISTEN : SOCKDIAG_UDP;
	struct gather g = {.cookie = cookie};
	int n = destroy_gathered(d, &g, AF_INET, proto, states);

	if (!n)
		n = destroy_gathered(d, &g, AF_INET6, proto, states);
	free(g.sock);
	return n < 0 ? n : n ? 0 : -ENOENT;
}

int sockdiag_destroy_addr(struct sockdiag *d, const struct ipaddr *addr, uint16_t port,
			  sockdiag_spare_fn *spare, void *arg)
{
	static const int protos[] = {IPPROTO_TCP, IPPROTO_UDP};
	static const int families[] = {AF_INET, AF_INET6};
	struct gather g = {.addr = *addr, .port = port, .spare = spare, .arg = arg};
	int total = 0, n = 0;

	for (int i = 0; i < 4 && n >= 0; i++) {
		n = destroy_gathered(d, &g, families[i & 1], protos[i >> 1], SOCKDIAG_ALL);
		total += n > 0 ? n : 0;
	}
	if (g.no_memory && n >= 0)
		n = -ENOMEM;
	free(g.sock);
	return n < 0 ? n : total;
}

/* ---- from sockets to their processes -------------------------------------- */
static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void sockets_of(int pid, sockdiag_holder_fn *fn, void *arg)
{
	_cleanup_(close_dir) DIR *dir = NULL;
	char path[64], link[64];
	struct dirent *e;
	uint32_t inode;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (sscanf(link, "socket:[%u]", &inode) == 1)
			fn(arg, pid, inode);
	}
}

void sockdiag_holders(const char *cgroup, sockdiag_holder_fn *fn, void *arg)
{
	_cleanup_(close_file) FILE *f = NULL;
	_cleanup_(close_dir) DIR *dir = NULL;
	char path[PATH_MAX];
	struct dirent *e;
	int pid;

	if (snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup) >= (int)sizeof(path))
		return;
	f = fopen(path, "re");
	while (f && fscanf(f, "%d", &pid) == 1)
		if (pid > 0)
			sockets_of(pid, fn, arg);
	dir = opendir(cgroup);
	while (dir && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", cgroup, e->d_name) < (int)sizeof(path))
			sockdiag_holders(path, fn, arg);
	}
}
