// SPDX-License-Identifier: GPL-2.0
// The socket hooks with real sockets: what begins and ends is told once, with
// port, address and program; what another node owns answers EADDRINUSE.
// In a cgroup and a network namespace of its own.  Needs root; run by check-net.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "userland/lib/dip_bpf.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static const uint32_t VIP = 0x0a4d0064; // 10.77.0.100

struct Fd {
	int fd;

	explicit Fd(int f = -1) : fd(f)
	{
	}
	Fd(Fd &&o) noexcept : fd(o.fd)
	{
		o.fd = -1;
	}
	Fd &operator=(Fd &&o) noexcept
	{
		std::swap(fd, o.fd);
		return *this;
	}
	~Fd()
	{
		end();
	}
	void end()
	{
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
};

// The kernel tells pids as the machine counts them. In a pid namespace (a container) a process cannot
// know that number of its own; there, any other number than none is right.
static bool is_me(uint32_t pid)
{
	const ino_t machine = 0xeffffffc; // PROC_PID_INIT_INO
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0)
		return false;
	return st.st_ino == machine ? pid == (uint32_t)getpid() : pid != 0;
}

static std::string cgroup2()
{
	std::ifstream in("/proc/self/mounts");
	std::string dev, where, type, rest;

	while (in >> dev >> where >> type && std::getline(in, rest))
		if (type == "cgroup2")
			return where;
	return "";
}

static int into_cgroup(const std::string &dir)
{
	std::ofstream out(dir + "/cgroup.procs");

	out << getpid() << std::flush;
	return out ? 0 : -1;
}

static sockaddr_in in4(uint32_t addr, uint16_t port)
{
	sockaddr_in a{};

	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(addr);
	a.sin_port = htons(port);
	return a;
}

static sockaddr_in6 in6(const char *addr, uint16_t port)
{
	sockaddr_in6 a{};

	a.sin6_family = AF_INET6;
	inet_pton(AF_INET6, addr, &a.sin6_addr);
	a.sin6_port = htons(port);
	return a;
}

// 0 or errno; the socket stays open in *out.
template <class A> static int bind_to(int type, const A &a, Fd *out = nullptr)
{
	Fd s(socket(((const sockaddr *)&a)->sa_family, type, 0));
	int err = bind(s.fd, (const sockaddr *)&a, sizeof(a)) ? errno : 0;

	if (!err && out)
		std::swap(out->fd, s.fd);
	return err;
}

template <class A> static Fd listening(const A &a)
{
	Fd s;

	EXPECT_EQ(bind_to(SOCK_STREAM, a, &s), 0);
	EXPECT_EQ(listen(s.fd, 8), 0);
	return s;
}

struct Hooks : ::testing::Test {
	std::string group, home;
	std::string dir = "/sys/fs/bpf/netssi-hooks-" + std::to_string(getpid());
	dip_bpf *d = nullptr;
	ring_buffer *ring = nullptr;
	std::vector<dip_event> events;
	uint64_t group_id = 0;

	static int got(void *self, void *data, size_t size)
	{
		EXPECT_EQ(size, sizeof(dip_event));
		static_cast<Hooks *>(self)->events.push_back(*static_cast<dip_event *>(data));
		return 0;
	}
	void SetUp() override
	{
		struct stat st;

		ASSERT_EQ(unshare(CLONE_NEWNET), 0);
		ASSERT_EQ(system("ip link set lo up && ip addr add 10.77.0.100/32 dev lo && "
				 "ip addr add 10.77.0.2/32 dev lo && "
				 "ip -6 addr add fd77::100/128 dev lo nodad"),
			  0);
		home = cgroup2();
		ASSERT_NE(home, "") << "no cgroup2 is mounted";
		group = home + "/netssi-hooks-" + std::to_string(getpid());
		ASSERT_EQ(mkdir(group.c_str(), 0755), 0) << strerror(errno);
		ASSERT_EQ(stat(group.c_str(), &st), 0);
		group_id = st.st_ino;
		load();
		ASSERT_EQ(into_cgroup(group), 0);
	}
	void load()
	{
		dip_bpf_opts o{};
		uint64_t cookie = 0;
		socklen_t len = sizeof(cookie);
		Fd any(socket(AF_INET, SOCK_DGRAM, 0)), cg(open(group.c_str(), O_RDONLY));
		Fd ns(open("/proc/thread-self/ns/net", O_RDONLY));

		o.pin_dir = dir.c_str();
		ASSERT_EQ(dip_bpf_load(&d, &o, 2, nullptr), 0) << dip_bpf_error();
		ASSERT_EQ(getsockopt(any.fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
		dip_tables_set_netns(mem(), cookie);
		for (int p = DIP_PROG_SOCK_CREATE; p < DIP_PROGS; p++)
			ASSERT_EQ(dip_bpf_attach(d, (dip_prog)p, cg.fd, 0, dip_bpf_prog_name((dip_prog)p)), 0)
				<< dip_bpf_error();
		ASSERT_EQ(dip_bpf_attach(d, DIP_PROG_SK_LOOKUP, ns.fd, 0, "sk"), 0) << dip_bpf_error();
		ring = ring_buffer__new(dip_bpf_events_fd(d), got, this, nullptr);
		ASSERT_NE(ring, nullptr);

		dip_vip_spec v{};
		v.family = DIP_INET;
		v.addr.a4 = htonl(VIP);
		ASSERT_EQ(dip_vip_add(mem(), &v), 0);
		v.family = DIP_INET6;
		inet_pton(AF_INET6, "fd77::100", &v.addr);
		ASSERT_EQ(dip_vip_add(mem(), &v), 1);
	}
	void TearDown() override
	{
		into_cgroup(home);
		ring_buffer__free(ring);
		dip_bpf_close(d);
		EXPECT_EQ(dip_bpf_unpin(dir.c_str()), 0) << dip_bpf_error();
		EXPECT_EQ(rmdir(group.c_str()), 0) << strerror(errno);
	}
	dip_mem *mem()
	{
		return dip_bpf_mem(d);
	}
	// What happened since the last call; it must be just one thing, or nothing.
	std::vector<dip_event> news()
	{
		events.clear();
		ring_buffer__consume(ring);
		return events;
	}
	dip_event one(dip_event_type type)
	{
		auto e = news();

		EXPECT_EQ(e.size(), 1u);
		if (e.size() != 1)
			return {};
		EXPECT_EQ(e[0].type, type);
		return e[0];
	}
};

TEST_F(Hooks, TcpListensAndEnds)
{
	Fd s;
	ASSERT_EQ(bind_to(SOCK_STREAM, in4(0, 7000), &s), 0);
	EXPECT_TRUE(news().empty()) << "bound is not listening";
	ASSERT_EQ(listen(s.fd, 8), 0);
	dip_event e = one(DIP_EV_LISTEN);
	EXPECT_EQ(e.port, 7000);
	EXPECT_EQ(e.proto, IPPROTO_TCP);
	EXPECT_EQ(e.family, DIP_INET);
	EXPECT_EQ(e.addr.a4, 0u);
	EXPECT_TRUE(is_me(e.pid)) << e.pid;
	EXPECT_STREQ(e.comm, "steer_hooks_tes");
	EXPECT_EQ(e.cgroup, group_id);
	EXPECT_EQ(e.netns_cookie, mem()->conf->netns_cookie);
	EXPECT_EQ(e.flags, 0);
	uint64_t cookie = e.cookie;
	s.end();
	e = one(DIP_EV_UNLISTEN);
	EXPECT_EQ(e.port, 7000);
	EXPECT_EQ(e.cookie, cookie);
}

TEST_F(Hooks, AddressesOfBothFamilies)
{
	Fd a = listening(in4(VIP, 7001));
	dip_event e = one(DIP_EV_LISTEN);
	EXPECT_EQ(e.addr.a4, htonl(VIP));

	Fd b = listening(in6("::", 7002));
	e = one(DIP_EV_LISTEN);
	EXPECT_EQ(e.family, DIP_INET6);
	EXPECT_EQ(e.addr.a64[0] | e.addr.a64[1], 0u);

	Fd c = listening(in6("fd77::100", 7003));
	e = one(DIP_EV_LISTEN);
	EXPECT_EQ(e.family, DIP_INET6);
	EXPECT_EQ(e.addr.a8[15], 0);
	EXPECT_EQ(e.addr.a8[14], 1);

	Fd f = listening(in6("::ffff:10.77.0.100", 7004));
	e = one(DIP_EV_LISTEN);
	EXPECT_EQ(e.family, DIP_INET) << "a mapped address is an IPv4 address";
	EXPECT_EQ(e.addr.a4, htonl(VIP));
}

TEST_F(Hooks, EveryWayToEnd)
{
	Fd s = listening(in4(0, 7010));
	one(DIP_EV_LISTEN);
	shutdown(s.fd, SHUT_RD);
	one(DIP_EV_UNLISTEN);
	s.end();
	EXPECT_TRUE(news().empty()) << "told once";

	// the last holder of a forked socket
	s = listening(in4(0, 7011));
	one(DIP_EV_LISTEN);
	pid_t child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	s.end();
	EXPECT_TRUE(news().empty()) << "the child holds it";
	kill(child, SIGKILL);
	waitpid(child, nullptr, 0);
	one(DIP_EV_UNLISTEN);
}

TEST_F(Hooks, ConnectionsHaveNothingToTell)
{
	Fd s = listening(in4(0x7f000001, 7020));
	one(DIP_EV_LISTEN);
	Fd c(socket(AF_INET, SOCK_STREAM, 0));
	sockaddr_in a = in4(0x7f000001, 7020);
	ASSERT_EQ(connect(c.fd, (sockaddr *)&a, sizeof(a)), 0);
	Fd peer(accept(s.fd, nullptr, nullptr));
	ASSERT_GE(peer.fd, 0);
	c.end();
	peer.end();
	EXPECT_TRUE(news().empty());
}

TEST_F(Hooks, UdpBindsAndEnds)
{
	Fd s;
	ASSERT_EQ(bind_to(SOCK_DGRAM, in4(VIP, 5300), &s), 0);
	dip_event e = one(DIP_EV_BIND);
	EXPECT_EQ(e.port, 5300);
	EXPECT_EQ(e.proto, IPPROTO_UDP);
	EXPECT_EQ(e.addr.a4, htonl(VIP));
	EXPECT_TRUE(is_me(e.pid)) << e.pid;
	EXPECT_EQ(e.cgroup, group_id);
	uint64_t cookie = e.cookie;
	s.end();
	e = one(DIP_EV_UNBIND);
	EXPECT_EQ(e.port, 5300);
	EXPECT_EQ(e.addr.a4, htonl(VIP));
	EXPECT_EQ(e.cookie, cookie);

	ASSERT_EQ(bind_to(SOCK_DGRAM, in6("::", 5301), &s), 0);
	e = one(DIP_EV_BIND);
	EXPECT_EQ(e.family, DIP_INET6);
	EXPECT_EQ(e.port, 5301);
	s.end();
	one(DIP_EV_UNBIND);
}

TEST_F(Hooks, PortsThatNobodyAskedForAreMarked)
{
	Fd s;
	ASSERT_EQ(bind_to(SOCK_DGRAM, in4(0, 0), &s), 0);
	dip_event e = one(DIP_EV_BIND);
	EXPECT_EQ(e.flags, DIP_EV_EPHEMERAL);
	EXPECT_NE(e.port, 0);
	Fd t = listening(in4(0, 0));
	EXPECT_EQ(one(DIP_EV_LISTEN).flags, DIP_EV_EPHEMERAL);
}

TEST_F(Hooks, APortOfAnotherNodeIsInUse)
{
	dip_slot_own(mem(), 0, false, 80, 3, 1, false);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), EADDRINUSE);
	dip_event e = one(DIP_EV_REFUSED);
	EXPECT_EQ(e.owner, 3);
	EXPECT_EQ(e.port, 80);
	EXPECT_EQ(e.proto, IPPROTO_TCP);
	EXPECT_TRUE(is_me(e.pid)) << e.pid;
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(VIP, 80)), EADDRINUSE);
	EXPECT_EQ(bind_to(SOCK_STREAM, in6("::", 80)), EADDRINUSE);
	EXPECT_EQ(bind_to(SOCK_STREAM, in6("::ffff:10.77.0.100", 80)), EADDRINUSE);
	EXPECT_EQ(news().size(), 3u);

	EXPECT_EQ(bind_to(SOCK_STREAM, in6("fd77::100", 80)), 0) << "another VIP";
	EXPECT_EQ(bind_to(SOCK_DGRAM, in4(0, 80)), 0) << "UDP is another port";
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0x7f000001, 80)), 0) << "the host's own address";
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0x0a4d0002, 80)), 0) << "the node's own address";
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 81)), 0) << "nobody's port";

	dip_slot_own(mem(), 1, true, 53, 4, 1, false);
	EXPECT_EQ(bind_to(SOCK_DGRAM, in6("fd77::100", 53)), EADDRINUSE);
	EXPECT_EQ(bind_to(SOCK_DGRAM, in6("::", 53)), EADDRINUSE);
	EXPECT_EQ(bind_to(SOCK_DGRAM, in4(VIP, 53)), 0);
}

// 0 or errno of binding to [::]:port with IPV6_V6ONLY.
static int bind_only6(int type, uint16_t port)
{
	Fd s(socket(AF_INET6, type, 0));
	sockaddr_in6 a = in6("::", port);
	int on = 1;

	EXPECT_EQ(setsockopt(s.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	return bind(s.fd, (const sockaddr *)&a, sizeof(a)) ? errno : 0;
}

TEST_F(Hooks, AWildcardMeansTheFamiliesOfItsSocket)
{
	for (int type : {SOCK_STREAM, SOCK_DGRAM}) {
		bool udp = type == SOCK_DGRAM;

		dip_slot_own(mem(), 0, udp, 90, 3, 1, false); // on the IPv4 VIP
		EXPECT_EQ(bind_only6(type, 90), 0);
		EXPECT_EQ(bind_to(type, in6("::", 90)), EADDRINUSE);
		EXPECT_EQ(bind_to(type, in6("::ffff:0.0.0.0", 90)), EADDRINUSE);
		dip_slot_own(mem(), 1, udp, 91, 3, 1, false); // on the IPv6 VIP
		EXPECT_EQ(bind_only6(type, 91), EADDRINUSE);
		EXPECT_EQ(bind_to(type, in6("::", 91)), EADDRINUSE);
		EXPECT_EQ(bind_to(type, in4(0, 91)), 0);
		EXPECT_EQ(bind_to(type, in6("::ffff:0.0.0.0", 91)), 0);
	}
}

TEST_F(Hooks, MovingPorts)
{
	dip_slot_own(mem(), 0, false, 80, 2, 1, false);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), 0) << "this node's port";
	dip_slot_hold(mem(), 0, false, 80, 3, 2, 2);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), 0) << "the target restores its socket";
	dip_slot_hold(mem(), 0, false, 80, 3, 4, 3);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), EADDRINUSE);
	dip_slot_free(mem(), 0, false, 80);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), 0);
}

TEST_F(Hooks, AnotherNamespaceIsAnotherWorld)
{
	dip_slot_own(mem(), 0, false, 80, 3, 1, false);
	ASSERT_EQ(unshare(CLONE_NEWNET), 0);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), 0);
	Fd s = listening(in4(0, 81));
	EXPECT_EQ(bind_to(SOCK_DGRAM, in4(0, 81)), 0);
	s.end();
	EXPECT_TRUE(news().empty());
}

TEST_F(Hooks, OutsideTheGroupNothingIsTold)
{
	ASSERT_EQ(into_cgroup(home), 0);
	dip_slot_own(mem(), 0, false, 80, 3, 1, false);
	EXPECT_EQ(bind_to(SOCK_STREAM, in4(0, 80)), 0);
	Fd s = listening(in4(0, 81));
	s.end();
	EXPECT_TRUE(news().empty());
	ASSERT_EQ(into_cgroup(group), 0);
}

TEST_F(Hooks, AFullRingIsCounted)
{
	dip_stats st;
	std::vector<Fd> keep;

	for (int i = 0; i < 5000; i++)
		bind_to(SOCK_DGRAM, in4(0x7f000001, 20000 + i % 1000));
	ASSERT_EQ(dip_bpf_stats(d, &st), 0);
	EXPECT_GT(st.events_lost, 0u);
	EXPECT_GT(news().size(), 1000u);
}

// A host's own listener is not reached through the VIP; what this node owns is.
static int connect_to(uint32_t addr, uint16_t port)
{
	Fd c(socket(AF_INET, SOCK_STREAM, 0));
	sockaddr_in a = in4(addr, port);

	return connect(c.fd, (sockaddr *)&a, sizeof(a)) ? errno : 0;
}

TEST_F(Hooks, OnlyOwnedPortsAreReachedThroughTheVip)
{
	Fd s = listening(in4(0, 22));

	EXPECT_EQ(connect_to(VIP, 22), ECONNREFUSED);
	EXPECT_EQ(connect_to(0x0a4d0002, 22), 0) << "the node's own address";
	dip_slot_own(mem(), 0, false, 22, 2, 1, false);
	EXPECT_EQ(connect_to(VIP, 22), 0);
	dip_slot_hold(mem(), 0, false, 22, 3, 2, 1);
	EXPECT_EQ(connect_to(VIP, 22), 0);
	dip_slot_own(mem(), 0, false, 22, 3, 1, false);
	EXPECT_EQ(connect_to(VIP, 22), ECONNREFUSED);
}

TEST_F(Hooks, OnlyOwnedPortsAreReachedThroughAnIpv6Vip)
{
	Fd s = listening(in6("::", 22));
	sockaddr_in6 a = in6("fd77::100", 22);
	auto result = [&] {
		Fd c(socket(AF_INET6, SOCK_STREAM, 0));

		return connect(c.fd, (sockaddr *)&a, sizeof(a)) ? errno : 0;
	};

	EXPECT_EQ(result(), ECONNREFUSED);
	dip_slot_own(mem(), 0, false, 22, 2, 1, false);
	EXPECT_EQ(result(), ECONNREFUSED) << "only on the IPv4 VIP";
	dip_slot_own(mem(), 1, false, 22, 2, 1, false);
	EXPECT_EQ(result(), 0);
}

TEST_F(Hooks, UdpToAnUnownedPortIsRefused)
{
	Fd s, c(socket(AF_INET, SOCK_DGRAM, 0));
	sockaddr_in a = in4(VIP, 9999);
	char byte;

	ASSERT_EQ(bind_to(SOCK_DGRAM, in4(0, 9999), &s), 0);
	ASSERT_EQ(connect(c.fd, (sockaddr *)&a, sizeof(a)), 0);
	ASSERT_EQ(send(c.fd, "x", 1, 0), 1);
	EXPECT_EQ(recv(c.fd, &byte, 1, 0), -1);
	EXPECT_EQ(errno, ECONNREFUSED);
	dip_slot_own(mem(), 0, true, 9999, 2, 1, false);
	ASSERT_EQ(send(c.fd, "x", 1, 0), 1);
	EXPECT_EQ(recv(s.fd, &byte, 1, 0), 1);
}
