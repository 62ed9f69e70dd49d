/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TCP connections that move; see ssi/core.h for what user space is promised and
 * ssi/conn.h for the file.
 *
 *   conn.c         the three operations: whose sockets, which file
 *   conn_socks.c   the TCP sockets of processes
 *   conn_file.c    reading and writing
 *   conn_export.c  one socket into the file
 *   conn_plain.c   has it anything that is not in there?
 *   conn_import.c  and out of it
 */
#ifndef SSI_CORE_CONN_H
#define SSI_CORE_CONN_H

#include <linux/fs.h>
#include <linux/net.h>
#include <linux/netlink.h>
#include <linux/types.h>
#include <ssi/conn.h>

struct net;
struct sk_buff;

/* ---- the operations: may sleep, in the context of who asks ----------------------- */
struct conn_request {
	const struct sk_buff *skb; /* whose sender's rights count */
	struct net *net;
	const struct ssi_conn_task *tasks;
	u32 ntasks;
	u32 fd; /* of current; for conn_export() and conn_import() */
	struct netlink_ext_ack *extack;
};

/* How many connections, or an error with a text. */
int conn_export(const struct conn_request *rq);
int conn_import(const struct conn_request *rq);
int conn_try(const struct conn_request *rq);
int conn_run(const struct conn_request *rq, u32 advance_ms);

/* ---- the TCP sockets of processes -------------------------------------------------- */
struct conn_fd {
	struct file *file; /* a reference */
	u32 task;	   /* its name */
	u32 fd;
};

struct conn_socks {
	struct conn_fd *fds;
	u32 n;
	u32 room;
};

/* All fds; then each socket once; then all, for conn_socks_find(). */
int conn_socks_get(struct conn_socks *s, const struct conn_request *rq);
void conn_socks_unique(struct conn_socks *s);
void conn_socks_index(struct conn_socks *s);
struct socket *conn_socks_find(const struct conn_socks *s, u32 task, u32 fd);
void conn_socks_put(struct conn_socks *s);

/* ---- the file ---------------------------------------------------------------------- */
struct conn_file {
	struct file *file; /* a reference */
	loff_t pos;
	u8 *buf;
	size_t room;
	size_t at;  /* reading: what of it was used */
	size_t len; /* what of it is valid */
};

int conn_file_open(struct conn_file *f, u32 fd, fmode_t mode, struct netlink_ext_ack *extack);
void conn_file_close(struct conn_file *f);

/*
 * Writing is to memory, so that it may be done under a socket's lock; flush is not. Begin
 * gives room for len bytes, end fixes the length of the part that begin began.
 */
int conn_put(struct conn_file *f, u16 type, const void *data, u32 len);
void *conn_put_room(struct conn_file *f, u16 type, u32 len);
int conn_put_begin(struct conn_file *f, u16 type, size_t *at);
void conn_put_end(struct conn_file *f, size_t at);
int conn_put_head(struct conn_file *f);
int conn_flush(struct conn_file *f);

/* A part in memory, until the next one is read from the file. */
struct conn_part {
	const u8 *data;
	u32 len;
	u16 type;
	u16 flags;
};

int conn_get_head(struct conn_file *f);
/* The next part of the file, whole. -EINVAL, -EMSGSIZE, -ENOMEM, -EIO. */
int conn_get(struct conn_file *f, struct conn_part *part);
/* The next part inside of another: true, moves on; false at the end; -EINVAL in *err. */
bool conn_inside(struct conn_part *outer, struct conn_part *part, int *err);
/* As much as both know, zeros for the rest. */
void conn_read(void *to, size_t size, const struct conn_part *part);

/* ---- one socket ---------------------------------------------------------------------- */
/* 1: exported and silent; 0: there is no connection; an error with *why. Takes the socket's lock. */
int conn_export_one(struct sock *sk, const struct conn_fd *fd, struct conn_file *f, const char **why);
/* Under the socket's lock. */
bool conn_plain(const struct sock *sk);
/* conn_export_one() without doing it. */
int conn_try_one(struct sock *sk, const char **why);
/* `part`: a connection. An error with *why: the socket is none again, or silent. */
int conn_import_one(struct socket *sock, const struct ssi_conn_ident *id, struct conn_part part,
		    const char **why);
int conn_ident(struct ssi_conn_ident *id, struct conn_part part);
/* 1: it was silent. */
int conn_run_one(struct sock *sk, u32 advance_ms);

#endif
