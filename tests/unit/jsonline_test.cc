/* SPDX-License-Identifier: GPL-2.0 */
/* Lines over a socket pair: cut anywhere, too long, garbage, file descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

extern "C" {
#include "userland/lib/jsonline.h"
}

class Jsonline : public ::testing::Test {
      protected:
	struct jsonline a, b;

	void SetUp() override
	{
		int fds[2];

		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
		jsonline_init(&a, fds[0]);
		jsonline_init(&b, fds[1]);
	}
	void TearDown() override
	{
		jsonline_close(&a);
		jsonline_close(&b);
	}
	void raw(const std::string &s)
	{
		ASSERT_EQ((ssize_t)s.size(), write(a.fd, s.data(), s.size()));
	}
	/* The next object as text, "" when there is none yet, "error" otherwise. */
	std::string next()
	{
		json_t *obj = NULL;
		int r = jsonline_next(&b, &obj);
		std::string s;

		if (r < 0)
			return "error";
		if (r == 0)
			return "";
		char *text = json_dumps(obj, JSON_COMPACT);
		s = text;
		free(text);
		json_decref(obj);
		return s;
	}
};

TEST_F(Jsonline, LinesCutAnywhere)
{
	const std::string all = "{\"a\":1}\n{\"b\":[2,3]}\n{\"c\":\"\\n\"}\n";

	for (size_t cut = 1; cut < all.size(); cut++) {
		std::string got;

		raw(all.substr(0, cut));
		ASSERT_LT(0, jsonline_fill(&b));
		for (std::string s; (s = next()) != "";)
			got += s + "\n";
		raw(all.substr(cut));
		ASSERT_LT(0, jsonline_fill(&b));
		for (std::string s; (s = next()) != "";)
			got += s + "\n";
		EXPECT_EQ(all, got) << "cut at " << cut;
	}
	EXPECT_EQ(-EAGAIN, jsonline_fill(&b));
}

TEST_F(Jsonline, ByteByByte)
{
	for (char c : std::string("{\"x\":true}\n")) {
		EXPECT_EQ("", next());
		raw(std::string(1, c));
		ASSERT_EQ(1, jsonline_fill(&b));
	}
	EXPECT_EQ("{\"x\":true}", next());
	EXPECT_EQ("", next());
}

TEST_F(Jsonline, GarbageEndsIt)
{
	const std::string bad[] = {"\n",
				   "[1]\n",
				   "1\n",
				   "{\"a\":1\n",
				   "{}{}\n",
				   "\x80\xff\n",
				   "{\"a\":\"\xc3\"}\n",
				   "null\n",
				   "{\"a\":1,\"a\":2}\n",
				   std::string("{\"a\":\0}\n", 8)};

	for (const std::string &s : bad) {
		raw(s);
		ASSERT_LT(0, jsonline_fill(&b));
		EXPECT_EQ("error", next()) << s;
		EXPECT_EQ("error", next()) << "an error stays one: " << s;
		TearDown();
		SetUp();
	}
}

TEST_F(Jsonline, DeepNestingIsAnErrorNotACrash)
{
	std::thread writer([this] { raw("{\"a\":" + std::string(900000, '[') + "\n"); });
	json_t *obj;

	EXPECT_EQ(-EPROTO, jsonline_recv(&b, &obj));
	writer.join();
}

TEST_F(Jsonline, LongestLineAndOneMore)
{
	for (int more = 0; more < 2; more++) {
		/* {"s":"…"} and the newline are JSONLINE_MAX bytes, or one more */
		std::string s(JSONLINE_MAX - 9 + more, 'x');
		json_t *obj = NULL;
		std::thread writer([&] {
			std::string line = "{\"s\":\"" + s + "\"}\n{}\n";
			ssize_t done = send(a.fd, line.data(), line.size(), MSG_NOSIGNAL);
			(void)done;
		});
		int r = jsonline_recv(&b, &obj);

		if (more)
			EXPECT_EQ(-EPROTO, r);
		else {
			ASSERT_EQ(1, r);
			EXPECT_EQ(s.size(), json_string_length(json_object_get(obj, "s")));
			json_decref(obj);
			EXPECT_EQ(1, jsonline_recv(&b, &obj));
			json_decref(obj);
		}
		shutdown(b.fd, SHUT_RDWR);
		writer.join();
		TearDown();
		SetUp();
	}
}

TEST_F(Jsonline, EndlessLineIsBounded)
{
	const std::string chunk(4096, 'x');
	size_t total = 0;

	for (;;) {
		json_t *obj;

		raw(chunk);
		ssize_t got = jsonline_fill(&b);
		ASSERT_LT(0, got);
		total += got;
		int r = jsonline_next(&b, &obj);
		if (r) {
			EXPECT_EQ(-EPROTO, r);
			break;
		}
		ASSERT_LE(total, (size_t)JSONLINE_MAX);
	}
	EXPECT_LE(b.size, (size_t)2 * JSONLINE_MAX);
}

TEST_F(Jsonline, FillBeforeTakingIsBounded)
{
	ssize_t got = 0;

	do {
		raw(std::string(2047, ' ') + "\n");
		got = jsonline_fill(&b);
	} while (got > 0);
	EXPECT_EQ(-ENOBUFS, got);
	EXPECT_LE(b.size, (size_t)2 * JSONLINE_MAX);
}

TEST_F(Jsonline, SendRefusesWhatIsTooLong)
{
	json_t *obj = json_pack("{s:o}", "s", json_string(std::string(JSONLINE_MAX, 'x').c_str()));

	EXPECT_EQ(-EMSGSIZE, jsonline_send(&a, obj, NULL, 0));
	json_decref(obj);
	EXPECT_EQ(-EAGAIN, jsonline_fill(&b)) << "nothing was sent";
}

TEST_F(Jsonline, SendAndReceiveLarge)
{
	json_t *obj = json_pack("{s:o}", "s", json_string(std::string(900000, 'y').c_str()));
	json_t *got = NULL;

	fcntl(a.fd, F_SETFL, O_NONBLOCK);
	std::thread writer([&] { EXPECT_EQ(0, jsonline_send(&a, obj, NULL, 0)); });
	ASSERT_EQ(1, jsonline_recv(&b, &got));
	writer.join();
	EXPECT_TRUE(json_equal(obj, got));
	json_decref(obj);
	json_decref(got);
}

TEST_F(Jsonline, EndOfStream)
{
	json_t *obj = NULL;

	raw("{}\n");
	shutdown(a.fd, SHUT_WR);
	EXPECT_EQ(1, jsonline_recv(&b, &obj));
	json_decref(obj);
	EXPECT_EQ(0, jsonline_recv(&b, &obj));
	EXPECT_EQ(0, jsonline_fill(&b));
}

TEST_F(Jsonline, EndInsideALine)
{
	json_t *obj;

	raw("{\"a\":");
	shutdown(a.fd, SHUT_WR);
	EXPECT_EQ(-EPROTO, jsonline_recv(&b, &obj));
}

TEST_F(Jsonline, PeerGone)
{
	json_t *obj = json_object();

	close(b.fd);
	b.fd = -1;
	EXPECT_EQ(-EPIPE, jsonline_send(&a, obj, NULL, 0)) << "and no SIGPIPE";
	json_decref(obj);
}

TEST_F(Jsonline, SendNowNeverWaits)
{
	json_t *obj = json_pack("{s:s}", "op", "logs"), *got = NULL, *big;
	int sent = 0, r;

	while ((r = jsonline_send_now(&a, obj, NULL, 0)) == 0)
		sent++;
	EXPECT_EQ(-EAGAIN, r) << "the other side does not read";
	EXPECT_GT(sent, 0);
	for (int i = 0; i < sent; i++) {
		ASSERT_EQ(1, jsonline_recv(&b, &got));
		EXPECT_TRUE(json_equal(obj, got));
		json_decref(got);
	}
	EXPECT_EQ(-EAGAIN, jsonline_fill(&b)) << "half a line was sent";
	EXPECT_EQ(0, jsonline_send_now(&a, obj, NULL, 0));
	big = json_pack("{s:o}", "s", json_string(std::string(JSONLINE_NOW_MAX, 'x').c_str()));
	EXPECT_EQ(-EMSGSIZE, jsonline_send_now(&a, big, NULL, 0));
	json_decref(big);
	json_decref(obj);
}

static ino_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

TEST_F(Jsonline, FdsTravelInOrder)
{
	int p[2];
	json_t *obj = json_pack("{s:i}", "n", 1), *got = NULL;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, jsonline_send(&a, obj, p, 2));
	ASSERT_EQ(0, jsonline_send(&a, obj, NULL, 0));
	ASSERT_EQ(0, jsonline_send(&a, obj, &p[1], 1));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(1, jsonline_recv(&b, &got));
		json_decref(got);
	}
	for (int i = 0; i < 3; i++) {
		int fd = jsonline_take_fd(&b);

		ASSERT_LE(0, fd);
		EXPECT_EQ(inode(p[i > 0]), inode(fd));
		EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(fd);
	}
	EXPECT_EQ(-1, jsonline_take_fd(&b));
	json_decref(obj);
	close(p[0]);
	close(p[1]);
}

TEST_F(Jsonline, FdsNotTakenAreClosed)
{
	int p[2];
	char c;
	json_t *obj = json_object(), *got = NULL;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, jsonline_send(&a, obj, &p[1], 1));
	ASSERT_EQ(1, jsonline_recv(&b, &got));
	json_decref(got);
	json_decref(obj);
	close(p[1]);
	jsonline_close(&b);
	EXPECT_EQ(0, read(p[0], &c, 1)) << "the last writer is gone";
	close(p[0]);
}

TEST_F(Jsonline, TooManyFds)
{
	int many[JSONLINE_FDS + 1], p[2];
	json_t *obj = json_object();
	ssize_t r = 0;

	ASSERT_EQ(0, pipe(p));
	for (int &fd : many)
		fd = p[1];
	EXPECT_EQ(-EINVAL, jsonline_send(&a, obj, many, JSONLINE_FDS + 1));
	ASSERT_EQ(0, jsonline_send(&a, obj, many, JSONLINE_FDS));
	ASSERT_EQ(0, jsonline_send(&a, obj, many, 1));
	for (int i = 0; i < 2 && r >= 0; i++)
		r = jsonline_fill(&b);
	EXPECT_EQ(-EPROTO, r);
	json_decref(obj);
	close(p[0]);
	close(p[1]);
}

TEST_F(Jsonline, TheRestIsRaw)
{
	const char *rest;
	json_t *got = NULL;

	EXPECT_EQ(0u, jsonline_rest(&b, &rest));
	raw("{}\nraw \n bytes");
	ASSERT_EQ(1, jsonline_recv(&b, &got));
	json_decref(got);
	size_t n = jsonline_rest(&b, &rest);
	EXPECT_EQ("raw \n bytes", std::string(rest, n));
}

TEST(JsonlineString, CleansWhatNobodyVouchesFor)
{
	const char *pairs[][2] = {
		{"redis-server", "redis-server"},
		{"caf\xc3\xa9", "caf\xc3\xa9"},
		{"bad\xff\xc3", "bad??"},
		{"esc\x1b[31m\n", "esc?[31m?"},
		{"c1\xc2\x9b", "c1??"},
		{"\xed\xa0\x80", "???"},
		{"\xc0\x80", "??"},
		{"\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7"},
	};

	for (auto &p : pairs) {
		json_t *s = jsonline_string(p[0], 64);

		ASSERT_NE(nullptr, s);
		EXPECT_STREQ(p[1], json_string_value(s));
		json_decref(s);
	}
	json_t *s = jsonline_string("abcdef", 3);
	EXPECT_STREQ("abc", json_string_value(s));
	json_decref(s);
}

TEST_F(Jsonline, NoiseNeverCrashes)
{
	unsigned int seed = 12345;

	for (int round = 0; round < 300; round++) {
		std::string s = "{\"cmd\":\"ports\",\"args\":{\"node\":\"n2\",\"n\":[1,2.5,null]}}\n";
		std::string got;

		for (int k = rand_r(&seed) % 4; k >= 0; k--)
			s[rand_r(&seed) % s.size()] = rand_r(&seed);
		raw(s);
		ASSERT_LT(0, jsonline_fill(&b));
		while ((got = next()) != "" && got != "error")
			;
		if (got == "error" || b.len > b.start) {
			TearDown();
			SetUp();
		}
	}
}
