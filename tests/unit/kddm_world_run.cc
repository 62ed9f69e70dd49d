// SPDX-License-Identifier: GPL-2.0
// What happens in the world of kddm_world.h, and what must never: applications that open and close ports on
// nodes, and after each step the question whether two nodes answer for one port.
#include <cstring>

#include "kddm_world.h"

static const kddm_type port_type = {40, "port", 4, nullptr, false, nullptr};
static const kddm_type note_type = {41, "note", 0, nullptr, false, nullptr};

// Who wrote it, in which life, and which write it was: no two are alike.
struct Value {
	uint64_t incarnation, id;
	uint32_t node, pad;
};

static struct kddm_set *notes_of(Process *p)
{
	return kddm_set_by_id(member_kddm(p->m), note_type.id);
}

static uint32_t port_of(const kddm_object *o)
{
	uint32_t port;

	memcpy(&port, o->key, sizeof(port));
	return port;
}

bool Node::answers(uint32_t port) const
{
	auto t = table.find(port);

	return power && clock() < lease_ns && t != table.end() && t->second == n && sockets.count(port);
}

// ---- what the engine tells ----

static void retable(Process *p)
{
	const kddm_object *o;

	p->node->table.clear();
	kddm_for_each(p->set, o)
	{
		const node_info *info = nodes_get(kddm_nodes(member_kddm(p->m)), o->owner);

		p->node->table[port_of(o)] = info ? static_cast<uint32_t>(atoi(info->name + 1)) : 0;
	}
}

// Everything that takes effect: once, by a life that is not over, one owner an epoch.
static void on_effect(void *arg, const kddm_object *o)
{
	auto *p = static_cast<Process *>(arg);
	World *w = p->node->w;
	const node_info *info;
	Value v;

	if (p->muted || o->value_len != sizeof(v))
		return;
	memcpy(&v, o->value, sizeof(v));
	auto at = w->effects.emplace(v.id, o->version).first->second;
	if (at != o->version)
		w->violation("write %llu took effect at %llu and at %llu", (unsigned long long)v.id,
			     (unsigned long long)at, (unsigned long long)o->version);
	info = nodes_get(kddm_nodes(member_kddm(p->m)), v.node);
	if (!info || info->state != NODE_UP || info->incarnation != v.incarnation)
		w->violation("n%u sees a write of node %u from a life that is over", p->node->n, v.node);
	if (o->owner && o->key_len == 4) {
		auto owner = w->owners.emplace(std::make_pair(port_of(o), o->epoch), o->owner).first->second;
		if (owner != o->owner)
			w->violation("port %u has two owners in epoch %llu", port_of(o),
				     (unsigned long long)o->epoch);
	}
}

static bool own_life(Process *p)
{
	const node_info *own = member_own(p->m);

	return own && own->state == NODE_UP && own->incarnation == p->m->incarnation;
}

static void on_gone(Process *p, const kddm_object *old)
{
	auto s = p->node->sockets.find(port_of(old));
	Value v;

	memcpy(&v, old->value, sizeof(v));
	if (p->synced && s != p->node->sockets.end() && s->second.acked && s->second.id == v.id &&
	    own_life(p))
		p->node->w->violation("n%u lost port %u, which it was told is its own", p->node->n,
				      port_of(old));
}

static void port_insert(void *arg, const kddm_object *o)
{
	auto *p = static_cast<Process *>(arg);

	on_effect(arg, o);
	if (p->synced && !p->muted)
		retable(p);
}

static void port_update(void *arg, const kddm_object *old, const kddm_object *o)
{
	auto *p = static_cast<Process *>(arg);

	on_effect(arg, o);
	if (p->muted)
		return;
	if (old->owner != o->owner)
		on_gone(p, old);
	if (p->synced)
		retable(p);
}

static void port_remove(void *arg, const kddm_object *old)
{
	auto *p = static_cast<Process *>(arg);

	if (p->muted)
		return;
	on_gone(p, old);
	if (p->synced)
		retable(p);
}

static void port_reset(void *arg)
{
	auto *p = static_cast<Process *>(arg);

	if (p->synced && !p->muted)
		retable(p);
}

static void note_update(void *arg, const kddm_object *, const kddm_object *o)
{
	on_effect(arg, o);
}

static const kddm_linker port_linker = {port_insert, port_update, port_remove, port_reset, nullptr};
static const kddm_linker note_linker = {on_effect, note_update, nullptr, nullptr, nullptr};

static void ask_for_port(Process *p, uint32_t port);

static void on_lease(void *arg, uint64_t expiry_ns)
{
	auto *p = static_cast<Process *>(arg);

	if (!p->muted)
		p->node->lease_ns = expiry_ns;
}

// A new netd finds the sockets that live: theirs are the claims.
static void on_ready(void *arg)
{
	auto *p = static_cast<Process *>(arg);
	Node *n = p->node;
	std::vector<uint32_t> ports;

	if (p->muted)
		return;
	p->synced = true;
	retable(p);
	for (auto &s : n->sockets)
		ports.push_back(s.first);
	for (uint32_t port : ports) {
		const kddm_object *o = kddm_find(p->set, &port, sizeof(port));

		n->sockets[port].asking = false;
		if (o && o->owner != p->m->self)
			n->sockets.erase(port);
		else if (!o)
			ask_for_port(p, port);
	}
}

static void on_fenced(void *arg)
{
	auto *p = static_cast<Process *>(arg);

	if (p->muted)
		return;
	p->node->w->did["fenced"]++;
	p->node->sockets.clear();
	p->node->lease_ns = 0;
}

static void on_status(void *, enum member_status)
{
}

static void on_restart(void *arg)
{
	auto *p = static_cast<Process *>(arg);
	Node *n = p->node;

	if (p->muted)
		return;
	n->w->at(p, 0, [n] {
		World *w = n->w;

		w->at(0, [n, w] {
			w->kill(*n);
			w->start(*n);
		});
	});
}

static member_events events = {};

// The log is the same everywhere.
extern "C" int __real_kddm_apply(struct kddm *k, uint64_t index, const void *data, size_t len);
extern "C" int __wrap_kddm_apply(struct kddm *k, uint64_t index, const void *data, size_t len)
{
	uint64_t h = std::hash<std::string_view>()({static_cast<const char *>(data), len});
	auto known = the_world->entries.emplace(index, h).first->second;

	if (known != h)
		the_world->violation("two entries were committed at %llu", (unsigned long long)index);
	return __real_kddm_apply(k, index, data, len);
}

// ---- life and death ----

World::World(uint64_t seed, unsigned n_nodes, Bugs bugs) : rng(seed), bugs(bugs)
{
	the_world = this;
	::events.lease = on_lease;
	::events.ready = on_ready;
	::events.fenced = on_fenced;
	::events.status = on_status;
	::events.restart = on_restart;
	for (uint32_t i = 1; i <= n_nodes; i++) {
		nodes.emplace_back();
		Node &n = nodes.back();

		n.w = this;
		n.n = i;
		n.rate = 1 + (static_cast<double>(dice(600)) - 300) / 100000; // 0.3 %
		n.offset_ns = dice(100000) * MS;
		for (uint32_t j = 1; j < i; j++)
			n.disk.peers.push_back("10.0.0." + std::to_string(j) + ":7946");
		start(n);
		run(i == 1 ? 1500 : 600);
	}
	for (int i = 0; i < 100 && !settled(); i++)
		run(200);
	if (!settled())
		violation("the cluster does not form");
}

World::~World()
{
	for (Node &n : nodes)
		kill(n);
	the_world = nullptr;
}

void World::start(Node &n)
{
	static uv_loop_t loop;
	member_params params = {};

	if (n.p || !n.power)
		return;
	n.p = std::make_unique<Process>();
	n.p->node = &n;
	n.p->serial = ++serial;
	n.deferred.clear();
	params.loop = &loop;
	params.state_dir = params.run_dir = "/nowhere";
	params.key_path = "/nowhere/key";
	params.insecure = true;
	params.events = &::events;
	params.arg = n.p.get();
	inside(n.p.get(), [&] {
		Process *p = n.p.get();
		bool first = !n.disk.has_id && !n.disk.lost_id && n.n == 1;

		member_new(&params, &p->m);
		kddm_set_register(member_kddm(p->m), &port_type, &p->set);
		kddm_set_register(member_kddm(p->m), &note_type, nullptr);
		kddm_link(p->set, &port_linker, p);
		kddm_link(notes_of(p), &note_linker, p);
		p->m->insecure = true;
		strcpy(p->m->id.cluster, "0123456789abcdef0123456789abcdef");
		snprintf(p->m->id.name, sizeof(p->m->id.name), "n%u", n.n);
		snprintf(p->m->id.tcp, sizeof(p->m->id.tcp), "%s", n.address().c_str());
		strcpy(p->m->id.address, p->m->id.tcp);
		strcpy(p->m->id.transport, "tcp");
		p->m->id.generation = n.disk.generation;
		p->m->id.recover = n.disk.recover;
		snprintf(p->m->id.diverged, sizeof(p->m->id.diverged), "%s", n.disk.diverged.c_str());
		if (!first) {
			member_disk_boot(p->m);
			return;
		}
		member_raft_dir(p->m, true);
		member_run(p->m, true);
	});
}

// What the disk was given reaches it in part; the rest of the process is taken down without effect.
void World::kill(Node &n)
{
	std::unique_ptr<Process> p = std::move(n.p);
	bool over = false;

	if (!p)
		return;
	for (size_t i = 0, k = dice(p->writes.size() + 1); i < k; i++)
		p->writes[i].write(n.disk);
	p->muted = true;
	p->pp.message = nullptr;
	inside(p.get(), [&] {
		member_stop(p->m, false, 0, [](void *arg) { *static_cast<bool *>(arg) = true; }, &over);
	});
	while (!over && !p->closing.empty())
		inside(p.get(), [] {});
	inside(p.get(), [&] { member_free(p->m); });
	n.stopped = false;
	n.deferred.clear();
}

void World::power_off(Node &n)
{
	n.power = false;
	kill(n);
	n.disk.mark = n.disk.mark_synced;
	n.sockets.clear();
	n.table.clear();
	n.lease_ns = 0;
	n.boot++;
	n.generation = 1;
}

void World::wipe(Node &n)
{
	std::vector<std::string> peers = n.disk.peers;
	struct generation generation = n.disk.generation;
	raft_id id = n.disk.has_id ? n.disk.id : n.disk.lost_id;

	n.disk = Disk();
	n.disk.peers = peers;
	n.disk.generation = generation;
	n.disk.lost_id = id;
}

// A bit fell over near the end: what follows cannot be read.
void World::lose_end(Node &n)
{
	size_t lost = 1 + dice(20);

	for (; lost && !n.disk.log.empty(); lost--)
		n.disk.log.pop_back();
}

void World::forget(Node &n, size_t lost)
{
	for (; lost && !n.disk.log.empty(); lost--)
		n.disk.log.pop_back();
	n.disk.mark.index = n.disk.first + n.disk.log.size() - 1;
	n.disk.mark_synced = n.disk.mark;
}

void World::stop(Node &n, bool stopped)
{
	if (n.stopped == stopped || !n.p)
		return;
	n.stopped = stopped;
	if (stopped)
		return;
	auto waiting = std::move(n.deferred);

	n.deferred.clear();
	for (auto &run : waiting)
		at(1000, run);
}

// The worst moment to be stopped: the answer waits until it goes on.
void World::renewed(Node &n)
{
	if (!n.stop_ms)
		return;
	at(0, [this, &n] { stop(n, true); });
	at(n.stop_ms * MS, [this, &n] { stop(n, false); });
	n.stop_ms = 0;
}

// ---- applications ----

static void on_claimed(void *arg, const kddm_result *r);

struct Claim {
	Process *p;
	uint64_t serial;
	uint32_t port;
	uint64_t id;
};

static void ask_for_port(Process *p, uint32_t port)
{
	Node *n = p->node;
	Value v = {p->m->incarnation, n->w->next_id++, p->m->self, 0};
	kddm_batch *b = kddm_batch_new(member_kddm(p->m), n->w->dice(2));

	n->sockets[port] = {v.id, false, true};
	kddm_grab(b, p->set, &port, sizeof(port), &v, sizeof(v), KDDM_ABSENT, p->m->self);
	kddm_submit(b, on_claimed, new Claim{p, p->serial, port, v.id});
}

static void on_claimed(void *arg, const kddm_result *r)
{
	std::unique_ptr<Claim> c(static_cast<Claim *>(arg));
	Process *p = c->p;

	if (p->muted)
		return;
	Node *n = p->node;
	World *w = n->w;
	auto s = n->sockets.find(c->port);
	const kddm_object *o;

	if (!r->status && !r->op[0]) {
		w->did["claims"]++;
		if (!w->entries.count(r->index))
			w->violation("port %u was granted by an entry that nobody applied", c->port);
	}
	if ((r->status == -EAGAIN || r->status == -ENOTCONN) && w->effects.count(c->id))
		w->violation("write %llu was refused and took effect", (unsigned long long)c->id);
	if (s == n->sockets.end() || s->second.id != c->id)
		return; /* closed meanwhile, or the life is over */
	s->second.asking = false;
	if (!r->status && !r->op[0]) {
		s->second.acked = true;
		return;
	}
	o = kddm_find(p->set, &c->port, sizeof(c->port));
	if (r->status == -ETIMEDOUT && o && o->owner == p->m->self)
		return;
	n->sockets.erase(s);
}

static void on_written(void *arg, const kddm_result *r)
{
	auto id = reinterpret_cast<uintptr_t>(arg);

	if (the_world && (r->status == -EAGAIN || r->status == -ENOTCONN) && the_world->effects.count(id))
		the_world->violation("write %llu was refused and took effect", (unsigned long long)id);
}

static void write_note(Process *p)
{
	kddm_batch *b = kddm_batch_new(member_kddm(p->m), false);
	Value v = {p->m->incarnation, p->node->w->next_id++, p->m->self, 0};
	char key = static_cast<char>('a' + p->node->w->dice(8));

	kddm_put(b, notes_of(p), &key, 1, &v, sizeof(v), KDDM_ANY);
	kddm_submit(b, on_written, reinterpret_cast<void *>(v.id));
}

void World::act(Node &n)
{
	if (!n.p || n.stopped)
		return;
	inside(n.p.get(), [&] {
		Process *p = n.p.get();
		uint32_t port = static_cast<uint32_t>(dice(PORTS));

		for (uint32_t i = 0; greedy && i < PORTS && kddm_find(p->set, &port, sizeof(port)); i++)
			port = (port + 1) % PORTS;
		auto s = n.sockets.find(port);

		if (status(n) != MEMBER_LIVE)
			return;
		if (dice(greedy ? 8 : 2) == 0) {
			write_note(p);
		} else if (s == n.sockets.end()) {
			if (!kddm_find(p->set, &port, sizeof(port)))
				ask_for_port(p, port);
		} else if (!s->second.asking) {
			const kddm_object *o = kddm_find(p->set, &port, sizeof(port));

			n.sockets.erase(s); /* closed first, given back then */
			if (o && o->owner == p->m->self) {
				kddm_batch *b = kddm_batch_new(member_kddm(p->m), false);

				kddm_remove(b, p->set, &port, sizeof(port), o->version);
				kddm_submit(b, nullptr, nullptr);
			}
		}
	});
}

// ---- watching ----

void World::look()
{
	for (uint32_t port = 0; port < PORTS; port++) {
		uint32_t one = 0;

		for (Node &n : nodes) {
			if (!n.answers(port))
				continue;
			if (one)
				violation("n%u and n%u both answer for port %u", one, n.n, port);
			one = n.n;
		}
	}
}

void World::run(uint64_t ms)
{
	uint64_t end = now + ms * MS;

	while (!events.empty() && events.top().at <= end && violations.size() < 5) {
		auto run = events.top().run;

		now = events.top().at;
		events.pop();
		run();
		look();
	}
	now = end;
}

static std::string servers(struct member *m)
{
	const raft_configuration *c = kddm_raft_members(m->raft);
	std::string text;

	for (unsigned i = 0; i < c->n; i++)
		text += std::string(" ") + c->servers[i].address + ":" + std::to_string(c->servers[i].role) +
			(c->servers[i].id == m->id.raft_id ? "*" : "");
	return text;
}

// For the person who has to find out.
std::string World::state()
{
	std::string text;

	for (Node &n : nodes) {
		struct member *m = n.p ? n.p->m : nullptr;

		text += " n" + std::to_string(n.n);
		text += !m	    ? " off"
			: n.stopped ? " stopped"
				    : std::string(" ") + member_status_name(status(n));
		if (m && m->raft)
			text += " term " + std::to_string(kddm_raft_term(m->raft)) + " role " +
				std::to_string(kddm_raft_role(m->raft, m->id.raft_id)) + " of " +
				std::to_string(kddm_raft_members(m->raft)->n) + " end " +
				std::to_string(kddm_raft_last_index(m->raft)) + " applied " +
				std::to_string(kddm_raft_applied(m->raft)) + servers(m) +
				(m->leads	     ? (m->changing ? " leads, changing" : " leads")
				 : m->disk.rejoining ? " rejoins"
						     : "");
		text += ";";
	}
	return text;
}

bool World::settled()
{
	uint64_t digest = 0;

	for (Node &n : nodes) {
		if (!n.p || n.stopped || status(n) != MEMBER_LIVE)
			return false;
		uint64_t d = kddm_fsm_digest(kddm_fsm_of(member_kddm(n.p->m)));

		if (digest && d != digest)
			return false;
		digest = d;
	}
	return true;
}

unsigned World::voters()
{
	const raft_configuration *c = kddm_raft_members(nodes[0].p->m->raft);
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		n += c->servers[i].role == RAFT_VOTER;
	return n;
}
