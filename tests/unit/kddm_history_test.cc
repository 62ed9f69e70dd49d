// SPDX-License-Identifier: GPL-2.0
// What a leader says against what is committed here.
#include <gtest/gtest.h>
#include <vector>

// raft.h asserts in a way that C++ does not know.
#define static_assert(...)
extern "C" {
#include "userland/netd/kddm_history.h"
}
#undef static_assert

namespace {

// Entries 5-6 of term 2, 7-9 of term 4 and 10 of term 5, after a snapshot up to 4 (term 2); 8 are committed.
// The engine's ring of them has wrapped.
class History : public testing::Test {
      protected:
	struct raft r = {};
	std::remove_pointer_t<decltype(raft_trail::records)> records[4] = {{9, 4}, {10, 5}, {0, 0}, {6, 2}};
	std::vector<raft_entry> entries;

	void SetUp() override
	{
		r.trail.records = reinterpret_cast<decltype(raft_trail::records)>(records);
		r.trail.size = 4;
		r.trail.front = 3;
		r.trail.back = 2;
		r.trail.offset = 4;
		r.trail.snapshot = {4, 2};
		r.commit_index = 8;
		r.current_term = 5;
	}
	raft_index append(raft_index prev, raft_term prev_term, std::vector<raft_term> terms = {},
			  raft_term term = 6)
	{
		raft_message m = {};

		entries.clear();
		for (raft_term t : terms) {
			entries.emplace_back();
			entries.back().term = t;
		}
		m.type = RAFT_APPEND_ENTRIES;
		m.append_entries.term = term;
		m.append_entries.prev_log_index = prev;
		m.append_entries.prev_log_term = prev_term;
		m.append_entries.entries = entries.data();
		m.append_entries.n_entries = static_cast<unsigned>(entries.size());
		return kddm_history_conflict(&r, &m);
	}
	raft_index snapshot(raft_index last, raft_term last_term, raft_term term = 6)
	{
		raft_message m = {};

		m.type = RAFT_INSTALL_SNAPSHOT;
		m.install_snapshot.term = term;
		m.install_snapshot.last_index = last;
		m.install_snapshot.last_term = last_term;
		return kddm_history_conflict(&r, &m);
	}
};

TEST_F(History, TheSameIsNoConflict)
{
	EXPECT_EQ(append(0, 0, {1, 1, 2}), 0u);
	EXPECT_EQ(append(4, 2, {2, 2, 4, 4, 4, 5}), 0u);
	EXPECT_EQ(append(8, 4), 0u);
	EXPECT_EQ(append(10, 5, {6}), 0u);
	EXPECT_EQ(snapshot(8, 4), 0u);
}

TEST_F(History, WhatIsNotCommittedMayBeAnother)
{
	EXPECT_EQ(append(8, 4, {6, 6, 6}), 0u);
	EXPECT_EQ(append(9, 6, {6}), 0u);
	EXPECT_EQ(append(10, 6), 0u);
	EXPECT_EQ(snapshot(9, 6), 0u);
	EXPECT_EQ(snapshot(100, 6), 0u);
}

TEST_F(History, AnotherCommittedEntryIsTold)
{
	EXPECT_EQ(append(8, 6), 8u);
	EXPECT_EQ(append(8, 6, {6}), 8u);
	EXPECT_EQ(append(4, 2, {2, 3, 4}), 6u);
	EXPECT_EQ(append(6, 2, {4, 6, 6}), 8u);
	EXPECT_EQ(append(4, 1), 4u); // of the snapshot
	EXPECT_EQ(append(3, 1, {3, 2}), 4u);
	EXPECT_EQ(snapshot(7, 6), 7u);
}

// A leader that looks for the end of our log says what is committed, and sends less than that.
TEST_F(History, WhatWasAppliedStaysAgreedOn)
{
	r.commit_index = 6;
	EXPECT_EQ(append(8, 6), 0u);
	r.last_applied = 8;
	EXPECT_EQ(append(8, 6), 8u);
	EXPECT_EQ(append(6, 2, {6}), 7u);
}

TEST_F(History, WhatIsNotKnownAnyMoreIsNotJudged)
{
	EXPECT_EQ(append(2, 9, {9}), 0u);
	EXPECT_EQ(snapshot(3, 9), 0u);
	r.trail = {};
	EXPECT_EQ(append(8, 6, {6}), 0u);
}

// It was deposed, and does not know yet.
TEST_F(History, WhoLedInAnOlderTermIsNotJudged)
{
	EXPECT_EQ(append(8, 3, {3}, 4), 0u);
	EXPECT_EQ(snapshot(8, 3, 4), 0u);
}

} // namespace
