// SPDX-License-Identifier: GPL-2.0
/*
 * vmexec: the host's end of a guest's channels.
 *
 *	vmexec run DIR SECONDS CMD...	runs CMD in the guest whose sockets netssi.*.sock are in DIR; stdin, stdout,
 *					stderr and exit status are CMD's (128 + signal when one killed it);
 *					255 when the guest does not answer within SECONDS
 *	vmexec qmp DIR JSON...		gives QEMU (DIR/qmp.sock) commands one after the other, prints the answers
 *
 * A channel carries one command at a time: the lock on netssi.N.lock is held meanwhile.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "tests/vm/frame.h"

#define CHANNELS      8
#define EXIT_NO_GUEST 255

static struct frame_out to_guest;
static struct frame_in from_guest;
static uint32_t session;
static int channel = -1;

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "vmexec: %s\n", what);
	exit(EXIT_NO_GUEST);
}

static int connect_to(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", name);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A free channel of the guest, locked until we exit; waits for one until @deadline. */
static int open_channel(long long deadline)
{
	char name[32];
	int i, lock, fd;

	do {
		for (i = 0; i < CHANNELS; i++) {
			snprintf(name, sizeof(name), "netssi.%d.lock", i);
			lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
			if (lock < 0)
				die("cannot lock a channel of the guest; run this as root");
			if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
				snprintf(name, sizeof(name), "netssi.%d.sock", i);
				fd = connect_to(name);
				if (fd >= 0)
					return fd;
			}
			close(lock);
		}
		poll(NULL, 0, 20);
	} while (now_ms() < deadline);
	return -1;
}

/* Writes all of @len bytes to one of our own streams. */
static void write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			exit(128 + SIGPIPE);
		} else if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
}

/* One frame from the guest. True when it is 'R'; exits at 'x'. */
static bool handle_frame(void)
{
	const uint8_t *payload = from_guest.buf + FRAME_HEAD;
	size_t len = from_guest.len - FRAME_HEAD;

	if (frame_session(&from_guest) != session)
		return false;
	switch (frame_type(&from_guest)) {
	case 'R':
		return true;
	case 'o':
		write_all(STDOUT_FILENO, payload, len);
		break;
	case 'e':
		write_all(STDERR_FILENO, payload, len);
		break;
	case 'x':
		exit(payload[1] ? 128 + payload[1] : payload[0]);
	}
	return false;
}

/* Takes what the guest sent. True when an 'R' was among it. */
static bool read_channel(void)
{
	uint8_t bytes[65536];
	bool ready = false;
	ssize_t n = read(channel, bytes, sizeof(bytes)), i;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0)
		die("the guest is gone");
	for (i = 0; i < n; i++)
		if (frame_get(&from_guest, bytes[i])) {
			ready |= handle_frame();
			frame_done(&from_guest);
		}
	return ready;
}

static void flush_channel(void)
{
	if (frame_flush(&to_guest, channel) < 0)
		die("the guest is gone");
}

/* Says hello until the guest answers: what it takes before its agent is up may be lost. */
static void greet(long long deadline)
{
	struct pollfd p = {.events = POLLIN};
	long long again = 0;

	p.fd = channel;
	for (;;) {
		if (now_ms() > deadline)
			die("the guest does not answer");
		if (now_ms() >= again && to_guest.end == 0) {
			frame_put(&to_guest, 'H', session, NULL, 0);
			again = now_ms() + 1000;
		}
		flush_channel();
		if (poll(&p, 1, 100) > 0 && read_channel())
			return;
	}
}

static void send_command(char **argv)
{
	static uint8_t args[FRAME_PAYLOAD];
	size_t len = 0;

	for (; *argv; argv++) {
		size_t n = strlen(*argv) + 1;

		if (len + n > sizeof(args))
			die("the command line is too long");
		memcpy(args + len, *argv, n);
		len += n;
	}
	frame_put(&to_guest, 'X', session, args, len);
}

static void relay(void)
{
	bool input = true;

	for (;;) {
		bool room = frame_room(&to_guest) >= frame_worst(FRAME_PAYLOAD);
		struct pollfd fds[2] = {
			{.fd = channel, .events = POLLIN | (to_guest.end ? POLLOUT : 0)},
			{.fd = input && room ? STDIN_FILENO : -1, .events = POLLIN},
		};

		poll(fds, 2, -1);
		if (fds[1].revents) {
			uint8_t bytes[FRAME_PAYLOAD];
			ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

			if (n > 0) {
				frame_put(&to_guest, 'I', session, bytes, (size_t)n);
			} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
				frame_put(&to_guest, 'E', session, NULL, 0);
				input = false;
			}
		}
		flush_channel();
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			read_channel();
	}
}

static void run(long long seconds, char **argv)
{
	long long deadline = now_ms() + seconds * 1000;

	signal(SIGPIPE, SIG_IGN);
	channel = open_channel(deadline);
	if (channel < 0)
		die("the guest is not running, or all its channels are busy");
	fcntl(channel, F_SETFL, O_NONBLOCK);
	if (getrandom(&session, sizeof(session), 0) != sizeof(session))
		session = (uint32_t)getpid();
	greet(deadline);
	send_command(argv);
	relay();
}

/* Gives one command and reads until its answer; events in between are dropped. */
static int qmp_command(FILE *stream, const char *json, bool show)
{
	char *line = NULL;
	size_t size = 0;
	int rc = 1;

	fprintf(stream, "%s\n", json);
	fflush(stream);
	while (getline(&line, &size, stream) > 0) {
		if (!strncmp(line, "{\"return\"", 9))
			rc = 0;
		else if (strncmp(line, "{\"error\"", 8) != 0)
			continue;
		if (show || rc)
			fputs(line, rc ? stderr : stdout);
		break;
	}
	free(line);
	return rc;
}

static int qmp(char **commands)
{
	int fd = connect_to("qmp.sock"), rc;
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "r+");
	char greeting[1024];

	if (!stream || !fgets(greeting, sizeof(greeting), stream))
		die("the guest is not running");
	rc = qmp_command(stream, "{\"execute\": \"qmp_capabilities\"}", false);
	for (; !rc && *commands; commands++)
		rc = qmp_command(stream, *commands, true);
	fclose(stream);
	return rc;
}

int main(int argc, char **argv)
{
	/* Into the directory: a socket's path has at most 107 bytes. */
	if (argc >= 4 && chdir(argv[2]) < 0)
		die("the guest is not running");
	if (argc >= 5 && !strcmp(argv[1], "run"))
		run(atoll(argv[3]), argv + 4);
	if (argc >= 4 && !strcmp(argv[1], "qmp"))
		return qmp(argv + 3);
	fprintf(stderr, "usage: vmexec run DIR SECONDS CMD... | qmp DIR JSON...\n");
	return 2;
}
