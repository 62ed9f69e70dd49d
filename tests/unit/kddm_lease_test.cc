// SPDX-License-Identifier: GPL-2.0
// Leases on simulated time: the keeper never calls a node overdue while that
// node may still believe in its lease; and the voters that the raft
// configuration should have.
#include <gtest/gtest.h>
#include <memory>
#include <queue>
#include <random>
#include <vector>

extern "C" {
#include "userland/netd/kddm_fsm.h"
#include "userland/netd/kddm_set.h"
#include "userland/netd/lease.h"
#include "userland/netd/member_change.h"
}

namespace {

constexpr uint64_t MS = 1000000;
constexpr uint32_t LEASE = 400;

node_info up(uint32_t number, uint64_t incarnation = 7)
{
	node_info i = {};

	i.number = number;
	i.state = NODE_UP;
	i.incarnation = incarnation;
	return i;
}

struct Keeper {
	std::unique_ptr<lease_keeper> k = std::make_unique<lease_keeper>();
	uint32_t voters[3] = {1, 2, 3};

	explicit Keeper(uint64_t now)
	{
		lease_keeper_elected(k.get(), 5, now);
	}
	bool round(uint64_t now)
	{
		return lease_keeper_round(k.get(), voters, 3, LEASE, now);
	}
};

TEST(Lease, GrantNeedsAMajorityOfOurTermInALaterRound)
{
	lease_holder h;
	Keeper keeper(0);
	node_info n = up(2);
	lease_grant g;
	lease_renew r;

	lease_holder_init(&h, 7);
	r = lease_holder_renew(&h, 10 * MS);
	ASSERT_TRUE(lease_keeper_renew(keeper.k.get(), &n, &r, 12 * MS));
	EXPECT_FALSE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	ASSERT_TRUE(keeper.round(13 * MS));
	EXPECT_FALSE(lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5));
	EXPECT_FALSE(lease_keeper_ack(keeper.k.get(), 2, keeper.k->round, 6)); // another term
	EXPECT_FALSE(lease_keeper_ack(keeper.k.get(), 2, keeper.k->round - 1, 5));
	EXPECT_FALSE(lease_keeper_ack(keeper.k.get(), 9, keeper.k->round, 5)); // no voter
	// arrives during the round: waits for the next one
	r = lease_holder_renew(&h, 14 * MS);
	node_info other = up(3);
	lease_keeper_renew(keeper.k.get(), &other, &r, 15 * MS);
	ASSERT_TRUE(lease_keeper_ack(keeper.k.get(), 3, keeper.k->round, 5));
	ASSERT_TRUE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	EXPECT_FALSE(lease_keeper_grant(keeper.k.get(), &other, LEASE, &g));
	EXPECT_EQ(g.sent_ns, 10 * MS);
}

TEST(Lease, LongLeaseEndsWhenItsHolderHasWrittenAnother)
{
	Keeper keeper(0);
	node_info n = up(2);
	lease_renew r = {7, 5 * MS, 0, 0, 10000, 0};
	lease_grant g;

	EXPECT_EQ(lease_keeper_away(keeper.k.get(), &n), -1); // nothing heard
	n.lease_ms = 10000;
	lease_keeper_renew(keeper.k.get(), &n, &r, 6 * MS);
	EXPECT_EQ(lease_keeper_away(keeper.k.get(), &n), 1);
	keeper.round(7 * MS);
	lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5);
	lease_keeper_ack(keeper.k.get(), 2, keeper.k->round, 5);
	ASSERT_TRUE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	ASSERT_EQ(g.lease_ms, 10000u);
	// its netd is back, the tables still have the long lease: not yet
	r = {7, 100 * MS, 0, 0, 0, 0};
	lease_keeper_renew(keeper.k.get(), &n, &r, 101 * MS);
	EXPECT_EQ(lease_keeper_away(keeper.k.get(), &n), 0);
	EXPECT_EQ(lease_keeper_wanted(keeper.k.get(), &n, LEASE, 102 * MS), 10000u);
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 9000 * MS));
	// a settled renewal of before the stop, late: means nothing
	r = {7, 4 * MS, 0, 0, 0, LEASE_SETTLED};
	lease_keeper_renew(keeper.k.get(), &n, &r, 103 * MS);
	EXPECT_EQ(lease_keeper_wanted(keeper.k.get(), &n, LEASE, 104 * MS), 10000u);
	r = {7, 200 * MS, 0, 0, 0, LEASE_SETTLED};
	lease_keeper_renew(keeper.k.get(), &n, &r, 201 * MS);
	EXPECT_EQ(lease_keeper_wanted(keeper.k.get(), &n, LEASE, 202 * MS), 0u);
	n.lease_ms = 0;
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 600 * MS));
	EXPECT_TRUE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 700 * MS));
}

// Two of before the stop, late and one after the other: the second is not newer than what came in between.
TEST(Lease, RenewalsThatWereOvertakenSayNothing)
{
	Keeper keeper(0);
	node_info n = up(2);
	lease_renew r = {7, 50 * MS, 0, 0, 10000, 0};
	lease_grant g;

	n.lease_ms = 10000;
	ASSERT_TRUE(lease_keeper_renew(keeper.k.get(), &n, &r, 51 * MS));
	keeper.round(52 * MS);
	lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5);
	lease_keeper_ack(keeper.k.get(), 2, keeper.k->round, 5);
	ASSERT_TRUE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	ASSERT_EQ(g.lease_ms, 10000u);
	r = {7, 10 * MS, 0, 0, 0, LEASE_SETTLED};
	lease_keeper_renew(keeper.k.get(), &n, &r, 53 * MS);
	r = {7, 20 * MS, 0, 0, 0, LEASE_SETTLED};
	lease_keeper_renew(keeper.k.get(), &n, &r, 54 * MS);
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 5000 * MS));
	EXPECT_EQ(lease_keeper_wanted(keeper.k.get(), &n, LEASE, 60 * MS), 10000u);
}

// The entry that says so is under way, and the node is heard again before it is applied.
TEST(Lease, NobodyGetsALeaseWhoseDeathIsDecided)
{
	Keeper keeper(0);
	node_info n = up(2);
	lease_renew r = {7, 1 * MS, 0, 0, 0, 0};
	lease_grant g;

	ASSERT_TRUE(lease_keeper_renew(keeper.k.get(), &n, &r, 2 * MS)); // waits for its round
	ASSERT_TRUE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, (LEASE + 100) * MS));
	lease_keeper_doom(keeper.k.get(), &n);
	keeper.round((LEASE + 101) * MS);
	lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5);
	lease_keeper_ack(keeper.k.get(), 2, keeper.k->round, 5);
	EXPECT_FALSE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	r = {7, (LEASE + 102) * MS, 0, 0, 0, 0};
	EXPECT_FALSE(lease_keeper_renew(keeper.k.get(), &n, &r, (LEASE + 103) * MS));
	n.incarnation = r.incarnation = 8;
	EXPECT_TRUE(lease_keeper_renew(keeper.k.get(), &n, &r, (LEASE + 104) * MS));
}

TEST(Lease, HolderCountsFromSending)
{
	lease_holder h;
	lease_grant g = {};

	lease_holder_init(&h, 7);
	lease_holder_renew(&h, 100 * MS);
	g.incarnation = 7;
	g.sent_ns = 100 * MS;
	g.lease_ms = LEASE;
	EXPECT_TRUE(lease_holder_granted(&h, &g));
	EXPECT_TRUE(lease_holder_valid(&h, (100 + LEASE - 1) * MS));
	EXPECT_FALSE(lease_holder_valid(&h, (100 + LEASE) * MS));
	g.sent_ns = 50 * MS; // an old one never shortens
	EXPECT_FALSE(lease_holder_granted(&h, &g));
	g.incarnation = 8; // of another life
	g.sent_ns = 100 * MS;
	EXPECT_FALSE(lease_holder_granted(&h, &g));
	g.incarnation = 7;
	g.sent_ns = 200 * MS; // never sent
	EXPECT_FALSE(lease_holder_granted(&h, &g));
}

// Leases become longer by a setting: until the first of the longer ones is here the short one has to be renewed.
TEST(Lease, LongerLeasesCostNobodyTheShortOne)
{
	lease_holder h;
	lease_grant g = {};

	lease_holder_init(&h, 7);
	EXPECT_TRUE(lease_holder_due(&h, 100 * MS, LEASE));
	lease_holder_renew(&h, 100 * MS);
	g.incarnation = 7;
	g.sent_ns = 100 * MS;
	g.lease_ms = LEASE;
	ASSERT_TRUE(lease_holder_granted(&h, &g));
	EXPECT_FALSE(lease_holder_due(&h, (100 + LEASE / 10) * MS, 100 * LEASE));
	EXPECT_TRUE(lease_holder_due(&h, (100 + LEASE / 4) * MS, 100 * LEASE));
	lease_holder_renew(&h, 200 * MS);
	g.sent_ns = 200 * MS;
	g.lease_ms = 100 * LEASE;
	ASSERT_TRUE(lease_holder_granted(&h, &g));
	EXPECT_FALSE(lease_holder_due(&h, (200 + LEASE) * MS, 100 * LEASE));
	EXPECT_TRUE(lease_holder_due(&h, (200 + LEASE) * MS, LEASE)); // and shorter ones at once
}

TEST(Lease, NewLeaderWaitsAWholeLease)
{
	Keeper keeper(1000 * MS);
	node_info n = up(2);

	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 1001 * MS));
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, (1001 + LEASE) * MS));
	EXPECT_TRUE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, (1001 + LEASE + 50) * MS));
}

TEST(Lease, NodeThatComesUpLateIsNotOverdueAtOnce)
{
	Keeper keeper(0);
	node_info n = up(2);

	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 100000 * MS));
	n.incarnation = 8;
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 200000 * MS));
}

TEST(Lease, JoiningTakesAsLongAsItTakes)
{
	Keeper keeper(0);
	node_info n = up(2);

	n.state = NODE_JOINING;
	EXPECT_EQ(lease_keeper_wanted(keeper.k.get(), &n, LEASE, 100 * MS), 0u);
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 100 * MS));
	n.state = NODE_UP;
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 9000 * MS));
}

TEST(Lease, RenewalOfTheDeadDoesNotKeepRoundsRunning)
{
	Keeper keeper(0);
	node_info n = up(2);
	lease_renew r = {7, 1, 0, 0, 0, 0};
	lease_grant g;

	lease_keeper_renew(keeper.k.get(), &n, &r, 1 * MS);
	n.state = NODE_DEAD;
	ASSERT_TRUE(keeper.round(2 * MS));
	lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5);
	ASSERT_TRUE(lease_keeper_ack(keeper.k.get(), 3, keeper.k->round, 5));
	EXPECT_FALSE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	EXPECT_FALSE(keeper.round(3 * MS));
}

TEST(Lease, StoppedKeeperBlamesNobody)
{
	Keeper keeper(0);
	node_info n = up(2);

	for (uint64_t t = 0; t <= 1000; t += 50) {
		lease_renew r = {7, t * MS + 1, 0, 0, 0, 0};

		lease_keeper_tick(keeper.k.get(), t * MS);
		lease_keeper_renew(keeper.k.get(), &n, &r, t * MS);
	}
	lease_keeper_tick(keeper.k.get(), 9000 * MS);
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 9000 * MS));
}

TEST(Lease, LongLeaseIsCommittedBeforeItIsGiven)
{
	Keeper keeper(0);
	node_info n = up(2);
	lease_renew r = {7, 5 * MS, 0, 0, 10000, 0};
	lease_grant g;

	lease_keeper_renew(keeper.k.get(), &n, &r, 6 * MS);
	EXPECT_EQ(lease_keeper_wanted(keeper.k.get(), &n, LEASE, 6 * MS), 10000u);
	keeper.round(7 * MS);
	lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5);
	lease_keeper_ack(keeper.k.get(), 2, keeper.k->round, 5);
	ASSERT_TRUE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	EXPECT_EQ(g.lease_ms, LEASE); // not yet in the log
	n.lease_ms = 10000;
	r.sent_ns = 8 * MS;
	lease_keeper_renew(keeper.k.get(), &n, &r, 9 * MS);
	keeper.round(200 * MS);
	lease_keeper_ack(keeper.k.get(), 1, keeper.k->round, 5);
	lease_keeper_ack(keeper.k.get(), 2, keeper.k->round, 5);
	ASSERT_TRUE(lease_keeper_grant(keeper.k.get(), &n, LEASE, &g));
	EXPECT_EQ(g.lease_ms, 10000u);
	EXPECT_FALSE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 10000 * MS));
	EXPECT_TRUE(lease_keeper_overdue(keeper.k.get(), &n, LEASE, 10400 * MS));
	// the next leader knows it from the log, and counts it from its election
	Keeper next(5000 * MS);
	EXPECT_FALSE(lease_keeper_overdue(next.k.get(), &n, LEASE, 5000 * MS));
	EXPECT_FALSE(lease_keeper_overdue(next.k.get(), &n, LEASE, 15000 * MS));
	EXPECT_TRUE(lease_keeper_overdue(next.k.get(), &n, LEASE, 15400 * MS));
	// back: normal again only after the long one must have ended
	r.want_ms = 0;
	r.sent_ns = 6000 * MS;
	lease_keeper_renew(next.k.get(), &n, &r, 6000 * MS);
	EXPECT_EQ(lease_keeper_wanted(next.k.get(), &n, LEASE, 6001 * MS), 10000u);
	EXPECT_EQ(lease_keeper_wanted(next.k.get(), &n, LEASE, 15001 * MS), 0u);
}

/*
 * One holder, leaders that change, a network that delays and loses, processes
 * that stop. Checked at every step: a leader calls the holder overdue only when
 * the holder's own lease has run out. With `from_receipt` the holder counts from
 * the receipt of the grant: the check must then fail.
 */
int violations(unsigned seed, bool from_receipt)
{
	struct Message {
		uint64_t at;
		int kind; // 0 renewal, 1 grant
		unsigned leader;
		lease_renew renew;
		lease_grant grant;
		bool operator<(const Message &o) const
		{
			return at > o.at;
		}
	};
	std::mt19937 rng(seed);
	std::priority_queue<Message> net;
	std::unique_ptr<lease_keeper> keeper[2] = {std::make_unique<lease_keeper>(),
						   std::make_unique<lease_keeper>()};
	uint32_t voters[1] = {1};
	node_info n = up(2);
	lease_holder h;
	unsigned leader = 0, term = 1;
	uint64_t stopped_until = 0;
	int bad = 0;

	memset(keeper[1].get(), 0, sizeof(lease_keeper));
	lease_holder_init(&h, 7);
	lease_keeper_elected(keeper[0].get(), term, 0);
	for (uint64_t t = 1 * MS; t < 20000 * MS; t += 1 * MS) {
		if (rng() % 3000 == 0) { // election; the old leader may not notice at once
			leader = !leader;
			lease_keeper_elected(keeper[leader].get(), ++term, t);
		}
		if (rng() % 1000 == 0)
			stopped_until = t + rng() % 900 * MS;
		if (t % (50 * MS) == 0)
			lease_keeper_tick(keeper[leader].get(), t);
		if (t >= stopped_until && lease_holder_due(&h, t, LEASE) && rng() % 4) {
			Message m = {t + rng() % 300 * MS, 0, leader, lease_holder_renew(&h, t), {}};

			net.push(m);
		}
		while (!net.empty() && net.top().at <= t) {
			Message m = net.top();

			net.pop();
			if (m.kind == 0) {
				lease_keeper_renew(keeper[m.leader].get(), &n, &m.renew, t);
				continue;
			}
			if (t < stopped_until) {
				m.at = stopped_until;
				net.push(m);
				continue;
			}
			if (from_receipt)
				h.expiry_ns = std::max(h.expiry_ns, t + m.grant.lease_ms * MS);
			else
				lease_holder_granted(&h, &m.grant);
		}
		// Only who leads now gets its round through.
		lease_keeper *k = keeper[leader].get();
		if (lease_keeper_round(k, voters, 1, LEASE, t) && lease_keeper_ack(k, 1, k->round, term)) {
			Message m = {t + rng() % 300 * MS, 1, leader, {}, {}};

			if (lease_keeper_grant(k, &n, LEASE, &m.grant) && rng() % 4)
				net.push(m);
		}
		if (lease_keeper_overdue(k, &n, LEASE, t)) {
			bad += lease_holder_valid(&h, t);
			n.incarnation++; // declared dead; the holder starts a new life
			lease_holder_init(&h, n.incarnation);
		}
	}
	return bad;
}

TEST(Lease, SimulatedSchedules)
{
	for (unsigned seed = 1; seed <= 40; seed++)
		EXPECT_EQ(violations(seed, false), 0) << "seed " << seed;
}

TEST(Lease, SimulationFindsThePlantedBug)
{
	int found = 0;

	for (unsigned seed = 1; seed <= 40; seed++)
		found += violations(seed, true) > 0;
	EXPECT_GT(found, 0);
}

// ---- voters ----

struct Voters : testing::Test {
	kddm_fsm f;
	std::vector<member_server> conf;

	void SetUp() override
	{
		kddm_fsm_init(&f, nullptr, nullptr, nullptr);
	}
	void TearDown() override
	{
		kddm_fsm_clear(&f);
	}
	void node(uint32_t number, uint8_t state, uint8_t flags = 0, uint64_t raft_id = 0)
	{
		node_info i = up(number);

		i.flags = flags;
		i.raft_id = raft_id ? raft_id : number;
		i.state = state;
		snprintf(i.name, sizeof(i.name), "n%u", number);
		snprintf(i.address, sizeof(i.address), "a%u", number);
		kddm_object_free(kddm_set_insert(f.nodes, kddm_object_new(&i.number, sizeof(i.number), &i,
									  sizeof(i))));
	}
	void settle(unsigned max = 3)
	{
		for (int i = 0; i < 30; i++) {
			member_change c = member_next_change(f.nodes, conf.data(), conf.size(), 1, max);

			if (c.kind == MEMBER_NO_CHANGE)
				return;
			ASSERT_LT(i, 29) << "does not settle";
			if (c.kind == MEMBER_ADD)
				conf.push_back({c.raft_id, MEMBER_SPARE});
			for (size_t j = 0; j < conf.size(); j++) {
				if (conf[j].raft_id != c.raft_id)
					continue;
				if (c.kind == MEMBER_ASSIGN)
					conf[j].role = c.role;
				if (c.kind == MEMBER_REMOVE)
					conf.erase(conf.begin() + j);
			}
			fewest = std::min(fewest, count(MEMBER_VOTER));
		}
	}
	unsigned count(member_role role)
	{
		unsigned n = 0;

		for (const auto &s : conf)
			n += s.role == role;
		return n;
	}
	int role(uint64_t id)
	{
		for (const auto &s : conf)
			if (s.raft_id == id)
				return s.role;
		return -1;
	}
	unsigned fewest = 99;
};

TEST_F(Voters, GrowOddly)
{
	unsigned want[] = {1, 1, 3, 3, 3, 3};

	for (uint32_t n = 1; n <= 6; n++) {
		node(n, NODE_UP);
		settle();
		EXPECT_EQ(count(MEMBER_VOTER), want[n - 1]) << n << " nodes";
		EXPECT_EQ(conf.size(), n);
	}
	settle(5);
	EXPECT_EQ(count(MEMBER_VOTER), 5u);
	settle(3);
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
	EXPECT_EQ(role(1), MEMBER_VOTER); // who decides does not demote itself
}

TEST_F(Voters, DeadOneIsReplacedFirstAndStaysWithoutReplacement)
{
	for (uint32_t n = 1; n <= 4; n++)
		node(n, NODE_UP);
	settle();
	node(2, NODE_DEAD);
	fewest = 99;
	settle();
	EXPECT_EQ(role(4), MEMBER_VOTER);
	EXPECT_EQ(role(2), MEMBER_STANDBY);
	EXPECT_GE(fewest, 3u);
	node(3, NODE_DEAD);
	settle();
	EXPECT_EQ(role(3), MEMBER_VOTER);
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
	node(2, NODE_UP); // a standby comes back
	settle();
	EXPECT_EQ(role(2), MEMBER_VOTER);
	EXPECT_EQ(role(3), MEMBER_STANDBY);
}

// Its log was lost: until it is up again the others must not become fewer as well.
TEST_F(Voters, AreKeptWhileOneIsMadeAnew)
{
	for (uint32_t n = 1; n <= 3; n++)
		node(n, NODE_UP);
	settle();
	node(3, NODE_JOINING, 0, 13);
	fewest = 99;
	settle();
	EXPECT_EQ(fewest, 2u);
	EXPECT_EQ(role(3), -1);
	EXPECT_EQ(role(13), MEMBER_STANDBY);
	node(3, NODE_UP, 0, 13);
	settle();
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
}

// Its own death was declared by the leader before, and it is not up yet when another leaves.
TEST_F(Voters, TheLeaderDoesNotDemoteItself)
{
	for (uint32_t n = 1; n <= 3; n++)
		node(n, NODE_UP);
	settle();
	node(1, NODE_DEAD);
	node(3, NODE_LEFT);
	settle();
	EXPECT_EQ(role(1), MEMBER_VOTER);
}

TEST_F(Voters, WitnessVotesBeforeOthers)
{
	node(1, NODE_UP);
	node(2, NODE_UP);
	settle();
	EXPECT_EQ(count(MEMBER_VOTER), 1u);
	node(3, NODE_UP, NODE_WITNESS);
	settle();
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
	node(4, NODE_UP);
	node(5, NODE_UP, NODE_WITNESS);
	settle();
	EXPECT_EQ(role(3), MEMBER_VOTER);
	EXPECT_EQ(role(5), MEMBER_VOTER);
	EXPECT_EQ(role(2), MEMBER_STANDBY);
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
	node(3, NODE_DEAD, NODE_WITNESS);
	settle();
	EXPECT_EQ(role(2), MEMBER_VOTER);
	node(3, NODE_UP, NODE_WITNESS);
	settle();
	EXPECT_EQ(role(3), MEMBER_VOTER);
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
}

TEST_F(Voters, ThoseThatLeftAreRemovedAndSuccessorsFound)
{
	for (uint32_t n = 1; n <= 4; n++)
		node(n, NODE_UP);
	settle();
	node(2, NODE_LEFT);
	settle();
	EXPECT_EQ(role(2), -1);
	EXPECT_EQ(count(MEMBER_VOTER), 3u);
	node(3, NODE_LEFT);
	node(4, NODE_LEFT);
	settle();
	EXPECT_EQ(conf.size(), 1u);
	EXPECT_EQ(count(MEMBER_VOTER), 1u);
}

TEST_F(Voters, LeavingLeaderGetsASuccessorBeforeItGoes)
{
	node(1, NODE_UP);
	node(2, NODE_UP);
	settle();
	node(1, NODE_LEFT);
	settle();
	EXPECT_EQ(role(2), MEMBER_VOTER);
	EXPECT_EQ(role(1), MEMBER_VOTER); // the new leader removes it
}

} // namespace
