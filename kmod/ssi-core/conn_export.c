// SPDX-License-Identifier: GPL-2.0
/*
 * One TCP connection into the file.  All of it is read under the socket's lock, after which
 * the socket is in repair mode: whatever ends it, no packet says so.
 */
#include <linux/sockptr.h>
#include <linux/skbuff.h>
#include <net/mptcp.h>
#include <net/ipv6.h>
#include <net/tcp.h>

#include "../compat/tcp.h"
#include "conn.h"

#define EXPORTED \
	(TCPF_ESTABLISHED | TCPF_FIN_WAIT1 | TCPF_FIN_WAIT2 | TCPF_CLOSE_WAIT | TCPF_LAST_ACK | TCPF_CLOSING)
#define FIN_UNACKED (TCPF_FIN_WAIT1 | TCPF_CLOSING | TCPF_LAST_ACK)
#define FIN_CAME    (TCPF_CLOSE_WAIT | TCPF_CLOSING | TCPF_LAST_ACK)

static bool in_state(const struct sock *sk, int states)
{
	return (1 << sk->sk_state) & states;
}

static bool has_signatures(const struct tcp_sock *tp)
{
	bool has = false;

#ifdef CONFIG_TCP_MD5SIG
	has |= !!rcu_access_pointer(tp->md5sig_info);
#endif
#ifdef CONFIG_TCP_AO
	has |= !!rcu_access_pointer(tp->ao_info);
#endif
	return has;
}

/* Why it cannot be exported, or NULL. */
static const char *refusal(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (!in_state(sk, EXPORTED))
		return "a handshake is under way";
	if (tp->repair)
		return "is in repair mode already";
	if (sk_is_mptcp(sk) || inet_csk(sk)->icsk_ulp_ops || has_signatures(tp))
		return "has MPTCP, an upper layer protocol or signatures";
	if (READ_ONCE(sk->sk_user_data))
		return "is used by something in the kernel (sockmap ...)";
	if (tp->urg_data || before(tp->snd_una, tp->snd_up))
		return "has urgent data on its way";
	if (!skb_queue_empty_lockless(&sk->sk_error_queue))
		return "has an error queue that nobody has read";
	if (tp->fastopen_req || rcu_access_pointer(tp->fastopen_rsk))
		return "is a Fast Open under way";
	return NULL;
}

/* ---- what is known of it ------------------------------------------------------------ */
static int put_ident(const struct sock *sk, const struct conn_fd *fd, struct conn_file *f)
{
	struct ssi_conn_ident id = {
		.task = fd->task,
		.fd = fd->fd,
		.family = sk->sk_family,
		.sport = inet_sk(sk)->inet_sport,
		.dport = sk->sk_dport,
	};
	struct in6_addr saddr, daddr;

	ipv6_addr_set_v4mapped(sk->sk_rcv_saddr, &saddr);
	ipv6_addr_set_v4mapped(sk->sk_daddr, &daddr);
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6) {
		saddr = sk->sk_v6_rcv_saddr;
		daddr = sk->sk_v6_daddr;
	}
#endif
	memcpy(id.saddr, &saddr, sizeof(saddr));
	memcpy(id.daddr, &daddr, sizeof(daddr));
	return conn_put(f, SSI_CONN_IDENT, &id, sizeof(id));
}

static int put_options(const struct sock *sk, struct conn_file *f)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	const struct tcp_options_received *rx = &tp->rx_opt;
	struct ssi_conn_options o = {
		.mss_clamp = rx->mss_clamp,
		.user_mss = rx->user_mss,
	};

	if (rx->wscale_ok) {
		o.flags |= SSI_CONN_WSCALE;
		o.snd_wscale = rx->snd_wscale;
		o.rcv_wscale = rx->rcv_wscale;
	}
	if (rx->tstamp_ok) {
		o.flags |= SSI_CONN_TIMESTAMPS | (tp->tcp_usec_ts ? SSI_CONN_USEC : 0);
		o.tsval = tcp_clock_ts(tp->tcp_usec_ts) + tp->tsoffset;
		o.ts_recent = rx->ts_recent;
		o.ts_age = min_t(u64, (u32)((u32)ktime_get_seconds() - (u32)rx->ts_recent_stamp), S32_MAX);
	}
	if (rx->sack_ok)
		o.flags |= SSI_CONN_SACK;
	if (tp->ecn_flags & TCP_ECN_OK)
		o.flags |= SSI_CONN_ECN;
	return conn_put(f, SSI_CONN_OPTIONS, &o, sizeof(o));
}

static int put_path(const struct sock *sk, struct conn_file *f)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	struct ssi_conn_path p = {
		.srtt_us = tp->srtt_us,
		.mdev_us = tp->mdev_us,
		.mdev_max_us = tp->mdev_max_us,
		.rttvar_us = tp->rttvar_us,
		.rto_us = jiffies_to_usecs(icsk->icsk_rto),
		.cwnd = tcp_snd_cwnd(tp),
		.ssthresh = tp->snd_ssthresh,
		.reordering = tp->reordering,
	};

	if (p.srtt_us)
		p.rtt_min_us = minmax_get(&tp->rtt_min);
	strscpy(p.congestion, icsk->icsk_ca_ops->name, sizeof(p.congestion));
	return conn_put(f, SSI_CONN_PATH, &p, sizeof(p));
}

static void read_ip(const struct sock *sk, struct ssi_conn_settings *s)
{
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6) {
		s->tos = inet6_sk(sk)->tclass;
		s->ttl = max_t(int, inet6_sk(sk)->hop_limit, 0);
		return;
	}
#endif
	s->tos = inet_sk(sk)->tos;
	s->ttl = max_t(int, inet_sk(sk)->uc_ttl, 0);
}

static int put_settings(const struct sock *sk, struct conn_file *f)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	struct ssi_conn_settings s = {
		.sndbuf = sk->sk_sndbuf,
		.rcvbuf = sk->sk_rcvbuf,
		.window_clamp = tp->window_clamp,
		.rcv_ssthresh = tp->rcv_ssthresh,
		.rcvq_space = tp->rcvq_space.space,
		.keep_time = tp->keepalive_time / HZ,
		.keep_intvl = tp->keepalive_intvl / HZ,
		.keep_probes = tp->keepalive_probes,
		.user_timeout = inet_csk(sk)->icsk_user_timeout,
		.linger2 = tp->linger2 < 0 ? -1 : tp->linger2 / HZ,
		.notsent_lowat = tp->notsent_lowat,
	};

	if (sk->sk_userlocks & SOCK_SNDBUF_LOCK)
		s.flags |= SSI_CONN_SNDBUF_LOCK;
	if (sk->sk_userlocks & SOCK_RCVBUF_LOCK)
		s.flags |= SSI_CONN_RCVBUF_LOCK;
	if (tp->nonagle & TCP_NAGLE_OFF)
		s.flags |= SSI_CONN_NODELAY;
	if (tp->nonagle & TCP_NAGLE_CORK)
		s.flags |= SSI_CONN_CORK;
	if (conn_plain(sk))
		s.flags |= SSI_CONN_PLAIN;
	read_ip(sk, &s);
	return conn_put(f, SSI_CONN_SETTINGS, &s, sizeof(s));
}

/* ---- what waits ----------------------------------------------------------------------- */
struct queue {
	u32 seq; /* of the first byte */
	u32 len;
	bool fin; /* after the last one */
};

/* Bytes of one segment that are not before q->seq + done: appended at `to`. */
static int copy_segment(struct sk_buff *skb, const struct queue *q, u8 *to, u32 *done)
{
	const struct tcp_skb_cb *cb = TCP_SKB_CB(skb);
	u32 from = q->seq + *done, data = cb->seq + !!(cb->tcp_flags & TCPHDR_SYN);
	u32 skip = from - data, n;

	if (after(data, from))
		return -EIO; /* a hole */
	if (skip >= skb->len)
		return 0;
	n = min(skb->len - skip, q->len - *done);
	if (skb_zcopy(skb) || skb_copy_bits(skb, skip, to + *done, n))
		return -EOPNOTSUPP;
	*done += n;
	return 0;
}

/* Of a queue of the socket, under its lock. */
static int put_list(struct sk_buff_head *list, u16 type, const struct queue *q, struct conn_file *f)
{
	struct sk_buff *skb;
	u32 done = 0;
	int err = 0;
	u8 *to;

	if (!q->len)
		return 0;
	to = conn_put_room(f, type, q->len);
	if (!to)
		return -ENOMEM;
	skb_queue_walk(list, skb)
	{
		err = copy_segment(skb, q, to, &done);
		if (err || done == q->len)
			break;
	}
	return err ?: (done == q->len ? 0 : -EIO);
}

static int put_sent(struct sock *sk, const struct queue *q, struct conn_file *f)
{
	struct sk_buff *skb = tcp_rtx_queue_head(sk);
	u32 done = 0;
	int err = 0;
	u8 *to;

	if (!q->len)
		return 0;
	to = conn_put_room(f, SSI_CONN_SENT, q->len);
	if (!to)
		return -ENOMEM;
	skb_rbtree_walk_from(skb)
	{
		err = copy_segment(skb, q, to, &done);
		if (err || done == q->len)
			break;
	}
	return err ?: (done == q->len ? 0 : -EIO);
}

static bool ends_with_fin(const struct sk_buff *skb)
{
	return skb && TCP_SKB_CB(skb)->tcp_flags & TCPHDR_FIN;
}

/* What waits in the queues, without FINs, which take a sequence number each. */
static void measure(struct sock *sk, struct queue *received, struct queue *sent, struct queue *unsent)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	*received = (struct queue){.seq = tp->copied_seq, .len = tp->rcv_nxt - tp->copied_seq};
	if (in_state(sk, FIN_CAME) && received->len) {
		received->len--;
		received->fin = true;
	}
	*sent = (struct queue){.seq = tp->snd_una, .len = tp->snd_nxt - tp->snd_una};
	*unsent = (struct queue){.seq = tp->snd_nxt, .len = tp->write_seq - tp->snd_nxt};
	if (!in_state(sk, FIN_UNACKED))
		return;
	unsent->fin = ends_with_fin(skb_peek_tail(&sk->sk_write_queue));
	sent->fin = !unsent->fin;
	if (unsent->fin)
		unsent->len -= !!unsent->len;
	else
		sent->len -= !!sent->len;
}

static int put_stream(struct sock *sk, struct conn_file *f)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	struct queue received, sent, unsent;
	struct ssi_conn_stream s;
	u64 all;

	measure(sk, &received, &sent, &unsent);
	all = (u64)sent.len + unsent.len;
	if (received.len > SSI_CONN_QUEUE_MAX || all > SSI_CONN_QUEUE_MAX)
		return -EMSGSIZE;
	s = (struct ssi_conn_stream){
		.state = sk->sk_state,
		.rcv_seq = received.seq,
		.snd_seq = sent.seq,
		.snd_wl1 = tp->snd_wl1,
		.snd_wnd = tp->snd_wnd,
		.max_window = tp->max_window,
		.rcv_wnd = tp->rcv_wnd,
		.rcv_wup = tp->rcv_wup,
	};
	if (sent.fin || sk->sk_state == TCP_FIN_WAIT2)
		s.flags |= SSI_CONN_FIN_SENT;
	if (in_state(sk, FIN_CAME) && !received.fin)
		s.flags |= SSI_CONN_EOF_READ;
	return conn_put(f, SSI_CONN_STREAM, &s, sizeof(s)) ?: put_list(&sk->sk_receive_queue, SSI_CONN_RECEIVED, &received, f) ?:
	       put_sent(sk, &sent, f) ?: put_list(&sk->sk_write_queue, SSI_CONN_UNSENT, &unsent, f);
}

/* ---- all of it -------------------------------------------------------------------------- */
static int put_connection(struct sock *sk, const struct conn_fd *fd, struct conn_file *f)
{
	size_t at;
	int err;

	sock_owned_by_me(sk);
	err = conn_put_begin(f, SSI_CONN_CONNECTION, &at) ?: put_ident(sk, fd, f) ?: put_options(sk, f) ?:
	      put_path(sk, f) ?: put_settings(sk, f) ?: put_stream(sk, f);
	if (!err)
		conn_put_end(f, at);
	return err;
}

static const char *why_not(int err)
{
	switch (err) {
	case -EMSGSIZE:
		return "has more data waiting than is taken";
	case -EOPNOTSUPP:
		return "has data that lies in memory of others (zero-copy)";
	case -EIO:
		return "has queues that do not fit its numbers";
	}
	return "no memory";
}

int conn_try_one(struct sock *sk, const char **why)
{
	int ret = 0;

	lock_sock(sk);
	if (!in_state(sk, TCPF_CLOSE | TCPF_LISTEN)) {
		*why = refusal(sk);
		ret = *why ? -EOPNOTSUPP : 1;
	}
	release_sock(sk);
	return ret;
}

int conn_export_one(struct sock *sk, const struct conn_fd *fd, struct conn_file *f, const char **why)
{
	int ret = 0;

	lock_sock(sk);
	if (!in_state(sk, TCPF_CLOSE | TCPF_LISTEN)) {
		*why = refusal(sk);
		ret = *why ? -EOPNOTSUPP : put_connection(sk, fd, f);
		if (ret && !*why)
			*why = why_not(ret);
		if (!ret) {
			tcp_sk(sk)->repair = 1;
			tcp_sk(sk)->repair_queue = TCP_NO_QUEUE;
			ret = 1;
		}
	}
	release_sock(sk);
	return ret;
}
