// SPDX-License-Identifier: GPL-2.0
/*
 * What a supervisor hears from netd, in pieces: requests of every kind in every state. The file itself is taken in, to get at
 * what it has for itself; what the requests do to the application is played.
 */
#include "userland/run/keeper.c"

#include "fuzz.h"

struct run run;
static unsigned int asked; /* for something of a move, and not answered yet */

void run_say(const char *fmt, ...)
{
}
void run_end(int code)
{
	run.state = RUN_EXITED;
}
const char *run_state_name(enum run_state s)
{
	return s == RUN_RUNNING ? "running" : "another";
}
json_t *run_hello(const char *name)
{
	return json_pack("{s{ss}}", "hello", "name", name);
}
void claim_went(void)
{
}
int app_prepare(void)
{
	return run.state == RUN_STARTING ? 0 : -EBUSY;
}
int app_start(void)
{
	run.state = RUN_RUNNING;
	return 0;
}
void app_signal(int sig)
{
	fuzz_check(sig >= 1 && sig <= 64);
}
const char *logfile_path(void)
{
	return "/nowhere";
}
json_t *logfile_lines(size_t max)
{
	return json_array();
}

/* Answered at once or later, as it comes. */
static void played(struct keeper_request rq, json_t *args, int fd)
{
	(void)strlen(json_string_value(json_object_get(args, "dir")) ?: "");
	if (fd >= 0)
		close(fd);
	if (asked++ % 2)
		keeper_ok(rq, json_pack("{sI}", "bytes", rq.id));
	else
		keeper_error(rq, json_string_value(json_object_get(args, "dir")), "cannot: %s",
			     json_string_value(json_object_get(args, "criu")) ?: "");
}

void notice_tell(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}

void carry_check(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_round(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_ready(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_dump(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_send(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_recv(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_restore(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_resume(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_thaw(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_discard(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_stdio(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_moved(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void freeze_app(struct keeper_request rq, json_t *args, int fd)
{
	run.state = RUN_PAUSED;
	played(rq, args, fd);
}
void freeze_thaw(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
	freeze_over();
}
void freeze_over(void)
{
	run.state = RUN_RUNNING;
}
void carry_place(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_seal(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}
void carry_load(struct keeper_request rq, json_t *args, int fd)
{
	played(rq, args, fd);
}

static void connected(int fd)
{
	struct conn *c = &conns[0];

	jsonline_init(&c->line, fd);
	c->serial = ++last_serial;
	c->leave = false;
	c->w = (struct watch){.fd = fd, .events = POLLIN, .fn = conn_event, .arg = c};
	loop_watch(&c->w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_stream s;

	if (fuzz_open(&s, data, size, 1) < 0)
		return 0;
	run = (struct run){.state = size % 3 == 2 ? RUN_MOVED : size % 3 ? RUN_RUNNING : RUN_STARTING};
	asked = (unsigned int)(size / 3);
	connected(s.fd);
	while (conns[0].serial && fuzz_next(&s)) {
		conn_event(&conns[0].w, POLLIN);
		keeper_event(json_pack("{ss}", "kind", "progress"));
		fuzz_drain(&s);
	}
	if (conns[0].serial)
		conn_close(&conns[0]);
	fuzz_close(&s);
	return 0;
}
