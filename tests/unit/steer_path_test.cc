// SPDX-License-Identifier: GPL-2.0
// The attached programs with real frames on a veth:
//
//	netns client                 netns node 2
//	c0 10.77.0.250  <-- veth -->  e0 10.77.0.2, VIP 10.77.0.100 (local), hold0 (TAP)
//
// What is accepted reaches sockets whatever MAC it came to, what is held waits
// in the TAP and comes back in order, what may not leave does not.
// Needs root; run by check-net.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/steer_vectors.h"
#include "userland/lib/dip_bpf.h"

using namespace steer;

static const uint32_t VIP = 0x0a4d0064, CLIENT = 0x0a4d00fa;
static const char VIP_MAC[] = "03:53:53:49:00:64";
static const uint64_t FOREVER = ~0ull;
static const int SOON = 2000; // ms until something must have come
static const int QUIET = 200; // ms in which nothing may come

static void sh(const std::string &cmd)
{
	ASSERT_EQ(system(cmd.c_str()), 0) << cmd;
}

static bool readable(int fd, int ms)
{
	pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, ms) == 1;
}

static sockaddr_in in4(uint32_t addr, uint16_t port)
{
	sockaddr_in a{};

	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(addr);
	a.sin_port = htons(port);
	return a;
}

// A frame with the checksum that stacks look at.
static Bytes summed(Bytes f)
{
	uint32_t sum = 0;

	for (int i = 14; i < 34; i += 2)
		sum += f[i] << 8 | f[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16));
	f[24] = sum >> 8;
	f[25] = sum;
	return f;
}

// A UDP frame with a text.
static Bytes datagram(const std::string &text, uint16_t port, const std::string &more = "")
{
	Bytes f = build_frame("udp 10.77.0.250:4000 > 10.77.0.100:" + std::to_string(port) +
			      " payload=" + std::to_string(text.size()) + " " + more);

	memcpy(f.data() + 42, text.data(), text.size());
	return summed(f);
}

struct Path : ::testing::Test {
	std::string dir = "/sys/fs/bpf/netssi-path-" + std::to_string(getpid());
	dip_bpf *d = nullptr;
	int node = -1, client = -1, wire = -1, tap = -1;

	void enter(int ns)
	{
		ASSERT_EQ(setns(ns, CLONE_NEWNET), 0);
	}
	void SetUp() override
	{
		std::string self = "/proc/" + std::to_string(getpid()) + "/fd/";

		ASSERT_EQ(unshare(CLONE_NEWNET), 0);
		client = open("/proc/thread-self/ns/net", O_RDONLY);
		ASSERT_EQ(unshare(CLONE_NEWNET), 0);
		node = open("/proc/thread-self/ns/net", O_RDONLY);
		sh("ip link set lo up && ip link add e0 address 02:00:00:00:00:02 type veth peer name c0 "
		   "address 02:00:00:00:00:fa netns " +
		   self + std::to_string(client));
		sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
		sh("ip addr add 10.77.0.2/24 dev e0 && ip link set e0 up && "
		   "ip route add local 10.77.0.100 dev lo && "
		   "ip neigh add 10.77.0.250 lladdr 02:00:00:00:00:fa dev e0 nud permanent");
		load();
		enter(client);
		sh("ip link set lo up && ip addr add 10.77.0.250/24 dev c0 && ip link set c0 up && "
		   "ip neigh add 10.77.0.100 lladdr " +
		   std::string(VIP_MAC) + " dev c0 nud permanent");
		wire = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
		sockaddr_ll at{};
		at.sll_family = AF_PACKET;
		at.sll_protocol = htons(ETH_P_ALL);
		at.sll_ifindex = if_nametoindex("c0");
		ASSERT_EQ(bind(wire, (sockaddr *)&at, sizeof(at)), 0);
		enter(node);
	}
	void load()
	{
		dip_bpf_opts o{};
		dip_vip_spec v{};
		int e0 = if_nametoindex("e0");
		uint16_t live[] = {2};

		o.pin_dir = dir.c_str();
		ASSERT_EQ(dip_bpf_load(&d, &o, 2, nullptr), 0) << dip_bpf_error();
		v.family = DIP_INET;
		v.addr.a4 = htonl(VIP);
		v.ifindex = e0;
		sscanf(VIP_MAC, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &v.mac[0], &v.mac[1], &v.mac[2], &v.mac[3],
		       &v.mac[4], &v.mac[5]);
		ASSERT_EQ(dip_vip_add(mem(), &v), 0);
		dip_homes_set(mem(), live, 1);
		open_tap();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_XDP, e0, 0, "xdp"), 0) << dip_bpf_error();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_IN, e0, 0, "in"), 0) << dip_bpf_error();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_OUT, e0, 0, "out"), 0) << dip_bpf_error();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_TC_TAP, if_nametoindex("hold0"), 0, "tap"), 0);
		int ns = open("/proc/thread-self/ns/net", O_RDONLY);
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_SK_LOOKUP, ns, 0, "sk"), 0) << dip_bpf_error();
		close(ns);
		dip_lease_set(mem(), FOREVER);
	}
	void open_tap()
	{
		ifreq r{};

		tap = open("/dev/net/tun", O_RDWR);
		r.ifr_flags = IFF_TAP | IFF_NO_PI;
		strcpy(r.ifr_name, "hold0");
		ASSERT_EQ(ioctl(tap, TUNSETIFF, &r), 0);
		sh("sysctl -qw net.ipv6.conf.hold0.disable_ipv6=1; ip link set hold0 up");
		dip_tables_set_hold(mem(), if_nametoindex("hold0"));
	}
	void TearDown() override
	{
		dip_bpf_close(d);
		EXPECT_EQ(dip_bpf_unpin(dir.c_str()), 0) << dip_bpf_error();
		for (int fd : {wire, tap, node, client})
			close(fd);
	}
	dip_mem *mem()
	{
		return dip_bpf_mem(d);
	}
	uint64_t count(dip_dir way, dip_reason r)
	{
		dip_stats s;

		EXPECT_EQ(dip_bpf_stats(d, &s), 0);
		return s.reason[way][r];
	}
	int udp(uint32_t addr, uint16_t port)
	{
		int s = socket(AF_INET, SOCK_DGRAM, 0);
		sockaddr_in a = in4(addr, port);

		EXPECT_EQ(bind(s, (sockaddr *)&a, sizeof(a)), 0);
		return s;
	}
	void send_frame(const Bytes &f)
	{
		ASSERT_EQ(write(wire, f.data(), f.size()), (ssize_t)f.size());
	}
	std::string text(int s, int ms)
	{
		char b[4096];

		if (!readable(s, ms))
			return "(nothing)";
		ssize_t n = recv(s, b, sizeof(b), 0);
		return n < 0 ? strerror(errno) : std::string(b, n);
	}
	// The next frame at the client that leaves the node and is of this type.
	Bytes seen(uint16_t ether, int ms)
	{
		Bytes f(2048);
		sockaddr_ll from{};
		socklen_t len;

		while (readable(wire, ms)) {
			len = sizeof(from);
			ssize_t n = recvfrom(wire, f.data(), f.size(), 0, (sockaddr *)&from, &len);
			if (n < 14 || from.sll_pkttype == PACKET_OUTGOING)
				continue;
			if ((f[12] << 8 | f[13]) != ether)
				continue;
			f.resize(n);
			return f;
		}
		return {};
	}
	Bytes held(int ms)
	{
		Bytes f(2048);

		if (!readable(tap, ms))
			return {};
		ssize_t n = read(tap, f.data(), f.size());
		f.resize(n < 0 ? 0 : n);
		return f;
	}
	void give_back(const Bytes &f)
	{
		ASSERT_EQ(write(tap, f.data(), f.size()), (ssize_t)f.size());
	}
};

TEST_F(Path, WhateverMacItCameTo)
{
	int s = udp(VIP, 53);

	dip_slot_own(mem(), 0, true, 53, 2, 1, false);
	for (auto mac : {VIP_MAC, "02:53:53:49:00:99", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"}) {
		send_frame(datagram(mac, 53, std::string("dmac=") + mac));
		EXPECT_EQ(text(s, SOON), mac);
	}
	close(s);
}

TEST_F(Path, AnotherNodesPortStaysSilent)
{
	int s = udp(INADDR_ANY, 53);

	dip_slot_own(mem(), 0, true, 53, 3, 1, false);
	send_frame(datagram("x", 53));
	EXPECT_EQ(text(s, QUIET), "(nothing)");
	EXPECT_TRUE(seen(ETH_P_IP, QUIET).empty()) << "no ICMP error either";
	EXPECT_EQ(count(DIP_IN, DIP_R_REMOTE), 1u);
	close(s);
}

TEST_F(Path, WithoutALeaseNothingComesInOrOut)
{
	int s = udp(VIP, 53);
	sockaddr_in to = in4(CLIENT, 4000);

	dip_slot_own(mem(), 0, true, 53, 2, 1, false);
	ASSERT_EQ(sendto(s, "hello", 5, 0, (sockaddr *)&to, sizeof(to)), 5);
	EXPECT_FALSE(seen(ETH_P_IP, SOON).empty());
	dip_lease_set(mem(), 1);
	sendto(s, "hello", 5, 0, (sockaddr *)&to, sizeof(to));
	EXPECT_TRUE(seen(ETH_P_IP, QUIET).empty());
	send_frame(datagram("x", 53));
	EXPECT_EQ(text(s, QUIET), "(nothing)");
	EXPECT_EQ(count(DIP_OUT, DIP_R_LEASE_EXPIRED), 1u);
	close(s);
}

TEST_F(Path, HeldAndGivenBackInOrder)
{
	int s = udp(VIP, 53);
	std::vector<Bytes> queue;

	dip_slot_hold(mem(), 0, true, 53, 3, 2, 1);
	for (int i = 0; i < 5; i++)
		send_frame(datagram(std::to_string(i), 53));
	for (int i = 0; i < 5; i++)
		queue.push_back(held(SOON));
	EXPECT_EQ(text(s, QUIET), "(nothing)");
	dip_slot_own(mem(), 0, true, 53, 2, 2, true);
	send_frame(datagram("5", 53));
	queue.push_back(held(SOON));
	for (auto &f : queue) {
		ASSERT_FALSE(f.empty());
		give_back(f);
	}
	EXPECT_TRUE(held(QUIET).empty()) << "not queued twice";
	dip_slot_own(mem(), 0, true, 53, 2, 2, false);
	send_frame(datagram("6", 53));
	for (int i = 0; i < 7; i++)
		EXPECT_EQ(text(s, SOON), std::to_string(i));
	EXPECT_EQ(count(DIP_IN, DIP_R_RELEASED), 6u);
	close(s);
}

TEST_F(Path, FragmentsInAnyOrder)
{
	int s = udp(VIP, 53);
	std::string half(64, 'a');
	auto later = [&](int id) {
		return summed(build_frame("udp 10.77.0.250:0 > 10.77.0.100:0 frag=9 payload=16 id=" +
					  std::to_string(id)));
	};
	// 8 bytes of header and 64 of data, then 16 more
	auto first = [&](int id) {
		Bytes f = datagram(half, 53, "mf id=" + std::to_string(id));
		uint16_t len = htons(8 + 64 + 16);

		memcpy(f.data() + 38, &len, 2);
		return f;
	};

	dip_slot_own(mem(), 0, true, 53, 2, 1, false);
	send_frame(first(1));
	send_frame(later(1));
	EXPECT_EQ(text(s, SOON).size(), 80u);
	send_frame(later(2));
	send_frame(first(2));
	EXPECT_EQ(text(s, SOON).size(), 80u);
	EXPECT_EQ(count(DIP_IN, DIP_R_FRAG_HERE), 1u);
	EXPECT_EQ(count(DIP_IN, DIP_R_FRAG_UNKNOWN), 1u);
	dip_slot_own(mem(), 0, true, 53, 3, 1, false);
	send_frame(first(3));
	send_frame(later(3));
	send_frame(later(4));
	send_frame(first(4));
	EXPECT_EQ(text(s, QUIET), "(nothing)");
	EXPECT_EQ(count(DIP_IN, DIP_R_FRAG_ELSEWHERE), 1u);
	close(s);
}

TEST_F(Path, ArpOfTheVipNamesTheSharedMac)
{
	int s = udp(VIP, 53);
	const uint8_t vip_mac[] = {3, 0x53, 0x53, 0x49, 0, 0x64}, own[] = {2, 0, 0, 0, 0, 2};
	sockaddr_in to = in4(0x0a4d00f9, 4000);

	// a request of the node, because its VIP wants to talk to 10.77.0.249
	dip_slot_own(mem(), 0, true, 53, 2, 1, false);
	sendto(s, "x", 1, 0, (sockaddr *)&to, sizeof(to));
	Bytes f = seen(ETH_P_ARP, SOON);
	ASSERT_EQ(f.size(), 42u);
	EXPECT_EQ(f[21], 1) << "request";
	EXPECT_EQ(memcmp(f.data() + 22, vip_mac, 6), 0);
	EXPECT_EQ(memcmp(f.data() + 6, own, 6), 0) << "switches never learn the shared MAC";
	// a reply
	send_frame(build_frame("arp 10.77.0.250 > 10.77.0.100 dmac=ff:ff:ff:ff:ff:ff"));
	do
		f = seen(ETH_P_ARP, SOON);
	while (f.size() == 42 && f[21] == 1);
	ASSERT_EQ(f.size(), 42u);
	EXPECT_EQ(memcmp(f.data() + 22, vip_mac, 6), 0);
	EXPECT_EQ(memcmp(f.data() + 6, own, 6), 0);
	// and the node's own address keeps its own
	send_frame(build_frame("arp 10.77.0.250 > 10.77.0.2 dmac=ff:ff:ff:ff:ff:ff"));
	do
		f = seen(ETH_P_ARP, SOON);
	while (f.size() == 42 && f[21] == 1);
	ASSERT_EQ(f.size(), 42u);
	EXPECT_EQ(memcmp(f.data() + 22, own, 6), 0);
	close(s);
}

// The answer to the VIP's own ARP request comes to the MAC that all share; with
// a unicast one the card says that it is another host's.
TEST_F(Path, ArpAnswersToTheSharedMacAreHeard)
{
	const uint8_t asked[] = {2, 0, 0, 0, 0, 0xf9};
	sockaddr_in to = in4(0x0a4d00f9, 4000);
	int s = udp(VIP, 53);
	dip_vip_spec v{};

	v.family = DIP_INET;
	v.addr.a4 = htonl(VIP);
	v.ifindex = if_nametoindex("e0");
	memcpy(v.mac, "\x02\x53\x53\x49\x00\x64", 6);
	ASSERT_EQ(dip_vip_add(mem(), &v), 0);
	dip_slot_own(mem(), 0, true, 53, 2, 1, false);
	sendto(s, "x", 1, 0, (sockaddr *)&to, sizeof(to));
	ASSERT_EQ(seen(ETH_P_ARP, SOON).size(), 42u);
	send_frame(build_frame("arp 10.77.0.249 > 10.77.0.100 op=2 smac=02:00:00:00:00:f9 "
			       "dmac=02:53:53:49:00:64"));
	Bytes f = seen(ETH_P_IP, SOON);
	ASSERT_GE(f.size(), 42u) << "still waiting for an answer";
	EXPECT_EQ(memcmp(f.data(), asked, 6), 0);
	close(s);
}

TEST_F(Path, StaleUnicastIsSentOnOnce)
{
	const uint8_t own[6] = {2, 0, 0, 0, 0, 2}, three[6] = {2, 0, 0, 0, 0, 3};

	dip_peer_set(mem(), 2, own);
	dip_peer_set(mem(), 3, three);
	dip_slot_own(mem(), 0, true, 53, 3, 1, false);
	send_frame(datagram("x", 53, "dmac=02:00:00:00:00:02"));
	Bytes f = seen(ETH_P_IP, SOON);
	ASSERT_GE(f.size(), 42u);
	EXPECT_EQ(memcmp(f.data(), three, 6), 0);
	EXPECT_EQ(memcmp(f.data() + 6, own, 6), 0);
	EXPECT_EQ(f[42], 'x');
	send_frame(datagram("x", 53, "dmac=02:00:00:00:00:02 smac=02:00:00:00:00:03"));
	EXPECT_TRUE(seen(ETH_P_IP, QUIET).empty());
	EXPECT_EQ(count(DIP_IN, DIP_R_FORWARD_AGAIN), 1u);
}

// ---- TCP, from a socket of the client ----

struct Tcp : Path {
	int listener(uint32_t addr, uint16_t port)
	{
		int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
		sockaddr_in a = in4(addr, port);

		setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		EXPECT_EQ(bind(s, (sockaddr *)&a, sizeof(a)), 0);
		EXPECT_EQ(listen(s, 8), 0);
		return s;
	}
	// A connected socket, or minus errno.
	int dial(uint16_t port, int ms)
	{
		sockaddr_in a = in4(VIP, port);
		int s, err = 0;
		socklen_t len = sizeof(err);

		enter(client);
		s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		enter(node);
		connect(s, (sockaddr *)&a, sizeof(a));
		pollfd p = {s, POLLOUT, 0};
		if (poll(&p, 1, ms) != 1)
			err = ETIMEDOUT;
		else
			getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len);
		if (!err)
			return s;
		close(s);
		return -err;
	}
};

TEST_F(Tcp, OwnedAnswersUnownedRefusesForeignIsSilent)
{
	int l = listener(INADDR_ANY, 6379), host = listener(INADDR_ANY, 22);

	EXPECT_EQ(dial(6379, SOON), -ECONNREFUSED) << "nobody owns it yet";
	EXPECT_EQ(dial(22, SOON), -ECONNREFUSED) << "the host's own listener is not exposed";
	dip_slot_own(mem(), 0, false, 6379, 2, 1, false);
	int s = dial(6379, SOON);
	EXPECT_GE(s, 0);
	close(s);
	dip_slot_own(mem(), 0, false, 6379, 3, 2, false);
	EXPECT_EQ(dial(6379, QUIET), -ETIMEDOUT) << "node 3 answers, not this one";
	close(l);
	close(host);
}

// Writes TOTAL bytes in which each says where it belongs.
static void pour(int fd, size_t total)
{
	std::vector<char> b(65536);

	for (size_t done = 0; done < total;) {
		pollfd p = {fd, POLLOUT, 0};

		for (size_t i = 0; i < b.size(); i++)
			b[i] = (done + i) * 7;
		if (poll(&p, 1, 10 * SOON) != 1)
			return;
		ssize_t n = write(fd, b.data(), std::min(b.size(), total - done));
		if (n < 0 && errno != EAGAIN)
			return;
		done += n > 0 ? n : 0;
	}
}

// Reads what is there; false when nothing came in time.
static bool drink(int fd, int ms, size_t *got, size_t *wrong)
{
	char b[65536];

	if (!readable(fd, ms))
		return false;
	ssize_t n = read(fd, b, sizeof(b));
	for (ssize_t i = 0; i < n; i++)
		*wrong += b[i] != (char)((*got + i) * 7);
	*got += n > 0 ? n : 0;
	return n > 0;
}

TEST_F(Tcp, AStreamSurvivesHolds)
{
	const size_t total = 8 << 20;
	int l = listener(VIP, 6379), small = 128 << 10;
	size_t got = 0, wrong = 0;
	uint16_t epoch = 1;

	// so that there is always more to come than fits into the receiver
	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	dip_slot_own(mem(), 0, false, 6379, 2, 1, false);
	int c = dial(6379, SOON);
	ASSERT_GE(c, 0);
	int s = accept(l, nullptr, nullptr);
	std::thread sender(pour, c, total);
	while (got < total && drink(s, 10 * SOON, &got, &wrong)) {
		if (epoch > 8 || got < epoch * total / 10)
			continue;
		dip_slot_hold(mem(), 0, false, 6379, 2, 3, ++epoch);
		while (drink(s, 0, &got, &wrong))
			;
		std::vector<Bytes> queue = {held(10 * SOON)};
		EXPECT_FALSE(queue[0].empty()) << "nothing was held";
		// what was on its way before that frame has arrived by now
		while (drink(s, 0, &got, &wrong))
			;
		for (Bytes f; !(f = held(20)).empty();)
			queue.push_back(f);
		EXPECT_FALSE(drink(s, 0, &got, &wrong)) << "something came past the hold";
		// first those, then what came meanwhile, then what comes after
		dip_slot_own(mem(), 0, false, 6379, 2, epoch, true);
		for (auto &f : queue)
			give_back(f);
		for (Bytes f; !(f = held(0)).empty();)
			give_back(f);
		dip_slot_own(mem(), 0, false, 6379, 2, epoch, false);
		for (Bytes f; !(f = held(0)).empty();)
			give_back(f);
	}
	sender.join();
	EXPECT_EQ(got, total);
	EXPECT_EQ(wrong, 0u);
	EXPECT_EQ(epoch, 9);
	close(c);
	close(s);
	close(l);
}
