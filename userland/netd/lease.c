// SPDX-License-Identifier: GPL-2.0
/*
 * Leases, as pure decisions; see lease.h.
 */
#include <string.h>

#include "lease.h"

#define MS		   1000000ull
#define RENEWALS_PER_LEASE 6

/* ---- holder ---- */

void lease_holder_init(struct lease_holder *h, uint64_t incarnation)
{
	memset(h, 0, sizeof(*h));
	h->incarnation = incarnation;
}

/* Leases may have become longer; what is held ends when it was to end. */
bool lease_holder_due(const struct lease_holder *h, uint64_t now_ns, uint32_t lease_ms)
{
	if (h->lease_ms && h->lease_ms < lease_ms)
		lease_ms = h->lease_ms;
	return !h->sent_ns || now_ns - h->sent_ns >= lease_ms * MS / RENEWALS_PER_LEASE;
}

struct lease_renew lease_holder_renew(struct lease_holder *h, uint64_t now_ns)
{
	h->sent_ns = now_ns;
	return (struct lease_renew){.incarnation = h->incarnation, .sent_ns = now_ns, .want_ms = h->want_ms};
}

/* A grant never shortens what was granted before. */
bool lease_holder_granted(struct lease_holder *h, const struct lease_grant *g)
{
	uint64_t expiry = g->sent_ns + g->lease_ms * MS;

	if (g->incarnation != h->incarnation || g->sent_ns > h->sent_ns)
		return false;
	h->lease_ms = g->lease_ms;
	h->granted_ns = g->sent_ns;
	if (expiry <= h->expiry_ns)
		return false;
	h->expiry_ns = expiry;
	return true;
}

bool lease_holder_valid(const struct lease_holder *h, uint64_t now_ns)
{
	return now_ns < h->expiry_ns;
}

/* ---- keeper ---- */

void lease_keeper_elected(struct lease_keeper *k, uint64_t term, uint64_t now_ns)
{
	uint64_t round = k->round;

	memset(k, 0, sizeof(*k));
	k->round = round;
	k->leading = true;
	k->term = term;
	k->tick_ns = now_ns;
}

void lease_keeper_resigned(struct lease_keeper *k)
{
	k->leading = false;
	k->round_begun_ns = 0;
}

/* Time in which we could not hear anybody counts against nobody. */
void lease_keeper_tick(struct lease_keeper *k, uint64_t now_ns)
{
	uint64_t gap = now_ns - k->tick_ns;

	k->tick_ns = now_ns;
	if (gap < LEASE_STALL_MS * MS)
		return;
	for (size_t i = 0; i <= NODES_MAX; i++)
		k->node[i].basis_ns += gap;
}

/* What we know of this life. One that is new to us counts from now: for those
 * that were up at our election that is not before it. */
static struct lease_node *node_of(struct lease_keeper *k, const struct node_info *info, uint64_t now_ns)
{
	struct lease_node *n = &k->node[info->number];

	if (n->incarnation == info->incarnation)
		return n;
	n->basis_ns = now_ns;
	n->incarnation = info->incarnation;
	k->waiting -= n->arrived_ns != 0;
	n->arrived_ns = n->sent_ns = n->long_until_ns = n->applied = 0;
	n->want_ms = 0;
	n->doomed = false;
	/* Who led before us may have given a long lease until just now. */
	if (info->lease_ms)
		n->long_until_ns = n->basis_ns + info->lease_ms * MS;
	return n;
}

bool lease_keeper_renew(struct lease_keeper *k, const struct node_info *info, const struct lease_renew *r,
			uint64_t now_ns)
{
	struct lease_node *n;

	if (!k->leading || !info || info->state != NODE_UP || info->incarnation != r->incarnation)
		return false;
	n = node_of(k, info, now_ns);
	/* What was overtaken by a later one says nothing about now. */
	if (n->doomed || r->sent_ns <= n->sent_ns)
		return false;
	if ((r->flags & LEASE_SETTLED) && !r->want_ms)
		n->long_until_ns = 0;
	k->waiting += !n->arrived_ns;
	n->arrived_ns = now_ns;
	n->sent_ns = r->sent_ns;
	n->applied = r->applied;
	n->want_ms = r->want_ms > LEASE_MS_MAX ? LEASE_MS_MAX : r->want_ms;
	if (n->basis_ns < now_ns)
		n->basis_ns = now_ns;
	return true;
}

bool lease_keeper_round(struct lease_keeper *k, const uint32_t *voters, size_t n, uint32_t lease_ms,
			uint64_t now_ns)
{
	if (!k->leading || !n || n > LEASE_VOTERS_MAX || !k->waiting)
		return false;
	if (k->round_begun_ns && now_ns - k->round_begun_ns < lease_ms * MS / RENEWALS_PER_LEASE)
		return false;
	k->round++;
	k->round_begun_ns = now_ns;
	k->n_voters = n;
	memcpy(k->voter, voters, n * sizeof(voters[0]));
	memset(k->acked, 0, sizeof(k->acked));
	return true;
}

bool lease_keeper_ack(struct lease_keeper *k, uint32_t voter, uint64_t round, uint64_t term)
{
	size_t acks = 0;

	if (!k->leading || !k->round_begun_ns || round != k->round || term != k->term)
		return false;
	for (size_t i = 0; i < k->n_voters; i++) {
		if (k->voter[i] == voter)
			k->acked[i] = true;
		acks += k->acked[i];
	}
	if (acks * 2 <= k->n_voters)
		return false;
	k->quorum_ns = k->round_begun_ns;
	k->round_begun_ns = 0;
	return true;
}

/* The longest lease that the node's object allows to hand out now. */
static uint32_t lease_to_give(const struct lease_node *n, const struct node_info *info, uint32_t lease_ms)
{
	if (n->want_ms <= lease_ms || info->lease_ms < n->want_ms)
		return lease_ms;
	return n->want_ms;
}

bool lease_keeper_grant(struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			struct lease_grant *out)
{
	struct lease_node *n = &k->node[info->number];
	bool live = info->state == NODE_UP && info->incarnation == n->incarnation && !n->doomed;
	uint64_t until;

	if (!n->arrived_ns || (live && n->arrived_ns > k->quorum_ns))
		return false;
	*out = (struct lease_grant){.incarnation = n->incarnation,
				    .sent_ns = n->sent_ns,
				    .lease_ms = lease_to_give(n, info, lease_ms)};
	until = n->arrived_ns + out->lease_ms * MS;
	/* What a life that ended asked for is dropped here, or it would wait for ever. */
	n->arrived_ns = 0;
	k->waiting--;
	if (live && out->lease_ms > lease_ms && until > n->long_until_ns)
		n->long_until_ns = until;
	return live;
}

/* Clocks of two machines may run a little differently. */
static uint64_t margin_ns(uint64_t lease_ns)
{
	return lease_ns / 64 + 10 * MS;
}

static uint64_t runs_until(const struct lease_node *n, const struct node_info *info, uint32_t lease_ms)
{
	uint32_t longest = info->lease_ms > lease_ms ? info->lease_ms : lease_ms;
	uint64_t until = n->basis_ns + lease_ms * MS;

	/* The long one counts from its own grant, not from each renewal. */
	if (info->lease_ms && n->long_until_ns > until)
		until = n->long_until_ns;
	return until + margin_ns(longest * MS);
}

bool lease_keeper_overdue(struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			  uint64_t now_ns)
{
	if (!k->leading || info->state != NODE_UP)
		return false;
	return now_ns > runs_until(node_of(k, info, now_ns), info, lease_ms);
}

void lease_keeper_doom(struct lease_keeper *k, const struct node_info *info)
{
	struct lease_node *n = &k->node[info->number];

	n->doomed = n->incarnation == info->incarnation;
}

uint32_t lease_keeper_wanted(struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			     uint64_t now_ns)
{
	struct lease_node *n;

	if (info->state != NODE_UP) /* its time begins when it comes up */
		return info->lease_ms;
	n = node_of(k, info, now_ns);
	if (n->want_ms > lease_ms)
		return n->want_ms > info->lease_ms ? n->want_ms : info->lease_ms;
	return now_ns > n->long_until_ns ? 0 : info->lease_ms;
}

int lease_keeper_away(const struct lease_keeper *k, const struct node_info *info)
{
	const struct lease_node *n = &k->node[info->number];

	if (n->incarnation != info->incarnation || !n->sent_ns)
		return -1;
	return n->want_ms > 0;
}

uint64_t lease_keeper_left_ms(const struct lease_keeper *k, const struct node_info *info, uint32_t lease_ms,
			      uint64_t now_ns)
{
	const struct lease_node *n = &k->node[info->number];
	uint64_t until = runs_until(n, info, lease_ms);

	if (n->incarnation != info->incarnation || info->state != NODE_UP || until < now_ns)
		return 0;
	return (until - now_ns) / MS;
}
