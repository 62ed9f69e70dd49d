// SPDX-License-Identifier: GPL-2.0
/*
 * What stands in the log, or comes from a peer as requests, is applied to a state machine; then its snapshot
 * is read back. Refused input changes nothing; two replicas agree; a state survives its snapshot.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "userland/netd/kddm_fsm.h"

static const struct kddm_type types[] = {
	{.id = 40, .name = "any"},
	{.id = 41, .name = "fixed", .key_len = 4},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replica_init(struct kddm_fsm *f)
{
	kddm_fsm_init(f, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		kddm_fsm_register(f, &types[i], NULL);
}

static void add_node_op(struct kddm_buf *entry, uint8_t kind)
{
	struct node_info info = {.number = 1, .raft_id = 7, .incarnation = 1, .name = "n1"};
	struct kddm_wire_op op = {.kind = kind, .value_len = sizeof(info)};
	struct kddm_wire_request req = {.n_ops = 1};
	struct kddm_buf ops = {0};

	kddm_op_encode(&ops, &op, NULL, &info);
	req.bytes = (uint32_t)ops.len;
	kddm_entry_add(entry, &req, ops.data);
	kddm_buf_free(&ops);
}

/* A node that is up, so that requests of node 1 in life 1 are heard. */
static void node_up(struct kddm_fsm *f)
{
	struct kddm_buf entry = {0};

	kddm_entry_begin(&entry);
	add_node_op(&entry, KDDM_OP_NODE_JOIN);
	add_node_op(&entry, KDDM_OP_NODE_UP);
	kddm_entry_end(&entry);
	kddm_fsm_apply(f, 1, entry.data, entry.len);
	kddm_buf_free(&entry);
}

static void check(int ok)
{
	if (!ok)
		abort();
}

/* The input is entries, each after its length in eight bytes. */
static void replay(struct kddm_fsm *f, const uint8_t *data, size_t size)
{
	uint64_t len, index = 1;

	while (size >= sizeof(len)) {
		uint64_t before = kddm_fsm_digest(f);
		void *entry;

		memcpy(&len, data, sizeof(len));
		data += sizeof(len);
		size -= sizeof(len);
		len = len < size ? len : size;
		entry = aligned_alloc(8, (len + 15) & ~7ul);
		memcpy(entry, data, len);
		if (kddm_fsm_apply(f, ++index, entry, len) < 0)
			check(kddm_fsm_digest(f) == before);
		free(entry);
		data += len;
		size -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kddm_fsm a, b;
	struct kddm_buf snapshot = {0};

	replica_init(&a);
	replica_init(&b);
	node_up(&a);
	node_up(&b);
	replay(&a, data, size);
	replay(&b, data, size);
	check(kddm_fsm_digest(&a) == kddm_fsm_digest(&b));
	kddm_fsm_snapshot(&a, &snapshot);
	kddm_fsm_forget(&b);
	check(kddm_fsm_restore(&b, snapshot.data, snapshot.len) == 0);
	check(kddm_fsm_digest(&a) == kddm_fsm_digest(&b));
	kddm_buf_free(&snapshot);
	kddm_fsm_clear(&a);
	kddm_fsm_clear(&b);
	return 0;
}
