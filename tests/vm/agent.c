// SPDX-License-Identifier: GPL-2.0
/*
 * vm-agent: runs commands in a guest for vmexec on the host, see frame.h.
 *
 * One process serves each virtio-serial port whose name begins with "netssi.": one session at a time. When the
 * host's end goes, the command is killed with its process group. What a command leaves running when
 * it ends by itself goes on.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/vm/frame.h"

struct session {
	uint32_t id;
	bool live;	  /* said hello */
	pid_t pid;	  /* 0: no command now */
	int in, out, err; /* our ends of its pipes, -1 when closed */
	bool ended, end_of_input;
	int status;
	size_t pending_start, pending_end; /* input that the command has not taken yet */
	uint8_t pending[2 * FRAME_PAYLOAD];
};

static int port = -1;
static struct frame_out to_host;
static struct frame_in from_host;
static uint8_t chunk[4096]; /* read from the port, not yet looked at */
static size_t chunk_start, chunk_end;
static struct session session = {.in = -1, .out = -1, .err = -1};

static void on_signal(int sig)
{
	(void)sig; /* only wakes ppoll */
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Forgets the session, killing what it runs. */
static void session_end(void)
{
	if (session.pid > 0 && !session.ended) {
		kill(-session.pid, SIGKILL);
		waitpid(session.pid, NULL, 0);
	}
	close_fd(&session.in);
	close_fd(&session.out);
	close_fd(&session.err);
	session.pid = 0;
	session.live = session.ended = session.end_of_input = false;
	session.pending_start = session.pending_end = 0;
}

static void run_child(char **argv, int in, int out, int err)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGIO, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	if (chdir("/root") < 0 && chdir("/") < 0)
		_exit(126);
	execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void session_run(const char *args, size_t len)
{
	int in[2], out[2], err[2], argc = 0;
	char *argv[1024], *copy = malloc(len + 1);
	size_t i;

	if (!copy || session.pid)
		return free(copy);
	memcpy(copy, args, len);
	copy[len] = '\0';
	for (i = 0; i < len && argc < 1023; i += strlen(copy + i) + 1)
		argv[argc++] = copy + i;
	argv[argc] = NULL;
	if (!argc || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
		perror("vm-agent: pipe");
		exit(1);
	}
	session.pid = fork();
	if (session.pid < 0) {
		perror("vm-agent: fork");
		exit(1);
	}
	if (session.pid == 0)
		run_child(argv, in[0], out[1], err[1]);
	setpgid(session.pid, session.pid);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	session.in = in[1];
	session.out = out[0];
	session.err = err[0];
	fcntl(session.in, F_SETFL, O_NONBLOCK);
	fcntl(session.out, F_SETFL, O_NONBLOCK);
	fcntl(session.err, F_SETFL, O_NONBLOCK);
	free(copy);
}

static void handle_frame(void)
{
	const uint8_t *payload = from_host.buf + FRAME_HEAD;
	size_t len = from_host.len - FRAME_HEAD;
	char type = frame_type(&from_host);

	if (type == 'H') {
		session_end();
		session.id = frame_session(&from_host);
		session.live = true;
		to_host.start = to_host.end = 0;
		frame_put(&to_host, 'R', session.id, NULL, 0);
	} else if (!session.live || frame_session(&from_host) != session.id) {
		return;
	} else if (type == 'X') {
		session_run((const char *)payload, len);
	} else if (type == 'E') {
		session.end_of_input = true;
	} else if (type == 'I' && session.in >= 0) {
		memmove(session.pending, session.pending + session.pending_start,
			session.pending_end - session.pending_start);
		session.pending_end -= session.pending_start;
		session.pending_start = 0;
		memcpy(session.pending + session.pending_end, payload, len);
		session.pending_end += len;
	}
}

/* There is room for the input of one more frame. */
static bool wants_frames(void)
{
	return session.pending_end - session.pending_start <= FRAME_PAYLOAD &&
	       frame_room(&to_host) >= frame_worst(0);
}

/*
 * Reads the port until it is dry or a frame fills the buffers; what must wait stays in @chunk.
 * False when the host's end is closed.
 */
static bool read_port(void)
{
	for (;;) {
		while (chunk_start < chunk_end) {
			if (!wants_frames())
				return true;
			if (frame_get(&from_host, chunk[chunk_start++])) {
				handle_frame();
				frame_done(&from_host);
			}
		}
		ssize_t n = read(port, chunk, sizeof(chunk));

		if (n == 0)
			return false;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		chunk_start = 0;
		chunk_end = (size_t)n;
	}
}

static void feed_command(void)
{
	while (session.in >= 0 && session.pending_start < session.pending_end) {
		ssize_t n = write(session.in, session.pending + session.pending_start,
				  session.pending_end - session.pending_start);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			close_fd(&session.in); /* it does not read any more: the rest is dropped */
			break;
		}
		session.pending_start += (size_t)n;
	}
	session.pending_start = session.pending_end = 0;
	if (session.end_of_input)
		close_fd(&session.in);
}

static void take_output(int *fd, char type)
{
	uint8_t bytes[FRAME_PAYLOAD];

	while (*fd >= 0 && frame_room(&to_host) >= frame_worst(sizeof(bytes)) + frame_worst(2)) {
		ssize_t n = read(*fd, bytes, sizeof(bytes));

		if (n < 0)
			return;
		if (n == 0)
			close_fd(fd);
		else
			frame_put(&to_host, type, session.id, bytes, (size_t)n);
	}
}

static bool output_waits(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* The command has ended and all that it wrote is queued: say so. */
static void report_end(void)
{
	uint8_t end[2];

	if (!session.ended && waitpid(session.pid, &session.status, WNOHANG) == session.pid)
		session.ended = true;
	if (!session.ended)
		return;
	take_output(&session.out, 'o');
	take_output(&session.err, 'e');
	if (output_waits(session.out) || output_waits(session.err) || frame_room(&to_host) < frame_worst(2))
		return;
	end[0] = WIFEXITED(session.status) ? (uint8_t)WEXITSTATUS(session.status) : 0;
	end[1] = WIFSIGNALED(session.status) ? (uint8_t)WTERMSIG(session.status) : 0;
	frame_put(&to_host, 'x', session.id, end, sizeof(end));
	session_end();
}

static void serve_once(void)
{
	struct pollfd fds[4];
	struct timespec at_once = {0};
	sigset_t open;

	sigemptyset(&open);
	fds[0] = (struct pollfd){.fd = port,
				 .events = (wants_frames() ? POLLIN : 0) | (to_host.end ? POLLOUT : 0)};
	fds[1] = (struct pollfd){.fd = session.pending_end || session.end_of_input ? session.in : -1,
				 .events = POLLOUT};
	fds[2] = (struct pollfd){.fd = session.out, .events = POLLIN};
	fds[3] = (struct pollfd){.fd = session.err, .events = POLLIN};
	if (frame_room(&to_host) < frame_worst(FRAME_PAYLOAD) + frame_worst(2))
		fds[2].fd = fds[3].fd = -1;
	/* SIGCHLD and the port's SIGIO (the host came or went) end the wait. */
	ppoll(fds, 4, chunk_start < chunk_end && wants_frames() ? &at_once : NULL, &open);

	if (fds[0].revents & POLLHUP || !read_port()) {
		session_end();
		from_host.open = false;
		from_host.len = 0;
		chunk_start = chunk_end = 0;
		to_host.start = to_host.end = 0;
		return;
	}
	if (session.pid) {
		feed_command();
		take_output(&session.out, 'o');
		take_output(&session.err, 'e');
		report_end();
	}
	frame_flush(&to_host, port);
}

static bool host_is_there(void)
{
	struct pollfd p = {.fd = port, .events = POLLIN};

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static void serve(const char *device)
{
	struct sigaction wake = {.sa_handler = on_signal};
	struct timespec second = {.tv_sec = 1};
	sigset_t blocked, open_mask;

	sigemptyset(&open_mask);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGIO);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGIO, &wake, NULL);
	sigaction(SIGCHLD, &wake, NULL);
	signal(SIGPIPE, SIG_IGN);
	port = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port < 0 || fcntl(port, F_SETOWN, getpid()) < 0 ||
	    fcntl(port, F_SETFL, O_NONBLOCK | O_ASYNC) < 0) {
		fprintf(stderr, "vm-agent: %s: %s\n", device, strerror(errno));
		exit(1);
	}
	for (;;) {
		if (host_is_there())
			serve_once();
		else
			ppoll(NULL, 0, &second, &open_mask);
	}
}

/* The name of a port, from sysfs; empty when it has none. */
static void port_name(const char *device, char *name, size_t size)
{
	char path[300];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, name, size - 1);
		close(fd);
	}
	name[n > 0 ? n : 0] = '\0';
}

int main(void)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	int ports = 0;

	if (!dir) {
		fprintf(stderr, "vm-agent: no virtio-serial ports here\n");
		return 1;
	}
	while ((entry = readdir(dir))) {
		char name[64], device[300];

		port_name(entry->d_name, name, sizeof(name));
		if (strncmp(name, "netssi.", 7) != 0)
			continue;
		snprintf(device, sizeof(device), "/dev/%s", entry->d_name);
		ports++;
		if (fork() == 0)
			serve(device);
	}
	closedir(dir);
	if (!ports)
		return 1;
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return 1;
}
