// SPDX-License-Identifier: GPL-2.0
/*
 * What the death of a node means for ports, applications and moves, at each
 * step of a move: the real sets and the real log entries, no network.
 */
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <string>
#include <vector>

extern "C" {
#include "userland/netd/kddm_core.h"
#include "userland/netd/objects.h"
}

namespace {

uint64_t env_now(void *)
{
	return 0;
}
uint32_t env_leader(void *)
{
	return 0;
}
bool env_quorum(void *)
{
	return false;
}
int env_forward(void *, uint32_t, const void *, size_t)
{
	return -1;
}
int env_propose(void *, const void *, size_t)
{
	return -1;
}
int env_ask(void *, uint32_t, uint64_t, uint64_t)
{
	return -1;
}
int env_tell(void *, uint32_t, uint64_t)
{
	return -1;
}

const char app[] = "redis";
const uint32_t SRC = 1, DST = 2, OTHER = 3;

class Objects : public ::testing::Test {
      protected:
	struct kddm *k;
	struct objects sets;
	uint64_t index = 0, seq[4] = {1, 1, 1, 1};
	struct port_key port_key = {0, IPPROTO_TCP, 6379, 0, 0};

	void SetUp() override
	{
		static const struct kddm_env env = {env_now,	 env_leader, env_quorum, env_forward,
						    env_propose, env_ask,    env_tell};

		k = kddm_new(&env, nullptr);
		ASSERT_EQ(0, objects_register(k, &sets));
		kddm_start(k);
		for (uint32_t n = SRC; n <= OTHER; n++) {
			node_op(KDDM_OP_NODE_JOIN, n);
			node_op(KDDM_OP_NODE_UP, n);
		}
	}
	void TearDown() override
	{
		kddm_free(k);
	}
	void request(const struct kddm_wire_request &head, const struct kddm_buf &ops)
	{
		struct kddm_wire_request r = head;
		struct kddm_buf entry = {};

		r.n_ops = 1;
		r.bytes = (uint32_t)ops.len;
		kddm_entry_begin(&entry);
		kddm_entry_add(&entry, &r, ops.data);
		kddm_entry_end(&entry);
		ASSERT_EQ(0, kddm_apply(k, ++index, entry.data, entry.len));
		kddm_buf_free(&entry);
	}
	void node_op(uint8_t kind, uint32_t node)
	{
		struct kddm_wire_op op = {};
		struct kddm_wire_request r = {};
		struct node_info info = {};
		struct kddm_buf ops = {};

		info.number = node;
		info.raft_id = 100 + node;
		info.incarnation = 7;
		snprintf(info.name, sizeof(info.name), "n%u", node);
		op.kind = kind;
		op.value_len = sizeof(info);
		kddm_op_encode(&ops, &op, nullptr, &info);
		request(r, ops);
		kddm_buf_free(&ops);
	}
	void die(uint32_t node)
	{
		node_op(KDDM_OP_NODE_DEAD, node);
	}
	/* As `owner` would write it. */
	void own(uint16_t type, const void *key, size_t key_len, const void *value, size_t len,
		 uint32_t owner)
	{
		struct kddm_wire_op op = {};
		struct kddm_wire_request r = {};
		struct kddm_buf ops = {};

		r.node = owner;
		r.incarnation = 7;
		r.seq = seq[owner]++;
		op.kind = KDDM_OP_GRAB;
		op.type = type;
		op.key_len = (uint16_t)key_len;
		op.value_len = (uint16_t)len;
		op.owner = owner;
		op.expect = KDDM_ANY;
		kddm_op_encode(&ops, &op, key, value);
		request(r, ops);
		kddm_buf_free(&ops);
	}
	void set_port(uint8_t state)
	{
		struct port_value v = {};

		v.node = SRC;
		v.next = state == PORT_HOLD ? DST : 0;
		v.state = state;
		strcpy(v.app, app);
		own(OBJECT_PORTS, &port_key, sizeof(port_key), &v, sizeof(v), SRC);
	}
	void set_app(uint8_t state)
	{
		struct app_value v = {};

		v.node = v.origin = SRC;
		v.state = state;
		own(OBJECT_APPS, app, strlen(app), &v, sizeof(v), SRC);
	}
	void set_move(uint8_t step)
	{
		struct move_value m = {};

		m.id = 1;
		m.src = SRC;
		m.dst = DST;
		m.step = step;
		own(OBJECT_MOVES, app, strlen(app), &m, sizeof(m), SRC);
	}
	void moving(uint8_t step)
	{
		set_port(PORT_HOLD);
		set_app(APP_MOVING);
		set_move(step);
	}
	const struct kddm_object *port()
	{
		return kddm_find(sets.ports, &port_key, sizeof(port_key));
	}
	void expect_port(uint32_t node, uint8_t state)
	{
		struct port_value v;

		ASSERT_NE(nullptr, port());
		object_read(port(), &v, sizeof(v));
		EXPECT_EQ(node, v.node);
		EXPECT_EQ(node, port()->owner);
		EXPECT_EQ(state, v.state);
		EXPECT_EQ(state == PORT_HOLD ? DST : 0u, v.next);
	}
	const struct kddm_object *app_object()
	{
		return kddm_find(sets.apps, app, strlen(app));
	}
	void expect_app(uint32_t node, uint8_t state)
	{
		struct app_value v;

		ASSERT_NE(nullptr, app_object());
		object_read(app_object(), &v, sizeof(v));
		EXPECT_EQ(node, v.node);
		EXPECT_EQ(node, app_object()->owner);
		EXPECT_EQ(state, v.state);
	}
	uint8_t step()
	{
		const struct kddm_object *o = kddm_find(sets.moves, app, strlen(app));
		struct move_value m;

		if (!o)
			return 0;
		object_read(o, &m, sizeof(m));
		return m.step;
	}
};

TEST_F(Objects, DeathTakesWhatTheNodeOwned)
{
	set_port(PORT_OWNED);
	set_app(APP_RUNNING);
	die(SRC);
	EXPECT_EQ(nullptr, port());
	EXPECT_EQ(nullptr, app_object());
}

TEST_F(Objects, APinWaitsForItsNode)
{
	struct port_value v = {};
	const struct kddm_object *obj;

	v.node = SRC;
	v.state = PORT_OWNED;
	v.flags = PORT_PINNED;
	own(OBJECT_PORTS, &port_key, sizeof(port_key), &v, sizeof(v), SRC);
	die(SRC);
	obj = kddm_find(sets.ports, &port_key, sizeof(port_key));
	ASSERT_TRUE(obj);
	EXPECT_EQ(obj->owner, 0u);
	object_read(obj, &v, sizeof(v));
	EXPECT_EQ(v.node, SRC);
	die(DST);
	EXPECT_TRUE(kddm_find(sets.ports, &port_key, sizeof(port_key))) << "another's death";
	node_op(KDDM_OP_NODE_LEAVE, SRC);
	EXPECT_FALSE(kddm_find(sets.ports, &port_key, sizeof(port_key))) << "it left for good";
}

TEST_F(Objects, DeathOfAnotherTakesNothing)
{
	moving(MOVE_IMAGE_COMPLETE);
	uint64_t version = port()->version;

	die(OTHER);
	expect_port(SRC, PORT_HOLD);
	expect_app(SRC, APP_MOVING);
	EXPECT_EQ(version, port()->version);
	EXPECT_EQ(MOVE_IMAGE_COMPLETE, step());
}

TEST_F(Objects, TargetDiesThenTheSourceGoesOn)
{
	moving(MOVE_PREPARED);
	die(DST);
	expect_port(SRC, PORT_OWNED);
	expect_app(SRC, APP_RUNNING);
	EXPECT_EQ(MOVE_ABORTED, step());
}

TEST_F(Objects, TargetDiesWithAWholeImage)
{
	moving(MOVE_IMAGE_COMPLETE);
	die(DST);
	expect_port(SRC, PORT_OWNED);
	expect_app(SRC, APP_RUNNING);
	EXPECT_EQ(MOVE_ABORTED, step());
}

TEST_F(Objects, SourceDiesBeforeTheImageIsWhole)
{
	moving(MOVE_PREPARED);
	die(SRC);
	EXPECT_EQ(nullptr, port());
	EXPECT_EQ(nullptr, app_object());
	EXPECT_EQ(0, step());
}

TEST_F(Objects, SourceDiesAfterwardsThenTheTargetInherits)
{
	moving(MOVE_IMAGE_COMPLETE);
	uint64_t epoch = port()->epoch;

	die(SRC);
	expect_port(DST, PORT_OWNED);
	expect_app(DST, APP_RUNNING);
	EXPECT_EQ(MOVE_FLIPPED, step());
	EXPECT_GT(port()->epoch, epoch) << "the old owner must be fenced off";
}

TEST_F(Objects, BothDie)
{
	moving(MOVE_IMAGE_COMPLETE);
	die(SRC);
	die(DST);
	EXPECT_EQ(nullptr, port());
	EXPECT_EQ(nullptr, app_object());
	EXPECT_EQ(0, step());
}

TEST_F(Objects, AnAbortedMoveIsNotInherited)
{
	moving(MOVE_ABORTED);
	die(SRC);
	EXPECT_EQ(nullptr, app_object());
	EXPECT_EQ(0, step());
}

TEST_F(Objects, ShorterAndLongerValuesAreRead)
{
	uint64_t bytes[3] = {1, 2, 3}, out[2] = {9, 9};
	struct kddm_object o = {};

	o.value = bytes;
	o.value_len = 8;
	object_read(&o, out, sizeof(out));
	EXPECT_EQ(1u, out[0]);
	EXPECT_EQ(0u, out[1]);
	o.value_len = 24;
	object_read(&o, out, sizeof(out));
	EXPECT_EQ(2u, out[1]);
}

} // namespace
