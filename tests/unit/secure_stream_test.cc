// SPDX-License-Identifier: GPL-2.0
// Streams of messages: both ways at once, under TLS and in clear text, against an end that does not read, and
// how they end.
#include <gtest/gtest.h>
#include <arpa/inet.h>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" {
#include "userland/netd/secure.h"
#include "userland/netd/transport.h"
}

namespace {

// Loopback addresses of this run alone: others may run beside it.
std::string own_address()
{
	static const pid_t pid = getpid();

	return "127." + std::to_string(pid / 250 % 250 + 1) + "." + std::to_string(pid % 250 + 1) +
	       ".77:7946";
}

struct End {
	secure_conn *conn = nullptr;
	std::string got;
	bool closed = false, echo = false;
	size_t end_at = SIZE_MAX; // end it when so much came

	static void on_data(void *arg, const void *data, size_t len)
	{
		auto *e = static_cast<End *>(arg);

		EXPECT_NE(e->conn, nullptr) << "data after the end";
		EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 8, 0u);
		e->got.append(static_cast<const char *>(data), len);
		if (e->echo)
			secure_send(e->conn, data, len);
		if (e->got.size() >= e->end_at)
			e->end();
	}
	static void on_closed(void *arg)
	{
		auto *e = static_cast<End *>(arg);

		EXPECT_NE(e->conn, nullptr) << "closed twice, or by its owner";
		e->closed = true;
		e->conn = nullptr;
	}
	int begin(secure_conn *c)
	{
		const secure_stream s = {on_data, on_closed, this};

		conn = c;
		return secure_stream_begin(c, &s);
	}
	void send(const std::string &text)
	{
		secure_send(conn, text.data(), text.size());
	}
	void end()
	{
		secure_conn *c = conn;

		conn = nullptr;
		secure_end(c);
	}
};

struct Stream : testing::TestWithParam<bool> {
	uv_loop_t loop;
	secure *server_side = nullptr, *client_side = nullptr;
	secure_listener *listener = nullptr;
	secure_conn *connecting = nullptr;
	End server, client;
	bool take = true, rotate = false; // the key changes when a server has looked it up
	int status = 1, fd = -1, bulk_fd = -1;
	bool bulk = false;
	long threads_before = 0;
	std::string greeting;
	uint8_t key[SECURE_KEY_BYTES] = "a key of this test alone";

	void SetUp() override
	{
		secure_params p = {};

		threads_before = threads();
		signal(SIGPIPE, SIG_IGN);
		uv_loop_init(&loop);
		p.loop = &loop;
		p.insecure = GetParam();
		p.arg = this;
		p.find_key = [](void *arg, const char *, uint8_t *out) {
			auto *t = static_cast<Stream *>(arg);

			memcpy(out, t->key, SECURE_KEY_BYTES);
			t->key[0] ^= t->rotate;
			return 0;
		};
		p.hello = [](void *arg, secure_conn *c, const char *, json_t *) {
			auto *t = static_cast<Stream *>(arg);

			if (!t->take)
				secure_answer(c, json_object());
			else if (t->bulk)
				EXPECT_EQ(secure_accept(c, &t->bulk_fd), 0);
			else if (!t->server.begin(c) && !t->greeting.empty())
				t->server.send(t->greeting);
		};
		ASSERT_EQ(secure_new(&p, &server_side), 0);
		ASSERT_EQ(secure_new(&p, &client_side), 0);
		ASSERT_EQ(secure_listen(server_side, own_address().c_str(), &listener), 0);
	}
	void TearDown() override
	{
		int left = 2;
		auto closed = [](void *arg) { --*static_cast<int *>(arg); };

		secure_close(server_side, closed, &left);
		secure_close(client_side, closed, &left);
		EXPECT_TRUE(until([&] { return !left; }));
		uv_run(&loop, UV_RUN_DEFAULT);
		EXPECT_EQ(uv_loop_close(&loop), 0);
		for (int f : {fd, bulk_fd})
			if (f >= 0)
				close(f);
		/* Threads of bulk streams end by themselves; what they hold is no leak. */
		for (int i = 0; i < 6000 && threads() > threads_before; i++)
			usleep(10000);
		EXPECT_EQ(threads(), threads_before);
	}
	static long threads()
	{
		return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
	}
	bool until(const std::function<bool()> &what, int seconds = 60)
	{
		auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
		uv_timer_t wake;

		uv_timer_init(&loop, &wake);
		uv_timer_start(&wake, [](uv_timer_t *) {}, 10, 10);
		while (!what() && std::chrono::steady_clock::now() < end)
			uv_run(&loop, UV_RUN_ONCE);
		uv_close(reinterpret_cast<uv_handle_t *>(&wake), nullptr);
		uv_run(&loop, UV_RUN_NOWAIT);
		return what();
	}
	void connect()
	{
		static std::string address;
		uint8_t begun_with[SECURE_KEY_BYTES];
		struct secure_connect c = {};

		memcpy(begun_with, key, sizeof(key));
		c.key = begun_with;

		address = own_address();
		c.address = address.c_str();
		c.hello = json_object();
		c.bulk = bulk;
		c.arg = this;
		c.done = [](void *arg, int result, json_t *, int stream_fd) {
			auto *t = static_cast<Stream *>(arg);

			t->status = result;
			t->fd = stream_fd;
			if (!result && !t->bulk)
				t->status = t->client.begin(t->connecting);
		};
		connecting = secure_connect(client_side, &c);
		json_decref(c.hello);
		ASSERT_TRUE(until([&] { return status <= 0; }));
	}
	void connected()
	{
		connect();
		ASSERT_EQ(status, 0);
		ASSERT_NE(server.conn, nullptr);
	}
};

std::string pattern(size_t len)
{
	std::string s(len, 0);

	for (size_t i = 0; i < len; i++)
		s[i] = static_cast<char>(i * 2654435761u >> 13);
	return s;
}

TEST_P(Stream, SmallAndLargeBothWaysAtOnce)
{
	std::string large = pattern(20 << 20), small = pattern(40);

	connected();
	server.echo = true;
	client.send(small);
	EXPECT_TRUE(until([&] { return client.got == small; }));
	client.got.clear();
	client.send(large);
	EXPECT_GT(secure_queued(client.conn), 0u) << "more than a socket takes at once";
	client.send(small);
	EXPECT_TRUE(until([&] { return client.got.size() == large.size() + small.size(); }));
	EXPECT_TRUE(client.got == large + small);
	EXPECT_EQ(secure_queued(client.conn), 0u);
	EXPECT_FALSE(client.closed || server.closed);
}

TEST_P(Stream, WhatComesWithTheAnswerIsNotLost)
{
	greeting = pattern(3000);
	connected();
	EXPECT_TRUE(until([&] { return client.got == greeting; }));
}

TEST_P(Stream, WhatWaitsIsSentThoughTheOwnerEndsIt)
{
	connected();
	client.send("last words");
	client.end();
	EXPECT_TRUE(until([&] { return server.closed; }));
	EXPECT_EQ(server.got, "last words");
}

TEST_P(Stream, TheOwnerMayEndItWhileItIsRead)
{
	connected();
	server.end_at = 100000;
	client.send(pattern(1 << 20));
	EXPECT_TRUE(until([&] { return client.closed; }));
	EXPECT_GE(server.got.size(), 100000u);
	EXPECT_FALSE(server.closed);
}

// The other end's process stands still: its loop does not run, so its half is played by a socket of its own.
TEST_P(Stream, WhoReadsNothingIsLeft)
{
	if (!GetParam())
		return; // all that follows is the same code
	const char hello[] = "\2\0\0\0{}";
	int raw = transport_connect(own_address().c_str());

	ASSERT_GE(raw, 0);
	ASSERT_TRUE(until([&] { return write(raw, hello, 6) == 6; }));
	ASSERT_TRUE(until([&] { return server.conn != nullptr; }));
	while (!secure_queued(server.conn))
		server.send(pattern(1 << 20));
	size_t queued = secure_queued(server.conn);
	auto begin = std::chrono::steady_clock::now();
	EXPECT_TRUE(until([&] { return server.closed; }));
	EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(SECURE_STALL_MS / 2));
	EXPECT_LE(queued, 2u << 20);
	close(raw);
}

TEST_P(Stream, ItEndsWithItsKey)
{
	uint8_t other[SECURE_KEY_BYTES] = "another";

	if (GetParam())
		return; // clear text has no key
	connected();
	secure_end_key(client_side, other);
	EXPECT_FALSE(client.closed);
	secure_end_key(client_side, key);
	EXPECT_TRUE(client.closed);
	EXPECT_TRUE(until([&] { return server.closed; }));
}

TEST_P(Stream, AHandshakeThatIsOlderThanTheKeyIsNotHeard)
{
	if (GetParam())
		return;
	rotate = true;
	connect();
	EXPECT_EQ(status, -EREMOTEIO) << "told so";
	EXPECT_EQ(server.conn, nullptr);
}

TEST_P(Stream, WhatAClientBeginsEndsWithItsKey)
{
	std::string address = "127.0.0.1:";
	sockaddr_in silent = {
		.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
	socklen_t len = sizeof(silent);
	struct secure_connect c = {};

	if (GetParam())
		return;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&silent), len), 0);
	ASSERT_EQ(listen(fd, 1), 0);
	getsockname(fd, reinterpret_cast<sockaddr *>(&silent), &len);
	address += std::to_string(ntohs(silent.sin_port));
	c.address = address.c_str();
	c.key = key;
	c.hello = json_object();
	c.arg = this;
	c.done = [](void *arg, int result, json_t *, int) { static_cast<Stream *>(arg)->status = result; };
	secure_connect(client_side, &c);
	json_decref(c.hello);
	uv_run(&loop, UV_RUN_NOWAIT);
	EXPECT_EQ(status, 1);
	secure_end_key(client_side, key);
	EXPECT_EQ(status, -ECONNRESET);
}

TEST_P(Stream, AnAnswerIsNoStream)
{
	take = false;
	connect();
	EXPECT_EQ(status, -ECONNRESET);
	client.conn = nullptr;
}

TEST_P(Stream, BulkGoesThroughAnFd)
{
	std::string data = pattern(200000), got;
	char chunk[65536];
	ssize_t n;

	bulk = true;
	connect();
	ASSERT_EQ(status, 0);
	ASSERT_TRUE(until([&] { return bulk_fd >= 0; }));
	ASSERT_GE(fd, 0);
	uv_run(&loop, UV_RUN_NOWAIT); /* the loop lets go of both, threads take over */
	ASSERT_EQ(write(fd, data.data(), data.size()), static_cast<ssize_t>(data.size()));
	shutdown(fd, SHUT_WR);
	while ((n = read(bulk_fd, chunk, sizeof(chunk))) > 0)
		got.append(chunk, static_cast<size_t>(n));
	EXPECT_TRUE(got == data);
}

INSTANTIATE_TEST_SUITE_P(Secure, Stream, testing::Values(false, true),
			 [](const auto &i) { return std::string(i.param ? "Clear" : "Tls"); });

} // namespace
