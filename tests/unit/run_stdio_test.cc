/* SPDX-License-Identifier: GPL-2.0 */
/* The stream of stdio between two supervisors, each in a process of its own. */
#include <cerrno>
#include <cstring>
#include <endian.h>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <poll.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include "userland/lib/keeper.h"
#include "userland/run/loop.h"
#include "userland/run/stdio.h"
}

static int lost_count, got_signal;

static void on_lost(void)
{
	lost_count++;
	loop_quit(1);
}

static void on_exited(int status)
{
	loop_quit(WEXITSTATUS(status));
}

static void on_signal(int sig)
{
	got_signal = sig;
}

static void on_notify(const char *, size_t)
{
}

static const struct stdio_events events = {on_lost, on_exited, on_signal, on_notify};

static void prepare(void *)
{
	stdio_prepare();
}

/* Runs in a child, so that each scenario has fresh state. Its exit status. */
static int in_child(std::function<int()> fn)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		alarm(20);
		_exit(fn());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static std::string frame(uint8_t kind, const std::string &payload)
{
	uint32_t be = htobe32((uint32_t)payload.size());

	return std::string((char *)&be, 4) + (char)kind + payload;
}

static std::string have(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t be[3] = {htobe64(a), htobe64(b), htobe64(c)};

	return frame(KEEPER_FRAME_HAVE, std::string((char *)be, sizeof(be)));
}

/* A keeper (user elsewhere) that gets these bytes; the loop ends when the stream is given up. */
static int keeper_gets(const std::string &bytes)
{
	return in_child([&] {
		int fds[2], child[3];

		socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
		stdio_init(STDIO_AWAY, &events);
		if (stdio_pipes(getuid(), getgid(), child) < 0)
			return 99;
		loop_prepare(prepare, nullptr);
		stdio_stream_user(fds[0]);
		if (write(fds[1], bytes.data(), bytes.size()) != (ssize_t)bytes.size())
			return 98;
		shutdown(fds[1], SHUT_WR);
		loop_run();
		return lost_count * 10 + got_signal;
	});
}

TEST(RunStdio, GivesUpWhatIsNoStream)
{
	EXPECT_EQ(10, keeper_gets(""));
	EXPECT_EQ(10, keeper_gets(frame(KEEPER_FRAME_STDIN, "before the hello")));
	EXPECT_EQ(10, keeper_gets(have(0, 0, 0) + have(0, 0, 0)));
	EXPECT_EQ(10, keeper_gets(have(0, 5, 0)));
	EXPECT_EQ(10, keeper_gets(have(0, 0, 0) + frame(KEEPER_FRAME_STDOUT, "wrong way")));
	EXPECT_EQ(10, keeper_gets(have(0, 0, 0) + frame(KEEPER_FRAME_EXIT, "1234")));
	EXPECT_EQ(10, keeper_gets(have(0, 0, 0) + frame(KEEPER_FRAME_SIGNAL, "123")));
	EXPECT_EQ(10, keeper_gets(have(0, 0, 0) + frame(KEEPER_FRAME_ACK, std::string("\x07", 1))));
	EXPECT_EQ(10, keeper_gets(have(0, 0, 0) + frame(KEEPER_FRAME_CLOSED, "\xff")));
	EXPECT_EQ(10, keeper_gets(std::string("\xff\xff\xff\xff\0", 5)));
}

TEST(RunStdio, TakesSignals)
{
	EXPECT_EQ(15, keeper_gets(have(0, 0, 0) + frame(KEEPER_FRAME_SIGNAL, std::string("\0\0\0\x05", 4))));
}

TEST(RunStdio, SurvivesGarbage)
{
	std::mt19937 random(3);

	for (int i = 0; i < 100; i++) {
		std::string s = i % 2 ? have(0, 0, 0) : "";

		for (int f = 0; f < 5; f++) {
			std::string payload(random() % 20, '\0');

			for (auto &c : payload)
				c = (char)random();
			s += frame((uint8_t)(random() % 12), payload);
		}
		if (i % 5 == 0)
			s += std::string(random() % 30, (char)random());
		EXPECT_GE(keeper_gets(s), 10);
		EXPECT_LT(keeper_gets(s), 98);
	}
}

/* A keeper whose application wrote `text` before any stream came, and ended with status 7. */
static int finished(int fd, const std::string &text)
{
	int child[3];

	stdio_init(STDIO_AWAY, &events);
	if (stdio_pipes(getuid(), getgid(), child) < 0)
		return 99;
	if (write(child[1], text.data(), text.size()) != (ssize_t)text.size())
		return 98;
	for (int c : child)
		close(c);
	loop_prepare(prepare, nullptr);
	stdio_stream_user(fd);
	stdio_finish(7 << 8, [] { loop_quit(7); });
	return loop_run();
}

TEST(RunStdio, OutputThenStatus)
{
	std::string text(60000, 'o');
	int fds[2], out[2];
	pid_t keeper;
	int status;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	ASSERT_EQ(0, pipe(out));
	keeper = fork();
	if (keeper == 0) {
		alarm(20);
		close(fds[1]);
		_exit(finished(fds[0], text));
	}
	close(fds[0]);
	pid_t supervisor = fork();
	if (supervisor == 0) {
		alarm(20);
		dup2(out[1], 1);
		dup2(open("/dev/null", O_RDONLY), 0);
		close(out[0]);
		close(out[1]);
		stdio_init(STDIO_REAL, &events);
		loop_prepare(prepare, nullptr);
		stdio_stream_app(fds[1]);
		_exit(loop_run());
	}
	close(fds[1]);
	close(out[1]);
	std::string got;
	char buf[4096];
	ssize_t n;
	while ((n = read(out[0], buf, sizeof(buf))) > 0)
		got.append(buf, (size_t)n);
	EXPECT_TRUE(got == text) << got.size();
	waitpid(supervisor, &status, 0);
	EXPECT_EQ(7 << 8, status);
	waitpid(keeper, &status, 0);
	EXPECT_EQ(7 << 8, status);
	close(out[0]);
}
