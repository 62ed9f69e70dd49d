// SPDX-License-Identifier: GPL-2.0
/*
 * Handshakes that were under way when a listener moved: the SYN came to where it was, and the confirmation comes to where
 * it is. What was agreed upon is written beside the images; here the kernel is told (bpf/embryo.h). As the kernel
 * would, we say our part again, for the peer may not have heard it.
 */
#include "datapath_int.h"

#include <stdlib.h>
#include <string.h>

#include "bpf/half_open.h"
#include "give_back.h"
#include "userland/lib/grow.h"
#include "userland/lib/log.h"
#include "userland/lib/queued.h"

#define TICK_MS	 1000
#define TICKS	 32 /* then it is given up */
#define HALF_MAX 1024

struct half {
	struct half *next;
	struct queued q;
	unsigned int ticks;
};

/* ---- where it was ------------------------------------------------------------------------- */
struct listing {
	struct datapath *dp;
	const char *app;
	uint8_t *file;
	size_t len, size;
};

static void set_addr(struct queued *q, uint8_t out[16], const union dip_addr *a, uint8_t family)
{
	memset(out, 0, 16);
	q->family = family;
	if (family == DIP_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)a)) {
		q->family = DIP_INET;
		memcpy(out, &a->a32[3], 4);
	} else {
		memcpy(out, a, family == DIP_INET6 ? 16 : 4);
	}
}

static void list_one(void *arg, const struct half_open *h)
{
	struct listing *l = arg;
	struct queued q = {.kind = QUEUED_HALF_OPEN,
			   .ttl = 64,
			   .rport = h->rport,
			   .lport = htons(h->lport),
			   .agreed = h->agreed,
			   .clock = h->clock,
			   .echo = h->echo};
	struct port_key port = {.proto = IPPROTO_TCP, .port = h->lport};
	struct ipaddr own;
	const struct vip *v;

	set_addr(&q, q.raddr, &h->raddr, h->family);
	set_addr(&q, q.laddr, &h->laddr, h->family);
	own = ipaddr_of(q.family, q.laddr);
	v = vips_find(l->dp, &own);
	if (!v || l->len >= HALF_MAX * sizeof(q))
		return;
	port.vip = v->value.index;
	if (!datapath_moves_with(l->dp, &port, l->app))
		return;
	l->file = grow(l->file, &l->size, l->len, sizeof(q));
	memcpy(l->file + l->len, &q, sizeof(q));
	l->len += sizeof(q);
}

uint8_t *datapath_half_open(struct datapath *dp, const char *app, size_t *size)
{
	struct listing l = {.dp = dp, .app = app};
	int err = dp->bpf ? dip_bpf_half_open(dp->bpf, list_one, &l) : 0;

	if (err)
		log_debug("%s: handshakes under way are not known: %s", app, strerror(-err));
	*size = l.len;
	return l.file;
}

/* ---- where it is -------------------------------------------------------------------------- */
static struct half *halves;

static struct dip_embryo_key key_of(const struct queued *q)
{
	struct dip_embryo_key k = {.rport = q->rport, .lport = q->lport, .family = q->family};

	memcpy(&k.raddr, q->raddr, sizeof(q->raddr));
	memcpy(&k.laddr, q->laddr, sizeof(q->laddr));
	return k;
}

/* True: it is over, well or not. */
static bool tick(struct datapath *dp, struct half *h)
{
	struct dip_embryo_key k = key_of(&h->q);

	if (!dp->bpf || !dip_bpf_embryo_has(dp->bpf, &k))
		return true;
	if (h->ticks++ >= TICKS)
		return true;
	if (!(h->ticks & (h->ticks - 1))) /* after 1, 2, 4 ... */
		give_answer(&h->q);
	return false;
}

static void on_tick(uv_timer_t *t)
{
	struct datapath *dp = t->data;
	struct half **at = &halves, *h;

	while ((h = *at)) {
		if (!tick(dp, h)) {
			at = &h->next;
			continue;
		}
		if (dp->bpf) {
			struct dip_embryo_key k = key_of(&h->q);

			dip_bpf_embryo_del(dp->bpf, &k);
		}
		*at = h->next;
		free(h);
	}
	if (!halves)
		uv_timer_stop(t);
}

static void expect(struct datapath *dp, const struct queued *q)
{
	struct dip_embryo_key k = key_of(q);
	struct half *h = malloc(sizeof(*h));

	if (!h || dip_bpf_embryo_put(dp->bpf, &k, &q->agreed)) {
		free(h);
		return;
	}
	*h = (struct half){.next = halves, .q = *q};
	halves = h;
	if (!uv_is_active((uv_handle_t *)&dp->half_open))
		uv_timer_start(&dp->half_open, on_tick, TICK_MS, TICK_MS);
}

void datapath_half_open_expect(struct datapath *dp, const uint8_t *file, size_t size)
{
	const uint8_t *data;
	struct queued q;
	size_t at = 0;

	while (queued_next(file, size, &at, &q, &data))
		if (q.kind == QUEUED_HALF_OPEN)
			expect(dp, &q);
}

void datapath_half_open_stop(void)
{
	struct half *h;

	while ((h = halves)) {
		halves = h->next;
		free(h);
	}
}
