// SPDX-License-Identifier: GPL-2.0
// The decision itself, in plain memory: every vector, every reason, and bytes
// that nobody meant to be a packet.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

#include "bpf/parse.h"
#include "tests/unit/steer_vectors.h"

using namespace steer;

static const uint64_t NOW = 1000;

struct Steered : World {
	explicit Steered(const Vector &v)
	{
		EXPECT_EQ(dip_tables_init(&mem, 2), 0);
		setup(&mem, v);
		dip_lease_set(&mem, v.lease ? NOW + 1 : NOW);
	}
};

static std::set<int> run(const Vector &v)
{
	std::set<int> seen;
	Steered w(v);
	Adapter a;

	for (auto &s : v.steps) {
		if (adapter_reason(s.reason) || s.released)
			continue;
		dip_result r = a.decide(w.view(), s.dir, s.frame.data(), s.frame.size(), NOW);

		SCOPED_TRACE(v.file + ":" + std::to_string(s.line) + ": " + v.name + ":" + s.text);
		EXPECT_STREQ(verdict_name(r.verdict), verdict_name(s.verdict));
		EXPECT_STREQ(reason_name(r.reason), reason_name(s.reason));
		if (s.node >= 0) {
			EXPECT_EQ(r.node, s.node);
		}
		seen.insert(r.reason);
	}
	return seen;
}

TEST(Steer, VectorsAndEveryReasonIsReached)
{
	std::set<int> seen;

	for (auto &v : load_all())
		seen.merge(run(v));
	for (int r = 1; r < DIP_REASON_COUNT; r++) {
		EXPECT_TRUE(seen.count(r) || adapter_reason(r)) << "no vector reaches " << reason_name(r);
	}
}

// The table of reasons promises one verdict each (on the way in).
TEST(Steer, ReasonsKeepTheirVerdict)
{
	static const int promised[] = {-1,
#define V(name, verdict, text) DIP_##verdict,
				       DIP_REASONS(V)
#undef V
	};

	for (auto &v : load_all()) {
		for (auto &s : v.steps) {
			EXPECT_TRUE(promised[s.reason] == s.verdict || s.dir == DIP_OUT)
				<< v.file << ":" << s.line;
		}
	}
}

TEST(Steer, LeaseEndsAtItsExpiry)
{
	auto all = load_all();
	auto &v = all.front();
	Steered w(v);
	Adapter a;
	auto &f = v.steps[0].frame;
	auto reason = [&](uint64_t now) {
		return a.decide(w.view(), DIP_IN, f.data(), f.size(), now).reason;
	};

	dip_lease_set(&w.mem, 500);
	EXPECT_EQ(reason(499), DIP_R_OWNED);
	EXPECT_EQ(reason(500), DIP_R_LEASE_EXPIRED);
	EXPECT_EQ(reason(501), DIP_R_LEASE_EXPIRED);
	dip_lease_set(&w.mem, 0);
	EXPECT_EQ(reason(0), DIP_R_LEASE_EXPIRED);
}

TEST(Steer, SocketsAreFoundOnlyForWhatIsHere)
{
	auto all = load_all();
	Steered w(all.front());
	struct dip_tables t = w.view();
	auto local = [&](uint8_t proto, uint16_t port, uint16_t rport) {
		dip_flow f{};

		f.family = DIP_INET;
		f.proto = proto;
		f.raddr.a4 = DIP_NTOH32(0x0a4d00fa);
		f.lport = DIP_NTOH16(port);
		f.rport = DIP_NTOH16(rport);
		return dip_local(&t, &f, 0);
	};

	EXPECT_TRUE(local(6, 6379, 1));
	EXPECT_FALSE(local(6, 6379, 4001)) << "moved away";
	EXPECT_TRUE(local(6, 6379, 4002)) << "in HOLD, the port decides";
	EXPECT_FALSE(local(6, 80, 1));
	EXPECT_TRUE(local(6, 80, 4001)) << "moved here";
	EXPECT_TRUE(local(6, 6380, 1)) << "releasing";
	EXPECT_TRUE(local(6, 7000, 1)) << "source of a move";
	EXPECT_TRUE(local(6, 7001, 1)) << "target of a move";
	EXPECT_FALSE(local(6, 7002, 1));
	EXPECT_FALSE(local(6, 22, 1)) << "nobody's";
	EXPECT_FALSE(local(6, 81, 1)) << "home answers RST, not with a socket";
	EXPECT_TRUE(local(17, 53, 1));
	EXPECT_FALSE(local(17, 6379, 1));
	EXPECT_FALSE(local(6, 40000, 1)) << "nobody listens at a source port";
	EXPECT_EQ(local(17, 40000, 1), 2) << "whoever called";
	EXPECT_FALSE(local(6, 40001, 1)) << "another node's source port";
}

// ASan watches: nothing is read past the end of a frame cut anywhere.
TEST(Steer, EveryFrameCutAtEveryByte)
{
	for (auto &v : load_all()) {
		Steered w(v);
		Adapter a;

		for (auto &s : v.steps)
			for (size_t n = 0; n < s.frame.size(); n++) {
				dip_result r = a.decide(w.view(), s.dir, s.frame.data(), n, NOW);

				ASSERT_LT(r.verdict, DIP_VERDICT_COUNT);
				ASSERT_GT(r.reason, DIP_R_NONE);
				ASSERT_LT(r.reason, DIP_REASON_COUNT);
			}
	}
}

// The same where the frame goes on behind what can be read (tc: the rest is not
// linear), and where its lengths are not to be looked at (GSO).
TEST(Steer, OnlyTheReadablePartIsRead)
{
	for (auto &v : load_all()) {
		for (auto &s : v.steps) {
			for (size_t n = 0; n < s.frame.size(); n++) {
				Bytes cut(s.frame.begin(), s.frame.begin() + n);

				for (size_t len : {s.frame.size(), (size_t)0}) {
					dip_flow f{};

					dip_parse(&f, cut.data(), cut.data() + n, len, s.dir);
					ASSERT_LT(f.malformed, DIP_REASON_COUNT);
				}
			}
		}
	}
}

// The short way for common packets says what the long way says, or nothing.
TEST(Steer, TheShortParserAgreesWithTheLongOne)
{
	auto all = load_all();
	std::mt19937 rnd(2);
	int common[2][2] = {};

	for (int i = 0; i < 100000; i++) {
		auto &v = all[rnd() % all.size()];
		Bytes b = v.steps[rnd() % v.steps.size()].frame;
		dip_dir dir = i % 2 ? DIP_IN : DIP_OUT;
		dip_flow f{}, f6{}, g{};
		bool six = false;

		b.resize(b.size() + rnd() % 3 * 8);
		if (b.size() > 14 && rnd() % 2)
			b[12 + rnd() % (b.size() - 12)] ^= 1 << rnd() % 8;
		const uint8_t *p = b.data(), *end = p + b.size();
		size_t len = rnd() % 4 ? b.size() : 0; // 0: of a packet that the card will cut
		if (!dip_parse_common4(&f, p, end, len, dir)) {
			six = dip_parse_common6(&f6, p, end, len, dir);
			if (!six)
				continue;
			f = f6;
		}
		dip_parse(&g, p, end, len, dir);
		f.dmac = dir == DIP_IN ? dip_dmac(&f) : 0;
		f.smac = dir == DIP_IN ? dip_smac(&f) : 0;
		f.eth = nullptr;
		ASSERT_EQ(memcmp(&f, &g, sizeof(f)), 0);
		common[six][dir]++;
	}
	for (int dir = 0; dir < 2; dir++) {
		EXPECT_GT(common[0][dir], 2500);
		EXPECT_GT(common[1][dir], 500);
	}
}

TEST(Steer, RandomBytesAndMutations)
{
	auto all = load_all();
	std::mt19937 rnd(1);
	Steered w(all.front());
	Adapter a;

	for (int i = 0; i < 50000; i++) {
		auto &v = all[rnd() % all.size()];
		Bytes f = v.steps[rnd() % v.steps.size()].frame;

		for (int n = rnd() % 4; n >= 0 && !f.empty(); n--)
			f[rnd() % f.size()] = rnd();
		f.resize(f.size() - (rnd() % 3 ? 0 : rnd() % (f.size() + 1)));
		dip_result r = a.decide(w.view(), i % 2 ? DIP_IN : DIP_OUT, f.data(), f.size(), NOW);
		ASSERT_GT(r.reason, DIP_R_NONE);
		ASSERT_LT(r.reason, DIP_REASON_COUNT);
	}
}
