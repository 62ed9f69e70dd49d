// SPDX-License-Identifier: GPL-2.0
/*
 * vmswitch: the segment that the guests share, a learning Ethernet switch between QEMU's dgram sockets.
 *
 *	vmswitch NAME...	run in a directory that holds one directory per guest
 *
 * Port NAME is the pair NAME/switch.sock (ours) and NAME/net.sock (QEMU's). Frames to multicast and to unlearned
 * addresses go to all other ports, never back to the one they came from. Orders come a line each on stdin;
 * state files tell that one was carried out:
 *	cut A B		no frame passes between A and B ("*": all others); creates A/cut or A/cut.B
 *	heal A B	undoes that cut
 *	capture FILE	writes what the ports send to a pcap file; FILE "-" ends it; creates or removes "capturing"
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PORTS	16
#define LEARNED 256
#define FRAME	65536

struct port {
	const char *name;
	int fd;
	struct sockaddr_un peer;
	bool cut[PORTS]; /* [i]: cut off from port i; [itself]: from all */
};

struct learned {
	uint8_t mac[6];
	int port;
};

static struct port ports[PORTS];
static int port_count;
static struct learned table[LEARNED];
static int learned_count;
static FILE *pcap;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "vmswitch: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void port_open(struct port *port, const char *name)
{
	struct sockaddr_un own = {.sun_family = AF_UNIX};
	int size = 4 << 20;

	port->name = name;
	port->peer.sun_family = AF_UNIX;
	snprintf(own.sun_path, sizeof(own.sun_path), "%s/switch.sock", name);
	snprintf(port->peer.sun_path, sizeof(port->peer.sun_path), "%s/net.sock", name);
	unlink(own.sun_path);
	port->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (port->fd < 0 || bind(port->fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		die(own.sun_path);
	setsockopt(port->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void learn(const uint8_t *mac, int port)
{
	int i;

	if (mac[0] & 1)
		return;
	for (i = 0; i < learned_count; i++)
		if (!memcmp(table[i].mac, mac, 6))
			break;
	if (i == LEARNED)
		return;
	if (i == learned_count)
		learned_count++;
	memcpy(table[i].mac, mac, 6);
	table[i].port = port;
}

/* The port behind an address, -1 when it is not known. */
static int find(const uint8_t *mac)
{
	int i;

	for (i = 0; i < learned_count; i++)
		if (!memcmp(table[i].mac, mac, 6))
			return table[i].port;
	return -1;
}

static void record(const uint8_t *frame, uint32_t len)
{
	struct timespec now;
	uint32_t head[4];

	clock_gettime(CLOCK_REALTIME, &now);
	head[0] = (uint32_t)now.tv_sec;
	head[1] = (uint32_t)(now.tv_nsec / 1000);
	head[2] = head[3] = len;
	fwrite(head, sizeof(head), 1, pcap);
	fwrite(frame, len, 1, pcap);
	fflush(pcap);
}

static bool connected(int a, int b)
{
	return !ports[a].cut[a] && !ports[b].cut[b] && !ports[a].cut[b] && !ports[b].cut[a];
}

static void forward(int from, const uint8_t *frame, size_t len)
{
	int to = frame[0] & 1 ? -1 : find(frame), i;

	learn(frame + 6, from);
	if (pcap)
		record(frame, (uint32_t)len);
	for (i = 0; i < port_count; i++)
		if (i != from && (to < 0 || to == i) && connected(from, i))
			/* A guest that is off or does not keep up loses frames, as on a real wire. */
			sendto(ports[from].fd, frame, len, 0, (struct sockaddr *)&ports[i].peer,
			       sizeof(ports[i].peer));
}

static void receive(int from)
{
	static uint8_t frame[FRAME];
	int i;

	for (i = 0; i < 64; i++) {
		ssize_t n = recv(ports[from].fd, frame, sizeof(frame), 0);

		if (n < 0)
			return;
		if (n >= 14)
			forward(from, frame, (size_t)n);
	}
}

static int port_by_name(const char *name)
{
	int i;

	for (i = 0; i < port_count; i++)
		if (!strcmp(ports[i].name, name))
			return i;
	return -1;
}

/* Says that an order was carried out: the state file is there, or gone. */
static void tell(const char *path, bool there)
{
	if (!there)
		unlink(path);
	else
		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

static void order_cut(const char *name, const char *other, bool cut)
{
	int a = port_by_name(name), b = !strcmp(other, "*") ? a : port_by_name(other);
	char path[128];

	if (a < 0 || b < 0)
		return;
	ports[a].cut[b] = cut;
	if (a == b)
		snprintf(path, sizeof(path), "%s/cut", name);
	else
		snprintf(path, sizeof(path), "%s/cut.%s", name, other);
	tell(path, cut);
}

static void order_capture(const char *file)
{
	static const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, FRAME, 1};

	if (pcap)
		fclose(pcap);
	pcap = NULL;
	if (strcmp(file, "-") != 0) {
		pcap = fopen(file, "we");
		if (pcap)
			fwrite(head, sizeof(head), 1, pcap);
	}
	tell("capturing", pcap != NULL);
}

static void handle_order(void)
{
	char line[300], verb[16], a[128], b[128];
	int words;

	if (!fgets(line, sizeof(line), stdin))
		exit(0);
	words = sscanf(line, "%15s %127s %127s", verb, a, b);
	if (words == 3 && !strcmp(verb, "cut"))
		order_cut(a, b, true);
	else if (words == 3 && !strcmp(verb, "heal"))
		order_cut(a, b, false);
	else if (words == 2 && !strcmp(verb, "capture"))
		order_capture(a);
}

int main(int argc, char **argv)
{
	struct pollfd fds[PORTS + 1];
	int i;

	if (argc < 2 || argc - 1 > PORTS) {
		fprintf(stderr, "usage: vmswitch NAME...\n");
		return 2;
	}
	port_count = argc - 1;
	setvbuf(stdin, NULL, _IONBF, 0);
	for (i = 0; i < port_count; i++) {
		port_open(&ports[i], argv[i + 1]);
		fds[i] = (struct pollfd){.fd = ports[i].fd, .events = POLLIN};
	}
	fds[i] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	for (;;) {
		poll(fds, (nfds_t)port_count + 1, -1);
		for (i = 0; i < port_count; i++)
			if (fds[i].revents)
				receive(i);
		if (fds[i].revents)
			handle_order();
	}
}
