// SPDX-License-Identifier: GPL-2.0
// The cluster's key: derivation, wrapping, the keyring on disk; and log lines that strangers cause.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

extern "C" {
#include "userland/lib/log.h"
#include "userland/netd/keys.h"
#include "userland/netd/secure_log.h"
}

namespace {

using Key = std::vector<uint8_t>;

Key key_of(uint8_t byte)
{
	return Key(KEYS_BYTES, byte);
}

std::string hex(const Key &k)
{
	std::string out;
	char two[3];

	for (uint8_t b : k) {
		snprintf(two, sizeof(two), "%02x", b);
		out += two;
	}
	return out;
}

std::string name_of(const Key &k)
{
	char name[KEYS_NAME_SIZE];

	keys_name(k.data(), name);
	return name;
}

TEST(Keys, DerivedKeysDifferByUseAndByKey)
{
	Key a(36), b(36), c(36), again(36);

	keys_derive(key_of(1).data(), "use 1", a.data(), a.size());
	keys_derive(key_of(1).data(), "use 2", b.data(), b.size());
	keys_derive(key_of(2).data(), "use 1", c.data(), c.size());
	keys_derive(key_of(1).data(), "use 1", again.data(), again.size());
	EXPECT_EQ(a, again);
	EXPECT_NE(a, b);
	EXPECT_NE(a, c);
	/* HKDF-SHA256 of 32 bytes 0x01, no salt: what goes on the wire may never change. */
	EXPECT_EQ(hex(a), "53ec976e4ccaf0f6a8d13e942807e0cb4ee93d181c8a7e7d7c482225b7bff62cad87439d");
}

TEST(Keys, NameSaysNothingAndIsStable)
{
	EXPECT_EQ(name_of(key_of(1)).size(), 16u);
	EXPECT_NE(name_of(key_of(1)), name_of(key_of(2)));
	EXPECT_EQ(hex(key_of(1)).find(name_of(key_of(1))), std::string::npos);
}

TEST(Keys, OnlyTheRightKeyUnwraps)
{
	char text[KEYS_WRAP_SIZE], other[KEYS_WRAP_SIZE];
	Key out(KEYS_BYTES);

	ASSERT_EQ(keys_wrap(key_of(1).data(), key_of(7).data(), text), 0);
	ASSERT_EQ(keys_wrap(key_of(1).data(), key_of(7).data(), other), 0);
	EXPECT_STRNE(text, other); /* never the same nonce */
	ASSERT_EQ(keys_unwrap(key_of(1).data(), text, out.data()), 0);
	EXPECT_EQ(out, key_of(7));
	out = key_of(0);
	EXPECT_EQ(keys_unwrap(key_of(2).data(), text, out.data()), -EKEYREJECTED);
	EXPECT_EQ(out, key_of(0)) << "untouched";
	for (size_t i = 0; i < strlen(text); i += 7) {
		std::string forged = text;

		forged[i] = forged[i] == '0' ? '1' : '0';
		EXPECT_LT(keys_unwrap(key_of(1).data(), forged.c_str(), out.data()), 0) << i;
	}
	EXPECT_EQ(keys_unwrap(key_of(1).data(), "", out.data()), -EINVAL);
	EXPECT_EQ(keys_unwrap(key_of(1).data(), std::string(120, 'x').c_str(), out.data()), -EINVAL);
}

class Ring : public ::testing::Test {
      protected:
	void SetUp() override
	{
		char dir[] = "/tmp/keys-test-XXXXXX";

		top = mkdtemp(dir);
		fresh(ring);
	}
	void TearDown() override
	{
		for (const char *name : {"/key", "/keyring", "/key.new"})
			unlink((top + name).c_str());
		rmdir(top.c_str());
	}
	void fresh(struct keyring &k)
	{
		memset(&k, 0, sizeof(k));
		snprintf(k.path, sizeof(k.path), "%s/key", top.c_str());
		snprintf(k.state_dir, sizeof(k.state_dir), "%s", top.c_str());
	}
	std::string read(const char *name)
	{
		std::ifstream in(top + name);

		return std::string(std::istreambuf_iterator<char>(in), {});
	}
	void write(const char *name, const std::string &text)
	{
		std::ofstream(top + name) << text;
	}
	unsigned int mode(const char *name)
	{
		struct stat st;

		return stat((top + name).c_str(), &st) ? 0 : st.st_mode & 07777;
	}

	std::string top;
	struct keyring ring, again;
};

TEST_F(Ring, KeepsKeyAndGenerationForRootOnly)
{
	umask(0);
	EXPECT_EQ(keyring_load(&ring), 0);
	ASSERT_EQ(keyring_store(&ring, key_of(1).data(), 1), 0);
	umask(022);
	EXPECT_EQ(read("/key"), hex(key_of(1)) + "\n");
	EXPECT_EQ(mode("/key"), 0600u);
	EXPECT_EQ(mode("/keyring"), 0600u);
	fresh(again);
	ASSERT_EQ(keyring_load(&again), 1);
	EXPECT_EQ(again.generation, 1u);
	EXPECT_EQ(name_of(key_of(1)), again.name);
}

TEST_F(Ring, RotationKeepsTheOldKeyUntilItsEnd)
{
	Key found(KEYS_BYTES);
	bool old;

	ASSERT_EQ(keyring_store(&ring, key_of(1).data(), 1), 0);
	ASSERT_EQ(keyring_rotate(&ring, key_of(2).data(), 2, 5000), 0);
	fresh(again);
	ASSERT_EQ(keyring_load(&again), 1);
	EXPECT_EQ(again.generation, 2u);
	EXPECT_EQ(keyring_find(&again, name_of(key_of(2)).c_str(), found.data(), &old), 0);
	EXPECT_FALSE(old);
	EXPECT_EQ(keyring_find(&again, name_of(key_of(1)).c_str(), found.data(), &old), 0);
	EXPECT_TRUE(old);
	EXPECT_EQ(found, key_of(1));
	EXPECT_FALSE(keyring_expire(&again, 4999));
	EXPECT_TRUE(keyring_expire(&again, 5000));
	EXPECT_FALSE(keyring_expire(&again, 5001));
	EXPECT_EQ(keyring_find(&again, name_of(key_of(1)).c_str(), found.data(), &old), -ENOKEY);
	EXPECT_EQ(read("/keyring").find(hex(key_of(1))), std::string::npos) << "still on disk";
	ASSERT_EQ(keyring_rotate(&again, key_of(3).data(), 3, 9000), 0);
	EXPECT_EQ(keyring_find(&again, name_of(key_of(1)).c_str(), found.data(), &old), -ENOKEY);
}

TEST_F(Ring, PowerLostBetweenTheTwoFiles)
{
	ASSERT_EQ(keyring_store(&ring, key_of(1).data(), 1), 0);
	ASSERT_EQ(keyring_rotate(&ring, key_of(2).data(), 2, 5000), 0);
	write("/key", hex(key_of(1)) + "\n"); /* the ring was written, the key not yet */
	fresh(again);
	ASSERT_EQ(keyring_load(&again), 1);
	EXPECT_EQ(name_of(key_of(1)), again.name);
	EXPECT_EQ(again.generation, 0u) << "what belongs to another key is not believed";
	EXPECT_EQ(again.old_until_ms, 0u);
}

TEST_F(Ring, AFullDiskChangesNothing)
{
	ASSERT_EQ(keyring_store(&ring, key_of(1).data(), 1), 0);
	snprintf(ring.state_dir, sizeof(ring.state_dir), "/proc/nowhere");
	EXPECT_LT(keyring_rotate(&ring, key_of(2).data(), 2, 5000), 0);
	EXPECT_EQ(name_of(key_of(1)), ring.name);
	EXPECT_EQ(read("/key"), hex(key_of(1)) + "\n");
}

TEST_F(Ring, WrongFilesAreRefused)
{
	for (const std::string &text :
	     {std::string("word"), std::string(), std::string(64, 'g'), hex(key_of(1)).substr(1),
	      hex(key_of(1)) + "00", std::string(1000, '0')}) {
		write("/key", text);
		EXPECT_LT(keyring_load(&ring), 0) << text;
		EXPECT_FALSE(ring.has_key);
	}
	write("/key", hex(key_of(1)) + " \r\n");
	write("/keyring", "{\"name\": 7, \"old\": []}");
	EXPECT_EQ(keyring_load(&ring), 1);
}

size_t log_lines(const char *part)
{
	static const char *wanted;
	size_t n = 0;

	wanted = part;
	log_ring_walk(
		[](void *arg, const char *line) {
			*static_cast<size_t *>(arg) += strstr(line, wanted) != nullptr;
		},
		&n);
	return n;
}

TEST(SecureLog, OneLineForEachCauseAndAddress)
{
	static struct secure_log l;

	for (uint64_t i = 0; i < 1000; i++)
		secure_log_say(&l, i, ("10.9.8.7:" + std::to_string(1024 + i)).c_str(), "cause one", nullptr);
	secure_log_say(&l, 1000, "10.9.8.7:1", "cause two", "cause two, and how");
	secure_log_say(&l, 1000, "[fd00::7]:1", "cause one", nullptr);
	EXPECT_EQ(log_lines("10.9.8.7: cause one"), 1u);
	EXPECT_EQ(log_lines("10.9.8.7: cause two, and how"), 1u);
	EXPECT_EQ(log_lines("fd00::7: cause one"), 1u);
	secure_log_tick(&l, 5000);
	EXPECT_EQ(log_lines("times more"), 0u);
	secure_log_tick(&l, 11000);
	EXPECT_EQ(log_lines("10.9.8.7: cause one (999 times more in 10 s)"), 1u);
	secure_log_tick(&l, 40000);
	secure_log_tick(&l, 60000);
	secure_log_say(&l, 60000, "10.9.8.7:1", "cause one", nullptr);
	EXPECT_EQ(log_lines("10.9.8.7: cause one"), 3u) << "over, so it is told again";
}

TEST(SecureLog, ManyAddressesAreBounded)
{
	static struct secure_log l;

	for (int i = 0; i < 5000; i++)
		secure_log_say(&l, 1,
			       ("10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250)).c_str(),
			       "flood", nullptr);
	EXPECT_LE(log_lines("flood"), static_cast<size_t>(SECURE_LOG_ENTRIES));
	secure_log_tick(&l, 20000);
	EXPECT_EQ(log_lines("other addresses: flood"), 1u);
}

} // namespace
