// SPDX-License-Identifier: GPL-2.0
/* Whom the leader tells of a commit, and of which. */
#include <gtest/gtest.h>

extern "C" {
#include "userland/netd/kddm_tell.h"
}

namespace {

class Tell : public ::testing::Test {
      protected:
	void SetUp() override
	{
		kddm_tell_term(&t, 5, 3); // entries up to 3 are of unknown terms
	}

	void stored(uint64_t id, uint64_t last)
	{
		kddm_tell_stored(&t, id, 5, 0, last);
	}

	uint64_t due(uint64_t id, uint64_t commit)
	{
		uint64_t index = 0;

		return kddm_tell_due(&t, id, commit, &index) ? index : 0;
	}

	kddm_tell t = {};
};

TEST_F(Tell, WhoStoredItIsToldOnce)
{
	stored(2, 7);
	EXPECT_EQ(due(2, 3), 0u);
	EXPECT_EQ(due(2, 7), 7u);
	EXPECT_EQ(due(2, 7), 0u);
	EXPECT_EQ(due(3, 7), 0u);
	stored(3, 7); // slower
	EXPECT_EQ(due(3, 7), 7u);
	EXPECT_EQ(due(3, 7), 0u);
}

TEST_F(Tell, NobodyIsToldMoreThanHeStored)
{
	stored(2, 7);
	stored(3, 9);
	EXPECT_EQ(due(2, 8), 7u);
	EXPECT_EQ(due(3, 8), 8u);
}

TEST_F(Tell, WhoFindsOutByItselfIsNotTold)
{
	stored(2, 7);
	kddm_tell_finds_out(&t, 2, 7);
	EXPECT_EQ(due(2, 7), 0u);
	stored(2, 9);
	EXPECT_EQ(due(2, 9), 9u);
	kddm_tell_finds_out(&t, 2, 8); // less than it knows
	EXPECT_EQ(due(2, 9), 0u);
}

TEST_F(Tell, WhatAnotherMessageToldIsNotRepeated)
{
	stored(2, 7);
	kddm_tell_sent(&t, 2, 7, 1, 7);
	EXPECT_EQ(due(2, 7), 0u);
	/* It came before the entry was stored: it told nothing. */
	kddm_tell_sent(&t, 3, 6, 1, 7);
	stored(3, 7);
	EXPECT_EQ(due(3, 7), 7u);
}

TEST_F(Tell, WhoRefusedIsToldAgain)
{
	stored(2, 7);
	EXPECT_EQ(due(2, 9), 7u);
	EXPECT_TRUE(kddm_tell_stored(&t, 2, 5, 8, 7));
	EXPECT_EQ(due(2, 9), 7u);
}

TEST_F(Tell, ARefusalOfWhatWasStoredSinceIsOldNews)
{
	EXPECT_TRUE(kddm_tell_stored(&t, 2, 5, 7, 6));
	stored(2, 7);
	EXPECT_FALSE(kddm_tell_stored(&t, 2, 5, 7, 6));
	EXPECT_TRUE(kddm_tell_stored(&t, 2, 5, 8, 7));
	EXPECT_EQ(due(2, 7), 7u);
	kddm_tell_term(&t, 6, 7);
	EXPECT_TRUE(kddm_tell_stored(&t, 2, 6, 7, 6)) << "another leader knows nothing of it";
}

TEST_F(Tell, AnotherTermBeginsAnew)
{
	kddm_tell_stored(&t, 2, 4, 0, 7); // an answer to a former leader
	EXPECT_EQ(due(2, 7), 0u);
	stored(2, 7);
	kddm_tell_term(&t, 6, 8);
	EXPECT_EQ(due(2, 8), 0u);
	kddm_tell_stored(&t, 2, 6, 0, 8); // of an older term: a heartbeat tells
	EXPECT_EQ(due(2, 8), 0u);
	kddm_tell_stored(&t, 2, 6, 0, 9);
	EXPECT_EQ(due(2, 9), 9u);
}

TEST_F(Tell, OnlyTheLeaderTells)
{
	stored(2, 7);
	kddm_tell_term(&t, 0, 7);
	kddm_tell_stored(&t, 2, 0, 0, 7);
	EXPECT_EQ(due(2, 7), 0u);
}

} // namespace
