// SPDX-License-Identifier: GPL-2.0
/*
 * The TCP sockets of processes.  References to the files are taken under the lock of each table
 * of fds; what memory that needs is taken outside of it, and then the walk goes on where it was.
 */
#include <linux/bsearch.h>
#include <linux/cred.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/in.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <net/sock.h>

#include "conn.h"

#define CONN_SOCKS_ROOM 256

struct conn_walk {
	struct conn_socks *socks;
	struct net *net;
	u32 name;
	bool foreign; /* a socket of another network namespace was met */
};

static bool is_tcp(const struct sock *sk)
{
	return (sk->sk_family == AF_INET || sk->sk_family == AF_INET6) && sk->sk_type == SOCK_STREAM &&
	       sk->sk_protocol == IPPROTO_TCP;
}

/* Under task_lock() and the table's lock. Where to go on, when there is no room; else 0. */
static int get_socket(const void *arg, struct file *file, unsigned int fd)
{
	struct conn_walk *w = (void *)arg;
	struct socket *sock = sock_from_file(file);
	struct conn_socks *s = w->socks;

	if (!sock || !sock->sk || !is_tcp(sock->sk))
		return 0;
	if (!net_eq(sock_net(sock->sk), w->net)) {
		w->foreign = true;
		return 0;
	}
	if (s->n == s->room)
		return fd + 1;
	s->fds[s->n++] = (struct conn_fd){.file = get_file(file), .task = w->name, .fd = fd};
	return 0;
}

static int make_room(struct conn_socks *s)
{
	u32 room = s->room ? s->room * 2 : CONN_SOCKS_ROOM;
	struct conn_fd *fds;

	if (room > SSI_CONN_SOCKETS_MAX)
		return -EMFILE;
	fds = kvmalloc_array(room, sizeof(*fds), GFP_KERNEL_ACCOUNT);
	if (!fds)
		return -ENOMEM;
	if (s->n)
		memcpy(fds, s->fds, s->n * sizeof(*fds));
	kvfree(s->fds);
	s->fds = fds;
	s->room = room;
	return 0;
}

static int walk_task(struct conn_walk *w, struct task_struct *task)
{
	int err, next = 0;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		err = w->socks->n == w->socks->room ? make_room(w->socks) : 0;
		if (err)
			return err;
		task_lock(task);
		next = task->files ? iterate_fd(task->files, next ? next - 1 : 0, get_socket, w) : 0;
		task_unlock(task);
		cond_resched();
	} while (next);
	return w->foreign ? -EXDEV : 0;
}

static bool may_trace(const struct sk_buff *skb, struct task_struct *task)
{
	bool may;

	rcu_read_lock();
	may = netlink_ns_capable(skb, __task_cred(task)->user_ns, CAP_SYS_PTRACE);
	rcu_read_unlock();
	return may;
}

static int get_task(struct conn_walk *w, const struct conn_request *rq, const struct ssi_conn_task *t)
{
	struct pid *pid = find_get_pid(t->pid);
	struct task_struct *task = pid ? get_pid_task(pid, PIDTYPE_TGID) : NULL;
	int err;

	put_pid(pid);
	if (!task) {
		NL_SET_ERR_MSG_FMT(rq->extack, "there is no process %u", t->pid);
		return -ESRCH;
	}
	w->name = t->name;
	err = may_trace(rq->skb, task) ? walk_task(w, task) : -EPERM;
	put_task_struct(task);
	if (err == -EPERM)
		NL_SET_ERR_MSG_FMT(rq->extack, "process %u needs CAP_SYS_PTRACE over it", t->pid);
	else if (err == -EXDEV)
		NL_SET_ERR_MSG_FMT(rq->extack, "process %u has TCP in another network namespace", t->pid);
	else if (err == -EMFILE)
		NL_SET_ERR_MSG(rq->extack, "too many TCP sockets");
	return err;
}

int conn_socks_get(struct conn_socks *s, const struct conn_request *rq)
{
	struct conn_walk w = {.socks = s, .net = rq->net};
	int err = 0;
	u32 i;

	*s = (struct conn_socks){};
	for (i = 0; !err && i < rq->ntasks; i++)
		err = get_task(&w, rq, &rq->tasks[i]);
	if (err)
		conn_socks_put(s);
	return err;
}

static int compare(unsigned long a, unsigned long b)
{
	return a < b ? -1 : a > b;
}

static int by_file(const void *a, const void *b)
{
	const struct conn_fd *x = a, *y = b;

	return compare((unsigned long)x->file, (unsigned long)y->file);
}

void conn_socks_unique(struct conn_socks *s)
{
	u32 i, n = 0;

	sort(s->fds, s->n, sizeof(*s->fds), by_file, NULL);
	for (i = 0; i < s->n; i++) {
		if (n && s->fds[n - 1].file == s->fds[i].file)
			fput(s->fds[i].file);
		else
			s->fds[n++] = s->fds[i];
	}
	s->n = n;
}

static int by_fd(const void *a, const void *b)
{
	const struct conn_fd *x = a, *y = b;

	return compare(x->task, y->task) ?: compare(x->fd, y->fd);
}

void conn_socks_index(struct conn_socks *s)
{
	sort(s->fds, s->n, sizeof(*s->fds), by_fd, NULL);
}

struct socket *conn_socks_find(const struct conn_socks *s, u32 task, u32 fd)
{
	const struct conn_fd key = {.task = task, .fd = fd};
	const struct conn_fd *at = s->n ? bsearch(&key, s->fds, s->n, sizeof(key), by_fd) : NULL;

	return at ? sock_from_file(at->file) : NULL;
}

void conn_socks_put(struct conn_socks *s)
{
	u32 i;

	for (i = 0; i < s->n; i++) {
		fput(s->fds[i].file);
		cond_resched();
	}
	kvfree(s->fds);
	*s = (struct conn_socks){};
}
