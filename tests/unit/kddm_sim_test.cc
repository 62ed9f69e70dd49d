// SPDX-License-Identifier: GPL-2.0
// Whole nodes on simulated time, without sockets: request core, state machine
// and linkers of several nodes over a network that delays, loses, repeats and
// reorders, a log whose leader changes in the middle of everything, and nodes
// that restart from a snapshot or come back as a new life. Checked:
//   - each request is answered exactly once, and its effect is there once
//   - an acknowledged write is in the log at the index that was told
//   - replicas agree when all is quiet
// A seed reproduces a run. A planted bug (requests sent again under another
// name) must be found.
#include <gtest/gtest.h>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "userland/netd/kddm_core.h"
}

namespace {

const kddm_type plain = {40, "plain", 0, nullptr, false, nullptr};
constexpr uint32_t NODES = 4;

struct Sim;

struct Pending {
	std::string key;
	int answers = 0, status = 99, op = 99;
	uint64_t index = 0;
};

struct Node {
	Sim *sim;
	uint32_t number;
	uint64_t incarnation;
	kddm *k = nullptr;
	kddm_set *set = nullptr;
	uint64_t applied = 0;		   // entries of the log
	uint64_t due = 0;		   // when the next entry may be applied
	std::map<std::string, int> mirror; // kept by a linker

	void create();
	void destroy();
};

struct Event {
	uint64_t at, order;
	std::function<void()> run;
	bool operator<(const Event &o) const
	{
		return at != o.at ? at > o.at : order > o.order;
	}
};

struct Sim {
	std::mt19937 rng;
	uint64_t now = 1, order = 0;
	std::priority_queue<Event> events;
	std::vector<std::string> log; // committed
	uint32_t leader = 1, term = 1;
	std::vector<std::unique_ptr<Node>> nodes;
	std::deque<Pending> requests; // stable addresses
	bool quiet = false, rename = false;
	int faults = 0;

	explicit Sim(unsigned seed, bool rename = false) : rng(seed), rename(rename)
	{
		for (uint32_t i = 1; i <= NODES; i++) {
			nodes.push_back(std::make_unique<Node>(Node{this, i, i * 100}));
			nodes.back()->create();
		}
		for (uint32_t i = 1; i <= NODES; i++) {
			member_op(KDDM_OP_NODE_JOIN, *nodes[i - 1]);
			member_op(KDDM_OP_NODE_UP, *nodes[i - 1]);
		}
	}
	~Sim()
	{
		for (auto &n : nodes)
			n->destroy();
	}
	uint64_t dice(uint64_t n)
	{
		return rng() % n;
	}
	void later(uint64_t ms, std::function<void()> run)
	{
		events.push({now + ms, ++order, std::move(run)});
	}
	Node &node(uint32_t number)
	{
		return *nodes[number - 1];
	}
	// Membership straight into the log, as if some leader had done it.
	void member_op(uint8_t kind, const Node &n)
	{
		node_info info = {};
		kddm_buf entry = {}, ops = {};
		kddm_wire_op op = {};
		kddm_wire_request req = {};

		info.number = n.number;
		info.raft_id = 1000 + n.number;
		info.incarnation = n.incarnation;
		snprintf(info.name, sizeof(info.name), "n%u", n.number);
		op.kind = kind;
		op.value_len = sizeof(info);
		kddm_op_encode(&ops, &op, nullptr, &info);
		req.n_ops = 1;
		req.bytes = static_cast<uint32_t>(ops.len);
		kddm_entry_begin(&entry);
		kddm_entry_add(&entry, &req, ops.data);
		kddm_entry_end(&entry);
		log.emplace_back(entry.data, entry.len);
		kddm_buf_free(&entry);
		kddm_buf_free(&ops);
	}
	void elect()
	{
		uint32_t old = leader;

		leader = static_cast<uint32_t>(dice(NODES)) + 1;
		term++;
		// Everybody hears of it at another time; see who_leads().
		for (auto &n : nodes) {
			Node *p = n.get();
			later(dice(60), [p] {
				if (p->k)
					kddm_resend(p->k);
			});
		}
		if (node(old).k)
			kddm_proposed(node(old).k);
	}
	void crash(Node &n);
	void submit(Node &n);
	void step();
	void run(uint64_t ms);
	void settle();
	int violations();
};

uint64_t env_now(void *arg)
{
	return static_cast<Node *>(arg)->sim->now;
}

// Now and then a node believes in the leader of yesterday.
uint32_t env_leader(void *arg)
{
	auto *n = static_cast<Node *>(arg);
	Sim *s = n->sim;

	if (!s->quiet && s->dice(40) == 0)
		return static_cast<uint32_t>(s->dice(NODES + 1));
	return s->leader;
}

bool env_quorum(void *)
{
	return true;
}

void copy_aligned(const std::string &bytes, const std::function<void(void *)> &use)
{
	void *copy = aligned_alloc(8, (bytes.size() + 7) & ~7ul);

	memcpy(copy, bytes.data(), bytes.size());
	use(copy);
	free(copy);
}

// The planted bug: what is sent again is not known again.
void rename_requests(std::string &bytes)
{
	const kddm_wire_request *req = nullptr;

	while ((req = kddm_request_next(bytes.data(), req)))
		const_cast<kddm_wire_request *>(req)->seq += 1ull << 50;
}

int env_forward(void *arg, uint32_t to, const void *entry, size_t len)
{
	auto *n = static_cast<Node *>(arg);
	Sim *s = n->sim;
	std::string bytes(static_cast<const char *>(entry), len);
	int copies = s->quiet ? 1 : s->dice(5) == 0 ? 0 : s->dice(8) == 0 ? 2 : 1;

	if (to == n->number)
		return -EINVAL;
	for (int i = 0; i < copies; i++) {
		if (i && s->rename)
			rename_requests(bytes);
		s->later(s->dice(s->quiet ? 5 : 80), [s, to, from = n->number, bytes] {
			kddm *k = s->node(to).k;

			copy_aligned(bytes, [&](void *p) {
				if (k && s->leader == to)
					kddm_receive(k, from, p, bytes.size());
			});
		});
	}
	return 0;
}

// Into the log after a while, if the proposer still leads then; when it does
// not, the entry may have been saved by the successor all the same.
int env_propose(void *arg, const void *entry, size_t len)
{
	auto *n = static_cast<Node *>(arg);
	Sim *s = n->sim;
	std::string bytes(static_cast<const char *>(entry), len);

	if (s->leader != n->number)
		return -EAGAIN;
	s->later(s->dice(20), [s, number = n->number, term = s->term, bytes] {
		if (s->term == term || s->dice(3) == 0)
			s->log.push_back(bytes);
		if (s->term == term && s->node(number).k)
			kddm_proposed(s->node(number).k);
	});
	return 0;
}

int env_ask(void *arg, uint32_t to, uint64_t index, uint64_t id)
{
	auto *n = static_cast<Node *>(arg);
	Sim *s = n->sim;

	s->later(s->dice(30), [s, to, from = n->number, index, id] {
		if (s->node(to).k)
			kddm_asked_applied(s->node(to).k, from, index, id);
	});
	return 0;
}

int env_tell(void *arg, uint32_t to, uint64_t id)
{
	auto *n = static_cast<Node *>(arg);
	Sim *s = n->sim;

	s->later(s->dice(30), [s, to, from = n->number, id] {
		if (s->node(to).k)
			kddm_told_applied(s->node(to).k, from, id);
	});
	return 0;
}

const kddm_env env = {env_now, env_leader, env_quorum, env_forward, env_propose, env_ask, env_tell};

std::string key_of(const kddm_object *o)
{
	return std::string(static_cast<const char *>(o->key), o->key_len);
}

void on_insert(void *arg, const kddm_object *o)
{
	static_cast<Node *>(arg)->mirror[key_of(o)] = 1;
}

void on_update(void *arg, const kddm_object *, const kddm_object *o)
{
	static_cast<Node *>(arg)->mirror[key_of(o)]++;
}

void on_remove(void *arg, const kddm_object *o)
{
	static_cast<Node *>(arg)->mirror.erase(key_of(o));
}

void on_reset(void *arg)
{
	auto *n = static_cast<Node *>(arg);
	const kddm_object *o;

	n->mirror.clear();
	kddm_for_each(n->set, o)
	{
		on_insert(n, o);
	}
}

const kddm_linker linker = {on_insert, on_update, on_remove, on_reset, nullptr};

void Node::create()
{
	k = kddm_new(&env, this);
	kddm_set_register(k, &plain, &set);
	kddm_link(set, &linker, this);
	kddm_start(k);
	applied = 0;
	mirror.clear();
}

void Node::destroy()
{
	kddm_free(k);
	k = nullptr;
}

void on_done(void *arg, const kddm_result *r)
{
	auto *p = static_cast<Pending *>(arg);

	p->answers++;
	p->status = r->status;
	p->op = r->n_ops ? r->op[0] : 0;
	p->index = r->index;
}

// Each request creates a key of its own: if it were applied twice, the second
// time would say EEXIST. Some of the keys are removed again by others.
void Sim::submit(Node &n)
{
	kddm_batch *b = kddm_batch_new(n.k, dice(2));
	requests.push_back({"r" + std::to_string(requests.size())});
	Pending &p = requests.back();

	kddm_put(b, n.set, p.key.data(), p.key.size(), "v", 1, KDDM_ABSENT);
	kddm_submit(b, on_done, &p);
	if (dice(3) == 0)
		kddm_wait_applied(n.k, n.applied, nullptr, 0, 1000, [](void *, int) {}, nullptr);
}

// The process dies and comes back: with its log, or from another's snapshot;
// often as the same life (netd was restarted), sometimes declared dead.
void Sim::crash(Node &n)
{
	faults++;
	n.destroy(); // its unanswered requests end as not sent or unknown
	n.create();
	if (dice(3) == 0) {
		member_op(KDDM_OP_NODE_DEAD, n);
		n.incarnation++;
		member_op(KDDM_OP_NODE_UP, n);
	}
	Node &donor = node(static_cast<uint32_t>(dice(NODES)) + 1);
	if (dice(2) && &donor != &n && donor.applied) {
		kddm_buf snap = {};

		kddm_fsm_snapshot(kddm_fsm_of(donor.k), &snap);
		EXPECT_EQ(kddm_restore(n.k, snap.data, snap.len), 0);
		n.applied = donor.applied;
		kddm_buf_free(&snap);
	}
}

void Sim::step()
{
	now++;
	while (!events.empty() && events.top().at <= now) {
		auto run = events.top().run;

		events.pop();
		run();
	}
	for (auto &p : nodes) {
		Node &n = *p;
		const node_info *info;

		while (n.applied < log.size() && now >= n.due) {
			copy_aligned(log[n.applied], [&](void *entry) {
				EXPECT_EQ(kddm_apply(n.k, n.applied + 1, entry, log[n.applied].size()), 0);
			});
			n.applied++;
			n.due = now + (quiet ? 0 : dice(4) == 0 ? dice(50) : 0);
		}
		info = nodes_get(kddm_nodes(n.k), n.number);
		if (info && info->state == NODE_UP && info->incarnation == n.incarnation)
			kddm_identify(n.k, n.number, n.incarnation);
		if (!quiet && info && dice(15) == 0)
			submit(n);
		if (now % 50 == 0)
			kddm_tick(n.k);
		kddm_reap(n.k);
		kddm_flush(n.k);
	}
	if (!quiet && dice(400) == 0)
		elect();
	if (!quiet && dice(1500) == 0)
		crash(node(static_cast<uint32_t>(dice(NODES)) + 1));
}

void Sim::run(uint64_t ms)
{
	for (uint64_t end = now + ms; now < end;)
		step();
}

void Sim::settle()
{
	quiet = true;
	run(KDDM_UNKNOWN_MS + 2000);
}

int Sim::violations()
{
	std::map<std::string, uint64_t> at; // key -> index of the entry that made it
	int bad = 0;

	for (size_t i = 0; i < log.size(); i++) {
		copy_aligned(log[i], [&](void *entry) {
			const kddm_wire_request *req = nullptr;

			while ((req = kddm_request_next(entry, req))) {
				const kddm_wire_op *op = req->node ? kddm_op_next(req, nullptr) : nullptr;

				if (op)
					at.emplace(std::string(static_cast<const char *>(kddm_op_key(op)),
							       op->key_len),
						   i + 1);
			}
		});
	}
	for (const Pending &p : requests) {
		bad += p.answers != 1;
		// Whoever creates its own key can never find it there already.
		bad += p.status == 0 && p.op != 0;
		bad += p.status == 0 && (!at.count(p.key) || at[p.key] > p.index);
		bad += p.status == 0 && !kddm_find(nodes[0]->set, p.key.data(), p.key.size());
		bad += (p.status == -EAGAIN || p.status == -ENOTCONN) &&
		       kddm_find(nodes[0]->set, p.key.data(), p.key.size()) != nullptr;
	}
	for (auto &n : nodes) {
		bad += kddm_fsm_digest(kddm_fsm_of(n->k)) != kddm_fsm_digest(kddm_fsm_of(nodes[0]->k));
		bad += n->mirror.size() != kddm_count(n->set);
	}
	return bad;
}

TEST(KddmSim, RandomSchedules)
{
	size_t answered = 0, entries = 0, faults = 0;

	for (unsigned seed = 1; seed <= 25; seed++) {
		Sim sim(seed);

		sim.run(4000);
		sim.settle();
		ASSERT_EQ(sim.violations(), 0) << "seed " << seed;
		entries += sim.log.size();
		faults += sim.faults;
		for (const Pending &p : sim.requests)
			answered += p.status == 0;
	}
	EXPECT_GT(answered, 10000u);
	EXPECT_GT(faults, 30u);
	printf("%zu requests in %zu entries, %zu restarts\n", answered, entries, faults);
}

TEST(KddmSim, FindsThePlantedBug)
{
	int found = 0;

	for (unsigned seed = 1; seed <= 5; seed++) {
		Sim sim(seed, true);

		sim.run(4000);
		sim.settle();
		found += sim.violations() > 0;
	}
	EXPECT_GT(found, 2);
}

} // namespace
