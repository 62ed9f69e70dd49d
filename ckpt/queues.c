// SPDX-License-Identifier: GPL-2.0
/*
 * What frozen sockets hold for their program, and CRIU does not carry: datagrams that were not read, and connections
 * that were not accepted. Datagrams are looked at without being taken, so that an undone move finds them where they
 * were. Connections have to be accepted to be looked at; after that they are silent, and go with us. Nobody can put one
 * back into its listener: where the program goes on, here or there, the kernel makes it anew (bpf/embryo.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/fds.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/grow.h"
#include "userland/lib/queued.h"

#define DIAG_BUFFER  32768
#define DATAGRAM_MAX 65536
#define UNCONNECTED  7 /* as inet_diag calls the states of UDP */
#define CONNECTED    1

#ifndef TCPI_OPT_USEC_TS
#define TCPI_OPT_USEC_TS 64
#endif

struct saving {
	ino_t *inode; /* of sockets that hold something */
	size_t n, size;
	uint8_t *file;
	size_t len, file_size;
	uint8_t *buffer;
};

/* Connections that were accepted for the program, in repair mode. */
static int *taken;
static size_t n_taken, taken_size;

/* ---- which sockets: asking each of thousands would cost more than what they hold ---------------- */

static void diag_take(struct saving *s, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);

	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || !m->idiag_rqueue || !m->idiag_inode)
		return;
	s->inode = grow(s->inode, &s->size, s->n * sizeof(*s->inode), sizeof(*s->inode));
	s->inode[s->n++] = m->idiag_inode;
}

/* 1: there is more to come. */
static int diag_read(struct saving *s, int nl, char *buf)
{
	ssize_t n = recv(nl, buf, DIAG_BUFFER, 0);
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	if (n < 0)
		return -errno;
	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
		diag_take(s, h);
	}
	return 1;
}

static int diag_dump(struct saving *s, int nl, int family, int protocol, unsigned int states)
{
	static char buf[DIAG_BUFFER] __attribute__((aligned(8)));
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} rq = {
		.h = {sizeof(rq), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
		.r = {.sdiag_family = (uint8_t)family,
		      .sdiag_protocol = (uint8_t)protocol,
		      .idiag_states = states},
	};
	int err = send(nl, &rq, sizeof(rq), 0) < 0 ? -errno : 1;

	while (err == 1)
		err = diag_read(s, nl, buf);
	return err;
}

static int find_sockets(struct saving *s)
{
	_close_ int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int err = nl < 0 ? -errno : 0;

	if (!err)
		err = diag_dump(s, nl, AF_INET, IPPROTO_UDP, 1u << UNCONNECTED | 1u << CONNECTED);
	if (!err)
		err = diag_dump(s, nl, AF_INET6, IPPROTO_UDP, 1u << UNCONNECTED | 1u << CONNECTED);
	if (!err)
		err = diag_dump(s, nl, AF_INET, IPPROTO_TCP, 1u << TCP_LISTEN);
	if (!err)
		err = diag_dump(s, nl, AF_INET6, IPPROTO_TCP, 1u << TCP_LISTEN);
	return err;
}

/* Once: several fds may lead to it. */
static bool take_inode(struct saving *s, ino_t inode)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->inode[i] == inode)
			return s->inode[i] = s->inode[--s->n], true;
	return false;
}

/* ---- records ------------------------------------------------------------------------------------- */

static void put(struct saving *s, const void *data, size_t len)
{
	s->file = grow(s->file, &s->file_size, s->len, len);
	memcpy(s->file + s->len, data, len);
	s->len += len;
}

/* An IPv4 address in one of IPv6 is what it was on the wire. */
static void put_addr6(struct queued *q, uint8_t out[16], const struct in6_addr *a)
{
	memset(out, 0, 16);
	if (IN6_IS_ADDR_V4MAPPED(a)) {
		q->family = DIP_INET;
		memcpy(out, &a->s6_addr[12], 4);
	} else {
		memcpy(out, a, 16);
	}
}

static __be16 put_sockaddr(struct queued *q, uint8_t out[16], const struct sockaddr_storage *a)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
	const struct sockaddr_in *in = (const struct sockaddr_in *)a;

	if (a->ss_family == AF_INET6) {
		q->family = DIP_INET6;
		put_addr6(q, out, &in6->sin6_addr);
		return in6->sin6_port;
	}
	q->family = DIP_INET;
	memset(out, 0, 16);
	memcpy(out, &in->sin_addr, 4);
	return in->sin_port;
}

/* ---- datagrams ------------------------------------------------------------------------------------- */

/* What must be on so that a datagram comes with all that its headers said. */
static const struct {
	int family, level, name;
} wanted[] = {
	{AF_INET, IPPROTO_IP, IP_PKTINFO},	   {AF_INET, IPPROTO_IP, IP_RECVTOS},
	{AF_INET, IPPROTO_IP, IP_RECVTTL},	   {AF_INET6, IPPROTO_IPV6, IPV6_RECVPKTINFO},
	{AF_INET6, IPPROTO_IPV6, IPV6_RECVTCLASS}, {AF_INET6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
};

#define WANTED (sizeof(wanted) / sizeof(wanted[0]))

static void want(int fd, int family, int was[WANTED])
{
	static const int on = 1;

	for (size_t i = 0; i < WANTED; i++) {
		socklen_t len = sizeof(was[i]);

		if (wanted[i].family != family ||
		    getsockopt(fd, wanted[i].level, wanted[i].name, &was[i], &len) < 0)
			was[i] = 1;
		else if (!was[i])
			setsockopt(fd, wanted[i].level, wanted[i].name, &on, sizeof(on));
	}
}

static void unwant(int fd, const int was[WANTED])
{
	for (size_t i = 0; i < WANTED; i++)
		if (!was[i])
			setsockopt(fd, wanted[i].level, wanted[i].name, &was[i], sizeof(was[i]));
}

/* segment: the size of those that the kernel has merged into one, or 0. */
static void read_control(struct queued *q, struct msghdr *m, size_t *segment)
{
	int value;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const void *data = CMSG_DATA(c);

		memcpy(&value, data, c->cmsg_len < CMSG_LEN(sizeof(value)) ? 1 : sizeof(value));
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			memcpy(q->laddr, &((const struct in_pktinfo *)data)->ipi_addr, 4);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			put_addr6(q, q->laddr, &((const struct in6_pktinfo *)data)->ipi6_addr);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			q->tos = *(const uint8_t *)data;
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			q->tos = (uint8_t)value;
		else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
			 (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
			q->ttl = (uint8_t)value;
		else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			*segment = (size_t)value;
	}
}

static void put_datagrams(struct saving *s, struct queued *q, size_t len, size_t segment)
{
	const uint8_t *data = s->buffer;

	do {
		q->len = (uint32_t)(segment && len > segment ? segment : len);
		put(s, q, sizeof(*q));
		put(s, data, q->len);
		data += q->len;
		len -= q->len;
	} while (len);
}

/* The next one; false: there are no more. */
static bool peek_datagram(struct saving *s, int fd, __be16 lport)
{
	char control[512] __attribute__((aligned(8)));
	struct sockaddr_storage from = {0};
	struct iovec iov = {s->buffer, DATAGRAM_MAX};
	struct msghdr m = {.msg_name = &from,
			   .msg_namelen = sizeof(from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT);
	struct queued q = {.kind = QUEUED_DATAGRAM, .ttl = 64, .lport = lport};
	size_t segment = 0;

	if (n < 0)
		return false;
	q.rport = put_sockaddr(&q, q.raddr, &from);
	read_control(&q, &m, &segment);
	put_datagrams(s, &q, (size_t)n, segment);
	return true;
}

static void save_datagrams(struct saving *s, int fd)
{
	static const int begin = 0;
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof(own);
	int was[WANTED], peek = -1;
	struct queued q;
	__be16 lport;

	if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		return;
	lport = put_sockaddr(&q, q.laddr, &own);
	len = sizeof(peek);
	getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &peek, &len);
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &begin, sizeof(begin)) < 0)
		return;
	want(fd, own.ss_family, was);
	while (peek_datagram(s, fd, lport))
		;
	unwant(fd, was);
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &peek, sizeof(peek));
}

/* ---- connections ------------------------------------------------------------------------------------- */

static bool tcp_set(int fd, int option, int value)
{
	return setsockopt(fd, IPPROTO_TCP, option, &value, sizeof(value)) == 0;
}

static uint32_t tcp_get(int fd, int option)
{
	uint32_t value = 0;
	socklen_t len = sizeof(value);

	getsockopt(fd, IPPROTO_TCP, option, &value, &len);
	return value;
}

static uint32_t next_seq(int fd, int queue)
{
	return tcp_set(fd, TCP_REPAIR_QUEUE, queue) ? tcp_get(fd, TCP_QUEUE_SEQ) : 0;
}

static void read_agreed(struct queued *q, int fd, const struct tcp_info *info)
{
	static const struct {
		unsigned int info;
		uint8_t flag;
	} options[] = {{TCPI_OPT_WSCALE, DIP_EMBRYO_WSCALE},
		       {TCPI_OPT_SACK, DIP_EMBRYO_SACK},
		       {TCPI_OPT_TIMESTAMPS, DIP_EMBRYO_TIMES},
		       {TCPI_OPT_ECN, DIP_EMBRYO_ECN},
		       {TCPI_OPT_USEC_TS, DIP_EMBRYO_USEC}};

	struct tcp_repair_window window = {0};
	socklen_t len = sizeof(window);

	q->agreed.snt_isn = next_seq(fd, TCP_SEND_QUEUE) - 1;
	q->agreed.rcv_isn = next_seq(fd, TCP_RECV_QUEUE) - q->len - q->fin - 1;
	q->agreed.mss = (uint16_t)tcp_get(fd, TCP_MAXSEG); /* in repair mode, the peer's */
	q->agreed.snd_wscale = info->tcpi_snd_wscale;
	q->agreed.rcv_wscale = info->tcpi_rcv_wscale;
	q->clock = tcp_get(fd, TCP_TIMESTAMP);
	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &len) == 0)
		q->window = (uint16_t)(window.snd_wnd >> info->tcpi_snd_wscale);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (info->tcpi_options & options[i].info)
			q->agreed.flags |= options[i].flag;
}

/* What came on it, to be freed; NULL: not all can be seen (urgent data). */
static uint8_t *read_data(int fd, uint32_t *len)
{
	int bytes = 0;
	uint8_t *data;

	if (ioctl(fd, FIONREAD, &bytes) < 0 || !(data = malloc((size_t)bytes + 1)))
		return NULL;
	*len = (uint32_t)bytes;
	if (!bytes || recv(fd, data, (size_t)bytes, MSG_PEEK | MSG_DONTWAIT) == bytes)
		return data;
	free(data);
	return NULL;
}

static bool save_connection(struct saving *s, int fd)
{
	struct queued q = {.kind = QUEUED_CONNECTION, .ttl = 64};
	struct sockaddr_storage own = {0}, peer = {0};
	_free_ uint8_t *data = NULL;
	struct tcp_info info = {0};
	socklen_t len = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		return false;
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 || !tcp_set(fd, TCP_REPAIR, TCP_REPAIR_ON))
		return false;
	q.lport = put_sockaddr(&q, q.laddr, &own);
	q.rport = put_sockaddr(&q, q.raddr, &peer);
	len = sizeof(info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    (info.tcpi_state != TCP_ESTABLISHED && info.tcpi_state != TCP_CLOSE_WAIT) ||
	    !tcp_set(fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE) || !(data = read_data(fd, &q.len)))
		return false;
	q.fin = info.tcpi_state == TCP_CLOSE_WAIT;
	read_agreed(&q, fd, &info);
	put(s, &q, sizeof(q));
	put(s, data, q.len);
	return true;
}

static void drop(int fd, bool silent)
{
	struct linger reset = {.l_onoff = 1};

	if (!silent) {
		tcp_set(fd, TCP_REPAIR, TCP_REPAIR_OFF);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	}
	close(fd);
}

/* A listener may hold more than a process has fds by default. */
static void more_fds(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* Nobody else accepts meanwhile, so it does not wait. */
static void save_connections(struct saving *s, int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	int fd;

	more_fds();
	while (poll(&p, 1, 0) == 1 && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (!save_connection(s, fd)) {
			drop(fd, false);
			continue;
		}
		taken = grow(taken, &taken_size, n_taken * sizeof(*taken), sizeof(*taken));
		taken[n_taken++] = fd;
	}
}

void ckpt_queues_drop(bool silent)
{
	while (n_taken)
		drop(taken[--n_taken], silent);
}

/* ---- all --------------------------------------------------------------------------------------------- */

static void save_socket(void *arg, const struct ckpt_fd *f)
{
	struct saving *s = arg;
	_close_ int fd = -1;
	int type = 0;
	socklen_t len = sizeof(type);

	if (!s->n || !S_ISSOCK(f->st.st_mode) || !take_inode(s, f->st.st_ino))
		return;
	fd = fds_get(f);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return;
	if (type == SOCK_DGRAM)
		save_datagrams(s, fd);
	else
		save_connections(s, fd);
}

static int write_file(const struct saving *s, const char *dir)
{
	char path[PATH_MAX];
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/" QUEUED_FILE, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 || write(fd, s->file, s->len) != (ssize_t)s->len ? -EIO : 0;
}

int ckpt_queues_save(const pid_t *pids, const char *dir)
{
	struct saving s = {0};
	int err = find_sockets(&s);

	if (!err && s.n) {
		s.buffer = malloc(DATAGRAM_MAX);
		if (!s.buffer)
			err = -ENOMEM;
		else
			fds_each(pids, save_socket, &s);
	}
	if (!err && s.len)
		err = write_file(&s, dir);
	if (err)
		ckpt_queues_drop(false);
	free(s.buffer);
	free(s.inode);
	free(s.file);
	return err;
}
