// SPDX-License-Identifier: GPL-2.0
/*
 * Has a connection an option that the file does not carry?  Who has set none need not be asked for each of them, by
 * some fifty calls.  So the answer is "yes" wherever it is not known to be "no".
 */
#include <linux/bits.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/version.h>
#include <net/inet_connection_sock.h>
#include <net/inet_sock.h>
#include <net/sock.h>

#include "conn.h"

/* Newer kernels have more of them. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
/* The kernel's own, what the restore of a process carries, and what means nothing for a stream. */
#define OTHERS                                                                           \
	(BIT(INET_FLAGS_IS_ICSK) | BIT(INET_FLAGS_MC_LOOP) | BIT(INET_FLAGS_MC_ALL) |    \
	 BIT(INET_FLAGS_MC6_LOOP) | BIT(INET_FLAGS_MC6_ALL) | BIT(INET_FLAGS_FREEBIND) | \
	 BIT(INET_FLAGS_REPFLOW))

static bool plain_socket(const struct sock *sk)
{
#ifdef CONFIG_NET_RX_BUSY_POLL
	if (sk->sk_ll_usec || sk->sk_prefer_busy_poll || sk->sk_busy_poll_budget)
		return false;
#endif
	return !sk->sk_tsflags && sk->sk_peek_off == -1 && sk->sk_max_pacing_rate == ~0UL &&
	       !sk->sk_reserved_mem && sk->sk_txrehash == READ_ONCE(sock_net(sk)->core.sysctl_txrehash) &&
	       !sock_flag(sk, SOCK_RCVTSTAMP) && !sock_flag(sk, SOCK_RCVTSTAMPNS) &&
	       !sock_flag(sk, SOCK_TSTAMP_NEW) && !sock_flag(sk, SOCK_SELECT_ERR_QUEUE) &&
	       !sock_flag(sk, SOCK_ZEROCOPY);
}

static bool plain_tcp(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return !inet_csk(sk)->icsk_syn_retries && !tp->thin_lto && !tp->recvmsg_inq && !tp->tcp_tx_delay;
}

static bool plain_ip(const struct sock *sk)
{
	const struct inet_sock *inet = inet_sk(sk);

	if (sk->sk_family == AF_INET6 && (inet->tos || inet->uc_ttl != -1))
		return false;
	return !(READ_ONCE(inet->inet_flags) & ~OTHERS) && inet->pmtudisc == IP_PMTUDISC_WANT &&
	       !inet->min_ttl && !inet->local_port_range;
}

static bool plain_ipv6(const struct sock *sk)
{
#if IS_ENABLED(CONFIG_IPV6)
	const struct ipv6_pinfo *np = inet6_sk(sk);

	if (sk->sk_family == AF_INET6)
		return !np->rxopt.all && np->pmtudisc == IPV6_PMTUDISC_WANT && !np->srcprefs &&
		       !np->min_hopcount && !np->frag_size;
#endif
	return true;
}

bool conn_plain(const struct sock *sk)
{
	return plain_socket(sk) && plain_tcp(sk) && plain_ip(sk) && plain_ipv6(sk);
}
#else
bool conn_plain(const struct sock *sk)
{
	return false;
}
#endif
