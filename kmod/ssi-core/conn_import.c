// SPDX-License-Identifier: GPL-2.0
/*
 * One TCP connection out of the file, into a socket that has none.  The kernel's own way of
 * making a connection without a handshake, repair mode, from the inside: bind, connect, and then,
 * under one hold of the socket's lock, options, queues, FINs and what was learned of the path.
 *
 * What comes from the file is checked before the socket is touched.
 */
#include <linux/inet.h>
#include <net/inet_common.h>
#include <net/ipv6.h>
#include <net/tcp.h>

#include "../compat/sockaddr.h"
#include "../compat/tcp.h"
#include "conn.h"

#define CONN_WINDOW_MAX	    (65535u << TCP_MAX_WSCALE)
#define CONN_BUF_MIN	    2048u
#define CONN_BUF_MAX	    (1u << 30)
#define CONN_TIME_MAX	    32767u /* seconds: of keepalive's options */
#define CONN_CWND_MAX	    (1u << 20)
#define CONN_USEC_MAX	    (1u << 30)
#define CONN_REORDERING_MAX 1000u

struct bytes {
	const u8 *data;
	u32 len;
};

struct connection {
	struct ssi_conn_ident id;
	struct ssi_conn_stream stream;
	struct ssi_conn_options options;
	struct ssi_conn_path path;
	struct ssi_conn_settings settings;
	struct bytes received, sent, unsent;
};

/* ---- what the file says ---------------------------------------------------------------- */
static int parse(struct connection *c, struct conn_part outer)
{
	struct conn_part p;
	u32 seen = 0;
	int err;

	while (conn_inside(&outer, &p, &err)) {
		if (p.type < __SSI_CONN_TYPES)
			seen |= BIT(p.type);
		switch (p.type) {
		case SSI_CONN_IDENT:
			conn_read(&c->id, sizeof(c->id), &p);
			break;
		case SSI_CONN_STREAM:
			conn_read(&c->stream, sizeof(c->stream), &p);
			break;
		case SSI_CONN_OPTIONS:
			conn_read(&c->options, sizeof(c->options), &p);
			break;
		case SSI_CONN_PATH:
			conn_read(&c->path, sizeof(c->path), &p);
			break;
		case SSI_CONN_SETTINGS:
			conn_read(&c->settings, sizeof(c->settings), &p);
			break;
		case SSI_CONN_RECEIVED:
			c->received = (struct bytes){p.data, p.len};
			break;
		case SSI_CONN_SENT:
			c->sent = (struct bytes){p.data, p.len};
			break;
		case SSI_CONN_UNSENT:
			c->unsent = (struct bytes){p.data, p.len};
			break;
		default:
			if (p.flags & SSI_CONN_NEEDED)
				return -EPROTONOSUPPORT;
		}
	}
	if (err)
		return err;
	return seen & BIT(SSI_CONN_IDENT) && seen & BIT(SSI_CONN_STREAM) && seen & BIT(SSI_CONN_OPTIONS)
		       ? 0
		       : -EINVAL;
}

int conn_ident(struct ssi_conn_ident *id, struct conn_part outer)
{
	struct conn_part p;
	int err;

	while (conn_inside(&outer, &p, &err)) {
		if (p.type != SSI_CONN_IDENT)
			continue;
		conn_read(id, sizeof(*id), &p);
		return 0;
	}
	return err ?: -EINVAL;
}

static bool lies_between(u32 value, u32 min, u32 max)
{
	return value >= min && value <= max;
}

static bool fits_or_default(u32 value, u32 min, u32 max)
{
	return !value || lies_between(value, min, max);
}

static bool is_state(const struct connection *c, int states)
{
	return c->stream.state < TCP_MAX_STATES && (1 << c->stream.state) & states;
}

static bool fin_went(const struct connection *c)
{
	return is_state(c, TCPF_FIN_WAIT1 | TCPF_CLOSING | TCPF_LAST_ACK);
}

static bool fin_came(const struct connection *c)
{
	return is_state(c, TCPF_CLOSE_WAIT | TCPF_CLOSING | TCPF_LAST_ACK);
}

/* After the FIN nothing can have been sent, so a FIN that went leaves nothing that did not. */
static bool stream_sensible(const struct connection *c)
{
	const struct ssi_conn_stream *s = &c->stream;
	u32 rcv_nxt = s->rcv_seq + c->received.len;

	if (!is_state(c, TCPF_ESTABLISHED | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2 | TCPF_CLOSE_WAIT |
				 TCPF_LAST_ACK | TCPF_CLOSING))
		return false;
	if (c->received.len > SSI_CONN_QUEUE_MAX || (u64)c->sent.len + c->unsent.len > SSI_CONN_QUEUE_MAX)
		return false;
	if (is_state(c, TCPF_FIN_WAIT2) && (c->sent.len || c->unsent.len))
		return false;
	if (fin_went(c) && s->flags & SSI_CONN_FIN_SENT && c->unsent.len)
		return false;
	if (s->flags & SSI_CONN_EOF_READ && c->received.len)
		return false;
	if (s->snd_wnd > s->max_window || s->max_window > CONN_WINDOW_MAX || s->rcv_wnd > CONN_WINDOW_MAX)
		return false;
	/* (rcv_seq of a FIN that was read is after it) */
	rcv_nxt += fin_came(c) && !(s->flags & SSI_CONN_EOF_READ);
	return !after(s->rcv_wup, rcv_nxt) && !after(rcv_nxt, s->rcv_wup + CONN_WINDOW_MAX) &&
	       !after(s->snd_wl1, rcv_nxt + s->rcv_wnd);
}

static bool options_sensible(const struct ssi_conn_options *o)
{
	return o->snd_wscale <= TCP_MAX_WSCALE && o->rcv_wscale <= TCP_MAX_WSCALE &&
	       o->mss_clamp >= TCP_MIN_SND_MSS && fits_or_default(o->user_mss, TCP_MIN_MSS, MAX_TCP_WINDOW) &&
	       o->ts_age <= S32_MAX;
}

static bool path_sensible(const struct ssi_conn_path *p)
{
	return p->srtt_us <= CONN_USEC_MAX && p->mdev_us <= CONN_USEC_MAX && p->rttvar_us <= CONN_USEC_MAX &&
	       p->mdev_max_us <= CONN_USEC_MAX &&
	       fits_or_default(p->rto_us, jiffies_to_usecs(1), jiffies_to_usecs(TCP_RTO_MAX)) &&
	       p->cwnd <= CONN_CWND_MAX && fits_or_default(p->ssthresh, 2, TCP_INFINITE_SSTHRESH) &&
	       p->reordering <= CONN_REORDERING_MAX && p->rtt_min_us <= CONN_USEC_MAX &&
	       strnlen(p->congestion, sizeof(p->congestion)) < sizeof(p->congestion);
}

static bool settings_sensible(const struct ssi_conn_settings *s)
{
	return fits_or_default(s->sndbuf, CONN_BUF_MIN, CONN_BUF_MAX) &&
	       fits_or_default(s->rcvbuf, CONN_BUF_MIN, CONN_BUF_MAX) && s->window_clamp <= CONN_WINDOW_MAX &&
	       s->rcv_ssthresh <= CONN_WINDOW_MAX && s->rcvq_space <= CONN_WINDOW_MAX &&
	       s->keep_time <= CONN_TIME_MAX && s->keep_intvl <= CONN_TIME_MAX && s->keep_probes <= 127 &&
	       s->user_timeout <= S32_MAX && s->linger2 >= -1 && s->linger2 <= TCP_FIN_TIMEOUT_MAX / HZ;
}

static const char *nonsense(const struct connection *c)
{
	if (!c->id.sport || !c->id.dport)
		return "the file has no ports for it";
	if (!stream_sensible(c))
		return "the file has impossible numbers for it";
	if (!options_sensible(&c->options))
		return "the file has impossible options for it";
	if (!path_sensible(&c->path) || !settings_sensible(&c->settings))
		return "the file has impossible settings for it";
	return NULL;
}

/* ---- addresses -------------------------------------------------------------------------- */
static int make_addr(struct sockaddr_storage *to, const struct sock *sk, const u8 addr[16], __be16 port)
{
	struct sockaddr_in *sin = (void *)to;
	struct sockaddr_in6 *sin6 = (void *)to;
	struct in6_addr in6;

	memcpy(&in6, addr, sizeof(in6));
	memset(to, 0, sizeof(*to));
	if (sk->sk_family == AF_INET6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_addr = in6;
		sin6->sin6_port = port;
		sin6->sin6_scope_id = sk->sk_bound_dev_if;
		return sizeof(*sin6);
	}
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = in6.s6_addr32[3];
	sin->sin_port = port;
	return sizeof(*sin);
}

static bool family_fits(const struct sock *sk, const struct ssi_conn_ident *id)
{
	struct in6_addr saddr, daddr;

	memcpy(&saddr, id->saddr, sizeof(saddr));
	memcpy(&daddr, id->daddr, sizeof(daddr));
	return sk->sk_family == id->family && ipv6_addr_v4mapped(&saddr) == ipv6_addr_v4mapped(&daddr) &&
	       (sk->sk_family == AF_INET6 || ipv6_addr_v4mapped(&daddr));
}

/* ---- the socket, under its lock --------------------------------------------------------- */
static const char *unfit(const struct socket *sock, const struct ssi_conn_ident *id)
{
	const struct sock *sk = sock->sk;

	if (sock->state != SS_UNCONNECTED || sk->sk_state != TCP_CLOSE)
		return "the socket has a connection";
	if (inet_csk(sk)->icsk_ulp_ops || READ_ONCE(sk->sk_user_data))
		return "the socket is no plain one";
	if (!family_fits(sk, id))
		return "the socket is of another family";
	return NULL;
}

static void set_ip(struct sock *sk, const struct ssi_conn_settings *s)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6) {
		inet6_sk(sk)->tclass = s->tos & ~INET_ECN_MASK;
		if (s->ttl)
			inet6_sk(sk)->hop_limit = s->ttl;
	}
#endif
	if (sk->sk_family == AF_INET) {
		WRITE_ONCE(inet_sk(sk)->tos, s->tos & ~INET_ECN_MASK);
		if (s->ttl)
			WRITE_ONCE(inet_sk(sk)->uc_ttl, s->ttl);
	}
}

/* What a fresh connection takes its first numbers from. */
static void begin_repair(struct sock *sk, const struct connection *c)
{
	struct tcp_sock *tp = tcp_sk(sk);

	tp->repair = 1;
	tp->repair_queue = TCP_NO_QUEUE;
	WRITE_ONCE(tp->write_seq, c->stream.snd_seq);
	WRITE_ONCE(tp->rcv_nxt, c->stream.rcv_seq);
	WRITE_ONCE(tp->copied_seq, c->stream.rcv_seq);
	WRITE_ONCE(sk->sk_shutdown, 0);
	set_ip(sk, &c->settings);
}

static void end_repair(struct sock *sk)
{
	tcp_sk(sk)->repair = 0;
	tcp_sk(sk)->repair_queue = TCP_NO_QUEUE;
}

static void set_options(struct sock *sk, const struct ssi_conn_options *o)
{
	struct tcp_options_received *rx = &tcp_sk(sk)->rx_opt;
	struct inet_connection_sock *icsk = inet_csk(sk);
	const struct dst_entry *dst = __sk_dst_get(sk);
	struct tcp_sock *tp = tcp_sk(sk);

	rx->wscale_ok = !!(o->flags & SSI_CONN_WSCALE);
	rx->snd_wscale = rx->wscale_ok ? o->snd_wscale : 0;
	rx->rcv_wscale = rx->wscale_ok ? o->rcv_wscale : 0;
	rx->sack_ok = o->flags & SSI_CONN_SACK ? TCP_SACK_SEEN : 0;
	rx->tstamp_ok = !!(o->flags & SSI_CONN_TIMESTAMPS);
	tp->tcp_header_len = sizeof(struct tcphdr) + (rx->tstamp_ok ? TCPOLEN_TSTAMP_ALIGNED : 0);
	if (rx->tstamp_ok) {
		tp->tcp_usec_ts = !!(o->flags & SSI_CONN_USEC);
		WRITE_ONCE(tp->tsoffset, o->tsval - tcp_clock_ts(tp->tcp_usec_ts));
		rx->ts_recent = o->ts_recent;
		rx->ts_recent_stamp = o->ts_recent ? (u32)ktime_get_seconds() - o->ts_age : 0;
	}
	if (o->flags & SSI_CONN_ECN)
		tp->ecn_flags |= TCP_ECN_OK;
	if (o->user_mss)
		rx->user_mss = o->user_mss;
	rx->mss_clamp = o->mss_clamp;
	icsk->icsk_mtup.search_high =
		o->mss_clamp + sizeof(struct tcphdr) + icsk->icsk_af_ops->net_header_len;
	tp->pred_flags = 0;
	/* connect() knew nothing of the peer's and took the smallest; the peer's window bounds it, too. */
	if (dst)
		icsk->icsk_sync_mss(sk, dst_mtu(dst));
}

static void set_windows(struct sock *sk, const struct ssi_conn_stream *s)
{
	struct tcp_sock *tp = tcp_sk(sk);

	tp->snd_wl1 = s->snd_wl1;
	tp->snd_wnd = s->snd_wnd;
	tp->max_window = s->max_window;
	tp->rcv_wnd = s->rcv_wnd;
	tp->rcv_wup = s->rcv_wup;
}

static void set_settings(struct sock *sk, const struct ssi_conn_settings *s)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (s->sndbuf)
		WRITE_ONCE(sk->sk_sndbuf, s->sndbuf);
	if (s->rcvbuf)
		WRITE_ONCE(sk->sk_rcvbuf, s->rcvbuf);
	sk->sk_userlocks &= ~(SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK);
	sk->sk_userlocks |= (s->flags & SSI_CONN_SNDBUF_LOCK ? SOCK_SNDBUF_LOCK : 0) |
			    (s->flags & SSI_CONN_RCVBUF_LOCK ? SOCK_RCVBUF_LOCK : 0);
	if (s->window_clamp)
		WRITE_ONCE(tp->window_clamp, s->window_clamp);
	if (s->rcv_ssthresh)
		tp->rcv_ssthresh = min(s->rcv_ssthresh, tp->window_clamp);
	if (s->rcvq_space)
		tp->rcvq_space.space = s->rcvq_space;
	WRITE_ONCE(tp->keepalive_time, s->keep_time * HZ);
	WRITE_ONCE(tp->keepalive_intvl, s->keep_intvl * HZ);
	WRITE_ONCE(tp->keepalive_probes, s->keep_probes);
	WRITE_ONCE(inet_csk(sk)->icsk_user_timeout, s->user_timeout);
	WRITE_ONCE(tp->linger2, s->linger2 < 0 ? -1 : s->linger2 * HZ);
	WRITE_ONCE(tp->notsent_lowat, s->notsent_lowat);
	tp->nonagle = (s->flags & SSI_CONN_NODELAY ? TCP_NAGLE_OFF : 0) |
		      (s->flags & SSI_CONN_CORK ? TCP_NAGLE_CORK : 0);
}

static void set_path(struct sock *sk, const struct ssi_conn_path *p)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	struct tcp_sock *tp = tcp_sk(sk);

	if (p->srtt_us) {
		WRITE_ONCE(tp->srtt_us, p->srtt_us);
		tp->mdev_us = p->mdev_us;
		tp->mdev_max_us = p->mdev_max_us;
		tp->rttvar_us = p->rttvar_us;
		tp->rtt_seq = tp->snd_nxt;
		if (p->rtt_min_us)
			minmax_reset(&tp->rtt_min, tcp_jiffies32, p->rtt_min_us);
	}
	if (p->rto_us)
		icsk->icsk_rto = max_t(u32, usecs_to_jiffies(p->rto_us), 1);
	if (p->cwnd)
		tcp_snd_cwnd_set(tp, p->cwnd);
	if (p->ssthresh)
		tp->snd_ssthresh = p->ssthresh;
	if (p->reordering)
		tp->reordering = p->reordering;
}

/* ---- its queues -------------------------------------------------------------------------- */
static int put_bytes(struct sock *sk, const struct bytes *bytes)
{
	struct msghdr msg = {.msg_flags = MSG_DONTWAIT};
	struct kvec vec = {.iov_base = (void *)bytes->data, .iov_len = bytes->len};
	int n;

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, bytes->len);
	while (msg_data_left(&msg)) {
		n = tcp_sendmsg_locked(sk, &msg, msg_data_left(&msg));
		if (n <= 0)
			return n ?: -ENOBUFS;
	}
	return 0;
}

static int put_queue(struct sock *sk, int queue, const struct bytes *bytes)
{
	int err;

	tcp_sk(sk)->repair_queue = queue;
	err = put_bytes(sk, bytes);
	tcp_sk(sk)->repair_queue = TCP_NO_QUEUE;
	return err;
}

static void shut(struct sock *sk)
{
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | SEND_SHUTDOWN);
	sk->sk_prot->shutdown(sk, SEND_SHUTDOWN);
}

/* Sent, as far as the socket knows. */
static int queue_sent(struct sock *sk, const struct connection *c)
{
	int err = put_queue(sk, TCP_SEND_QUEUE, &c->sent);

	if (!err && fin_went(c) && c->stream.flags & SSI_CONN_FIN_SENT) {
		tcp_sk(sk)->repair_queue = TCP_SEND_QUEUE;
		shut(sk);
		tcp_sk(sk)->repair_queue = TCP_NO_QUEUE;
	}
	return err;
}

/* Queued as by a program, but without a window of congestion nothing leaves. */
static int queue_unsent(struct sock *sk, const struct connection *c)
{
	struct tcp_sock *tp = tcp_sk(sk);
	u32 cwnd = tcp_snd_cwnd(tp);
	int err;

	tp->repair = 0;
	tp->snd_cwnd = 0;
	err = put_bytes(sk, &c->unsent);
	if (!err && fin_went(c) && !(c->stream.flags & SSI_CONN_FIN_SENT))
		shut(sk);
	tp->snd_cwnd = cwnd;
	tp->repair = 1;
	return err;
}

static int fill_queues(struct sock *sk, const struct connection *c)
{
	int sndbuf = sk->sk_sndbuf, rcvbuf = sk->sk_rcvbuf, err;

	/* They have fitted once, and do not wait for room here. */
	sk->sk_sndbuf = sk->sk_rcvbuf = CONN_BUF_MAX;
	err = put_queue(sk, TCP_RECV_QUEUE, &c->received) ?: queue_sent(sk, c) ?: queue_unsent(sk, c);
	WRITE_ONCE(sk->sk_sndbuf, sndbuf);
	WRITE_ONCE(sk->sk_rcvbuf, rcvbuf);
	return err;
}

/* As tcp_set_state(), which newer kernels keep for themselves, but no program of sockops is told. */
static void set_state(struct sock *sk, int state)
{
	if (sk->sk_state == TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
		TCP_DEC_STATS(sock_net(sk), TCP_MIB_CURRESTAB);
	inet_sk_set_state(sk, state);
}

static void half_close(struct sock *sk, const struct connection *c)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (fin_came(c)) {
		if (!(c->stream.flags & SSI_CONN_EOF_READ))
			WRITE_ONCE(tp->rcv_nxt, tp->rcv_nxt + 1);
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
		sock_set_flag(sk, SOCK_DONE);
	}
	if (is_state(c, TCPF_FIN_WAIT2))
		WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | SEND_SHUTDOWN);
	if (sk->sk_state != c->stream.state)
		set_state(sk, c->stream.state);
}

/* ---- from none to one ---------------------------------------------------------------------- */
static int connect_socket(struct socket *sock, const struct connection *c)
{
	struct sockaddr_storage to;
	int len = make_addr(&to, sock->sk, c->id.daddr, c->id.dport);
	int err = __inet_stream_connect(sock, (struct ssi_sockaddr *)&to, len, O_NONBLOCK, 0);

	return err ?: (sock->sk->sk_state == TCP_ESTABLISHED ? 0 : -EPROTO);
}

static int revive(struct socket *sock, const struct connection *c, const char **why)
{
	struct sock *sk = sock->sk;
	int err;

	sock_owned_by_me(sk);
	err = connect_socket(sock, c);
	if (err) {
		*why = err == -EADDRNOTAVAIL ? "the connection is here already"
					     : "cannot be connected; is there a route?";
		return err;
	}
	set_windows(sk, &c->stream);
	set_options(sk, &c->options);
	set_settings(sk, &c->settings);
	err = fill_queues(sk, c);
	if (err) {
		*why = "no memory for what waits in its queues";
		sk->sk_prot->disconnect(sk, 0); /* in repair mode, so without a packet */
		sock->state = SS_UNCONNECTED;
		return err;
	}
	half_close(sk, c);
	set_path(sk, &c->path);
	return 0;
}

/* Before the lock is taken: it takes it itself. The node may not have the algorithm. */
static void set_congestion(struct sock *sk, const char *name)
{
	if (*name && strcmp(inet_csk(sk)->icsk_ca_ops->name, name))
		sk->sk_prot->setsockopt(sk, IPPROTO_TCP, TCP_CONGESTION, KERNEL_SOCKPTR((void *)name),
					strlen(name));
}

static int bind_socket(struct socket *sock, const struct connection *c)
{
	struct sockaddr_storage to;
	int len = make_addr(&to, sock->sk, c->id.saddr, c->id.sport);

	return kernel_bind(sock, (struct ssi_sockaddr *)&to, len);
}

/*
 * bind() takes the lock itself. Whoever uses the socket in between finds one that is bound, in repair
 * mode, and may make it unfit: then there is no connection.
 */
static int import(struct socket *sock, const struct connection *c, const char **why)
{
	struct sock *sk = sock->sk;
	u8 reuse;
	int err;

	lock_sock(sk);
	*why = unfit(sock, &c->id);
	if (*why) {
		release_sock(sk);
		return -EISCONN;
	}
	reuse = sk->sk_reuse;
	sk->sk_reuse = SK_FORCE_REUSE;
	begin_repair(sk, c);
	release_sock(sk);
	err = bind_socket(sock, c);
	lock_sock(sk);
	sk->sk_reuse = reuse;
	*why = err ? "its address cannot be bound; is it one of this node's?" : unfit(sock, &c->id);
	if (!*why && !tcp_sk(sk)->repair)
		*why = "the socket is being used";
	if (*why)
		err = err ?: -EISCONN;
	else
		err = revive(sock, c, why);
	if (err)
		end_repair(sk);
	release_sock(sk);
	return err;
}

int conn_import_one(struct socket *sock, const struct ssi_conn_ident *id, struct conn_part part,
		    const char **why)
{
	struct connection *c = kzalloc(sizeof(*c), GFP_KERNEL);
	int err = c ? parse(c, part) : -ENOMEM;

	if (!err) {
		*why = nonsense(c);
		err = *why ? -EINVAL : 0;
	}
	if (!err) {
		set_congestion(sock->sk, c->path.congestion);
		err = import(sock, c, why);
	}
	kfree(c);
	return err;
}

/* ---- silent no longer ------------------------------------------------------------------------ */
/* What waits is sent as if the last packet had just left the device: when the lock is released. */
static void send_soon(struct sock *sk)
{
	if (tcp_send_head(sk) && !test_and_set_bit(TCP_TSQ_DEFERRED, &sk->sk_tsq_flags))
		sock_hold(sk);
}

static void advance_clock(struct sock *sk, u32 ms)
{
	struct tcp_sock *tp = tcp_sk(sk);
	u32 ticks = tp->tcp_usec_ts ? ms * USEC_PER_MSEC : ms;

	if (tp->rx_opt.tstamp_ok)
		WRITE_ONCE(tp->tsoffset, tp->tsoffset + ticks);
}

int conn_run_one(struct sock *sk, u32 advance_ms)
{
	int was;

	lock_sock(sk);
	was = tcp_sk(sk)->repair;
	if (was) {
		advance_clock(sk, advance_ms);
		end_repair(sk);
		send_soon(sk);
	}
	release_sock(sk);
	return was;
}
