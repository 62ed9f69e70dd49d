// SPDX-License-Identifier: GPL-2.0
/* The checker itself: histories that are right, histories that are wrong in the smallest way, and random ones. */
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/linear/linear.h"

namespace {

using History = std::vector<linear_op>;

linear_op read(uint64_t begin, uint64_t end, uint64_t saw)
{
	return {begin, end, LINEAR_READ, LINEAR_DONE, 0, saw};
}

linear_op write(uint64_t begin, uint64_t end, uint64_t value)
{
	return {begin, end, LINEAR_WRITE, LINEAR_DONE, 0, value};
}

linear_op cas(uint64_t begin, uint64_t end, uint64_t expect, uint64_t value, bool ok)
{
	return {begin, end, LINEAR_CAS, (uint32_t)(ok ? LINEAR_DONE : LINEAR_REFUSED), expect, value};
}

linear_op unknown(linear_op op)
{
	op.outcome = LINEAR_UNKNOWN;
	return op;
}

linear_verdict check(const History &h)
{
	return linear_check(h.data(), h.size(), 1000000);
}

#define RIGHT(...) EXPECT_EQ(check(History{__VA_ARGS__}), LINEAR_YES)
#define WRONG(...) EXPECT_EQ(check(History{__VA_ARGS__}), LINEAR_NO)

TEST(Linear, OneAfterTheOther)
{
	RIGHT();
	RIGHT(read(1, 2, 0), write(3, 4, 1), read(5, 6, 1));
	WRONG(read(1, 2, 7));
	WRONG(write(1, 2, 1), read(3, 4, 0));
	WRONG(write(1, 2, 1), write(3, 4, 2), read(5, 6, 1)); // stale
	RIGHT(write(1, 2, 1), write(3, 4, 0), read(5, 6, 0)); // removed
}

TEST(Linear, AtTheSameTime)
{
	RIGHT(write(1, 10, 1), read(2, 3, 0), read(4, 5, 1));
	WRONG(write(1, 10, 1), read(2, 3, 1), read(4, 5, 0)); // seen, then not
	RIGHT(write(1, 10, 1), write(1, 10, 2), read(11, 12, 1));
	RIGHT(write(1, 10, 1), write(1, 10, 2), read(11, 12, 2));
	WRONG(write(1, 10, 1), write(1, 10, 2), read(11, 12, 1), read(13, 14, 2));
	RIGHT(write(1, 5, 1), read(5, 6, 0)); // the same moment
}

TEST(Linear, OneWinner)
{
	RIGHT(cas(1, 10, 0, 1, true), cas(1, 10, 0, 2, false));
	WRONG(cas(1, 10, 0, 1, true), cas(1, 10, 0, 2, true));
	WRONG(cas(1, 10, 0, 1, false)); // it was absent
	RIGHT(cas(1, 2, 0, 1, true), cas(3, 4, 1, 2, true), read(5, 6, 2));
	WRONG(cas(1, 2, 0, 1, true), cas(3, 4, 1, 2, true), read(5, 6, 1));
}

TEST(Linear, UnknownIsDoneOrNot)
{
	RIGHT(unknown(write(1, 0, 1)), read(2, 3, 0), read(4, 5, 0));
	RIGHT(unknown(write(1, 0, 1)), read(2, 3, 0), read(4, 5, 1));
	WRONG(unknown(write(4, 0, 1)), read(2, 3, 1));		      // before it began
	WRONG(unknown(write(1, 0, 1)), read(2, 3, 1), read(4, 5, 0)); // done, then undone
	RIGHT(unknown(cas(1, 0, 0, 1, true)), read(2, 3, 1));
	WRONG(write(1, 2, 5), unknown(cas(3, 0, 0, 1, true)), read(4, 5, 1)); // cannot have been done
	RIGHT(unknown(read(1, 0, 9)), read(2, 3, 0));
}

TEST(Linear, DoneTwice)
{
	/* A request that was repeated and not recognised: 1 comes back after 2. */
	WRONG(unknown(write(1, 0, 1)), read(2, 3, 1), write(4, 5, 2), read(6, 7, 2), read(8, 9, 1));
	WRONG(write(1, 2, 1), write(3, 4, 2), read(5, 6, 2), read(7, 8, 1));
}

TEST(Linear, TooHardIsSaid)
{
	History h;

	for (uint64_t i = 1; i < 30; i++)
		h.push_back(write(1, 100, i));
	h.push_back(read(101, 102, 99));
	EXPECT_EQ(linear_check(h.data(), h.size(), 1000), LINEAR_TOO_HARD);
}

/* Histories of a real register: each operation takes effect at some moment between begin and end. */
struct Made {
	linear_op op;
	uint64_t moment;
};

History make(std::mt19937 &random, size_t n)
{
	std::vector<Made> made(n);
	History h;
	uint64_t state = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t begin = random() % (20 * n), length = 2 + random() % 200;

		made[i].moment = begin + random() % length;
		made[i].op = {begin, begin + length, (uint32_t)(random() % 3), LINEAR_DONE, 0, i + 1};
	}
	std::sort(made.begin(), made.end(), [](const Made &a, const Made &b) { return a.moment < b.moment; });
	for (auto &m : made) {
		if (m.op.kind == LINEAR_READ) {
			m.op.value = state;
		} else if (m.op.kind == LINEAR_CAS) {
			m.op.expect = random() % 2 ? state : random() % n;
			m.op.outcome = m.op.expect == state ? LINEAR_DONE : LINEAR_REFUSED;
		}
		if (m.op.kind != LINEAR_READ && m.op.outcome == LINEAR_DONE)
			state = m.op.value;
		if (m.op.kind != LINEAR_READ && m.op.outcome == LINEAR_DONE && random() % 10 == 0)
			m.op.outcome = LINEAR_UNKNOWN;
		h.push_back(m.op);
	}
	std::shuffle(h.begin(), h.end(), random);
	return h;
}

TEST(Linear, RealHistoriesAreRight)
{
	std::mt19937 random(1);

	for (int i = 0; i < 300; i++)
		EXPECT_EQ(check(make(random, 5 + random() % 60)), LINEAR_YES) << "history " << i;
}

/* A read is made to see what nobody wrote, or what was gone for long. */
TEST(Linear, PlantedErrorsAreFound)
{
	std::mt19937 random(2);
	int found = 0;

	for (int i = 0; i < 300; i++) {
		History h = make(random, 40);
		uint64_t end = 0;

		for (auto &op : h)
			end = std::max(end, op.end);
		h.push_back(write(end + 1, end + 2, 1001));
		h.push_back(write(end + 3, end + 4, 1002));
		for (auto &op : h) /* what is unknown may come at any time */
			if (op.outcome == LINEAR_UNKNOWN)
				op.outcome = LINEAR_DONE;
		h.push_back(read(end + 5, end + 6, i % 2 ? 1001 : 0));
		found += check(h) == LINEAR_NO;
	}
	EXPECT_EQ(found, 300);
}

} // namespace
