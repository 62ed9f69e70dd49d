// SPDX-License-Identifier: GPL-2.0
/*
 * Entering and leaving a cluster. One of these at a time (struct member_job).
 *
 * join: ask any member what the cluster is (query; a token brings the key), start
 * the engine with an empty log, ask to be named (join; any member hands it to the
 * leader), then wait until the cluster has found us and we are live.
 * leave: the leader commits it and takes us out of the raft configuration; when we
 * lead ourselves, somebody else must do that first.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "member_int.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define INIT_MS	       15000
#define JOIN_MS	       30000
#define LEAVE_MS       20000
#define LEAVE_ASK_MS   300
#define LEAVE_ALONE_MS 6000 /* we are out; nobody tells us that we may go */

enum job_kind { JOB_INIT, JOB_JOIN, JOB_LEAVE };

struct member_job {
	enum job_kind kind;
	member_done_fn *done;
	void *arg;
	uint64_t deadline_ms, asked_ms;
	/* join */
	char peer[TRANSPORT_ADDRESS_MAX];
	char identity[SECURE_IDENTITY_MAX];
	uint8_t secret[SECURE_KEY_BYTES];
	bool named; /* the cluster gave us our name; catching up */
	/* leave */
	uint32_t node;
	uint64_t raft_id; /* whom we meant: the number may be another's by then */
	bool force;
	bool own;		     /* this machine is to leave */
	bool told;		     /* a member refuses us as one that has left */
	struct member_error failure; /* told when the engine is down */
	bool failed;
};

/* ---- errors ---- */

static void fill_error(struct member_error *e, int code, const char *remedy, const char *fmt, va_list ap)
{
	e->code = code;
	snprintf(e->remedy, sizeof(e->remedy), "%s", remedy ? remedy : "");
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
}

void member_fail(member_done_fn *done, void *arg, int code, const char *remedy, const char *fmt, ...)
{
	struct member_error e;
	va_list ap;

	va_start(ap, fmt);
	fill_error(&e, code, remedy, fmt, ap);
	va_end(ap);
	done(arg, &e);
}

static struct member_job *job_new(struct member *m, enum job_kind kind, unsigned int limit_ms,
				  member_done_fn *done, void *arg)
{
	struct member_job *j;

	if (m->job || m->stopping || (m->secure && !m->running)) {
		member_fail(done, arg, 1, "wait for it", "another init, join or leave is under way");
		return NULL;
	}
	j = calloc(1, sizeof(*j));
	if (!j)
		abort();
	j->kind = kind;
	j->done = done;
	j->arg = arg;
	j->deadline_ms = member_now_ms() + limit_ms;
	m->job = j;
	return j;
}

static void job_end(struct member *m, const struct member_error *error)
{
	struct member_job *j = m->job;

	m->job = NULL;
	explicit_bzero(j->secret, sizeof(j->secret));
	j->done(j->arg, error);
	free(j);
}

/* Nothing half done: what was begun is taken down before the error is told. */
static void __attribute__((format(printf, 4, 5))) job_fail(struct member *m, int code, const char *remedy,
							   const char *fmt, ...)
{
	struct member_job *j = m->job;
	va_list ap;

	if (j->failed)
		return;
	va_start(ap, fmt);
	fill_error(&j->failure, code, remedy, fmt, ap);
	va_end(ap);
	j->failed = true;
	if (j->kind != JOB_LEAVE && m->running) {
		member_leave_now(m); /* member_join_left() ends the job */
		return;
	}
	if (j->kind != JOB_LEAVE)
		member_state_wipe(m);
	job_end(m, &m->job->failure);
}

bool member_join_undone(const struct member *m)
{
	return m->job && m->job->failed;
}

void member_join_left(struct member *m)
{
	if (!m->job)
		return;
	if (m->job->failed)
		job_end(m, &m->job->failure);
	else if (m->job->kind == JOB_LEAVE && m->job->own)
		job_end(m, NULL);
	else if (m->job->kind == JOB_LEAVE)
		job_fail(m, 1, "ask another member", "this machine was taken out itself meanwhile");
}

/* ---- this machine ---- */

static bool ip_text(const struct sockaddr *sa, char out[INET6_ADDRSTRLEN])
{
	const void *ip = sa && sa->sa_family == AF_INET
				 ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
			 : sa && sa->sa_family == AF_INET6
				 ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
				 : NULL;

	return ip && inet_ntop(sa->sa_family, ip, out, INET6_ADDRSTRLEN);
}

static bool is_usable(const struct ifaddrs *i)
{
	const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;

	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
		return false;
	return i->ifa_addr->sa_family == AF_INET ||
	       (i->ifa_addr->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr));
}

/* The interface that has `ip`. */
static void find_interface(const char *ip, char bearer[16])
{
	struct ifaddrs *all, *i;
	char text[INET6_ADDRSTRLEN];
	bool found = false;

	if (getifaddrs(&all) < 0)
		return;
	for (i = all; i && !found; i = i->ifa_next) {
		if (!ip_text(i->ifa_addr, text) || strcmp(text, ip))
			continue;
		snprintf(bearer, 16, "%s", i->ifa_name);
		found = true;
	}
	freeifaddrs(all);
}

/* First address of the interface, or of any when it is "". IPv4 is preferred. */
static bool find_address(const char *bearer, char ip[INET6_ADDRSTRLEN])
{
	struct ifaddrs *all, *i;
	int found = 0;

	if (getifaddrs(&all) < 0)
		return false;
	for (i = all; i; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : 0;

		if (!is_usable(i) || (bearer[0] && strcmp(bearer, i->ifa_name)))
			continue;
		if (!found || (found == AF_INET6 && family == AF_INET)) {
			ip_text(i->ifa_addr, ip);
			found = family;
		}
	}
	freeifaddrs(all);
	return found;
}

/* Which of our addresses the packets to `peer` ("IP:PORT") come from. */
static bool find_source(const char *peer, char ip[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	_close_ int fd = transport_udp_route(peer);

	return fd >= 0 && !getsockname(fd, (struct sockaddr *)&a, &len) && ip_text((struct sockaddr *)&a, ip);
}

static int set_name(struct member *m, const char *name)
{
	char host[NODES_NAME_SIZE] = "";

	if (!name || !name[0]) {
		gethostname(host, sizeof(host) - 1);
		host[strcspn(host, ".")] = 0;
		name = host;
	}
	if (!nodes_name_valid(name)) {
		job_fail(m, 2, "use letters, digits, '-', '.', '_', at most 63", "\"%s\" is no node name",
			 name);
		return -EINVAL;
	}
	snprintf(m->id.name, sizeof(m->id.name), "%s", name);
	return 0;
}

static int set_address(struct member *m, const struct member_machine *machine, const char *peer)
{
	uint16_t port = machine->port ? machine->port : MEMBER_PORT;
	char ip[INET6_ADDRSTRLEN] = "";

	snprintf(m->id.bearer, sizeof(m->id.bearer), "%s", machine->bearer ? machine->bearer : "");
	if (m->id.bearer[0] && !if_nametoindex(m->id.bearer)) {
		job_fail(m, 2, "name one of `ip link`", "there is no interface %s here", m->id.bearer);
		return -ENODEV;
	}
	if (machine->address && machine->address[0])
		snprintf(ip, sizeof(ip), "%s", machine->address);
	else if (!(peer && find_source(peer, ip)) && !find_address(m->id.bearer, ip)) {
		job_fail(m, 1, "give one with --addr", "no address found for this node");
		return -EADDRNOTAVAIL;
	}
	if (transport_tcp_address(ip, port, m->id.tcp) < 0) {
		job_fail(m, 2, "give an IPv4 or IPv6 address", "\"%s\" is no address", ip);
		return -EINVAL;
	}
	if (!m->id.bearer[0])
		find_interface(ip, m->id.bearer);
	if (!transport_is_local(m->id.tcp)) {
		job_fail(m, 1, "give one of `ip addr`", "%s is not an address of this machine", ip);
		return -EADDRNOTAVAIL;
	}
	return 0;
}

static int choose_transport(struct member *m, const struct member_machine *machine)
{
	const char *want = machine->transport && machine->transport[0] ? machine->transport : "auto";
	bool bearer = machine->bearer && machine->bearer[0];

	if (!strcmp(want, "auto"))
		want = bearer && transport_tipc_available() ? "tipc" : "tcp";
	if (strcmp(want, "tcp") && strcmp(want, "tipc")) {
		job_fail(m, 2, "use tcp, tipc or auto", "unknown transport \"%s\"", want);
		return -EINVAL;
	}
	snprintf(m->id.transport, sizeof(m->id.transport), "%s", want);
	return 0;
}

/* The engine's directory and our address in the chosen transport. */
static int make_place(struct member *m)
{
	int r = member_raft_dir(m, true);

	if (r < 0) {
		job_fail(m, 1, "make the directory writable", "%s: %s", m->state_dir, strerror(-r));
		return r;
	}
	if (!strcmp(m->id.transport, "tipc")) {
		if (!transport_tipc_available()) {
			job_fail(m, 1, "modprobe tipc", "the kernel has no TIPC, which this cluster uses");
			return -EAFNOSUPPORT;
		}
		transport_tipc_address(transport_tipc_instance(m->id.raft_id), m->id.address);
	} else {
		snprintf(m->id.address, sizeof(m->id.address), "%s", m->id.tcp);
	}
	return 0;
}

static int start_engine(struct member *m, bool bootstrap)
{
	int r = member_run(m, bootstrap);

	if (!r)
		r = member_state_save(m);
	if (r == -EADDRINUSE)
		job_fail(m, 1, "stop what listens there, or set another port in netd.conf", "%s is in use",
			 m->id.tcp);
	else if (r < 0)
		job_fail(m, 1, "see netd's log", "cannot start: %s", strerror(-r));
	return r;
}

/* ---- init ---- */

static int prepare_key(struct member *m)
{
	int r = member_key_load(m);

	if (!r && !m->insecure)
		r = member_key_create(m);
	if (r < 0)
		job_fail(m, 1, "repair or remove it", "the key file %s: %s", m->keys.path, strerror(-r));
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
	if (set_name(m, machine->name) < 0 || set_address(m, machine, NULL) < 0 ||
	    choose_transport(m, machine) < 0 || prepare_key(m) < 0 || make_place(m) < 0)
		return;
	if (getrandom(cluster, sizeof(cluster), 0) != sizeof(cluster)) {
		job_fail(m, 1, "try again", "no random numbers");
		return;
	}
	member_hex(cluster, sizeof(cluster), m->id.cluster);
	if (!start_engine(m, true))
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
	j = job_new(m, JOB_INIT, INIT_MS, done, arg);
	if (!j)
		return;
	m->insecure = m->params.insecure;
	j->node = nodes_min;
	start_init(m, machine);
}

/* ---- join: the newcomer's side ---- */

static void join_refused(struct member *m, int status, json_t *reply)
{
	const char *error = json_string_value(json_object_get(reply, "error"));
	const char *remedy = json_string_value(json_object_get(reply, "remedy"));

	job_fail(m, 1, remedy ? remedy : "see netd's log there", "%s", error ? error : strerror(-status));
}

static void on_named(void *arg, int status, json_t *reply, int fd)
{
	struct member *m = arg;

	if (fd >= 0)
		close(fd);
	if (!m->job || m->job->failed)
		return;
	if (status) {
		join_refused(m, status, reply);
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
		job_fail(m, 1, "try again", "out of memory");
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
		job_fail(m, 1, "run the same version on all nodes", "%s gives no cluster", m->job->peer);
		return;
	}
	if (choose_transport(m, &none) < 0 || make_place(m) < 0)
		return;
	if (take_key(m, reply) < 0) {
		job_fail(m, 1, "make its directory writable", "the key cannot be stored in %s", m->keys.path);
		return;
	}
	if (!start_engine(m, false))
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
			join_refused(e->m, e->status, e->reply);
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
	if (set_name(m, machine->name) < 0 || set_address(m, machine, j->peer) < 0)
		return;
	if (secure_new(&sp, &m->secure) < 0) {
		job_fail(m, 1, "try again", "out of memory");
		return;
	}
	c.hello = json_pack("{si si ss ss}", "v", (int)member_protocol, "vmin", (int)member_protocol_min,
			    "purpose", "query", "name", m->id.name);
	if (!secure_connect(m->secure, &c))
		job_fail(m, 1, "try again", "out of memory");
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
	j = job_new(m, JOB_JOIN, JOIN_MS, done, arg);
	if (!j)
		return;
	strcpy(j->peer, address);
	m->insecure = m->params.insecure;
	strcpy(j->identity, "insecure");
	if (!m->insecure && (!secret || member_secret_parse(secret, j->identity, j->secret, hint) < 0)) {
		job_fail(m, 2, "make one with `netctl token` on a member",
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

static json_t *refusal(int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static json_t *refusal(int code, const char *remedy, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_pack("{ss si ss}", "error", text, "code", code, "remedy", remedy);
}

static void on_name_committed(void *arg, const struct kddm_result *result)
{
	struct naming *n = arg;
	int r = result->status ? result->status : result->op[0];

	if (!r)
		n->answer(n->arg, json_object());
	else if (r == -EEXIST)
		n->answer(n->arg, refusal(1, "choose another with --name, or take that one out first",
					  "a node named %s is up in this cluster", n->info.name));
	else if (result->status)
		n->answer(n->arg, refusal(3, "look at netctl status there", "the cluster has no quorum"));
	else
		n->answer(n->arg, refusal(1, "see netd's log", "not accepted: %s", strerror(-r)));
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
		answer(arg, refusal(1, "run the same version on all nodes", "cannot be read"));
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
		secure_answer(arg,
			      refusal(1, "try again", "the leader does not answer: %s", strerror(-status)));
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
		secure_answer(c, refusal(3, "look at netctl status there", "the cluster has no leader"));
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
		peer_call_answer(call, refusal(1, "try again", "the leader has just changed"));
}

/* ---- leave ---- */

struct take_out {
	uint32_t node;
	uint64_t raft_id; /* 0: asked by a netd that does not say. Another one has the number now: it is gone */
	bool force, silent;
};

static json_t *take_out(struct member *m, uint32_t from, const struct take_out *t)
{
	const struct node_info *info = nodes_get(m->nodes, t->node);

	if (!m->leads)
		return json_pack("{sb}", "gone", 0);
	if (!info)
		return refusal(1, "see netctl nodes", "there is no such node");
	if (t->raft_id && t->raft_id != info->raft_id)
		return json_pack("{sb}", "gone", kddm_raft_role(m->raft, t->raft_id) < 0);
	if (info->state == NODE_UP && from != t->node && !t->force)
		return refusal(1, "run netctl leave there, or add --force", "%s is up", info->name);
	if (info->state != NODE_LEFT) {
		if (t->node == m->self)
			member_leave_silence(m);
		member_lead_take_out(m, info, t->node == m->self || (t->silent && from == t->node));
		return json_pack("{sb}", "gone", 0);
	}
	return json_pack("{sb}", "gone", kddm_raft_role(m->raft, info->raft_id) < 0);
}

static void handle_leave(void *arg, uint32_t from, json_t *request, struct peer_call *call)
{
	struct take_out t = {
		.node = (uint32_t)json_integer_value(json_object_get(request, "node")),
		.raft_id = (uint64_t)json_integer_value(json_object_get(request, "raft_id")),
		.force = json_is_true(json_object_get(request, "force")),
		.silent = json_is_true(json_object_get(request, "silent")),
	};

	peer_call_answer(call, take_out(arg, from, &t));
}

static void leave_answered(struct member *m, json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	struct member_job *j = m->job;

	if (!j || j->kind != JOB_LEAVE || j->failed)
		return;
	if (error)
		join_refused(m, 0, answer);
	else if (json_is_true(json_object_get(answer, "gone")) && j->node != m->self)
		job_end(m, NULL);
	else if (json_is_true(json_object_get(answer, "gone")))
		member_leave_told(m); /* before the entry came here that says so: now it never will */
}

static void on_leave_answer(void *arg, int status, json_t *answer)
{
	if (!status)
		leave_answered(arg, answer);
}

static void ask_to_leave(struct member *m)
{
	struct member_job *j = m->job;
	uint64_t now = member_now_ms();
	json_t *request;

	if (now - j->asked_ms < LEAVE_ASK_MS)
		return;
	j->asked_ms = now;
	if (j->node == m->self)
		member_leave_silence(m);
	if (m->leads) {
		const struct take_out t = {j->node, j->raft_id, j->force, true};
		json_t *answer = take_out(m, m->self, &t);

		leave_answered(m, answer);
		json_decref(answer);
	} else if (m->leader) {
		request = json_pack("{si sI sb sb}", "node", (int)j->node, "raft_id", (json_int_t)j->raft_id,
				    "force", j->force, "silent", j->node == m->self);
		peer_call(m->peers, m->leader, "member.leave", request, 2000, on_leave_answer, m);
		json_decref(request);
	}
}

static unsigned int others_up(struct member *m)
{
	const struct kddm_object *obj;
	unsigned int n = 0;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		n += info->state == NODE_UP && info->number != m->self;
	}
	return n;
}

static uint32_t lease_of(struct member *m, const struct node_info *info)
{
	uint32_t ms = member_lease_held_ms(m);

	return info && info->lease_ms > ms ? info->lease_ms : ms;
}

void member_leave(struct member *m, uint32_t node, bool force, member_done_fn *done, void *arg)
{
	const struct node_info *info;
	struct member_job *j;

	if (!m->in_cluster) {
		member_fail(done, arg, 4, "`netctl init` or `netctl join`", "this machine is in no cluster");
		return;
	}
	if (m->ready && m->self && (!node || node == m->self) && !force && !others_up(m)) {
		member_fail(done, arg, 1, "bring the others back first; --force when that is meant",
			    "no other node is up: the cluster, its addresses and settings end with this one");
		return;
	}
	j = job_new(m, JOB_LEAVE, LEAVE_MS, done, arg);
	if (!j)
		return;
	j->node = node ? node : m->self;
	j->own = j->node == m->self;
	j->force = force;
	info = nodes_get(m->nodes, j->node);
	j->raft_id = info ? info->raft_id : 0;
	j->deadline_ms += lease_of(m, info); /* it may have to run out first */
	if (!j->node || (j->node == m->self && !m->running))
		member_leave_now(m); /* never got a name, or takes no part: nobody waits for us */
}

static void on_gone_answer(void *arg, int status, json_t *answer)
{
	struct member *m = arg;

	if (!status && json_is_true(json_object_get(answer, "gone")))
		member_leave_now(m);
}

static void on_handed_over(void *arg, int status)
{
	(void)arg;
	(void)status;
}

/* The voters that are up are a quorum without us. */
static bool others_are_enough(struct member *m)
{
	const struct raft_configuration *conf = kddm_raft_members(m->raft);
	unsigned int all = 0, up = 0;

	for (unsigned int i = 0; i < conf->n; i++) {
		const struct node_info *info = nodes_by_raft_id(m->nodes, conf->servers[i].id);

		if (conf->servers[i].role != RAFT_VOTER)
			continue;
		all++;
		up += info && info->state == NODE_UP && info->number != m->self;
	}
	return up * 2 > all;
}

static bool others_belong(struct member *m)
{
	const struct kddm_object *obj;
	unsigned int n = 0;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		n += info->state != NODE_LEFT && info->number != m->self;
	}
	return n > 0;
}

/*
 * The last vote, and with it the last copy that counts, does not go with a node that others were to follow: those
 * that died meanwhile may come back. Whoever says --force means it.
 */
static bool may_go(struct member *m)
{
	bool forced = m->job && m->job->kind == JOB_LEAVE && m->job->force;

	if (kddm_raft_role(m->raft, m->id.raft_id) < 0)
		return true;
	if (!others_up(m))
		return forced || !others_belong(m);
	return others_are_enough(m) && member_now_ms() - m->leaving_ms > LEAVE_ALONE_MS;
}

static void ask_whether_gone(struct member *m, uint32_t node)
{
	json_t *request = json_pack("{si sI}", "node", (int)m->self, "raft_id", (json_int_t)m->id.raft_id);

	peer_call(m->peers, node, "member.leave", request, 2000, on_gone_answer, m);
	json_decref(request);
}

/* Who is out of the configuration is told of no leader. */
static void ask_all_whether_gone(struct member *m)
{
	const struct kddm_object *obj;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->state == NODE_UP && info->number != m->self)
			ask_whether_gone(m, info->number);
	}
}

/* Committed: we are out. Stay until the others can do without our vote. */
void member_leave_progress(struct member *m)
{
	uint64_t now = member_now_ms();

	if (!m->leaving_ms) {
		m->leaving_ms = now;
		member_leave_silence(m);
		kddm_identify(m->kddm, 0, 0);
		m->named = KDDM_LEADER_UNNUMBERED;
	}
	if (may_go(m)) {
		member_leave_now(m);
		return;
	}
	if (now - m->leave_asked_ms < LEAVE_ASK_MS)
		return;
	m->leave_asked_ms = now;
	if (m->leads)
		kddm_raft_transfer(m->raft, on_handed_over, m);
	else if (m->leader)
		ask_whether_gone(m, m->leader);
	else if (now - m->leaving_ms > LEAVE_ALONE_MS)
		ask_all_whether_gone(m);
}

/* ---- time ---- */

static void set_nodes_min(struct member *m, unsigned int n)
{
	struct kddm_batch *b;
	char text[16];

	if (!n)
		return;
	snprintf(text, sizeof(text), "%u", n);
	b = kddm_batch_new(m->kddm, false);
	kddm_put(b, m->conf, "nodes_min", strlen("nodes_min"), text, strlen(text), KDDM_ANY);
	kddm_submit(b, NULL, NULL);
}

void member_join_tick(struct member *m)
{
	struct member_job *j = m->job;

	if (!j || j->failed)
		return;
	if (j->kind != JOB_LEAVE && m->status == MEMBER_LIVE) {
		if (j->kind == JOB_INIT)
			set_nodes_min(m, j->node);
		job_end(m, NULL);
		return;
	}
	if (j->told && m->running) {
		member_leave_now(m);
		return;
	}
	if (j->kind == JOB_LEAVE && m->running && !m->leaving_ms)
		ask_to_leave(m);
	if (m->job != j || member_now_ms() < j->deadline_ms)
		return;
	if (j->kind == JOB_JOIN)
		job_fail(m, 1, "open the port there and here, then try again",
			 j->named ? "the cluster accepted this node but cannot reach it at %s"
				  : "no answer from the cluster to this node at %s",
			 m->id.tcp);
	else if (j->kind == JOB_INIT)
		job_fail(m, 1, "see netd's log", "the new cluster does not come up");
	else if (j->node == m->self && j->force)
		member_leave_now(m); /* to the others this is a death */
	else if (j->node != m->self)
		job_fail(m, 3,
			 "bring back enough voters, see `netctl nodes`; if they are lost for good: `netctl "
			 "recover`",
			 "no quorum confirms that %s has left", member_name(m, j->node));
	else if (m->leaving_ms)
		job_fail(m, 3, "it goes by itself when they are back; --force if they are lost",
			 "this node has left, but the others cannot do without its vote yet");
	else
		job_fail(m, 3, "look at `netctl status`; --force if the others are lost",
			 "no quorum confirms that this node has left");
}

/* The entry that says that we left may never reach us: we are out of the raft configuration. */
void member_leave_told(struct member *m)
{
	if (member_leave_asked(m))
		m->job->told = true;
}

bool member_leave_asked(const struct member *m)
{
	return m->job && !m->job->failed && m->job->kind == JOB_LEAVE && m->job->node == m->self;
}

/* Before others are told: what we own is theirs as soon as they agree. */
void member_leave_silence(struct member *m)
{
	m->params.events->lease(m->params.arg, 0);
	m->holder.expiry_ns = 0;
	m->silent_ns = member_now_ns();
}

void member_join_handlers(struct member *m)
{
	peer_handle(m->peers, "member.join", handle_join, m);
	peer_handle(m->peers, "member.leave", handle_leave, m);
}
