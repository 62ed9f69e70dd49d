// SPDX-License-Identifier: GPL-2.0
/*
 * A node that is nothing but membership and sets, for tests of many processes:
 *	kddm_node STATE_DIR [--insecure]
 * Commands come as lines on stdin, each gives one line on stdout in the end
 * ("ok ...", "error ..."); events are lines that begin with "event".
 * End of stdin is a planned stop.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "kddm_node.h"
#include "userland/lib/log.h"
#include "userland/netd/kddm_core.h"
#include "userland/netd/member.h"

static struct {
	uv_loop_t loop;
	uv_pipe_t in;
	char line[4096];
	size_t len;
	struct member *member;
	struct kddm *kddm;
	struct kddm_set *set;
	char state[200];
} node;

static const struct kddm_type test_type = {.id = 40, .name = "test"};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static void on_lease(void *arg, uint64_t expiry_ns)
{
	(void)arg;
	if (!expiry_ns)
		say("event lease 0");
}

static void on_ready(void *arg)
{
	(void)arg;
	say("event ready");
}

static void on_fenced(void *arg)
{
	(void)arg;
	say("event fenced");
}

static void on_status(void *arg, enum member_status status)
{
	(void)arg;
	say("event status %s", member_status_name(status));
}

static const struct member_events events = {on_lease, on_ready, on_fenced, on_status};

static void on_done(void *arg, const struct member_error *error)
{
	(void)arg;
	if (error)
		say("error %d %s; %s", error->code, error->text, error->remedy);
	else
		say("ok");
}

static void on_result(void *arg, const struct kddm_result *r)
{
	size_t bad = 0;

	(void)arg;
	for (size_t i = 0; i < r->n_ops; i++)
		bad += r->op[i] != 0;
	if (r->status || bad)
		say("error status %d bad %zu first %d index %llu", r->status, bad, r->n_ops ? r->op[0] : 0,
		    (unsigned long long)r->index);
	else
		say("ok %llu", (unsigned long long)r->index);
}

static void on_waited(void *arg, int status)
{
	(void)arg;
	say("%s %d", status ? "error" : "ok", status);
}

static void write_one(const char *op, const char *key, const char *value)
{
	struct kddm_batch *b = kddm_batch_new(node.kddm, false);

	if (!strcmp(op, "put"))
		kddm_put(b, node.set, key, strlen(key), value, strlen(value), KDDM_ANY);
	else if (!strcmp(op, "claim"))
		kddm_grab(b, node.set, key, strlen(key), value, strlen(value), KDDM_ABSENT,
			  member_self(node.member));
	else
		kddm_remove(b, node.set, key, strlen(key), KDDM_ANY);
	kddm_submit(b, on_result, NULL);
}

/* N claims in one batch: KEY-0 … */
static void write_many(const char *key, unsigned int n)
{
	struct kddm_batch *b = kddm_batch_new(node.kddm, false);
	char name[128];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s-%u", key, i);
		if (kddm_grab(b, node.set, name, strlen(name), name, strlen(name), KDDM_ANY,
			      member_self(node.member)) < 0) {
			say("error batch");
			kddm_batch_free(b);
			return;
		}
	}
	kddm_submit(b, on_result, NULL);
}

static struct {
	char key[64];
	unsigned int left;
	uint64_t begin_ns;
} serial;

static void next_serial(void);

static void on_serial(void *arg, const struct kddm_result *r)
{
	if (r->status) {
		say("error status %d", r->status);
		return;
	}
	(void)arg;
	next_serial();
}

/* N writes, each after the last is done: mean microseconds. */
static void next_serial(void)
{
	static unsigned int total;
	struct kddm_batch *b;

	if (!serial.begin_ns) {
		serial.begin_ns = uv_hrtime();
		total = serial.left;
	}
	if (!serial.left--) {
		say("ok %llu us each", (unsigned long long)((uv_hrtime() - serial.begin_ns) / 1000 / total));
		return;
	}
	b = kddm_batch_new(node.kddm, false);
	kddm_put(b, node.set, serial.key, strlen(serial.key), "x", 1, KDDM_ANY);
	kddm_submit(b, on_serial, NULL);
}

static void get(const char *key)
{
	const struct kddm_object *obj = kddm_find(node.set, key, strlen(key));

	if (obj)
		say("ok %.*s owner %u version %llu", (int)obj->value_len, (const char *)obj->value,
		    obj->owner, (unsigned long long)obj->version);
	else
		say("error absent");
}

static void print_node(void *arg, const struct member_node *n)
{
	char *text = arg;

	snprintf(text + strlen(text), 4000 - strlen(text), " %s:%u:%s:%s%s", n->info->name, n->info->number,
		 nodes_state_name(n->info->state), n->role, n->leader ? ":leader" : "");
}

static void print_status(void)
{
	struct member_cluster c;

	member_cluster(node.member, &c);
	say("ok %s self %u leader %u term %llu applied %llu up %u voters %u lease %llu",
	    member_status_name(member_status(node.member)), member_self(node.member), c.leader,
	    (unsigned long long)c.term, (unsigned long long)c.applied_index, c.up, c.voters,
	    (unsigned long long)c.lease_left_ms);
}

static void cluster_command(char **w, int n)
{
	struct member_machine machine = {
		.name = n > 1 ? w[1] : NULL, .address = n > 2 ? w[2] : NULL, .transport = "tcp"};
	char secret[512] = "";
	FILE *f;

	if (!strcmp(w[0], "init")) {
		member_init(node.member, &machine, 0, on_done, NULL);
		return;
	}
	f = n > 4 ? fopen(w[4], "r") : NULL;
	if (f) {
		if (!fgets(secret, sizeof(secret), f))
			secret[0] = 0;
		fclose(f);
	}
	member_join(node.member, &machine, n > 3 ? w[3] : "", secret, on_done, NULL);
}

static void print_token(unsigned int ttl)
{
	char token[300];

	if (member_token(node.member, ttl, token, sizeof(token)) < 0)
		say("error no token");
	else
		say("ok %s", token);
}

static void command(char *line)
{
	char *w[8] = {0}, *save, text[4096] = "";
	int n = 0;

	for (char *t = strtok_r(line, " ", &save); t && n < 8; t = strtok_r(NULL, " ", &save))
		w[n++] = t;
	if (!n)
		return;
	if (!strcmp(w[0], "init") || !strcmp(w[0], "join"))
		cluster_command(w, n);
	else if (!strcmp(w[0], "put") || !strcmp(w[0], "claim") || !strcmp(w[0], "remove"))
		write_one(w[0], w[1], n > 2 ? w[2] : "");
	else if (!strcmp(w[0], "many"))
		write_many(w[1], (unsigned int)atoi(w[2]));
	else if (!strcmp(w[0], "serial")) {
		snprintf(serial.key, sizeof(serial.key), "%s", w[1]);
		serial.left = (unsigned int)atoi(w[2]);
		serial.begin_ns = 0;
		next_serial();
	} else if (!strcmp(w[0], "get"))
		get(w[1]);
	else if (!strcmp(w[0], "count"))
		say("ok %zu", kddm_count(node.set));
	else if (!strcmp(w[0], "digest"))
		say("ok %016llx", (unsigned long long)kddm_fsm_digest(kddm_fsm_of(node.kddm)));
	else if (!strcmp(w[0], "status"))
		print_status();
	else if (!strcmp(w[0], "nodes")) {
		member_each(node.member, print_node, text);
		say("ok%s", text);
	} else if (!strcmp(w[0], "wait"))
		kddm_wait_applied(node.kddm, strtoull(w[1], NULL, 10), NULL, 0, 5000, on_waited, NULL);
	else if (!strcmp(w[0], "set"))
		member_conf_set(node.member, w[1], w[2], on_done, NULL);
	else if (!strcmp(w[0], "token"))
		print_token((unsigned int)atoi(w[1]));
	else if (!strcmp(w[0], "leave"))
		member_leave(node.member, n > 1 ? (uint32_t)atoi(w[1]) : 0, n > 2, on_done, NULL);
	else
		say("error unknown %s", w[0]);
}

static void on_stopped(void *arg)
{
	(void)arg;
	uv_close((uv_handle_t *)&node.in, NULL);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	(void)h;
	(void)size;
	*buf = uv_buf_init(node.line + node.len, (unsigned int)(sizeof(node.line) - node.len - 1));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	char *end;

	(void)buf;
	if (n < 0) {
		uv_read_stop(s);
		member_stop(node.member, true, 10000, on_stopped, NULL);
		return;
	}
	node.len += (size_t)n;
	node.line[node.len] = 0;
	while ((end = strchr(node.line, '\n'))) {
		*end++ = 0;
		command(node.line);
		node.len -= (size_t)(end - node.line);
		memmove(node.line, end, node.len + 1);
	}
}

int kddm_node_main(int argc, char **argv)
{
	char key[300];
	struct member_params params = {.loop = &node.loop,
				       .state_dir = node.state,
				       .key_path = key,
				       .run_dir = node.state,
				       .events = &events,
				       .election_ms = 300};

	if (argc < 2)
		return 2;
	params.insecure = argc > 2 && !strcmp(argv[2], "--insecure");
	signal(SIGPIPE, SIG_IGN);
	log_init("kddm_node", LOG_INFO);
	snprintf(node.state, sizeof(node.state), "%s", argv[1]);
	snprintf(key, sizeof(key), "%s/key", argv[1]);
	mkdir(argv[1], 0700);
	uv_loop_init(&node.loop);
	if (member_new(&params, &node.member) < 0)
		return 1;
	node.kddm = member_kddm(node.member);
	kddm_set_register(node.kddm, &test_type, &node.set);
	uv_pipe_init(&node.loop, &node.in, 0);
	uv_pipe_open(&node.in, 0);
	uv_read_start((uv_stream_t *)&node.in, on_alloc, on_read);
	if (member_boot(node.member) < 0)
		return 1;
	say("event started");
	uv_run(&node.loop, UV_RUN_DEFAULT);
	member_free(node.member);
	uv_loop_close(&node.loop);
	say("event stopped");
	return 0;
}
