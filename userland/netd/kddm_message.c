// SPDX-License-Identifier: GPL-2.0
/*
 * The engine's messages on the wire; see kddm_message.h. Heads:
 *
 *	REQUEST_VOTE		term, candidate, last index, last term, flags (1 transfer, 2 pre-vote)
 *	REQUEST_VOTE_RESULT	term, granted; u8 flags (1 pre-vote), u8 0, u16 features, u16 capacity, u16 0
 *	APPEND_ENTRIES		term, previous index, its term, commit index, n,
 *				n times {term; u8 type, u8[3] 0, u32 bytes}, 0
 *	APPEND_ENTRIES_RESULT	term, rejected, last index; u16 features, u16 capacity, u32 0
 *	INSTALL_SNAPSHOT	term, last index, its term, index of the configuration, bytes of it, it, bytes of data, 0
 *	TIMEOUT_NOW		term, last index, its term
 *
 * u64 unless it says otherwise. A configuration: u8 1, u64 n, n times {u64 id, address and 0, u8 role}, zeros
 * up to 8 bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kddm_message.h"
#include "nodes.h"
#include "userland/lib/grow.h"

#define VOTE_VERSION   2
#define RESULT_VERSION 2
#define ENTRIES_HEAD   48 /* without entries */
#define ENTRY_HEAD     16
#define SNAPSHOT_HEAD  56 /* without the configuration */
#define CONF_FORMAT    1
#define PAYLOAD_BEGIN  65536

static const struct {
	uint8_t version;
	size_t min, max; /* of the head */
} kinds[] = {
	[RAFT_APPEND_ENTRIES] = {0, ENTRIES_HEAD, KDDM_MESSAGE_HEAD_MAX},
	[RAFT_APPEND_ENTRIES_RESULT] = {RESULT_VERSION, 32, 32},
	[RAFT_REQUEST_VOTE] = {VOTE_VERSION, 40, 40},
	[RAFT_REQUEST_VOTE_RESULT] = {VOTE_VERSION, 24, 24},
	[RAFT_INSTALL_SNAPSHOT] = {0, SNAPSHOT_HEAD, KDDM_MESSAGE_HEAD_MAX},
	[RAFT_TIMEOUT_NOW] = {0, 24, 24},
};

/* A place in a head: what is read beyond its end is 0 and marks it. */
struct cursor {
	const char *at, *end;
	bool beyond;
};

static void get(struct cursor *c, void *out, size_t len)
{
	memset(out, 0, len);
	if ((size_t)(c->end - c->at) < len) {
		c->beyond = true;
		return;
	}
	memcpy(out, c->at, len);
	c->at += len;
}

static uint64_t get64(struct cursor *c)
{
	uint64_t v;

	get(c, &v, sizeof(v));
	return v;
}

static uint8_t get8(struct cursor *c)
{
	uint8_t v;

	get(c, &v, sizeof(v));
	return v;
}

/* An index of the log or a term: the engine adds to it. */
static uint64_t get_index(struct cursor *c)
{
	uint64_t v = get64(c);

	c->beyond |= v > INT64_MAX;
	return v;
}

/* 0 is the time before the first election; nobody speaks in it. */
static uint64_t get_term(struct cursor *c)
{
	uint64_t v = get_index(c);

	c->beyond |= !v;
	return v;
}

/* An entry and its term: both or none, and not from after `now`. */
static bool is_place(uint64_t index, uint64_t term, uint64_t now)
{
	return !index == !term && term <= now;
}

/* ---- configurations ---- */

static const char *get_text(struct cursor *c)
{
	const char *text = c->at, *end = memchr(c->at, 0, (size_t)(c->end - c->at));

	if (!end) {
		c->beyond = true;
		return "";
	}
	c->at = end + 1;
	return text;
}

static int get_servers(struct cursor *c, uint64_t n, struct raft_configuration *conf)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t id = get64(c);
		const char *address = get_text(c);
		uint8_t role = get8(c);

		if (c->beyond || !id || !*address || role > RAFT_SPARE ||
		    raft_configuration_add(conf, id, address, role))
			return -EPROTO;
	}
	return 0;
}

/* *conf is the caller's, also after a failure. */
static int get_configuration(const char *data, size_t len, struct raft_configuration *conf)
{
	struct cursor c = {data, data + len, false};
	uint8_t format = get8(&c);
	uint64_t n = get64(&c);

	raft_configuration_init(conf);
	if (c.beyond || format != CONF_FORMAT || !n || n > NODES_MAX || get_servers(&c, n, conf) < 0 ||
	    c.end - c.at > 7)
		return -EPROTO;
	while (c.at < c.end)
		if (get8(&c))
			return -EPROTO;
	return 0;
}

static bool is_configuration(const char *data, size_t len)
{
	struct raft_configuration conf;
	bool ok = !get_configuration(data, len, &conf);

	raft_configuration_close(&conf);
	return ok;
}

/* ---- writing ---- */

static void put(struct kddm_buf *out, const void *data, size_t len)
{
	out->data = grow(out->data, &out->size, out->len, len);
	if (len)
		memcpy(out->data + out->len, data, len);
	out->len += len;
}

static void put64(struct kddm_buf *out, uint64_t v)
{
	put(out, &v, sizeof(v));
}

static void put_pairs(struct kddm_buf *out, uint16_t a, uint16_t b, uint16_t c, uint16_t d)
{
	const uint16_t v[] = {a, b, c, d};

	put(out, v, sizeof(v));
}

static void encode_entries(struct kddm_buf *out, const struct raft_append_entries *p)
{
	put64(out, p->term);
	put64(out, p->prev_log_index);
	put64(out, p->prev_log_term);
	put64(out, p->leader_commit);
	put64(out, p->n_entries);
	for (unsigned int i = 0; i < p->n_entries; i++) {
		put64(out, p->entries[i].term);
		put64(out, (uint64_t)p->entries[i].type | (uint64_t)p->entries[i].buf.len << 32);
	}
	put64(out, 0);
}

static bool encode_snapshot(struct kddm_buf *out, const struct raft_install_snapshot *p)
{
	struct raft_buffer conf;

	if (raft_configuration_encode(&p->conf, &conf))
		return false;
	put64(out, p->term);
	put64(out, p->last_index);
	put64(out, p->last_term);
	put64(out, p->conf_index);
	put64(out, conf.len);
	put(out, conf.base, conf.len);
	put64(out, p->data.len);
	put64(out, 0);
	raft_free(conf.base);
	return true;
}

static bool encode_head(struct kddm_buf *out, const struct raft_message *m)
{
	const struct raft_request_vote *rv = &m->request_vote;
	const struct raft_request_vote_result *rvr = &m->request_vote_result;
	const struct raft_append_entries_result *aer = &m->append_entries_result;

	switch (m->type) {
	case RAFT_REQUEST_VOTE:
		put64(out, rv->term);
		put64(out, rv->candidate_id);
		put64(out, rv->last_log_index);
		put64(out, rv->last_log_term);
		put64(out, (rv->disrupt_leader ? 1 : 0) | (rv->pre_vote ? 2 : 0));
		return true;
	case RAFT_REQUEST_VOTE_RESULT:
		put64(out, rvr->term);
		put64(out, rvr->vote_granted);
		put_pairs(out, rvr->pre_vote, rvr->features, rvr->capacity, 0);
		return true;
	case RAFT_APPEND_ENTRIES:
		encode_entries(out, &m->append_entries);
		return true;
	case RAFT_APPEND_ENTRIES_RESULT:
		put64(out, aer->term);
		put64(out, aer->rejected);
		put64(out, aer->last_log_index);
		put_pairs(out, aer->features, aer->capacity, 0, 0);
		return true;
	case RAFT_INSTALL_SNAPSHOT:
		return encode_snapshot(out, &m->install_snapshot);
	case RAFT_TIMEOUT_NOW:
		put64(out, m->timeout_now.term);
		put64(out, m->timeout_now.last_log_index);
		put64(out, m->timeout_now.last_log_term);
		return true;
	default:
		return false;
	}
}

static size_t payload_bytes(const struct raft_message *m)
{
	size_t n = 0;

	if (m->type == RAFT_INSTALL_SNAPSHOT)
		return m->install_snapshot.data.len;
	if (m->type == RAFT_APPEND_ENTRIES)
		for (unsigned int i = 0; i < m->append_entries.n_entries; i++)
			n += m->append_entries.entries[i].buf.len;
	return n;
}

static void put_payload(struct kddm_buf *out, const struct raft_message *m)
{
	const struct raft_append_entries *a = &m->append_entries;

	if (m->type == RAFT_INSTALL_SNAPSHOT)
		put(out, m->install_snapshot.data.base, m->install_snapshot.data.len);
	if (m->type == RAFT_APPEND_ENTRIES)
		for (unsigned int i = 0; i < a->n_entries; i++)
			put(out, a->entries[i].buf.base, a->entries[i].buf.len);
}

bool kddm_message_encode(struct kddm_buf *out, const struct raft_message *m)
{
	size_t begin = out->len, head;

	if (!m->type || m->type > RAFT_TIMEOUT_NOW || payload_bytes(m) > KDDM_MESSAGE_PAYLOAD_MAX)
		return false;
	put64(out, (uint64_t)m->type | (uint64_t)kinds[m->type].version << 16);
	put64(out, 0);
	if (!encode_head(out, m) || out->len - begin > KDDM_MESSAGE_PREAMBLE + KDDM_MESSAGE_HEAD_MAX) {
		out->len = begin;
		return false;
	}
	head = out->len - begin - KDDM_MESSAGE_PREAMBLE;
	memcpy(out->data + begin + sizeof(uint64_t), &head, sizeof(head));
	put_payload(out, m);
	return true;
}

/* ---- reading ---- */

void kddm_message_clear(struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;

	if (m->type == RAFT_APPEND_ENTRIES && a->entries) {
		raft_free(a->entries[0].batch);
		raft_free(a->entries);
		a->entries = NULL;
	}
	if (m->type == RAFT_INSTALL_SNAPSHOT) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_configuration_init(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
		m->install_snapshot.data.base = NULL;
	}
}

/* For the next message: what was of this one has another owner. */
static void begin_anew(struct kddm_message_reader *r)
{
	r->head.len = r->whole = 0;
	r->payload = NULL;
	r->payload_len = r->have = r->room = 0;
	memset(&r->message, 0, sizeof(r->message));
}

void kddm_message_reader_free(struct kddm_message_reader *r)
{
	kddm_message_clear(&r->message);
	raft_free(r->payload);
	begin_anew(r);
	kddm_buf_free(&r->head);
}

/* 0 or -EPROTO */
static int take_preamble(struct kddm_message_reader *r)
{
	uint64_t word, head;
	uint8_t type;

	memcpy(&word, r->head.data, sizeof(word));
	memcpy(&head, r->head.data + sizeof(word), sizeof(head));
	type = (uint8_t)word;
	if (!type || type > RAFT_TIMEOUT_NOW || word != (type | (uint64_t)kinds[type].version << 16) ||
	    head < kinds[type].min || head > kinds[type].max)
		return -EPROTO;
	r->message.type = type;
	r->whole = KDDM_MESSAGE_PREAMBLE + head;
	return 0;
}

/* Bytes of one entry's data, 0: not an entry. */
static size_t take_entry(struct cursor *c, struct raft_entry *e)
{
	uint64_t word;

	e->term = get_term(c);
	word = get64(c);
	e->type = (uint8_t)word;
	e->buf.len = (size_t)(word >> 32);
	if (e->type < RAFT_COMMAND || e->type > RAFT_CHANGE || (uint32_t)word != (uint8_t)word ||
	    e->buf.len % 8)
		return 0;
	return e->buf.len;
}

static int take_entries(struct kddm_message_reader *r, struct cursor *c)
{
	struct raft_append_entries *p = &r->message.append_entries;
	uint64_t n, term;
	size_t bytes;

	p->term = get_term(c);
	p->prev_log_index = get_index(c);
	p->prev_log_term = term = get64(c);
	p->leader_commit = get_index(c);
	n = get64(c);
	if (!is_place(p->prev_log_index, p->prev_log_term, p->term) || n > KDDM_MESSAGE_HEAD_MAX ||
	    r->whole != KDDM_MESSAGE_PREAMBLE + ENTRIES_HEAD + n * ENTRY_HEAD)
		return -EPROTO;
	p->n_entries = (unsigned int)n;
	p->entries = n ? raft_calloc(n, sizeof(*p->entries)) : NULL;
	if (n && !p->entries)
		abort();
	for (size_t i = 0; i < n; i++) {
		bytes = take_entry(c, &p->entries[i]);
		r->payload_len += bytes;
		if (!bytes || r->payload_len > KDDM_MESSAGE_PAYLOAD_MAX || p->entries[i].term < term)
			return -EPROTO;
		term = p->entries[i].term;
	}
	if (term > p->term)
		return -EPROTO;
	return get64(c) ? -EPROTO : 0;
}

static int take_snapshot(struct kddm_message_reader *r, struct cursor *c)
{
	struct raft_install_snapshot *p = &r->message.install_snapshot;
	uint64_t bytes;

	p->term = get_term(c);
	p->last_index = get_index(c);
	p->last_term = get64(c);
	p->conf_index = get_index(c);
	bytes = get64(c);
	if (!p->last_index || !is_place(p->last_index, p->last_term, p->term) ||
	    p->conf_index > p->last_index || bytes != r->whole - KDDM_MESSAGE_PREAMBLE - SNAPSHOT_HEAD ||
	    get_configuration(c->at, bytes, &p->conf) < 0)
		return -EPROTO;
	c->at += bytes;
	p->data.len = get64(c);
	r->payload_len = p->data.len;
	return !p->data.len || p->data.len > KDDM_MESSAGE_PAYLOAD_MAX || get64(c) ? -EPROTO : 0;
}

static int take_vote(struct cursor *c, struct raft_request_vote *p)
{
	uint64_t flags;

	p->version = VOTE_VERSION;
	p->term = get_term(c);
	p->candidate_id = get64(c);
	p->last_log_index = get_index(c);
	p->last_log_term = get64(c);
	flags = get64(c);
	p->disrupt_leader = flags & 1;
	p->pre_vote = flags & 2;
	return flags > 3 || !is_place(p->last_log_index, p->last_log_term, p->term) ? -EPROTO : 0;
}

static int take_vote_result(struct cursor *c, struct raft_request_vote_result *p)
{
	uint64_t granted;
	uint16_t word[4];

	p->version = VOTE_VERSION;
	p->term = get_term(c);
	granted = get64(c);
	get(c, word, sizeof(word));
	p->vote_granted = granted;
	p->pre_vote = word[0];
	p->features = word[1];
	p->capacity = word[2];
	return granted > 1 || word[0] > 1 || word[3] ? -EPROTO : 0;
}

static int take_result(struct cursor *c, struct raft_append_entries_result *p)
{
	uint16_t word[4];

	p->version = RESULT_VERSION;
	p->term = get_term(c);
	p->rejected = get_index(c);
	p->last_log_index = get_index(c);
	get(c, word, sizeof(word));
	p->features = word[0];
	p->capacity = word[1];
	return word[2] || word[3] ? -EPROTO : 0;
}

static int take_timeout_now(struct cursor *c, struct raft_timeout_now *p)
{
	p->term = get_term(c);
	p->last_log_index = get_index(c);
	p->last_log_term = get64(c);
	return is_place(p->last_log_index, p->last_log_term, p->term) ? 0 : -EPROTO;
}

static int take_fields(struct kddm_message_reader *r, struct cursor *c)
{
	struct raft_message *m = &r->message;

	switch (m->type) {
	case RAFT_APPEND_ENTRIES:
		return take_entries(r, c);
	case RAFT_APPEND_ENTRIES_RESULT:
		return take_result(c, &m->append_entries_result);
	case RAFT_REQUEST_VOTE:
		return take_vote(c, &m->request_vote);
	case RAFT_REQUEST_VOTE_RESULT:
		return take_vote_result(c, &m->request_vote_result);
	case RAFT_INSTALL_SNAPSHOT:
		return take_snapshot(r, c);
	default:
		return take_timeout_now(c, &m->timeout_now);
	}
}

static int take_head(struct kddm_message_reader *r)
{
	struct cursor c = {r->head.data + KDDM_MESSAGE_PREAMBLE, r->head.data + r->whole, false};
	int rc = take_fields(r, &c);

	return rc < 0 || c.beyond || c.at != c.end ? -EPROTO : 0;
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many of the bytes belong to preamble and head, which `whole` of them complete. */
static size_t add_head(struct kddm_message_reader *r, const char *data, size_t len)
{
	size_t want = (r->whole ? r->whole : KDDM_MESSAGE_PREAMBLE) - r->head.len, n = min(want, len);

	put(&r->head, data, n);
	return n;
}

static size_t add_payload(struct kddm_message_reader *r, const char *data, size_t len)
{
	size_t n = min(r->payload_len - r->have, len);

	if (r->room - r->have < n) {
		r->room = min(r->payload_len, r->room ? 2 * r->room : PAYLOAD_BEGIN);
		if (r->room - r->have < n)
			r->room = r->have + n;
		r->payload = raft_realloc(r->payload, r->room);
		if (!r->payload)
			abort();
	}
	memcpy(r->payload + r->have, data, n);
	r->have += n;
	return n;
}

/* The payload is whole: it gets the form that the engine frees. */
static int own_payload(struct kddm_message_reader *r)
{
	struct raft_append_entries *a = &r->message.append_entries;
	size_t at = 0;

	if (r->message.type == RAFT_INSTALL_SNAPSHOT)
		r->message.install_snapshot.data.base = r->payload;
	if (r->message.type != RAFT_APPEND_ENTRIES)
		return 0;
	for (unsigned int i = 0; i < a->n_entries; i++) {
		struct raft_entry *e = &a->entries[i];

		e->batch = r->payload;
		e->buf.base = r->payload + at;
		at += e->buf.len;
		if (e->type == RAFT_CHANGE && !is_configuration(e->buf.base, e->buf.len)) {
			a->entries[0].batch = NULL; /* still the reader's */
			return -EPROTO;
		}
	}
	return 0;
}

int kddm_message_read(struct kddm_message_reader *r, const void *data, size_t len, kddm_message_fn *take,
		      void *arg)
{
	const char *at = data, *end = at + len;
	struct raft_message m;

	while (at < end) {
		if (!r->whole || r->head.len < r->whole) {
			at += add_head(r, at, (size_t)(end - at));
			if (!r->whole && r->head.len == KDDM_MESSAGE_PREAMBLE && take_preamble(r) < 0)
				return -EPROTO;
			if (r->head.len != r->whole)
				continue;
			if (take_head(r) < 0)
				return -EPROTO;
		} else {
			at += add_payload(r, at, (size_t)(end - at));
		}
		if (r->have < r->payload_len)
			continue;
		if (own_payload(r) < 0)
			return -EPROTO;
		m = r->message;
		begin_anew(r);
		if (!take(arg, &m))
			return 0;
	}
	return 0;
}
