// SPDX-License-Identifier: GPL-2.0
/*
 * The part that makes netd a netd-probe; see probe.h. It is linked around two
 * calls of netd's start (--wrap), so that nothing of netd itself is different.
 * One thread: the loop's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "probe.h"
#include "userland/lib/log.h"
#include "userland/netd/kddm_core.h"
#include "userland/netd/member.h"
#include "userland/netd/netd.h"

#define WAIT_MS	  5000
#define LEADER_MS 10

static struct probe {
	struct netd *netd;
	struct kddm_set *set;
	char name[64];
	uv_poll_t listener;
	uv_timer_t timer;
	uint32_t leader;
	uint64_t leader_ns, removed_ns;
} probe;

struct conn {
	uv_poll_t poll;
	int fd;
	unsigned int refs; /* the handle and requests under way */
	bool closed;
};

struct ask { /* one request under way */
	struct conn *conn;
	struct probe_request req;
	struct probe_answer answer;
	uint64_t begin_ns, step_ns;
	/* claims */
	struct probe_claim *claims;
	uint32_t done;
	/* batches */
	uint32_t submitted, under_way;
};

static const struct kddm_type probe_type = {.id = PROBE_TYPE_ID, .name = "probe"};

/* ---- answers ---- */

static void conn_put(struct conn *c)
{
	if (!--c->refs)
		free(c);
}

static void on_conn_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	close(c->fd);
	conn_put(c);
}

static void conn_close(struct conn *c)
{
	if (c->closed)
		return;
	c->closed = true;
	uv_close((uv_handle_t *)&c->poll, on_conn_closed);
}

static void ask_end(struct ask *a)
{
	struct conn *c = a->conn;

	a->answer.id = a->req.id;
	a->answer.took_ns = probe_now_ns() - a->begin_ns;
	if (!c->closed && send(c->fd, &a->answer, sizeof(a->answer), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		conn_close(c);
	free(a->claims);
	free(a);
	conn_put(c);
}

static size_t text_len(const char text[PROBE_TEXT])
{
	return strnlen(text, PROBE_TEXT);
}

static void look_up(struct ask *a)
{
	const struct kddm_object *obj = kddm_find(probe.set, a->req.key, text_len(a->req.key));

	if (!obj)
		return;
	a->answer.version = obj->version;
	memcpy(a->answer.value, obj->value, obj->value_len < PROBE_TEXT ? obj->value_len : PROBE_TEXT);
}

/* ---- single operations ---- */

static void on_written(void *arg, const struct kddm_result *r)
{
	struct ask *a = arg;

	a->answer.status = r->status;
	a->answer.result = r->n_ops && !r->status ? r->op[0] : 0;
	if (a->req.op == PROBE_READ)
		a->answer.result = 0;
	if (!r->status)
		look_up(a);
	ask_end(a);
}

static int add_one(struct kddm_batch *b, const struct probe_request *q)
{
	size_t key = text_len(q->key), value = text_len(q->value);

	switch (q->op) {
	case PROBE_PUT:
		return kddm_put(b, probe.set, q->key, key, q->value, value, q->expect);
	case PROBE_GRAB:
		return kddm_grab(b, probe.set, q->key, key, q->value, value, q->expect,
				 member_self(probe.netd->member));
	case PROBE_REMOVE:
		return kddm_remove(b, probe.set, q->key, key, q->expect);
	default: /* no version is like that: it only takes its place in the order */
		return kddm_remove(b, probe.set, q->key, key, UINT64_MAX - 1);
	}
}

static void write_one(struct ask *a)
{
	struct kddm_batch *b = kddm_batch_new(probe.netd->kddm, false);
	int r = add_one(b, &a->req);

	if (r < 0) {
		kddm_batch_free(b);
		a->answer.status = r;
		ask_end(a);
		return;
	}
	kddm_submit(b, on_written, a);
}

/* ---- claims, one after the other ---- */

static void next_claim(struct ask *a);

static void claims_save(const struct ask *a)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/share/%s.claims", probe.name);
	f = fopen(path, "w");
	if (!f)
		return;
	fwrite(a->claims, sizeof(a->claims[0]), a->done, f);
	fclose(f);
}

static void claims_end(struct ask *a, int status)
{
	a->answer.status = status;
	claims_save(a);
	ask_end(a);
}

static void on_all(void *arg, int status)
{
	struct ask *a = arg;

	if (status) {
		claims_end(a, status);
		return;
	}
	a->claims[a->done++].all_ns = probe_now_ns() - a->step_ns;
	next_claim(a);
}

static void on_home(void *arg, int status)
{
	struct ask *a = arg;

	if (status) {
		claims_end(a, status);
		return;
	}
	a->claims[a->done].home_ns = probe_now_ns() - a->step_ns;
	kddm_wait_applied(probe.netd->kddm, a->answer.version, NULL, 0, WAIT_MS, on_all, a);
}

/* Each of the others in turn. */
static uint32_t a_home(struct ask *a)
{
	struct kddm_set *nodes = kddm_nodes(probe.netd->kddm);
	uint32_t self = member_self(probe.netd->member), n = 0, which;
	const struct kddm_object *obj;

	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = obj->value;

		n += info->number != self && info->state == NODE_UP;
	}
	which = n ? a->done % n : 0;
	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->number != self && info->state == NODE_UP && !which--)
			return info->number;
	}
	return self;
}

static void on_claimed(void *arg, const struct kddm_result *r)
{
	struct ask *a = arg;
	uint32_t home = a_home(a);

	if (r->status || r->op[0]) {
		claims_end(a, r->status ? r->status : r->op[0]);
		return;
	}
	a->claims[a->done].applied_ns = probe_now_ns() - a->step_ns;
	a->answer.version = r->index;
	kddm_wait_applied(probe.netd->kddm, r->index, &home, 1, WAIT_MS, on_home, a);
}

static void next_claim(struct ask *a)
{
	struct kddm_batch *b;
	char key[96];

	if (a->done == a->req.n || a->conn->closed) {
		claims_end(a, 0);
		return;
	}
	b = kddm_batch_new(probe.netd->kddm, false);
	snprintf(key, sizeof(key), "%.40s-%u", a->req.key, a->done);
	kddm_grab(b, probe.set, key, strlen(key), key, 16, KDDM_ABSENT, member_self(probe.netd->member));
	a->step_ns = probe_now_ns();
	kddm_submit(b, on_claimed, a);
}

/* ---- batches ---- */

static void submit_batches(struct ask *a);

static void on_batch(void *arg, const struct kddm_result *r)
{
	struct ask *a = arg;

	a->under_way--;
	a->answer.version = r->index;
	for (size_t i = 0; i < r->n_ops && !a->answer.status; i++)
		a->answer.status = r->status ? r->status : r->op[i];
	if (a->answer.status)
		a->submitted = a->req.n; /* no more of them */
	submit_batches(a);
}

/* Flows: two addresses, two ports, a protocol; where it is, since when. */
static int add_of_many(struct kddm_batch *b, struct ask *a, uint32_t i)
{
	struct {
		uint32_t vip, client;
		uint16_t vport, cport;
		uint32_t proto;
	} key = {.vip = 0x6400004d,
		 .client = i / 50000,
		 .vport = 6379,
		 .cport = (uint16_t)(i % 50000),
		 .proto = 6};
	uint64_t value[4] = {1, 2, 3, i};

	if (a->req.op == PROBE_FILL)
		return kddm_grab(b, probe.set, &key, sizeof(key), value, sizeof(value), KDDM_ANY,
				 member_self(probe.netd->member));
	key.vip = member_self(probe.netd->member);
	key.cport = (uint16_t)(i % 8192); /* writes over what was written */
	key.client = 0;
	return kddm_put(b, probe.set, &key, sizeof(key), value, 8, KDDM_ANY);
}

static void submit_batches(struct ask *a)
{
	uint32_t per = a->req.per_entry, n = a->req.n;

	while (a->submitted < n && a->under_way < a->req.in_flight) {
		struct kddm_batch *b = kddm_batch_new(probe.netd->kddm, false);
		uint32_t end = a->submitted + per < n ? a->submitted + per : n;

		while (a->submitted < end)
			if (add_of_many(b, a, a->submitted++) < 0)
				a->answer.status = -E2BIG;
		a->under_way++;
		kddm_submit(b, on_batch, a);
	}
	if (!a->under_way)
		ask_end(a);
}

static void on_cleared(void *arg, const struct kddm_result *r);

static void clear_some(struct ask *a)
{
	struct kddm_batch *b = kddm_batch_new(probe.netd->kddm, false);
	const struct kddm_object *obj;
	uint32_t n = 0;

	kddm_for_each(probe.set, obj)
	{
		if (n++ == 4096)
			break;
		kddm_remove(b, probe.set, obj->key, obj->key_len, KDDM_ANY);
	}
	if (n) {
		kddm_submit(b, on_cleared, a);
		return;
	}
	kddm_batch_free(b);
	ask_end(a);
}

static void on_cleared(void *arg, const struct kddm_result *r)
{
	struct ask *a = arg;

	a->answer.status = r->status;
	if (r->status)
		ask_end(a);
	else
		clear_some(a);
}

/* ---- the rest ---- */

static void tell_state(struct ask *a)
{
	struct probe_state *s = &a->answer.state;
	struct member_cluster c;

	member_cluster(probe.netd->member, &c);
	s->self = member_self(probe.netd->member);
	s->leader = c.leader;
	s->live = c.up;
	s->voters = c.voters;
	s->objects = kddm_count(probe.set);
	s->applied = c.applied_index;
	s->removed_ns = probe.removed_ns;
	s->leader_ns = probe.leader_ns;
	s->lease_ms = c.lease_ms;
	s->ready = member_status(probe.netd->member) == MEMBER_LIVE;
	ask_end(a);
}

static void on_conf(void *arg, const struct member_error *error)
{
	struct ask *a = arg;

	a->answer.status = error ? -error->code : 0;
	ask_end(a);
}

static void take_request(struct conn *c, const struct probe_request *req)
{
	struct ask *a = calloc(1, sizeof(*a));
	char key[PROBE_TEXT + 1], value[PROBE_TEXT + 1];

	if (!a)
		abort();
	a->conn = c;
	c->refs++;
	a->req = *req;
	a->begin_ns = probe_now_ns();
	switch (req->op) {
	case PROBE_PUT:
	case PROBE_GRAB:
	case PROBE_REMOVE:
	case PROBE_READ:
		write_one(a);
		break;
	case PROBE_LOCAL:
		look_up(a);
		ask_end(a);
		break;
	case PROBE_CLAIMS:
		a->claims = calloc(req->n + 1, sizeof(a->claims[0]));
		if (!a->claims)
			abort();
		next_claim(a);
		break;
	case PROBE_BATCH:
	case PROBE_FILL:
		submit_batches(a);
		break;
	case PROBE_STATE:
		tell_state(a);
		break;
	case PROBE_CONF:
		snprintf(key, sizeof(key), "%.*s", PROBE_TEXT, req->key);
		snprintf(value, sizeof(value), "%.*s", PROBE_TEXT, req->value);
		member_conf_set(probe.netd->member, key, value, on_conf, a);
		break;
	case PROBE_CLEAR:
		clear_some(a);
		break;
	default:
		a->answer.status = -EINVAL;
		ask_end(a);
	}
}

/* ---- the socket ---- */

static void on_request(uv_poll_t *p, int status, int events)
{
	struct conn *c = p->data;
	struct probe_request req;
	ssize_t n;

	(void)events;
	while (!c->closed) {
		n = status < 0 ? 0 : recv(c->fd, &req, sizeof(req), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n == sizeof(req))
			take_request(c, &req);
		else
			conn_close(c);
	}
}

static void on_client(uv_poll_t *p, int status, int events)
{
	struct conn *c;
	int fd, on;

	(void)status;
	(void)events;
	uv_fileno((uv_handle_t *)p, &on);
	fd = accept4(on, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	c->fd = fd;
	c->refs = 1;
	uv_poll_init(probe.netd->loop, &c->poll, fd);
	c->poll.data = c;
	uv_poll_start(&c->poll, UV_READABLE, on_request);
}

static int listen_here(struct netd *n)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	gethostname(probe.name, sizeof(probe.name) - 1);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/share/%s.probe", probe.name);
	unlink(sa.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0) {
		log_err("%s: %s", sa.sun_path, strerror(errno));
		return -errno;
	}
	uv_poll_init(n->loop, &probe.listener, fd);
	return uv_poll_start(&probe.listener, UV_READABLE, on_client);
}

/* ---- events ---- */

static void on_remove(void *arg, const struct kddm_object *old)
{
	(void)arg;
	(void)old;
	probe.removed_ns = probe_now_ns();
}

static const struct kddm_linker linker = {.remove = on_remove};

static void look_for_leader(uv_timer_t *t)
{
	struct member_cluster c;

	(void)t;
	member_cluster(probe.netd->member, &c);
	if (c.leader == probe.leader)
		return;
	probe.leader = c.leader;
	probe.leader_ns = probe_now_ns();
}

/* ---- around netd's start ---- */

int __real_objects_register(struct kddm *k, struct objects *out);
int __wrap_objects_register(struct kddm *k, struct objects *out);
int __wrap_objects_register(struct kddm *k, struct objects *out)
{
	int err = __real_objects_register(k, out);

	if (!err)
		err = kddm_set_register(k, &probe_type, &probe.set);
	return err ? err : kddm_link(probe.set, &linker, NULL);
}

int __real_ctl_cluster_start(struct netd *n);
int __wrap_ctl_cluster_start(struct netd *n);
int __wrap_ctl_cluster_start(struct netd *n)
{
	probe.netd = n;
	uv_timer_init(n->loop, &probe.timer);
	uv_timer_start(&probe.timer, look_for_leader, LEADER_MS, LEADER_MS);
	uv_unref((uv_handle_t *)&probe.timer);
	if (listen_here(n) < 0)
		return -EIO;
	uv_unref((uv_handle_t *)&probe.listener);
	return __real_ctl_cluster_start(n);
}
