// SPDX-License-Identifier: GPL-2.0
/*
 * Entering a cluster, or making one.
 *
 * join: ask any member what the cluster is (query; a token brings the key), start
 * the engine with an empty log, ask to be named (join; any member hands it to the
 * leader), then wait until the cluster has found us and we are live.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "member_job.h"
#include "userland/lib/log.h"

#define INIT_MS 15000
#define JOIN_MS 30000

/* ---- init ---- */

static int prepare_key(struct member *m)
{
	int r = member_key_load(m);

	if (!r && !m->insecure)
		r = member_key_create(m);
	if (r < 0)
		member_job_fail(m, 1, "repair or remove it", "the key file %s: %s", m->keys.path,
				strerror(-r));
	return r;
}

static bool same_machine(struct member *m, const struct member_machine *machine)
{
	char address[TRANSPORT_ADDRESS_MAX];

	if (machine->name && machine->name[0] && strcmp(machine->name, m->id.name))
		return false;
	if (!machine->address || !machine->address[0])
		return true;
	return !transport_tcp_address(machine->address, machine->port ? machine->port : MEMBER_PORT,
				      address) &&
	       !strcmp(address, m->id.tcp);
}

static void start_init(struct member *m, const struct member_machine *machine)
{
	uint8_t cluster[16];

	memset(&m->id, 0, sizeof(m->id));
	if (member_set_name(m, machine->name) < 0 || member_set_address(m, machine, NULL) < 0 ||
	    member_choose_transport(m, machine) < 0 || prepare_key(m) < 0 || member_make_place(m) < 0)
		return;
	if (getrandom(cluster, sizeof(cluster), 0) != sizeof(cluster)) {
		member_job_fail(m, 1, "try again", "no random numbers");
		return;
	}
	member_hex(cluster, sizeof(cluster), m->id.cluster);
	if (!member_start_engine(m, true))
		log_notice("a new cluster: %s at %s over %s%s", m->id.name, m->id.tcp, m->id.transport,
			   m->insecure ? ", IN CLEAR TEXT" : "");
}

void member_init(struct member *m, const struct member_machine *machine, unsigned int nodes_min,
		 member_done_fn *done, void *arg)
{
	struct member_job *j;

	if (m->in_cluster && !m->job && same_machine(m, machine)) {
		done(arg, NULL);
		return;
	}
	if (m->in_cluster && !m->job) {
		member_fail(done, arg, 1, "`netctl leave` first",
			    "this machine is already in a cluster, as %s at %s", m->id.name, m->id.tcp);
		return;
	}
	j = member_job_new(m, JOB_INIT, INIT_MS, done, arg);
	if (!j)
		return;
	m->insecure = m->params.insecure;
	j->node = nodes_min;
	start_init(m, machine);
}

/* ---- join: the newcomer's side ---- */

static void on_named(void *arg, int status, json_t *reply, int fd)
{
	struct member *m = arg;

	if (fd >= 0)
		close(fd);
	if (!m->job || m->job->failed)
		return;
	if (status) {
		member_job_refused(m, status, reply);
		return;
	}
	m->job->named = true;
}

static void ask_for_name(struct member *m)
{
	struct member_job *j = m->job;
	struct secure_connect c = {.address = j->peer,
				   .identity = j->identity,
				   .key = j->secret,
				   .timeout_ms = 10000,
				   .done = on_named,
				   .arg = m};
	struct node_info info;
	char text[2 * sizeof(info) + 1];

	member_fill_own(m, &info);
	member_hex(&info, sizeof(info), text);
	c.hello = member_make_hello(m, "join");
	json_object_set_new(c.hello, "info", json_string(text));
	if (!secure_connect(m->secure, &c))
		member_job_fail(m, 1, "try again", "out of memory");
	json_decref(c.hello);
}

static int take_key(struct member *m, json_t *reply)
{
	const char *text = json_string_value(json_object_get(reply, "key"));
	json_t *generation = json_object_get(reply, "key_generation"); /* none: never rotated */
	uint8_t key[SECURE_KEY_BYTES];
	int r;

	if (m->insecure)
		return 0;
	if (!text || strlen(text) != 2 * sizeof(key) || member_unhex(text, key, sizeof(key)) < 0)
		return -EPROTO;
	r = member_key_store(m, key, generation ? (unsigned int)json_integer_value(generation) : 1);
	explicit_bzero(key, sizeof(key));
	return r;
}

static void copy_text(json_t *obj, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(obj, name));

	snprintf(out, size, "%s", text ? text : "");
}

static void enter(struct member *m, json_t *reply)
{
	struct member_machine none = {0};
	char transport[8];

	copy_text(reply, "cluster", m->id.cluster, sizeof(m->id.cluster));
	copy_text(reply, "transport", transport, sizeof(transport));
	generation_unpack(reply, &m->id.generation);
	none.transport = transport;
	if (strlen(m->id.cluster) != 32) {
		member_job_fail(m, 1, "run the same version on all nodes", "%s gives no cluster",
				m->job->peer);
		return;
	}
	if (member_choose_transport(m, &none) < 0 || member_make_place(m) < 0)
		return;
	if (take_key(m, reply) < 0) {
		member_job_fail(m, 1, "make its directory writable", "the key cannot be stored in %s",
				m->keys.path);
		return;
	}
	if (!member_start_engine(m, false))
		ask_for_name(m);
}

struct enter_later {
	struct member *m;
	json_t *reply;
	int status;
};

static void on_query_closed(void *arg)
{
	struct enter_later *e = arg;

	e->m->secure = NULL;
	if (e->m->job && !e->m->job->failed) {
		if (e->status)
			member_job_refused(e->m, e->status, e->reply);
		else
			enter(e->m, e->reply);
	}
	json_decref(e->reply);
	free(e);
}

/* The connection for the query is made without an engine; it goes first. */
static void on_query(void *arg, int status, json_t *reply, int fd)
{
	struct member *m = arg;
	struct enter_later *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	if (fd >= 0)
		close(fd);
	e->m = m;
	e->status = status;
	e->reply = json_incref(reply);
	secure_close(m->secure, on_query_closed, e);
}

static void unexpected_hello(void *arg, struct secure_conn *c, const char *identity, json_t *hello)
{
	(void)arg;
	(void)identity;
	(void)hello;
	secure_refuse(c, 1, "try again later", "not in a cluster");
}

static void start_join(struct member *m, const struct member_machine *machine)
{
	struct secure_params sp = {.loop = m->params.loop,
				   .insecure = m->insecure,
				   .identity = member_identity,
				   .find_key = member_find_key,
				   .hello = unexpected_hello,
				   .arg = m};
	struct member_job *j = m->job;
	struct secure_connect c = {
		.address = j->peer, .identity = j->identity, .key = j->secret, .done = on_query, .arg = m};

	memset(&m->id, 0, sizeof(m->id));
	m->id.witness = machine->witness;
	if (member_set_name(m, machine->name) < 0 || member_set_address(m, machine, j->peer) < 0)
		return;
	if (secure_new(&sp, &m->secure) < 0) {
		member_job_fail(m, 1, "try again", "out of memory");
		return;
	}
	c.hello = json_pack("{si si ss ss}", "v", (int)member_protocol, "vmin", (int)member_protocol_min,
			    "purpose", "query", "name", m->id.name);
	if (!secure_connect(m->secure, &c))
		member_job_fail(m, 1, "try again", "out of memory");
	json_decref(c.hello);
}

void member_join(struct member *m, const struct member_machine *machine, const char *peer, const char *secret,
		 member_done_fn *done, void *arg)
{
	char hint[TRANSPORT_ADDRESS_MAX], address[TRANSPORT_ADDRESS_MAX];
	struct member_job *j;

	if (m->in_cluster && !m->job) {
		member_fail(done, arg, 1, "`netctl leave` first",
			    "this machine is already in a cluster, as %s", m->id.name);
		return;
	}
	if (transport_tcp_address(peer, MEMBER_PORT, address) < 0) {
		member_fail(done, arg, 2, "give IP or IP:PORT of any member", "\"%s\" is no address", peer);
		return;
	}
	j = member_job_new(m, JOB_JOIN, JOIN_MS, done, arg);
	if (!j)
		return;
	strcpy(j->peer, address);
	m->insecure = m->params.insecure;
	strcpy(j->identity, "insecure");
	if (!m->insecure && (!secret || member_secret_parse(secret, j->identity, j->secret, hint) < 0)) {
		member_job_fail(m, 2, "make one with `netctl token` on a member",
				"the token or key file holds neither a token nor a key");
		return;
	}
	start_join(m, machine);
}

/* ---- join: the members' side ---- */

void member_hello_query(struct member *m, struct secure_conn *c, const char *identity, json_t *hello)
{
	char key[2 * SECURE_KEY_BYTES + 1] = "";
	json_t *reply;

	(void)identity;
	(void)hello;
	if (!m->insecure)
		member_hex(m->keys.key, sizeof(m->keys.key), key);
	reply = json_pack("{ss ss ss si}", "cluster", m->id.cluster, "transport", m->id.transport, "key", key,
			  "key_generation", (int)m->keys.generation);
	generation_pack(reply, &m->id.generation);
	secure_answer(c, reply);
	explicit_bzero(key, sizeof(key));
}

struct naming {
	struct member *m;
	struct node_info info;
	void (*answer)(void *arg, json_t *reply);
	void *arg;
};

static void on_name_committed(void *arg, const struct kddm_result *result)
{
	struct naming *n = arg;
	int r = result->status ? result->status : result->op[0];

	if (!r)
		n->answer(n->arg, json_object());
	else if (r == -EEXIST)
		n->answer(n->arg, member_refusal(1, "choose another with --name, or take that one out first",
						 "a node named %s is up in this cluster", n->info.name));
	else if (result->status)
		n->answer(n->arg,
			  member_refusal(3, "look at netctl status there", "the cluster has no quorum"));
	else
		n->answer(n->arg, member_refusal(1, "see netd's log", "not accepted: %s", strerror(-r)));
	free(n);
}

/* On the leader. */
static void name_newcomer(struct member *m, const char *text, void (*answer)(void *, json_t *), void *arg)
{
	struct naming *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->m = m;
	n->answer = answer;
	n->arg = arg;
	if (!text || strlen(text) != 2 * sizeof(n->info) ||
	    member_unhex(text, &n->info, sizeof(n->info)) < 0) {
		answer(arg, member_refusal(1, "run the same version on all nodes", "cannot be read"));
		free(n);
		return;
	}
	n->info.name[sizeof(n->info.name) - 1] = 0;
	n->info.joined_ms = n->info.changed_ms = member_unix_ms();
	kddm_submit_node_op(m->kddm, KDDM_OP_NODE_JOIN, &n->info, on_name_committed, n);
}

static void answer_conn(void *arg, json_t *reply)
{
	secure_answer(arg, reply);
}

static void on_leader_named(void *arg, int status, json_t *answer)
{
	if (status)
		secure_answer(arg, member_refusal(1, "try again", "the leader does not answer: %s",
						  strerror(-status)));
	else
		secure_answer(arg, json_incref(answer));
}

void member_hello_join(struct member *m, struct secure_conn *c, json_t *hello)
{
	const char *text = json_string_value(json_object_get(hello, "info"));
	json_t *request;

	if (m->leads) {
		name_newcomer(m, text, answer_conn, c);
		return;
	}
	if (!m->leader || !text) {
		secure_answer(c,
			      member_refusal(3, "look at netctl status there", "the cluster has no leader"));
		return;
	}
	request = json_pack("{ss}", "info", text);
	peer_call(m->peers, m->leader, "member.join", request, 8000, on_leader_named, c);
	json_decref(request);
}

static void answer_call(void *arg, json_t *reply)
{
	peer_call_answer(arg, reply);
}

static void handle_join(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct member *m = arg;

	(void)from;
	if (m->leads)
		name_newcomer(m, json_string_value(json_object_get(request, "info")), answer_call, call);
	else
		peer_call_answer(call, member_refusal(1, "try again", "the leader has just changed"));
}

void member_join_handlers(struct member *m)
{
	peer_handle(m->peers, "member.join", handle_join, m);
}
