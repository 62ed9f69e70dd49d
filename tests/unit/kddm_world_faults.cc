// SPDX-License-Identifier: GPL-2.0
// What breaks in the world of kddm_world.h, and a whole life of it.
#include "kddm_world.h"

void World::fault()
{
	Node &n = nodes[dice(nodes.size())];
	Node &o = nodes[dice(nodes.size())];

	switch (dice(13)) {
	case 0:
	case 1:
		did["killed"]++;
		kill(n);
		at(dice(1500) * MS, [this, &n] { start(n); });
		break;
	case 2:
		did["power cut"]++;
		power_off(n);
		at(dice(5000) * MS, [this, &n] {
			n.power = true;
			start(n);
		});
		break;
	case 3:
		did["power cut of all"]++;
		for (Node &each : nodes) {
			power_off(each);
			at(dice(3000) * MS, [this, &each] {
				each.power = true;
				start(each);
			});
		}
		break;
	case 4:
	case 5:
		did["stopped"]++;
		n.stop_ms = dice(6000);
		if (dice(2))
			renewed(n);
		break;
	case 6: // cut off, one way or both
	case 7:
		did["cut off"]++;
		for (Node &each : nodes) {
			uint64_t way = dice(3);

			if (way != 1)
				cuts.insert({n.n, each.n});
			if (way != 2)
				cuts.insert({each.n, n.n});
		}
		at(dice(6000) * MS, [this, &n] {
			for (Node &each : nodes) {
				cuts.erase({n.n, each.n});
				cuts.erase({each.n, n.n});
			}
		});
		break;
	case 8:
		did["link cut"]++;
		cuts.insert({n.n, o.n});
		if (dice(2))
			cuts.insert({o.n, n.n});
		at(dice(6000) * MS, [this, &n, &o] {
			cuts.erase({n.n, o.n});
			cuts.erase({o.n, n.n});
		});
		break;
	case 9:
		did["bad network"]++;
		loss = dice(2) ? 0.2 : 0.02;
		twice = 0.1;
		slow = dice(2) ? 0.3 : 0.02;
		at(dice(4000) * MS, [this] { loss = twice = slow = 0; });
		break;
	case 10:
		did["clock set"]++;
		n.unix_ms += static_cast<int64_t>(dice(7200000)) - 3600000;
		break;
	default:
		lose_disk(n, o);
		break;
	}
}

// Of what a quorum stored, a lost disk may take one copy, and the next one only when all are whole again. The
// worst moment: another node lags behind, and comes back when the third is away.
void World::lose_disk(Node &n, Node &late)
{
	bool lags = &n != &late && dice(4);

	if (!whole)
		return;
	whole = false;
	if (lags && dice(2))
		stop(late, true);
	for (Node &each : nodes)
		if (lags)
			cut(late, each, true);
	for (int i = 0; i < 10; i++) {
		act(nodes[dice(nodes.size())]);
		run(20 + dice(100));
	}
	kill(n);
	if (dice(2)) {
		did["disk wiped"]++;
		wipe(n);
	} else {
		did["log cut short"]++;
		lose_end(n);
	}
	for (Node &each : nodes) {
		cut(late, each, false);
		if (lags && &each != &n && &each != &late) {
			kill(each);
			at((500 + dice(5000)) * MS, [this, &each] { start(each); });
		}
	}
	stop(late, false);
	run(dice(300));
	start(n);
	for (int i = 0; i < 20; i++) {
		act(nodes[dice(nodes.size())]);
		run(dice(300));
	}
}

void World::cut(Node &a, Node &b, bool cut)
{
	if (cut) {
		cuts.insert({a.n, b.n});
		cuts.insert({b.n, a.n});
	} else {
		cuts.erase({a.n, b.n});
		cuts.erase({b.n, a.n});
	}
}

void World::heal()
{
	cuts.clear();
	late.clear();
	arrive();
	loss = twice = slow = 0;
	for (Node &n : nodes) {
		n.stop_ms = n.disk_ms = 0;
		n.power = true;
		stop(n, false);
		start(n);
	}
}

// What is decided about a lease takes time to be agreed on, and renewals do not wait for disks.
void World::slow_disks(uint64_t ms)
{
	did["slow disks"]++;
	for (Node &n : nodes)
		n.disk_ms = 50 + dice(500);
	at(ms * MS, [this] {
		for (Node &n : nodes)
			n.disk_ms = 0;
	});
}

// The worst moment for a lease: who answers for ports has asked, and the answer waits until it goes on or its
// network does, while it is given up and others take its ports.
void World::late_answers()
{
	uint32_t port = static_cast<uint32_t>(dice(PORTS));
	uint64_t ms = 2400 + dice(2600);

	for (Node &n : nodes)
		if (n.stopped || n.stop_ms || !n.p || !late.empty())
			return;
	for (Node &n : nodes) {
		if (!n.answers(port))
			continue;
		if (dice(2))
			slow_disks(ms + 1500);
		if (dice(2)) {
			did["stopped"]++;
			n.stop_ms = ms;
			return;
		}
		did["late network"]++;
		for (Node &each : nodes) {
			late.insert({n.n, each.n});
			late.insert({each.n, n.n});
		}
		at(ms * MS, [this, &n] {
			for (Node &each : nodes) {
				late.erase({n.n, each.n});
				late.erase({each.n, n.n});
			}
			arrive();
		});
		return;
	}
}

// A machine that has left: made anew, it asks to be taken in.
void World::enter_anew(Node &n, raft_id was)
{
	if (!n.out || n.disk.id != was)
		return; // it did already
	n.out = false;
	kill(n);
	wipe(n);
	n.sockets.clear();
	n.table.clear();
	n.lease_ns = 0;
	n.generation++;
	start(n);
}

static void on_left(void *arg, const member_error *e)
{
	auto *l = static_cast<Leave *>(arg);

	if (!e)
		l->n->w->at(MS, [l] { l->n->w->enter_anew(*l->n, l->id); });
}

// What runs there ends with its lease, not with the word of another.
static void on_taken_out(void *arg, const member_error *e)
{
	auto *l = static_cast<Leave *>(arg);

	if (!e)
		l->n->w->at((4000 + l->n->w->dice(3000)) * MS, [l] { l->n->w->enter_anew(*l->n, l->id); });
}

// Those who are out though who asked for it was told of no success.
void World::look_for_left()
{
	const node_info *info;

	for (Node &n : nodes) {
		if (n.p && status(n) == MEMBER_IDLE)
			enter_anew(n, n.disk.id);
		for (Node &by : nodes) {
			info = by.p && by.p->m->leads ? nodes_by_raft_id(by.p->m->nodes, n.disk.id) : nullptr;
			if (info && info->state == NODE_LEFT)
				enter_anew(n, n.disk.id);
		}
	}
}

void World::leave(Node &n, Node &by)
{
	bool own = &n == &by;
	uint32_t number = 0;

	if (!by.p || by.stopped || by.p->m->job || status(by) != MEMBER_LIVE)
		return;
	if (!own)
		number = member_find(by.p->m, ("n" + std::to_string(n.n)).c_str());
	if (!own && !number)
		return;
	did[own ? "left" : "taken out"]++;
	whole = false; // one copy less
	n.out = true;
	leaves.push_back({&n, n.disk.id});
	inside(by.p.get(),
	       [&] { member_leave(by.p->m, number, !own, own ? on_left : on_taken_out, &leaves.back()); });
}

// The worst moment: who leaves, or is taken out, is cut off or stands still while others take its ports.
void World::leave_somehow()
{
	Node &n = nodes[dice(nodes.size())];
	Node &by = dice(2) ? n : nodes[dice(nodes.size())];
	uint64_t ms = dice(5000);

	if (!settled())
		return;
	if (dice(2))
		for (Node &each : nodes)
			if (&n != &by)
				cut(n, each, true);
	leave(n, by);
	if (dice(2)) {
		run(dice(100));
		stop(n, true);
	}
	at(ms * MS, [this, &n] {
		for (Node &each : nodes)
			cut(n, each, false);
		stop(n, false);
	});
}

std::vector<std::string> world_run(uint64_t seed, Bugs bugs, std::map<std::string, unsigned> *did)
{
	World w(seed, 3 + static_cast<unsigned>(seed % 3), bugs);
	// Where leases are lost and won: every port is taken at once by whoever may, and answers come too late.
	bool around_renewals = seed % 4 == 0;
	bool leaving = seed % 8 == 5;

	w.greedy = around_renewals || leaving;
	for (int i = 0; i < 120 && w.violations.empty(); i++) {
		w.run(20 + w.dice(120));
		for (size_t k = w.dice(4); k; k--)
			w.act(w.nodes[w.dice(w.nodes.size())]);
		w.whole = w.whole || (w.settled() && w.voters() == 3);
		if (around_renewals && w.dice(8) == 0)
			w.late_answers();
		else if (leaving)
			w.leave_somehow();
		else if (w.dice(around_renewals ? 40 : 8) == 0)
			w.fault();
	}
	// Events that mend what is broken are still to come.
	w.run(6500);
	w.heal();
	for (int i = 0; i < 200 && !w.settled() && w.violations.empty(); i++) {
		w.look_for_left();
		w.run(200);
	}
	if (w.violations.empty() && !w.settled())
		w.violation("healed 40 s ago and not yet whole: %s", w.state().c_str());
	for (Node &n : w.nodes) { // all that was granted and not given back is there, everywhere
		for (auto &s : n.sockets) {
			auto *o = n.p ? kddm_find(n.p->set, &s.first, sizeof(s.first)) : nullptr;

			if (w.violations.empty() && s.second.acked && (!o || o->owner != n.p->m->self))
				w.violation("n%u was granted port %u and does not have it", n.n, s.first);
		}
	}
	if (did)
		for (auto &d : w.did)
			(*did)[d.first] += d.second;
	return w.violations;
}
