// SPDX-License-Identifier: GPL-2.0
/*
 * A new key for the cluster. The entry `cluster_key` of the set `conf` says which
 * key is the one of now and brings it to those who have the one before, encrypted
 * under that: "GENERATION NAME OLD-NAME OLD-UNTIL-MS WRAPPED". Each node that applies it
 * turns to the new key by itself; the old one is good until then for connections
 * that come in, so that nobody waits for anybody.
 *
 * Who was away does not hear of it: the others talk with a key that it does not
 * know (and over TIPC it hears nothing at all). It asks one of the members that it
 * remembers, by TCP, with the old key. After that time (0: from the beginning on), or
 * when a second rotation came, the old key opens nothing any more: a person must help.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define ENTRY	      "cluster_key"
#define ALONE_MS      1500 /* without a lease: perhaps our key is old */
#define ASK_MS	      1000
#define UNKNOWN_MS    3000 /* since somebody used a key unknown to us */
#define SAME_KEY_MS   10000
#define TELL_MS	      30000
#define SPREAD_MS     5000 /* all nodes that are up should have it */
#define SPREAD_ASK_MS 200
#define NEW_LINKS_MS  3000
#define PEERS_FILE    "peers"
#define ERROR_REFUSED                                                                                       \
	"the other nodes refuse this node's key: the cluster's key was rotated while it was away, and too " \
	"long ago"
#define REMEDY_REFUSED                                                                                  \
	"copy /etc/netssi/key from a member (mode 0600) and restart netd, or join again: netctl leave " \
	"--force, "                                                                                     \
	"netctl join"

struct entry {
	unsigned int generation;
	char name[KEYS_NAME_SIZE], old_name[KEYS_NAME_SIZE];
	unsigned long long old_until_ms;
	char wrapped[KEYS_WRAP_SIZE];
};

/* ---- the entry ---- */

static bool entry_parse(const struct kddm_object *obj, struct entry *e)
{
	char text[256];

	if (!obj || obj->value_len >= sizeof(text))
		return false;
	memcpy(text, obj->value, obj->value_len);
	text[obj->value_len] = 0;
	return sscanf(text, "%u %16s %16s %llu %120s", &e->generation, e->name, e->old_name, &e->old_until_ms,
		      e->wrapped) == 5;
}

static const struct kddm_object *entry_find(struct member *m)
{
	return kddm_find(m->conf, ENTRY, strlen(ENTRY));
}

static void end_connections(struct member *m)
{
	struct member_key_state *s = &m->key_state;

	while (s->n_ended)
		secure_end_key(m->secure, s->ended[--s->n_ended]);
	OPENSSL_cleanse(s->ended, sizeof(s->ended));
}

/*
 * What was connected with it is connected anew: first the links between nodes, one
 * beside the other, so that no call is lost; then all that is left of it ends.
 */
static void key_over(struct member *m, const uint8_t key[SECURE_KEY_BYTES])
{
	struct member_key_state *s = &m->key_state;

	log_notice("the cluster's key before the last rotation is good no more");
	if (s->n_ended == ENDED_KEYS_MAX)
		end_connections(m);
	memcpy(s->ended[s->n_ended++], key, SECURE_KEY_BYTES);
	s->ended_ms = member_now_ms();
	peers_renew(m->peers);
}

/* The key of now is on disk and in use when this returns 0. */
static int turn_to(struct member *m, const uint8_t key[SECURE_KEY_BYTES], unsigned int generation,
		   uint64_t old_until_ms)
{
	struct keyring before = m->keys;
	int r = keyring_rotate(&m->keys, key, generation, old_until_ms);

	if (r < 0) {
		OPENSSL_cleanse(&before, sizeof(before));
		log_err("the new key of the cluster cannot be written to %s: %s; trying again", m->keys.path,
			strerror(-r));
		return r;
	}
	bearer_rekey(m->bearer, m->keys.key);
	m->key_state.refused = false;
	m->key_state.unknown_ms = 0;
	log_notice("the cluster's key is now number %u, %s", generation, m->keys.name);
	if (before.old_until_ms) /* its time was not over, but there is room for one */
		key_over(m, before.old);
	if (!old_until_ms)
		key_over(m, before.key);
	OPENSSL_cleanse(&before, sizeof(before));
	return 0;
}

static void look_at_entry(struct member *m)
{
	uint8_t key[SECURE_KEY_BYTES];
	struct entry e;

	if (!m->ready || !m->keys.has_key || !entry_parse(entry_find(m), &e))
		return;
	if (!strcmp(e.name, m->keys.name)) { /* ours; perhaps it came by hand */
		if (m->keys.generation != e.generation)
			keyring_store(&m->keys, m->keys.key, e.generation);
		return;
	}
	if (m->keys.generation >= e.generation || keys_unwrap(m->keys.key, e.wrapped, key) < 0)
		return;
	turn_to(m, key, e.generation, e.old_until_ms);
	OPENSSL_cleanse(key, sizeof(key));
}

/* ---- rotating, on the node that was asked ---- */

struct member_rotation {
	struct member *m;
	member_done_fn *done;
	void *arg;
	unsigned int generation; /* 0: not committed yet */
	uint64_t deadline_ms, asked_ms;
};

static void rotation_end(struct member *m)
{
	struct member_rotation *rot = m->key_state.rotation;

	m->key_state.rotation = NULL;
	rot->done(rot->arg, NULL);
	free(rot);
}

struct asked {
	struct member *m;
	uint32_t node;
};

static void on_generation(void *arg, int status, json_t *answer)
{
	struct asked *a = arg;

	if (!status)
		a->m->key_state.has[a->node] =
			(unsigned int)json_integer_value(json_object_get(answer, "generation"));
	free(a);
}

static void handle_generation(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct member *m = arg;

	(void)from;
	(void)request;
	look_at_entry(m);
	peer_call_answer(call, json_pack("{si}", "generation", (int)m->keys.generation));
}

static bool lacks_key(const struct member *m, const struct node_info *info)
{
	return info->state != NODE_LEFT && info->number != m->self &&
	       m->key_state.has[info->number] < m->keys.generation;
}

static void ask_generation(struct member *m, uint32_t node)
{
	struct asked *a = calloc(1, sizeof(*a));
	json_t *request = json_object();

	if (!a)
		abort();
	*a = (struct asked){m, node};
	peer_call(m->peers, node, "member.key", request, ASK_MS, on_generation, a);
	json_decref(request);
}

/* Who is up has it in a moment; that is waited for. */
static void rotation_tick(struct member *m)
{
	struct member_rotation *rot = m->key_state.rotation;
	uint64_t now = member_now_ms();
	bool ask = now - rot->asked_ms >= SPREAD_ASK_MS, missing = false;
	const struct kddm_object *obj;

	if (!rot->generation)
		return;
	if (ask)
		rot->asked_ms = now;
	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->state != NODE_UP || !lacks_key(m, info))
			continue;
		missing = true;
		if (ask)
			ask_generation(m, info->number);
	}
	if (!missing || now >= rot->deadline_ms)
		rotation_end(m);
}

static void on_rotated(void *arg, const struct kddm_result *result)
{
	struct member_rotation *rot = arg;
	struct member *m = rot->m;
	int r = result->status ? result->status : result->op[0];

	if (!r) {
		look_at_entry(m);
		rot->generation = m->keys.generation;
		rot->deadline_ms = member_now_ms() + SPREAD_MS;
		rotation_tick(m);
		return;
	}
	m->key_state.rotation = NULL;
	if (r == -ESTALE || r == -EEXIST)
		member_fail(rot->done, rot->arg, 1, "look at netctl status, then try again",
			    "the key was rotated by another node at the same time");
	else
		member_fail(rot->done, rot->arg, r == -EAGAIN || r == -ETIMEDOUT ? 3 : 1,
			    "look at netctl status", "the key was not rotated: %s", strerror(-r));
	free(rot);
}

static int make_entry(struct member *m, unsigned int overlap_s, char *text, size_t size)
{
	unsigned long long until = overlap_s ? member_unix_ms() + overlap_s * 1000ull : 0;
	char wrapped[KEYS_WRAP_SIZE], name[KEYS_NAME_SIZE];
	uint8_t key[SECURE_KEY_BYTES];
	int r = keys_random(key);

	if (!r)
		r = keys_wrap(m->keys.key, key, wrapped);
	keys_name(key, name);
	OPENSSL_cleanse(key, sizeof(key));
	if (!r && (size_t)snprintf(text, size, "%u %s %s %llu %s", m->keys.generation + 1, name, m->keys.name,
				   until, wrapped) >= size)
		r = -ENOSPC;
	return r;
}

void member_key_rotate(struct member *m, unsigned int overlap_s, member_done_fn *done, void *arg)
{
	const struct kddm_object *obj = entry_find(m);
	struct member_rotation *rot;
	struct kddm_batch *b;
	struct entry e;
	char text[256];

	if (m->insecure || !m->keys.has_key) {
		member_fail(done, arg, 1, "start netd without --insecure and make the cluster anew",
			    "a cluster in clear text has no key");
		return;
	}
	look_at_entry(m);
	if (!m->ready || m->key_state.rotation || (entry_parse(obj, &e) && strcmp(e.name, m->keys.name))) {
		member_fail(done, arg, 1, "try again in a moment",
			    "this node is not done with the last change");
		return;
	}
	if (!m->keys.generation) /* it came by hand, and nobody ever rotated */
		keyring_store(&m->keys, m->keys.key, 1);
	if (make_entry(m, overlap_s, text, sizeof(text)) < 0) {
		member_fail(done, arg, 1, "see netd's log", "no new key could be made");
		return;
	}
	rot = calloc(1, sizeof(*rot));
	if (!rot)
		abort();
	*rot = (struct member_rotation){.m = m, .done = done, .arg = arg};
	m->key_state.rotation = rot;
	b = kddm_batch_new(m->kddm, false);
	kddm_put(b, m->conf, ENTRY, strlen(ENTRY), text, strlen(text), obj ? obj->version : KDDM_ABSENT);
	kddm_submit(b, on_rotated, rot);
}

void member_key_info(struct member *m, struct member_key *out)
{
	const struct kddm_object *obj;

	memset(out, 0, sizeof(*out));
	if (m->insecure || !m->keys.has_key)
		return;
	strcpy(out->name, m->keys.name);
	out->generation = m->keys.generation;
	out->old_until_ms = m->keys.old_until_ms;
	out->failure = m->key_state.refused ? ERROR_REFUSED : NULL;
	out->remedy = m->key_state.refused ? REMEDY_REFUSED : NULL;
	kddm_for_each(m->nodes, obj) if (lacks_key(m, obj->value))
		out->without[out->n_without++] = ((const struct node_info *)obj->value)->number;
}

/* ---- the old key's end ---- */

static void end_old_key(struct member *m)
{
	struct member_key_state *s = &m->key_state;
	uint64_t now = member_now_ms();
	uint8_t old[SECURE_KEY_BYTES];

	if (s->n_ended && now - s->ended_ms > NEW_LINKS_MS)
		end_connections(m);
	memcpy(old, m->keys.old, sizeof(old));
	if (keyring_expire(&m->keys, member_unix_ms()))
		key_over(m, old);
	OPENSSL_cleanse(old, sizeof(old));
}

/* ---- who missed it ---- */

static void peers_path(const struct member *m, char out[256])
{
	snprintf(out, 256, "%s/" PEERS_FILE, m->state_dir);
}

static void read_peers(struct member *m)
{
	char path[256], line[TRANSPORT_ADDRESS_MAX];
	FILE *f;

	m->key_state.n_peers = 0;
	peers_path(m, path);
	f = fopen(path, "re");
	if (!f)
		return;
	while (m->key_state.n_peers < NODES_MAX && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (!transport_tcp_address(line, 0, m->key_state.peers[m->key_state.n_peers]))
			m->key_state.n_peers++;
	}
	fclose(f);
}

/* Where a node listens for TCP, also when the cluster talks over TIPC. */
static bool tcp_of(const struct member *m, const struct node_info *info, char out[TRANSPORT_ADDRESS_MAX])
{
	const char *colon = strrchr(m->id.tcp, ':');
	uint16_t port = colon ? (uint16_t)atoi(colon + 1) : MEMBER_PORT;
	const unsigned char *b = (const unsigned char *)&info->ipv4;
	char host[INET6_ADDRSTRLEN];

	if (!transport_tcp_address(info->address, 0, out))
		return true;
	if (info->ipv4)
		snprintf(host, sizeof(host), "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
	else
		inet_ntop(AF_INET6, info->ipv6, host, sizeof(host));
	return !transport_tcp_address(host, port, out);
}

/* On disk: a node that comes back has them before it hears from anybody. */
static void remember_peers(struct member *m)
{
	char text[NODES_MAX * TRANSPORT_ADDRESS_MAX] = "", path[256], before[sizeof(text)] = "";
	struct member_key_state *s = &m->key_state;
	const struct kddm_object *obj;
	size_t len = 0;

	for (size_t i = 0; i < s->n_peers; i++)
		len += (size_t)snprintf(before + len, sizeof(before) - len, "%s\n", s->peers[i]);
	len = s->n_peers = 0;
	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->state == NODE_LEFT || info->number == m->self || s->n_peers == NODES_MAX ||
		    !tcp_of(m, info, s->peers[s->n_peers]))
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", s->peers[s->n_peers++]);
	}
	peers_path(m, path);
	if (strcmp(text, before) && keys_file_write(path, text) < 0)
		log_warn("%s cannot be written", path);
}

/* Another member, asked with our key, gave the one of now; or says that ours is no good. */
static void take_answer(struct member *m, json_t *reply)
{
	const char *text = json_string_value(json_object_get(reply, "key"));
	uint8_t key[SECURE_KEY_BYTES];

	if (!text || strlen(text) != 2 * sizeof(key) || member_unhex(text, key, sizeof(key)) < 0)
		return;
	m->key_state.refused = false;
	if (memcmp(key, m->keys.key, sizeof(key)))
		turn_to(m, key, (unsigned int)json_integer_value(json_object_get(reply, "generation")),
			(uint64_t)json_integer_value(json_object_get(reply, "old_until_ms")));
	else
		m->key_state.retry_ms = member_now_ms() + SAME_KEY_MS;
	OPENSSL_cleanse(key, sizeof(key));
}

static void on_key(void *arg, int status, json_t *reply, int fd)
{
	struct member *m = arg;
	struct member_key_state *s = &m->key_state;

	s->asking = NULL;
	if (fd >= 0)
		close(fd);
	if (!status)
		take_answer(m, reply);
	if (status == -EREMOTEIO && json_integer_value(json_object_get(reply, "code")) == 4)
		member_leave_told(m);
	if (status != -EACCES)
		return;
	if (!s->refused || member_now_ms() - s->told_ms > TELL_MS) {
		log_err(ERROR_REFUSED "; " REMEDY_REFUSED);
		s->told_ms = member_now_ms();
	}
	s->refused = true;
}

static void ask_for_key(struct member *m)
{
	struct member_key_state *s = &m->key_state;
	struct secure_connect c = {.address = s->peers[s->next % s->n_peers], .done = on_key, .arg = m};

	s->next++;
	s->asked_ms = member_now_ms();
	c.hello = member_make_hello(m, "key");
	s->asking = secure_connect(m->secure, &c);
	json_decref(c.hello);
}

static void look_whether_old(struct member *m)
{
	struct member_key_state *s = &m->key_state;
	uint64_t now = member_now_ms();
	bool valid = lease_holder_valid(&m->holder, member_now_ns());

	if (valid) { /* who is in touch hears of a rotation from the log */
		s->alone_ms = now;
		s->refused = false;
		return;
	}
	if (!s->n_peers || s->asking || now < s->retry_ms || now - s->asked_ms < ASK_MS || m->insecure)
		return;
	if (now - s->alone_ms > ALONE_MS || (s->unknown_ms && now - s->unknown_ms < UNKNOWN_MS))
		ask_for_key(m);
}

void member_rotate_unknown(struct member *m)
{
	m->key_state.unknown_ms = member_now_ms();
}

/* It has an old key, or none newer: here is the one of now. */
void member_hello_key(struct member *m, struct secure_conn *c)
{
	char key[2 * SECURE_KEY_BYTES + 1];

	if (m->insecure) {
		secure_refuse(c, 1, "nothing needs to be done", "this cluster talks in clear text");
		return;
	}
	member_hex(m->keys.key, sizeof(m->keys.key), key);
	secure_answer(c, json_pack("{ss si sI}", "key", key, "generation", (int)m->keys.generation,
				   "old_until_ms", (json_int_t)m->keys.old_until_ms));
	OPENSSL_cleanse(key, sizeof(key));
}

/* ---- life ---- */

static void nodes_inserted(void *arg, const struct kddm_object *obj)
{
	struct member *m = arg;

	(void)obj;
	m->key_state.nodes_changed = true;
}

static void nodes_updated(void *arg, const struct kddm_object *old, const struct kddm_object *obj)
{
	(void)old;
	nodes_inserted(arg, obj);
}

static void nodes_reset(void *arg)
{
	nodes_inserted(arg, NULL);
}

static const struct kddm_linker nodes_linker = {
	.insert = nodes_inserted,
	.update = nodes_updated,
	.remove = nodes_inserted,
	.reset = nodes_reset,
};

void member_rotate_new(struct member *m)
{
	peer_handle(m->peers, "member.key", handle_generation, m);
	kddm_link(m->nodes, &nodes_linker, m);
}

void member_rotate_start(struct member *m)
{
	memset(&m->key_state, 0, sizeof(m->key_state));
	m->key_state.alone_ms = member_now_ms();
	read_peers(m);
}

void member_rotate_tick(struct member *m)
{
	if (!m->running)
		return;
	if (m->ready)
		bearer_tolerance(m->bearer, member_conf_uint(m, "tolerance_ms", TRANSPORT_TOLERANCE_MS));
	if (m->ready && m->key_state.nodes_changed) {
		m->key_state.nodes_changed = false;
		remember_peers(m);
	}
	if (m->insecure)
		return;
	look_at_entry(m);
	if (m->key_state.rotation)
		rotation_tick(m);
	end_old_key(m);
	look_whether_old(m);
}

void member_rotate_stop(struct member *m)
{
	struct member_key_state *s = &m->key_state;

	if (s->asking)
		secure_cancel(s->asking);
	s->asking = NULL;
	if (s->rotation && s->rotation->generation)
		rotation_end(m);
}
