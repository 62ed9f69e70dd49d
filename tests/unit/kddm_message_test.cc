// SPDX-License-Identifier: GPL-2.0
// The engine's messages on the wire: every type there and back, byte for byte what libraft's own transport
// writes, cut at every byte, wrong in every byte, and counts that promise more than comes.
#include <gtest/gtest.h>
#include <cstring>
#include <functional>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#define static_assert(...)
extern "C" {
#include <raft.h>
#include <raft/uv.h>
}
#undef static_assert
extern "C" {
#include "userland/netd/kddm_message.h"
}

namespace {

std::string encode(const raft_message &m)
{
	kddm_buf out = {};
	std::string bytes;

	EXPECT_TRUE(kddm_message_encode(&out, &m));
	bytes.assign(out.data, out.len);
	kddm_buf_free(&out);
	return bytes;
}

void poke(std::string &bytes, size_t at, uint64_t v, size_t len = 8)
{
	memcpy(&bytes[at], &v, len);
}

// One of each type, and what they point to.
struct Messages {
	raft_message vote = {}, vote_result = {}, heartbeat = {}, entries = {}, result = {}, snapshot = {},
		     now = {};
	std::vector<raft_entry> e;
	std::string data[3] = {std::string(8, 'a'), std::string(4096, 'b'), ""};
	std::string image = std::string(100000, 's') + "end";

	Messages()
	{
		raft_buffer conf;

		vote.type = RAFT_REQUEST_VOTE;
		vote.request_vote = {2, 7, 0xfedcba9876543210, 41, 6, true, true};
		vote_result.type = RAFT_REQUEST_VOTE_RESULT;
		vote_result.request_vote_result = {2, 7, true, true, 1, 12};
		heartbeat.type = entries.type = RAFT_APPEND_ENTRIES;
		heartbeat.append_entries = {0, 9, 100, 8, 99, nullptr, 0};
		result.type = RAFT_APPEND_ENTRIES_RESULT;
		result.append_entries_result = {2, 9, 5, 104, 1, 65535};
		now.type = RAFT_TIMEOUT_NOW;
		now.timeout_now = {0, 9, 104, 9};
		snapshot.type = RAFT_INSTALL_SNAPSHOT;
		snapshot.install_snapshot.term = 9;
		snapshot.install_snapshot.last_index = 4711;
		snapshot.install_snapshot.last_term = 8;
		snapshot.install_snapshot.conf_index = 17;
		snapshot.install_snapshot.data = {image.data(), image.size()};
		raft_configuration_init(&snapshot.install_snapshot.conf);
		raft_configuration_add(&snapshot.install_snapshot.conf, 1, "10.0.0.1:7946", RAFT_VOTER);
		raft_configuration_add(&snapshot.install_snapshot.conf, UINT64_MAX, "[fd77::2]:7946",
				       RAFT_SPARE);
		raft_configuration_encode(&snapshot.install_snapshot.conf, &conf);
		data[2].assign(static_cast<char *>(conf.base), conf.len);
		raft_free(conf.base);
		e.push_back({8, RAFT_BARRIER, {data[0].data(), data[0].size()}, nullptr});
		e.push_back({9, RAFT_COMMAND, {data[1].data(), data[1].size()}, nullptr});
		e.push_back({9, RAFT_CHANGE, {data[2].data(), data[2].size()}, nullptr});
		entries.append_entries = {0, 9, 100, 8, 99, e.data(), static_cast<unsigned>(e.size())};
	}
	~Messages()
	{
		raft_configuration_close(&snapshot.install_snapshot.conf);
	}
	std::vector<const raft_message *> all() const
	{
		return {&vote, &vote_result, &heartbeat, &entries, &result, &snapshot, &now};
	}
};

// Reads, and writes again what it read: nothing of a message may be lost on the way.
struct Reader {
	kddm_message_reader r = {};
	std::string again;
	unsigned n = 0, stop_after = 0;

	~Reader()
	{
		kddm_message_reader_free(&r);
	}
	static bool take(void *arg, raft_message *m)
	{
		auto *self = static_cast<Reader *>(arg);

		if (m->type == RAFT_APPEND_ENTRIES)
			for (unsigned i = 0; i < m->append_entries.n_entries; i++) {
				EXPECT_EQ(m->append_entries.entries[i].batch,
					  m->append_entries.entries[0].buf.base);
			}
		self->again += encode(*m);
		kddm_message_clear(m);
		return ++self->n != self->stop_after;
	}
	int read(const std::string &bytes)
	{
		return kddm_message_read(&r, bytes.data(), bytes.size(), take, this);
	}
};

int read_alone(const std::string &bytes, unsigned *n = nullptr)
{
	Reader r;
	int rc = r.read(bytes);

	if (n)
		*n = r.n;
	return rc;
}

TEST(Message, EveryTypeComesBackInPiecesOfAnySize)
{
	Messages messages;
	std::string stream;

	for (const raft_message *m : messages.all())
		stream += encode(*m);
	for (size_t piece : {size_t(1), size_t(7), size_t(16), size_t(4096), stream.size()}) {
		Reader r;

		for (size_t at = 0; at < stream.size(); at += piece)
			ASSERT_EQ(r.read(stream.substr(at, piece)), 0);
		EXPECT_EQ(r.n, messages.all().size()) << "pieces of " << piece;
		EXPECT_TRUE(r.again == stream) << "pieces of " << piece;
	}
}

TEST(Message, NothingIsReadBeyondWhatTheTakerWants)
{
	Messages messages;
	std::string one = encode(messages.heartbeat);
	Reader r;

	r.stop_after = 2;
	EXPECT_EQ(r.read(one + one + one), 0);
	EXPECT_EQ(r.n, 2u);
}

TEST(Message, CutAtEveryByteItIsNoMessageYet)
{
	Messages messages;

	messages.image.resize(500);
	messages.snapshot.install_snapshot.data = {messages.image.data(), messages.image.size()};
	for (const raft_message *m : messages.all()) {
		std::string bytes = encode(*m);

		for (size_t len = 0; len < bytes.size(); len++) {
			unsigned n;

			ASSERT_EQ(read_alone(bytes.substr(0, len), &n), 0) << m->type << " cut to " << len;
			ASSERT_EQ(n, 0u) << m->type << " cut to " << len;
		}
	}
}

// The engine adds to terms and indices, and ends the program on entries that no log can have.
TEST(Message, TermsAndIndicesThatNoLogHasAreRefused)
{
	auto refused = [](const raft_message &m) { return read_alone(encode(m)) == -EPROTO; };
	auto with = [&](auto change) {
		Messages messages;

		change(messages);
		for (const raft_message *m : messages.all())
			if (refused(*m))
				return true;
		return false;
	};

	EXPECT_FALSE(with([](Messages &) {}));
	EXPECT_FALSE(with([](Messages &m) {
		m.vote.request_vote.last_log_index = m.vote.request_vote.last_log_term = 0;
		m.heartbeat.append_entries.prev_log_index = m.heartbeat.append_entries.prev_log_term = 0;
	}));
	EXPECT_TRUE(with([](Messages &m) { m.vote.request_vote.term = 0; }));
	EXPECT_TRUE(with([](Messages &m) { m.vote.request_vote.term = UINT64_MAX; }));
	EXPECT_TRUE(with([](Messages &m) { m.vote.request_vote.last_log_term = 0; }));
	EXPECT_TRUE(with([](Messages &m) { m.vote.request_vote.last_log_term = 8; }));
	EXPECT_TRUE(with([](Messages &m) { m.vote_result.request_vote_result.term = 1ull << 63; }));
	EXPECT_TRUE(with([](Messages &m) { m.heartbeat.append_entries.prev_log_index = 0; }));
	EXPECT_TRUE(with([](Messages &m) { m.heartbeat.append_entries.prev_log_term = 10; }));
	EXPECT_TRUE(with([](Messages &m) { m.e[0].term = 7; }));
	EXPECT_TRUE(with([](Messages &m) { m.e[0].term = 0; }));
	EXPECT_TRUE(with([](Messages &m) { m.e[1].term = 8, m.e[0].term = 9; }));
	EXPECT_TRUE(with([](Messages &m) { m.e[2].term = 10; }));
	EXPECT_TRUE(with([](Messages &m) { m.result.append_entries_result.last_log_index = 1ull << 63; }));
	EXPECT_TRUE(with([](Messages &m) { m.snapshot.install_snapshot.last_term = 10; }));
	EXPECT_TRUE(with([](Messages &m) { m.snapshot.install_snapshot.conf_index = 4712; }));
	EXPECT_TRUE(with([](Messages &m) {
		m.snapshot.install_snapshot.last_index = m.snapshot.install_snapshot.last_term = 0;
		m.snapshot.install_snapshot.conf_index = 0;
	}));
	EXPECT_TRUE(with([](Messages &m) { m.now.timeout_now.last_log_term = 10; }));
}

// Whatever is taken is what was sent; what cannot be is refused, and nothing is touched that is not there.
TEST(Message, WrongInEveryByteItIsRefusedOrAnotherMessage)
{
	Messages messages;

	messages.image.resize(64);
	messages.snapshot.install_snapshot.data = {messages.image.data(), messages.image.size()};
	for (const raft_message *m : messages.all()) {
		std::string bytes = encode(*m);

		for (size_t at = 0; at < bytes.size(); at++)
			for (int bit = 0; bit < 8; bit++) {
				std::string wrong = bytes;
				Reader r;

				wrong[at] = static_cast<char>(wrong[at] ^ 1 << bit);
				if (!r.read(wrong) && r.n) {
					ASSERT_TRUE(r.again == wrong.substr(0, r.again.size()))
						<< m->type << " byte " << at;
				}
			}
	}
}

TEST(Message, CountsThatLieAreRefusedAtOnce)
{
	Messages messages;
	auto wrong = [](const raft_message &m, size_t at, uint64_t v, size_t len = 8) {
		std::string bytes = encode(m);

		poke(bytes, at, v, len);
		return read_alone(bytes);
	};

	for (uint64_t head : {uint64_t(0), uint64_t(47), uint64_t(1) << 32, UINT64_MAX})
		EXPECT_EQ(wrong(messages.entries, 8, head), -EPROTO) << "a head of " << head;
	for (uint64_t n : {uint64_t(0), uint64_t(2), uint64_t(4), uint64_t(1) << 60, UINT64_MAX})
		EXPECT_EQ(wrong(messages.entries, 16 + 32, n), -EPROTO) << n << " entries";
	for (uint64_t len : {uint64_t(0), uint64_t(7), uint64_t(UINT32_MAX & ~7u)})
		EXPECT_EQ(wrong(messages.entries, 16 + 40 + 12, len, 4), -EPROTO) << "an entry of " << len;
	EXPECT_EQ(wrong(messages.entries, 16 + 40 + 8, 4, 1), -EPROTO) << "an entry of no type";
	EXPECT_EQ(wrong(messages.entries, 16 + 40 + 9, 1, 1), -EPROTO) << "unused bytes";
	EXPECT_EQ(wrong(messages.snapshot, 16 + 32, 8), -EPROTO) << "a short configuration";
	EXPECT_EQ(wrong(messages.snapshot, 16 + 40 + 1, 3), -EPROTO) << "a server too many";
	EXPECT_EQ(wrong(messages.snapshot, 16 + 40 + 1, UINT64_MAX), -EPROTO) << "servers without end";
	size_t data = encode(messages.snapshot).size() - messages.image.size() - 16;
	for (uint64_t len : {uint64_t(0), uint64_t(KDDM_MESSAGE_PAYLOAD_MAX) + 1, UINT64_MAX})
		EXPECT_EQ(wrong(messages.snapshot, data, len), -EPROTO) << "a snapshot of " << len;
	EXPECT_EQ(wrong(messages.vote, 2, 3, 1), -EPROTO) << "another version";
	EXPECT_EQ(wrong(messages.vote, 0, 7, 1), -EPROTO) << "another type";
	EXPECT_EQ(wrong(messages.result, 16 + 16, UINT64_MAX), -EPROTO) << "an index that overflows";
}

TEST(Message, AnEntryThatIsNoConfigurationIsRefused)
{
	Messages messages;

	messages.data[2][0] = 2;
	EXPECT_EQ(read_alone(encode(messages.entries)), -EPROTO);
	messages.data[2] = std::string(16, 0);
	messages.e[2].buf = {messages.data[2].data(), messages.data[2].size()};
	EXPECT_EQ(read_alone(encode(messages.entries)), -EPROTO);
}

TEST(Message, WhatIsAnnouncedCostsNothingBeforeItComes)
{
	Messages messages;
	std::string bytes = encode(messages.snapshot);
	size_t data = bytes.size() - messages.image.size() - 16;
	Reader r;

	poke(bytes, data, KDDM_MESSAGE_PAYLOAD_MAX);
	EXPECT_EQ(r.read(bytes), 0);
	EXPECT_EQ(r.n, 0u);
	EXPECT_LE(r.r.room, 2 * messages.image.size());
}

TEST(Message, WhatDoesNotKeepToTheLimitsIsNotSent)
{
	Messages messages;
	kddm_buf out = {};

	messages.snapshot.install_snapshot.data.len = KDDM_MESSAGE_PAYLOAD_MAX + 1ul;
	EXPECT_FALSE(kddm_message_encode(&out, &messages.snapshot));
	std::vector<raft_entry> many(5000, messages.e[0]);
	messages.entries.append_entries.entries = many.data();
	messages.entries.append_entries.n_entries = 5000;
	EXPECT_FALSE(kddm_message_encode(&out, &messages.entries));
	EXPECT_EQ(out.len, 0u);
	kddm_buf_free(&out);
}

// ---- against libraft's own transport ----

struct Peer {
	uv_loop_t loop;
	raft_uv_transport transport = {};
	raft_io io = {};
	char dir[32] = "/tmp/kddm-message-XXXXXX";
	int fd = -1;

	Peer()
	{
		uv_loop_init(&loop);
		EXPECT_NE(mkdtemp(dir), nullptr);
		transport.version = 1;
		transport.impl = this;
		transport.init = [](raft_uv_transport *, raft_id, const char *) { return 0; };
		transport.listen = [](raft_uv_transport *, raft_uv_accept_cb) { return 0; };
		transport.connect = [](raft_uv_transport *t, raft_uv_connect *req, raft_id, const char *,
				       raft_uv_connect_cb cb) {
			return static_cast<Peer *>(t->impl)->connect(req, cb);
		};
		transport.close = [](raft_uv_transport *t, raft_uv_transport_close_cb cb) { cb(t); };
		EXPECT_EQ(raft_uv_init(&io, &loop, dir, &transport), 0);
		EXPECT_EQ(io.init(&io, 1, "1"), 0);
		io.start(&io, 1000, [](raft_io *) {}, [](raft_io *, raft_message *) {});
	}
	~Peer()
	{
		io.close(&io, [](raft_io *) {});
		uv_run(&loop, UV_RUN_DEFAULT);
		raft_uv_close(&io);
		uv_loop_close(&loop);
		close(fd);
		EXPECT_EQ(system((std::string("rm -rf ") + dir).c_str()), 0);
	}
	int connect(raft_uv_connect *req, raft_uv_connect_cb cb)
	{
		auto *pipe = static_cast<uv_pipe_t *>(raft_malloc(sizeof(uv_pipe_t)));
		int pair[2];

		EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
		fd = pair[1];
		uv_pipe_init(&loop, pipe, 0);
		uv_pipe_open(pipe, pair[0]);
		cb(req, reinterpret_cast<uv_stream_t *>(pipe), 0);
		return 0;
	}
	std::string send(const raft_message &m, size_t len)
	{
		raft_message to = m;
		raft_io_send req = {};
		std::string bytes;
		char chunk[65536];
		ssize_t n;

		to.server_id = 2;
		to.server_address = "2";
		EXPECT_EQ(io.send(&io, &req, &to, [](raft_io_send *, int status) { EXPECT_EQ(status, 0); }),
			  0);
		for (int i = 0; i < 1000 && bytes.size() < len; i++) {
			uv_run(&loop, UV_RUN_NOWAIT);
			while ((n = read(fd, chunk, sizeof(chunk))) > 0)
				bytes.append(chunk, static_cast<size_t>(n));
		}
		return bytes;
	}
};

TEST(Message, LibraftWritesTheSameBytes)
{
	Messages messages;
	Peer peer;

	for (const raft_message *m : messages.all()) {
		std::string ours = encode(*m);

		EXPECT_TRUE(peer.send(*m, ours.size()) == ours) << "type " << m->type;
	}
}

} // namespace
