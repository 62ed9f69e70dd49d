// SPDX-License-Identifier: GPL-2.0
// libraft's messages between nodes.
#include "kddm_world_machine.h"

void *raft_copy(const void *data, size_t len)
{
	void *copy = raft_malloc(len ? len : 1);

	memcpy(copy, data, len);
	return copy;
}

std::string conf_bytes(const raft_configuration *c)
{
	raft_buffer b;
	std::string s;

	raft_configuration_encode(c, &b);
	s.assign(static_cast<char *>(b.base), b.len);
	raft_free(b.base);
	return s;
}

void conf_from(const std::string &bytes, raft_configuration *c)
{
	std::string copy = bytes;
	raft_buffer b = {copy.data(), copy.size()};

	raft_configuration_init(c);
	raft_configuration_decode(&b, c);
}

struct Letter {
	raft_message m;
	std::vector<Entry> entries;
	Snapshot snapshot;
	std::string from;
};

static void letter_deliver(const Letter &l, raft_id id, Process *q)
{
	raft_message m = l.m;

	if (!q->recv)
		return;
	m.server_id = id;
	m.server_address = l.from.c_str();
	if (m.type == RAFT_APPEND_ENTRIES && !l.entries.empty()) {
		size_t n = l.entries.size(), bytes = 0, at = 0;
		char *batch;

		for (const Entry &e : l.entries)
			bytes += (e.data.size() + 7) & ~7ul;
		batch = static_cast<char *>(raft_malloc(bytes + 8));
		m.append_entries.entries = static_cast<raft_entry *>(raft_calloc(n, sizeof(raft_entry)));
		for (size_t i = 0; i < n; i++) {
			const Entry &e = l.entries[i];

			memcpy(batch + at, e.data.data(), e.data.size());
			m.append_entries.entries[i].term = e.term;
			m.append_entries.entries[i].type = e.type;
			m.append_entries.entries[i].buf = {batch + at, e.data.size()};
			m.append_entries.entries[i].batch = batch;
			at += (e.data.size() + 7) & ~7ul;
		}
	} else if (m.type == RAFT_APPEND_ENTRIES) {
		m.append_entries.entries = nullptr;
	}
	if (m.type == RAFT_INSTALL_SNAPSHOT) {
		conf_from(l.snapshot.conf, &m.install_snapshot.conf);
		m.install_snapshot.data = {raft_copy(l.snapshot.data.data(), l.snapshot.data.size()),
					   l.snapshot.data.size()};
	}
	q->recv(q->io, &m);
}

extern "C" {

void member_raft_send(struct member *m, const raft_message *message)
{
	uint32_t to = node_of(message->server_address);
	auto l = std::make_shared<Letter>();
	raft_id id = m->id.raft_id;

	l->m = *message;
	l->from = cur->node->address();
	if (message->type == RAFT_APPEND_ENTRIES)
		for (unsigned i = 0; i < message->append_entries.n_entries; i++) {
			const raft_entry &e = message->append_entries.entries[i];

			l->entries.push_back({e.term, static_cast<raft_entry_type>(e.type),
					      std::string(static_cast<char *>(e.buf.base), e.buf.len)});
		}
	if (message->type == RAFT_INSTALL_SNAPSHOT) {
		const raft_install_snapshot &s = message->install_snapshot;

		l->snapshot.conf = conf_bytes(&s.conf);
		l->snapshot.data.assign(static_cast<char *>(s.data.base), s.data.len);
	}
	if (!unreachable(to))
		the_world->carry(cur, to, [l, id](Process *q) { letter_deliver(*l, id, q); }, true);
}
void member_raft_prefer(struct member *, uint32_t)
{
}
void member_raft_flush(struct member *)
{
}
void member_raft_tick(struct member *)
{
}
void member_raft_stop(struct member *)
{
}

} // extern "C"
