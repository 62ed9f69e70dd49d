/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON objects, one a line, over a stream socket; see jsonline.h.
 * A struct jsonline belongs to one thread. The buffer holds at most one line of
 * the greatest length and what one read brought behind it.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/fdpass.h"
#include "userland/lib/jsonline.h"

#define READ_CHUNK (64 << 10)

void jsonline_init(struct jsonline *j, int fd)
{
	*j = (struct jsonline){.fd = fd};
}

void jsonline_close(struct jsonline *j)
{
	while (j->n_fds > 0)
		close(j->fds[--j->n_fds]);
	if (j->fd >= 0)
		close(j->fd);
	free(j->buf);
	jsonline_init(j, -1);
}

char *jsonline_text(const json_t *obj, size_t *len)
{
	const size_t flags = JSON_COMPACT;
	size_t need = json_dumpb(obj, NULL, 0, flags);
	char *text;

	if (need == 0 || need >= JSONLINE_MAX) {
		errno = need ? EMSGSIZE : EINVAL;
		return NULL;
	}
	text = malloc(need + 2);
	if (!text)
		return NULL;
	json_dumpb(obj, text, need, flags);
	text[need] = '\n';
	text[need + 1] = '\0';
	*len = need + 1;
	return text;
}

static int wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* One sendmsg(); fds ride on its first byte. */
static ssize_t send_some(int fd, const char *data, size_t len, const int *fds, int n, int flags)
{
	FDPASS_BUFFER(control, JSONLINE_FDS);
	struct iovec iov = {.iov_base = (char *)data, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	fdpass_put(&msg, control.buf, fds, n);
	sent = sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
	return sent < 0 ? -errno : sent;
}

int jsonline_send(struct jsonline *j, const json_t *obj, const int *fds, int n)
{
	_free_ char *text = NULL;
	size_t len, done = 0;

	if (n < 0 || n > JSONLINE_FDS)
		return -EINVAL;
	text = jsonline_text(obj, &len);
	if (!text)
		return -errno;
	while (done < len) {
		ssize_t r = send_some(j->fd, text + done, len - done, fds, n, 0);

		if (r == -EAGAIN)
			r = wait_for(j->fd, POLLOUT);
		else if (r > 0)
			n = 0;
		if (r < 0 && r != -EINTR)
			return r;
		if (r > 0)
			done += r;
	}
	return 0;
}

int jsonline_send_now(struct jsonline *j, const json_t *obj, const int *fds, int n)
{
	_free_ char *text = NULL;
	ssize_t sent;
	size_t len;

	if (n < 0 || n > JSONLINE_FDS)
		return -EINVAL;
	text = jsonline_text(obj, &len);
	if (!text)
		return -errno;
	if (len > JSONLINE_NOW_MAX)
		return -EMSGSIZE;
	do
		sent = send_some(j->fd, text, len, fds, n, MSG_DONTWAIT);
	while (sent == -EINTR);
	if (sent >= 0 && (size_t)sent < len)
		return -EPROTO;
	return sent < 0 ? (int)sent : 0;
}

/* Keeps the fds of a received message; too many of them are closed. */
static int keep_fds(struct jsonline *j, struct msghdr *msg)
{
	int r = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t i, n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (j->n_fds < JSONLINE_FDS) {
				j->fds[j->n_fds++] = fd;
			} else {
				close(fd);
				r = -EPROTO;
			}
		}
	}
	return r;
}

/* Room for one more read, or -ENOBUFS: the buffer holds a full line already. */
static int make_room(struct jsonline *j)
{
	size_t size;
	char *buf;

	if (j->start > 0) {
		memmove(j->buf, j->buf + j->start, j->len - j->start);
		j->len -= j->start;
		j->seen -= j->start;
		j->start = 0;
	}
	if (j->len > JSONLINE_MAX)
		return -ENOBUFS;
	if (j->size - j->len >= READ_CHUNK / 2)
		return 0;
	size = j->size ? j->size * 2 : READ_CHUNK;
	if (size > JSONLINE_MAX + READ_CHUNK)
		size = JSONLINE_MAX + READ_CHUNK;
	buf = realloc(j->buf, size);
	if (!buf)
		return -ENOMEM;
	j->buf = buf;
	j->size = size;
	return 0;
}

static ssize_t fill(struct jsonline *j, int flags)
{
	FDPASS_BUFFER(control, JSONLINE_FDS);
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	ssize_t got;
	int r;

	r = make_room(j);
	if (r < 0)
		return r;
	iov.iov_base = j->buf + j->len;
	iov.iov_len = j->size - j->len;
	do
		got = recvmsg(j->fd, &msg, flags | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	r = keep_fds(j, &msg);
	if (r < 0)
		return r;
	j->len += got;
	return got;
}

ssize_t jsonline_fill(struct jsonline *j)
{
	return fill(j, MSG_DONTWAIT);
}

int jsonline_next(struct jsonline *j, json_t **out)
{
	const char *line, *end;
	size_t len;
	json_t *obj;

	if (j->len == j->seen)
		return j->len - j->start > JSONLINE_MAX ? -EPROTO : 0;
	line = j->buf + j->start;
	end = memchr(j->buf + j->seen, '\n', j->len - j->seen);
	len = end ? (size_t)(end + 1 - line) : j->len - j->start;
	if (len > JSONLINE_MAX)
		return -EPROTO;
	if (!end) {
		j->seen = j->len;
		return 0;
	}
	obj = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(obj)) {
		json_decref(obj);
		return -EPROTO;
	}
	j->start += len;
	j->seen = j->start;
	*out = obj;
	return 1;
}

int jsonline_recv(struct jsonline *j, json_t **out)
{
	for (;;) {
		ssize_t got;
		int r = jsonline_next(j, out);

		if (r)
			return r;
		got = fill(j, 0);
		if (got == -EAGAIN)
			got = wait_for(j->fd, POLLIN);
		else if (got == 0) /* half a line is no line */
			return j->len > j->start ? -EPROTO : 0;
		if (got < 0)
			return got;
	}
}

int jsonline_take_fd(struct jsonline *j)
{
	int fd;

	if (j->n_fds == 0)
		return -1;
	fd = j->fds[0];
	memmove(j->fds, j->fds + 1, --j->n_fds * sizeof(int));
	return fd;
}

size_t jsonline_rest(struct jsonline *j, const char **data)
{
	*data = j->buf ? j->buf + j->start : "";
	return j->len - j->start;
}

/* Length of the UTF-8 sequence at s (at most `left` bytes), 0 when it is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	uint32_t code;
	size_t n, i;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
	if (n == 0 || n > left)
		return 0;
	code = s[0] & (0x7f >> n);
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && code < 0x800) || (n == 4 && (code < 0x10000 || code > 0x10ffff)) ||
	    (code >= 0xd800 && code <= 0xdfff) || (code >= 0x80 && code < 0xa0))
		return 0;
	return n;
}

json_t *jsonline_string(const char *s, size_t max)
{
	size_t i, n, len = strnlen(s, max);
	_free_ char *clean = malloc(len + 1);

	if (!clean)
		return NULL;
	memcpy(clean, s, len);
	for (i = 0; i < len; i += n) {
		n = utf8_len((unsigned char *)clean + i, len - i);
		if (n == 0) {
			clean[i] = '?';
			n = 1;
		}
	}
	return json_stringn_nocheck(clean, len);
}
