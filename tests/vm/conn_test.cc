// SPDX-License-Identifier: GPL-2.0
// TCP connections through a file: exported from one process, imported into a fresh socket of another, in every state
// and with all that waits in them. Needs root and the module; conn.sh runs it in a guest without netd.
#include <gtest/gtest.h>

#include <linux/filter.h>
#include <linux/genetlink.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/vm/conn_pair.h"

extern "C" {
#include "ssi/conn.h"
#include "ssi/core.h"
#include "userland/lib/genl.h"
}

static int count_cb(const nlmsghdr *nlh, void *arg)
{
	return mnl_attr_parse(
		nlh, sizeof(genlmsghdr),
		[](const nlattr *a, void *to) {
			if (mnl_attr_get_type(a) == SSI_CORE_A_COUNT ||
			    mnl_attr_get_type(a) == SSI_CORE_A_FORMAT)
				*(int *)to = (int)mnl_attr_get_u32(a);
			return MNL_CB_OK;
		},
		arg);
}

struct Conn : ::testing::Test {
	struct genl *genl = nullptr;
	int file = -1;

	void SetUp() override
	{
		ASSERT_EQ(genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &genl), 0) << "no module ssi_core";
		file = memfd_create("connections", MFD_CLOEXEC);
		ASSERT_GE(file, 0);
	}
	void TearDown() override
	{
		close(file);
		genl_close(genl);
	}
	// How many connections, or the error.
	int ask(uint8_t cmd, const std::vector<ssi_conn_task> &tasks, int fd = -1, uint32_t advance = 0,
		bool only_try = false)
	{
		nlmsghdr *nlh = genl_message(genl, cmd, 0);
		int count = -1, err;

		mnl_attr_put(nlh, SSI_CORE_A_TASKS, tasks.size() * sizeof(tasks[0]), tasks.data());
		if (fd >= 0)
			mnl_attr_put_u32(nlh, SSI_CORE_A_FD, (uint32_t)fd);
		if (advance)
			mnl_attr_put_u32(nlh, SSI_CORE_A_ADVANCE, advance);
		if (only_try)
			mnl_attr_put(nlh, SSI_CORE_A_TRY, 0, nullptr);
		err = genl_talk(genl, nlh, count_cb, &count);
		return err ?: count;
	}
	int export_of(const Holder &h)
	{
		return ask(SSI_CORE_CMD_EXPORT, {{(uint32_t)h.pid, 7}}, file);
	}
	int import_to(const Holder &h)
	{
		return ask(SSI_CORE_CMD_IMPORT, {{(uint32_t)h.pid, 7}}, file);
	}
	int run(const Holder &h, uint32_t advance = 0)
	{
		return ask(SSI_CORE_CMD_RUN, {{(uint32_t)h.pid, 7}}, -1, advance);
	}
	int would_export(const Holder &h)
	{
		return ask(SSI_CORE_CMD_EXPORT, {{(uint32_t)h.pid, 7}}, -1, 0, true);
	}
	// From its process to another, in which it goes on.
	void move(Pair &p)
	{
		ASSERT_EQ(export_of(p.server), 1) << genl_why(genl);
		p.server.end();
		p.server.hold(fresh(p.family));
		ASSERT_EQ(import_to(p.server), 1) << genl_why(genl);
		ASSERT_EQ(run(p.server), 1) << genl_why(genl);
	}
	std::string image()
	{
		std::string all(lseek(file, 0, SEEK_END), 0);

		EXPECT_EQ(pread(file, all.data(), all.size(), 0), (ssize_t)all.size());
		return all;
	}
	void set_image(const std::string &all)
	{
		ASSERT_EQ(ftruncate(file, 0), 0);
		ASSERT_EQ(pwrite(file, all.data(), all.size(), 0), (ssize_t)all.size());
	}
};

static std::string why(struct genl *g)
{
	return genl_why(g);
}

// ---- bytes ---------------------------------------------------------------------------------------
static const struct Family {
	const char *name, *addr;
	int family;
} families[] = {
	{"v4", "127.0.0.1", AF_INET}, {"v6", "::1", AF_INET6}, {"mapped", "::ffff:127.0.0.1", AF_INET6}};

struct ConnOf : Conn, ::testing::WithParamInterface<Family> {};

TEST_P(ConnOf, BytesGoBothWays)
{
	Pair p(GetParam().family, GetParam().addr);

	exchange(p, 3000);
	move(p);
	exchange(p, 300000);
	EXPECT_EQ(ends_well(p), "");
}

TEST_P(ConnOf, WhatWaitsComes)
{
	Pair p(GetParam().family, GetParam().addr);
	const std::string in = bytes(70001, 1), out = bytes(400003, 2);

	ASSERT_EQ(write_all(p.client, in), in.size());
	wait_for([&] { return int_ioctl(p.server.fd(), SIOCINQ) == (int)in.size(); });
	deaf(p.client, true);
	int sndbuf = 1 << 20;
	setsockopt(p.server.fd(), SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf));
	ASSERT_EQ(write_all(p.server.fd(), out), out.size());
	int waiting = int_ioctl(p.server.fd(), SIOCOUTQ), unsent = int_ioctl(p.server.fd(), SIOCOUTQNSD);
	EXPECT_EQ(waiting, (int)out.size());
	EXPECT_GT(unsent, 0);
	EXPECT_LT(unsent, waiting);
	move(p);
	EXPECT_EQ(int_ioctl(p.server.fd(), SIOCINQ), (int)in.size());
	EXPECT_EQ(int_ioctl(p.server.fd(), SIOCOUTQ), waiting);
	deaf(p.client, false);
	EXPECT_EQ(read_some(p.server.fd(), in.size()), in);
	EXPECT_EQ(read_some(p.client, out.size()), out);
	exchange(p, 1000);
	EXPECT_EQ(ends_well(p), "");
}

INSTANTIATE_TEST_SUITE_P(Families, ConnOf, ::testing::ValuesIn(families),
			 [](const auto &i) { return i.param.name; });

// What is unsent leaves by RUN, and not before.
TEST_F(Conn, IsSilentUntilItRuns)
{
	Pair p;
	const std::string out = bytes(200000, 3);

	deaf(p.client, true);
	ASSERT_EQ(write_all(p.server.fd(), out), out.size());
	int unsent = int_ioctl(p.server.fd(), SIOCOUTQNSD);
	ASSERT_GT(unsent, 0);
	ASSERT_EQ(export_of(p.server), 1);
	p.server.end();
	p.server.hold(fresh(AF_INET));
	ASSERT_EQ(import_to(p.server), 1) << genl_why(genl);
	EXPECT_EQ(int_ioctl(p.server.fd(), SIOCOUTQNSD), unsent);
	deaf(p.client, false);
	ASSERT_EQ(run(p.server), 1);
	EXPECT_EQ(run(p.server), 0) << "it ran already";
	EXPECT_EQ(read_some(p.client, out.size()), out);
	EXPECT_EQ(ends_well(p), "");
}

TEST_F(Conn, GoesOnWhereItWas)
{
	Pair p;

	exchange(p, 1000);
	ASSERT_EQ(export_of(p.server), 1);
	EXPECT_EQ(export_of(p.server), -EOPNOTSUPP);
	EXPECT_NE(why(genl).find("is in repair mode already"), std::string::npos) << genl_why(genl);
	ASSERT_EQ(run(p.server), 1);
	exchange(p, 1000);
	EXPECT_EQ(ends_well(p), "");
}

TEST_F(Conn, TryTouchesNothing)
{
	Pair p;

	EXPECT_EQ(would_export(p.server), 1) << genl_why(genl);
	EXPECT_EQ(run(p.server), 0) << "it was made silent";
	exchange(p, 1000);
	ASSERT_EQ(send(p.client, "!", 1, MSG_OOB), 1);
	wait_for([&] { return would_export(p.server) == -EOPNOTSUPP; });
	EXPECT_NE(why(genl).find("has urgent data"), std::string::npos) << genl_why(genl);
}

// The other copy may have sent since; a peer takes nothing that is older.
TEST_F(Conn, ClocksCanBeAhead)
{
	const uint32_t ahead = 1000000;
	Pair p;

	exchange(p, 1000);
	uint32_t before = (uint32_t)int_option(p.server.fd(), IPPROTO_TCP, TCP_TIMESTAMP);
	ASSERT_EQ(export_of(p.server), 1);
	p.server.end();
	p.server.hold(fresh(AF_INET));
	ASSERT_EQ(import_to(p.server), 1) << genl_why(genl);
	ASSERT_EQ(run(p.server, ahead), 1);
	uint32_t after = (uint32_t)int_option(p.server.fd(), IPPROTO_TCP, TCP_TIMESTAMP);
	EXPECT_GE(after - before, ahead);
	EXPECT_LT(after - before, ahead + 300000) << "seconds of this test";
	exchange(p, 1000);
	EXPECT_EQ(ends_well(p), "");
}

// ---- states ----------------------------------------------------------------------------------------
struct Half {
	const char *name;
	int state;
	bool client_shuts, server_shuts, unacked;
	size_t out;
};

static const Half halves[] = {
	{"CloseWait", TCP_CLOSE_WAIT, true, false, false, 0},
	{"FinWait2", TCP_FIN_WAIT2, false, true, false, 0},
	{"FinWait1", TCP_FIN_WAIT1, false, true, true, 0},
	{"FinWait1Data", TCP_FIN_WAIT1, false, true, true, 5000},
	{"FinWait1Unsent", TCP_FIN_WAIT1, false, true, true, 200000},
	{"LastAck", TCP_LAST_ACK, true, true, true, 0},
	{"LastAckUnsent", TCP_LAST_ACK, true, true, true, 200000},
};

struct ConnHalf : Conn, ::testing::WithParamInterface<Half> {};

TEST_P(ConnHalf, EndsAsItWouldHave)
{
	const Half &h = GetParam();
	const std::string in = bytes(5000, 4), out = bytes(h.out, 5);
	Pair p;

	ASSERT_EQ(write_all(p.client, in), in.size());
	if (h.client_shuts) {
		shutdown(p.client, SHUT_WR);
		wait_for([&] { return state(p.server.fd()) == TCP_CLOSE_WAIT; });
	}
	wait_for([&] { return int_ioctl(p.server.fd(), SIOCINQ) == (int)in.size(); });
	deaf(p.client, h.unacked);
	ASSERT_EQ(write_all(p.server.fd(), out), out.size());
	if (h.server_shuts)
		shutdown(p.server.fd(), SHUT_WR);
	wait_for([&] { return state(p.server.fd()) == h.state; });
	move(p);
	EXPECT_EQ(state(p.server.fd()), h.state);
	EXPECT_EQ(read_some(p.server.fd(), in.size()), in);
	deaf(p.client, false);
	EXPECT_EQ(read_some(p.client, out.size()), out);
	if (!h.client_shuts) {
		ASSERT_EQ(write_all(p.client, in), in.size());
		EXPECT_EQ(read_some(p.server.fd(), in.size()), in);
	}
	if (!h.server_shuts) {
		ASSERT_EQ(write_all(p.server.fd(), in), in.size());
		EXPECT_EQ(read_some(p.client, in.size()), in);
	}
	EXPECT_EQ(ends_well(p), "");
}

INSTANTIATE_TEST_SUITE_P(States, ConnHalf, ::testing::ValuesIn(halves),
			 [](const auto &i) { return i.param.name; });

TEST_F(Conn, AnEndThatWasReadStaysRead)
{
	Pair p;
	char c;

	shutdown(p.client, SHUT_WR);
	ASSERT_EQ(read(p.server.fd(), &c, 1), 0);
	move(p);
	EXPECT_EQ(state(p.server.fd()), TCP_CLOSE_WAIT);
	EXPECT_EQ(read(p.server.fd(), &c, 1), 0);
	EXPECT_EQ(write_all(p.server.fd(), "x"), 1u);
	EXPECT_EQ(read_some(p.client, 1), "x");
	EXPECT_EQ(ends_well(p), "");
}

// ---- what was agreed and learned ---------------------------------------------------------------------
static void same_info(const tcp_info &a, const tcp_info &b)
{
	EXPECT_EQ(a.tcpi_options, b.tcpi_options);
	EXPECT_EQ(a.tcpi_snd_wscale, b.tcpi_snd_wscale);
	EXPECT_EQ(a.tcpi_rcv_wscale, b.tcpi_rcv_wscale);
	EXPECT_EQ(a.tcpi_snd_mss, b.tcpi_snd_mss);
	EXPECT_EQ(a.tcpi_rto, b.tcpi_rto);
	EXPECT_EQ(a.tcpi_rtt, b.tcpi_rtt);
	EXPECT_EQ(a.tcpi_rttvar, b.tcpi_rttvar);
	EXPECT_EQ(a.tcpi_snd_cwnd, b.tcpi_snd_cwnd);
	EXPECT_EQ(a.tcpi_snd_ssthresh, b.tcpi_snd_ssthresh);
	EXPECT_EQ(a.tcpi_rcv_ssthresh, b.tcpi_rcv_ssthresh);
	EXPECT_EQ(a.tcpi_reordering, b.tcpi_reordering);
}

static const struct Setting {
	int level, name, value;
} settings[] = {
	{IPPROTO_TCP, TCP_NODELAY, 1},	      {IPPROTO_TCP, TCP_CORK, 1},
	{IPPROTO_TCP, TCP_KEEPIDLE, 77},      {IPPROTO_TCP, TCP_KEEPINTVL, 11},
	{IPPROTO_TCP, TCP_KEEPCNT, 5},	      {IPPROTO_TCP, TCP_USER_TIMEOUT, 123456},
	{IPPROTO_TCP, TCP_LINGER2, 33},	      {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 65536},
	{IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY}, {IPPROTO_IP, IP_TTL, 33},
	{SOL_SOCKET, SO_SNDBUF, 300000},      {SOL_SOCKET, SO_RCVBUF, 150000},
};

TEST_F(Conn, KeepsWhatItKnows)
{
	std::vector<int> values;
	char ca[16] = "", ca_after[16] = "";
	socklen_t len = sizeof(ca);
	Pair p;

	exchange(p, 500000);
	for (const Setting &s : settings)
		ASSERT_EQ(setsockopt(p.server.fd(), s.level, s.name, &s.value, sizeof(s.value)), 0) << s.name;
	setsockopt(p.server.fd(), IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	for (const Setting &s : settings)
		values.push_back(int_option(p.server.fd(), s.level, s.name));
	getsockopt(p.server.fd(), IPPROTO_TCP, TCP_CONGESTION, ca, &len);
	tcp_info before = info(p.server.fd());
	uint32_t clock = (uint32_t)int_option(p.server.fd(), IPPROTO_TCP, TCP_TIMESTAMP);
	move(p);
	tcp_info after = info(p.server.fd());
	same_info(before, after);
	for (size_t i = 0; i < values.size(); i++)
		EXPECT_EQ(int_option(p.server.fd(), settings[i].level, settings[i].name), values[i])
			<< settings[i].level << ":" << settings[i].name;
	len = sizeof(ca_after);
	getsockopt(p.server.fd(), IPPROTO_TCP, TCP_CONGESTION, ca_after, &len);
	EXPECT_STREQ(ca_after, ca);
	EXPECT_LT((uint32_t)int_option(p.server.fd(), IPPROTO_TCP, TCP_TIMESTAMP) - clock, 60000u);
	exchange(p, 100000);
	EXPECT_EQ(ends_well(p), "");
}

struct Other {
	int family, level, name, value;
};

// Each that is carried besides the file; those that a kernel does not have are left out.
static const Other others[] = {
	{AF_INET, SOL_SOCKET, 29, 1},
	{AF_INET, SOL_SOCKET, 35, 1},
	{AF_INET, SOL_SOCKET, 37, 8},
	{AF_INET, SOL_SOCKET, 42, 0},
	{AF_INET, SOL_SOCKET, 45, 1},
	{AF_INET, SOL_SOCKET, 46, 50},
	{AF_INET, SOL_SOCKET, 47, 1000000},
	{AF_INET, SOL_SOCKET, 60, 1},
	{AF_INET, SOL_SOCKET, 63, 1},
	{AF_INET, SOL_SOCKET, 64, 1},
	{AF_INET, SOL_SOCKET, 69, 1},
	{AF_INET, SOL_SOCKET, 70, 8},
	{AF_INET, SOL_SOCKET, 73, 65536},
	{AF_INET, SOL_SOCKET, 74, 0},
	{AF_INET, SOL_SOCKET, 82, 1},
	{AF_INET, IPPROTO_TCP, 7, 5},
	{AF_INET, IPPROTO_TCP, 16, 1},
	{AF_INET, IPPROTO_TCP, 36, 1},
	{AF_INET, IPPROTO_TCP, 37, 1000},
	{AF_INET, IPPROTO_TCP, 44, 5000},
	{AF_INET, IPPROTO_TCP, 45, 5000},
	{AF_INET, IPPROTO_TCP, 46, 5000},
	{AF_INET, IPPROTO_IP, 10, 2},
	{AF_INET, IPPROTO_IP, 11, 1},
	{AF_INET, IPPROTO_IP, 12, 1},
	{AF_INET, IPPROTO_IP, 13, 1},
	{AF_INET, IPPROTO_IP, 21, 1},
	{AF_INET, IPPROTO_IP, 24, 1},
	{AF_INET, IPPROTO_IP, 51, 20000 << 16 | 10000},
	{AF_INET6, IPPROTO_IP, 1, 0x28},
	{AF_INET6, IPPROTO_IP, 2, 44},
	{AF_INET6, IPPROTO_IPV6, 23, 2},
	{AF_INET6, IPPROTO_IPV6, 25, 1},
	{AF_INET6, IPPROTO_IPV6, 33, 1},
	{AF_INET6, IPPROTO_IPV6, 51, 1},
	{AF_INET6, IPPROTO_IPV6, 62, 1},
	{AF_INET6, IPPROTO_IPV6, 66, 1},
	{AF_INET6, IPPROTO_IPV6, 70, 0},
	{AF_INET6, IPPROTO_IPV6, 72, 1},
	{AF_INET6, IPPROTO_IPV6, 73, 1},
};

static unsigned int settings_flags(const std::string &image)
{
	const char *at = image.data() + sizeof(ssi_conn_head) + sizeof(ssi_conn_part);

	for (;;) {
		auto *part = (const ssi_conn_part *)at;

		if (part->type == SSI_CONN_SETTINGS)
			return ((const ssi_conn_settings *)(part + 1))->flags;
		at += sizeof(*part) + ((part->len + 7) & ~7U);
	}
}

// What is not marked is asked for each option, what is marked is not: a mark must not be wrong.
TEST_F(Conn, PlainIsWhatHasNoOtherOption)
{
	for (const char *addr : {"127.0.0.1", "::1"}) {
		Pair p(strchr(addr, ':') ? AF_INET6 : AF_INET, addr);

		ASSERT_EQ(export_of(p.server), 1) << genl_why(genl);
		EXPECT_TRUE(settings_flags(image()) & SSI_CONN_PLAIN) << addr;
	}
	for (const Other &s : others) {
		Pair p(s.family, s.family == AF_INET6 ? "::1" : "127.0.0.1");

		if (setsockopt(p.server.fd(), s.level, s.name, &s.value, sizeof(s.value)) < 0)
			continue;
		ASSERT_EQ(ftruncate(file, 0), 0);
		ASSERT_EQ(export_of(p.server), 1) << genl_why(genl);
		EXPECT_FALSE(settings_flags(image()) & SSI_CONN_PLAIN) << s.level << ":" << s.name;
	}
}

TEST_F(Conn, WithoutOptions)
{
	const char *off = "echo 0 >/proc/sys/net/ipv4/tcp_%s", *on = "echo 1 >/proc/sys/net/ipv4/tcp_%s";
	const char *names[] = {"timestamps", "sack", "window_scaling"};
	char cmd[100];

	for (const char *name : names) {
		snprintf(cmd, sizeof(cmd), off, name);
		ASSERT_EQ(system(cmd), 0);
	}
	Pair p;
	for (const char *name : names) {
		snprintf(cmd, sizeof(cmd), on, name);
		ASSERT_EQ(system(cmd), 0);
	}
	exchange(p, 100000);
	tcp_info before = info(p.server.fd());
	EXPECT_EQ(before.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE), 0);
	move(p);
	same_info(before, info(p.server.fd()));
	exchange(p, 300000);
	EXPECT_EQ(ends_well(p), "");
}

// ---- many ------------------------------------------------------------------------------------------
TEST_F(Conn, AllOfAProcessEachOnce)
{
	const int n = 300;
	std::vector<int> clients, servers, sockets;
	int l = listener(AF_INET, "127.0.0.1");

	for (int i = 0; i < n; i++) {
		clients.push_back(connect_to(l));
		servers.push_back(accept(l, nullptr, nullptr));
		ASSERT_GE(servers.back(), 0);
	}
	servers.push_back(dup(servers[0])); // two fds of one socket
	servers.push_back(l);
	Holder h, other;
	h.hold(servers, false);
	other.hold(servers, true); // and two processes
	ASSERT_EQ(ask(SSI_CORE_CMD_EXPORT, {{(uint32_t)h.pid, 1}, {(uint32_t)other.pid, 2}}, file), n)
		<< genl_why(genl);
	h.end();
	other.end();
	for (int i = 0; i < n; i++)
		sockets.push_back(fresh(AF_INET));
	sockets.push_back(dup(sockets[0]));
	h.hold(sockets, false);
	other.hold(sockets, true);
	ASSERT_EQ(ask(SSI_CORE_CMD_IMPORT, {{(uint32_t)h.pid, 1}, {(uint32_t)other.pid, 2}}, file), n)
		<< genl_why(genl);
	ASSERT_EQ(ask(SSI_CORE_CMD_RUN, {{(uint32_t)h.pid, 1}, {(uint32_t)other.pid, 2}}), n);
	for (int i = 0; i < n; i++) {
		char c = (char)i;

		ASSERT_EQ(write(h.fd(i), &c, 1), 1);
		ASSERT_EQ(read(clients[i], &c, 1), 1);
		ASSERT_EQ(c, (char)i);
		close(clients[i]);
	}
}

// ---- refusals ----------------------------------------------------------------------------------------
TEST_F(Conn, RefusesWithAReason)
{
	Pair p;
	auto refused = [&](int got, int err, const char *text) {
		EXPECT_EQ(got, err) << text;
		EXPECT_NE(why(genl).find(text), std::string::npos) << text << ": " << genl_why(genl);
	};
	std::vector<ssi_conn_task> nobody = {{0x3fffffff, 1}}, server = {{(uint32_t)p.server.pid, 7}};
	int pipes[2];

	ASSERT_EQ(pipe(pipes), 0);
	refused(ask(SSI_CORE_CMD_EXPORT, nobody, file), -ESRCH, "there is no process");
	refused(ask(SSI_CORE_CMD_EXPORT, server), -EINVAL, "FD is missing");
	refused(ask(SSI_CORE_CMD_EXPORT, server, 999), -EBADF, "FD is not open");
	refused(ask(SSI_CORE_CMD_EXPORT, server, pipes[1]), -EINVAL, "regular file");
	refused(ask(SSI_CORE_CMD_EXPORT, {}, file), -EINVAL, "TASKS is missing");
	refused(ask(SSI_CORE_CMD_IMPORT, server, file), -EINVAL, "damaged");
	ASSERT_EQ(export_of(p.server), 1);
	refused(ask(SSI_CORE_CMD_IMPORT, server, file), -EISCONN, "has a connection");
	p.server.end();
	p.server.hold(fresh(AF_INET6));
	refused(import_to(p.server), -EISCONN, "another family");
	p.server.end();
	p.server.hold(-1);
	refused(import_to(p.server), -ENOENT, "there is no TCP socket");
	p.server.end();
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(Conn, UrgentDataIsRefused)
{
	Pair p;

	ASSERT_EQ(send(p.client, "x", 1, MSG_OOB), 1);
	wait_for([&] { return export_of(p.server) == -EOPNOTSUPP; });
	EXPECT_NE(why(genl).find("urgent"), std::string::npos) << genl_why(genl);
	exchange(p, 10);
}

TEST_F(Conn, OnlyForAdministrators)
{
	Pair p;
	pid_t pid = fork();
	int status = 0;

	ASSERT_GE(pid, 0);
	if (!pid) {
		if (setuid(65534))
			_exit(3);
		_exit(export_of(p.server) == -EPERM ? 0 : 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	exchange(p, 10);
}

// ---- the file ----------------------------------------------------------------------------------------
static void put_part(std::string &to, uint16_t type, uint16_t flags, const std::string &data)
{
	ssi_conn_part part = {type, flags, (uint32_t)data.size()};

	to.append((const char *)&part, sizeof(part));
	to.append(data);
	to.append((8 - data.size() % 8) % 8, 0);
}

TEST_F(Conn, FilesOfOthersAreRead)
{
	int format = 0;
	Pair p;

	ASSERT_EQ(genl_talk(genl, genl_message(genl, SSI_CORE_CMD_FORMAT, 0), count_cb, &format), 0);
	EXPECT_EQ(format, SSI_CONN_FORMAT);
	ASSERT_EQ(export_of(p.server), 1);
	p.server.end();
	p.server.hold(fresh(AF_INET));
	const std::string all = image(), head = all.substr(0, sizeof(ssi_conn_head));
	std::string rest = all.substr(head.size()), file_of_others = head;
	put_part(file_of_others, 1000, SSI_CONN_NEEDED, "of tomorrow");
	set_image(file_of_others + rest);
	EXPECT_EQ(import_to(p.server), -EPROTONOSUPPORT);
	EXPECT_NE(why(genl).find("another format"), std::string::npos) << genl_why(genl);
	set_image(all.substr(0, 4) + std::string("\2\0\0\0", 4) + rest);
	EXPECT_EQ(import_to(p.server), -EPROTONOSUPPORT);
	for (size_t cut : {all.size() / 2, head.size() + 4, head.size(), (size_t)3}) {
		set_image(all.substr(0, cut));
		EXPECT_EQ(import_to(p.server), -EINVAL) << cut;
	}
	file_of_others = head;
	put_part(file_of_others, 1000, 0, "of tomorrow");
	// A connection with a part more, and one that is longer.
	ssi_conn_part part;
	memcpy(&part, rest.data(), sizeof(part));
	std::string inside = rest.substr(sizeof(part), part.len), longer;
	for (size_t at = 0; at < inside.size();) {
		ssi_conn_part one;

		memcpy(&one, inside.data() + at, sizeof(one));
		std::string data = inside.substr(at + sizeof(one), one.len);
		if (one.type == SSI_CONN_OPTIONS)
			data += "and sixteen more";
		put_part(longer, one.type, one.flags, data);
		at += sizeof(one) + (one.len + 7) / 8 * 8;
	}
	put_part(longer, 999, 0, "more");
	put_part(file_of_others, SSI_CONN_CONNECTION, 0, longer);
	set_image(file_of_others + rest.substr(sizeof(part) + part.len));
	ASSERT_EQ(import_to(p.server), 1) << genl_why(genl);
	ASSERT_EQ(run(p.server), 1);
	exchange(p, 1000);
}

// Whatever stands in the file: an error or a connection, and never anything else. What is made runs and is closed.
TEST_F(Conn, DamagedFiles)
{
	unsigned int seed = getenv("CONN_SEED") ? (unsigned int)atoi(getenv("CONN_SEED"))
						: (unsigned int)getpid();
	int rounds = getenv("CONN_ROUNDS") ? atoi(getenv("CONN_ROUNDS")) : 200, made = 0;
	std::mt19937 random(seed);
	Pair p;

	printf("CONN_SEED=%u\n", seed);
	ASSERT_EQ(write_all(p.client, bytes(3000, 8)), 3000u);
	deaf(p.client, true);
	ASSERT_EQ(write_all(p.server.fd(), bytes(100000, 9)), 100000u);
	if (seed % 2)
		shutdown(p.server.fd(), SHUT_WR);
	ASSERT_EQ(export_of(p.server), 1);
	p.server.end();
	const std::string all = image();
	for (int i = 0; i < rounds; i++) {
		std::string bad = all;
		size_t early = std::min<size_t>(bad.size(), 600);
		int n = 1 + random() % 4;

		while (n--) {
			size_t at = random() % (random() % 4 ? early : bad.size());

			if (random() % 2)
				bad[at] ^= (char)(1 << random() % 8);
			else
				bad[at] = "\0\xff\x7f\x01"[random() % 4];
		}
		if (random() % 16 == 0)
			bad.resize(random() % bad.size());
		set_image(bad);
		p.server.hold(std::vector<int>{fresh(AF_INET)}, true);
		int ret = import_to(p.server);
		ASSERT_TRUE(ret < 0 || ret <= 1) << ret;
		if (ret == 1) {
			made++;
			EXPECT_EQ(random() % 2 ? run(p.server) : 1, 1);
		}
		p.server.end();
	}
	printf("%d of %d were connections\n", made, rounds);
}

// ---- cost --------------------------------------------------------------------------------------------
static double now_us()
{
	timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

struct Repaired {
	sockaddr_in local, peer;
	tcp_info info;
	int seq[2], mss, tsval, queue[3], nodelay, cork;
	tcp_repair_window window;
};

// One connection by the calls that CRIU makes for it.
static void repair_out(int fd, Repaired *r)
{
	int on = 1, queue;
	socklen_t len = sizeof(r->local);

	getsockname(fd, (sockaddr *)&r->local, &len);
	getpeername(fd, (sockaddr *)&r->peer, &len);
	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
	r->info = info(fd);
	r->queue[0] = int_ioctl(fd, SIOCOUTQ);
	r->queue[1] = int_ioctl(fd, SIOCOUTQNSD);
	r->queue[2] = int_ioctl(fd, SIOCINQ);
	for (int i = 0; i < 2; i++) {
		queue = i ? TCP_SEND_QUEUE : TCP_RECV_QUEUE;
		setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue));
		r->seq[i] = int_option(fd, IPPROTO_TCP, TCP_QUEUE_SEQ);
	}
	r->mss = int_option(fd, IPPROTO_TCP, TCP_MAXSEG);
	r->tsval = int_option(fd, IPPROTO_TCP, TCP_TIMESTAMP);
	len = sizeof(r->window);
	getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &r->window, &len);
	r->nodelay = int_option(fd, IPPROTO_TCP, TCP_NODELAY);
	r->cork = int_option(fd, IPPROTO_TCP, TCP_CORK);
}

static void repair_in(int fd, const Repaired *r)
{
	const tcp_repair_opt options[] = {
		{4, 0},
		{3, (uint32_t)(r->info.tcpi_snd_wscale | r->info.tcpi_rcv_wscale << 16)},
		{8, 0},
		{2, (uint32_t)r->mss}};
	int on = 1, off = -1, queue;

	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
	for (int i = 0; i < 2; i++) {
		queue = i ? TCP_SEND_QUEUE : TCP_RECV_QUEUE;
		setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue));
		setsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &r->seq[i], sizeof(r->seq[i]));
	}
	EXPECT_EQ(bind(fd, (const sockaddr *)&r->local, sizeof(r->local)), 0);
	EXPECT_EQ(connect(fd, (const sockaddr *)&r->peer, sizeof(r->peer)), 0);
	EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, sizeof(options)), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_TIMESTAMP, &r->tsval, sizeof(r->tsval));
	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &r->window, sizeof(r->window));
	setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
}

// Side by side, nothing judged: who reads the output judges.
TEST_F(Conn, Cost)
{
	const int n = 250;
	std::vector<int> clients, servers, sockets;
	std::vector<Repaired> repaired(n);
	int l = listener(AF_INET, "127.0.0.1");
	double t[8];
	Holder h;

	for (int i = 0; i < n; i++) {
		clients.push_back(connect_to(l));
		servers.push_back(accept(l, nullptr, nullptr));
		sockets.push_back(fresh(AF_INET));
	}
	h.hold(servers, false);
	t[0] = now_us();
	ASSERT_EQ(export_of(h), n) << genl_why(genl);
	t[1] = now_us();
	ASSERT_EQ(run(h), n);
	h.end();
	t[2] = now_us();
	for (int i = 0; i < n; i++)
		repair_out(servers[i], &repaired[i]);
	t[3] = now_us();
	for (int i = 0; i < n; i++)
		close(servers[i]);
	t[4] = now_us();
	for (int i = 0; i < n; i++)
		repair_in(sockets[i], &repaired[i]);
	t[5] = now_us();
	for (int i = 0, on = 1; i < n; i++) {
		setsockopt(sockets[i], IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on));
		close(sockets[i]);
		sockets[i] = fresh(AF_INET);
	}
	h.hold(sockets, true);
	t[6] = now_us();
	ASSERT_EQ(import_to(h), n) << genl_why(genl);
	ASSERT_EQ(run(h), n);
	t[7] = now_us();
	printf("per connection: export %.1f us, by calls %.1f us, %.1fx; import %.1f us, by calls %.1f us, "
	       "%.1fx\n",
	       (t[1] - t[0]) / n, (t[3] - t[2]) / n, (t[3] - t[2]) / (t[1] - t[0]), (t[7] - t[6]) / n,
	       (t[5] - t[4]) / n, (t[5] - t[4]) / (t[7] - t[6]));
	for (int i = 0; i < n; i++) {
		char c = 'x';

		ASSERT_EQ(write(clients[i], &c, 1), 1);
		ASSERT_EQ(read(h.fd(i), &c, 1), 1);
		close(clients[i]);
	}
	close(l);
}
