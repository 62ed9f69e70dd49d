// SPDX-License-Identifier: GPL-2.0
// The writer's side of the tables: what is written is found again by the
// reader's functions, whatever order it came in.
#include <gtest/gtest.h>

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "tests/unit/steer_vectors.h"

using namespace steer;

static dip_vip_spec vip4(unsigned n, uint8_t last = 0x64)
{
	dip_vip_spec s{};
	uint8_t mac[6] = {3, 0, 0, 0, 0, last};

	s.family = DIP_INET;
	s.addr.a4 = htonl(0x0a4d0000 | n);
	memcpy(s.mac, mac, 6);
	s.ifindex = 3;
	return s;
}

static dip_vip_spec vip6(unsigned n)
{
	dip_vip_spec s{};

	s.family = DIP_INET6;
	s.addr.a32[0] = htonl(0xfd770000);
	s.addr.a32[3] = htonl(n);
	return s;
}

static dip_flow_spec flow4(unsigned n, uint16_t port = 80)
{
	dip_flow_spec f{};

	f.family = DIP_INET;
	f.raddr.a4 = htonl(0xc0000000 + n / 50000);
	f.rport = 1024 + n % 50000;
	f.lport = port;
	return f;
}

struct Fresh : World {
	explicit Fresh(unsigned bits = 4) : World(bits)
	{
		EXPECT_EQ(dip_tables_init(&mem, 2), 0);
	}
};

TEST(Tables, FreshTablesBelongToNobody)
{
	Fresh w;

	EXPECT_EQ(dip_tables_check(&w.mem), 0);
	EXPECT_EQ(w.mem.conf->self, 2u);
	EXPECT_EQ(dip_lease_get(&w.mem), 0u);
	EXPECT_NE(w.mem.conf->mark, 0u);
	EXPECT_NE(w.mem.conf->flow_key, 0u);
	EXPECT_EQ(dip_slot_get(&w.mem, 0, false, 80).word, 0u);
	EXPECT_EQ(dip_home_port(&w.mem, false, 80), DIP_NOBODY);
	EXPECT_EQ(dip_tables_init(&w.mem, 0), -EINVAL);
	EXPECT_EQ(dip_tables_init(&w.mem, DIP_NODES_MAX), -EINVAL);
	w.mem.conf->abi++;
	EXPECT_EQ(dip_tables_check(&w.mem), -EPROTO);
}

TEST(Tables, VipsAreFoundWhateverTheirNumber)
{
	Fresh w;
	std::map<int, dip_vip_spec> by_index;

	for (unsigned i = 0; i < DIP_VIPS_MAX; i++) {
		dip_vip_spec s = i % 3 ? vip4(i + 1) : vip6(i + 1);
		int index = dip_vip_add(&w.mem, &s);

		ASSERT_GE(index, 0);
		ASSERT_FALSE(by_index.count(index));
		by_index[index] = s;
		for (auto &[n, spec] : by_index)
			EXPECT_EQ(dip_vip_get(&w.mem, spec.family, &spec.addr, nullptr), n);
	}
	uint32_t used = 0xffff;
	for (auto &[n, spec] : by_index)
		used |= spec.family == DIP_INET6 ? 1u << (16 + n) : 0;
	EXPECT_EQ(w.mem.conf->vip_used, used);

	dip_vip_spec more = vip4(99);
	EXPECT_EQ(dip_vip_add(&w.mem, &more), -ENOSPC);
	EXPECT_EQ(dip_vip_get(&w.mem, more.family, &more.addr, nullptr), -ENOENT);
	EXPECT_EQ(dip_vip_del(&w.mem, more.family, &more.addr), -ENOENT);
}

TEST(Tables, NoOtherAddressIsTakenForAVip)
{
	Fresh w;
	dip_vip_spec six = vip6(1), four = vip4(1);

	ASSERT_EQ(dip_vip_add(&w.mem, &six), 0);
	ASSERT_EQ(dip_vip_add(&w.mem, &four), 1);
	for (uint32_t n = 1; n < 3000; n++) {
		for (int word = 0; word < 4; word++) {
			dip_vip_spec other = vip6(1);

			other.addr.a32[word] ^= n;
			ASSERT_EQ(dip_vip_get(&w.mem, DIP_INET6, &other.addr, nullptr), -ENOENT);
		}
		dip_vip_spec other = vip4(1);
		other.addr.a4 ^= n;
		ASSERT_EQ(dip_vip_get(&w.mem, DIP_INET, &other.addr, nullptr), -ENOENT);
	}
	EXPECT_EQ(dip_vip_get(&w.mem, DIP_INET6, &four.addr, nullptr), -ENOENT);
}

TEST(Tables, AVipKeepsItsIndexAndItsNeighboursPorts)
{
	Fresh w;
	dip_vip_spec a = vip4(1), b = vip4(2), none{};
	dip_vip out;

	ASSERT_EQ(dip_vip_add(&w.mem, &a), 0);
	ASSERT_EQ(dip_vip_add(&w.mem, &b), 1);
	dip_slot_own(&w.mem, 0, false, 80, 2, 1, false);
	dip_slot_own(&w.mem, 1, false, 80, 3, 1, false);
	EXPECT_EQ(dip_vip_add(&w.mem, &none), -EINVAL);

	a = vip4(1, 0x77);
	uint64_t generation = w.mem.conf->generation;
	EXPECT_EQ(dip_vip_add(&w.mem, &a), 0) << "another MAC, same VIP";
	EXPECT_GT(w.mem.conf->generation, generation);
	ASSERT_EQ(dip_vip_at(&w.mem, 0, &out), 0);
	EXPECT_EQ(out.mac[5], 0x77);
	EXPECT_EQ(dip_slot_get(&w.mem, 0, false, 80).owner, 2);
	generation = w.mem.conf->generation;
	EXPECT_EQ(dip_vip_add(&w.mem, &a), 0) << "unchanged";
	EXPECT_EQ(w.mem.conf->generation, generation);

	EXPECT_EQ(dip_vip_del(&w.mem, a.family, &a.addr), 0);
	EXPECT_EQ(dip_vip_at(&w.mem, 0, &out), -ENOENT);
	EXPECT_EQ(dip_vip_get(&w.mem, b.family, &b.addr, nullptr), 1);
	dip_vip_spec c = vip4(3);
	EXPECT_EQ(dip_vip_add(&w.mem, &c), 0);
	EXPECT_EQ(dip_slot_get(&w.mem, 0, false, 80).word, 0u) << "nothing of the old VIP is left";
	EXPECT_EQ(dip_slot_get(&w.mem, 1, false, 80).owner, 3);
}

static int graces;

TEST(Tables, TheSideThatIsReadIsNeverWritten)
{
	Fresh w;
	dip_vip_spec a = vip4(1), b = vip4(2);

	ASSERT_EQ(dip_vip_add(&w.mem, &a), 0);
	w.mem.grace = [] { graces++; };
	unsigned side = w.mem.conf->vip_pick >> 32;
	Bytes before(sizeof(w.mem.conf->vips[0]));
	memcpy(before.data(), w.mem.conf->vips[side], before.size());
	ASSERT_EQ(dip_vip_add(&w.mem, &b), 1);
	EXPECT_NE(w.mem.conf->vip_pick >> 32, side);
	EXPECT_EQ(memcmp(before.data(), w.mem.conf->vips[side], before.size()), 0);
	EXPECT_EQ(graces, 1) << "and the other one only after a grace period";
}

TEST(Tables, SlotsKeepTheExceptionsFlag)
{
	Fresh w;
	dip_flow_spec f = flow4(1);

	ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_NODE, 3), 0);
	EXPECT_EQ(dip_slot_get(&w.mem, 0, false, 80).flags, DIP_SLOT_EXCEPTIONS);
	dip_slot_own(&w.mem, 0, false, 80, 2, 5, true);
	dip_slot s = dip_slot_get(&w.mem, 0, false, 80);
	EXPECT_EQ(s.flags, DIP_SLOT_EXCEPTIONS | DIP_SLOT_RELEASING);
	EXPECT_EQ(s.owner, 2);
	EXPECT_EQ(s.epoch, 5);
	dip_slot_hold(&w.mem, 0, false, 80, 2, 3, 6);
	s = dip_slot_get(&w.mem, 0, false, 80);
	EXPECT_EQ(s.state, DIP_SLOT_HOLD);
	EXPECT_EQ(s.next, 3);
	EXPECT_EQ(s.flags, DIP_SLOT_EXCEPTIONS);
	dip_slot_free(&w.mem, 0, false, 80);
	s = dip_slot_get(&w.mem, 0, false, 80);
	EXPECT_EQ(s.state, DIP_SLOT_FREE);
	EXPECT_EQ(s.flags, DIP_SLOT_EXCEPTIONS);
	EXPECT_EQ(s.epoch, 6);
	EXPECT_EQ(dip_flow_flush(&w.mem, 0, false, 80), 1u);
	EXPECT_EQ(dip_slot_get(&w.mem, 0, false, 80).flags, 0);
}

TEST(Tables, HomesAreEvenStableAndTheSameEverywhere)
{
	Fresh a, b;
	std::vector<uint16_t> live = {1, 2, 3, 4, 5}, other = {5, 3, 1, 2, 4}, less = {1, 2, 4, 5};
	std::map<uint16_t, int> share;
	std::vector<uint16_t> before;

	dip_homes_set(&a.mem, live.data(), live.size());
	dip_homes_set(&b.mem, other.data(), other.size());
	EXPECT_EQ(memcmp(a.mem.conf->homes, b.mem.conf->homes, sizeof(a.mem.conf->homes)), 0);
	for (auto node : a.mem.conf->homes)
		share[node]++;
	for (auto node : live)
		EXPECT_NEAR(share[node], DIP_HOMES / 5, 60);
	before.assign(a.mem.conf->homes, a.mem.conf->homes + DIP_HOMES);
	dip_homes_set(&a.mem, less.data(), less.size());
	for (int i = 0; i < DIP_HOMES; i++) {
		if (before[i] == 3) {
			EXPECT_NE(a.mem.conf->homes[i], 3);
		} else {
			EXPECT_EQ(a.mem.conf->homes[i], before[i]) << "only the dead node's share moves";
		}
	}
	dip_homes_set(&a.mem, nullptr, 0);
	EXPECT_EQ(dip_home_port(&a.mem, true, 53), DIP_NOBODY);
}

TEST(Tables, PeersAreFoundByTheirMac)
{
	Fresh w;
	std::mt19937 rnd(3);
	std::map<uint16_t, std::array<uint8_t, 6>> macs;
	uint8_t out[6];

	for (uint16_t n = 1; n < DIP_NODES_MAX; n += 1 + n / 40) {
		std::array<uint8_t, 6> m;

		for (auto &x : m)
			x = rnd();
		m[0] &= 0xfe;
		macs[n] = m;
		ASSERT_EQ(dip_peer_set(&w.mem, n, m.data()), 0);
	}
	auto find = [&](const std::array<uint8_t, 6> &m) {
		uint64_t x = 0;

		memcpy(&x, m.data(), 6);
		return dip_peer_find(w.mem.conf, x);
	};
	for (auto &[n, m] : macs)
		EXPECT_EQ(find(m), n);
	EXPECT_EQ(find({2, 0, 0, 0, 0, 0}), DIP_NOBODY);

	auto [gone, mac] = *macs.begin();
	EXPECT_EQ(dip_peer_set(&w.mem, gone, nullptr), 0);
	EXPECT_EQ(find(mac), DIP_NOBODY);
	EXPECT_EQ(dip_peer_get(&w.mem, gone, out), -ENOENT);
	EXPECT_EQ(dip_peer_set(&w.mem, 0, mac.data()), -EINVAL);
	EXPECT_EQ(dip_peer_set(&w.mem, DIP_NODES_MAX, mac.data()), -EINVAL);
}

TEST(Tables, ATableFullOfPeers)
{
	Fresh w;

	for (uint16_t n = 1; n < DIP_NODES_MAX; n++) {
		uint8_t mac[6] = {2, 0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n};

		// only the last one pays for the whole index
		memcpy(w.mem.conf->peers[n].mac, mac, 6);
		w.mem.conf->peers[n].flags = DIP_PEER_PRESENT;
	}
	uint8_t last[6] = {2, 1, 1, 1, 1, 1};
	ASSERT_EQ(dip_peer_set(&w.mem, 1023, last), 0);
	for (uint16_t n = 1; n < DIP_NODES_MAX; n++) {
		dip_peer p = w.mem.conf->peers[n];

		p.flags = 0;
		EXPECT_EQ(dip_peer_find(w.mem.conf, p.word), n);
	}
}

static bool reader_finds(const World &w, const dip_flow_spec &f, uint16_t *node)
{
	struct dip_tables t = w.view();
	dip_flow flow{};
	dip_way hit{};

	flow.family = f.family;
	flow.raddr = f.raddr;
	flow.rport = htons(f.rport);
	flow.lport = htons(f.lport);
	if (!dip_flow_find(&t, &flow, f.vip, f.udp, &hit))
		return false;
	*node = hit.node;
	return true;
}

TEST(Tables, FlowsAreFoundByReaderAndWriter)
{
	Fresh w;
	dip_flow_spec f = flow4(1), g = f;
	dip_flow_state state;
	uint16_t node;

	dip_flow_spec zero{};
	zero.family = DIP_INET;
	EXPECT_FALSE(reader_finds(w, zero, &node)) << "an empty way is no flow";
	EXPECT_EQ(dip_flow_get(&w.mem, &f, &state, &node), -ENOENT);
	EXPECT_EQ(dip_flow_del(&w.mem, &f), -ENOENT);
	EXPECT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_NONE, 3), -EINVAL);
	ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_HOLD, 3), 0);
	ASSERT_EQ(dip_flow_get(&w.mem, &f, &state, &node), 0);
	EXPECT_EQ(state, DIP_FLOW_HOLD);
	ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_NODE, 4), 0);
	EXPECT_EQ(dip_flow_count(&w.mem), 1u);
	ASSERT_TRUE(reader_finds(w, f, &node));
	EXPECT_EQ(node, 4);

	g.udp = true;
	EXPECT_FALSE(reader_finds(w, g, &node));
	g = f, g.vip = 1;
	EXPECT_FALSE(reader_finds(w, g, &node));
	g = f, g.rport++;
	EXPECT_FALSE(reader_finds(w, g, &node));
	g = f, g.lport++;
	EXPECT_FALSE(reader_finds(w, g, &node));
	g = f, g.raddr.a4++;
	EXPECT_FALSE(reader_finds(w, g, &node));
	g = f, g.family = DIP_INET6;
	EXPECT_FALSE(reader_finds(w, g, &node));

	EXPECT_EQ(dip_flow_del(&w.mem, &f), 0);
	EXPECT_FALSE(reader_finds(w, f, &node));
	EXPECT_EQ(dip_flow_count(&w.mem), 0u);
}

TEST(Tables, Ipv6FlowsStandAsDigests)
{
	Fresh w(8);
	uint16_t node;

	for (int i = 0; i < 500; i++) {
		dip_flow_spec f = flow4(7);

		f.family = DIP_INET6;
		f.raddr = {};
		f.raddr.a64[i % 2] = htonl(1u << (i % 31)) + i;
		ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_NODE, i + 1), 0);
		ASSERT_TRUE(reader_finds(w, f, &node));
		EXPECT_EQ(node, i + 1);
	}
}

// 90 % of all ways are usable, and residents that make room stay findable.
TEST(Tables, FillsUpToNinetyPercent)
{
	Fresh w(10);
	unsigned ways = 4u << 10, n = ways * 9 / 10;
	uint16_t node;

	for (unsigned i = 0; i < n; i++) {
		dip_flow_spec f = flow4(i);

		ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_NODE, i % 1000 + 1), 0) << i << " of " << ways;
	}
	EXPECT_EQ(dip_flow_count(&w.mem), n);
	for (unsigned i = 0; i < n; i++) {
		ASSERT_TRUE(reader_finds(w, flow4(i), &node)) << i;
		ASSERT_EQ(node, i % 1000 + 1);
	}
	for (unsigned i = n; i < 2 * n; i++)
		ASSERT_FALSE(reader_finds(w, flow4(i), &node));
}

TEST(Tables, AFullTableSaysSo)
{
	Fresh w(1);
	std::vector<dip_flow_spec> in;
	uint16_t node;

	for (unsigned i = 0; i < 20; i++) {
		dip_flow_spec f = flow4(i);
		int err = dip_flow_put(&w.mem, &f, DIP_FLOW_NODE, 3);

		if (err)
			EXPECT_EQ(err, -ENOSPC);
		else
			in.push_back(f);
	}
	EXPECT_LE(in.size(), 8u);
	EXPECT_EQ(dip_flow_count(&w.mem), in.size());
	for (auto &f : in)
		EXPECT_TRUE(reader_finds(w, f, &node));
}

TEST(Tables, RandomlyInAndOutLikeAMap)
{
	Fresh w(6);
	std::map<unsigned, uint16_t> model;
	std::mt19937 rnd(11);
	dip_flow_state state;
	uint16_t node;

	for (int step = 0; step < 20000; step++) {
		unsigned i = rnd() % 400;
		dip_flow_spec f = flow4(i, i % 2 ? 80 : 81);

		if (rnd() % 2 && model.size() < 220) {
			uint16_t n = rnd() % 1000 + 1;

			ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_NODE, n), 0);
			model[i] = n;
		} else {
			ASSERT_EQ(dip_flow_del(&w.mem, &f), model.erase(i) ? 0 : -ENOENT);
		}
		if (step % 97)
			continue;
		for (unsigned j = 0; j < 400; j++) {
			dip_flow_spec g = flow4(j, j % 2 ? 80 : 81);
			bool there = model.count(j);

			ASSERT_EQ(reader_finds(w, g, &node), there);
			ASSERT_EQ(dip_flow_get(&w.mem, &g, &state, &node), there ? 0 : -ENOENT);
			ASSERT_TRUE(!there || node == model[j]);
		}
	}
	size_t odd = std::count_if(model.begin(), model.end(), [](auto &e) { return e.first % 2; });
	EXPECT_EQ(dip_flow_flush(&w.mem, 0, false, 80), odd);
	EXPECT_EQ(dip_flow_count(&w.mem), model.size() - odd);
}

TEST(Tables, FlowsAreListedWithAllTheyHave)
{
	Fresh w;
	dip_flow_spec f = flow4(5, 443), seen{};

	f.vip = 3;
	f.udp = true;
	ASSERT_EQ(dip_flow_put(&w.mem, &f, DIP_FLOW_DROP, 9), 0);
	dip_flow_each(
		&w.mem,
		[](const dip_flow_spec *s, dip_flow_state state, uint16_t node, void *arg) {
			EXPECT_EQ(state, DIP_FLOW_DROP);
			EXPECT_EQ(node, 9);
			*static_cast<dip_flow_spec *>(arg) = *s;
		},
		&seen);
	EXPECT_EQ(seen.vip, 3);
	EXPECT_TRUE(seen.udp);
	EXPECT_EQ(seen.lport, 443);
	EXPECT_EQ(seen.rport, f.rport);
	EXPECT_EQ(seen.raddr.a4, f.raddr.a4);
	// a VIP that takes the index over inherits nothing
	for (unsigned i = 1; i < 5; i++) {
		dip_vip_spec v = vip4(i);

		dip_vip_add(&w.mem, &v);
	}
	EXPECT_EQ(dip_flow_count(&w.mem), 0u);
}
