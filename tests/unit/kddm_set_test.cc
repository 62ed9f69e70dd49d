// SPDX-License-Identifier: GPL-2.0
// A set in memory against std::map, and the codec of entries against damage.
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>

extern "C" {
#include "userland/netd/kddm_op.h"
#include "userland/netd/kddm_set.h"
}

namespace {

const kddm_type any_type = {40, "any", 0, nullptr, false, nullptr};

std::string text(const void *p, size_t n)
{
	return std::string(static_cast<const char *>(p), n);
}

TEST(KddmSet, AgreesWithMapInContentAndOrder)
{
	kddm_set *set = kddm_set_alloc(&any_type);
	std::map<std::string, std::string> model;
	std::mt19937 rng(7);

	for (int i = 0; i < 20000; i++) {
		std::string key = "k" + std::to_string(rng() % 3000), value(rng() % 40, 'v');

		if (rng() % 3) {
			kddm_object *obj =
				kddm_object_new(key.data(), key.size(), value.data(), value.size());

			kddm_object_free(kddm_set_insert(set, obj));
			model[key] = value;
		} else {
			kddm_object *old = kddm_set_take(set, key.data(), key.size());

			EXPECT_EQ(old != nullptr, model.erase(key) == 1);
			kddm_object_free(old);
		}
	}
	ASSERT_EQ(kddm_count(set), model.size());
	auto it = model.begin();
	const kddm_object *obj;
	kddm_for_each(set, obj)
	{
		ASSERT_EQ(text(obj->key, obj->key_len), it->first);
		ASSERT_EQ(text(obj->value, obj->value_len), it->second);
		ASSERT_EQ(reinterpret_cast<uintptr_t>(obj->value) % 8, 0u);
		ASSERT_EQ(kddm_find(set, it->first.data(), it->first.size()), obj);
		++it;
	}
	kddm_set_free(set);
}

struct Seen {
	std::string log;
};

void on_insert(void *arg, const kddm_object *obj)
{
	static_cast<Seen *>(arg)->log += "+" + text(obj->key, obj->key_len);
}

TEST(KddmSet, LinkReportsWhatIsThere)
{
	static const kddm_linker linker = {on_insert, nullptr, nullptr, nullptr, nullptr};
	kddm_set *set = kddm_set_alloc(&any_type);
	Seen seen;

	for (const char *key : {"b", "a", "c"})
		kddm_set_insert(set, kddm_object_new(key, 1, "", 0));
	kddm_link(set, &linker, &seen);
	EXPECT_EQ(seen.log, "+a+b+c");
	kddm_set_free(set);
}

// An entry of `requests` requests with `ops` operations each.
kddm_buf make_entry(unsigned requests, unsigned ops)
{
	kddm_buf entry = {};

	kddm_entry_begin(&entry);
	for (unsigned r = 0; r < requests; r++) {
		kddm_wire_request req = {};
		kddm_buf data = {};

		for (unsigned i = 0; i < ops; i++) {
			std::string key = "key" + std::to_string(i);
			kddm_wire_op op = {};

			op.kind = KDDM_OP_PUT;
			op.type = 40;
			op.key_len = static_cast<uint16_t>(key.size());
			op.value_len = static_cast<uint16_t>(i % 50);
			kddm_op_encode(&data, &op, key.data(), std::string(50, 'x').data());
		}
		req.node = 1;
		req.incarnation = 1;
		req.seq = r + 1;
		req.n_ops = ops;
		req.bytes = static_cast<uint32_t>(data.len);
		kddm_entry_add(&entry, &req, data.data);
		kddm_buf_free(&data);
	}
	kddm_entry_end(&entry);
	return entry;
}

unsigned count_ops(const void *entry)
{
	const kddm_wire_request *req = nullptr;
	unsigned n = 0;

	while ((req = kddm_request_next(entry, req))) {
		const kddm_wire_op *op = nullptr;

		while ((op = kddm_op_next(req, op)))
			n++;
	}
	return n;
}

TEST(KddmOp, RoundTrip)
{
	kddm_buf entry = make_entry(3, 70);

	EXPECT_EQ(entry.len % 8, 0u);
	ASSERT_EQ(kddm_entry_check(entry.data, entry.len), 0);
	EXPECT_EQ(count_ops(entry.data), 210u);
	kddm_buf_free(&entry);
}

TEST(KddmOp, TooManyOperationsAreRefused)
{
	kddm_buf fits = make_entry(1, KDDM_BATCH_MAX), over = make_entry(2, KDDM_BATCH_MAX / 2 + 1);

	EXPECT_EQ(kddm_entry_check(fits.data, fits.len), 0);
	EXPECT_EQ(kddm_entry_check(over.data, over.len), -EPROTO);
	kddm_buf_free(&fits);
	kddm_buf_free(&over);
}

TEST(KddmOp, FutureVersionHasItsOwnError)
{
	kddm_buf entry = make_entry(1, 1);

	reinterpret_cast<kddm_wire_entry *>(entry.data)->version++;
	EXPECT_EQ(kddm_entry_check(entry.data, entry.len), -EPROTONOSUPPORT);
	kddm_buf_free(&entry);
}

TEST(KddmOp, MembershipOnlyFromTheClusterItself)
{
	kddm_buf entry = make_entry(1, 1);
	auto *op = reinterpret_cast<kddm_wire_op *>(entry.data + sizeof(kddm_wire_entry) +
						    sizeof(kddm_wire_request));

	op->kind = KDDM_OP_NODE_DEAD;
	EXPECT_EQ(kddm_entry_check(entry.data, entry.len), -EPROTO);
	kddm_buf_free(&entry);
}

// Every length cut off and thousands of damaged bytes: either refused, or
// walked without leaving the buffer (the sanitizer watches).
TEST(KddmOp, DamageIsNeverReadPastTheEnd)
{
	kddm_buf entry = make_entry(4, 12);
	std::mt19937 rng(11);

	for (size_t len = 0; len < entry.len; len++) {
		void *copy = malloc(len ? len : 1);

		memcpy(copy, entry.data, len);
		EXPECT_LT(kddm_entry_check(copy, len), 0);
		free(copy);
	}
	for (int i = 0; i < 30000; i++) {
		char *copy = static_cast<char *>(malloc(entry.len));

		memcpy(copy, entry.data, entry.len);
		for (unsigned n = rng() % 3 + 1; n; n--)
			copy[rng() % entry.len] = static_cast<char>(rng());
		if (kddm_entry_check(copy, entry.len) == 0) {
			EXPECT_LE(count_ops(copy), static_cast<unsigned>(KDDM_BATCH_MAX));
		}
		free(copy);
	}
	kddm_buf_free(&entry);
}

} // namespace
