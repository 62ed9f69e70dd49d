// SPDX-License-Identifier: GPL-2.0
// The hold queue of ssi_core, asked by netlink and fed with frames through packet sockets: states, order,
// bounds, duplicates, refusals. Needs root and the module; hold.sh runs it in a guest without netd.
#include <gtest/gtest.h>

#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/vm/hold_frame.h"

extern "C" {
#include "ssi/core.h"
#include "userland/lib/genl.h"
}

struct Port {
	int state = -1;
	uint32_t waiting = 0, held_ms = 0;
	uint64_t reasons[SSI_HOLD_REASON_COUNT] = {};
};

static uint32_t seq_of(const std::string &packet)
{
	uint32_t seq;

	memcpy(&seq, packet.data() + ETH_HLEN + sizeof(iphdr) + 4, 4);
	return ntohl(seq);
}

// ---- the queue -----------------------------------------------------------------------------------
static int reason_cb(const nlattr *a, void *arg)
{
	unsigned int r = mnl_attr_get_type(a) - 1;

	if (r < SSI_HOLD_REASON_COUNT)
		((Port *)arg)->reasons[r] = mnl_attr_get_u64(a);
	return MNL_CB_OK;
}

static int attr_cb(const nlattr *a, void *arg)
{
	Port *p = (Port *)arg;

	switch (mnl_attr_get_type(a)) {
	case SSI_CORE_A_STATE:
		p->state = mnl_attr_get_u8(a);
		break;
	case SSI_CORE_A_WAITING:
		p->waiting = mnl_attr_get_u32(a);
		break;
	case SSI_CORE_A_HELD_MS:
		p->held_ms = mnl_attr_get_u32(a);
		break;
	case SSI_CORE_A_REASONS:
		return mnl_attr_parse_nested(a, reason_cb, p);
	}
	return MNL_CB_OK;
}

static int port_cb(const nlmsghdr *nlh, void *arg)
{
	return mnl_attr_parse(nlh, sizeof(genlmsghdr), attr_cb, arg);
}

static int count_cb(const nlmsghdr *, void *arg)
{
	++*(int *)arg;
	return MNL_CB_OK;
}

struct Hold : ::testing::Test {
	struct genl *genl = nullptr;
	int ifindex = 0, sock = -1;

	void SetUp() override
	{
		ASSERT_EQ(genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &genl), 0) << "no module ssi_core";
		ASSERT_EQ(system("ip link add q type " SSI_HOLD_KIND " && "
				 "echo 1 >/proc/sys/net/ipv6/conf/q/disable_ipv6 && ip link set q up"),
			  0);
		ifindex = if_nametoindex("q");
		ASSERT_GT(ifindex, 0);
		open_socket();
	}
	void TearDown() override
	{
		if (sock >= 0)
			close(sock);
		genl_close(genl);
		EXPECT_EQ(system("ip link del q"), 0);
	}
	void open_socket()
	{
		sockaddr_ll at = {};
		int size = 64 << 20;

		sock = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
		ASSERT_GE(sock, 0);
		at.sll_family = AF_PACKET;
		at.sll_protocol = htons(ETH_P_ALL);
		at.sll_ifindex = ifindex;
		ASSERT_EQ(bind(sock, (sockaddr *)&at, sizeof(at)), 0);
		setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	}
	void only_from(const char *addr)
	{
		sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ETH_HLEN + offsetof(iphdr, saddr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(inet_addr(addr)), 0, 1),
			BPF_STMT(BPF_RET | BPF_K, 0xffff),
			BPF_STMT(BPF_RET | BPF_K, 0),
		};
		sock_fprog prog = {.len = 4, .filter = code};

		ASSERT_EQ(setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)), 0);
	}
	void send(const Frame &f)
	{
		send(frame(f), strchr(f.to.addr, ':') ? ETH_P_IPV6 : ETH_P_IP);
	}
	void send(const std::string &data, uint16_t protocol)
	{
		sockaddr_ll to = {};

		to.sll_family = AF_PACKET;
		to.sll_ifindex = ifindex;
		to.sll_protocol = htons(protocol);
		to.sll_halen = 6;
		ASSERT_EQ(sendto(sock, data.data(), data.size(), 0, (sockaddr *)&to, sizeof(to)),
			  (ssize_t)data.size())
			<< strerror(errno);
	}
	// What the device gave back, in order.
	std::vector<std::string> given_back()
	{
		std::vector<std::string> all;
		static char buf[70000];
		sockaddr_ll from;
		socklen_t len = sizeof(from);
		ssize_t n;

		while ((n = recvfrom(sock, buf, sizeof(buf), 0, (sockaddr *)&from, &len)) >= 0)
			if (from.sll_pkttype != PACKET_OUTGOING)
				all.emplace_back(buf, n);
		return all;
	}
	nlmsghdr *message(uint8_t cmd, const Key &k, uint32_t index)
	{
		nlmsghdr *nlh = genl_message(genl, cmd, 0);
		unsigned char addr[16];
		bool v6 = strchr(k.addr, ':');

		inet_pton(v6 ? AF_INET6 : AF_INET, k.addr, addr);
		mnl_attr_put_u32(nlh, SSI_CORE_A_IFINDEX, index);
		mnl_attr_put(nlh, v6 ? SSI_CORE_A_ADDR6 : SSI_CORE_A_ADDR4, v6 ? 16 : 4, addr);
		mnl_attr_put_u8(nlh, SSI_CORE_A_PROTO, k.proto);
		mnl_attr_put_u16(nlh, SSI_CORE_A_PORT, k.port);
		return nlh;
	}
	int ask(uint8_t cmd, const Key &k, Port *p = nullptr, uint32_t budget = 0)
	{
		nlmsghdr *nlh = message(cmd, k, ifindex);

		if (budget)
			mnl_attr_put_u32(nlh, SSI_CORE_A_BUDGET, budget);
		return genl_talk(genl, nlh, p ? port_cb : nullptr, p);
	}
	int dump()
	{
		nlmsghdr *nlh = genl_message(genl, SSI_CORE_CMD_GET, NLM_F_DUMP);
		int n = 0;

		mnl_attr_put_u32(nlh, SSI_CORE_A_IFINDEX, ifindex);
		EXPECT_EQ(genl_talk(genl, nlh, count_cb, &n), 0);
		return n;
	}
	// What waits may have become too old on a machine that is slow or stood still: what depends on all of it
	// begins once more.
	bool aged()
	{
		return look({}).reasons[SSI_HOLD_R_AGED] > 0;
	}
	void hold_anew()
	{
		ASSERT_EQ(ask(SSI_CORE_CMD_DISCARD, {}), 0);
		ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0) << genl_why(genl);
		given_back();
	}
	Port look(const Key &k)
	{
		Port p;

		EXPECT_EQ(ask(SSI_CORE_CMD_GET, k, &p), 0) << genl_why(genl);
		return p;
	}
};

// Fills a queue before the first of it is too old: one frame, made once, with another number each time.
struct Filler {
	Hold *t;
	std::string data;
	size_t step;
	uint32_t seq = 0;

	Filler(Hold *t, const Frame &f) : t(t), data(frame(f)), step(f.payload + 1)
	{
	}
	void send(int count)
	{
		while (count--) {
			uint32_t wire = htonl(seq += step);
			memcpy(&data[ETH_HLEN + sizeof(iphdr) + 4], &wire, 4);
			t->send(data, ETH_P_IP);
		}
	}
};

TEST_F(Hold, GivesBackInOrder)
{
	const uint32_t n = 3000;
	Port full, first, p;

	do {
		hold_anew();
		for (uint32_t i = 1; i <= n; i++)
			send({.seq = i});
		full = look({});
		ASSERT_EQ(given_back().size(), 0u);
		ASSERT_EQ(ask(SSI_CORE_CMD_RELEASE, {}, &first, 1000), 0);
		send({.seq = n + 1}); // joins the end
		do
			ASSERT_EQ(ask(SSI_CORE_CMD_RELEASE, {}, &p), 0);
		while (p.state == SSI_HOLD_RELEASING);
	} while (aged());
	EXPECT_EQ(full.waiting, n);
	EXPECT_EQ(first.state, SSI_HOLD_RELEASING);
	EXPECT_EQ(first.waiting, n - 1000);
	EXPECT_EQ(p.state, SSI_HOLD_PASSING);
	send({.seq = n + 2}); // given back at once
	auto all = given_back();
	ASSERT_EQ(all.size(), n + 2);
	for (uint32_t i = 0; i < all.size(); i++)
		ASSERT_EQ(seq_of(all[i]), i + 1);
	EXPECT_EQ(all[0].substr(12), frame({.seq = 1}).substr(12));
	p = look({});
	EXPECT_EQ(p.reasons[SSI_HOLD_R_QUEUED], n + 1);
	EXPECT_EQ(p.reasons[SSI_HOLD_R_RELEASED], n + 1);
	EXPECT_EQ(p.reasons[SSI_HOLD_R_PASSED], 1u);
}

TEST_F(Hold, KeepsPortsApart)
{
	const Key tcp, udp = {.proto = IPPROTO_UDP}, v6 = {.addr = VIP6}, other = {.port = 81};
	Port p;

	for (const Key &k : {tcp, udp, v6})
		ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, k), 0) << genl_why(genl);
	EXPECT_EQ(dump(), 3);
	for (const Key &k : {tcp, udp, v6, other})
		send({.to = k});
	for (const Key &k : {tcp, udp, v6})
		EXPECT_EQ(look(k).waiting, 1u);
	EXPECT_EQ(ask(SSI_CORE_CMD_RELEASE, v6, &p), 0);
	auto all = given_back();
	ASSERT_EQ(all.size(), 1u);
	EXPECT_EQ(all[0].substr(12), frame({.to = v6}).substr(12));
	EXPECT_EQ(ask(SSI_CORE_CMD_DISCARD, tcp), 0);
	EXPECT_EQ(ask(SSI_CORE_CMD_GET, tcp, &p), -ENOENT);
	send({.to = tcp});
	EXPECT_EQ(given_back().size(), 0u);
	EXPECT_EQ(look(udp).waiting, 1u);
}

TEST_F(Hold, DropsWhatItHasAlready)
{
	Port p;

	do {
		hold_anew();
		for (int i = 0; i < 3; i++)
			send({.seq = 7});
		send({.from = "192.0.2.8", .seq = 7});
		send({.seq = 7, .payload = 50});
		for (int i = 0; i < 3; i++)
			send({.seq = 9, .payload = 0}); // acknowledgements: each counts
		p = look({});
	} while (p.reasons[SSI_HOLD_R_AGED]);
	EXPECT_EQ(p.reasons[SSI_HOLD_R_DUPLICATE], 2u);
	EXPECT_EQ(p.waiting, 6u);
}

TEST_F(Hold, TheSameSegmentOfTwoPortsIsTwo)
{
	const Key one, other = {.port = 81};

	for (const Key &k : {one, other}) {
		ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, k), 0);
		send({.to = k, .seq = 7});
	}
	EXPECT_EQ(look(one).waiting, 1u);
	EXPECT_EQ(look(other).waiting, 1u);
	EXPECT_EQ(ask(SSI_CORE_CMD_DISCARD, one), 0);
	send({.to = other, .seq = 7});
	EXPECT_EQ(look(other).reasons[SSI_HOLD_R_DUPLICATE], 1u);
}

TEST_F(Hold, StrangersDoNotCrowdOut)
{
	Filler handshake(this, {.payload = 0, .syn = true});

	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
	while (!look({}).reasons[SSI_HOLD_R_STRANGERS_FULL]) {
		handshake.send(500);
		ASSERT_LT(look({}).waiting, SSI_HOLD_STRANGERS_MAX / 256) << "handshakes are not bounded";
	}
	send({.seq = 1});
	EXPECT_EQ(look({}).reasons[SSI_HOLD_R_FULL], 0u);
	EXPECT_EQ(ask(SSI_CORE_CMD_DISCARD, {}), 0);
	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
	send({.syn = true}); // room again
	EXPECT_EQ(look({}).waiting, 1u);
}

// Handshakes without end, from a thread of its own.
struct Flood {
	std::atomic<bool> over{false};
	std::atomic<uint32_t> sent{0};
	std::thread thread;

	explicit Flood(Hold *t)
	{
		thread = std::thread([this, t] {
			while (!over) {
				uint32_t n = ++sent;
				t->send({.from = "192.0.2.66",
					 .sport = (uint16_t)(1024 + n % 60000),
					 .seq = n,
					 .payload = 0,
					 .syn = true});
			}
		});
	}
	~Flood()
	{
		over = true;
		thread.join();
	}
};

TEST_F(Hold, ConnectionsLoseNothingInAFlood)
{
	const uint32_t n = 500;
	std::vector<uint32_t> seen;
	Port p;

	// What the flood gets back would fill this socket instead of the queue.
	only_from("192.0.2.9");
	hold_anew();
	Flood flood(this);
	do {
		hold_anew();
		seen.clear();
		// (on a slow machine they are too old before they are too many)
		for (p = {}; !p.reasons[SSI_HOLD_R_STRANGERS_FULL] && !p.reasons[SSI_HOLD_R_AGED];
		     p = look({}))
			poll(nullptr, 0, 100);
		for (uint32_t i = 1; i <= n; i++)
			send({.seq = i});
		// As often as the flood can need that waits before them, and somewhat more.
		for (int i = 0; seen.size() < n && i < 50; i++) {
			if (i == 3)
				for (uint32_t k = n + 1; k <= n + 100; k++)
					send({.seq = k}); // behind all the others
			ASSERT_EQ(ask(SSI_CORE_CMD_RELEASE, {}, &p), 0);
			for (const std::string &packet : given_back())
				seen.push_back(seq_of(packet));
		}
	} while (seen.size() < n && aged());
	for (size_t i = 0; i < seen.size(); i++)
		ASSERT_EQ(seen[i], i + 1) << "out of order";
	EXPECT_GE(seen.size(), n) << "connections lost something";
	EXPECT_EQ(look({}).reasons[SSI_HOLD_R_FULL], 0u);
	printf("%u handshakes sent, %lu of them dropped\n", flood.sent.load(),
	       (unsigned long)look({}).reasons[SSI_HOLD_R_STRANGERS_FULL]);
}

TEST_F(Hold, IsBounded)
{
	const size_t payload = 60000;
	Filler segment(this, {.payload = payload});

	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
	while (!look({}).reasons[SSI_HOLD_R_FULL]) {
		segment.send(100);
		ASSERT_LE(look({}).waiting, SSI_HOLD_BYTES_MAX / payload) << "the queue is not bounded";
	}
	for (uint16_t i = 1; i < SSI_HOLD_PORTS_MAX; i++)
		ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {.port = (uint16_t)(1000 + i)}), 0);
	EXPECT_EQ(ask(SSI_CORE_CMD_HOLD, {.port = 999}), -ENOSPC);
	EXPECT_STREQ(genl_why(genl), "too many ports are held; RELEASE or DISCARD some");
	Port p;
	EXPECT_EQ(ask(SSI_CORE_CMD_RELEASE, {.port = 1001}, &p), 0);
	EXPECT_EQ(ask(SSI_CORE_CMD_HOLD, {.port = 999}), 0) << "a port that passes gives way";
	EXPECT_EQ(dump(), SSI_HOLD_PORTS_MAX);
}

// Who may make one queue in a namespace of his own may make many.
TEST_F(Hold, QueuesOfUsersAreBoundedTogether)
{
	in_child([&] {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) ||
		    !(std::ofstream("/proc/self/uid_map") << "0 0 1" << std::flush))
			return 3;
		if (system("for q in q1 q2; do ip link add $q type " SSI_HOLD_KIND
			   " && echo 1 >/proc/sys/net/ipv6/conf/$q/disable_ipv6 && ip link set $q up || exit "
			   "1; done") ||
		    genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &genl))
			return 4;
		for (const char *name : {"q1", "q2"}) {
			Filler segment(this, {.payload = 60000});

			ifindex = if_nametoindex(name);
			open_socket();
			EXPECT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
			for (int i = 0; i < 30 && !look({}).reasons[SSI_HOLD_R_FULL]; i++)
				segment.send(100);
			EXPECT_GT(look({}).reasons[SSI_HOLD_R_FULL], 0u) << name;
		}
		EXPECT_LE(look({}).waiting, 1u) << "the second queue has room of its own";
		return HasFailure() ? 1 : 0;
	});
}

TEST_F(Hold, ForgetsWhatIsTooOld)
{
	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
	send({.seq = 1});
	while (!aged()) // or else the test's time is up
		poll(nullptr, 0, 500);
	Port p = look({});
	EXPECT_EQ(p.waiting, 0u);
	EXPECT_GE(p.held_ms, (uint32_t)SSI_HOLD_AGE_MS);
}

TEST_F(Hold, WhatIsNoPacketOfAPortIsDropped)
{
	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
	send({.frag_off = 100});
	send({.to = {.proto = IPPROTO_ICMP}});
	sockaddr_ll to = {};
	to.sll_family = AF_PACKET;
	to.sll_ifindex = ifindex;
	to.sll_protocol = htons(ETH_P_IP);
	std::string whole = frame({});
	for (size_t n : {14, 20, 33, 34, 37, 40, 53})
		sendto(sock, whole.data(), n, 0, (sockaddr *)&to, sizeof(to));
	EXPECT_EQ(look({}).waiting, 0u);
	EXPECT_EQ(given_back().size(), 0u);
}

// Tracing of the module's events as long as it lives; lines() is what was traced, without what stands before the text.
struct Trace {
	std::string dir = "/sys/kernel/tracing/";

	Trace()
	{
		if (system("mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs "
			   "/sys/kernel/tracing"))
			dir.clear();
		write("trace", "");
		write("events/ssi_core/enable", "1");
	}
	~Trace()
	{
		write("events/ssi_core/enable", "0");
	}
	void write(const char *file, const char *text)
	{
		EXPECT_TRUE(std::ofstream(dir + file) << text << std::flush) << dir << file;
	}
	std::vector<std::string> lines()
	{
		std::ifstream in(dir + "trace");
		std::vector<std::string> all;

		for (std::string line; std::getline(in, line);) {
			size_t at = line.find("ssi_hold: ");
			if (at != std::string::npos)
				all.push_back(line.substr(at + strlen("ssi_hold: ")));
		}
		return all;
	}
};

TEST_F(Hold, TracesEachPacketWithTheReason)
{
	if (access("/sys/kernel/tracing", F_OK))
		GTEST_SKIP() << "a kernel with tracefs";
	Trace trace;
	std::vector<std::string> wanted;
	auto expect = [&](const char *addr, int proto, size_t len, const char *reason) {
		char text[128];

		snprintf(text, sizeof(text), "ifindex=%d [%s]:80 proto=%d len=%zu reason=%s", ifindex, addr,
			 proto, len, reason);
		wanted.push_back(text);
	};
	size_t tcp = frame({}).size(), udp = frame({.to = {.addr = VIP6, .proto = IPPROTO_UDP}}).size();
	Port p;

	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, {}), 0);
	for (const char *reason : {"QUEUED", "DUPLICATE"}) {
		send(Frame{});
		expect("::ffff:" VIP4, IPPROTO_TCP, tcp, reason);
	}
	ASSERT_EQ(ask(SSI_CORE_CMD_RELEASE, {}, &p), 0);
	send(Frame{});
	for (const char *reason : {"RELEASED", "PASSED"})
		expect("::ffff:" VIP4, IPPROTO_TCP, tcp, reason);
	const Key six = {.addr = VIP6, .proto = IPPROTO_UDP};
	ASSERT_EQ(ask(SSI_CORE_CMD_HOLD, six), 0);
	send({.to = six});
	ASSERT_EQ(ask(SSI_CORE_CMD_DISCARD, six), 0);
	for (const char *reason : {"QUEUED", "DISCARDED"})
		expect(VIP6, IPPROTO_UDP, udp, reason);
	EXPECT_EQ(trace.lines(), wanted);
}

TEST_F(Hold, RefusesWithAReason)
{
	auto refused = [&](nlmsghdr *nlh, int err, const char *why) {
		EXPECT_EQ(genl_talk(genl, nlh, nullptr, nullptr), err) << why;
		EXPECT_NE(std::string(genl_why(genl)).find(why), std::string::npos) << genl_why(genl);
	};
	nlmsghdr *nlh;
	Port p;

	EXPECT_EQ(ask(SSI_CORE_CMD_RELEASE, {}, &p), -ENOENT);
	EXPECT_STREQ(genl_why(genl), "this port is not held; HOLD it first");
	refused(message(SSI_CORE_CMD_HOLD, {}, 1), -EINVAL, "the device is no hold queue");
	refused(message(SSI_CORE_CMD_HOLD, {}, 9999), -ENODEV, "no such device");
	refused(message(SSI_CORE_CMD_HOLD, {}, 0), -ERANGE, "integer out of range");
	refused(message(SSI_CORE_CMD_HOLD, {.port = 0}, ifindex), -ERANGE, "integer out of range");
	refused(message(SSI_CORE_CMD_HOLD, {.proto = IPPROTO_ICMP}, ifindex), -EOPNOTSUPP,
		"TCP and UDP can be held");
	nlh = message(SSI_CORE_CMD_HOLD, {}, ifindex);
	mnl_attr_put_u32(nlh, SSI_CORE_A_MAX + 1, 1);
	refused(nlh, -EINVAL, "Unknown attribute type");
	nlh = genl_message(genl, SSI_CORE_CMD_CLAIMS, 0);
	mnl_attr_put_u32(nlh, SSI_CORE_A_IFINDEX, 1);
	refused(nlh, -EINVAL, "Unknown attribute type");
	nlh = genl_message(genl, SSI_CORE_CMD_ANSWER, 0);
	mnl_attr_put_u16(nlh, SSI_CORE_A_PORT, 80);
	refused(nlh, -EINVAL, "Unsupported attribute");
	nlh = message(SSI_CORE_CMD_HOLD, {}, ifindex);
	mnl_attr_put(nlh, SSI_CORE_A_ADDR6, 16, "0123456789abcdef");
	refused(nlh, -EINVAL, "one address");
	nlh = genl_message(genl, SSI_CORE_CMD_HOLD, 0);
	mnl_attr_put(nlh, SSI_CORE_A_ADDR4, 3, "123");
	refused(nlh, -ERANGE, "");
	nlh = genl_message(genl, SSI_CORE_CMD_HOLD, 0);
	refused(nlh, -EINVAL, "PROTO and PORT");
	nlh = genl_message(genl, SSI_CORE_CMD_GET, NLM_F_DUMP);
	refused(nlh, -EINVAL, "IFINDEX");
	EXPECT_EQ(dump(), 0) << "a refused request left something";
}

TEST_F(Hold, OnlyForAdministrators)
{
	in_child([&] {
		if (setuid(65534))
			return 3;
		return ask(SSI_CORE_CMD_HOLD, {}) == -EPERM ? 0 : 1;
	});
	EXPECT_EQ(dump(), 0);
}
