// SPDX-License-Identifier: GPL-2.0
// The loaded programs against the C function: every vector and 20,000 random
// flows through BPF_PROG_TEST_RUN give the same verdict for the same reason.
// And the handle on them: pins, links, restart.  Needs root; run by check-net.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <random>
#include <set>

#include "tests/unit/steer_vectors.h"
#include "userland/lib/dip_bpf.h"

using namespace steer;

static const uint64_t FOREVER = ~0ull;

// Programs over private maps.
struct Loaded {
	dip_bpf *d = nullptr;

	explicit Loaded(unsigned flow_bits = 4)
	{
		dip_bpf_opts o{};

		o.flow_bits = flow_bits;
		o.no_pin = true;
		if (dip_bpf_load(&d, &o, 2, nullptr))
			throw std::runtime_error(dip_bpf_error());
	}
	~Loaded()
	{
		dip_bpf_close(d);
	}
	dip_mem *mem()
	{
		return dip_bpf_mem(d);
	}
	struct dip_tables view()
	{
		return {mem()->conf, mem()->ports, mem()->flows, mem()->flow_mask};
	}
};

static dip_stats stats(Loaded &l)
{
	dip_stats s{};

	EXPECT_EQ(dip_bpf_stats(l.d, &s), 0);
	return s;
}

// The one reason that was counted between two readings, and how often.
static int counted(const dip_stats &a, const dip_stats &b, dip_dir dir, unsigned *times)
{
	int reason = DIP_R_NONE;

	*times = 0;
	for (int r = 0; r < DIP_REASONS_MAX; r++) {
		if (a.reason[dir][r] == b.reason[dir][r])
			continue;
		*times += b.reason[dir][r] - a.reason[dir][r];
		reason = r;
	}
	return reason;
}

struct Ran {
	int err = 0;
	uint32_t retval = 0;
	uint32_t mark = 0;
	Bytes frame;
};

static Ran run_skb(Loaded &l, dip_prog prog, const Bytes &in, uint32_t mark = 0)
{
	LIBBPF_OPTS(bpf_test_run_opts, o);
	Ran r;
	__sk_buff ctx{};

	ctx.mark = mark;
	r.frame.resize(in.size() + 256);
	o.data_in = in.data();
	o.data_size_in = in.size();
	o.data_out = r.frame.data();
	o.data_size_out = r.frame.size();
	o.ctx_in = o.ctx_out = &ctx;
	o.ctx_size_in = o.ctx_size_out = sizeof(ctx);
	r.err = bpf_prog_test_run_opts(dip_bpf_prog_fd(l.d, prog), &o);
	r.retval = o.retval;
	r.mark = ctx.mark;
	r.frame.resize(o.data_size_out);
	return r;
}

static Ran run_xdp(Loaded &l, const Bytes &in)
{
	LIBBPF_OPTS(bpf_test_run_opts, o);
	Ran r;

	r.frame.resize(in.size() + 256);
	o.data_in = in.data();
	o.data_size_in = in.size();
	o.data_out = r.frame.data();
	o.data_size_out = r.frame.size();
	r.err = bpf_prog_test_run_opts(dip_bpf_prog_fd(l.d, DIP_PROG_XDP), &o);
	r.retval = o.retval;
	return r;
}

static uint32_t tc_action(int verdict, dip_dir dir)
{
	switch (verdict) {
	case DIP_DROP:
		return TC_ACT_SHOT;
	case DIP_HOLD:
	case DIP_FORWARD:
		return dir == DIP_IN ? TC_ACT_REDIRECT : TC_ACT_SHOT;
	}
	return (uint32_t)TC_ACT_UNSPEC;
}

// What XDP may drop by itself; the rest is for tc.
static bool xdp_drops(const dip_result &r, const dip_flow &f)
{
	return r.verdict == DIP_DROP && !(f.flags & DIP_F_FRAG) && r.reason != f.malformed;
}

static void expect_xdp(Loaded &l, const Bytes &frame, const dip_result &r, const dip_flow &f)
{
	unsigned times;
	dip_stats before = stats(l);
	Ran x = run_xdp(l, frame);
	int reason = counted(before, stats(l), DIP_IN, &times);

	ASSERT_EQ(x.err, 0);
	if (xdp_drops(r, f)) {
		EXPECT_EQ(x.retval, (uint32_t)XDP_DROP);
		EXPECT_STREQ(reason_name(reason), reason_name(r.reason));
		EXPECT_EQ(times, 1u);
	} else {
		EXPECT_EQ(x.retval, (uint32_t)XDP_PASS);
		EXPECT_EQ(times, 0u) << "tc counts what passes";
	}
}

static void expect_tc(Loaded &l, dip_dir dir, const Bytes &frame, int verdict, int reason, uint32_t mark)
{
	unsigned times;
	dip_stats before = stats(l);
	Ran t = run_skb(l, dir == DIP_IN ? DIP_PROG_TC_IN : DIP_PROG_TC_OUT, frame, mark);
	int said = counted(before, stats(l), dir, &times);

	ASSERT_EQ(t.err, 0);
	EXPECT_EQ(t.retval, tc_action(verdict, dir));
	if (dir == DIP_OUT && verdict == DIP_PASS) {
		EXPECT_EQ(times, 0u) << "not ours, not counted";
		return;
	}
	EXPECT_STREQ(reason_name(said), reason_name(reason));
	EXPECT_EQ(times, 1u);
	if (mark) {
		EXPECT_EQ(t.mark, 0u) << "the mark ends here";
	}
	if (dir == DIP_IN && verdict == DIP_FORWARD) {
		EXPECT_EQ(memcmp(t.frame.data() + 6, frame.data(), 6), 0) << "from this node";
		EXPECT_EQ(t.frame[5], 3) << "to node 3";
	}
}

// The kernel takes no test frame that ends inside the Ethernet header, and as an
// skb none that ends inside the IP header that its type promises.
static bool runnable(const Bytes &f, bool skb)
{
	if (f.size() < 15)
		return false;
	if (skb && f[12] == 0x08 && f[13] == 0x00)
		return f.size() >= 34;
	if (skb && f[12] == 0x86 && f[13] == 0xdd)
		return f.size() >= 54;
	return true;
}

TEST(Bpf, VectorsAndEveryReasonIsReached)
{
	std::set<int> seen;
	Loaded l;

	for (auto &v : load_all()) {
		Adapter a;

		ASSERT_EQ(dip_tables_init(l.mem(), 2), 0);
		setup(l.mem(), v);
		dip_lease_set(l.mem(), v.lease ? FOREVER : 0);
		for (auto &s : v.steps) {
			SCOPED_TRACE(v.file + ":" + std::to_string(s.line) + ": " + v.name + ":" + s.text);
			if (!runnable(s.frame, false))
				continue;
			if (runnable(s.frame, true)) {
				expect_tc(l, s.dir, s.frame, s.verdict, s.reason,
					  s.released ? l.mem()->conf->mark : 0);
				seen.insert(s.reason);
			}
			if (s.dir == DIP_IN && !s.released && !adapter_reason(s.reason)) {
				dip_flow f;
				dip_result r =
					a.decide(l.view(), s.dir, s.frame.data(), s.frame.size(), 1, &f);

				expect_xdp(l, s.frame, r, f);
			}
		}
	}
	for (int r = 1; r < DIP_REASON_COUNT; r++)
		EXPECT_TRUE(seen.count(r)) << "no vector reaches " << reason_name(r);
}

TEST(Bpf, ArpOfAVipNamesItsMacAndNothingElseChanges)
{
	Loaded l;
	auto all = load_all();

	setup(l.mem(), all.front());
	dip_lease_set(l.mem(), FOREVER);
	for (int op : {1, 2}) {
		Bytes in = build_frame("arp 10.77.0.100 > 10.77.0.250 smac=02:00:00:00:00:02 "
				       "dmac=02:00:00:00:00:fa op=" +
				       std::to_string(op));
		Bytes want = in;
		const uint8_t mac[6] = {3, 0x53, 0x53, 0x49, 0, 0x64};

		memcpy(&want[14 + 8], mac, 6);
		EXPECT_EQ(run_skb(l, DIP_PROG_TC_OUT, in).frame, want);
	}
	for (auto other : {"arp 10.77.0.2 > 10.77.0.100", "arp 10.77.0.100 > 10.77.0.250 hlen=8",
			   "arp 10.77.0.100 > 10.77.0.250 cut=41"}) {
		Bytes in = build_frame(other);
		Ran r = run_skb(l, DIP_PROG_TC_OUT, in);

		EXPECT_EQ(r.retval, (uint32_t)TC_ACT_UNSPEC) << other;
		EXPECT_EQ(r.frame, in) << other;
	}
}

// The frame is as if the kernel had written the VIP's MAC, checksum included.
TEST(Bpf, NeighbourDiscoveryOfAVipNamesItsMacAndNothingElseChanges)
{
	const std::string own = "02:00:00:00:00:02", vip = "03:53:53:49:00:64";
	Loaded l;

	for (auto &v : load_all())
		if (v.file.find("/nd.txt") != std::string::npos) {
			setup(l.mem(), v);
			break;
		}
	dip_lease_set(l.mem(), FOREVER);
	for (std::string text : {"nd [fd77::100] > [fd77::250] target=fd77::100 tells ll=",
				 "nd [fe80::2] > [ff02::1] target=fd77::100 tells ll=",
				 "nd [fd77::100] > [ff02::1:ff00:250] target=fd77::250 ll=",
				 "nd [fd77::100] > [ff02::1:ff00:250] target=fd77::250 nonce ll="}) {
		Ran r = run_skb(l, DIP_PROG_TC_OUT, build_frame(text + own));

		EXPECT_EQ(r.retval, (uint32_t)TC_ACT_UNSPEC) << text;
		EXPECT_EQ(r.frame, build_frame(text + vip)) << text;
	}
	for (std::string text : {"nd [fd77::100] > [fd77::250] target=fd77::2 tells ll=",
				 "nd [fd77::2] > [ff02::1:ff00:250] target=fd77::250 ll=",
				 "nd [fd77::2] > [fd77::100] target=fd77::2 tells ll="}) {
		Ran r = run_skb(l, DIP_PROG_TC_OUT, build_frame(text + own));

		EXPECT_EQ(r.retval, (uint32_t)TC_ACT_UNSPEC) << text << ": and out, for all to hear";
		EXPECT_EQ(r.frame, build_frame(text + own)) << text;
	}
}

TEST(Bpf, AForeignMarkIsNoKey)
{
	Loaded l;
	auto all = load_all();
	Bytes f = build_frame("tcp 10.77.0.250:40000 > 10.77.0.100:80");

	setup(l.mem(), all.front());
	dip_lease_set(l.mem(), FOREVER);
	EXPECT_EQ(run_skb(l, DIP_PROG_TC_IN, f, l.mem()->conf->mark).retval, (uint32_t)TC_ACT_UNSPEC);
	EXPECT_EQ(run_skb(l, DIP_PROG_TC_IN, f, l.mem()->conf->mark + 1).retval, (uint32_t)TC_ACT_SHOT);
}

TEST(Bpf, TheQueueGivesBackOnlyWhatIsForAVip)
{
	Loaded l;
	auto all = load_all();
	Bytes f = build_frame("tcp 10.77.0.250:40000 > 10.77.0.100:7000");

	setup(l.mem(), all.front());
	Ran r = run_skb(l, DIP_PROG_TC_TAP, f);
	EXPECT_EQ(r.retval, (uint32_t)TC_ACT_REDIRECT);
	EXPECT_EQ(r.mark, l.mem()->conf->mark);
	f = build_frame("tcp 10.77.0.250:40000 > 10.77.0.2:7000");
	EXPECT_EQ(run_skb(l, DIP_PROG_TC_TAP, f).retval, (uint32_t)TC_ACT_SHOT);
	f = build_frame("arp 10.77.0.250 > 10.77.0.100");
	EXPECT_EQ(run_skb(l, DIP_PROG_TC_TAP, f).retval, (uint32_t)TC_ACT_SHOT);
	// a VIP that is on no interface of this node
	dip_vip_spec nowhere{};
	nowhere.family = DIP_INET;
	nowhere.addr.a4 = htonl(0x0a4d0066);
	ASSERT_GE(dip_vip_add(l.mem(), &nowhere), 0);
	f = build_frame("tcp 10.77.0.250:40000 > 10.77.0.102:7000");
	EXPECT_EQ(run_skb(l, DIP_PROG_TC_TAP, f).retval, (uint32_t)TC_ACT_SHOT);
}

// What this node sends to a VIP: ours turns round, the rest goes out to be heard.
TEST(Bpf, ANodesOwnCallsToAVip)
{
	Loaded l;
	auto all = load_all();
	auto ran = [&](const char *port) {
		return run_skb(l, DIP_PROG_TC_OUT,
			       build_frame(std::string("tcp 10.77.0.2:40000 > 10.77.0.100:") + port));
	};

	setup(l.mem(), all.front());
	dip_lease_set(l.mem(), FOREVER);
	Ran here = ran("6379");
	EXPECT_EQ(here.retval, (uint32_t)TC_ACT_REDIRECT);
	EXPECT_EQ(here.mark, l.mem()->conf->mark);
	EXPECT_EQ(ran("81").retval, (uint32_t)TC_ACT_REDIRECT) << "the home answers";
	EXPECT_EQ(ran("80").retval, (uint32_t)TC_ACT_UNSPEC);
	EXPECT_EQ(ran("82").retval, (uint32_t)TC_ACT_UNSPEC);
	EXPECT_EQ(ran("80").mark, 0u);
	dip_lease_set(l.mem(), 0);
	EXPECT_EQ(ran("6379").retval, (uint32_t)TC_ACT_UNSPEC) << "without a lease it is not ours";
}

// ---- random tables, random flows ----

static std::string random_addr(std::mt19937 &rnd)
{
	return "10.77.0." + std::to_string(240 + rnd() % 16);
}

static void random_tables(dip_mem *m, std::mt19937 &rnd)
{
	for (int port = 0; port < 400; port++) {
		uint16_t a = 1 + rnd() % 4, b = 1 + rnd() % 4;

		switch (rnd() % 4) {
		case 0:
			dip_slot_own(m, rnd() % 2, rnd() % 2, port, a, 1, rnd() % 4 == 0);
			break;
		case 1:
			dip_slot_hold(m, rnd() % 2, rnd() % 2, port, a, b, 1);
			break;
		}
	}
	for (int i = 0; i < 3000; i++) {
		dip_flow_spec f{};

		f.vip = rnd() % 2;
		f.udp = rnd() % 2;
		f.family = DIP_INET;
		f.raddr.a4 = htonl(0x0a4d0000 + 240 + rnd() % 16);
		f.rport = 1 + rnd() % 8;
		f.lport = rnd() % 400;
		dip_flow_put(m, &f, (dip_flow_state)(1 + rnd() % 3), 1 + rnd() % 4);
	}
}

static std::string random_packet(std::mt19937 &rnd, dip_dir dir)
{
	static const char *const macs[] = {"03:53:53:49:00:64", "02:00:00:00:00:02", "02:53:53:49:00:65"};
	static const char *const from[] = {"02:00:00:00:00:fa", "02:00:00:00:00:01"};
	std::string client = random_addr(rnd), vip = rnd() % 2 ? "10.77.0.100" : "10.77.0.101";
	bool udp = rnd() % 2;
	std::string remote = client + ":" + std::to_string(1 + rnd() % 8);
	std::string local = vip + ":" + std::to_string(rnd() % 400);
	std::string kind = udp ? "udp " : "tcp ";
	std::string macopts = std::string(" dmac=") + macs[rnd() % 3] + " smac=" + from[rnd() % 2];
	std::string there = dir == DIP_IN ? remote + " > " + local : local + " > " + remote;

	switch (rnd() % 16) {
	case 0: {
		std::string back = dir == DIP_IN ? local + " > " + remote : remote + " > " + local;

		return "icmp-error " + (dir == DIP_IN ? "192.0.2.1 > " + vip : vip + " > " + client) +
		       macopts + " quote " + kind + back;
	}
	case 1:
		return "icmp " + (dir == DIP_IN ? client + " > " + vip : vip + " > " + client) + macopts;
	case 2:
		return kind + there + macopts + " opts=" + std::to_string(4 * (rnd() % 10));
	case 3:
		return kind + there + macopts + " vlan=7";
	}
	return kind + there + macopts;
}

TEST(Bpf, TwentyThousandRandomFlowsNoDisagreement)
{
	auto all = load_all();
	std::mt19937 rnd(2026);
	Loaded l(10);
	std::set<int> seen;

	setup(l.mem(), all.front());
	random_tables(l.mem(), rnd);
	dip_lease_set(l.mem(), FOREVER);
	for (int i = 0; i < 20000; i++) {
		dip_dir dir = rnd() % 4 ? DIP_IN : DIP_OUT;
		std::string text = random_packet(rnd, dir);
		Bytes frame = build_frame(text);
		Adapter a;
		dip_flow f;

		if (rnd() % 8 == 0)
			frame[14 + rnd() % (frame.size() - 14)] ^= 1 << rnd() % 8;
		dip_result r = a.decide(l.view(), dir, frame.data(), frame.size(), 1, &f);
		if (f.flags & DIP_F_FRAG)
			continue; // has a memory, tested above
		if (r.verdict == DIP_FORWARD && r.node != 3)
			continue; // MACs are looked at for node 3
		SCOPED_TRACE(text);
		expect_tc(l, dir, frame, r.verdict, r.reason, 0);
		if (dir == DIP_IN)
			expect_xdp(l, frame, r, f);
		seen.insert(r.reason);
		if (HasFailure())
			return;
	}
	EXPECT_GT(seen.size(), 20u) << "the random flows see too little";
}

TEST(Bpf, CutFramesNeverStopAProgram)
{
	auto all = load_all();
	std::mt19937 rnd(5);
	Loaded l;

	setup(l.mem(), all.front());
	dip_lease_set(l.mem(), FOREVER);
	for (auto &v : all) {
		for (auto &s : v.steps) {
			for (size_t n = 15; n < s.frame.size(); n += 1 + rnd() % 3) {
				Bytes cut(s.frame.begin(), s.frame.begin() + n);

				ASSERT_EQ(run_xdp(l, cut).err, 0);
				if (!runnable(cut, true))
					continue;
				ASSERT_EQ(run_skb(l, DIP_PROG_TC_IN, cut).err, 0);
				ASSERT_EQ(run_skb(l, DIP_PROG_TC_OUT, cut).err, 0);
			}
		}
	}
}

// ---- clock ----

TEST(Bpf, JiffiesOfAMomentAreNeverLate)
{
	Loaded l;
	timespec t, res;
	uint64_t now, second;

	clock_gettime(CLOCK_MONOTONIC, &t);
	clock_getres(CLOCK_MONOTONIC_COARSE, &res);
	uint64_t ns = t.tv_sec * 1000000000ull + t.tv_nsec;
	ASSERT_EQ(dip_bpf_jiffies(l.d, ns, &now), 0);
	ASSERT_EQ(dip_bpf_jiffies(l.d, ns + 1000000000ull, &second), 0);
	EXPECT_LE(second - now, 1000000000ull / res.tv_nsec);
	EXPECT_GE(second - now, 1000000000ull / res.tv_nsec - 5);

	// a lease that ends in the past, then one that ends in a second
	auto all = load_all();
	Bytes f = build_frame("tcp 10.77.0.250:40000 > 10.77.0.100:6379");
	setup(l.mem(), all.front());
	dip_lease_set(l.mem(), now);
	EXPECT_EQ(run_xdp(l, f).retval, (uint32_t)XDP_DROP);
	dip_lease_set(l.mem(), second);
	EXPECT_EQ(run_xdp(l, f).retval, (uint32_t)XDP_PASS);
}

// ---- pins and links ----

struct Pinned : ::testing::Test {
	std::string dir = "/sys/fs/bpf/netssi-test-" + std::to_string(getpid());
	dip_bpf *d = nullptr;

	int load(bool *reused = nullptr, unsigned bits = 6, bool clsact = false)
	{
		dip_bpf_opts o{};

		o.clsact = clsact;
		o.pin_dir = dir.c_str();
		o.flow_bits = bits;
		return dip_bpf_load(&d, &o, 2, reused);
	}
	void SetUp() override
	{
		ASSERT_EQ(unshare(CLONE_NEWNET), 0);
		ASSERT_EQ(system("ip link set lo up && ip link add v0 type veth peer name v1 && "
				 "ip link set v0 up && ip link set v1 up"),
			  0);
	}
	void TearDown() override
	{
		dip_bpf_close(d);
		EXPECT_EQ(dip_bpf_unpin(dir.c_str()), 0) << dip_bpf_error();
		EXPECT_NE(access(dir.c_str(), F_OK), 0) << "nothing is left";
	}
	uint32_t xdp_on_v0()
	{
		LIBBPF_OPTS(bpf_xdp_query_opts, o);

		bpf_xdp_query(if_nametoindex("v0"), 0, &o);
		return o.prog_id;
	}
};

TEST_F(Pinned, ARestartFindsTablesAndSwapsPrograms)
{
	bool reused = true;
	int v0 = if_nametoindex("v0");

	ASSERT_EQ(load(&reused), 0) << dip_bpf_error();
	EXPECT_FALSE(reused);
	dip_lease_set(dip_bpf_mem(d), 4711);
	dip_slot_own(dip_bpf_mem(d), 1, true, 53, 3, 9, false);
	ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_XDP, v0, 0, "xdp-v0"), 0) << dip_bpf_error();
	ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_IN, v0, 0, "in-v0"), 0) << dip_bpf_error();
	ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_OUT, v0, 0, "out-v0"), 0) << dip_bpf_error();
	uint32_t first = xdp_on_v0();
	EXPECT_NE(first, 0u);

	dip_bpf_close(d);
	d = nullptr;
	EXPECT_EQ(xdp_on_v0(), first) << "the data path goes on without netd";

	ASSERT_EQ(load(&reused, 9), 0) << dip_bpf_error();
	EXPECT_TRUE(reused);
	EXPECT_EQ(dip_bpf_mem(d)->flow_mask, 63u) << "the size of the pinned table counts";
	EXPECT_EQ(dip_lease_get(dip_bpf_mem(d)), 4711u);
	EXPECT_EQ(dip_slot_get(dip_bpf_mem(d), 1, true, 53).owner, 3);
	EXPECT_EQ(xdp_on_v0(), first);
	ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_XDP, v0, 0, "xdp-v0"), 0) << dip_bpf_error();
	EXPECT_NE(xdp_on_v0(), first) << "the new program runs";
	EXPECT_NE(xdp_on_v0(), 0u);

	EXPECT_EQ(dip_bpf_detach(d, "xdp-v0"), 0) << dip_bpf_error();
	EXPECT_EQ(xdp_on_v0(), 0u);
	EXPECT_EQ(dip_bpf_detach(d, "xdp-v0"), -ENOENT);
}

TEST_F(Pinned, ALinkFollowsItsInterface)
{
	ASSERT_EQ(load(), 0) << dip_bpf_error();
	ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_XDP, if_nametoindex("v0"), 0, "xdp"), 0) << dip_bpf_error();
	ASSERT_EQ(system("ip link del v0 && ip link add v0 type veth peer name v1 && ip link set v0 up"), 0);
	EXPECT_EQ(xdp_on_v0(), 0u);
	ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_XDP, if_nametoindex("v0"), 0, "xdp"), 0) << dip_bpf_error();
	EXPECT_NE(xdp_on_v0(), 0u);
	EXPECT_EQ(dip_bpf_attach(d, DIP_PROG_XDP, 9999, 0, "none"), -ENODEV);
}

// How many filters with this program stand on v0.
static int filters(const char *where, const char *prog)
{
	std::string cmd =
		std::string("test $(tc filter show dev v0 ") + where + " | grep -c " + prog + ") -eq ";

	for (int n = 0; n < 3; n++)
		if (system((cmd + std::to_string(n)).c_str()) == 0)
			return n;
	return -1;
}

TEST_F(Pinned, KernelsWithoutTcxGetFilters)
{
	int v0 = if_nametoindex("v0");

	for (int restart = 0; restart < 2; restart++) {
		ASSERT_EQ(load(nullptr, 6, true), 0) << dip_bpf_error();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_IN, v0, 0, "in-v0"), 0) << dip_bpf_error();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_OUT, v0, 0, "out-v0"), 0) << dip_bpf_error();
		EXPECT_EQ(filters("ingress", "dip_tc_in"), 1);
		EXPECT_EQ(filters("egress", "dip_tc_out"), 1);
		if (!restart) {
			dip_bpf_close(d);
			d = nullptr;
			EXPECT_EQ(filters("ingress", "dip_tc_in"), 1) << "goes on without netd";
		}
	}
	EXPECT_EQ(dip_bpf_detach(d, "in-v0"), 0) << dip_bpf_error();
	EXPECT_EQ(filters("ingress", "dip_tc_in"), 0);
	EXPECT_EQ(filters("egress", "dip_tc_out"), 1);
	EXPECT_EQ(dip_bpf_detach(d, "out-v0"), 0) << dip_bpf_error();
	EXPECT_EQ(filters("egress", "dip_tc_out"), 0);
}

TEST_F(Pinned, ToolsReadWithoutNetd)
{
	dip_bpf *ro;

	EXPECT_EQ(dip_bpf_open(&ro, dir.c_str()), -ENOENT);
	EXPECT_NE(strstr(dip_bpf_error(), "netd"), nullptr);
	ASSERT_EQ(load(), 0) << dip_bpf_error();
	dip_slot_own(dip_bpf_mem(d), 0, false, 80, 3, 9, false);
	dip_bpf_close(d);
	d = nullptr;
	ASSERT_EQ(dip_bpf_open(&ro, dir.c_str()), 0) << dip_bpf_error();
	EXPECT_EQ(dip_slot_get(dip_bpf_mem(ro), 0, false, 80).owner, 3);
	dip_stats s;
	EXPECT_EQ(dip_bpf_stats(ro, &s), 0);
	dip_bpf_close(ro);
}

TEST_F(Pinned, TablesOfAnotherVersionGiveWayToFreshOnes)
{
	bool reused = true;
	dip_bpf *old, *ro;

	ASSERT_EQ(load(), 0) << dip_bpf_error();
	EXPECT_FALSE(dip_bpf_foreign(d));
	old = d;
	dip_bpf_mem(old)->conf->abi = DIP_ABI - 1;
	dip_lease_set(dip_bpf_mem(old), 4711);
	d = nullptr;
	// who only reads says so, and the lease of other tables is not written
	EXPECT_EQ(dip_bpf_open(&ro, dir.c_str()), -EPROTO);
	EXPECT_NE(strstr(dip_bpf_error(), "another netssi version"), nullptr);
	dip_bpf_lease(dir.c_str(), 0);
	EXPECT_EQ(dip_bpf_mem(old)->conf->lease_expiry, 4711u);
	ASSERT_EQ(load(&reused), 0) << dip_bpf_error();
	EXPECT_FALSE(reused);
	EXPECT_TRUE(dip_bpf_foreign(d));
	EXPECT_EQ(dip_bpf_mem(d)->conf->abi, (unsigned)DIP_ABI);
	EXPECT_EQ(dip_bpf_mem(old)->conf->lease_expiry, 4711u); // its programs go on with it
	dip_bpf_close(old);
	ASSERT_EQ(dip_bpf_open(&ro, dir.c_str()), 0) << dip_bpf_error(); // ours are pinned
	dip_bpf_close(ro);
}

TEST_F(Pinned, LeftoversOfACrashAreMadeAnew)
{
	bool reused = true;

	ASSERT_EQ(load(), 0) << dip_bpf_error();
	dip_bpf_close(d);
	d = nullptr;
	unlink((dir + "/dip_conf").c_str());
	ASSERT_EQ(load(&reused), 0) << dip_bpf_error();
	EXPECT_FALSE(reused);
}

TEST(Bpf, AMapThatCannotBePinnedIsSaidSo)
{
	dip_bpf_opts o{};
	dip_bpf *d = nullptr;
	char dir[] = "/tmp/netssi-pin-XXXXXX";

	ASSERT_NE(mkdtemp(dir), nullptr);
	o.pin_dir = dir;
	EXPECT_NE(dip_bpf_load(&d, &o, 2, nullptr), 0);
	EXPECT_NE(strstr(dip_bpf_error(), "mount -t bpf"), nullptr) << dip_bpf_error();
	EXPECT_NE(access(dir, F_OK), 0) << "nothing half done";
}

// In a child without privileges: exit status 0 when it is told to become root.
static int load_as_nobody(const char *dir)
{
	dip_bpf_opts o{};
	dip_bpf *d;

	o.no_pin = !dir;
	o.pin_dir = dir;
	if (setresuid(65534, 65534, 65534) || !dip_bpf_load(&d, &o, 2, nullptr))
		return 1;
	return strstr(dip_bpf_error(), "run as root") ? 0 : 2;
}

TEST(Bpf, WithoutPrivilegesItSaysSoAndLeavesNothing)
{
	// any bpf file system lets everybody make directories; /sys/fs does not
	for (const char *dir :
	     {"/sys/fs/bpf/netssi-nobody", "/sys/fs/netssi-nobody", (const char *)nullptr}) {
		pid_t child = fork();
		int status;

		if (!child)
			_exit(load_as_nobody(dir));
		ASSERT_EQ(waitpid(child, &status, 0), child);
		EXPECT_TRUE(WIFEXITED(status));
		EXPECT_EQ(WEXITSTATUS(status), 0) << (dir ? dir : "not pinned");
		EXPECT_TRUE(!dir || access(dir, F_OK));
	}
}
