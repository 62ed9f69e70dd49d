// SPDX-License-Identifier: GPL-2.0
/*
 * A server that knows where it is: answers each datagram on a port with the name of its node, and gets ready before it is
 * moved. Run it as
 *
 *	cc -o visitor visitor.c $(pkg-config --cflags --libs libnetssi)
 *	ssi-run ./visitor 7777
 *
 * and ask it, from a client, while `netctl migrate visitor NODE` moves it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netssi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char here[64] = "?";

static int open_port(int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -1 : fd;
}

static void answer(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char text[512];

	if (recvfrom(fd, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &len) >= 0)
		sendto(fd, here, strlen(here), 0, (struct sockaddr *)&from, len);
}

static void take(struct netssi_watch *watch, const struct netssi_notice *n)
{
	static const char *const words[] = {
		"?",	    "here, on",	    "about to move to", "about to be saved on",
		"moved to", "restarted on", "stayed on"};

	printf("%s %s\n", n->what <= NETSSI_STAYED ? words[n->what] : "?", n->node);
	fflush(stdout);
	if (n->what == NETSSI_MOVING || n->what == NETSSI_SAVING)
		netssi_watch_ready(watch); /* here it would write out what it has cached */
	else
		snprintf(here, sizeof(here), "%s", n->node);
}

int main(int argc, char **argv)
{
	int port = argc > 1 ? atoi(argv[1]) : 7777, limit_ms = argc > 2 ? atoi(argv[2]) : 500;
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	struct netssi_watch *watch;
	struct netssi_notice notice;

	fds[0].fd = open_port(port);
	if (fds[0].fd < 0) {
		perror("port");
		return 1;
	}
	if (netssi_watch_new(&watch, (unsigned int)limit_ms) < 0) {
		fprintf(stderr, "start me with ssi-run\n");
		return 1;
	}
	fds[1].fd = netssi_watch_fd(watch);
	while (poll(fds, 2, -1) >= 0 || errno == EINTR) { /* a move may interrupt it */
		while (netssi_watch_next(watch, &notice) > 0)
			take(watch, &notice);
		answer(fds[0].fd);
	}
	return 1;
}
