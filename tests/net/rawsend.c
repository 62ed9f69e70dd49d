// SPDX-License-Identifier: GPL-2.0
/*
 * Sends frames as they are: `rawsend INTERFACE` reads lines of hexadecimal digits (blanks are skipped, the rest
 * behind '#' too) and sends each as one Ethernet frame. For malformed packets that no tool would make.
 */
#include <ctype.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FRAME_MAX 2048

static int digit(int c)
{
	return isdigit(c) ? c - '0' : tolower(c) - 'a' + 10;
}

/* Bytes in `line`, or -1 when it is no frame. */
static int parse(const char *line, unsigned char *frame)
{
	int n = 0;

	for (; *line && *line != '\n' && *line != '#'; line++) {
		if (isspace((unsigned char)*line))
			continue;
		if (!isxdigit((unsigned char)*line) || n == 2 * FRAME_MAX)
			return -1;
		frame[n / 2] = n % 2 ? frame[n / 2] << 4 | digit(*line) : digit(*line);
		n++;
	}
	return n % 2 ? -1 : n / 2;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	unsigned char frame[FRAME_MAX];
	char line[4 * FRAME_MAX];
	int fd, len, lines = 0;

	if (argc != 2 || !(to.sll_ifindex = if_nametoindex(argv[1]))) {
		fputs("usage: rawsend INTERFACE <FRAMES\n", stderr);
		return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0) {
		perror("rawsend: socket");
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		lines++;
		len = parse(line, frame);
		if (len < 0) {
			fprintf(stderr, "rawsend: line %d is no frame\n", lines);
			return 2;
		}
		if (len && sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) != len) {
			fprintf(stderr, "rawsend: line %d: %m\n", lines);
			return 1;
		}
	}
	return 0;
}
