// SPDX-License-Identifier: GPL-2.0
/* TCP and UDP sockets that hold something which a restored socket would not have. */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ckpt/check.h"
#include "ckpt/ckpt.h"
#include "userland/lib/cleanup.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define GROUPS_MAX 256

/* ---- multicast ----------------------------------------------------------------------------- */

struct check_group {
	uint32_t ifindex;
	struct sockaddr_storage addr;
};

static void add_group(struct check *c, uint32_t ifindex, int family, const void *addr)
{
	struct check_group *g;

	if (!c->groups)
		c->groups = calloc(GROUPS_MAX, sizeof(*c->groups));
	if (!c->groups || c->n_groups == GROUPS_MAX)
		return;
	g = &c->groups[c->n_groups++];
	g->ifindex = ifindex;
	g->addr.ss_family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&((struct sockaddr_in *)&g->addr)->sin_addr, addr, 4);
	else
		memcpy(&((struct sockaddr_in6 *)&g->addr)->sin6_addr, addr, 16);
}

static void read_groups(struct check *c, const char *path, int family)
{
	FILE *f = fopen(path, "re");
	char line[256], hex[64];
	unsigned int ifindex = 0;
	uint8_t addr[16];

	while (f && fgets(line, sizeof(line), f)) {
		if (family == AF_INET) {
			unsigned int group;

			if (line[0] != '\t')
				sscanf(line, "%u", &ifindex);
			else if (sscanf(line, " %8X", &group) == 1)
				add_group(c, ifindex, family, &group);
		} else if (sscanf(line, "%u %*s %32[0-9a-f]", &ifindex, hex) == 2 && strlen(hex) == 32) {
			for (int i = 0; i < 16; i++)
				sscanf(hex + 2 * i, "%2hhx", &addr[i]);
			add_group(c, ifindex, family, addr);
		}
	}
	if (f)
		fclose(f);
}

/* A socket's own memberships are shown nowhere; the node's groups are few, and a socket can be asked for each. */
void check_groups(struct check *c)
{
	read_groups(c, "/proc/self/net/igmp", AF_INET);
	read_groups(c, "/proc/self/net/igmp6", AF_INET6);
}

static bool is_member(int fd, const struct check_group *g)
{
	struct group_filter filter = {.gf_interface = g->ifindex, .gf_group = g->addr};
	socklen_t len = GROUP_FILTER_SIZE(0);

	return getsockopt(fd, g->addr.ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER,
			  &filter, &len) == 0;
}

static void check_multicast(struct check *c, const struct ckpt_fd *f, int fd)
{
	for (size_t i = 0; i < c->n_groups; i++) {
		if (!is_member(fd, &c->groups[i]))
			continue;
		check_refuse_fd(c, f, "membership in a multicast group cannot be moved",
				"let the program leave the group, or run it without multicast");
		return;
	}
}

/* ---- options ---------------------------------------------------------------------------------- */

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) < 0 ? -1 : value;
}

/* Notices of the kernel that the program has not fetched, or that are still to come. */
static void check_error_queue(struct check *c, const struct ckpt_fd *f, int fd)
{
	bool wanted = option(fd, IPPROTO_IP, IP_RECVERR) > 0 || option(fd, IPPROTO_IPV6, IPV6_RECVERR) > 0 ||
		      option(fd, SOL_SOCKET, SO_TIMESTAMPING) > 0;
	struct pollfd p = {.fd = fd};

	if (option(fd, SOL_SOCKET, SO_ZEROCOPY) > 0)
		check_refuse_fd(c, f, "it sends with zero copy, whose completions cannot be moved",
				"configure the program to do without MSG_ZEROCOPY");
	else if (wanted && poll(&p, 1, 0) > 0 && (p.revents & POLLERR))
		check_refuse_fd(c, f, "its error queue holds messages, which cannot be moved",
				"let the program read them (MSG_ERRQUEUE), then try again");
}

/* ---- TCP ------------------------------------------------------------------------------------------ */

struct diag_request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 r;
};

static void diag_address(const struct sockaddr_storage *a, __be16 *port, __be32 addr[4])
{
	if (a->ss_family == AF_INET) {
		*port = ((const struct sockaddr_in *)a)->sin_port;
		memcpy(addr, &((const struct sockaddr_in *)a)->sin_addr, 4);
	} else if (a->ss_family == AF_INET6) {
		*port = ((const struct sockaddr_in6 *)a)->sin6_port;
		memcpy(addr, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
	}
}

static bool diag_fill(struct diag_request *rq, int fd)
{
	struct sockaddr_storage own = {0}, peer = {0};
	socklen_t len = sizeof(own);

	memset(rq, 0, sizeof(*rq));
	if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		return false;
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		memset(&peer, 0, sizeof(peer));
	rq->h = (struct nlmsghdr){
		.nlmsg_len = sizeof(*rq), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST};
	rq->r.sdiag_family = (uint8_t)own.ss_family;
	rq->r.sdiag_protocol = IPPROTO_TCP;
	rq->r.idiag_states = ~0U;
	rq->r.idiag_ext = 1 << (INET_DIAG_INFO - 1); /* the keys come with it */
	rq->r.id.idiag_cookie[0] = rq->r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	diag_address(&own, &rq->r.id.idiag_sport, rq->r.id.idiag_src);
	diag_address(&peer, &rq->r.id.idiag_dport, rq->r.id.idiag_dst);
	return rq->r.id.idiag_sport != 0;
}

/* No socket option tells of a key for MD5. */
static bool has_md5(int fd)
{
	_close_ int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	char buf[16384] __attribute__((aligned(8)));
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct diag_request rq;
	struct nlattr *a;
	ssize_t n, left;

	if (nl < 0 || !diag_fill(&rq, fd) || send(nl, &rq, sizeof(rq), 0) < 0)
		return false;
	n = recv(nl, buf, sizeof(buf), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    h->nlmsg_len > (size_t)n)
		return false;
	a = (struct nlattr *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct inet_diag_msg)));
	left = (ssize_t)h->nlmsg_len - ((char *)a - buf);
	while (left >= (ssize_t)sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= left) {
		if (a->nla_type == INET_DIAG_MD5SIG)
			return a->nla_len > sizeof(*a);
		left -= NLA_ALIGN(a->nla_len);
		a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len));
	}
	return false;
}

static bool has_ao(int fd)
{
	struct tcp_ao_info_opt info = {0};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_AO_INFO, &info, &len) == 0;
}

static void check_tcp(struct check *c, const struct ckpt_fd *f, int fd)
{
	char ulp[32] = "", reason[96];
	socklen_t len = sizeof(ulp) - 1;

	if (getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &len) == 0 && *ulp) {
		snprintf(reason, sizeof(reason), "the kernel's part of this connection (%s) cannot be moved",
			 ulp);
		check_refuse_fd(c, f, reason,
				"switch off TLS in the kernel (kTLS) in the program's configuration");
	}
	if (has_md5(fd))
		check_refuse_fd(c, f, "keys of TCP MD5 signatures cannot be moved",
				"run it without TCP MD5 signatures");
	if (has_ao(fd))
		check_refuse_fd(c, f, "keys of TCP-AO cannot be moved", "run it without TCP-AO");
}

void check_inet(struct check *c, const struct ckpt_fd *f, int fd)
{
	int protocol = option(fd, SOL_SOCKET, SO_PROTOCOL);

	if (protocol == IPPROTO_MPTCP) {
		check_refuse_fd(c, f, "an MPTCP socket cannot be moved",
				"let the program use TCP (GODEBUG=multipathtcp=0)");
		return;
	}
	if (protocol == IPPROTO_SCTP) {
		check_refuse_fd(c, f, "an SCTP socket cannot be moved", "let the program use TCP");
		return;
	}
	if (protocol == IPPROTO_TCP)
		check_tcp(c, f, fd);
	check_error_queue(c, f, fd);
	check_multicast(c, f, fd);
}
