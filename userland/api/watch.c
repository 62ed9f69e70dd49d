// SPDX-License-Identifier: GPL-2.0
/* Notices, from the program's side of lib/notice.h. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "userland/api/api.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/notice.h"

struct netssi_watch {
	uint64_t token;
	int page, wake;
	unsigned int limit_ms;
	uint64_t seen; /* of the page's head */
};

static int say(struct netssi_watch *w, enum notice_op op)
{
	struct notice_message m = {.magic = NOTICE_MAGIC,
				   .token = w->token,
				   .op = op,
				   .page = w->page,
				   .wake = w->wake,
				   .limit_ms = w->limit_ms};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = getenv(NOTICE_ENV);
	_close_ int fd = -1;

	if (!path || !*path || strlen(path) >= sizeof(to.sun_path))
		return -ENOTCONN;
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, &m, sizeof(m), MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof(to)) == sizeof(m))
		return 0;
	return errno == ENOMEM || errno == EAGAIN ? -errno : -ENOTCONN;
}

static int watch_open(struct netssi_watch *w)
{
	struct notice_page page = {.magic = NOTICE_MAGIC};

	if (getrandom(&w->token, sizeof(w->token), 0) < 0)
		return -errno;
	w->token &= INT64_MAX;
	page.token = w->token;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->page = memfd_create("netssi-notice", MFD_CLOEXEC);
	if (w->wake < 0 || w->page < 0)
		return -errno;
	if (pwrite(w->page, &page, sizeof(page), 0) != sizeof(page))
		return -ENOMEM;
	return say(w, NOTICE_REGISTER);
}

static void watch_close(struct netssi_watch *w)
{
	const uint64_t none = 0;

	/* First: whoever borrows the two meanwhile sees it. An empty page would do as well. */
	if (w->page >= 0 && pwrite(w->page, &none, sizeof(none), offsetof(struct notice_page, magic)) < 0)
		ftruncate(w->page, 0);
	close_fd(&w->page);
	close_fd(&w->wake);
	free(w);
}

int netssi_watch_new(struct netssi_watch **out, unsigned int limit_ms)
{
	struct netssi_watch *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->page = w->wake = -1;
	w->limit_ms = limit_ms;
	err = watch_open(w);
	if (err < 0)
		watch_close(w);
	else
		*out = w;
	return err;
}

void netssi_watch_free(struct netssi_watch *w)
{
	if (!w)
		return;
	say(w, NOTICE_LEAVE);
	watch_close(w);
}

int netssi_watch_fd(const struct netssi_watch *w)
{
	return w->wake;
}

static uint64_t head_of(const struct netssi_watch *w)
{
	uint64_t head;

	if (pread(w->page, &head, sizeof(head), offsetof(struct notice_page, head)) != sizeof(head))
		return w->seen;
	return head;
}

/* 1, 0: it was overwritten meanwhile, or -EIO. */
static int read_slot(struct netssi_watch *w, struct netssi_notice *out)
{
	off_t at = (off_t)(offsetof(struct notice_page, slot) +
			   w->seen % NOTICE_SLOTS * sizeof(struct notice_slot));
	struct notice_slot slot;

	if (pread(w->page, &slot, sizeof(slot), at) != sizeof(slot))
		return -EIO;
	if (head_of(w) - w->seen >= NOTICE_SLOTS)
		return 0;
	w->seen++;
	memset(out, 0, sizeof(*out));
	out->what = slot.what;
	memcpy(out->node, slot.node, sizeof(out->node) - 1);
	return 1;
}

int netssi_watch_next(struct netssi_watch *w, struct netssi_notice *out)
{
	uint64_t wakes, head;
	int got = 0;

	while (got == 0) {
		head = head_of(w);
		if (head - w->seen >= NOTICE_SLOTS)
			w->seen = head - NOTICE_SLOTS + 1; /* the one before may be being written */
		if (head != w->seen)
			got = read_slot(w, out);
		/* Woken for what was read already: it is looked again after this, or what comes now would wait. */
		else if (read(w->wake, &wakes, sizeof(wakes)) < 0)
			return 0;
	}
	return got;
}

int netssi_watch_ready(struct netssi_watch *w)
{
	return say(w, NOTICE_READY);
}
