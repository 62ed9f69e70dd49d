// SPDX-License-Identifier: GPL-2.0
// The connections that carry raft's messages, with a peer that does not play along: how many of one node there may be, half
// a message and silence, a node that does not read. Connections and the clock are played; messages are real.
#include <gtest/gtest.h>
#include <cstdarg>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#define static_assert(...)
extern "C" {
#include <raft.h>
}
#undef static_assert
extern "C" {
#include "userland/netd/kddm_message.h"
#include "userland/netd/member_int.h"
}

namespace {

uint64_t clock_ms = 1000000;
unsigned int received, connects;
std::string complaint;

} // namespace

struct secure_conn {
	secure_stream stream;
	struct secure_connect connect;
	bool streams, ended, refused;
	size_t sent, stuck; // of what was sent the other end does not read
	bool reads;
};

namespace {

std::vector<std::unique_ptr<secure_conn>> conns;

secure_conn *conn_new()
{
	conns.push_back(std::make_unique<secure_conn>());
	conns.back()->reads = true;
	return conns.back().get();
}

} // namespace

extern "C" {

size_t __sanitizer_get_current_allocated_bytes(); // gcc comes without the header

// The linker takes these before those of netd.
int __wrap_clock_gettime(clockid_t, struct timespec *t)
{
	t->tv_sec = static_cast<time_t>(clock_ms / 1000);
	t->tv_nsec = static_cast<long>(clock_ms % 1000 * 1000000);
	return 0;
}
int secure_stream_begin(struct secure_conn *c, const struct secure_stream *s)
{
	c->stream = *s;
	c->streams = true;
	return 0;
}
void secure_send(struct secure_conn *c, const void *, size_t len)
{
	(c->reads ? c->sent : c->stuck) += len;
}
size_t secure_queued(const struct secure_conn *c)
{
	return c->stuck;
}
void secure_end(struct secure_conn *c)
{
	c->ended = true;
}
void secure_cancel(struct secure_conn *c)
{
	c->ended = true;
}
void secure_refuse(struct secure_conn *c, int, const char *, const char *, ...)
{
	c->refused = true;
}
void secure_complain(struct secure_conn *, const char *what)
{
	complaint = what;
}
struct secure_conn *secure_connect(struct secure *, const struct secure_connect *how)
{
	secure_conn *c = conn_new();

	connects++;
	c->connect = *how;
	return c;
}
json_t *member_make_hello(void *, const char *)
{
	return json_object();
}
void member_refused(struct member *, json_t *)
{
}
void kddm_raft_receive(struct kddm_raft *, struct raft_message *m)
{
	received++;
	kddm_message_clear(m);
}

} // extern "C"

namespace {

constexpr size_t MEGABYTE = 1u << 20;

class Links : public testing::Test {
      protected:
	struct member *m = static_cast<struct member *>(calloc(1, sizeof(struct member)));

	Links()
	{
		m->raft = reinterpret_cast<struct kddm_raft *>(m); // there is one
		received = connects = 0;
		complaint.clear();
		conns.clear();
	}
	~Links() override
	{
		member_raft_stop(m);
		free(m);
	}
	secure_conn *incoming(uint64_t id)
	{
		secure_conn *c = conn_new();

		member_raft_hello(m, c, id, "10.0.0.2:7946");
		return c;
	}
	static void say(secure_conn *c, const std::string &bytes)
	{
		c->stream.data(c->stream.arg, bytes.data(), bytes.size());
	}
	void pass(uint64_t ms)
	{
		for (; ms; ms -= 50) {
			clock_ms += 50;
			member_raft_tick(m);
		}
	}
	// Entries with so many bytes, to node 2.
	static raft_message entries(std::string &data, raft_entry &e)
	{
		raft_message a = {};

		e = {7, RAFT_COMMAND, {data.data(), data.size()}, nullptr};
		a.type = RAFT_APPEND_ENTRIES;
		a.server_id = 2;
		a.server_address = "10.0.0.2:7946";
		a.append_entries = {0, 7, 10, 7, 10, &e, 1};
		return a;
	}
	static std::string bytes_of(size_t payload)
	{
		std::string data(payload, 'x'), out;
		raft_entry e;
		raft_message a = entries(data, e);
		kddm_buf buf = {};

		EXPECT_TRUE(kddm_message_encode(&buf, &a));
		out.assign(buf.data, buf.len);
		kddm_buf_free(&buf);
		return out;
	}
	secure_conn *link_up()
	{
		std::string data(8, 'x');
		raft_entry e;
		raft_message a = entries(data, e);

		member_raft_send(m, &a);
		EXPECT_EQ(connects, 1u);
		secure_conn *c = conns.back().get();
		c->connect.done(c->connect.arg, 0, nullptr, -1);
		member_raft_flush(m);
		return c;
	}
};

TEST_F(Links, OfTenThousandConnectionsOfOneNodeTwoStay)
{
	secure_conn *other = incoming(3);
	size_t open = 0;

	for (int i = 0; i < 10000; i++)
		incoming(2);
	for (auto &c : conns)
		open += !c->ended;
	EXPECT_EQ(open, 3u);
	EXPECT_FALSE(other->ended) << "another node has to pay for it";
	EXPECT_FALSE(conns.back()->ended) << "the newest is the one that is good";
	say(other, bytes_of(64));
	say(conns.back().get(), bytes_of(64));
	EXPECT_EQ(received, 2u);
}

TEST_F(Links, NoMoreThanTheClusterCanHaveStayOfAnyNumberOfNames)
{
	size_t open = 0;

	for (uint64_t id = 1; id <= 10000; id++)
		incoming(id);
	for (auto &c : conns)
		open += !c->ended;
	EXPECT_LE(open, 2u * NODES_MAX);
	EXPECT_FALSE(conns.back()->ended);
}

TEST_F(Links, HalfAMessageAndSilenceIsCutAfterTenSeconds)
{
	std::string message = bytes_of(4096);

	for (size_t half : {size_t(1), size_t(15), size_t(40), message.size() - 1}) {
		secure_conn *c = incoming(2);

		say(c, message.substr(0, half));
		pass(9950);
		EXPECT_FALSE(c->ended) << half;
		pass(50);
		EXPECT_TRUE(c->ended) << half;
		EXPECT_NE(complaint.find("half a message"), std::string::npos);
	}
	EXPECT_EQ(received, 0u);
	secure_conn *idle = incoming(2);
	say(idle, message);
	pass(60000);
	EXPECT_FALSE(idle->ended) << "who has nothing to say may be silent";
	EXPECT_EQ(received, 1u);
}

TEST_F(Links, WhatIsAnnouncedAndDoesNotComeTakesNoMemory)
{
	std::string message = bytes_of(200 * MEGABYTE);
	secure_conn *c = incoming(2);

	size_t before = __sanitizer_get_current_allocated_bytes();
	say(c, message.substr(0, 100));
	EXPECT_LE(__sanitizer_get_current_allocated_bytes(), before + MEGABYTE);
	ASSERT_NE(m->raft_sources, nullptr);
	pass(10000);
	EXPECT_TRUE(c->ended);
	EXPECT_EQ(m->raft_sources, nullptr);
}

TEST_F(Links, GarbageEndsTheConnection)
{
	secure_conn *c = incoming(2);

	say(c, std::string(64, '\x7f'));
	EXPECT_TRUE(c->ended);
	EXPECT_NE(complaint.find("no message of raft"), std::string::npos);
	EXPECT_EQ(m->raft_sources, nullptr);
}

TEST_F(Links, WhoDoesNotReadMissesMessagesInsteadOfFillingMemory)
{
	secure_conn *c = link_up();
	std::string data(MEGABYTE, 'x');
	raft_entry e;
	raft_message a = entries(data, e);

	c->reads = false;
	for (int i = 0; i < 100; i++) {
		member_raft_send(m, &a);
		member_raft_flush(m);
	}
	EXPECT_GE(c->stuck, 16 * MEGABYTE);
	EXPECT_LE(c->stuck, 18 * MEGABYTE);
	c->reads = true; // again
	c->stuck = 0;
	size_t before = c->sent;
	member_raft_send(m, &a);
	member_raft_flush(m);
	EXPECT_GT(c->sent, before + MEGABYTE);
}

TEST_F(Links, WhileALinkIsMadeOnlySoMuchWaitsAndOfThatTheNewestIsKept)
{
	std::string data(MEGABYTE, 'x'), last(64, 'y');
	raft_entry e, f;
	raft_message a = entries(data, e), b = entries(last, f);

	for (int i = 0; i < 15; i++)
		member_raft_send(m, &a);
	member_raft_send(m, &b);
	secure_conn *c = conns.back().get();
	c->connect.done(c->connect.arg, -ECONNREFUSED, nullptr, -1);
	pass(100);
	ASSERT_EQ(connects, 2u);
	c = conns.back().get();
	c->connect.done(c->connect.arg, 0, nullptr, -1);
	member_raft_flush(m);
	EXPECT_EQ(c->sent, bytes_of(last.size()).size());
}

TEST_F(Links, MemoryOfALargeMessageIsGivenBackAndThatOfSmallOnesKept)
{
	secure_conn *c = link_up();
	std::string large(8 * MEGABYTE, 'x'), small(64, 'x');
	raft_entry e, f;
	raft_message a = entries(large, e), b = entries(small, f);

	member_raft_send(m, &b);
	member_raft_flush(m);
	size_t idle = __sanitizer_get_current_allocated_bytes();
	for (int i = 0; i < 100; i++) {
		member_raft_send(m, &b);
		member_raft_flush(m);
	}
	EXPECT_EQ(__sanitizer_get_current_allocated_bytes(), idle);
	member_raft_send(m, &a);
	EXPECT_GE(__sanitizer_get_current_allocated_bytes(), idle + 8 * MEGABYTE);
	member_raft_flush(m);
	EXPECT_LE(__sanitizer_get_current_allocated_bytes(), idle);
	EXPECT_GT(c->sent, 8 * MEGABYTE);
}

TEST_F(Links, ANodeThatIsGoneIsCalledForAWhileAndThenForgotten)
{
	std::string data(8, 'x');
	raft_entry e;
	raft_message a = entries(data, e);

	member_raft_send(m, &a);
	for (int i = 0; i < 200; i++) {
		if (!conns.back()->ended && conns.back()->connect.done) {
			auto done = conns.back()->connect.done;
			conns.back()->connect.done = nullptr;
			done(conns.back()->connect.arg, -EHOSTUNREACH, nullptr, -1);
		}
		pass(100);
	}
	EXPECT_EQ(connects, 50u);
	EXPECT_EQ(m->raft_links, nullptr);
}

} // namespace
