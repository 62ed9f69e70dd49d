// SPDX-License-Identifier: GPL-2.0
/* Ring buffer of socket events on the loop; overflow is seen by its counter. */
#include "hooks.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "userland/lib/dip_bpf.h"

#define LOST_MS 1000

struct hooks {
	struct ring_buffer *ring;
	struct dip_bpf *bpf;
	const struct hooks_ops *ops;
	void *arg;
	uint64_t lost; /* counter when last looked */
	bool closing;
	uv_poll_t poll;
	uv_timer_t timer;
	int handles;
};

static int on_sample(void *ctx, void *data, size_t size)
{
	struct hooks *h = ctx;

	if (size >= sizeof(struct dip_event) && !h->closing)
		h->ops->event(h->arg, data);
	return 0;
}

static uint64_t lost_count(struct hooks *h)
{
	struct dip_stats s;

	return dip_bpf_stats_of(h->bpf, DIP_STATS_NO_VIP, &s) ? h->lost : s.events_lost;
}

static void look_for_loss(struct hooks *h)
{
	uint64_t lost = lost_count(h);

	if (lost == h->lost)
		return;
	h->lost = lost;
	h->ops->lost(h->arg);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct hooks *h = poll->data;

	ring_buffer__consume(h->ring);
	if (h->closing)
		return;
	h->ops->burst_done(h->arg);
}

static void on_timer(uv_timer_t *timer)
{
	look_for_loss(timer->data);
}

int hooks_open(struct hooks **out, uv_loop_t *loop, struct dip_bpf *bpf, const struct hooks_ops *ops,
	       void *arg)
{
	struct hooks *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->bpf = bpf;
	h->ops = ops;
	h->arg = arg;
	h->ring = ring_buffer__new(dip_bpf_events_fd(bpf), on_sample, h, NULL);
	if (!h->ring) {
		err = -errno;
		free(h);
		return err;
	}
	err = uv_poll_init(loop, &h->poll, ring_buffer__epoll_fd(h->ring));
	if (err) {
		ring_buffer__free(h->ring);
		free(h);
		return err;
	}
	uv_timer_init(loop, &h->timer);
	h->handles = 2;
	h->poll.data = h->timer.data = h;
	h->lost = lost_count(h);
	uv_poll_start(&h->poll, UV_READABLE, on_readable);
	uv_timer_start(&h->timer, on_timer, LOST_MS, LOST_MS);
	*out = h;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct hooks *h = handle->data;

	if (--h->handles)
		return;
	ring_buffer__free(h->ring);
	free(h);
}

void hooks_close(struct hooks *h)
{
	if (!h)
		return;
	h->closing = true;
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->timer, on_closed);
}
