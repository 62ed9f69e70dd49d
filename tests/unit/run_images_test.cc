/* SPDX-License-Identifier: GPL-2.0 */
/* Images over a stream, and CRIU's messages: whole, cut, damaged, hostile. */
#include <cerrno>
#include <cstring>
#include <endian.h>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

extern "C" {
#include "ckpt/ckpt.h"
#include "ckpt/criu_rpc.h"
}

class Images : public ::testing::Test {
      protected:
	std::string top, from, to;
	int fds[2];
	char error[CKPT_ERROR_MAX] = "";
	uint64_t bytes = 0;

	void SetUp() override
	{
		char dir[] = "/tmp/images-XXXXXX";

		top = mkdtemp(dir);
		from = top + "/a/from";
		to = top + "/b/to";
		ASSERT_EQ(0, ckpt_dir_make(from.c_str()));
		ASSERT_EQ(0, ckpt_dir_make(to.c_str()));
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	}
	void TearDown() override
	{
		close(fds[0]);
		close(fds[1]);
		ckpt_dir_remove(from.c_str());
		ckpt_dir_remove(to.c_str());
		rmdir((top + "/a").c_str());
		rmdir((top + "/b").c_str());
		EXPECT_EQ(0, rmdir(top.c_str())) << "left behind";
	}
	void put(const std::string &name, const std::string &text)
	{
		std::ofstream(from + "/" + name) << text;
	}
	std::string got(const std::string &name)
	{
		std::ifstream f(to + "/" + name);

		return std::string(std::istreambuf_iterator<char>(f), {});
	}
	/* What a hostile sender sends; the answer of the receiver. */
	int receive(const std::string &stream)
	{
		int r;

		EXPECT_EQ((ssize_t)stream.size(), write(fds[0], stream.data(), stream.size()));
		shutdown(fds[0], SHUT_WR);
		r = ckpt_recv(fds[1], to.c_str(), nullptr, nullptr, &bytes, error);
		return r;
	}
	static std::string be32(uint32_t v)
	{
		v = htobe32(v);
		return std::string((char *)&v, 4);
	}
	static std::string be64(uint64_t v)
	{
		v = htobe64(v);
		return std::string((char *)&v, 8);
	}
	static std::string file(const std::string &name, const std::string &data, uint64_t size, uint32_t crc)
	{
		return be32((uint32_t)name.size()) + name + be64(size) + data + be32(crc);
	}
	static std::string head(uint64_t of)
	{
		return "SSICKPT1" + be64(of);
	}
};

TEST_F(Images, ArriveAsTheyWere)
{
	std::string big(3000001, 'x');
	int sent = -1;

	for (size_t i = 0; i < big.size(); i++)
		big[i] = (char)(i * 7 >> 3);
	put("pages-1.img", big);
	put("core-1.img", "core");
	put("empty.img", "");
	put(CKPT_LOG_DUMP, "stays");
	std::thread sender([&] {
		char e[CKPT_ERROR_MAX];
		sent = ckpt_send(fds[0], from.c_str(), nullptr, nullptr, nullptr, e);
	});
	EXPECT_EQ(0, ckpt_recv(fds[1], to.c_str(), nullptr, nullptr, &bytes, error)) << error;
	sender.join();
	EXPECT_EQ(0, sent);
	EXPECT_EQ(big.size() + 4, bytes);
	EXPECT_EQ(bytes, ckpt_dir_bytes(from.c_str()));
	EXPECT_TRUE(got("pages-1.img") == big);
	EXPECT_EQ("core", got("core-1.img"));
	EXPECT_EQ(0, access((to + "/empty.img").c_str(), F_OK));
	EXPECT_NE(0, access((to + "/" CKPT_LOG_DUMP).c_str(), F_OK));
}

TEST_F(Images, WithoutTheWordThereIsNoEnd)
{
	int sent = 0;

	put("core-1.img", "core");
	std::thread sender([&] {
		char e[CKPT_ERROR_MAX];
		sent = ckpt_send(fds[0], from.c_str(), [](void *) { return false; }, nullptr, nullptr, e);
		shutdown(fds[0], SHUT_RDWR);
	});
	EXPECT_EQ(-EPIPE, ckpt_recv(fds[1], to.c_str(), nullptr, nullptr, &bytes, error));
	sender.join();
	EXPECT_EQ(-ECANCELED, sent);
}

TEST_F(Images, DamageIsSeen)
{
	EXPECT_EQ(-EBADMSG, receive(head(3) + file("a.img", "abc", 3, ckpt_crc32c(0, "abd", 3)) + be32(0)));
}

TEST_F(Images, CutShort)
{
	EXPECT_EQ(-EPIPE, receive(head(10) + be32(5) + "a.img" + be64(10) + "abc"));
	EXPECT_STRNE("", error);
}

TEST_F(Images, NothingAtAll)
{
	EXPECT_EQ(-EPIPE, receive(""));
}

TEST_F(Images, NotImages)
{
	EXPECT_EQ(-EPROTO, receive("GET / HTTP/1.0\r\n\r\n"));
}

TEST_F(Images, NamesStayInTheDirectory)
{
	EXPECT_EQ(-EPROTO, receive(head(0) + file("../evil", "", 0, 0) + be32(0)));
	EXPECT_NE(0, access((top + "/b/evil").c_str(), F_OK));
}

TEST_F(Images, NamesArePlain)
{
	for (std::string name : {std::string("."), std::string(".."), std::string("a/b"),
				 std::string("/etc/x"), std::string("a\0b", 3)}) {
		TearDown();
		SetUp();
		EXPECT_EQ(-EPROTO, receive(head(0) + file(name, "", 0, 0) + be32(0))) << name;
	}
}

TEST_F(Images, LongNamesAndHugeSizes)
{
	EXPECT_EQ(-EPROTO, receive(head(0) + be32(1u << 30)));
	TearDown();
	SetUp();
	EXPECT_EQ(-ENOSPC, receive(head(0) + be32(1) + "a" + be64(~0ull)));
	TearDown();
	SetUp();
	EXPECT_EQ(-ENOSPC, receive(head(~0ull)));
}

TEST_F(Images, TwiceTheSameName)
{
	EXPECT_EQ(-EEXIST, receive(head(0) + file("a", "", 0, 0) + file("a", "", 0, 0) + be32(0)));
}

/* What was sent can still be a parent, and goes with the rest. */
TEST_F(Images, RoundsHangTogether)
{
	char target[64] = "";
	struct stat st;

	for (unsigned int i = 1; i <= 2; i++) {
		char round[4096];

		ckpt_round_path(round, sizeof(round), from.c_str(), i);
		ASSERT_EQ(0, mkdir(round, 0700));
	}
	put("1/pages-1.img", "pages");
	put("1/pagemap-1.img", "map");
	put("pages-1.img", "last");
	EXPECT_EQ(0, ckpt_round_link(from.c_str(), 2, 1));
	EXPECT_EQ(0, ckpt_round_link(from.c_str(), 0, 2));
	EXPECT_EQ(4, readlink((from + "/2/parent").c_str(), target, sizeof(target)));
	EXPECT_STREQ("../1", target);
	EXPECT_EQ(0, stat((from + "/parent/parent/pages-1.img").c_str(), &st));
	EXPECT_EQ(5, st.st_size);
	EXPECT_EQ(4u, ckpt_dir_bytes(from.c_str()));
	ckpt_round_blank(from.c_str(), 1);
	EXPECT_EQ(0, stat((from + "/1/pages-1.img").c_str(), &st));
	EXPECT_EQ(0, st.st_size);
	EXPECT_EQ(0, stat((from + "/1/pagemap-1.img").c_str(), &st));
	EXPECT_EQ(3, st.st_size);
}

TEST_F(Images, Directories)
{
	EXPECT_EQ(-EINVAL, ckpt_dir_make("relative"));
	EXPECT_EQ(-EINVAL, ckpt_dir_make("/tmp/../tmp/x"));
}

/* Directories: packed in `from`, unpacked from there again, beside their places below `to`. */
class Data : public Images {
      protected:
	std::string one, two;
	char *dirs[3];

	void SetUp() override
	{
		Images::SetUp();
		one = to + "/one";
		two = to + "/two";
		dirs[0] = one.data();
		dirs[1] = two.data();
		dirs[2] = nullptr;
		mkdir(one.c_str(), 0750);
		mkdir(two.c_str(), 0755);
		std::ofstream(one + "/file") << "packed";
		ASSERT_EQ(0, ckpt_data_pack(from.c_str(), dirs, error)) << error;
		std::ofstream(one + "/file") << "later";
		std::ofstream(one + "/more") << "later";
	}
	void TearDown() override
	{
		EXPECT_NE(0, access((one + ".netssi").c_str(), F_OK));
		EXPECT_NE(0, access((two + ".netssi").c_str(), F_OK));
		unlink((one + "/file").c_str());
		unlink((one + "/more").c_str());
		rmdir(one.c_str());
		rmdir(two.c_str());
		Images::TearDown();
	}
};

TEST_F(Data, ForGood)
{
	struct stat st;

	rmdir(two.c_str());
	ASSERT_EQ(0, ckpt_data_unpack(from.c_str(), dirs, error)) << error;
	EXPECT_EQ("later", got("one/file"));
	ASSERT_EQ(0, ckpt_data_swap(dirs, error)) << error;
	EXPECT_EQ("packed", got("one/file"));
	EXPECT_NE(0, access((one + "/more").c_str(), F_OK));
	EXPECT_EQ(0, stat(one.c_str(), &st));
	EXPECT_EQ(0750u, st.st_mode & 07777u);
	EXPECT_EQ(0, access(two.c_str(), F_OK));
	ckpt_data_forget(dirs);
}

TEST_F(Data, Undone)
{
	rmdir(two.c_str());
	ASSERT_EQ(0, ckpt_data_unpack(from.c_str(), dirs, error)) << error;
	ASSERT_EQ(0, ckpt_data_swap(dirs, error)) << error;
	ckpt_data_undo(dirs);
	EXPECT_EQ("later", got("one/file"));
	EXPECT_EQ("later", got("one/more"));
	EXPECT_NE(0, access(two.c_str(), F_OK)) << "was not there before";
}

TEST_F(Data, NoArchive)
{
	unlink((from + "/data-1.tar").c_str());
	EXPECT_EQ(-EIO, ckpt_data_unpack(from.c_str(), dirs, error));
	EXPECT_STRNE("", error);
	ckpt_data_forget(dirs);
}

TEST(Crc32c, KnownValues)
{
	EXPECT_EQ(0xe3069283u, ckpt_crc32c(0, "123456789", 9));
	EXPECT_EQ(ckpt_crc32c(0, "123456789", 9), ckpt_crc32c(ckpt_crc32c(0, "12345", 5), "6789", 4));
	EXPECT_EQ(0u, ckpt_crc32c(0, "", 0));
}

TEST(CriuRpc, WrittenAndRead)
{
	struct criu_rpc m = {}, notify = {};
	struct criu_response r;

	rpc_put_text(&notify, 1, "post-dump");
	rpc_put_int(&notify, 2, 4193281);
	rpc_put_int(&m, 1, CRIU_NOTIFY);
	rpc_put_int(&m, 2, 1);
	rpc_put_message(&m, 5, &notify);
	rpc_put_text(&m, 9, "unknown to us");
	ASSERT_FALSE(m.failed);
	ASSERT_EQ(0, rpc_parse(m.data, m.len, &r));
	EXPECT_EQ((uint64_t)CRIU_NOTIFY, r.type);
	EXPECT_TRUE(r.success);
	EXPECT_STREQ("post-dump", r.script);
	EXPECT_EQ(4193281u, r.pid);
	for (size_t cut = 1; cut < m.len; cut++)
		rpc_parse(m.data, cut, &r); /* must not read past the end */
}

TEST(CriuRpc, TooLong)
{
	struct criu_rpc m = {};

	rpc_put_text(&m, 1, std::string(5000, 'x').c_str());
	EXPECT_TRUE(m.failed);
}

TEST(CriuRpc, Garbage)
{
	std::mt19937 random(7);
	struct criu_response r;

	for (int i = 0; i < 20000; i++) {
		std::string s(random() % 40, '\0');

		for (auto &c : s)
			c = (char)random();
		rpc_parse(s.data(), s.size(), &r);
	}
}
