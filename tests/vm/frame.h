/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Frames of the exec channel between vmexec (host) and vm-agent (guest), over a virtio-serial port.
 *
 * A frame is MARK, then escaped bytes: type, session (4), payload; then MARK. MARK never occurs inside, so
 * either side finds its feet after the other one died in the middle. A session number is drawn by the
 * host; frames of another session are stale and dropped.
 *
 * host -> guest: 'H' hello, 'X' run (argv, each ended by a NUL), 'I' stdin, 'E' end of stdin
 * guest -> host: 'R' ready, 'o' stdout, 'e' stderr, 'x' end (1 byte: exit status, 1 byte: signal)
 *
 * One thread each: nothing is locked.
 */
#ifndef TESTS_VM_FRAME_H
#define TESTS_VM_FRAME_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define FRAME_MARK    0x7e
#define FRAME_ESCAPE  0x7d
#define FRAME_PAYLOAD 16384
#define FRAME_HEAD    5

/* Bytes on their way to the channel. */
struct frame_out {
	size_t start, end;
	uint8_t buf[8 * FRAME_PAYLOAD];
};

/* The frame that is being received: complete when frame_get() says so. */
struct frame_in {
	size_t len;
	bool open, escaped, too_long;
	uint8_t buf[FRAME_HEAD + FRAME_PAYLOAD];
};

static inline size_t frame_room(const struct frame_out *out)
{
	return sizeof(out->buf) - out->end;
}

/* What one frame takes at most, all of it escaped. */
static inline size_t frame_worst(size_t payload)
{
	return 2 * (FRAME_HEAD + payload) + 2;
}

static inline void frame_put_byte(struct frame_out *out, uint8_t byte)
{
	if (byte == FRAME_MARK || byte == FRAME_ESCAPE) {
		out->buf[out->end++] = FRAME_ESCAPE;
		byte ^= 0x20;
	}
	out->buf[out->end++] = byte;
}

/* Queues a frame; the caller has made sure of frame_worst(len) bytes of room. */
static inline void frame_put(struct frame_out *out, char type, uint32_t session, const void *payload,
			     size_t len)
{
	const uint8_t *bytes = payload;
	size_t i;

	out->buf[out->end++] = FRAME_MARK;
	frame_put_byte(out, (uint8_t)type);
	for (i = 0; i < 4; i++)
		frame_put_byte(out, (uint8_t)(session >> (8 * i)));
	for (i = 0; bytes && i < len; i++)
		frame_put_byte(out, bytes[i]);
	out->buf[out->end++] = FRAME_MARK;
}

/* Writes what the channel takes now. 0, or a negative errno other than -EAGAIN. */
static inline int frame_flush(struct frame_out *out, int fd)
{
	while (out->start < out->end) {
		ssize_t n = write(fd, out->buf + out->start, out->end - out->start);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		out->start += (size_t)n;
		if (n == 0)
			return 0;
	}
	out->start = out->end = 0;
	return 0;
}

/* Feeds one byte; true when it completes a frame in @in. */
static inline bool frame_get(struct frame_in *in, uint8_t byte)
{
	if (byte == FRAME_MARK) {
		bool complete = in->open && !in->too_long && in->len >= FRAME_HEAD;

		in->open = !complete;
		in->escaped = in->too_long = false;
		if (!complete)
			in->len = 0;
		return complete;
	}
	if (!in->open)
		return false;
	if (byte == FRAME_ESCAPE) {
		in->escaped = true;
		return false;
	}
	if (in->escaped)
		byte ^= 0x20;
	in->escaped = false;
	if (in->len == sizeof(in->buf)) {
		in->too_long = true;
		return false;
	}
	in->buf[in->len++] = byte;
	return false;
}

/* Makes room for the next frame after a complete one was used. */
static inline void frame_done(struct frame_in *in)
{
	in->len = 0;
}

static inline char frame_type(const struct frame_in *in)
{
	return (char)in->buf[0];
}

static inline uint32_t frame_session(const struct frame_in *in)
{
	return (uint32_t)in->buf[1] | (uint32_t)in->buf[2] << 8 | (uint32_t)in->buf[3] << 16 |
	       (uint32_t)in->buf[4] << 24;
}

#endif
