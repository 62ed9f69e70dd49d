// SPDX-License-Identifier: GPL-2.0
/*
 * Suspicion, before a death may be declared: TIPC tells at once when a node's
 * netd or the links to it are gone; elsewhere the leader misses its renewals.
 * What waits for such a node ends, and `status` says so. Only the lease decides.
 */
#include <string.h>

#include "member_int.h"
#include "userland/lib/log.h"

static void on_topology(void *arg, uint32_t instance, bool there)
{
	struct member *m = arg;
	const struct kddm_object *obj;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (transport_tipc_instance(info->raft_id) != instance || info->number == m->self)
			continue;
		if (info->state == NODE_UP && !there && !m->gone[info->number]) {
			log_info("%s is not reached over TIPC any more", info->name);
			m->drop[info->number] = m->drops = true;
		}
		m->gone[info->number] = !there;
	}
}

void member_suspect_start(struct member *m)
{
	int r;

	memset(m->gone, 0, sizeof(m->gone));
	if (strcmp(m->id.transport, "tipc"))
		return;
	r = topology_open(m->params.loop, on_topology, m, &m->topology);
	if (r < 0)
		log_warn("no news from TIPC's topology server: %s", strerror(-r));
}

void member_suspect_stop(struct member *m)
{
	topology_close(m->topology);
	m->topology = NULL;
}

int member_suspected(struct member *m, const struct node_info *info)
{
	uint64_t basis = m->keeper.node[info->number].basis_ns, now = member_now_ns();

	if (info->state != NODE_UP || info->number == m->self)
		return 0;
	if (m->topology && m->gone[info->number])
		return 1;
	if (!m->leads)
		return m->topology ? 0 : -1;
	return basis && now > basis && (now - basis) / 1000000 > member_lease_ms(m) / 2;
}
