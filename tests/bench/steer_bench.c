// SPDX-License-Identifier: GPL-2.0
/*
 * steer-bench decide		ns of a decision, net of a floor, a line each
 * steer-bench send IF SECONDS [6]	frames to IF, as fast as one CPU makes them; IF -: they are only made
 * steer-bench receive IF [6]	decide on IF by XDP until stdin ends
 *
 * 6: of IPv6. decide prints NAME NS FLOOR; send prints the number sent and the seconds;
 * receive prints the number of decisions that dropped a frame.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <ssi/dip_reasons.h>

#include "userland/lib/dip_tables.h"

#include "steer.skel.h"

#define VIP	    0x0a4d0064
#define SAME_RUNS   2000000
#define RANDOM_RUNS 2000000
#define SEND_RUNS   (1 << 19)
#define ROUNDS	    15
#define FLOW_BITS   19 /* 2M ways for 1M flows */
#define BATCH	    64

static const unsigned char vip6[16] = {0xfd, 0x77, [15] = 0x64};

static void die(const char *what)
{
	fprintf(stderr, "steer-bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/*
 * Decisions: TCP to a unicast MAC that all share, netd's default.  Frames for stacks:
 * UDP to a multicast one, which they take without a program's help.
 */
static size_t frame(unsigned char f[64], int udp, unsigned short port)
{
	static const unsigned char head[] = {
		2,  0x53, 0x53, 0x49, 0, 0x64, 2, 0, 0, 0,  0, 0xfa, 8,	   0,	 0x45, 0, 0,
		46, 0,	  1,	0,    0, 64,   6, 0, 0, 11, 0, 0,    0,	   10,	 77,   0, 100,
		4,  0,	  0,	0,    0, 0,    0, 1, 0, 0,  0, 1,    0x50, 0x10, 1,    0,
	};

	memset(f, 0, 64);
	memcpy(f, head, sizeof(head));
	f[36] = port >> 8;
	f[37] = (unsigned char)port;
	if (udp) {
		f[0] = 3;
		f[23] = 17;
		f[38] = 0;
		f[39] = 26;
		memset(f + 40, 0, 20);
	}
	return 60;
}

/* The same to the IPv6 VIP. */
static size_t frame6(unsigned char f[96], int udp, unsigned short port)
{
	static const unsigned char head[] = {2, 0x53, 0x53, 0x49, 0, 0x64, 2, 0, 0,  0, 0,
					     0, 0x86, 0xdd, 0x60, 0, 0,	   0, 0, 20, 6, 64};

	memset(f, 0, 96);
	memcpy(f, head, sizeof(head));
	f[22] = 0xfd;
	f[37] = 11;
	memcpy(f + 38, vip6, sizeof(vip6));
	f[54] = 4;
	f[56] = port >> 8;
	f[57] = (unsigned char)port;
	if (udp) {
		f[0] = 3;
		f[20] = 17;
		f[59] = 20;
		return 74;
	}
	f[66] = 0x50;
	f[67] = 0x10;
	return 74;
}

/* Sum of the IP header's words, the source left out: steer_gen adds it. */
static __u32 header_sum(void)
{
	unsigned char f[64];
	unsigned short word;
	__u32 sum = 0;

	frame(f, 1, 2);
	for (int i = 14; i < 34; i += 2) {
		memcpy(&word, f + i, 2);
		sum += i >= 26 && i < 30 ? 0 : word;
	}
	return sum;
}

struct bench {
	struct steer *skel;
	struct dip_mem mem;
	int six; /* frames are IPv6 */
};

static void *map_value(struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = bpf_map__value_size(map);
	void *p = mmap(NULL, (size + page - 1) & ~(page - 1), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* Programs for flows [first, first + flows), over fresh tables. */
static struct bench bench_new(unsigned int flows, unsigned int first, unsigned int ifindex, int six)
{
	struct dip_vip_spec vip = {.family = DIP_INET, .mac = {2, 0x53, 0x53, 0x49, 0, 0x64}};
	unsigned short others[] = {3};
	struct bench b = {.skel = steer__open(), .six = six};
	__u32 buckets = 1U << FLOW_BITS;

	if (!b.skel)
		die("BPF object");
	b.skel->rodata->steer_flows = flows;
	b.skel->rodata->steer_first = first;
	b.skel->rodata->steer_ifindex = ifindex;
	b.skel->rodata->steer_sum = header_sum();
	b.skel->rodata->steer_six = (__u32)six;
	b.skel->rodata->dip_flow_mask = buckets - 1;
	bpf_map__set_value_size(b.skel->maps.bss_flows, buckets * sizeof(struct dip_bucket));
	if (steer__load(b.skel))
		die("BPF programs do not load");
	b.mem.conf = map_value(b.skel->maps.bss_conf);
	b.mem.ports = map_value(b.skel->maps.bss_ports);
	b.mem.flows = map_value(b.skel->maps.bss_flows);
	b.mem.flow_mask = buckets - 1;
	vip.addr.a4 = htonl(VIP);
	if (dip_tables_init(&b.mem, 2) || dip_vip_add(&b.mem, &vip) < 0)
		die("tables");
	dip_lease_set(&b.mem, ~0ULL);
	dip_homes_set(&b.mem, others, 1);
	return b;
}

static void bench_free(struct bench *b)
{
	munmap(b->mem.conf, sizeof(*b->mem.conf));
	munmap(b->mem.ports, DIP_SLOTS * sizeof(*b->mem.ports));
	munmap(b->mem.flows, (b->mem.flow_mask + 1ULL) * sizeof(*b->mem.flows));
	steer__destroy(b->skel);
}

/* As the programs make it. */
static struct dip_flow_spec flow(unsigned int n, unsigned short port)
{
	struct dip_flow_spec f = {.family = DIP_INET, .lport = port};

	f.raddr.a4 = htonl(0x0b000000 + n);
	f.rport = (uint16_t)(1024 + (n & 32767));
	return f;
}

static void add_flows(struct bench *b, unsigned int n, unsigned short port)
{
	for (unsigned int i = 0; i < n; i++) {
		struct dip_flow_spec f = flow(i, port);

		if (dip_flow_put(&b->mem, &f, DIP_FLOW_NODE, 3)) {
			errno = ENOSPC;
			die("flows");
		}
	}
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ns of one run; want is what it must return */
static double run(struct bpf_program *prog, const unsigned char *f, size_t size, int repeat,
		  unsigned int want)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f, .data_size_in = (__u32)size, .repeat = repeat);
	double start = now(CLOCK_THREAD_CPUTIME_ID); /* others may run in between */

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &o))
		die("BPF_PROG_TEST_RUN");
	start = now(CLOCK_THREAD_CPUTIME_ID) - start;
	if (o.retval != want) {
		fprintf(stderr, "steer-bench: %s returned %u, not %u\n", bpf_program__name(prog), o.retval,
			want);
		exit(1);
	}
	return start * 1e9 / repeat;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/*
 * Many short rounds, program and floor in turn.  The best of each are compared:
 * whatever else the machine does only adds.
 */
static void measure(struct bench *b, const char *name, int random, unsigned short port, unsigned int want)
{
	struct bpf_program *floor = random ? b->skel->progs.steer_floor_random
					   : b->skel->progs.steer_floor_same;
	struct bpf_program *prog = random ? b->skel->progs.steer_random : b->skel->progs.steer_same;
	int repeat = random ? RANDOM_RUNS : SAME_RUNS;
	double base = 1e9, full = 1e9;
	unsigned char f[96];
	size_t size = b->six ? frame6(f, 0, port) : frame(f, 0, port);

	for (int i = 0; i < ROUNDS; i++) {
		base = least(base, run(floor, f, size, repeat, XDP_DROP));
		full = least(full, run(prog, f, size, repeat, want));
	}
	printf("%s %.1f %.1f\n", name, full - base, base);
	fflush(stdout);
}

/* The port has exceptions, but not for these clients. */
static void set_exceptions(struct bench *b, unsigned short port)
{
	struct dip_flow_spec other = flow(1 << 24, port);

	if (dip_flow_put(&b->mem, &other, DIP_FLOW_NODE, 3))
		die("flows");
}

/* Ports: 1 owned, 2 another node's, 3 nobody's, 4 and 5 owned with exceptions. */
static void decide_ports(void)
{
	struct bench b = bench_new(1, 0, 0, 0);

	dip_slot_own(&b.mem, 0, false, 1, 2, 1, false);
	dip_slot_own(&b.mem, 0, false, 2, 3, 1, false);
	dip_slot_own(&b.mem, 0, false, 4, 2, 1, false);
	add_flows(&b, 1, 4);
	measure(&b, "owned", 0, 1, XDP_PASS);
	measure(&b, "remote", 0, 2, XDP_DROP);
	measure(&b, "unowned", 0, 3, XDP_DROP);
	measure(&b, "exception-hit-hot", 0, 4, XDP_DROP);
	dip_slot_own(&b.mem, 0, false, 5, 2, 1, false);
	set_exceptions(&b, 5);
	measure(&b, "exception-miss-hot", 0, 5, XDP_PASS);
	bench_free(&b);
}

/* The IPv6 VIP beside the other; its number. */
static unsigned int vip6_add(struct bench *b)
{
	struct dip_vip_spec vip = {.family = DIP_INET6, .mac = {2, 0x53, 0x53, 0x49, 0, 0x64}};
	int index;

	memcpy(vip.addr.a8, vip6, sizeof(vip6));
	index = dip_vip_add(&b->mem, &vip);
	if (index < 0)
		die("tables");
	return (unsigned int)index;
}

static void decide_ipv6(void)
{
	struct bench b = bench_new(1, 0, 0, 1);
	unsigned int vip = vip6_add(&b);

	dip_slot_own(&b.mem, vip, false, 1, 2, 1, false);
	dip_slot_own(&b.mem, vip, false, 2, 3, 1, false);
	measure(&b, "owned-ipv6", 0, 1, XDP_PASS);
	measure(&b, "remote-ipv6", 0, 2, XDP_DROP);
	measure(&b, "unowned-ipv6", 0, 3, XDP_DROP);
	bench_free(&b);
}

static void decide_flows(const char *label, unsigned int flows)
{
	struct bench b = bench_new(flows, 0, 0, 0);
	char name[64];

	dip_slot_own(&b.mem, 0, false, 4, 2, 1, false);
	add_flows(&b, flows, 4);
	snprintf(name, sizeof(name), "exception-hit-%s", label);
	measure(&b, name, 1, 4, XDP_DROP);
	bench_free(&b);
	/* the table is as full, but other flows come */
	b = bench_new(flows, flows, 0, 0);
	dip_slot_own(&b.mem, 0, false, 4, 2, 1, false);
	add_flows(&b, flows, 4);
	snprintf(name, sizeof(name), "exception-miss-%s", label);
	measure(&b, name, 1, 4, XDP_PASS);
	bench_free(&b);
}

static int decide(void)
{
	decide_ports();
	decide_ipv6();
	decide_flows("1k", 1 << 10);
	decide_flows("131k", 1 << 17);
	decide_flows("1M", 1 << 20);
	return 0;
}

/*
 * The time is that of the kernel's loop, in which the receiver's softirqs run
 * too; making and freeing its pages once per call is not what is measured.
 */
static int send_frames(const char *dev, double seconds, int six)
{
	int nowhere = !strcmp(dev, "-");
	struct bench b = bench_new(1 << 16, 0, nowhere ? 0 : if_nametoindex(dev), six);
	struct bpf_program *prog = nowhere ? b.skel->progs.steer_make : b.skel->progs.steer_gen;
	unsigned long long sent = 0;
	unsigned char f[96];
	size_t size = six ? frame6(f, 1, 2) : frame(f, 1, 2);
	struct xdp_md ctx = {.data_end = (__u32)size};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f, .data_size_in = (__u32)size, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = SEND_RUNS, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = BATCH);
	double took = 0;

	while (took < seconds) {
		if (bpf_prog_test_run_opts(bpf_program__fd(prog), &o))
			die("sending");
		sent += SEND_RUNS;
		took += (double)o.duration * SEND_RUNS / 1e9;
	}
	printf("%llu %.3f\n", sent, took);
	bench_free(&b);
	return 0;
}

/* Decisions of both kinds: port 2 is another node's. */
static int receive(const char *dev, int six)
{
	struct bench b = bench_new(1, 0, 0, six);
	struct dip_stats all[256];
	unsigned long long n = 0;
	__u32 vip = six ? vip6_add(&b) : 0;
	int cpus = libbpf_num_possible_cpus();
	char byte;

	dip_slot_own(&b.mem, vip, true, 2, 3, 1, false);
	if (bpf_xdp_attach((int)if_nametoindex(dev), bpf_program__fd(b.skel->progs.steer_same),
			   XDP_FLAGS_DRV_MODE, NULL))
		die(dev);
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	if (cpus > 256 || bpf_map_lookup_elem(bpf_map__fd(b.skel->maps.dip_stats), &vip, all))
		die("counters");
	for (int i = 0; i < cpus; i++)
		n += all[i].reason[DIP_IN][DIP_R_REMOTE];
	printf("%llu\n", n);
	bpf_xdp_detach((int)if_nametoindex(dev), XDP_FLAGS_DRV_MODE, NULL);
	bench_free(&b);
	return 0;
}

/* One CPU, before everybody else: what is measured is the work, not the neighbours. */
static void alone(void)
{
	struct sched_param first = {.sched_priority = 1};
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one) || sched_setscheduler(0, SCHED_FIFO, &first))
		die("scheduling");
}

int main(int argc, char **argv)
{
	int six = argc > 3 && !strcmp(argv[argc - 1], "6") && argc == (strcmp(argv[1], "send") ? 4 : 5);

	argc -= six;
	alone();
	if (argc == 2 && !strcmp(argv[1], "decide"))
		return decide();
	if (argc == 4 && !strcmp(argv[1], "send"))
		return send_frames(argv[2], atof(argv[3]), six);
	if (argc == 3 && !strcmp(argv[1], "receive"))
		return receive(argv[2], six);
	fprintf(stderr, "usage: steer-bench decide | send IF SECONDS [6] | receive IF [6]\n");
	return 2;
}
