// SPDX-License-Identifier: GPL-2.0
// Random schedules of faults in a world of simulated time (kddm_world.h). A seed gives a schedule:
//	WORLD_SEED=4711 kddm_world_test		that one again
//	WORLD_SEEDS=1-5000 kddm_world_test	these
// The simulation must find planted bugs: those that are switched on here, and those in builds of their own.
#include <cstdlib>
#include <gtest/gtest.h>

#include "kddm_world.h"

extern "C" {
#include "userland/lib/log.h"
}

// A build with a bug in the engine's own code names it (kddm_world_mutants.c).
extern "C" const char *world_mutant __attribute__((weak));

// libraft keeps some of a change that is under way when it is closed.
extern "C" const char *__lsan_default_suppressions(void);
extern "C" const char *__lsan_default_suppressions(void)
{
	return "leak:libraft.so\nleak:kddm_raft_transfer\n";
}

namespace {

void seeds(unsigned long *first, unsigned long *last, unsigned long dflt)
{
	const char *one = getenv("WORLD_SEED"), *range = getenv("WORLD_SEEDS");

	*first = 1;
	*last = dflt;
	if (one)
		*first = *last = strtoul(one, nullptr, 10);
	else if (range)
		sscanf(range, "%lu-%lu", first, last);
}

std::string run_one(unsigned long seed, Bugs bugs, std::map<std::string, unsigned> *did)
{
	std::string text;

	for (const std::string &v : world_run(seed, bugs, did))
		text += "\n  " + v;
	return text;
}

// How many schedules it takes to find the bug; 0: not found.
unsigned long found_after(Bugs bugs, unsigned long most)
{
	for (unsigned long seed = 1; seed <= most; seed++) {
		std::string what = run_one(seed, bugs, nullptr);

		if (what.empty())
			continue;
		printf("seed %lu:%s\n", seed, what.c_str());
		return seed;
	}
	return 0;
}

class World_ : public testing::Test {
      protected:
	void SetUp() override
	{
		log_init("world", getenv("WORLD_SEED") ? LOG_DEBUG : -1);
	}
};

TEST_F(World_, RandomSchedules)
{
	std::map<std::string, unsigned> did;
	unsigned long first, last;

	if (&world_mutant)
		GTEST_SKIP();
	seeds(&first, &last, 200);
	for (unsigned long seed = first; seed <= last; seed++) {
		std::string what = run_one(seed, Bugs(), &did);

		ASSERT_EQ(what, "") << "again with: WORLD_SEED=" << seed << " "
				    << testing::internal::GetArgvs()[0];
	}
	for (auto &d : did)
		printf("%s: %u\n", d.first.c_str(), d.second);
	if (last - first >= 100) {
		for (const char *d : {"killed", "power cut", "power cut of all", "stopped", "cut off",
				      "link cut", "bad network", "late network", "clock set", "disk wiped",
				      "log cut short", "fenced", "left", "taken out"})
			EXPECT_GT(did[d], 5u) << d;
		EXPECT_GT(did["claims"], 1000u);
	}
}

// Schedules that found something once.
TEST_F(World_, SchedulesThatOnceFailed)
{
	if (&world_mutant)
		GTEST_SKIP();
	for (unsigned long seed : {1813ul, 3046ul, 5437ul})
		EXPECT_EQ(run_one(seed, Bugs(), nullptr), "") << seed;
}

Node *leader_of(World &w, const Node *but)
{
	for (Node &n : w.nodes)
		if (&n != but && n.p && n.p->m->leads && kddm_raft_applied(n.p->m->raft) > n.p->m->lead_index)
			return &n;
	return nullptr;
}

// What a leader that was cut off wrote alone is longer than what the others agreed on since.
TEST_F(World_, TheCopyToRecoverFromIsTheOneOfTheLaterTerm)
{
	World w(2, 5, Bugs());
	Node *was = leader_of(w, nullptr), *survivor = nullptr;
	std::string told;

	if (&world_mutant)
		GTEST_SKIP();
	ASSERT_NE(was, nullptr);
	for (Node &n : w.nodes)
		w.cut(*was, n, true);
	for (int i = 0; i < 100; i++) {
		w.act(*was);
		w.run(4);
	}
	for (int i = 0; i < 1000 && !leader_of(w, was); i++)
		w.run(10);
	ASSERT_NE(leader_of(w, was), nullptr);
	w.run(200); // the standbys hear of it
	for (Node &n : w.nodes) {
		int role = kddm_raft_role(was->p->m->raft, n.p->m->id.raft_id);

		if (role == RAFT_VOTER && &n != was)
			w.power_off(n);
		else if (role == RAFT_STANDBY)
			survivor = &n;
	}
	ASSERT_NE(survivor, nullptr);
	ASSERT_GT(kddm_raft_last_index(was->p->m->raft), kddm_raft_last_index(survivor->p->m->raft));
	w.run(3000); // all leases are over
	w.cut(*was, *survivor, false);
	w.inside(was->p.get(), [&] {
		member_recover(
			was->p->m, false,
			[](void *arg, const member_error *e, json_t *, json_t *) {
				*static_cast<std::string *>(arg) = e ? e->text : "rebuilt";
			},
			&told);
	});
	w.run(3000);
	EXPECT_EQ(told, std::string(survivor->p->m->id.name) + " has a newer copy than this node");
}

// The mark was not on the disk yet when the power went, and with it the end of the log.
TEST_F(World_, ALogThatLostItsEndWithItsMarkIsNotWaitedFor)
{
	World w(5, 3, Bugs());
	Node *leader = leader_of(w, nullptr), *n = nullptr;
	raft_id was;

	if (&world_mutant)
		GTEST_SKIP();
	for (Node &each : w.nodes)
		n = &each != leader ? &each : n;
	for (int i = 0; i < 50; i++) {
		w.act(*leader);
		w.run(20);
	}
	was = n->disk.id;
	w.power_off(*n);
	w.forget(*n, 3);
	n->power = true;
	w.start(*n);
	for (int i = 0; i < 200 && !w.settled(); i++)
		w.run(100);
	EXPECT_TRUE(w.settled()) << w.state();
	EXPECT_TRUE(w.violations.empty());
	EXPECT_NE(n->disk.id, was);
}

// Two of three disks lose entries that were agreed on; the third node saw that they were.
TEST_F(World_, WhoKnowsAnotherHistoryServesNothingUntilAPersonComes)
{
	World w(6, 3, Bugs());
	Node &n = w.node(3);
	auto failure = [&] {
		const char *remedy, *text = n.p ? member_disk_failure(n.p->m, &remedy) : nullptr;

		return std::string(text ? text : "");
	};
	std::string told = "nothing";

	if (&world_mutant)
		GTEST_SKIP();
	for (int i = 0; i < 50; i++) {
		w.act(n);
		w.run(20);
	}
	w.run(1000);
	for (Node &each : w.nodes) {
		w.cut(n, each, true);
		if (&each == &n)
			continue;
		w.power_off(each);
		w.forget(each, 20);
	}
	w.run(5000); // its lease is over
	w.entries.clear();
	w.effects.clear();
	w.owners.clear();
	for (Node &each : w.nodes) {
		each.power = true;
		w.start(each);
	}
	for (int i = 0; i < 100 && !leader_of(w, &n); i++)
		w.run(100);
	Node *leader = leader_of(w, &n);
	ASSERT_NE(leader, nullptr);
	for (int i = 0; i < 400; i++) {
		w.act(*leader);
		w.run(20);
	}
	ASSERT_GT(kddm_raft_commit_index(leader->p->m->raft), kddm_raft_commit_index(n.p->m->raft));
	w.cuts.clear();
	for (int i = 0; i < 100 && failure().empty(); i++)
		w.run(100);
	EXPECT_NE(failure().find("this node has another history than the cluster: entry "), std::string::npos)
		<< failure();
	w.run(1000);
	EXPECT_EQ(w.status(n), MEMBER_FENCED);
	EXPECT_EQ(n.lease_ns, 0u);
	EXPECT_TRUE(n.sockets.empty());
	w.kill(n);
	w.start(n);
	w.run(5000);
	EXPECT_NE(failure().find("another history"), std::string::npos) << failure();
	EXPECT_NE(w.status(n), MEMBER_LIVE);
	w.inside(n.p.get(), [&] {
		member_leave(
			n.p->m, 0, false,
			[](void *arg, const member_error *e) {
				*static_cast<std::string *>(arg) = e ? e->text : "left";
			},
			&told);
	});
	w.run(1000);
	EXPECT_EQ(told, "left");
	n.out = true;
	w.enter_anew(n, n.disk.id);
	for (int i = 0; i < 100 && !w.settled(); i++)
		w.run(100);
	EXPECT_TRUE(w.settled()) << w.state();
	EXPECT_TRUE(w.violations.empty()) << w.violations[0];
}

// Of two voters one has the longer log, the other a higher term from an election that came to nothing.
TEST_F(World_, TheLongerLogLeadsThoughItsTermIsOld)
{
	World w(4, 3, Bugs());
	Node &longer = w.node(1), &later = w.node(3);

	if (&world_mutant)
		GTEST_SKIP();
	for (Node &n : w.nodes)
		w.cut(later, n, true);
	for (int i = 0; i < 200 || !leader_of(w, &later); i++) {
		w.act(longer);
		w.run(10);
	}
	for (Node &n : w.nodes)
		w.power_off(n);
	ASSERT_GT(longer.disk.log.size(), later.disk.log.size());
	later.disk.term = longer.disk.term + 3;
	later.disk.vote = 0;
	later.disk.mark.term = later.disk.mark.old_term = later.disk.term;
	later.disk.mark.vote = later.disk.mark.old_vote = 0;
	later.disk.mark_synced = later.disk.mark;
	w.cuts.clear();
	for (Node *n : {&longer, &later}) {
		n->power = true;
		w.start(*n);
	}
	for (int i = 0; i < 100 && !leader_of(w, nullptr); i++)
		w.run(100);
	EXPECT_EQ(leader_of(w, nullptr), &longer) << w.state();
}

// A node that answers for a port, and one that wants it as soon as it is free.
void serve_port(World &w, Node &n)
{
	w.greedy = true;
	for (int i = 0; i < 400 && !n.answers(0); i++) {
		w.act(n);
		w.run(20);
	}
	ASSERT_TRUE(n.answers(0));
}

void others_claim(World &w, const Node &but, uint64_t ms)
{
	for (uint64_t at = 0; at < ms && w.violations.empty(); at += 10) {
		for (Node &n : w.nodes)
			if (&n != &but)
				w.act(n);
		w.run(10);
	}
	EXPECT_TRUE(w.violations.empty()) << w.violations[0];
}

// It cannot hear that it was taken out; its lease runs on.
TEST_F(World_, ANodeThatIsTakenOutAnswersForNothingThatOthersGot)
{
	World w(7, 3, Bugs());
	Node *leader = leader_of(w, nullptr), *n = nullptr;

	if (&world_mutant)
		GTEST_SKIP();
	for (Node &each : w.nodes)
		n = &each != leader ? &each : n;
	serve_port(w, *n);
	for (Node &each : w.nodes)
		w.cut(*n, each, true);
	w.leave(*n, *leader);
	others_claim(w, *n, 8000);
	EXPECT_EQ(w.did["taken out"], 1u);
}

// It hangs after it has asked.
TEST_F(World_, ANodeThatLeavesIsSilentFirst)
{
	World w(8, 3, Bugs());
	Node *leader = leader_of(w, nullptr), *n = nullptr;

	if (&world_mutant)
		GTEST_SKIP();
	for (Node &each : w.nodes)
		n = &each != leader ? &each : n;
	serve_port(w, *n);
	w.leave(*n, *n);
	while (!leader->p->m->out_ms[n->p->m->self] && w.now < 3600000000000)
		w.run(1);
	w.stop(*n, true);
	others_claim(w, *n, 6000);
}

// That it had left a moment ago says nothing of the life that it began anew.
TEST_F(World_, WhoEntersAgainAndDiesIsDead)
{
	World w(9, 3, Bugs());
	Node *leader = leader_of(w, nullptr), *n = nullptr;
	uint32_t number;
	auto state = [&] { return nodes_get(leader->p->m->nodes, number)->state; };

	if (&world_mutant)
		GTEST_SKIP();
	for (Node &each : w.nodes)
		n = &each != leader ? &each : n;
	number = n->p->m->self;
	w.leave(*n, *n);
	for (int i = 0; i < 400 && state() != NODE_LEFT; i++)
		w.run(10);
	ASSERT_EQ(state(), NODE_LEFT);
	for (int i = 0; i < 400 && (!n->p || w.status(*n) != MEMBER_LIVE || n->out); i++)
		w.run(10);
	ASSERT_EQ(n->p->m->self, number);
	ASSERT_EQ(state(), NODE_UP);
	w.power_off(*n);
	for (int i = 0; i < 400 && state() == NODE_UP; i++)
		w.run(10);
	EXPECT_EQ(state(), NODE_DEAD);
}

// A lease ends by the clock, not by the timer that looks at the clock.
TEST_F(World_, WhoWasStoppedBeyondItsLeaseDoesNotSayThatItIsUp)
{
	World w(3, 3, Bugs());
	Node &n = w.node(2);

	w.run(2000);
	EXPECT_EQ(w.status(n), MEMBER_LIVE);
	w.stop(n, true);
	w.run(10000);
	EXPECT_EQ(w.status(n), MEMBER_FENCED);
}

void rebuild(World &w, Node &n, std::string *told)
{
	w.inside(n.p.get(), [&] {
		member_recover(
			n.p->m, true,
			[](void *arg, const member_error *e, json_t *, json_t *) {
				*static_cast<std::string *>(arg) = e ? e->text : "rebuilt";
			},
			told);
	});
	w.run(4000);
}

std::string other_of(Node &n)
{
	const char *remedy, *text = nullptr;

	n.w->inside(n.p.get(), [&] { text = member_generation_failure(n.p->m, &remedy); });
	return text ? text : "";
}

// Both count one generation more. They hold each other for dead, and must meet nevertheless.
TEST_F(World_, TwoRebuildsOfOneClusterNoticeEachOther)
{
	World w(3, 3, Bugs());
	std::string told[2];

	if (&world_mutant)
		GTEST_SKIP();
	w.power_off(w.node(3));
	w.cut(w.node(1), w.node(2), true);
	w.run(5000);
	rebuild(w, w.node(1), &told[0]);
	rebuild(w, w.node(2), &told[1]);
	ASSERT_EQ(told[0], "rebuilt");
	ASSERT_EQ(told[1], "rebuilt");
	for (uint32_t i = 1; i <= 2; i++) {
		EXPECT_EQ(w.status(w.node(i)), MEMBER_LIVE) << i;
		EXPECT_EQ(w.node(i).p->m->id.generation.number, 1u) << i;
		EXPECT_EQ(other_of(w.node(i)), "") << i;
	}
	w.cut(w.node(1), w.node(2), false);
	for (int i = 0; i < 100 && (other_of(w.node(1)).empty() || other_of(w.node(2)).empty()); i++) {
		w.violations.clear(); // they are two clusters
		w.run(100);
	}
	EXPECT_NE(other_of(w.node(1)).find("10.0.0.2:7946"), std::string::npos) << other_of(w.node(1));
	EXPECT_NE(other_of(w.node(2)).find("10.0.0.1:7946"), std::string::npos) << other_of(w.node(2));
}

struct generation generation_of(uint32_t number, const std::string &lineage)
{
	struct generation g = {};

	g.number = number;
	snprintf(g.lineage, sizeof(g.lineage), "%s", lineage.c_str());
	return g;
}

TEST(Generation, IsComparedByWhatBothDescendFrom)
{
	std::string a(32, 'a'), b(32, 'b'), c(32, 'c');
	auto is = [](const struct generation &theirs, const struct generation &ours) {
		return generation_compare(&theirs, &ours);
	};
	struct generation none = {}, one = generation_of(1, a), two = generation_of(2, a + b);

	EXPECT_EQ(is(none, none), GENERATION_SAME);
	EXPECT_EQ(is(none, one), GENERATION_OLDER);
	EXPECT_EQ(is(two, one), GENERATION_NEWER);
	EXPECT_EQ(is(two, none), GENERATION_NEWER);
	EXPECT_EQ(is(two, two), GENERATION_SAME);
	EXPECT_EQ(is(generation_of(1, b), one), GENERATION_OTHER);
	EXPECT_EQ(is(generation_of(2, c + b), one), GENERATION_OTHER);
	EXPECT_EQ(is(one, generation_of(2, c + b)), GENERATION_OTHER);
	// From a netd that knows only numbers, or from before what is kept.
	EXPECT_EQ(is(generation_of(1, ""), one), GENERATION_SAME);
	EXPECT_EQ(is(generation_of(1, ""), two), GENERATION_OLDER);
	EXPECT_EQ(is(generation_of(20, c), one), GENERATION_NEWER);
}

TEST(Generation, KeepsTheLastOnes)
{
	struct generation g = {}, back;
	json_t *obj = json_object();

	for (uint32_t i = 1; i <= 3 * GENERATIONS_KEPT; i++) {
		struct generation was = g;

		ASSERT_EQ(generation_next(&g), 0);
		EXPECT_EQ(g.number, i);
		EXPECT_EQ(generation_compare(&was, &g), GENERATION_OLDER);
	}
	EXPECT_EQ(strlen(g.lineage), sizeof(g.lineage) - 1);
	generation_pack(obj, &g);
	generation_unpack(obj, &back);
	EXPECT_EQ(memcmp(&g, &back, sizeof(g)), 0);
	for (const char *bad : {"xyz", "A", ""}) {
		json_object_set_new(obj, "lineage",
				    json_string((std::string(bad) + std::string(32, 'A')).c_str()));
		generation_unpack(obj, &back);
		EXPECT_STREQ(back.lineage, "") << bad;
	}
	json_decref(obj);
}

// Each planted bug is found by the same schedules, and soon.
struct Planted {
	const char *name;
	bool Bugs::*bug; // none: this build has it
};

class Finds : public World_, public testing::WithParamInterface<Planted> {};

TEST_P(Finds, ThePlantedBug)
{
	Bugs bugs;

	if (!GetParam().bug != !!&world_mutant)
		GTEST_SKIP();
	if (GetParam().bug)
		bugs.*GetParam().bug = true;
	EXPECT_GT(found_after(bugs, 120), 0u) << (&world_mutant ? world_mutant : "");
}

INSTANTIATE_TEST_SUITE_P(World_, Finds,
			 testing::Values(Planted{"AFreshRaftIdOnEachBoot", &Bugs::fresh_id},
					 Planted{"TheOldRaftIdWithAWipedLog", &Bugs::old_id},
					 Planted{"ALogThatIsTakenForAShorterOne", &Bugs::mark_unread},
					 Planted{"ThatOfThisBuild", nullptr}),
			 [](const testing::TestParamInfo<Planted> &i) { return std::string(i.param.name); });

} // namespace
