// SPDX-License-Identifier: GPL-2.0
/*
 * Claims that programs wait for. A BPF LSM program calls the kfuncs at the end of
 * this file in the context of listen() or bind(); they tell the server of the
 * socket's network namespace and sleep until it has answered. See ssi/core.h.
 *
 * Locking: claims_net.lock guards all of struct claims_net, and what of a waiter
 * is marked so. A waiter lies on the stack of the task that waits. It is in the
 * list from before it is told to anybody until its own task takes it out, so who
 * finds it there, with the lock held, may touch it and wake its task. Nothing
 * sleeps and nothing is sent with the lock held.
 *
 * The caller keeps its namespace by the socket and this module by the BPF program
 * that it runs in: neither can go while somebody waits.
 */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/in.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/netlink.h>
#include <linux/ptrace.h>
#include <linux/sched/signal.h>
#include <linux/tcp.h>
#include <asm/syscall.h>
#include <asm/unistd.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "../compat/kfunc.h"
#include "claim.h"
#include "netlink.h"
#include "trace.h"

#define CLAIM_AGAIN (HZ / 10) /* a server's queue is full: try again */

struct claims_net {
	spinlock_t lock;
	struct list_head waiting;
	u32 server; /* netlink port, 0: none */
	u32 limit_ms;
	u32 last_id;
	u64 reasons[SSI_CLAIM_REASON_COUNT];
};

struct claim_waiter {
	struct list_head node; /* lock */
	struct task_struct *task;
	struct claim claim;
	bool asked;    /* lock: of the server of now */
	bool answered; /* lock */
	int answer;    /* lock */
};

static unsigned int claims_net_id;

static struct claims_net *claims_net(struct net *net)
{
	return net_generic(net, claims_net_id);
}

static void claim_count(struct claims_net *cn, const struct claim *claim, enum ssi_claim_reason reason)
{
	lockdep_assert_held(&cn->lock);
	cn->reasons[reason]++;
	trace_ssi_claim(claim, reason);
}

/* ---- the server ------------------------------------------------------------- */
int claim_serve(struct net *net, u32 portid, u32 limit_ms, struct netlink_ext_ack *extack)
{
	struct claims_net *cn = claims_net(net);
	struct claim_waiter *w;
	int err = 0;

	spin_lock(&cn->lock);
	if (cn->server && cn->server != portid) {
		NL_SET_ERR_MSG(extack, "another socket answers for this network namespace; stop that netd");
		err = -EBUSY;
	} else {
		cn->limit_ms = limit_ms;
	}
	if (!err && !cn->server) {
		cn->server = portid;
		list_for_each_entry(w, &cn->waiting, node)
		{
			w->asked = false;
			wake_up_process(w->task);
		}
	}
	spin_unlock(&cn->lock);
	return err;
}

static struct claim_waiter *waiter_find(struct claims_net *cn, u32 id)
{
	struct claim_waiter *w;

	lockdep_assert_held(&cn->lock);
	list_for_each_entry(w, &cn->waiting, node) if (w->claim.id == id) return w;
	return NULL;
}

int claim_answer(struct net *net, u32 portid, u32 id, int answer, struct netlink_ext_ack *extack)
{
	struct claims_net *cn = claims_net(net);
	struct claim_waiter *w;
	int err = 0;

	spin_lock(&cn->lock);
	w = waiter_find(cn, id);
	if (cn->server != portid) {
		NL_SET_ERR_MSG(extack, "only the socket that serves may answer; SERVE first");
		err = -EPERM;
	} else if (!w || w->answered) {
		NL_SET_ERR_MSG(extack, "nobody waits for this claim");
		err = -ENOENT;
	} else {
		w->answer = answer;
		w->answered = true;
		wake_up_process(w->task);
	}
	spin_unlock(&cn->lock);
	return err;
}

/* A netlink socket was closed. Who waits goes on waiting: for the next server. */
static int claims_notify(struct notifier_block *nb, unsigned long event, void *data)
{
	const struct netlink_notify *n = data;
	struct claims_net *cn;

	if (event != NETLINK_URELEASE || n->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	cn = claims_net(n->net);
	spin_lock(&cn->lock);
	if (cn->server == n->portid)
		cn->server = 0;
	spin_unlock(&cn->lock);
	return NOTIFY_DONE;
}

static struct notifier_block claims_notifier = {.notifier_call = claims_notify};

void claims_get(struct net *net, struct claims_info *out)
{
	struct claims_net *cn = claims_net(net);

	spin_lock(&cn->lock);
	out->limit_ms = cn->limit_ms;
	out->server = cn->server;
	out->waiting = list_count_nodes(&cn->waiting);
	memcpy(out->reasons, cn->reasons, sizeof(out->reasons));
	spin_unlock(&cn->lock);
}

/* ---- who waits ----------------------------------------------------------------- */
/*
 * A signal, and so the freezer, may end the wait where the call is made anew after it.
 * Requests of io_uring have no such way back: only their end ends the wait. Nobody is
 * frozen in here: the BPF program around it holds up grace periods, and io_uring a lock.
 */
static unsigned int claim_wait_state(void)
{
	int nr = current->flags & (PF_USER_WORKER | PF_KTHREAD) || in_compat_syscall()
			 ? -1
			 : syscall_get_nr(current, current_pt_regs());

	return nr == __NR_listen || nr == __NR_bind ? TASK_INTERRUPTIBLE : TASK_KILLABLE;
}

static u32 claim_begin(struct claims_net *cn, struct claim_waiter *w)
{
	u32 limit_ms;

	spin_lock(&cn->lock);
	do {
		w->claim.id = ++cn->last_id;
	} while (!w->claim.id || waiter_find(cn, w->claim.id));
	list_add_tail(&w->node, &cn->waiting);
	claim_count(cn, &w->claim, SSI_CLAIM_R_ASKED);
	limit_ms = cn->limit_ms;
	spin_unlock(&cn->lock);
	return limit_ms;
}

/* Whom to ask now; 0: nobody, or he knows. */
static u32 claim_next_server(struct claims_net *cn, struct claim_waiter *w, bool *again)
{
	u32 server = 0;

	spin_lock(&cn->lock);
	if (!w->answered && !w->asked && cn->server) {
		server = cn->server;
		/* Before it is sent: a server that comes meanwhile takes it back. */
		w->asked = true;
		if (*again)
			claim_count(cn, &w->claim, SSI_CLAIM_R_ASKED_AGAIN);
		*again = true;
	}
	spin_unlock(&cn->lock);
	return server;
}

/* Tells whoever serves; false: it has no room, try again soon. */
static bool claim_ask(struct net *net, struct claim_waiter *w, bool *again)
{
	struct claims_net *cn = claims_net(net);
	u32 server = claim_next_server(cn, w, again);
	int err = server ? ssi_netlink_claim(net, server, &w->claim) : 0;

	if (!err)
		return true;
	spin_lock(&cn->lock);
	w->asked = false;
	spin_unlock(&cn->lock);
	return false;
}

static bool claim_answered(struct claims_net *cn, const struct claim_waiter *w, bool *asked)
{
	bool answered;

	spin_lock(&cn->lock);
	answered = w->answered;
	*asked = w->asked || !cn->server;
	spin_unlock(&cn->lock);
	return answered;
}

/* Until there is an answer: 0; or a signal: -ERESTARTSYS; or the time is over: -EAGAIN. */
static int claim_sleep(struct net *net, struct claim_waiter *w, unsigned long left)
{
	struct claims_net *cn = claims_net(net);
	unsigned int state = claim_wait_state();
	bool room, asked, again = false;
	unsigned long turn;
	int err = 0;

	for (;;) {
		room = claim_ask(net, w, &again);
		/* Whoever changes what is looked at below wakes this task after that. */
		set_current_state(state);
		if (claim_answered(cn, w, &asked))
			break;
		if (signal_pending_state(state, current)) {
			err = -ERESTARTSYS;
			break;
		}
		if (!left) {
			err = -EAGAIN;
			break;
		}
		if (room && !asked) {
			__set_current_state(TASK_RUNNING);
			continue;
		}
		turn = room ? left : min_t(unsigned long, left, CLAIM_AGAIN);
		left -= turn - schedule_timeout(turn);
	}
	__set_current_state(TASK_RUNNING);
	return err;
}

static enum ssi_claim_reason claim_reason(int err)
{
	switch (err) {
	case 0:
		return SSI_CLAIM_R_GRANTED;
	case -EAGAIN:
		return SSI_CLAIM_R_TIME_OUT;
	case -ERESTARTSYS:
		return SSI_CLAIM_R_INTERRUPTED;
	}
	return SSI_CLAIM_R_IN_USE;
}

/* Off the list, with what is known by now: the answer may have come just in time. */
static int claim_end(struct net *net, struct claim_waiter *w, int err)
{
	struct claims_net *cn = claims_net(net);
	u32 server = 0;

	spin_lock(&cn->lock);
	list_del(&w->node);
	if (w->answered)
		err = w->answer;
	else if (w->asked)
		server = cn->server;
	claim_count(cn, &w->claim, claim_reason(err));
	spin_unlock(&cn->lock);
	if (server)
		ssi_netlink_ended(net, server, w->claim.id, claim_reason(err));
	return err;
}

static int claim_wait(struct net *net, struct claim_waiter *w)
{
	u32 limit_ms;
	int err;

	w->task = current;
	w->claim.pid = task_tgid_nr(current);
	get_task_comm(w->claim.comm, current);
	limit_ms = claim_begin(claims_net(net), w);
	err = claim_end(net, w, claim_sleep(net, w, msecs_to_jiffies(limit_ms)));
	if (err == -EAGAIN)
		net_warn_ratelimited("ssi_core: %s (pid %u) waited %u ms for %s port %u: netd did not "
				     "answer; is it running?\n",
				     w->claim.comm, w->claim.pid, limit_ms,
				     w->claim.proto == IPPROTO_TCP ? "TCP" : "UDP", w->claim.port);
	return err;
}

/* ---- what is asked for ------------------------------------------------------------ */
/* False: nobody outside this machine could reach it. */
static bool claim_set_addr4(struct claim *c, __be32 addr)
{
	ipv6_addr_set_v4mapped(addr, &c->addr);
	return !ipv4_is_loopback(addr);
}

static bool claim_set_addr6(struct claim *c, const struct in6_addr *addr, const struct sock *sk)
{
	c->addr = *addr;
	c->only6 = ipv6_only_sock(sk);
	if (ipv6_addr_v4mapped(addr))
		return !ipv4_is_loopback(addr->s6_addr32[3]);
	return !ipv6_addr_loopback(addr);
}

static bool claim_is_inet(const struct sock *sk, int type, int protocol)
{
	return (sk->sk_family == AF_INET || (IS_ENABLED(CONFIG_IPV6) && sk->sk_family == AF_INET6)) &&
	       sk->sk_type == type && sk->sk_protocol == protocol;
}

/*
 * Without the socket's lock: a bind() that another thread makes at the same time may
 * or may not be seen, and the socket event that follows puts it right.
 */
static bool claim_of_listener(struct claim *c, const struct sock *sk)
{
	if (!claim_is_inet(sk, SOCK_STREAM, IPPROTO_TCP) || inet_sk_state_load(sk) != TCP_CLOSE)
		return false;
	c->port = READ_ONCE(inet_sk(sk)->inet_num);
	c->proto = IPPROTO_TCP;
	if (!c->port)
		return false;
#if IS_ENABLED(CONFIG_IPV6)
	if (sk->sk_family == AF_INET6)
		return claim_set_addr6(c, &sk->sk_v6_rcv_saddr, sk);
#endif
	return claim_set_addr4(c, READ_ONCE(sk->sk_rcv_saddr));
}

static bool claim_of_bind(struct claim *c, const struct sock *sk, const struct sockaddr *uaddr, int len)
{
	const struct sockaddr_in6 *sin6 = (const void *)uaddr;
	const struct sockaddr_in *sin = (const void *)uaddr;

	if (!claim_is_inet(sk, SOCK_DGRAM, IPPROTO_UDP) || len < (int)sizeof(*sin))
		return false;
	c->port = ntohs(sin->sin_port); /* sin6_port lies at the same place */
	c->proto = IPPROTO_UDP;
	if (!c->port)
		return false;
	if (sk->sk_family == AF_INET)
		return claim_set_addr4(c, sin->sin_addr.s_addr);
	return len >= SIN6_LEN_RFC2133 && claim_set_addr6(c, &sin6->sin6_addr, sk);
}

/* ---- for BPF programs ---------------------------------------------------------------- */
__bpf_kfunc_start_defs();

/*
 * Wait until the port that `sock` is bound to is claimed for it. `cookie` and `cgroup`
 * are told to the server. 0, -EADDRINUSE, -EAGAIN, -ERESTARTSYS; 0 at once for what is no matter
 * of the cluster.
 */
__bpf_kfunc int bpf_ssi_claim_listen(struct socket *sock, u64 cookie, u64 cgroup)
{
	struct claim_waiter w = {.claim.cookie = cookie, .claim.cgroup = cgroup};
	struct sock *sk = sock->sk;

	if (!sk || !claim_of_listener(&w.claim, sk))
		return 0;
	return claim_wait(sock_net(sk), &w);
}

/* The same for a UDP socket that is about to be bound to `uaddr`. */
__bpf_kfunc int bpf_ssi_claim_bind(struct socket *sock, struct sockaddr *uaddr, int addrlen, u64 cookie,
				   u64 cgroup)
{
	struct claim_waiter w = {.claim.cookie = cookie, .claim.cgroup = cgroup};
	struct sock *sk = sock->sk;

	if (!sk || !claim_of_bind(&w.claim, sk, uaddr, addrlen))
		return 0;
	return claim_wait(sock_net(sk), &w);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(claim_kfuncs)
BTF_ID_FLAGS(func, bpf_ssi_claim_listen, KF_SLEEPABLE | KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, bpf_ssi_claim_bind, KF_SLEEPABLE | KF_TRUSTED_ARGS)
BTF_KFUNCS_END(claim_kfuncs)

static const struct btf_kfunc_id_set claim_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &claim_kfuncs,
};

/* ---- life ------------------------------------------------------------------------------ */
static int __net_init claims_net_init(struct net *net)
{
	struct claims_net *cn = claims_net(net);

	spin_lock_init(&cn->lock);
	INIT_LIST_HEAD(&cn->waiting);
	cn->limit_ms = SSI_CLAIM_LIMIT_MS;
	return 0;
}

static void __net_exit claims_net_exit(struct net *net)
{
	WARN_ON_ONCE(!list_empty(&claims_net(net)->waiting));
}

static struct pernet_operations claims_net_ops = {
	.init = claims_net_init,
	.exit = claims_net_exit,
	.id = &claims_net_id,
	.size = sizeof(struct claims_net),
};

int __init claim_init(void)
{
	int err = register_pernet_subsys(&claims_net_ops);

	if (err)
		return err;
	err = netlink_register_notifier(&claims_notifier);
	if (err)
		goto undo_pernet;
	err = register_btf_kfunc_id_set(BPF_PROG_TYPE_LSM, &claim_kfunc_set);
	if (err)
		goto undo_notifier;
	return 0;

undo_notifier:
	netlink_unregister_notifier(&claims_notifier);
undo_pernet:
	unregister_pernet_subsys(&claims_net_ops);
	return err;
}

void claim_exit(void)
{
	netlink_unregister_notifier(&claims_notifier);
	unregister_pernet_subsys(&claims_net_ops);
}
