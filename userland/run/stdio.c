// SPDX-License-Identifier: GPL-2.0
/*
 * Relays of an application's stdio. There is one application per process, so
 * the state is static. Channel 0 flows from the user to the application, 1 and
 * 2 the other way; `in` means towards this process, `out` away from it.
 */
#include "userland/run/stdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/keeper.h"
#include "userland/lib/log.h"
#include "userland/run/logfile.h"
#include "userland/run/loop.h"

#define CHAN_SIZE    (64 << 10)
#define FRAME_MAX    (CHAN_SIZE)
#define FRAME_HEAD   5
#define STREAM_ROOM  (256 << 10)
#define CHUNK	     (16 << 10)
#define TTY_RETRY_MS 500

struct chan {
	char buf[CHAN_SIZE];
	size_t len;
	size_t sent;	/* of len: went into the stream, not acknowledged yet */
	uint64_t base;	/* how many bytes came before buf[0] */
	uint64_t acked; /* told the other end that we have these */
	bool eof;	/* nothing comes behind what is in the buffer */
	bool eof_sent;
	bool closed; /* nobody reads it any more */
	bool closed_sent;
};

struct stream {
	struct watch w;
	char in[FRAME_MAX + FRAME_HEAD];
	size_t in_len;
	char out[STREAM_ROOM];
	size_t out_len;
	bool ready;   /* the other end told what it has */
	bool blocked; /* the next frame waits for room */
};

static struct chan chans[3];
static struct stream *stream;
static struct watch real[3], app[3];
static int opath[3] = {-1, -1, -1}; /* hold the pipes' inodes without being reader or writer */
static ino_t inodes[3];
static enum stdio_user user_side;
static bool app_away, frozen;
static bool tty_wait;
static struct timer tty_timer;
static const struct stdio_events *events;
static int exit_status;
static bool exiting, exit_sent;
static void (*finish_done)(void);

/* ---- channels --------------------------------------------------------------------- */

static void chan_drop(struct chan *c, size_t n)
{
	memmove(c->buf, c->buf + n, c->len - n);
	c->len -= n;
	c->base += n;
	c->sent = c->sent > n ? c->sent - n : 0;
}

static void chan_clear(struct chan *c)
{
	chan_drop(c, c->len);
}

static size_t chan_room(const struct chan *c)
{
	return c->closed ? CHUNK : CHAN_SIZE - c->len;
}

static void chan_add(struct chan *c, const char *data, size_t n)
{
	if (c->closed) {
		c->base += n;
		return;
	}
	memcpy(c->buf + c->len, data, n);
	c->len += n;
}

/* Does channel i leave this process through the stream? */
static bool to_stream(int i)
{
	return i == 0 ? app_away : user_side == STDIO_AWAY;
}

/* ---- stream ------------------------------------------------------------------------- */

static void stream_close(bool tell)
{
	struct stream *s = stream;
	bool delivered;

	if (!s)
		return;
	delivered = exit_sent && s->out_len == 0;
	stream = NULL;
	loop_unwatch(&s->w);
	close(s->w.fd);
	free(s);
	for (int i = 0; i < 3; i++) {
		chans[i].sent = 0;
		chans[i].eof_sent = chans[i].closed_sent = false;
	}
	exit_sent = false;
	if (delivered && finish_done)
		finish_done(); /* the supervisor has it all and hung up */
	else if (tell)
		events->lost();
}

static bool frame_room(size_t len)
{
	return stream && STREAM_ROOM - stream->out_len >= len + FRAME_HEAD;
}

static void frame_put(uint8_t kind, const void *data, size_t len)
{
	uint32_t be = htobe32((uint32_t)len);
	char *at = stream->out + stream->out_len;

	memcpy(at, &be, sizeof(be));
	at[4] = (char)kind;
	if (len)
		memcpy(at + FRAME_HEAD, data, len);
	stream->out_len += len + FRAME_HEAD;
}

static void put_hello(void)
{
	uint64_t have[3];

	for (int i = 0; i < 3; i++)
		have[i] = htobe64(chans[i].base + chans[i].len);
	frame_put(KEEPER_FRAME_HAVE, have, sizeof(have));
}

static void put_ack(int i)
{
	char ack[9];
	uint64_t have = chans[i].base + chans[i].len, be = htobe64(have);

	ack[0] = (char)i;
	memcpy(ack + 1, &be, sizeof(be));
	frame_put(KEEPER_FRAME_ACK, ack, sizeof(ack));
	chans[i].acked = have;
}

static void stream_fill_chan(int i)
{
	struct chan *c = &chans[i];
	uint8_t n = (uint8_t)i;

	if (!to_stream(i)) {
		if (c->acked != c->base + c->len && frame_room(9))
			put_ack(i);
		if (c->closed && !c->closed_sent && frame_room(1)) {
			frame_put(KEEPER_FRAME_CLOSED, &n, 1);
			c->closed_sent = true;
		}
		return;
	}
	while (c->sent < c->len) {
		size_t part = c->len - c->sent < CHUNK ? c->len - c->sent : CHUNK;

		if (!frame_room(part))
			return;
		frame_put(n, c->buf + c->sent, part);
		c->sent += part;
	}
	if (c->eof && !c->eof_sent && i == 0 && frame_room(0)) {
		frame_put(KEEPER_FRAME_STDIN_END, NULL, 0);
		c->eof_sent = true;
	}
}

static void stream_fill(void)
{
	uint32_t be = htobe32((uint32_t)exit_status);

	if (!stream || !stream->ready)
		return;
	for (int i = 0; i < 3; i++)
		stream_fill_chan(i);
	if (exiting && !exit_sent && user_side == STDIO_AWAY && chans[1].len == 0 && chans[2].len == 0 &&
	    frame_room(4)) {
		frame_put(KEEPER_FRAME_EXIT, &be, sizeof(be));
		exit_sent = true;
	}
}

static int take_have(struct chan *c, uint64_t have)
{
	if (c->closed)
		return 0;
	if (have < c->base || have > c->base + c->len)
		return -EPROTO;
	chan_drop(c, (size_t)(have - c->base));
	return 0;
}

static int frame_hello(const char *data, size_t len)
{
	uint64_t have[3];

	if (len != sizeof(have) || stream->ready)
		return -EPROTO;
	memcpy(have, data, sizeof(have));
	for (int i = 0; i < 3; i++)
		if (to_stream(i) && take_have(&chans[i], be64toh(have[i])) < 0)
			return -EPROTO;
	stream->ready = true;
	return 0;
}

static int frame_data(int i, const char *data, size_t len)
{
	if (to_stream(i))
		return -EPROTO;
	if (chan_room(&chans[i]) < len)
		return -EAGAIN;
	chan_add(&chans[i], data, len);
	return 0;
}

static int frame_ack(const char *data, size_t len)
{
	uint64_t have;

	if (len != 9 || data[0] < 0 || data[0] > 2 || !to_stream(data[0]))
		return -EPROTO;
	memcpy(&have, data + 1, sizeof(have));
	return take_have(&chans[(int)data[0]], be64toh(have));
}

static int frame_u32(const char *data, size_t len, uint32_t *out)
{
	uint32_t be;

	if (len != sizeof(be))
		return -EPROTO;
	memcpy(&be, data, sizeof(be));
	*out = be32toh(be);
	return 0;
}

static int frame_closed(const char *data, size_t len)
{
	if (len != 1 || data[0] < 0 || data[0] > 2)
		return -EPROTO;
	chans[(int)data[0]].closed = true;
	chan_clear(&chans[(int)data[0]]);
	return 0;
}

static int frame_take(uint8_t kind, const char *data, size_t len)
{
	uint32_t value = 0;

	if (!stream->ready && kind != KEEPER_FRAME_HAVE)
		return -EPROTO;
	switch (kind) {
	case 0:
	case 1:
	case 2:
		return frame_data(kind, data, len);
	case KEEPER_FRAME_STDIN_END:
		chans[0].eof = true;
		return 0;
	case KEEPER_FRAME_EXIT:
		if (frame_u32(data, len, &value) < 0 || !app_away)
			return -EPROTO;
		exiting = true;
		exit_status = (int)value;
		return 0;
	case KEEPER_FRAME_HAVE:
		return frame_hello(data, len);
	case KEEPER_FRAME_ACK:
		return frame_ack(data, len);
	case KEEPER_FRAME_SIGNAL:
		if (frame_u32(data, len, &value) < 0 || app_away)
			return -EPROTO;
		events->signalled((int)value);
		return 0;
	case KEEPER_FRAME_NOTIFY:
		if (app_away)
			events->notified(data, len);
		return 0;
	case KEEPER_FRAME_CLOSED:
		return frame_closed(data, len);
	default:
		return 0; /* of a newer version */
	}
}

/* Takes the whole frames that have come. A frame without room stays. */
static int stream_parse(void)
{
	struct stream *s = stream;
	size_t at = 0;
	int r = 0;

	s->blocked = false;
	while (s->in_len - at >= FRAME_HEAD) {
		uint32_t be, len;

		memcpy(&be, s->in + at, sizeof(be));
		len = be32toh(be);
		if (len > FRAME_MAX)
			return -EPROTO;
		if (s->in_len - at < FRAME_HEAD + len)
			break;
		r = frame_take((uint8_t)s->in[at + 4], s->in + at + FRAME_HEAD, len);
		if (stream != s)
			return 0;
		if (r < 0)
			break;
		at += FRAME_HEAD + len;
	}
	s->blocked = r == -EAGAIN;
	memmove(s->in, s->in + at, s->in_len - at);
	s->in_len -= at;
	return r == -EAGAIN ? 0 : r;
}

static void stream_event(struct watch *w, short revents)
{
	struct stream *s = stream;
	ssize_t n = 1;

	if (revents & (POLLIN | POLLHUP | POLLERR)) {
		n = recv(w->fd, s->in + s->in_len, sizeof(s->in) - s->in_len, MSG_DONTWAIT);
		if (n > 0)
			s->in_len += (size_t)n;
		if (n > 0 && stream_parse() < 0)
			n = 0;
	}
	if (stream != s)
		return;
	if (n > 0 && s->out_len && (revents & POLLOUT)) {
		n = send(w->fd, s->out, s->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			memmove(s->out, s->out + n, s->out_len - (size_t)n);
			s->out_len -= (size_t)n;
		}
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		stream_close(true);
}

static void stream_open(int fd)
{
	stream_close(false);
	stream = calloc(1, sizeof(*stream));
	if (!stream) {
		close(fd);
		return;
	}
	stream->w = (struct watch){.fd = fd, .fn = stream_event, .always = true};
	loop_watch(&stream->w);
	put_hello();
}

bool stdio_has_stream(void)
{
	return stream != NULL;
}

int stdio_send_signal(int sig)
{
	uint32_t be = htobe32((uint32_t)sig);

	if (!stream || !stream->ready || !frame_room(sizeof(be)))
		return -ENOTCONN;
	frame_put(KEEPER_FRAME_SIGNAL, &be, sizeof(be));
	return 0;
}

int stdio_send_notify(const char *text, size_t len)
{
	if (!stream || !stream->ready || len > CHUNK || !frame_room(len))
		return -ENOTCONN;
	frame_put(KEEPER_FRAME_NOTIFY, text, len);
	return 0;
}

/* ---- descriptors ----------------------------------------------------------------------- */

static void watch_close(struct watch *w)
{
	if (w->fd < 0)
		return;
	loop_unwatch(w);
	close(w->fd);
	w->fd = -1;
}

/* Nobody reads channel i: the application's next write fails, as it would with a plain pipe. */
static void chan_close(int i)
{
	chans[i].closed = true;
	chan_clear(&chans[i]);
	if (i == 1 || i == 2)
		watch_close(&app[i]);
}

static void source_read(int i, struct watch *w)
{
	struct chan *c = &chans[i];
	char scratch[CHUNK];
	size_t room = chan_room(c);
	char *to = c->closed ? scratch : c->buf + c->len;
	ssize_t n = read(w->fd, to, room < CHUNK ? room : CHUNK);

	if (n > 0) {
		if (c->closed)
			c->base += (uint64_t)n;
		else
			c->len += (size_t)n;
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 && errno == EIO && w == &real[0] && tcgetpgrp(w->fd) >= 0 &&
	    tcgetpgrp(w->fd) != getpgrp()) {
		tty_wait = true; /* a terminal that is not ours at the moment */
		loop_timer(&tty_timer, TTY_RETRY_MS);
		return;
	}
	c->eof = true;
	watch_close(w);
}

static void sink_write(int i, struct watch *w)
{
	struct chan *c = &chans[i];
	ssize_t n = write(w->fd, c->buf, c->len < PIPE_BUF ? c->len : PIPE_BUF);

	if (n > 0)
		chan_drop(c, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		chan_close(i);
		watch_close(w);
	}
}

static int index_in(const struct watch of[3], const struct watch *w)
{
	return w == &of[0] ? 0 : w == &of[1] ? 1 : 2;
}

static void real_event(struct watch *w, short revents)
{
	int i = index_in(real, w);

	if (i == 0)
		source_read(0, w);
	else if (revents & POLLOUT)
		sink_write(i, w);
	else if (revents & (POLLERR | POLLHUP | POLLNVAL)) {
		chan_close(i);
		watch_close(w);
	}
}

static void app_event(struct watch *w, short revents)
{
	int i = index_in(app, w);

	if (i > 0)
		source_read(i, w);
	else if (revents & POLLOUT)
		sink_write(0, w);
}

static void tty_again(struct timer *t)
{
	(void)t;
	tty_wait = false;
}

/* A description of our own where that is possible, so that O_NONBLOCK disturbs nobody. */
static int real_fd(int i)
{
	char path[32];
	struct stat st;
	int fd = -1, mode = i == 0 ? O_RDONLY : O_WRONLY;

	if (fstat(i, &st) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
		fd = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(i, F_DUPFD_CLOEXEC, 3);
}

void stdio_init(enum stdio_user user, const struct stdio_events *ev)
{
	events = ev;
	user_side = user;
	tty_timer.fn = tty_again;
	for (int i = 0; i < 3; i++) {
		app[i] = (struct watch){.fd = -1, .fn = app_event};
		real[i] = (struct watch){.fd = -1, .fn = real_event};
		if (user != STDIO_REAL)
			continue;
		real[i].fd = real_fd(i);
		if (real[i].fd >= 0)
			loop_watch(&real[i]);
		else if (i == 0)
			chans[0].eof = true;
		else
			chans[i].closed = true;
	}
	if (user == STDIO_LOG)
		chans[0].eof = true;
}

int stdio_pipes(uid_t uid, gid_t gid, int child[3])
{
	for (int i = 0; i < 3; i++) {
		char path[32];
		struct stat st;
		int p[2], own;

		if (pipe2(p, O_CLOEXEC) < 0)
			return -errno;
		own = i == 0 ? p[1] : p[0];
		child[i] = i == 0 ? p[0] : p[1];
		fcntl(own, F_SETFL, O_NONBLOCK);
		if (fchown(own, uid, gid) < 0 || fstat(own, &st) < 0)
			return -errno;
		inodes[i] = st.st_ino;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", own);
		if (opath[i] >= 0)
			close(opath[i]);
		opath[i] = open(path, O_PATH | O_CLOEXEC);
		watch_close(&app[i]);
		app[i].fd = own;
		loop_watch(&app[i]);
	}
	return 0;
}

void stdio_inodes(ino_t ino[3])
{
	memcpy(ino, inodes, sizeof(inodes));
}

void stdio_stream_user(int fd)
{
	user_side = STDIO_AWAY;
	stream_open(fd);
}

void stdio_stream_app(int fd)
{
	app_away = true;
	stream_open(fd);
}

void stdio_user_log(void)
{
	stream_close(false);
	user_side = STDIO_LOG;
	chans[0].eof = true;
}

void stdio_freeze(bool on)
{
	frozen = on;
}

/* ---- before each poll -------------------------------------------------------------------- */

static void prepare_user(void)
{
	real[0].events = !chans[0].eof && !chans[0].closed && !tty_wait && chan_room(&chans[0]) ? POLLIN : 0;
	for (int i = 1; i < 3; i++) {
		if (user_side == STDIO_LOG && chans[i].len) {
			logfile_write(chans[i].buf, chans[i].len);
			chan_clear(&chans[i]);
		}
		real[i].events = chans[i].len ? POLLOUT : 0;
		real[i].always = user_side == STDIO_REAL;
	}
}

static void prepare_app(void)
{
	for (int i = 1; i < 3; i++) {
		if (chans[i].closed)
			watch_close(&app[i]);
		app[i].events = chan_room(&chans[i]) && !frozen ? POLLIN : 0;
		app[i].always = app[i].events;
	}
	app[0].events = chans[0].len && !frozen ? POLLOUT : 0;
	if (chans[0].eof && chans[0].len == 0 && !frozen)
		watch_close(&app[0]);
}

static void prepare_stream(void)
{
	if (!stream)
		return;
	if (stream->blocked && stream_parse() < 0) {
		stream_close(true);
		return;
	}
	if (!stream)
		return;
	stream_fill();
	stream->w.events = (stream->in_len < sizeof(stream->in) ? POLLIN : 0) |
			   (stream->out_len ? POLLOUT : 0);
}

static bool all_delivered(void)
{
	if (user_side == STDIO_AWAY)
		return false; /* until the other end has the status and hangs up */
	for (int i = 1; i < 3; i++)
		if (chans[i].len || app[i].fd >= 0)
			return false;
	return true;
}

void stdio_prepare(void)
{
	prepare_user();
	prepare_app();
	prepare_stream();
	if (!exiting || !all_delivered())
		return;
	exiting = false;
	if (app_away)
		events->exited(exit_status);
	else if (finish_done)
		finish_done();
}

void stdio_finish(int status, void (*done)(void))
{
	exiting = true;
	exit_status = status;
	finish_done = done;
}

/* ---- leaving and arriving -------------------------------------------------------------------- */

void stdio_leave(void)
{
	for (int i = 0; i < 3; i++) {
		watch_close(&app[i]);
		if (opath[i] >= 0)
			close(opath[i]);
		opath[i] = -1;
		if (i > 0)
			chans[i].eof = false;
	}
}

/* Copies what waits in a pipe, leaving it there: the freeze may be undone. */
static ssize_t peek_pipe(int i, char **out)
{
	_close_ int from = -1;
	_close_ int r = -1;
	_close_ int w = -1;
	char path[32];
	int p[2], size;
	ssize_t n, got = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", opath[i]);
	from = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 || pipe2(p, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	r = p[0];
	w = p[1];
	size = fcntl(from, F_GETPIPE_SZ);
	if (size > 0)
		fcntl(w, F_SETPIPE_SZ, size);
	n = tee(from, w, INT_MAX, SPLICE_F_NONBLOCK);
	if (n <= 0)
		return n == 0 || errno == EAGAIN ? 0 : -errno;
	*out = malloc((size_t)n);
	while (*out && got < n) {
		ssize_t part = read(r, *out + got, (size_t)(n - got));

		if (part <= 0)
			return -EIO;
		got += part;
	}
	return *out ? got : -ENOMEM;
}

static int write_file(const char *dir, const char *name, const char *a, size_t a_len, const char *b,
		      size_t b_len)
{
	char path[PATH_MAX];
	_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || (a_len && write(fd, a, a_len) != (ssize_t)a_len) ||
	    (b_len && write(fd, b, b_len) != (ssize_t)b_len))
		return -EIO;
	return 0;
}

static const char *const names[] = {"stdin", "stdout", "stderr"};

/*
 * A channel's file holds its bytes in order: of stdin what waits in the pipe, then what this process
 * holds; of the others the reverse. What this process holds stays when the user is here. `at` is where
 * the file lies in the stream: its end for stdin, its beginning for the others.
 */
static json_t *export_chan(const char *dir, int i)
{
	struct chan *c = &chans[i];
	bool take = user_side == STDIO_AWAY;
	size_t own = take ? c->len : 0;
	uint64_t at = c->base + (take == (i == 0) ? c->len : 0);
	_free_ char *unread = NULL;
	ssize_t n = peek_pipe(i, &unread);
	bool end = i == 0 && (app[0].fd < 0 || (take && c->eof));
	int err;

	if (n < 0)
		return NULL;
	err = i == 0 ? write_file(dir, names[i], unread, (size_t)n, c->buf, own)
		     : write_file(dir, names[i], c->buf, own, unread, (size_t)n);
	return err < 0 ? NULL
		       : json_pack("{s:I s:b s:b}", "at", (json_int_t)at, "closed", c->closed, "end", end);
}

json_t *stdio_export(const char *dir)
{
	json_t *state = json_object();

	prepare_user(); /* a log takes what there is */
	for (int i = 0; i < 3; i++) {
		json_t *chan = export_chan(dir, i);

		if (!chan) {
			json_decref(state);
			return NULL;
		}
		json_object_set_new(state, names[i], chan);
	}
	return state;
}

#define CARRIED_MAX (2 << 20) /* a pipe's greatest size and two buffers */

static int read_file(const char *dir, const char *name, char **out, size_t *len)
{
	char path[PATH_MAX];
	_close_ int fd = -1;
	ssize_t n;

	*len = 0;
	*out = malloc(CARRIED_MAX);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || !*out)
		return -errno;
	while (*len < CARRIED_MAX && (n = read(fd, *out + *len, CARRIED_MAX - *len)) > 0)
		*len += (size_t)n;
	return 0;
}

/* Puts bytes into the pipe of channel i, as if they waited there. Returns how many. */
static size_t fill_pipe(int i, const char *data, size_t len)
{
	char path[32];
	_close_ int fd = -1;
	size_t done = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", opath[i]);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (len > CHAN_SIZE)
		fcntl(fd, F_SETPIPE_SZ, (int)len + CHAN_SIZE);
	while (done < len) {
		ssize_t n = write(fd, data + done, len - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static int import_stdin(const char *data, size_t len, uint64_t at, bool home)
{
	struct chan *c = &chans[0];
	struct chan kept = *c;
	size_t done;

	if (home && take_have(&kept, at) < 0)
		return -EPROTO;
	if (!home)
		kept.len = 0;
	done = fill_pipe(0, data, len);
	if (len - done + kept.len > CHAN_SIZE)
		return -ENOBUFS;
	c->base = at - (len - done);
	c->acked = c->base;
	c->len = 0;
	chan_add(c, data + done, len - done);
	chan_add(c, kept.buf, kept.len);
	return 0;
}

static int import_output(int i, const char *data, size_t len, uint64_t at, bool home)
{
	struct chan *c = &chans[i];
	uint64_t have = c->base + c->len;
	size_t part;

	if (home && (at > have || have - at > len))
		return -EPROTO;
	if (home) {
		data += have - at;
		len -= (size_t)(have - at);
	} else {
		c->base = c->acked = at;
		c->len = 0;
	}
	part = len < CHAN_SIZE - c->len ? len : CHAN_SIZE - c->len;
	chan_add(c, data, part);
	return fill_pipe(i, data + part, len - part) == len - part ? 0 : -ENOBUFS;
}

static int import_chan(const char *dir, int i, json_t *state, bool home)
{
	uint64_t at = (uint64_t)json_integer_value(json_object_get(state, "at"));
	_free_ char *data = NULL;
	size_t len;
	int err;

	chans[i].sent = 0;
	chans[i].closed |= json_is_true(json_object_get(state, "closed"));
	if (chans[i].closed)
		return 0;
	err = read_file(dir, names[i], &data, &len);
	if (err == 0)
		err = i == 0 ? import_stdin(data, len, at, home) : import_output(i, data, len, at, home);
	if (i == 0 && !home)
		chans[0].eof |= json_is_true(json_object_get(state, "end"));
	return err;
}

int stdio_import(const char *dir, json_t *state)
{
	bool home = user_side == STDIO_REAL; /* it comes back to where its user is */
	int err = 0;

	for (int i = 0; i < 3 && !err; i++)
		err = import_chan(dir, i, json_object_get(state, names[i]), home);
	if (home) {
		stream_close(false);
		app_away = false;
	}
	return err;
}
