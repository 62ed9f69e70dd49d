// SPDX-License-Identifier: GPL-2.0
/*
 * The three operations on the TCP connections of processes.  Sockets are taken one after
 * the other, each under its own lock only; that nothing changes meanwhile is up to who stopped
 * the processes and holds the packets, and harms nobody else when it is not so.
 */
#include <linux/sched/signal.h>
#include <net/sock.h>

#include "conn.h"

#define CONN_FLUSH (32u << 10) /* bytes in memory that are worth a write */

/* Which socket it was that an operation stopped at. */
static int stopped_at(const struct conn_request *rq, u32 task, u32 fd, int err, const char *why)
{
	NL_SET_ERR_MSG_FMT(rq->extack, "%u fd %u: %s", task, fd, why);
	return err;
}

static int failed(const struct conn_request *rq, int err)
{
	if (err == -EPROTONOSUPPORT)
		NL_SET_ERR_MSG(rq->extack, "the file is of another format than this module's");
	else if (err == -EINVAL || err == -EMSGSIZE)
		NL_SET_ERR_MSG(rq->extack, "the file is damaged or no file of connections");
	else if (err != -ENOMEM)
		NL_SET_ERR_MSG(rq->extack, "the file cannot be read or written");
	return err;
}

static struct sock *sk_of(const struct conn_fd *fd)
{
	return sock_from_file(fd->file)->sk;
}

static int may_go_on(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* ---- export --------------------------------------------------------------------------- */
static int export_all(const struct conn_request *rq, struct conn_socks *s, struct conn_file *f, u32 *done)
{
	struct ssi_conn_end end = {};
	const char *why = NULL;
	int ret = conn_put_head(f);

	for (*done = 0; ret >= 0 && *done < s->n; ++*done) {
		struct conn_fd *fd = &s->fds[*done];

		ret = may_go_on() ?: conn_export_one(sk_of(fd), fd, f, &why);
		if (ret < 0)
			return why ? stopped_at(rq, fd->task, fd->fd, ret, why) : ret;
		end.connections += ret;
		if (f->len >= CONN_FLUSH)
			ret = conn_flush(f);
	}
	if (ret >= 0)
		ret = conn_put(f, SSI_CONN_END, &end, sizeof(end)) ?: conn_flush(f);
	return ret < 0 ? failed(rq, ret) : (int)end.connections;
}

int conn_export(const struct conn_request *rq)
{
	struct conn_socks s;
	struct conn_file f;
	u32 done = 0;
	int ret;

	ret = conn_socks_get(&s, rq);
	if (ret)
		return ret;
	ret = conn_file_open(&f, rq->fd, FMODE_WRITE, rq->extack);
	if (ret)
		goto put;
	conn_socks_unique(&s);
	ret = export_all(rq, &s, &f, &done);
	while (ret < 0 && done)
		conn_run_one(sk_of(&s.fds[--done]), 0);
	conn_file_close(&f);
put:
	conn_socks_put(&s);
	return ret;
}

int conn_try(const struct conn_request *rq)
{
	const char *why = NULL;
	struct conn_socks s;
	int ret, n = 0;
	u32 i;

	ret = conn_socks_get(&s, rq);
	if (ret)
		return ret;
	conn_socks_unique(&s);
	for (i = 0; ret >= 0 && i < s.n; i++) {
		ret = may_go_on() ?: conn_try_one(sk_of(&s.fds[i]), &why);
		if (ret < 0 && why)
			stopped_at(rq, s.fds[i].task, s.fds[i].fd, ret, why);
		n += ret;
	}
	conn_socks_put(&s);
	return ret < 0 ? ret : n;
}

/* ---- import --------------------------------------------------------------------------- */
static int import_connection(const struct conn_request *rq, const struct conn_socks *s,
			     const struct conn_part *part)
{
	const char *why = "what the file has of it cannot be read";
	struct ssi_conn_ident id;
	struct socket *sock;
	int err;

	err = conn_ident(&id, *part);
	if (err)
		return failed(rq, err);
	sock = conn_socks_find(s, id.task, id.fd);
	if (!sock)
		return stopped_at(rq, id.task, id.fd, -ENOENT, "there is no TCP socket");
	err = conn_import_one(sock, &id, *part, &why);
	return err ? stopped_at(rq, id.task, id.fd, err, why) : 0;
}

static int import_end(const struct conn_request *rq, const struct conn_part *part, u32 count)
{
	struct ssi_conn_end end;

	conn_read(&end, sizeof(end), part);
	return end.connections == count ? (int)count : failed(rq, -EINVAL);
}

static int import_all(const struct conn_request *rq, const struct conn_socks *s, struct conn_file *f)
{
	struct conn_part part;
	u32 count = 0;
	int err;

	err = conn_get_head(f);
	if (err)
		return failed(rq, err);
	for (;;) {
		err = may_go_on();
		if (err)
			return err;
		err = conn_get(f, &part);
		if (!err && part.type == SSI_CONN_END)
			return import_end(rq, &part, count);
		if (!err && part.type != SSI_CONN_CONNECTION && part.flags & SSI_CONN_NEEDED)
			err = -EPROTONOSUPPORT;
		if (err)
			return failed(rq, err);
		if (part.type != SSI_CONN_CONNECTION)
			continue;
		err = import_connection(rq, s, &part);
		if (err)
			return err;
		if (++count > s->n)
			return failed(rq, -EINVAL);
	}
}

int conn_import(const struct conn_request *rq)
{
	struct conn_socks s;
	struct conn_file f;
	int ret;

	ret = conn_socks_get(&s, rq);
	if (ret)
		return ret;
	ret = conn_file_open(&f, rq->fd, FMODE_READ, rq->extack);
	if (ret)
		goto put;
	conn_socks_index(&s);
	ret = import_all(rq, &s, &f);
	conn_file_close(&f);
put:
	conn_socks_put(&s);
	return ret;
}

/* ---- run ------------------------------------------------------------------------------ */
int conn_run(const struct conn_request *rq, u32 advance_ms)
{
	struct conn_socks s;
	int ret, n = 0;
	u32 i;

	ret = conn_socks_get(&s, rq);
	if (ret)
		return ret;
	for (i = 0; i < s.n; i++) {
		n += conn_run_one(sk_of(&s.fds[i]), advance_ms);
		cond_resched();
	}
	conn_socks_put(&s);
	return n;
}
