// SPDX-License-Identifier: GPL-2.0
/*
 * Measures netd by netd-probe (tests/linear/probe.h), and etcd by gRPC:
 *
 *   kddm-bench state SOCKET			self leader live voters objects applied lease_ms ready
 *   kddm-bench conf SOCKET KEY VALUE
 *   kddm-bench claims SOCKET N KEY		inside netd: p50 and p99, us: applied here, by another, by all
 *   kddm-bench call SOCKET N KEY		by this program through the socket: p50 p99 of a claim, us
 *   kddm-bench batch SOCKET N PER IN-FLIGHT	operations a second
 *   kddm-bench fill SOCKET N			N objects that look like flows, of that node
 *   kddm-bench clear SOCKET
 *   kddm-bench now				CLOCK_MONOTONIC, ns
 *   kddm-bench purged SINCE-NS SOCKET...	waits until no object is left; ms from SINCE to the last removal,
 *						and to the last of a change of leader
 *   kddm-bench listen N PORT			as an application: listen() until packets are let in: p50 p99, us
 *   kddm-bench etcd ADDRESS PORT N KEY		"create if absent" by gRPC on one connection: p50 p99, us
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kddm_etcd.h"
#include "tests/linear/probe.h"
#include "userland/lib/dip_bpf.h"

#define PURGE_LIMIT_NS 60000000000ull
#define OPEN_LIMIT_NS  2000000000ull

static void die(const char *what)
{
	fprintf(stderr, "kddm-bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Microseconds of the smallest value that `share` of all do not exceed. */
static double quantile(const uint64_t *sorted, size_t n, double share)
{
	size_t at = (size_t)(share * (double)n);

	return (double)sorted[at < n ? at : n - 1] / 1000;
}

static void print_quantiles(uint64_t *ns, size_t n)
{
	if (!n) {
		errno = ENODATA;
		die("nothing was measured");
	}
	qsort(ns, n, sizeof(ns[0]), by_value);
	printf("%.1f %.1f\n", quantile(ns, n, 0.5), quantile(ns, n, 0.99));
}

static int open_probe(const char *path)
{
	int fd = probe_connect(path, 0);

	if (fd < 0)
		die(path);
	return fd;
}

static struct probe_answer ask(const char *path, const struct probe_request *req)
{
	int fd = open_probe(path);
	struct probe_answer a;

	if (probe_call(fd, req, &a) < 0)
		die(path);
	close(fd);
	if (a.status) {
		errno = a.status < 0 ? -a.status : a.status;
		die("refused");
	}
	return a;
}

static int state(char **w)
{
	struct probe_request req = {.op = PROBE_STATE};
	struct probe_answer a = ask(w[0], &req);

	printf("%u %u %u %u %llu %llu %u %u\n", a.state.self, a.state.leader, a.state.live, a.state.voters,
	       (unsigned long long)a.state.objects, (unsigned long long)a.state.applied, a.state.lease_ms,
	       a.state.ready);
	return 0;
}

static int conf(char **w)
{
	struct probe_request req = {.op = PROBE_CONF};

	snprintf(req.key, sizeof(req.key), "%s", w[1]);
	snprintf(req.value, sizeof(req.value), "%s", w[2]);
	ask(w[0], &req);
	return 0;
}

static int claims(char **w)
{
	struct probe_request req = {.op = PROBE_CLAIMS, .n = (uint32_t)atoi(w[1])};
	uint64_t *ns = calloc(req.n + 1, sizeof(*ns));
	struct probe_claim *c = calloc(req.n + 1, sizeof(*c));
	char path[256];
	FILE *f;
	size_t n;

	snprintf(req.key, sizeof(req.key), "%s", w[2]);
	ask(w[0], &req);
	snprintf(path, sizeof(path), "%.*s.claims", (int)(strlen(w[0]) - strlen(".probe")), w[0]);
	f = fopen(path, "r");
	if (!f)
		die(path);
	n = fread(c, sizeof(*c), req.n, f);
	fclose(f);
	for (int what = 0; what < 3; what++) {
		for (size_t i = 0; i < n; i++)
			ns[i] = what == 0 ? c[i].applied_ns : what == 1 ? c[i].home_ns : c[i].all_ns;
		print_quantiles(ns, n);
	}
	free(ns);
	free(c);
	return 0;
}

static int call(char **w)
{
	struct probe_request req = {.op = PROBE_GRAB, .expect = 0};
	size_t n = (size_t)atol(w[1]);
	uint64_t *ns = calloc(n + 1, sizeof(*ns));
	int fd = open_probe(w[0]);

	snprintf(req.value, sizeof(req.value), "n1/4711");
	for (size_t i = 0; i < n; i++) {
		uint64_t begin = probe_now_ns();
		struct probe_answer a;

		snprintf(req.key, sizeof(req.key), "%s-%zu", w[2], i);
		if (probe_call(fd, &req, &a) < 0 || a.status || a.result)
			die("claim");
		ns[i] = probe_now_ns() - begin;
	}
	print_quantiles(ns, n);
	free(ns);
	return 0;
}

static int batch(char **w)
{
	struct probe_request req = {.op = PROBE_BATCH,
				    .n = (uint32_t)atoi(w[1]),
				    .per_entry = (uint32_t)atoi(w[2]),
				    .in_flight = (uint32_t)atoi(w[3])};
	struct probe_answer a = ask(w[0], &req);

	printf("%.0f\n", (double)req.n * 1e9 / (double)a.took_ns);
	return 0;
}

static int fill(char **w)
{
	struct probe_request req = {
		.op = PROBE_FILL, .n = (uint32_t)atoi(w[1]), .per_entry = 1000, .in_flight = 2};

	ask(w[0], &req);
	return 0;
}

static int clear(char **w)
{
	struct probe_request req = {.op = PROBE_CLEAR};

	ask(w[0], &req);
	return 0;
}

static int now(char **w)
{
	(void)w;
	printf("%llu\n", (unsigned long long)probe_now_ns());
	return 0;
}

static int purged(char **w)
{
	uint64_t since = strtoull(w[0], NULL, 10), last = since, leader = since;
	struct probe_request req = {.op = PROBE_STATE};

	for (w++; *w; w++) {
		int fd = open_probe(*w);
		struct probe_answer a;

		do {
			usleep(2000);
			if (probe_call(fd, &req, &a) < 0 || probe_now_ns() - since > PURGE_LIMIT_NS)
				die("the objects of the dead node stay");
		} while (a.state.objects);
		last = a.state.removed_ns > last ? a.state.removed_ns : last;
		leader = a.state.leader_ns > leader ? a.state.leader_ns : leader;
		close(fd);
	}
	printf("%.0f %.0f\n", (double)(last - since) / 1e6, (double)(leader - since) / 1e6);
	return 0;
}

static int listen_at(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("bind");
	return fd;
}

/* Looks into the tables that the kernel decides by. */
static int listens(char **w)
{
	size_t n = (size_t)atol(w[0]);
	uint64_t *ns = calloc(n + 1, sizeof(*ns));
	struct dip_bpf *bpf;
	struct dip_mem *mem;

	if (dip_bpf_open(&bpf, NULL) < 0)
		die("the tables of netd");
	mem = dip_bpf_mem(bpf);
	for (size_t i = 0; i < n; i++) {
		uint16_t port = (uint16_t)(atoi(w[1]) + (int)i);
		int fd = listen_at(port);
		uint64_t begin = probe_now_ns();

		if (listen(fd, 1) < 0)
			die("listen");
		while (dip_slot_get(mem, 0, false, port).state != DIP_SLOT_OWNED)
			if (probe_now_ns() - begin > OPEN_LIMIT_NS)
				die("the port does not open");
		ns[i] = probe_now_ns() - begin;
		usleep(500); /* what the claim leaves to do is not part of the next */
	}
	print_quantiles(ns, n);
	free(ns);
	dip_bpf_close(bpf);
	return 0;
}

static int etcd_by(char **w, struct etcd *e)
{
	size_t n = (size_t)atol(w[2]);
	uint64_t *ns = calloc(n + 1, sizeof(*ns));
	char key[64];

	if (!e)
		die("etcd");
	for (size_t i = 0; i < n; i++) {
		uint64_t begin = probe_now_ns();

		snprintf(key, sizeof(key), "%s-%zu", w[3], i);
		if (etcd_create(e, key, "n1/4711") != 1)
			die("claim by etcd");
		ns[i] = probe_now_ns() - begin;
	}
	print_quantiles(ns, n);
	etcd_close(e);
	free(ns);
	return 0;
}

static int etcd(char **w)
{
	return etcd_by(w, etcd_connect(w[0], (uint16_t)atoi(w[1])));
}

static int etcd_json(char **w)
{
	return etcd_by(w, etcd_connect_json(w[0], (uint16_t)atoi(w[1])));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args; /* at least */
		int (*fn)(char **w);
	} cmds[] = {
		{"state", 1, state},	{"conf", 3, conf},   {"claims", 3, claims},
		{"call", 3, call},	{"batch", 4, batch}, {"fill", 2, fill},
		{"clear", 1, clear},	{"now", 0, now},     {"purged", 2, purged},
		{"listen", 2, listens}, {"etcd", 4, etcd},   {"etcd-json", 4, etcd_json},
	};

	for (size_t i = 0; argc > 1 && i < sizeof(cmds) / sizeof(cmds[0]); i++)
		if (!strcmp(argv[1], cmds[i].name) && argc - 2 >= cmds[i].args)
			return cmds[i].fn(argv + 2);
	fputs("kddm-bench: see the top of its source for the commands\n", stderr);
	return 2;
}
