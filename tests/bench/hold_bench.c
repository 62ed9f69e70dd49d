// SPDX-License-Identifier: GPL-2.0
/*
 * hold-bench tap|ssi_core PACKETS ROUNDS SINK: frames to a held port go into netd's hold queue of that kind and
 * come back in order. Prints how many packets a second, the median of the rounds, and how many of the same frames a
 * second go into SINK, a device that drops them: what making them takes is not the queue's, and is taken off.
 *
 * What comes back is to an address that nobody has here: the stack drops it where it looks for a route.
 */
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/log.h"
#include "userland/netd/hold_int.h"

#define BURST	   1024
#define PAYLOAD	   100
#define ROUNDS_MAX 64

struct segment {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
	char payload[PAYLOAD];
} __attribute__((packed));

static uv_loop_t loop;
static struct hold *hold;
static uv_timer_t alive; /* the queue's own handles do not keep the loop going */
static uint32_t seq;
static bool over;

static void die(const char *what, int err)
{
	fprintf(stderr, "hold-bench: %s: %s\n", what, strerror(err));
	exit(1);
}

static void send_frames(int sock, int ifindex, unsigned int count)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_IP),
				 .sll_ifindex = ifindex,
				 .sll_halen = ETH_ALEN};
	struct segment s = {
		.eth = {.h_dest = {2, 0, 0, 0, 0, 1},
			.h_source = {2, 0, 0, 0, 0, 2},
			.h_proto = htons(ETH_P_IP)},
		.ip = {.version = 4,
		       .ihl = 5,
		       .ttl = 64,
		       .protocol = IPPROTO_TCP,
		       .tot_len = htons(sizeof(s) - sizeof(s.eth)),
		       .saddr = htonl(0xc0000209),
		       .daddr = htonl(0xc6336401)},
		.tcp = {.source = htons(40000), .dest = htons(80), .doff = 5, .ack = 1},
	};

	for (unsigned int i = 0; i < count; i++) {
		s.tcp.seq = htonl(seq += PAYLOAD);
		if (sendto(sock, &s, sizeof(s), 0, (struct sockaddr *)&to, sizeof(to)) != sizeof(s))
			die("cannot send a frame", errno);
	}
}

static unsigned long came_back(void)
{
	FILE *f = fopen("/sys/class/net/" HOLD_DEVICE "/statistics/rx_packets", "re");
	unsigned long n = 0;

	if (!f || fscanf(f, "%lu", &n) != 1)
		die("cannot read the device's figures", errno);
	fclose(f);
	return n;
}

static void on_alive(uv_timer_t *t)
{
}

static void on_opened(void *arg, struct hold_key key)
{
	over = true;
}

/* In seconds. */
static double one_round(int sock, unsigned int packets)
{
	uint32_t addr = htonl(0xc6336401);
	struct hold_key key = {ipaddr_of(DIP_INET, &addr), IPPROTO_TCP, 80};
	unsigned long before = came_back();
	uint64_t began = uv_hrtime();
	int err = hold_begin(hold, key, "bench");

	if (err)
		die("hold", -err);
	for (unsigned int sent = 0; sent < packets; sent += BURST) {
		send_frames(sock, hold_ifindex(hold), packets - sent < BURST ? packets - sent : BURST);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	over = false;
	hold_release(hold, key, on_opened, NULL);
	while (!over)
		uv_run(&loop, UV_RUN_NOWAIT);
	began = uv_hrtime() - began;
	if (came_back() - before != packets) {
		fprintf(stderr, "hold-bench: %lu of %u packets came back\n", came_back() - before, packets);
		exit(1);
	}
	return began / 1e9;
}

static double making(int sock, int sink, unsigned int packets)
{
	uint64_t began = uv_hrtime();

	send_frames(sock, sink, packets);
	return (uv_hrtime() - began) / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

int main(int argc, char **argv)
{
	unsigned int packets, rounds;
	double took[ROUNDS_MAX], made[ROUNDS_MAX];
	int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), sink, err;

	if (argc != 5 || (strcmp(argv[1], "tap") && strcmp(argv[1], "ssi_core"))) {
		fprintf(stderr, "usage: hold-bench tap|ssi_core PACKETS ROUNDS SINK\n");
		return 2;
	}
	log_init("hold-bench", LOG_WARNING);
	packets = (unsigned int)atoi(argv[2]);
	rounds = (unsigned int)atoi(argv[3]);
	sink = (int)if_nametoindex(argv[4]);
	if (sock < 0 || !sink || !rounds || rounds > ROUNDS_MAX)
		die(argv[4], sock < 0 || !sink ? errno : EINVAL);
	uv_loop_init(&loop);
	uv_timer_init(&loop, &alive);
	uv_timer_start(&alive, on_alive, 1000, 1000);
	err = *argv[1] == 't' ? hold_tap_open(&hold, &loop) : hold_core_open(&hold, &loop);
	if (err)
		die(argv[1], -err);
	one_round(sock, packets); /* warms up */
	for (unsigned int i = 0; i < rounds; i++) {
		made[i] = making(sock, sink, packets);
		took[i] = one_round(sock, packets) - made[i];
	}
	printf("%.0f %.0f\n", packets / median(took, rounds), packets / median(made, rounds));
	uv_close((uv_handle_t *)&alive, NULL);
	hold_close(hold, true);
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}
