// SPDX-License-Identifier: GPL-2.0
// ssi_core where it hurts, for a kernel that finds its faults: mutated messages, memory that runs out at every
// place where it can, and all operations at once. What is looked for is said by the kernel's log.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "tests/vm/hold_frame.h"

extern "C" {
#include "ssi/core.h"
#include "userland/lib/genl.h"
}

using Clock = std::chrono::steady_clock;

static int seconds()
{
	const char *s = getenv("STRESS_SECONDS");

	return s ? atoi(s) : 10;
}

static unsigned int seed()
{
	const char *s = getenv("STRESS_SEED");
	unsigned int n = s ? (unsigned int)atoi(s) : std::random_device()();

	printf("STRESS_SEED=%u\n", n);
	return n;
}

// ---- one request, whatever comes of it ------------------------------------------------------------
struct Netlink {
	mnl_socket *nl;
	char buf[8192];

	explicit Netlink(int bus)
	{
		nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
		if (nl)
			mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID);
	}
	~Netlink()
	{
		if (nl)
			mnl_socket_close(nl);
	}
	// 0, -errno of the kernel or of the way there.
	int talk(const void *data, size_t len)
	{
		ssize_t n;

		if (!nl)
			return -ENOMEM;
		drain(); // an answer that was not taken is none to this
		if (mnl_socket_sendto(nl, data, len) < 0)
			return -errno;
		n = recv(mnl_socket_get_fd(nl), buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		const nlmsghdr *nlh = (nlmsghdr *)buf;
		return nlh->nlmsg_type == NLMSG_ERROR ? ((nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error : 0;
	}
	void drain()
	{
		while (recv(mnl_socket_get_fd(nl), buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
	}
};

static int link_change(Netlink &nl, uint16_t type, const char *name)
{
	char buf[512] = {};
	nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (type == RTM_NEWLINK ? NLM_F_CREATE | NLM_F_EXCL : 0);
	ifinfomsg *ifi = (ifinfomsg *)mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	if (type == RTM_NEWLINK)
		ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	if (type == RTM_NEWLINK) {
		nlattr *info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, SSI_HOLD_KIND);
		mnl_attr_nest_end(nlh, info);
	}
	return nl.talk(nlh, nlh->nlmsg_len);
}

static void send_frame(int sock, int ifindex, const Frame &f)
{
	std::string data = frame(f);
	sockaddr_ll to = {};

	to.sll_family = AF_PACKET;
	to.sll_ifindex = ifindex;
	to.sll_protocol = htons(ETH_P_IP);
	to.sll_halen = 6;
	(void)!sendto(sock, data.data(), data.size(), 0, (sockaddr *)&to, sizeof(to));
}

struct Stress : ::testing::Test {
	struct genl *genl = nullptr;
	uint16_t family = 0;
	Netlink route{NETLINK_ROUTE}, gen{NETLINK_GENERIC};
	int ifindex = 0, sock = -1;

	void SetUp() override
	{
		ASSERT_EQ(genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &genl), 0) << "no module ssi_core";
		family = genl_message(genl, 0, 0)->nlmsg_type;
		ASSERT_EQ(link_change(route, RTM_NEWLINK, "q"), 0);
		ifindex = (int)if_nametoindex("q");
		sock = socket(AF_PACKET, SOCK_RAW, 0);
		ASSERT_GE(sock, 0);
	}
	void TearDown() override
	{
		works();
		close(sock);
		genl_close(genl);
		EXPECT_EQ(link_change(route, RTM_DELLINK, "q"), 0);
	}
	nlmsghdr *message(uint8_t cmd, uint16_t port, uint16_t flags = 0)
	{
		nlmsghdr *nlh = genl_message(genl, cmd, flags);

		mnl_attr_put_u32(nlh, SSI_CORE_A_IFINDEX, (uint32_t)ifindex);
		mnl_attr_put_u32(nlh, SSI_CORE_A_ADDR4, inet_addr(VIP4));
		mnl_attr_put_u8(nlh, SSI_CORE_A_PROTO, IPPROTO_TCP);
		mnl_attr_put_u16(nlh, SSI_CORE_A_PORT, port);
		return nlh;
	}
	int ask(uint8_t cmd, uint16_t port = 80, uint16_t flags = 0)
	{
		nlmsghdr *nlh = message(cmd, port, flags);

		return gen.talk(nlh, nlh->nlmsg_len);
	}
	// After all that: does it still do what it is for?
	void works()
	{
		gen.drain();
		EXPECT_EQ(genl_talk(genl, message(SSI_CORE_CMD_HOLD, 999), nullptr, nullptr), 0)
			<< genl_why(genl);
		EXPECT_EQ(genl_talk(genl, message(SSI_CORE_CMD_RELEASE, 999), nullptr, nullptr), 0);
		EXPECT_EQ(genl_talk(genl, message(SSI_CORE_CMD_DISCARD, 999), nullptr, nullptr), 0);
	}
};

// ---- messages --------------------------------------------------------------------------------------
struct Fuzzer {
	std::mt19937 rnd;

	explicit Fuzzer(unsigned int seed) : rnd(seed)
	{
	}
	unsigned int below(unsigned int n)
	{
		return rnd() % n;
	}
	void attributes(nlmsghdr *nlh)
	{
		char junk[64];

		for (unsigned int n = below(8); n--;) {
			for (char &c : junk)
				c = below(4) ? (char)rnd() : 0;
			static const uint16_t sizes[] = {0, 1, 2, 4, 8, 16};
			uint16_t size = below(3) ? sizes[below(6)] : (uint16_t)below(sizeof(junk));
			mnl_attr_put(nlh,
				     (uint16_t)(below(SSI_CORE_A_MAX + 3) | (below(12) ? 0 : NLA_F_NESTED)),
				     size, junk);
		}
	}
	// Bytes after the netlink header are anybody's; lengths lie now and then.
	void damage(nlmsghdr *nlh)
	{
		uint8_t *p = (uint8_t *)nlh;

		for (unsigned int n = below(5); n-- && nlh->nlmsg_len > sizeof(*nlh);)
			p[sizeof(*nlh) + below(nlh->nlmsg_len - sizeof(*nlh))] = (uint8_t)rnd();
		if (!below(6))
			nlh->nlmsg_len = sizeof(*nlh) + below(nlh->nlmsg_len - sizeof(*nlh) + 1);
		if (!below(10))
			nlh->nlmsg_flags |= NLM_F_DUMP;
	}
};

static void fuzz_for(Stress *t, Netlink &nl, Fuzzer &f, double for_s)
{
	auto end = Clock::now() + std::chrono::duration<double>(for_s);
	char buf[4096];
	long n = 0;

	while (Clock::now() < end) {
		nlmsghdr *nlh =
			t->message((uint8_t)f.below(SSI_CORE_CMD_MAX + 3), (uint16_t)(80 + f.below(4)));
		if (f.below(3))
			nlh->nlmsg_len = NLMSG_ALIGN(sizeof(*nlh) + sizeof(genlmsghdr));
		f.attributes(nlh);
		memcpy(buf, nlh, nlh->nlmsg_len);
		f.damage((nlmsghdr *)buf);
		nl.talk(buf, ((nlmsghdr *)buf)->nlmsg_len);
		nl.drain();
		n++;
	}
	printf("%ld messages\n", n);
	EXPECT_GT(n, 100);
}

TEST_F(Stress, MutatedMessages)
{
	Fuzzer f(seed());

	fuzz_for(this, gen, f, seconds());
}

// In a process of its own: what it does must not hold for the others.
TEST_F(Stress, MutatedMessagesOfStrangers)
{
	Fuzzer f(seed());

	in_child([&] {
		if (setresuid(65534, 65534, 65534))
			return 3;
		Netlink nl(NETLINK_GENERIC);
		fuzz_for(this, nl, f, seconds() / 2.0);
		nlmsghdr *nlh = message(SSI_CORE_CMD_HOLD, 80);
		return nl.talk(nlh, nlh->nlmsg_len) == -EPERM ? 0 : 1;
	});
}

TEST_F(Stress, MutatedMessagesOfAnotherNamespace)
{
	Fuzzer f(seed());

	in_child([&] {
		if (unshare(CLONE_NEWNET))
			return 3;
		Netlink nl(NETLINK_GENERIC);
		fuzz_for(this, nl, f, seconds() / 2.0);
		nlmsghdr *nlh = message(SSI_CORE_CMD_HOLD, 80);
		return nl.talk(nlh, nlh->nlmsg_len) == -ENODEV ? 0 : 1;
	});
}

// ---- memory ------------------------------------------------------------------------------------------
// Fails the N-th allocation that `fn` makes, for each N that there is.
static int fail_each(const char *what, const std::function<int()> &fn)
{
	std::string path = "/proc/self/task/" + std::to_string(syscall(SYS_gettid)) + "/fail-nth";
	int fd = open(path.c_str(), O_RDWR), failed = 0;

	EXPECT_GE(fd, 0) << path << ": this kernel has no fault injection";
	for (int n = 1; n < 1000 && fd >= 0; n++) {
		std::string text = std::to_string(n);
		char left[16] = "";
		EXPECT_GT(pwrite(fd, text.c_str(), text.size(), 0), 0);
		failed += fn() < 0;
		EXPECT_GT(pread(fd, left, sizeof(left) - 1, 0), 0);
		EXPECT_GT(pwrite(fd, "0", 1, 0), 0);
		if (atoi(left)) { // it was never reached
			printf("%s: %d places, %d errors\n", what, n - 1, failed);
			break;
		}
	}
	close(fd);
	return failed;
}

TEST_F(Stress, NoMemory)
{
	if (access("/proc/self/fail-nth", F_OK))
		GTEST_SKIP() << "a kernel with fault injection";
	EXPECT_GT(fail_each("device",
			    [&] {
				    int err = link_change(route, RTM_NEWLINK, "f");
				    return err ? err : link_change(route, RTM_DELLINK, "f");
			    }),
		  0);
	link_change(route, RTM_DELLINK, "f");
	EXPECT_GT(fail_each("HOLD",
			    [&] {
				    int err = ask(SSI_CORE_CMD_HOLD, 81);
				    return err ? err : ask(SSI_CORE_CMD_DISCARD, 81);
			    }),
		  0);
	EXPECT_EQ(ask(SSI_CORE_CMD_HOLD), 0);
	uint32_t seq = 0;
	fail_each("a packet", [&] {
		send_frame(sock, ifindex, {.seq = ++seq});
		return 0;
	});
	EXPECT_GT(fail_each("GET", [&] { return ask(SSI_CORE_CMD_GET); }), 0);
	EXPECT_GT(fail_each("dump",
			    [&] {
				    int err = ask(SSI_CORE_CMD_GET, 80, NLM_F_DUMP);
				    gen.drain();
				    return err;
			    }),
		  0);
	EXPECT_GT(fail_each("CLAIMS", [&] { return ask(SSI_CORE_CMD_CLAIMS); }), 0);
	fail_each("RELEASE", [&] {
		send_frame(sock, ifindex, {.seq = ++seq});
		ask(SSI_CORE_CMD_HOLD);
		return ask(SSI_CORE_CMD_RELEASE);
	});
	EXPECT_EQ(ask(SSI_CORE_CMD_DISCARD), 0);
}

// ---- all at once ---------------------------------------------------------------------------------------
TEST_F(Stress, EverythingAtOnce)
{
	std::atomic<bool> over{false};
	std::vector<std::thread> all;
	auto until_over = [&](auto fn) {
		all.emplace_back([&over, fn] {
			for (uint32_t i = 0; !over; i++)
				fn(i);
		});
	};

	until_over([&](uint32_t i) {
		send_frame(sock, (int)if_nametoindex("q2"),
			   {.to = {.port = (uint16_t)(80 + i % 5)}, .seq = i, .syn = !(i % 3)});
	});
	for (uint8_t cmd : {SSI_CORE_CMD_HOLD, SSI_CORE_CMD_RELEASE, SSI_CORE_CMD_DISCARD, SSI_CORE_CMD_GET})
		until_over([cmd, this](uint32_t i) {
			static thread_local Netlink nl(NETLINK_GENERIC);
			char buf[256];
			nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
			nlh->nlmsg_type = family;
			nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK |
					   (cmd == SSI_CORE_CMD_GET && i % 2 ? NLM_F_DUMP : 0);
			genlmsghdr *g = (genlmsghdr *)mnl_nlmsg_put_extra_header(nlh, sizeof(*g));
			g->cmd = cmd;
			g->version = SSI_CORE_VERSION;
			mnl_attr_put_u32(nlh, SSI_CORE_A_IFINDEX, if_nametoindex("q2"));
			mnl_attr_put_u32(nlh, SSI_CORE_A_ADDR4, inet_addr(VIP4));
			mnl_attr_put_u8(nlh, SSI_CORE_A_PROTO, IPPROTO_TCP);
			mnl_attr_put_u16(nlh, SSI_CORE_A_PORT, (uint16_t)(80 + i % 5));
			nl.talk(nlh, nlh->nlmsg_len);
			nl.drain();
		});
	int made = 0;
	for (auto end = Clock::now() + std::chrono::seconds(seconds()); Clock::now() < end;) {
		made += !link_change(route, RTM_NEWLINK, "q2");
		usleep(300000);
		link_change(route, RTM_DELLINK, "q2");
	}
	over = true;
	for (auto &t : all)
		t.join();
	printf("%d devices\n", made);
	EXPECT_GT(made, 1);
}
