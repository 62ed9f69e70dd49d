// SPDX-License-Identifier: GPL-2.0
// The replicated state machine: expectations, atomic batches, exactly once,
// death, snapshots, and agreement of replicas fed with the same entries.
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "userland/netd/kddm_core.h"
#include "userland/netd/kddm_set.h"
}

namespace {

const kddm_type plain = {40, "plain", 0, nullptr, false, nullptr};

// A dead owner's objects go to node 1 instead of away.
void inherit(kddm *k, const kddm_object *obj, uint32_t node)
{
	if (obj->owner == node)
		kddm_apply_put(k, 41, obj->key, obj->key_len, obj->value, obj->value_len, 1);
}
const kddm_type inherited = {41, "inherited", 0, inherit, true, nullptr};

struct Outcome {
	uint64_t seq, index;
	int status;
	std::vector<int> errors;
};

// The request core with an environment that proposes nothing by itself.
struct Replica {
	kddm *k;
	kddm_fsm *f;
	kddm_set *set, *heirs;
	std::vector<std::string> proposed;
	uint64_t now = 1, index = 0;
	uint32_t leader = 0;

	static uint64_t now_ms(void *arg)
	{
		return static_cast<Replica *>(arg)->now;
	}
	static uint32_t who_leads(void *arg)
	{
		return static_cast<Replica *>(arg)->leader;
	}
	static bool quorum(void *)
	{
		return true;
	}
	static int keep(void *arg, const void *entry, size_t len)
	{
		static_cast<Replica *>(arg)->proposed.emplace_back(static_cast<const char *>(entry), len);
		return 0;
	}
	static int forward(void *arg, uint32_t, const void *entry, size_t len)
	{
		return keep(arg, entry, len);
	}
	static int ask(void *, uint32_t, uint64_t, uint64_t)
	{
		return 0;
	}
	static int tell(void *, uint32_t, uint64_t)
	{
		return 0;
	}

	Replica()
	{
		static const kddm_env env = {now_ms, who_leads, quorum, forward, keep, ask, tell};

		k = kddm_new(&env, this);
		f = kddm_fsm_of(k);
		kddm_set_register(k, &plain, &set);
		kddm_set_register(k, &inherited, &heirs);
		kddm_start(k);
	}
	~Replica()
	{
		kddm_free(k);
	}
	int apply(const std::string &entry)
	{
		void *copy = aligned_alloc(8, (entry.size() + 7) & ~7ul);
		int r;

		memcpy(copy, entry.data(), entry.size());
		r = kddm_apply(k, ++index, copy, entry.size());
		free(copy);
		return r;
	}
	const kddm_object *find(const std::string &key)
	{
		return kddm_find(set, key.data(), key.size());
	}
};

// Builds entries by hand.
struct Entry {
	kddm_buf buf = {}, ops = {};
	kddm_wire_request req = {};

	Entry(uint32_t node = 0, uint64_t seq = 0, uint64_t low = 0, bool atomic = false)
	{
		kddm_entry_begin(&buf);
		request(node, seq, low, atomic);
	}
	~Entry()
	{
		kddm_buf_free(&buf);
		kddm_buf_free(&ops);
	}
	void request(uint32_t node, uint64_t seq, uint64_t low = 0, bool atomic = false)
	{
		flush();
		req = {};
		req.node = node;
		req.incarnation = node * 100;
		req.seq = seq;
		req.low = low;
		req.flags = atomic ? KDDM_REQUEST_ATOMIC : 0;
	}
	void flush()
	{
		if (!req.n_ops)
			return;
		req.bytes = static_cast<uint32_t>(ops.len);
		kddm_entry_add(&buf, &req, ops.data);
		ops.len = 0;
		req.n_ops = 0;
	}
	Entry &op(uint8_t kind, const std::string &key, const std::string &value = "",
		  uint64_t expect = KDDM_ANY, uint32_t owner = 0, uint16_t type = 40)
	{
		kddm_wire_op w = {};

		w.kind = kind;
		w.type = type;
		w.key_len = static_cast<uint16_t>(key.size());
		w.value_len = static_cast<uint16_t>(value.size());
		w.expect = expect;
		w.owner = owner;
		kddm_op_encode(&ops, &w, key.data(), value.data());
		req.n_ops++;
		return *this;
	}
	Entry &node(uint8_t kind, uint32_t number, const char *name = "", uint64_t incarnation = 0,
		    uint8_t flags = 0)
	{
		node_info info = {};

		info.flags = flags;
		info.number = number;
		info.raft_id = 1000 + number;
		info.incarnation = incarnation ? incarnation : number * 100;
		snprintf(info.name, sizeof(info.name), "%s", name);
		snprintf(info.address, sizeof(info.address), "a%u", number);
		return op(kind, "", std::string(reinterpret_cast<char *>(&info), sizeof(info)));
	}
	std::string done()
	{
		flush();
		kddm_entry_end(&buf);
		return std::string(buf.data, buf.len);
	}
};

struct KddmFsm : testing::Test {
	Replica r;

	void SetUp() override
	{
		for (uint32_t n = 1; n <= 3; n++) {
			std::string name = "n" + std::to_string(n);

			ASSERT_EQ(r.apply(Entry().node(KDDM_OP_NODE_JOIN, n, name.c_str()).done()), 0);
			ASSERT_EQ(r.apply(Entry().node(KDDM_OP_NODE_UP, n).done()), 0);
		}
	}
	std::vector<int> errors_of(uint32_t node, uint64_t seq)
	{
		const kddm_outcome *o = kddm_fsm_outcome(r.f, node, node * 100, seq);
		std::vector<int> out;

		for (uint32_t i = 0; o && i < o->n_ops; i++)
			out.push_back(o->errors ? o->errors[i] : 0);
		return out;
	}
};

TEST_F(KddmFsm, ExpectedVersions)
{
	uint64_t version;

	r.apply(Entry(1, 1).op(KDDM_OP_PUT, "a", "1", KDDM_ABSENT).done());
	version = r.find("a")->version;
	EXPECT_EQ(version, r.index);
	r.apply(Entry(1, 2)
			.op(KDDM_OP_PUT, "a", "2", KDDM_ABSENT)
			.op(KDDM_OP_PUT, "a", "2", version)
			.op(KDDM_OP_PUT, "a", "3", version)
			.op(KDDM_OP_PUT, "b", "3", 7)
			.op(KDDM_OP_REMOVE, "b")
			.done());
	EXPECT_EQ(errors_of(1, 2), (std::vector<int>{EEXIST, 0, ESTALE, ENOENT, ENOENT}));
	EXPECT_EQ(memcmp(r.find("a")->value, "2", 1), 0);
}

TEST_F(KddmFsm, RaceHasOneWinner)
{
	Entry e(1, 1);

	e.op(KDDM_OP_GRAB, "port", "1", KDDM_ABSENT, 1);
	e.request(2, 1);
	e.op(KDDM_OP_GRAB, "port", "2", KDDM_ABSENT, 2);
	e.request(3, 1);
	e.op(KDDM_OP_GRAB, "port", "3", KDDM_ANY, 3);
	r.apply(e.done());
	EXPECT_EQ(errors_of(1, 1), std::vector<int>{0});
	EXPECT_EQ(errors_of(2, 1), std::vector<int>{EEXIST});
	// one entry, one epoch, one owner
	EXPECT_EQ(errors_of(3, 1), std::vector<int>{ESTALE});
	EXPECT_EQ(r.find("port")->owner, 1u);
}

TEST_F(KddmFsm, EpochRisesWithOwnerAlsoOverRemoval)
{
	uint64_t epoch;

	r.apply(Entry(1, 1).op(KDDM_OP_GRAB, "p", "", KDDM_ANY, 1).done());
	epoch = r.find("p")->epoch;
	r.apply(Entry(1, 2).op(KDDM_OP_PUT, "p", "x").done());
	EXPECT_EQ(r.find("p")->epoch, epoch);
	EXPECT_EQ(r.find("p")->owner, 1u);
	r.apply(Entry(1, 3).op(KDDM_OP_REMOVE, "p").done());
	r.apply(Entry(2, 1).op(KDDM_OP_GRAB, "p", "", KDDM_ABSENT, 2).done());
	EXPECT_GT(r.find("p")->epoch, epoch);
}

TEST_F(KddmFsm, AtomicBatchAppliesWhollyOrNot)
{
	uint64_t before;

	r.apply(Entry(1, 1).op(KDDM_OP_PUT, "a", "1").op(KDDM_OP_PUT, "b", "1").done());
	before = kddm_fsm_digest(r.f);
	r.apply(Entry(1, 2, 2, true)
			.op(KDDM_OP_PUT, "a", "2")
			.op(KDDM_OP_REMOVE, "b")
			.op(KDDM_OP_PUT, "b", "9")
			.op(KDDM_OP_PUT, "c", "1")
			.op(KDDM_OP_PUT, "a", "3", KDDM_ABSENT)
			.op(KDDM_OP_PUT, "d", "1")
			.done());
	EXPECT_EQ(errors_of(1, 2),
		  (std::vector<int>{ECANCELED, ECANCELED, ECANCELED, ECANCELED, EEXIST, ECANCELED}));
	EXPECT_EQ(memcmp(r.find("a")->value, "1", 1), 0);
	EXPECT_EQ(memcmp(r.find("b")->value, "1", 1), 0);
	EXPECT_EQ(r.find("c"), nullptr);
	EXPECT_EQ(kddm_count(r.set), 2u);
	EXPECT_NE(kddm_fsm_digest(r.f), before); // the outcome itself is state
}

TEST_F(KddmFsm, RepeatedRequestIsAppliedOnce)
{
	std::string put = Entry(1, 1).op(KDDM_OP_PUT, "a", "1").done();

	r.apply(put);
	r.apply(Entry(2, 1).op(KDDM_OP_PUT, "a", "2").done());
	r.apply(put);
	EXPECT_EQ(memcmp(r.find("a")->value, "2", 1), 0);
	// the origin knows: outcomes below `low` are dropped, late duplicates too
	r.apply(Entry(1, 2, 2).op(KDDM_OP_PUT, "b", "1").done());
	EXPECT_EQ(kddm_fsm_outcome(r.f, 1, 100, 1), nullptr);
	r.apply(put);
	EXPECT_EQ(memcmp(r.find("a")->value, "2", 1), 0);
}

TEST_F(KddmFsm, OutcomesAreBounded)
{
	for (uint64_t seq = 1; seq <= KDDM_WINDOW + 10; seq++)
		r.apply(Entry(1, seq, 1).op(KDDM_OP_PUT, "k" + std::to_string(seq), "").done());
	EXPECT_EQ(kddm_count(r.set), static_cast<size_t>(KDDM_WINDOW));
}

TEST_F(KddmFsm, DeathRemovesWhatItOwnedAndFencesItsRequests)
{
	r.apply(Entry(2, 1)
			.op(KDDM_OP_GRAB, "a", "", KDDM_ANY, 2)
			.op(KDDM_OP_PUT, "shared", "")
			.op(KDDM_OP_GRAB, "h", "", KDDM_ANY, 2, 41)
			.done());
	r.apply(Entry(1, 1).op(KDDM_OP_GRAB, "mine", "", KDDM_ANY, 1).done());
	r.apply(Entry().node(KDDM_OP_NODE_DEAD, 2, "", 999).done()); // another life: nothing
	EXPECT_NE(r.find("a"), nullptr);
	r.apply(Entry().node(KDDM_OP_NODE_DEAD, 2).done());
	EXPECT_EQ(r.find("a"), nullptr);
	EXPECT_NE(r.find("shared"), nullptr);
	EXPECT_NE(r.find("mine"), nullptr);
	EXPECT_EQ(kddm_find(r.heirs, "h", 1)->owner, 1u);
	EXPECT_EQ(nodes_get(r.f->nodes, 2)->state, NODE_DEAD);
	r.apply(Entry(2, 2).op(KDDM_OP_PUT, "late", "").done());
	EXPECT_EQ(r.find("late"), nullptr);
	// nobody can be given to the dead, and the same life never returns
	r.apply(Entry(1, 2).op(KDDM_OP_GRAB, "x", "", KDDM_ANY, 2).done());
	EXPECT_EQ(errors_of(1, 2), std::vector<int>{EHOSTDOWN});
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2).done());
	EXPECT_EQ(nodes_get(r.f->nodes, 2)->state, NODE_DEAD);
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2, "", 201).done());
	EXPECT_EQ(nodes_get(r.f->nodes, 2)->state, NODE_UP);
}

TEST_F(KddmFsm, NewLifeDropsWhatTheOldOneOwned)
{
	r.apply(Entry(2, 1).op(KDDM_OP_GRAB, "a", "", KDDM_ANY, 2).done());
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2).done()); // netd restarted: nothing changes
	EXPECT_NE(r.find("a"), nullptr);
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2, "", 250).done()); // machine restarted
	EXPECT_EQ(r.find("a"), nullptr);
}

TEST_F(KddmFsm, FlagsOfANodeBelongToItsLife)
{
	auto flags = [&] { return nodes_get(r.f->nodes, 2)->flags; };

	r.apply(Entry().node(KDDM_OP_NODE_UP, 2, "", 0, NODE_SERVES).done());
	EXPECT_EQ(flags(), NODE_SERVES);
	r.apply(Entry().node(KDDM_OP_NODE_LEASE, 2, "", 0, NODE_AWAY).done());
	EXPECT_EQ(flags(), NODE_SERVES | NODE_AWAY);
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2).done()); // the same life says that it does not serve
	EXPECT_EQ(flags(), NODE_AWAY);
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2, "", 250, NODE_SERVES).done()); // rebooted: not yet
	EXPECT_EQ(flags(), 0);
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2, "", 250, NODE_SERVES).done());
	r.apply(Entry().node(KDDM_OP_NODE_DEAD, 2, "", 250).done());
	EXPECT_EQ(flags(), 0);
	// nobody becomes a witness but by joining as one, and stays one
	r.apply(Entry().node(KDDM_OP_NODE_UP, 2, "", 251, NODE_WITNESS).done());
	EXPECT_EQ(flags(), 0);
	r.apply(Entry().node(KDDM_OP_NODE_JOIN, 9, "w", 0, NODE_WITNESS | NODE_SERVES).done());
	EXPECT_EQ(nodes_by_name(r.f->nodes, "w")->flags, NODE_WITNESS);
}

TEST_F(KddmFsm, NamesAreUniqueAndNumbersStay)
{
	kddm_set *nodes = r.f->nodes;

	r.apply(Entry().node(KDDM_OP_NODE_JOIN, 9, "n2").done());
	EXPECT_EQ(kddm_count(nodes), 3u); // n2 is up: refused
	r.apply(Entry().node(KDDM_OP_NODE_LEAVE, 2).done());
	r.apply(Entry().node(KDDM_OP_NODE_JOIN, 9, "n2").done());
	EXPECT_EQ(nodes_by_name(nodes, "n2")->number, 2u);
	EXPECT_EQ(nodes_by_name(nodes, "n2")->raft_id, 1009u);
	r.apply(Entry().node(KDDM_OP_NODE_JOIN, 9, "n9").done());
	EXPECT_EQ(nodes_by_name(nodes, "n9"), nullptr); // n2 votes under that id
	r.apply(Entry().node(KDDM_OP_NODE_JOIN, 11, "n9").done());
	EXPECT_EQ(nodes_by_name(nodes, "n9")->number, 4u);
	r.apply(Entry().node(KDDM_OP_NODE_JOIN, 10, "../evil name").done());
	EXPECT_EQ(kddm_count(nodes), 4u);
}

struct Log {
	std::string text;
	static void insert(void *arg, const kddm_object *o)
	{
		static_cast<Log *>(arg)->add('+', o);
	}
	static void update(void *arg, const kddm_object *old, const kddm_object *o)
	{
		EXPECT_LE(old->version, o->version);
		static_cast<Log *>(arg)->add('=', o);
	}
	static void remove(void *arg, const kddm_object *o)
	{
		static_cast<Log *>(arg)->add('-', o);
	}
	static void reset(void *arg)
	{
		static_cast<Log *>(arg)->text += '!';
	}
	static void entry_done(void *arg, uint64_t)
	{
		static_cast<Log *>(arg)->text += '.';
	}
	void add(char c, const kddm_object *o)
	{
		text += c + std::string(static_cast<const char *>(o->key), o->key_len);
	}
};

TEST_F(KddmFsm, LinkersSeeEachChangeOnceAndNothingThatWasUndone)
{
	static const kddm_linker linker = {Log::insert, Log::update, Log::remove, Log::reset,
					   Log::entry_done};
	Log log;

	kddm_link(r.set, &linker, &log);
	r.apply(Entry(1, 1)
			.op(KDDM_OP_PUT, "a", "1")
			.op(KDDM_OP_GRAB, "b", "", KDDM_ANY, 1)
			.op(KDDM_OP_PUT, "a", "2")
			.done());
	r.apply(Entry(1, 2, 0, true).op(KDDM_OP_PUT, "c", "").op(KDDM_OP_PUT, "a", "", KDDM_ABSENT).done());
	r.apply(Entry().node(KDDM_OP_NODE_DEAD, 1).done());
	EXPECT_EQ(log.text, "+a+b=a..-b.");
}

TEST_F(KddmFsm, SnapshotRestoresTheSameState)
{
	kddm_buf snap = {};
	Replica other;

	r.apply(Entry(1, 1).op(KDDM_OP_PUT, "a", "1").op(KDDM_OP_PUT, "a", "", KDDM_ABSENT).done());
	r.apply(Entry(2, 5).op(KDDM_OP_GRAB, "b", std::string(999, 'x'), KDDM_ANY, 2).done());
	kddm_fsm_snapshot(r.f, &snap);
	ASSERT_EQ(kddm_fsm_restore(other.f, snap.data, snap.len), 0);
	other.index = r.index;
	EXPECT_EQ(kddm_fsm_digest(other.f), kddm_fsm_digest(r.f));
	// and goes on alike, duplicates included
	for (Replica *x : {&r, &other}) {
		x->apply(Entry(2, 5).op(KDDM_OP_REMOVE, "b").done());
		x->apply(Entry().node(KDDM_OP_NODE_DEAD, 2).done());
	}
	EXPECT_EQ(kddm_fsm_digest(other.f), kddm_fsm_digest(r.f));
	kddm_buf_free(&snap);
}

// Whoever sends a snapshot is a member, and may be broken all the same: what no entry could have brought is refused.
TEST_F(KddmFsm, SnapshotWithWhatNoEntryCouldBring)
{
	for (uint32_t number : {0u, 2u, NODES_MAX + 1u, UINT32_MAX}) {
		kddm_fsm f, into;
		kddm_buf b = {};
		node_info info = {};
		uint32_t key = number;

		kddm_fsm_init(&f, nullptr, nullptr, nullptr);
		kddm_fsm_init(&into, nullptr, nullptr, nullptr);
		info.number = number;
		info.state = NODE_UP;
		info.raft_id = 5;
		strcpy(info.name, "n1");
		f.index = 7;
		kddm_fsm_put(&f, f.nodes, &key, sizeof(key), &info, number == 2 ? 8 : sizeof(info), 0);
		kddm_fsm_snapshot(&f, &b);
		EXPECT_EQ(kddm_fsm_restore(&into, b.data, b.len), -EPROTO) << number;
		EXPECT_EQ(kddm_count(into.nodes), 0u);
		kddm_buf_free(&b);
		f.n_changes = 0;
		kddm_fsm_clear(&f);
		kddm_fsm_clear(&into);
	}
}

TEST_F(KddmFsm, DamagedSnapshotChangesNothing)
{
	kddm_buf snap = {};
	uint64_t before;
	std::mt19937 rng(3);

	r.apply(Entry(1, 1).op(KDDM_OP_PUT, "a", "1").op(KDDM_OP_PUT, "a", "", KDDM_ABSENT).done());
	kddm_fsm_snapshot(r.f, &snap);
	before = kddm_fsm_digest(r.f);
	for (size_t len = 0; len < snap.len; len += 3) {
		void *copy = malloc(len ? len : 1);

		memcpy(copy, snap.data, len);
		EXPECT_LT(kddm_fsm_restore(r.f, copy, len), 0);
		free(copy);
	}
	EXPECT_EQ(kddm_fsm_digest(r.f), before);
	kddm_buf_free(&snap);
}

TEST_F(KddmFsm, OutcomeComesFromTheLogAndFromSnapshots)
{
	struct Done {
		int calls = 0, status = 99, op = 99;
		static void cb(void *arg, const kddm_result *res)
		{
			auto *d = static_cast<Done *>(arg);

			d->calls++;
			d->status = res->status;
			d->op = res->n_ops ? res->op[0] : 0;
		}
	} first, second;
	kddm_batch *b;
	kddm_buf snap = {};
	Replica other;

	kddm_identify(r.k, 1, 100);
	r.leader = 2;
	b = kddm_batch_new(r.k, false);
	kddm_put(b, r.set, "a", 1, "1", 1, KDDM_ABSENT);
	kddm_submit(b, Done::cb, &first);
	b = kddm_batch_new(r.k, false);
	kddm_put(b, r.set, "a", 1, "2", 1, KDDM_ABSENT);
	kddm_submit(b, Done::cb, &second);
	kddm_flush(r.k);
	ASSERT_EQ(r.proposed.size(), 1u); // both in one message
	kddm_reap(r.k);
	EXPECT_EQ(first.calls, 0);

	// The entry is applied elsewhere, and comes here as part of a snapshot.
	kddm_buf base = {};
	kddm_fsm_snapshot(r.f, &base);
	ASSERT_EQ(kddm_fsm_restore(other.f, base.data, base.len), 0);
	other.index = r.index;
	ASSERT_EQ(other.apply(r.proposed[0]), 0);
	kddm_fsm_snapshot(other.f, &snap);
	ASSERT_EQ(kddm_restore(r.k, snap.data, snap.len), 0);
	kddm_reap(r.k);
	EXPECT_EQ(first.calls, 1);
	EXPECT_EQ(first.status, 0);
	EXPECT_EQ(first.op, 0);
	EXPECT_EQ(second.op, -EEXIST);
	kddm_buf_free(&snap);
	kddm_buf_free(&base);
}

TEST_F(KddmFsm, TimeLimits)
{
	struct Done {
		int status = 99;
		static void cb(void *arg, const kddm_result *res)
		{
			static_cast<Done *>(arg)->status = res->status;
		}
	} unsent, sent;
	kddm_batch *b;

	kddm_identify(r.k, 1, 100);
	b = kddm_batch_new(r.k, false);
	kddm_put(b, r.set, "a", 1, "1", 1, KDDM_ANY);
	kddm_submit(b, Done::cb, &unsent);
	kddm_flush(r.k);
	r.now += KDDM_UNSENT_MS;
	kddm_tick(r.k);
	kddm_reap(r.k);
	EXPECT_EQ(unsent.status, -EAGAIN);

	r.leader = 2;
	b = kddm_batch_new(r.k, false);
	kddm_put(b, r.set, "a", 1, "1", 1, KDDM_ANY);
	kddm_submit(b, Done::cb, &sent);
	for (int i = 0; i < 1000 && sent.status == 99; i++) {
		kddm_flush(r.k);
		r.now += 20;
		kddm_tick(r.k);
		kddm_reap(r.k);
	}
	EXPECT_EQ(sent.status, -ETIMEDOUT);
	EXPECT_GT(r.proposed.size(), 2u); // it was asked again
}

// Random entries into two replicas, one of which restarts from snapshots.
TEST(KddmReplicas, AgreeWhateverHappens)
{
	std::mt19937 rng(42);
	Replica a;
	auto b = std::make_unique<Replica>();

	for (int i = 0; i < 4000; i++) {
		uint32_t node = rng() % 4 + 1;
		std::string key = "k" + std::to_string(rng() % 50), name = "n" + std::to_string(node);
		std::string entry;

		switch (rng() % 12) {
		case 0:
			entry = Entry().node(KDDM_OP_NODE_JOIN, node, name.c_str()).done();
			break;
		case 1:
		case 2:
			entry = Entry().node(KDDM_OP_NODE_UP, node, "", node * 100 + rng() % 2).done();
			break;
		case 3:
			entry = Entry().node(KDDM_OP_NODE_DEAD, node).done();
			break;
		case 4:
			entry = Entry().node(KDDM_OP_NODE_LEAVE, node).done();
			break;
		default:
			entry = Entry(node, rng() % 30 + i / 10, i / 10, rng() % 2)
					.op(KDDM_OP_GRAB, key, "v", rng() % 2 ? KDDM_ANY : KDDM_ABSENT,
					    rng() % 5, 40 + rng() % 2)
					.op(KDDM_OP_PUT, key + "x", "w", rng() % 3 ? KDDM_ANY : rng() % i)
					.op(KDDM_OP_REMOVE, key + "x", "", KDDM_ANY)
					.done();
		}
		ASSERT_EQ(a.apply(entry), b->apply(entry));
		if (rng() % 100 == 0) {
			kddm_buf snap = {};
			uint64_t index = b->index;

			kddm_fsm_snapshot(b->f, &snap);
			b = std::make_unique<Replica>();
			ASSERT_EQ(kddm_fsm_restore(b->f, snap.data, snap.len), 0);
			b->index = index;
			kddm_buf_free(&snap);
		}
	}
	EXPECT_EQ(kddm_fsm_digest(a.f), kddm_fsm_digest(b->f));
}

} // namespace
