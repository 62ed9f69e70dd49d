// SPDX-License-Identifier: GPL-2.0
/*
 * Bulk: a thread that owns the connection alone moves bytes between the network
 * end (TLS or clear) and the local end of the socket pair, both nonblocking,
 * until both directions have ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secure_int.h"
#include "userland/lib/grow.h"

#define CHUNK  65536
#define ROUNDS 16   /* then look whether an end is dead */
#define MUCH   4096 /* so much at once: more may wait; else whoever polls tells of it */

void secure_bytes_add(struct secure_bytes *b, const void *data, size_t len)
{
	b->data = grow(b->data, &b->size, b->len, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void secure_bytes_drop(struct secure_bytes *b, size_t len)
{
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
}

void secure_bytes_free(struct secure_bytes *b)
{
	OPENSSL_cleanse(b->data, b->size);
	free(b->data);
	*b = (struct secure_bytes){0};
}

static void *room(struct secure_bytes *b)
{
	if (b->size < CHUNK) {
		b->data = realloc(b->data, CHUNK);
		if (!b->data)
			abort();
		b->size = CHUNK;
	}
	return b->data;
}

/* Fill an empty buffer. 1 moved something, 0 nothing now, negative: broken. */
static int fill_from_net(struct secure_conn *c)
{
	ssize_t n;

	if (c->in.len || c->net_eof || !c->net_ready)
		return 0;
	n = secure_net_read(c, room(&c->in), CHUNK);
	c->net_ready = n >= MUCH || (n > 0 && secure_net_has_more(c));
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	c->net_eof = !n;
	c->in.len = (size_t)n;
	return 1;
}

static int fill_from_local(struct secure_conn *c)
{
	ssize_t n;

	if (c->out.len || c->local_eof || !c->local_ready)
		return 0;
	n = read(c->local_fd, room(&c->out), CHUNK);
	c->local_ready = n >= MUCH;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	c->local_eof = !n;
	c->out.len = (size_t)n;
	return 1;
}

static int drain_to_local(struct secure_conn *c)
{
	ssize_t n;

	if (!c->in.len) {
		if (!c->net_eof || c->shut_local)
			return 0;
		shutdown(c->local_fd, SHUT_WR);
		c->shut_local = true;
		return 1;
	}
	n = send(c->local_fd, c->in.data, c->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	secure_bytes_drop(&c->in, (size_t)n);
	return 1;
}

static int drain_to_net(struct secure_conn *c)
{
	ssize_t n;

	if (!c->out.len) {
		if (!c->local_eof || c->sent_eof)
			return 0;
		secure_tls_shutdown(c);
		return 1;
	}
	n = secure_net_write(c, c->out.data, c->out.len);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	secure_bytes_drop(&c->out, (size_t)n);
	return 1;
}

/* 1 more to do at once, 0 wait for the fds, negative: finished or broken. */
static int pump_some(struct secure_conn *c)
{
	for (int i = 0; i < ROUNDS; i++) {
		int (*const steps[])(struct secure_conn *) = {drain_to_local, drain_to_net, fill_from_net,
							      fill_from_local};
		int moved = 0;

		for (size_t j = 0; j < 4; j++) {
			int r = steps[j](c);

			if (r < 0)
				return r;
			moved += r;
		}
		/* The local reader is gone and all is told: nobody waits for more. */
		if (c->local_eof && c->sent_eof && (c->shut_local || c->net_eof))
			return -EPIPE;
		if (!moved)
			return 0;
	}
	return 1;
}

static int net_events(const struct secure_conn *c)
{
	return (c->in.len || c->net_eof ? 0 : POLLIN) |
	       (c->want_write || (c->out.len && !c->ssl) ? POLLOUT : 0);
}

static int local_events(const struct secure_conn *c, bool again)
{
	return (c->out.len || c->local_eof ? 0 : POLLIN) | (c->in.len || again ? POLLOUT : 0);
}

static void *pump_main(void *arg)
{
	struct secure_conn *c = arg;
	int r;

	while ((r = pump_some(c)) >= 0) {
		struct pollfd fds[] = {{c->net_fd, (short)net_events(c), 0},
				       {c->local_fd, (short)local_events(c, r > 0), 0}};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		c->net_ready = c->local_ready = true;
		/* A dead end that nothing is expected from would spin. */
		if (!fds[0].events && (fds[0].revents & (POLLERR | POLLHUP)))
			break;
		if (!fds[1].events && (fds[1].revents & (POLLERR | POLLHUP)))
			break;
	}
	secure_tls_free(c);
	close(c->net_fd);
	close(c->local_fd);
	secure_bytes_free(&c->in);
	secure_bytes_free(&c->out);
	free(c);
	return NULL;
}

/* The loop has let go of the connection; from here it is the thread's. */
void secure_pump_thread(struct secure_conn *c)
{
	sigset_t all, old;
	pthread_t thread;

	json_decref(c->hello);
	c->hello = NULL;
	fcntl(c->local_fd, F_SETFL, fcntl(c->local_fd, F_GETFL) | O_NONBLOCK);
	secure_conn_unlink(c);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&thread, NULL, pump_main, c)) {
		shutdown(c->local_fd, SHUT_RDWR);
		shutdown(c->net_fd, SHUT_RDWR);
		pump_main(c);
	} else {
		pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}
