// SPDX-License-Identifier: GPL-2.0
// When the rounds of a move end: programs are played that write at a rate while a round lasts.
#include <gtest/gtest.h>

#include <vector>

extern "C" {
#include "userland/netd/move_enough.h"
}

namespace {

const uint64_t MiB = 1 << 20;

struct Outcome {
	enum enough end;
	std::vector<uint64_t> sent;
	uint64_t left; // to be sent while it stands still
};

// `hot` of its memory is written to, at `rate` bytes a second; the network carries `speed`, a round's start takes `start` seconds.
Outcome play(uint64_t memory, uint64_t hot, double rate, double speed, double start = 0.2)
{
	Outcome o{};
	uint64_t next = memory;

	while ((o.end = move_enough(memory, o.sent.data(), (unsigned int)o.sent.size())) == ENOUGH_NOT) {
		double seconds = start + (double)next / speed;

		o.sent.push_back(next);
		next = std::min(hot, (uint64_t)(rate * seconds));
	}
	o.left = o.sent.empty() ? memory : next;
	return o;
}

TEST(MoveEnough, LittleMemoryIsNotWorthARound)
{
	Outcome o = play(10 * MiB, 10 * MiB, 1e6, 1e8);

	EXPECT_EQ(o.end, ENOUGH_SMALL);
	EXPECT_TRUE(o.sent.empty());
}

TEST(MoveEnough, AProgramAtRestTakesOneRound)
{
	Outcome o = play(1000 * MiB, 1000 * MiB, 0, 1e8);

	EXPECT_EQ(o.end, ENOUGH_SMALL);
	ASSERT_GE(o.sent.size(), 1u);
	EXPECT_LE(o.sent.size(), 2u);
	EXPECT_EQ(o.left, 0u);
}

TEST(MoveEnough, WhatShrinksIsSentUntilItIsSmall)
{
	Outcome o = play(200 * MiB, 200 * MiB, 4e6, 2e7);

	EXPECT_EQ(o.end, ENOUGH_SMALL);
	EXPECT_LE(o.left, 4 * MiB);
	EXPECT_LE(o.sent.size(), 6u);
}

TEST(MoveEnough, WritingFasterThanTheNetworkEndsAtOnce)
{
	Outcome o = play(500 * MiB, 500 * MiB, 1e9, 1e8);

	EXPECT_EQ(o.end, ENOUGH_STEADY);
	EXPECT_EQ(o.sent.size(), 2u);
}

TEST(MoveEnough, AHotPartThatStaysHotEndsWhenOnlyItIsLeft)
{
	Outcome o = play(500 * MiB, 60 * MiB, 1e9, 1e8);

	EXPECT_EQ(o.end, ENOUGH_STEADY);
	EXPECT_EQ(o.sent.size(), 3u);
	EXPECT_EQ(o.left, 60 * MiB);
}

TEST(MoveEnough, ThereIsALimit)
{
	std::vector<uint64_t> sent;
	uint64_t bytes = 1ULL << 50;
	enum enough e = ENOUGH_NOT;

	for (; sent.size() < 100 &&
	       (e = move_enough(bytes, sent.data(), (unsigned int)sent.size())) == ENOUGH_NOT;
	     bytes /= 2)
		sent.push_back(bytes);
	EXPECT_EQ(e, ENOUGH_LIMIT);
	EXPECT_EQ(sent.size(), (size_t)ROUNDS_MAX);
}

TEST(MoveEnough, WhateverIsSentItEnds)
{
	srand(1);
	for (int i = 0; i < 10000; i++) {
		std::vector<uint64_t> sent;
		uint64_t memory = (uint64_t)rand() << (rand() % 32);

		while (move_enough(memory, sent.data(), (unsigned int)sent.size()) == ENOUGH_NOT) {
			sent.push_back((uint64_t)rand() << (rand() % 32));
			ASSERT_LE(sent.size(), (size_t)ROUNDS_MAX);
		}
	}
}

} // namespace
