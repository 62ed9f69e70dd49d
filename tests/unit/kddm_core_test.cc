// SPDX-License-Identifier: GPL-2.0
// A set that the product does not have, as kddm.h tells how to make one, and what a request is told of its fate.
#include <cerrno>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "userland/netd/kddm_core.h"
}

namespace {

struct Lamp {
	uint32_t on;
};
const kddm_type lamps_type = {50, "lamps", sizeof(uint32_t), nullptr, false, nullptr};

// One leader's request core over a log that is here: what is proposed is applied at once.
class Core : public testing::Test {
      protected:
	uint64_t now = 1000;
	uint32_t leader = 1;
	int way = 0; // what sending to the leader says
	std::vector<std::string> sent;
	kddm *k = nullptr;
	kddm_set *lamps = nullptr;
	uint64_t index = 0;

	void SetUp() override
	{
		static const kddm_env env = {now_ms, who_leads, quorum, forward, propose, ask, tell};
		node_info info = {};

		k = kddm_new(&env, this);
		ASSERT_EQ(kddm_set_register(k, &lamps_type, &lamps), 0);
		kddm_start(k);
		ASSERT_EQ(kddm_set_register(k, &lamps_type, nullptr), -EBUSY);
		info.number = 1;
		info.raft_id = 7;
		info.incarnation = 3;
		snprintf(info.name, sizeof(info.name), "n1");
		kddm_identify(k, 1, 3);
		kddm_submit_node_op(k, KDDM_OP_NODE_JOIN, &info, nullptr, nullptr);
		kddm_flush(k);
		kddm_submit_node_op(k, KDDM_OP_NODE_UP, &info, nullptr, nullptr);
		kddm_flush(k);
		kddm_reap(k);
	}
	void TearDown() override
	{
		kddm_free(k);
	}

	static uint64_t now_ms(void *arg)
	{
		return static_cast<Core *>(arg)->now;
	}
	static uint32_t who_leads(void *arg)
	{
		return static_cast<Core *>(arg)->leader;
	}
	static bool quorum(void *)
	{
		return true;
	}
	static int forward(void *arg, uint32_t, const void *entry, size_t len)
	{
		auto *c = static_cast<Core *>(arg);

		if (!c->way)
			c->sent.emplace_back(static_cast<const char *>(entry), len);
		return c->way;
	}
	static int propose(void *arg, const void *entry, size_t len)
	{
		auto *c = static_cast<Core *>(arg);

		kddm_apply(c->k, ++c->index, entry, len);
		kddm_proposed(c->k);
		return 0;
	}
	static int ask(void *, uint32_t, uint64_t, uint64_t)
	{
		return 0;
	}
	static int tell(void *, uint32_t, uint64_t)
	{
		return 0;
	}

	struct Fate {
		int status = 99, op = 99;
	};
	static void done(void *arg, const kddm_result *r)
	{
		*static_cast<Fate *>(arg) = {r->status, r->n_ops ? r->op[0] : 0};
	}
	void grab(uint32_t number, Fate *fate, uint64_t expect = KDDM_ABSENT)
	{
		kddm_batch *b = kddm_batch_new(k, false);
		Lamp lamp = {number * 2};

		ASSERT_EQ(kddm_grab(b, lamps, &number, sizeof(number), &lamp, sizeof(lamp), expect, 1), 0);
		kddm_submit(b, done, fate);
	}
};

TEST_F(Core, ASetOfItsOwn)
{
	Fate first, second, again;
	uint32_t number = 4;
	uint64_t version = 0;
	Lamp lamp = {};

	EXPECT_EQ(kddm_get(lamps, &number, sizeof(number), &lamp, sizeof(lamp), nullptr), -ENOENT);
	grab(number, &first);
	grab(number, &second);
	kddm_flush(k);
	kddm_reap(k);
	EXPECT_EQ(first.op, 0);
	EXPECT_EQ(second.op, -EEXIST);
	EXPECT_EQ(kddm_get(lamps, &number, sizeof(number), &lamp, sizeof(lamp), &version),
		  static_cast<ssize_t>(sizeof(lamp)));
	EXPECT_EQ(lamp.on, 8u);
	EXPECT_EQ(kddm_get(lamps, &number, sizeof(number), &lamp, 1, nullptr), -EMSGSIZE);
	grab(number, &again, version + 1);
	kddm_flush(k);
	kddm_reap(k);
	EXPECT_EQ(again.op, -ESTALE);
	EXPECT_EQ(kddm_count(lamps), 1u);
}

// The first is due again and the way is closed just then: the second, which was sent, is not unsent by that.
TEST_F(Core, WhatWasSentStaysSent)
{
	Fate first, second;

	leader = 2;
	grab(1, &first);
	kddm_flush(k);
	now += 300;
	grab(2, &second);
	kddm_flush(k);
	ASSERT_EQ(sent.size(), 2u);
	now += 600; // past the first one's patience
	kddm_tick(k);
	way = -ENOTCONN;
	kddm_flush(k);
	for (int i = 0; i < 200; i++) {
		now += 50;
		kddm_tick(k);
		kddm_flush(k);
	}
	kddm_reap(k);
	EXPECT_EQ(first.status, -ETIMEDOUT);
	EXPECT_EQ(second.status, -ETIMEDOUT); // -EAGAIN would say that it was never sent
}

// A death that was decided as the leader of one term, and not agreed on, is not for the leader of another.
TEST_F(Core, WhatALeaderDecidedEndsWithItsTerm)
{
	node_info info = *nodes_get(kddm_nodes(k), 1), other = {};
	Fate fate, newcomer;

	other.raft_id = 8;
	snprintf(other.name, sizeof(other.name), "n2");
	leader = 2; // not us: nothing is proposed
	kddm_submit_node_op(k, KDDM_OP_NODE_DEAD, &info, done, &fate);
	kddm_submit_node_op(k, KDDM_OP_NODE_JOIN, &other, done, &newcomer);
	kddm_flush(k);
	kddm_resigned(k);
	kddm_reap(k);
	EXPECT_EQ(fate.status, -ETIMEDOUT);
	leader = 1;
	kddm_resigned(k);
	kddm_resend(k);
	kddm_flush(k);
	kddm_reap(k);
	EXPECT_EQ(nodes_get(kddm_nodes(k), 1)->state, NODE_UP);
	EXPECT_EQ(newcomer.status, 0); // it still waits for its name
}

// Who asked is gone when this machine leaves the cluster, and the next cluster is none of its business.
TEST_F(Core, NothingOfOneClusterIsSaidInTheNext)
{
	node_info info = {};
	Fate fate;

	info.raft_id = 8;
	snprintf(info.name, sizeof(info.name), "n2");
	kddm_identify(k, 0, 0);
	leader = 0;
	kddm_submit_node_op(k, KDDM_OP_NODE_JOIN, &info, done, &fate);
	kddm_identify(k, 0, 0);
	kddm_reap(k);
	EXPECT_EQ(fate.status, -ENOTCONN);
	kddm_forget(k);
	leader = KDDM_LEADER_UNNUMBERED;
	kddm_flush(k);
	EXPECT_EQ(kddm_count(kddm_nodes(k)), 0u);
}

TEST_F(Core, WhatWasNeverSentSaysSo)
{
	Fate fate;

	leader = 2;
	way = -ENOTCONN;
	grab(1, &fate);
	for (int i = 0; i < 100; i++) {
		now += 50;
		kddm_tick(k);
		kddm_flush(k);
	}
	kddm_reap(k);
	EXPECT_EQ(fate.status, -EAGAIN);
}

} // namespace
