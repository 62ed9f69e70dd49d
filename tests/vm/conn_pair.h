// SPDX-License-Identifier: GPL-2.0
// A TCP connection whose server's end another process holds, stopped: it can be moved, and is used from here.
#pragma once

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

enum { TCP_ESTABLISHED = 1, TCP_FIN_WAIT1 = 4, TCP_FIN_WAIT2 = 5, TCP_CLOSE_WAIT = 8, TCP_LAST_ACK = 9 };
#ifndef IPTOS_LOWDELAY
#define IPTOS_LOWDELAY 0x10
#endif

static inline void wait_for(const std::function<bool()> &is)
{
	for (int i = 0; i < 3000 && !is(); i++)
		poll(nullptr, 0, 10);
	ASSERT_TRUE(is());
}

static inline int int_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	EXPECT_EQ(getsockopt(fd, level, name, &value, &len), 0) << level << ":" << name;
	return value;
}

static inline int int_ioctl(int fd, unsigned long request)
{
	int value = -1;

	EXPECT_EQ(ioctl(fd, request, &value), 0);
	return value;
}

static inline tcp_info info(int fd)
{
	tcp_info i = {};
	socklen_t len = sizeof(i);

	EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len), 0);
	return i;
}

static inline int state(int fd)
{
	return info(fd).tcpi_state;
}

static inline int fresh(int family)
{
	return socket(family, SOCK_STREAM, 0);
}

static inline int listener(int family, const char *addr)
{
	sockaddr_in6 in6 = {};
	sockaddr_in in = {};
	int fd = fresh(family);

	in.sin_family = AF_INET;
	in6.sin6_family = AF_INET6;
	inet_pton(AF_INET, addr, &in.sin_addr);
	inet_pton(AF_INET6, addr, &in6.sin6_addr);
	EXPECT_EQ(bind(fd, family == AF_INET ? (sockaddr *)&in : (sockaddr *)&in6,
		       family == AF_INET ? sizeof(in) : sizeof(in6)),
		  0)
		<< strerror(errno);
	EXPECT_EQ(listen(fd, 1000), 0);
	return fd;
}

static inline int connect_to(int l)
{
	sockaddr_storage to = {};
	socklen_t len = sizeof(to);
	int fd;

	EXPECT_EQ(getsockname(l, (sockaddr *)&to, &len), 0);
	fd = fresh(to.ss_family);
	EXPECT_EQ(connect(fd, (sockaddr *)&to, len), 0) << strerror(errno);
	return fd;
}

// A process that has nothing but these sockets, from fd 200 on.
struct Holder {
	enum { FIRST = 200 };
	pid_t pid = 0;
	int pidfd = -1;
	std::vector<int> here; // the same, for the test; index as in hold()

	void hold(const std::vector<int> &fds, bool close_them)
	{
		int ready[2];
		char c;

		ASSERT_EQ(pipe(ready), 0);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			std::vector<int> high;
			for (int fd : fds)
				high.push_back(fd < 0 ? -1 : fcntl(fd, F_DUPFD, 700));
			dup2(ready[1], 199);
			close_range(FIRST, 699, 0);
			for (size_t i = 0; i < fds.size(); i++)
				if (high[i] >= 0)
					dup2(high[i], FIRST + (int)i);
			close_range(0, 198, 0);
			close_range(FIRST + (unsigned int)fds.size(), ~0U, 0);
			if (write(199, "r", 1) == 1)
				close(199);
			for (;;)
				pause();
		}
		close(ready[1]);
		ASSERT_EQ(read(ready[0], &c, 1), 1);
		close(ready[0]);
		for (int fd : fds)
			if (fd >= 0 && close_them)
				close(fd);
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		ASSERT_GE(pidfd, 0);
		here.assign(fds.size(), -1);
	}
	void hold(int fd)
	{
		hold(std::vector<int>{fd}, true);
	}
	int fd(size_t i = 0)
	{
		if (here.at(i) < 0)
			here[i] = (int)syscall(SYS_pidfd_getfd, pidfd, FIRST + (int)i, 0);
		EXPECT_GE(here[i], 0) << strerror(errno);
		return here[i];
	}
	// Nothing of it is left.
	void end()
	{
		for (int fd : here)
			if (fd >= 0)
				close(fd);
		here.clear();
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, nullptr, 0);
			close(pidfd);
		}
		pid = 0;
	}
	~Holder()
	{
		end();
	}
};

struct Pair {
	int client = -1, family;
	Holder server;

	explicit Pair(int f = AF_INET, const char *addr = "127.0.0.1") : family(f)
	{
		int l = listener(f, addr);

		client = connect_to(l);
		server.hold(accept(l, nullptr, nullptr));
		close(l);
	}
	~Pair()
	{
		if (client >= 0)
			close(client);
	}
};

static inline std::string bytes(size_t n, unsigned int seed)
{
	std::string s(n, 0);

	for (char &c : s)
		c = (char)((seed = seed * 1103515245 + 12345) >> 16);
	return s;
}

static inline size_t write_all(int fd, const std::string &s)
{
	size_t done = 0;

	while (done < s.size()) {
		ssize_t n = send(fd, s.data() + done, s.size() - done, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static inline std::string read_some(int fd, size_t n)
{
	timeval limit = {60, 0};
	std::string s(n, 0);
	size_t done = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (done < n) {
		ssize_t k = read(fd, s.data() + done, n - done);

		if (k <= 0) {
			ADD_FAILURE() << "read: " << (k ? strerror(errno) : "end") << " after " << done
				      << " of " << n;
			break;
		}
		done += (size_t)k;
	}
	s.resize(done);
	return s;
}

// What comes for this socket is dropped.
static inline void deaf(int fd, bool on)
{
	sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	sock_fprog prog = {.len = 1, .filter = code};
	int none = 0;

	if (on)
		ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)), 0);
	else
		setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
}

static inline void exchange(Pair &p, size_t n)
{
	const std::string in = bytes(n, 11), out = bytes(n, 12);
	pid_t writer = fork();

	if (!writer)
		_exit(write_all(p.client, in) == n ? 0 : 1);
	EXPECT_EQ(read_some(p.server.fd(), n), in);
	waitpid(writer, nullptr, 0);
	writer = fork();
	if (!writer)
		_exit(write_all(p.server.fd(), out) == n ? 0 : 1);
	EXPECT_EQ(read_some(p.client, n), out);
	waitpid(writer, nullptr, 0);
}

// Both ends are closed in turn: "" when each reads the other's end and no reset.
static inline std::string ends_well(Pair &p)
{
	timeval limit = {60, 0};
	char c;

	shutdown(p.server.fd(), SHUT_WR);
	setsockopt(p.client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (read(p.client, &c, 1) != 0)
		return std::string("the client: ") + strerror(errno);
	shutdown(p.client, SHUT_WR);
	setsockopt(p.server.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (read(p.server.fd(), &c, 1) != 0)
		return std::string("the server: ") + strerror(errno);
	return "";
}
