// SPDX-License-Identifier: GPL-2.0
/*
 * Clients of netd-probe on several nodes at once, and the history of what they were told:
 *
 *   linear-load [-s SEED] [-t SECONDS] [-c CLIENTS] [-k] [-l] -o FILE SOCKET...
 *
 * Each of CLIENTS (4) a socket reads, writes, compares-and-sets and removes, one operation at a time, on a few
 * keys, half of which belong to whoever wrote last (grab). New keys every three seconds, so that no history is
 * long; what comes to the old ones later is still seen. An answer that does not come is an unknown outcome, and
 * the client goes on after a second. -k: nodes may be declared dead, and what is theirs goes with them. -l: the
 * clients of the last socket only read, and what that node knows, perhaps of the past: for showing that this is
 * noticed.
 *
 * One thread and one clock, so "before" in the history is before. Lines as linear-check wants them.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linear.h"
#include "probe.h"

#define KEYS	      40
#define EPOCH_NS      3000000000ull
#define LOOK_BACK     4 /* epochs */
#define PATIENCE_NS   1000000000ull
#define THINK_NS      4000000u
#define RETRY_NS      20000000ull
#define LAST_NS	      12000000000ull /* longer than netd itself waits for an outcome */
#define NODES_AT_MOST 16

enum { OPEN, ANSWERED, NEVER }; /* NEVER: certainly not done */

struct record {
	struct linear_op op;
	uint32_t epoch;
	uint16_t key, node;
	uint8_t kind, state; /* enum probe_op; OPEN ... */
};

struct client {
	size_t record; /* + 1; 0: none under way */
	uint64_t due_ns;
};

struct node {
	const char *path;
	int fd;
	uint64_t due_ns;
	struct client *client;
};

static struct {
	struct node node[NODES_AT_MOST];
	size_t nodes, clients;
	bool may_die, local;
	struct record *record;
	size_t n, size, open, lost;
	struct {
		uint64_t version, value;
	} known[KEYS];
	uint32_t epoch;
	uint64_t seed, random;
	uint64_t begin_ns;
} load;

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static uint32_t any(uint32_t n)
{
	load.random ^= load.random << 13;
	load.random ^= load.random >> 7;
	load.random ^= load.random << 17;
	return (uint32_t)(load.random >> 33) % n;
}

static struct record *record_new(void)
{
	if (load.n == load.size) {
		load.size = load.size ? 2 * load.size : 4096;
		load.record = realloc(load.record, load.size * sizeof(load.record[0]));
		if (!load.record)
			abort();
	}
	load.record[load.n] = (struct record){.epoch = load.epoch};
	return &load.record[load.n++];
}

/* ---- questions ---- */

static void new_epoch(uint64_t now)
{
	uint32_t epoch = (uint32_t)((now - load.begin_ns) / EPOCH_NS);

	if (epoch == load.epoch)
		return;
	load.epoch = epoch;
	memset(load.known, 0, sizeof(load.known));
}

/* What to do, and how that looks to the checker. */
static void choose(struct record *r, struct probe_request *q, bool local)
{
	uint64_t version, value = load.n; /* its own place: written once */
	uint32_t dice = any(100);

	r->key = (uint16_t)any(KEYS);
	if (dice >= 95) { /* nothing may come back where it was quiet */
		uint32_t back = 1 + any(LOOK_BACK);

		r->epoch -= back < r->epoch ? back : r->epoch;
	}
	version = load.known[r->key].version;
	r->op.expect = load.known[r->key].value;
	r->op.value = value;
	r->op.kind = LINEAR_CAS;
	q->expect = version;
	if (dice < 30 || dice >= 95 || local) {
		q->op = local ? PROBE_LOCAL : PROBE_READ;
		r->op.kind = LINEAR_READ;
	} else if (dice < 50) {
		q->op = PROBE_PUT;
		q->expect = UINT64_MAX;
		r->op.kind = LINEAR_WRITE;
	} else if (dice < 83) {
		q->op = PROBE_PUT;
	} else {
		q->op = PROBE_REMOVE;
		r->op.value = 0;
		if (dice < 89 || !version) {
			q->expect = UINT64_MAX;
			r->op.kind = LINEAR_WRITE;
		}
	}
	if (q->op == PROBE_PUT && r->key % 2)
		q->op = PROBE_GRAB;
	r->kind = (uint8_t)q->op;
	snprintf(q->key, sizeof(q->key), "k%u.%u.%" PRIu64, r->key, r->epoch, load.seed);
	snprintf(q->value, sizeof(q->value), "%" PRIu64, r->op.value);
}

static void ask(struct node *nd, struct client *c, uint64_t now)
{
	struct record *r = record_new();
	struct probe_request q = {.id = load.n - 1};

	choose(r, &q, load.local && nd == &load.node[load.nodes - 1]);
	r->node = (uint16_t)(nd - load.node);
	r->op.outcome = LINEAR_UNKNOWN;
	r->op.begin = probe_now_ns();
	if (send(nd->fd, &q, sizeof(q), MSG_NOSIGNAL) != sizeof(q)) {
		r->state = NEVER;
		c->due_ns = now + RETRY_NS;
		return;
	}
	load.open++;
	c->record = load.n;
	c->due_ns = now + PATIENCE_NS;
}

/* ---- answers ---- */

static void note(struct record *r, const struct probe_answer *a)
{
	if (a->status == -EAGAIN || a->status == -ENOTCONN || (a->status && r->op.kind == LINEAR_READ) ||
	    a->result == -EHOSTDOWN || (a->result == -ESTALE && r->op.kind == LINEAR_WRITE)) {
		r->state = NEVER; /* the last: one entry gives an object to one owner */
		return;
	}
	if (a->status)
		return; /* nobody knows */
	if (r->op.kind == LINEAR_READ)
		r->op.value = strtoull(a->value, NULL, 10);
	r->op.outcome = r->op.kind == LINEAR_CAS && a->result ? LINEAR_REFUSED : LINEAR_DONE;
	if (r->epoch == load.epoch) {
		load.known[r->key].version = a->version;
		load.known[r->key].value = a->version ? strtoull(a->value, NULL, 10) : 0;
	}
}

static void answer(struct node *nd, const struct probe_answer *a)
{
	struct record *r = a->id < load.n ? &load.record[a->id] : NULL;

	if (!r || r->state != OPEN)
		return;
	r->op.end = probe_now_ns();
	r->state = ANSWERED;
	load.open--;
	note(r, a);
	for (size_t i = 0; i < load.clients; i++) {
		struct client *c = &nd->client[i];

		if (c->record != a->id + 1)
			continue;
		c->record = 0;
		c->due_ns = r->op.end + any(THINK_NS);
	}
}

/* What was asked there has no answer for ever. */
static void lose(struct node *nd, uint64_t now)
{
	close(nd->fd);
	nd->fd = -1;
	nd->due_ns = now + RETRY_NS;
	for (size_t i = 0; i < load.n; i++) {
		struct record *r = &load.record[i];

		if (r->state != OPEN || &load.node[r->node] != nd)
			continue;
		r->state = ANSWERED;
		load.open--;
		load.lost++;
	}
	for (size_t i = 0; i < load.clients; i++)
		nd->client[i].record = 0;
}

static void take_answers(struct node *nd, uint64_t now)
{
	struct probe_answer a;
	ssize_t n;

	while ((n = recv(nd->fd, &a, sizeof(a), MSG_DONTWAIT)) == sizeof(a))
		answer(nd, &a);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	lose(nd, now);
}

/* ---- the loop ---- */

static void go_on(struct node *nd, uint64_t now, bool ask_more)
{
	if (nd->fd < 0) {
		if (now < nd->due_ns)
			return;
		nd->fd = probe_connect(nd->path, 1);
		nd->due_ns = now + RETRY_NS;
	}
	for (size_t i = 0; nd->fd >= 0 && ask_more && i < load.clients; i++) {
		struct client *c = &nd->client[i];

		if (now < c->due_ns)
			continue;
		c->record = 0; /* its answer may still come */
		ask(nd, c, now);
	}
}

static void turn(bool ask_more)
{
	struct pollfd fds[NODES_AT_MOST];
	uint64_t now;

	for (size_t i = 0; i < load.nodes; i++)
		fds[i] = (struct pollfd){load.node[i].fd, POLLIN, 0};
	poll(fds, load.nodes, 1);
	now = probe_now_ns();
	new_epoch(now);
	for (size_t i = 0; i < load.nodes; i++) {
		if (load.node[i].fd >= 0 && fds[i].fd == load.node[i].fd && fds[i].revents)
			take_answers(&load.node[i], now);
		go_on(&load.node[i], now, ask_more);
	}
}

static void print_line(FILE *f, const struct record *r, const struct linear_op *op, const char *what)
{
	fprintf(f, "k%u.%u %" PRIu64 " %" PRIu64 " %u %u %" PRIu64 " %" PRIu64 " n%u/%s\n", r->key, r->epoch,
		op->begin, op->end, op->kind, op->outcome, op->expect, op->value, r->node + 1u, what);
}

static int save(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -1;
	for (size_t i = 0; i < load.n; i++) {
		const struct record *r = &load.record[i];
		struct linear_op death = {r->op.begin, 0, LINEAR_CAS, LINEAR_UNKNOWN, r->op.value, 0};

		if (r->state == NEVER || (r->op.kind == LINEAR_READ && r->op.outcome == LINEAR_UNKNOWN))
			continue;
		print_line(f, r, &r->op,
			   r->kind == PROBE_GRAB     ? "grab"
			   : r->kind == PROBE_REMOVE ? "remove"
						     : "client");
		if (load.may_die && r->kind == PROBE_GRAB && r->op.outcome != LINEAR_REFUSED)
			print_line(f, r, &death, "death");
	}
	return fclose(f);
}

static int usage(void)
{
	fputs("Usage: linear-load [-s SEED] [-t SECONDS] [-c CLIENTS] [-k] [-l] -o FILE SOCKET...\n", stderr);
	return 2;
}

static bool parse(int argc, char **argv, uint64_t *seconds, const char **out)
{
	int opt;

	while ((opt = getopt(argc, argv, "s:t:c:o:kl")) != -1) {
		if (opt == 's')
			load.seed = strtoull(optarg, NULL, 10);
		else if (opt == 't')
			*seconds = strtoull(optarg, NULL, 10);
		else if (opt == 'c')
			load.clients = strtoull(optarg, NULL, 10);
		else if (opt == 'o')
			*out = optarg;
		else if (opt == 'k')
			load.may_die = true;
		else if (opt == 'l')
			load.local = true;
		else
			return false;
	}
	for (; optind < argc && load.nodes < NODES_AT_MOST; optind++) {
		struct node *nd = &load.node[load.nodes++];

		*nd = (struct node){.path = argv[optind], .fd = -1};
		nd->client = calloc(load.clients, sizeof(nd->client[0]));
		if (!nd->client)
			abort();
	}
	return *out && load.nodes && load.clients;
}

int main(int argc, char **argv)
{
	const char *out = NULL;
	uint64_t seconds = 10, end;

	load.clients = 4;
	if (!parse(argc, argv, &seconds, &out))
		return usage();
	load.random = load.seed * 2654435761u + 1;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	load.begin_ns = probe_now_ns();
	end = load.begin_ns + seconds * 1000000000u;
	while (!stopped && probe_now_ns() < end)
		turn(true);
	end = probe_now_ns() + LAST_NS;
	while (load.open && probe_now_ns() < end)
		turn(false);
	if (save(out)) {
		fprintf(stderr, "linear-load: %s: %s\n", out, strerror(errno));
		return 1;
	}
	printf("%zu operations asked, %zu lost with their node, %zu never answered\n", load.n, load.lost,
	       load.open);
	return 0;
}
