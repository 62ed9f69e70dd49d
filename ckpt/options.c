// SPDX-License-Identifier: GPL-2.0
/*
 * Options of TCP and UDP sockets that CRIU leaves behind. At the dump those that are not as a fresh socket has them go
 * into a file of the images, in records; at the restore they are set while the processes are still stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ckpt/ckpt.h"
#include "ckpt/conns.h"
#include "ckpt/fds.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/grow.h"

#define VALUE_MAX 16

enum { ALL = 0, STREAM = 1, DATAGRAM = 2, SIX = 4, LISTENER = 8, ALWAYS = 16 };

/* By number: headers of a distribution know fewer than its kernel. */
static const struct option {
	int level, name;
	unsigned int of;
} options[] = {
	{SOL_SOCKET, 11, DATAGRAM}, /* NO_CHECK */
	{SOL_SOCKET, 29, ALL},	    /* TIMESTAMP */
	{SOL_SOCKET, 35, ALL},	    /* TIMESTAMPNS */
	{SOL_SOCKET, 37, ALL},	    /* TIMESTAMPING */
	{SOL_SOCKET, 40, DATAGRAM}, /* RXQ_OVFL */
	{SOL_SOCKET, 42, ALL},	    /* PEEK_OFF */
	{SOL_SOCKET, 45, ALL},	    /* SELECT_ERR_QUEUE */
	{SOL_SOCKET, 46, ALL},	    /* BUSY_POLL */
	{SOL_SOCKET, 47, ALL},	    /* MAX_PACING_RATE */
	{SOL_SOCKET, 60, ALL},	    /* ZEROCOPY */
	{SOL_SOCKET, 63, ALL},	    /* TIMESTAMP_NEW */
	{SOL_SOCKET, 64, ALL},	    /* TIMESTAMPNS_NEW */
	{SOL_SOCKET, 69, ALL},	    /* PREFER_BUSY_POLL */
	{SOL_SOCKET, 70, ALL},	    /* BUSY_POLL_BUDGET */
	{SOL_SOCKET, 73, ALL},	    /* RESERVE_MEM */
	{SOL_SOCKET, 74, ALL},	    /* TXREHASH */
	{SOL_SOCKET, 82, ALL},	    /* RCVPRIORITY */
	{IPPROTO_TCP, TCP_MAXSEG, LISTENER},
	{IPPROTO_TCP, TCP_SYNCNT, STREAM},
	{IPPROTO_TCP, TCP_LINGER2, STREAM},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT, LISTENER},
	{IPPROTO_TCP, TCP_CONGESTION, STREAM | ALWAYS}, /* nodes may have different defaults */
	{IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, STREAM},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, STREAM},
	{IPPROTO_TCP, TCP_FASTOPEN, LISTENER},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT, STREAM},
	{IPPROTO_TCP, TCP_SAVE_SYN, LISTENER},
	{IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, LISTENER},
	{IPPROTO_TCP, TCP_INQ, STREAM},
	{IPPROTO_TCP, 37, STREAM}, /* TX_DELAY */
	{IPPROTO_TCP, 44, STREAM}, /* RTO_MAX_MS */
	{IPPROTO_TCP, 45, STREAM}, /* RTO_MIN_US */
	{IPPROTO_TCP, 46, STREAM}, /* DELACK_MAX_US */
	{IPPROTO_UDP, UDP_NO_CHECK6_TX, DATAGRAM},
	{IPPROTO_UDP, UDP_NO_CHECK6_RX, DATAGRAM},
	{IPPROTO_UDP, UDP_SEGMENT, DATAGRAM},
	{IPPROTO_UDP, UDP_GRO, DATAGRAM},
	{IPPROTO_IP, IP_TOS, ALL},
	{IPPROTO_IP, IP_TTL, ALL},
	{IPPROTO_IP, IP_RECVOPTS, DATAGRAM},
	{IPPROTO_IP, IP_RETOPTS, DATAGRAM},
	{IPPROTO_IP, IP_MTU_DISCOVER, ALL},
	{IPPROTO_IP, IP_RECVERR, ALL},
	{IPPROTO_IP, IP_RECVTTL, ALL},
	{IPPROTO_IP, IP_RECVTOS, ALL},
	{IPPROTO_IP, IP_PASSSEC, DATAGRAM},
	{IPPROTO_IP, IP_RECVORIGDSTADDR, DATAGRAM},
	{IPPROTO_IP, IP_MINTTL, ALL},
	{IPPROTO_IP, IP_CHECKSUM, DATAGRAM},
	{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, ALL},
	{IPPROTO_IP, IP_RECVFRAGSIZE, DATAGRAM},
	{IPPROTO_IP, 26, DATAGRAM}, /* RECVERR_RFC4884 */
	{IPPROTO_IP, IP_MULTICAST_TTL, DATAGRAM},
	{IPPROTO_IP, IP_MULTICAST_LOOP, DATAGRAM},
	{IPPROTO_IP, IP_MULTICAST_ALL, DATAGRAM},
	{IPPROTO_IP, 51, ALL}, /* LOCAL_PORT_RANGE */
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS, SIX},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, SIX | DATAGRAM},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, SIX | DATAGRAM},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER, SIX},
	{IPPROTO_IPV6, IPV6_RECVERR, SIX},
	{IPPROTO_IPV6, 29, SIX | DATAGRAM}, /* MULTICAST_ALL */
	{IPPROTO_IPV6, 31, SIX | DATAGRAM}, /* RECVERR_RFC4884 */
	{IPPROTO_IPV6, 33, SIX},	    /* FLOWINFO_SEND */
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, SIX},
	{IPPROTO_IPV6, IPV6_RECVPATHMTU, SIX | DATAGRAM},
	{IPPROTO_IPV6, IPV6_DONTFRAG, SIX},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, SIX},
	{IPPROTO_IPV6, IPV6_TCLASS, SIX},
	{IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, SIX},
	{IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, SIX},
	{IPPROTO_IPV6, IPV6_MINHOPCOUNT, SIX},
	{IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, SIX | DATAGRAM},
	{IPPROTO_IPV6, IPV6_RECVFRAGSIZE, SIX | DATAGRAM},
};

#define KINDS	(DATAGRAM + SIX + 1)
#define OPTIONS (sizeof(options) / sizeof(options[0]))

struct value {
	uint8_t len; /* 0: the kernel has no such option, or not for this socket */
	uint8_t data[VALUE_MAX];
};

/* As in the file; pids are those that the processes know. */
struct record {
	int32_t pid, fd;
	uint16_t level, name;
	struct value value;
	uint8_t pad[3];
};

/* ---- what a socket has ------------------------------------------------------------------ */

static int number(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) < 0 ? -1 : v;
}

/* Which options; 0: not ours. */
static unsigned int kind_of(int fd)
{
	int domain = number(fd, SOL_SOCKET, SO_DOMAIN), protocol = number(fd, SOL_SOCKET, SO_PROTOCOL);
	unsigned int kind = protocol == IPPROTO_TCP ? STREAM : protocol == IPPROTO_UDP ? DATAGRAM : 0;

	if (!kind || (domain != AF_INET && domain != AF_INET6))
		return 0;
	if (domain == AF_INET6)
		kind |= SIX;
	if (kind & STREAM && number(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1)
		kind |= LISTENER;
	return kind;
}

static bool has(const struct option *o, unsigned int kind)
{
	return !(o->of & ~ALWAYS & ~kind);
}

static struct value value_of(int fd, const struct option *o)
{
	struct value v = {0};
	socklen_t len = sizeof(v.data);

	if (getsockopt(fd, o->level, o->name, v.data, &len) == 0 && len <= sizeof(v.data))
		v.len = (uint8_t)len;
	return v;
}

static bool same(const struct value *a, const struct value *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* ---- dump -------------------------------------------------------------------------------- */

struct saving {
	struct value fresh[KINDS][OPTIONS]; /* by kind, without LISTENER */
	bool known[KINDS];
	struct record *record;
	size_t n, size; /* size: bytes */
	pid_t pid, inner;
};

static const struct value *fresh(struct saving *s, unsigned int kind)
{
	_close_ int fd = -1;

	kind &= STREAM | DATAGRAM | SIX;
	if (s->known[kind])
		return s->fresh[kind];
	fd = socket(kind & SIX ? AF_INET6 : AF_INET,
		    (kind & STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	for (size_t i = 0; i < OPTIONS && fd >= 0; i++)
		if (has(&options[i], kind | LISTENER))
			s->fresh[kind][i] = value_of(fd, &options[i]);
	s->known[kind] = true;
	return s->fresh[kind];
}

static void save_option(struct saving *s, const struct ckpt_fd *f, const struct option *o, struct value v)
{
	if (s->pid != f->pid) {
		s->pid = f->pid;
		s->inner = fds_inner_pid(f->pid);
	}
	s->record = grow(s->record, &s->size, s->n * sizeof(*s->record), sizeof(*s->record));
	s->record[s->n++] = (struct record){.pid = s->inner,
					    .fd = f->fd,
					    .level = (uint16_t)o->level,
					    .name = (uint16_t)o->name,
					    .value = v};
}

static void save_socket(void *arg, const struct ckpt_fd *f)
{
	_close_ int fd = S_ISSOCK(f->st.st_mode) ? fds_get(f) : -1;
	unsigned int kind = fd >= 0 ? kind_of(fd) : 0;
	struct saving *s = arg;
	const struct value *was = kind ? fresh(s, kind) : NULL;

	for (size_t i = 0; i < OPTIONS && was; i++) {
		struct value v;

		if (!has(&options[i], kind))
			continue;
		v = value_of(fd, &options[i]);
		if (v.len && (options[i].of & ALWAYS || !same(&v, &was[i])))
			save_option(s, f, &options[i], v);
	}
}

int ckpt_options_save(const pid_t *pids, const char *dir)
{
	struct saving *s = calloc(1, sizeof(*s));
	struct fds_set plain = {0};
	char path[PATH_MAX];
	FILE *f;
	int err = 0;

	if (!s)
		return -ENOMEM;
	ckpt_conns_plain(dir, &plain);
	fds_each_but(pids, &plain, save_socket, s);
	free(plain.names);
	snprintf(path, sizeof(path), "%s/" CKPT_OPTIONS_FILE, dir);
	f = fopen(path, "wxe");
	if (!f || fwrite(s->record, sizeof(*s->record), s->n, f) != s->n)
		err = -EIO;
	if (f && fclose(f) < 0)
		err = -EIO;
	free(s->record);
	free(s);
	return err;
}

/* ---- restore ------------------------------------------------------------------------------ */

static pid_t outer(const pid_t *pids, pid_t inner)
{
	for (; pids && *pids; pids++)
		if (fds_inner_pid(*pids) == inner)
			return *pids;
	return 0;
}

static const struct option *option_of(const struct record *r)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].level == r->level && options[i].name == r->name)
			return &options[i];
	return NULL;
}

/* What one kernel has and another has not stays as it is. */
static void load_option(int fd, const struct record *r)
{
	const struct option *o = r->value.len <= VALUE_MAX ? option_of(r) : NULL;
	struct value v;

	if (!o)
		return;
	v = value_of(fd, o);
	if (!same(&v, &r->value))
		setsockopt(fd, o->level, o->name, r->value.data, r->value.len);
}

void ckpt_options_load(const pid_t *pids, const char *dir)
{
	struct record r, last = {.pid = 0};
	char path[PATH_MAX];
	struct ckpt_fd at = {.pid = 0};
	int fd = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/" CKPT_OPTIONS_FILE, dir);
	f = fopen(path, "re");
	while (f && fread(&r, sizeof(r), 1, f) == 1) {
		if (r.pid != last.pid)
			at.pid = outer(pids, r.pid);
		if (fd < 0 || r.pid != last.pid || r.fd != last.fd) {
			if (fd >= 0)
				close(fd);
			at.fd = r.fd;
			fd = at.pid ? fds_get(&at) : -1;
			if (fd >= 0 && !kind_of(fd)) {
				close(fd);
				fd = -1;
			}
		}
		if (fd >= 0)
			load_option(fd, &r);
		last = r;
	}
	if (fd >= 0)
		close(fd);
	if (f)
		fclose(f);
}
