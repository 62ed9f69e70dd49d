/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control socket with handlers of its own, in this process: the loop runs on
 * this thread between the steps of the clients, which are nonblocking sockets.
 */
#include <cstdarg>
#include <errno.h>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include "userland/lib/jsonline.h"
#include "userland/netd/ctl.h"
}

/* The struct netd of this test has what ctl.c uses. */
#include "userland/netd/netd.h"

static int closed_calls;
static struct ctl_request *kept;

static void cmd_echo(void *arg, struct ctl_request *r, json_t *args)
{
	ctl_ok(r, json_pack("[O]", args));
}

static void cmd_keep(void *arg, struct ctl_request *r, json_t *args)
{
	kept = r;
}

static void on_closed(void *arg)
{
	closed_calls++;
	ctl_fail(kept, CTL_FAILED, NULL, "nobody hears this");
	kept = NULL;
}

static void cmd_keep_watched(void *arg, struct ctl_request *r, json_t *args)
{
	kept = r;
	ctl_on_close(r, on_closed, NULL);
}

static void cmd_fail(void *arg, struct ctl_request *r, json_t *args)
{
	ctl_fail(r, CTL_FAILED, "do \"this\"", "bad \xff thing %d", 7);
}

static void cmd_many(void *arg, struct ctl_request *r, json_t *args)
{
	json_t *all = json_array();
	json_int_t n = json_integer_value(json_object_get(args, "n"));

	for (json_int_t i = 0; i < n; i++)
		json_array_append_new(all,
				      json_pack("{s:I,s:s}", "i", i, "text", "some words to make it longer"));
	ctl_event(r, json_pack("{s:s}", "what", "counting"));
	ctl_ok(r, all);
}

static void cmd_flood(void *arg, struct ctl_request *r, json_t *args)
{
	std::string big(10000, 'x');

	for (int i = 0; i < 1000; i++)
		ctl_event(r, json_pack("{s:i,s:s}", "i", i, "text", big.c_str()));
	ctl_ok(r, json_pack("[{s:b}]", "done", 1));
}

static void cmd_fd(void *arg, struct ctl_request *r, json_t *args)
{
	int fd = ctl_take_fd(r);

	if (fd < 0) {
		ctl_fail(r, CTL_USAGE, "send one", "no fd");
		return;
	}
	ctl_send_fd(r, fd);
	close(fd);
	ctl_ok(r, NULL);
}

static void cmd_detach(void *arg, struct ctl_request *r, json_t *args)
{
	int fd = ctl_detach(r);

	ASSERT_LE(0, fd);
	EXPECT_EQ(3, write(fd, "raw", 3));
	close(fd);
}

static bool is_member, has_quorum;

static bool gate_member(void *arg)
{
	return is_member;
}

static bool gate_quorum(void *arg)
{
	return has_quorum;
}

struct Client {
	struct jsonline j;
	json_t *got = NULL; /* the last line */

	explicit Client(const std::string &path)
	{
		struct sockaddr_un addr = {};
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		addr.sun_family = AF_UNIX;
		strcpy(addr.sun_path, path.c_str());
		EXPECT_EQ(0, connect(fd, (struct sockaddr *)&addr, sizeof(addr))) << strerror(errno);
		jsonline_init(&j, fd);
	}
	~Client()
	{
		json_decref(got);
		jsonline_close(&j);
	}
	void send(const std::string &s)
	{
		ssize_t n = ::send(j.fd, s.data(), s.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)n;
	}
};

class CtlServer : public ::testing::Test {
      protected:
	struct netd n = {};
	uv_loop_t loop;
	char dir[32] = "/tmp/ctl-test-XXXXXX";
	std::string path;

	void SetUp() override
	{
		closed_calls = 0;
		kept = NULL;
		is_member = has_quorum = true;
		ASSERT_NE(nullptr, mkdtemp(dir));
		path = std::string(dir) + "/sock";
		uv_loop_init(&loop);
		n.loop = &loop;
		ASSERT_EQ(0, ctl_start_at(&n, path.c_str()));
		struct ctl_gate gate = {gate_member, gate_quorum};
		ctl_set_gate(n.ctl, &gate, NULL);
		ctl_register(n.ctl, "echo", 0, cmd_echo, NULL);
		ctl_register(n.ctl, "keep", 0, cmd_keep, NULL);
		ctl_register(n.ctl, "keep-watched", 0, cmd_keep_watched, NULL);
		ctl_register(n.ctl, "fail", 0, cmd_fail, NULL);
		ctl_register(n.ctl, "many", 0, cmd_many, NULL);
		ctl_register(n.ctl, "flood", 0, cmd_flood, NULL);
		ctl_register(n.ctl, "fd", 0, cmd_fd, NULL);
		ctl_register(n.ctl, "detach", 0, cmd_detach, NULL);
		ctl_register(n.ctl, "root", CTL_ROOT, cmd_echo, NULL);
		ctl_register(n.ctl, "member", CTL_MEMBER, cmd_echo, NULL);
		ctl_register(n.ctl, "quorum", CTL_QUORUM | CTL_ROOT, cmd_echo, NULL);
		ctl_ready(n.ctl);
	}
	void TearDown() override
	{
		ctl_stop(&n);
		uv_run(&loop, UV_RUN_DEFAULT);
		EXPECT_EQ(0, uv_loop_close(&loop));
		EXPECT_NE(0, access(path.c_str(), F_OK)) << "the socket is removed";
		unlink((path + ".lock").c_str());
		rmdir(dir);
	}
	/* Run the loop until cond holds, at most some seconds. */
	bool until(std::function<bool()> cond, int ms = 5000)
	{
		uint64_t end = uv_hrtime() + ms * 1000000ull;
		int idle = 0;

		while (!cond()) {
			if (uv_hrtime() > end)
				return false;
			uv_run(&loop, UV_RUN_NOWAIT);
			poll(NULL, 0, idle++ > 10);
		}
		return true;
	}
	/* The next line of a client: 1, 0 at its end, -errno. */
	int line(Client &c)
	{
		int r = 0;
		ssize_t got;
		json_t *obj = NULL;

		bool ok = until([&] {
			r = jsonline_next(&c.j, &obj);
			if (r)
				return true;
			got = jsonline_fill(&c.j);
			if (got == -EAGAIN)
				return false;
			if (got <= 0) {
				r = got;
				return true;
			}
			return false;
		});
		if (!ok)
			return -ETIMEDOUT;
		if (r == 1) {
			json_decref(c.got);
			c.got = obj;
		}
		return r;
	}
	std::string text(Client &c)
	{
		int r = line(c);

		if (r != 1)
			return r == 0 ? "end" : strerror(-r);
		char *s = json_dumps(c.got, JSON_COMPACT | JSON_SORT_KEYS);
		std::string out = s;
		free(s);
		return out;
	}
	std::string call(const std::string &request)
	{
		Client c(path);

		c.send(request + "\n");
		return text(c);
	}
};

TEST_F(CtlServer, AnswersAndCloses)
{
	Client c(path);

	c.send("{\"cmd\":\"echo\",\"args\":{\"a\":[1,\"x\"]}}\n");
	EXPECT_EQ("{\"result\":[{\"a\":[1,\"x\"]}]}", text(c));
	EXPECT_EQ("end", text(c));
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"echo\"}"));
}

TEST_F(CtlServer, ErrorsNameCodeAndRemedy)
{
	EXPECT_EQ("{\"code\":1,\"error\":\"bad ? thing 7\",\"remedy\":\"do \\\"this\\\"\"}",
		  call("{\"cmd\":\"fail\"}"));
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"nope\"}").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("{\"args\":{}}").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"echo\",\"args\":[]}").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("[]").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("\x80\x81").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("").find("\"code\":2"));
}

TEST_F(CtlServer, RequestInPieces)
{
	Client c(path);

	for (char ch : std::string("{\"cmd\":\"echo\",\"args\":{}}\n")) {
		c.send(std::string(1, ch));
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	EXPECT_EQ("{\"result\":[{}]}", text(c));
}

TEST_F(CtlServer, OnlyTheFirstRequestCounts)
{
	Client c(path);

	c.send("{\"cmd\":\"echo\"}\n{\"cmd\":\"fail\"}\ngarbage");
	EXPECT_EQ("{\"result\":[{}]}", text(c));
	EXPECT_NE(1, line(c));
}

TEST_F(CtlServer, Gates)
{
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"quorum\"}"));
	has_quorum = false;
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"quorum\"}").find("\"code\":3"));
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"member\"}"));
	is_member = false;
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"quorum\"}").find("\"code\":4"));
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"member\"}").find("\"code\":4"));
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"root\"}"));
}

TEST_F(CtlServer, OnlyRootMayChange)
{
	if (getuid() != 0)
		GTEST_SKIP() << "needs root in a namespace";
	chmod(dir, 0755);
	chmod(path.c_str(), 0666);
	int result[2];
	ASSERT_EQ(0, pipe(result));
	pid_t pid = fork();
	if (pid == 0) {
		/* one uid that is not root's; a lone mapping has no other */
		if (setresuid(65534, 65534, 65534) != 0)
			_exit(77);
		struct sockaddr_un addr = {};
		char buf[512];
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		addr.sun_family = AF_UNIX;
		strcpy(addr.sun_path, path.c_str());
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
		    write(fd, "{\"cmd\":\"root\"}\n", 15) != 15)
			_exit(1);
		ssize_t got = read(fd, buf, sizeof(buf));
		_exit(write(result[1], buf, got) == got ? 0 : 1);
	}
	int status = -1;
	ASSERT_TRUE(until([&] { return waitpid(pid, &status, WNOHANG) == pid; }));
	close(result[1]);
	char buf[513] = "";
	ssize_t got = read(result[0], buf, 512);
	close(result[0]);
	if (WEXITSTATUS(status) == 77)
		GTEST_SKIP() << "needs a second user id";
	EXPECT_EQ(0, status);
	ASSERT_LT(0, got);
	EXPECT_NE(nullptr, strstr(buf, "\"code\":1"));
	EXPECT_NE(nullptr, strstr(buf, "root"));
}

TEST_F(CtlServer, SocketIsNotForAll)
{
	struct stat st;

	ASSERT_EQ(0, stat(path.c_str(), &st));
	EXPECT_EQ(0u, st.st_mode & 0007);
}

TEST_F(CtlServer, ASecondDaemonIsRefused)
{
	struct netd other = {};

	other.loop = &loop;
	EXPECT_EQ(-EADDRINUSE, ctl_start_at(&other, path.c_str()));
	EXPECT_EQ(nullptr, other.ctl);
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"echo\"}"));
}

TEST_F(CtlServer, WaitsUntilReady)
{
	struct netd late = {};
	std::string path2 = std::string(dir) + "/late";

	late.loop = &loop;
	ASSERT_EQ(0, ctl_start_at(&late, path2.c_str()));
	ctl_register(late.ctl, "echo", 0, cmd_echo, NULL);
	Client a(path2), b(path2), gone(path2);
	a.send("{\"cmd\":\"echo\"}\n");
	gone.send("{\"cmd\":\"echo\"}\n");
	b.send("{\"cmd\":\"nope\"}\n");
	EXPECT_NE(std::string::npos, text(b).find("\"code\":2")) << "this one need not wait";
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	shutdown(gone.j.fd, SHUT_RDWR);
	EXPECT_EQ(-EAGAIN, jsonline_fill(&a.j));
	ctl_ready(late.ctl);
	EXPECT_EQ("{\"result\":[{}]}", text(a));
	ctl_stop(&late);
	unlink((path2 + ".lock").c_str());
}

TEST_F(CtlServer, ClientGoesAwayClosedIsCalled)
{
	{
		Client c(path);

		c.send("{\"cmd\":\"keep-watched\"}\n");
		ASSERT_TRUE(until([] { return kept != NULL; }));
	}
	ASSERT_TRUE(until([] { return closed_calls == 1; }));
	EXPECT_EQ(nullptr, kept);
}

TEST_F(CtlServer, ClientGoesAwayHandlerEndsLater)
{
	{
		Client c(path);

		c.send("{\"cmd\":\"keep\"}\n");
		ASSERT_TRUE(until([] { return kept != NULL; }));
	}
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	ctl_event(kept, json_object());
	ctl_ok(kept, json_pack("[{}]"));
}

TEST_F(CtlServer, EndedRequestIsNeverClosedLater)
{
	Client c(path);

	c.send("{\"cmd\":\"keep-watched\"}\n");
	ASSERT_TRUE(until([] { return kept != NULL; }));
	ctl_event(kept, json_pack("{s:i}", "n", 1));
	ctl_ok(kept, NULL);
	EXPECT_EQ("{\"event\":{\"n\":1}}", text(c));
	EXPECT_EQ("{\"result\":[]}", text(c));
	EXPECT_EQ("end", text(c));
	EXPECT_EQ(0, closed_calls);
}

TEST_F(CtlServer, StopEndsAll)
{
	struct netd other = {};
	std::string path2 = std::string(dir) + "/other";

	other.loop = &loop;
	ASSERT_EQ(0, ctl_start_at(&other, path2.c_str()));
	ctl_register(other.ctl, "keep", 0, cmd_keep, NULL);
	ctl_register(other.ctl, "keep-watched", 0, cmd_keep_watched, NULL);
	ctl_ready(other.ctl);
	Client a(path2), b(path2), idle(path2);
	a.send("{\"cmd\":\"keep\"}\n");
	ASSERT_TRUE(until([] { return kept != NULL; }));
	struct ctl_request *first = kept;
	kept = NULL;
	b.send("{\"cmd\":\"keep-watched\"}\n");
	ASSERT_TRUE(until([] { return kept != NULL; }));
	ctl_stop(&other);
	EXPECT_EQ(0, closed_calls);
	EXPECT_EQ("end", text(a));
	EXPECT_EQ("end", text(b));
	EXPECT_EQ("end", text(idle));
	ctl_fail(first, CTL_FAILED, "", "too late");
	ctl_ok(kept, NULL);
	unlink((path2 + ".lock").c_str());
}

TEST_F(CtlServer, LongResultComesInParts)
{
	Client c(path);
	json_int_t next = 0;
	int parts = 0;

	c.send("{\"cmd\":\"many\",\"args\":{\"n\":60000}}\n");
	EXPECT_EQ("{\"event\":{\"what\":\"counting\"}}", text(c));
	for (;;) {
		json_t *list, *v;
		size_t i;

		ASSERT_EQ(1, line(c));
		list = json_object_get(c.got, "part") ?: json_object_get(c.got, "result");
		json_array_foreach(list, i, v) EXPECT_EQ(next++, json_integer_value(json_object_get(v, "i")));
		if (json_object_get(c.got, "result"))
			break;
		parts++;
	}
	EXPECT_EQ(60000, next);
	EXPECT_LT(5, parts);
	EXPECT_EQ("end", text(c));
}

TEST_F(CtlServer, SlowReaderLosesEventsNotTheResult)
{
	Client c(path);
	int events = 0;

	c.send("{\"cmd\":\"flood\"}\n");
	for (;;) {
		ASSERT_EQ(1, line(c));
		if (json_object_get(c.got, "result"))
			break;
		events++;
	}
	EXPECT_LT(50, events);
	EXPECT_GT(1000, events) << "the queue is bounded";
	EXPECT_EQ("end", text(c));
}

TEST_F(CtlServer, FdsBothWays)
{
	Client c(path);
	int p[2];
	struct stat a, b;
	json_t *request = json_pack("{s:s}", "cmd", "fd");

	EXPECT_NE(std::string::npos, call("{\"cmd\":\"fd\"}").find("\"code\":2"));
	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, jsonline_send(&c.j, request, &p[0], 1));
	json_decref(request);
	EXPECT_EQ("{\"result\":[]}", text(c));
	int back = jsonline_take_fd(&c.j);
	ASSERT_LE(0, back);
	fstat(p[0], &a);
	fstat(back, &b);
	EXPECT_EQ(a.st_ino, b.st_ino);
	close(back);
	close(p[0]);
	close(p[1]);
}

TEST_F(CtlServer, Detach)
{
	Client c(path);
	char buf[8] = "";

	c.send("{\"cmd\":\"detach\"}\n");
	ASSERT_TRUE(until([&] { return recv(c.j.fd, buf, 3, MSG_DONTWAIT) == 3; }));
	EXPECT_STREQ("raw", buf);
	EXPECT_EQ(0, recv(c.j.fd, buf, 3, 0));
}

TEST_F(CtlServer, TooManyClientsAreToldSo)
{
	std::vector<Client *> all;
	int refused = 0;

	for (int i = 0; i < 140; i++) {
		all.push_back(new Client(path));
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	for (Client *c : all) {
		json_t *obj = NULL;

		if (jsonline_fill(&c->j) > 0 && jsonline_next(&c->j, &obj) == 1)
			refused += json_integer_value(json_object_get(obj, "code")) == 1;
		json_decref(obj);
	}
	EXPECT_EQ(12, refused);
	for (Client *c : all)
		delete c;
	for (int i = 0; i < 200; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"echo\"}"));
}

TEST_F(CtlServer, LongRequestsAreBounded)
{
	std::vector<Client *> all;
	int refused = 0;
	std::string part = "{\"cmd\":\"echo\",\"args\":{\"a\":\"" + std::string(60000, 'x');

	for (int i = 0; i < 60; i++) {
		all.push_back(new Client(path));
		for (int k = 0; k < 12; k++) {
			all.back()->send(part);
			uv_run(&loop, UV_RUN_NOWAIT);
		}
	}
	for (Client *c : all) {
		json_t *obj = NULL;

		if (jsonline_fill(&c->j) > 0 && jsonline_next(&c->j, &obj) == 1)
			refused += json_integer_value(json_object_get(obj, "code")) == 1;
		json_decref(obj);
	}
	EXPECT_LT(20, refused);
	for (Client *c : all)
		delete c;
	for (int i = 0; i < 200; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"echo\"}"));
}

TEST_F(CtlServer, EndlessLineIsRefused)
{
	Client c(path);

	for (int i = 0; i < 1000; i++) {
		c.send(std::string(4000, 'x'));
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	EXPECT_NE(std::string::npos, text(c).find("\"code\":2"));
}

TEST_F(CtlServer, WatchSeesEventsInOrder)
{
	Client c(path), only(path);

	c.send("{\"cmd\":\"watch\"}\n");
	only.send("{\"cmd\":\"watch\",\"args\":{\"kinds\":[\"move\"]}}\n");
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	json_int_t first = 0;
	for (int i = 0; i < 10; i++) {
		ctl_publish(n.ctl, i == 5 ? "move" : "port", json_pack("{s:i}", "n", i));
		ASSERT_EQ(1, line(c));
		json_t *e = json_object_get(c.got, "event");
		json_int_t seq = json_integer_value(json_object_get(e, "seq"));
		first = i ? first : seq;
		EXPECT_EQ(first + i, seq);
		EXPECT_EQ(i, json_integer_value(json_object_get(e, "n")));
		EXPECT_STREQ(i == 5 ? "move" : "port", json_string_value(json_object_get(e, "kind")));
		EXPECT_LT(20u, json_string_length(json_object_get(e, "time")));
	}
	ASSERT_EQ(1, line(only));
	EXPECT_EQ(first + 5, json_integer_value(json_object_get(json_object_get(only.got, "event"), "seq")));
}

TEST_F(CtlServer, WatchResumes)
{
	json_int_t seq;

	{
		Client c(path);

		c.send("{\"cmd\":\"watch\"}\n");
		for (int i = 0; i < 20; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		ctl_publish(n.ctl, "port", json_pack("{s:i}", "n", 0));
		ASSERT_EQ(1, line(c));
		seq = json_integer_value(json_object_get(json_object_get(c.got, "event"), "seq"));
	}
	for (int i = 1; i < 4; i++)
		ctl_publish(n.ctl, "port", json_pack("{s:i}", "n", i));
	Client c(path);
	c.send("{\"cmd\":\"watch\",\"args\":{\"since\":" + std::to_string(seq) + "}}\n");
	for (int i = 1; i < 4; i++) {
		ASSERT_EQ(1, line(c));
		EXPECT_EQ(i, json_integer_value(json_object_get(json_object_get(c.got, "event"), "n")));
	}
}

TEST_F(CtlServer, WatchTellsWhatIsLost)
{
	json_int_t seq = 0, count = 0;
	int events = 0;

	for (int i = 0; i < 3000; i++)
		ctl_publish(n.ctl, "port", json_pack("{s:i}", "n", i));
	Client c(path);
	c.send("{\"cmd\":\"watch\",\"args\":{\"since\":1}}\n");
	ASSERT_EQ(1, line(c));
	json_t *e = json_object_get(c.got, "event");
	EXPECT_STREQ("lost", json_string_value(json_object_get(e, "kind")));
	count = json_integer_value(json_object_get(e, "count"));
	seq = json_integer_value(json_object_get(e, "seq"));
	EXPECT_EQ(3000 - 1024, count);
	EXPECT_TRUE(json_is_true(json_object_get(e, "restarted"))) << "there is no telling what came before";
	for (; events < 1024; events++) {
		ASSERT_EQ(1, line(c));
		e = json_object_get(c.got, "event");
		EXPECT_EQ(++seq, json_integer_value(json_object_get(e, "seq")));
	}
	EXPECT_EQ(2999, json_integer_value(json_object_get(e, "n")));
}

TEST_F(CtlServer, SlowWatcherCostsNoMemoryAndSeesTheGap)
{
	Client c(path);
	std::string big(3000, 'y');
	bool lost = false;
	json_int_t last = -1;

	c.send("{\"cmd\":\"watch\"}\n");
	for (int i = 0; i < 20; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	for (int i = 0; i < 5000; i++) {
		ctl_publish(n.ctl, "port", json_pack("{s:i,s:s}", "n", i, "text", big.c_str()));
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	while (last < 4999) {
		ASSERT_EQ(1, line(c));
		json_t *e = json_object_get(c.got, "event");
		if (!strcmp(json_string_value(json_object_get(e, "kind")), "lost"))
			lost = true;
		else
			last = json_integer_value(json_object_get(e, "n"));
	}
	EXPECT_TRUE(lost);
}

TEST_F(CtlServer, BadWatchArguments)
{
	EXPECT_NE(std::string::npos,
		  call("{\"cmd\":\"watch\",\"args\":{\"since\":\"x\"}}").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"watch\",\"args\":{\"kinds\":3}}").find("\"code\":2"));
	EXPECT_NE(std::string::npos, call("{\"cmd\":\"watch\",\"args\":{\"since\":-5}}").find("\"code\":2"));
}

TEST_F(CtlServer, NoiseNeverHurts)
{
	unsigned int seed = 4711;
	const std::string good[] = {"{\"cmd\":\"echo\",\"args\":{\"a\":1}}\n", "{\"cmd\":\"watch\"}\n",
				    "{\"cmd\":\"many\",\"args\":{\"n\":9}}\n", "{\"cmd\":\"fd\"}\n"};

	for (int round = 0; round < 600; round++) {
		Client c(path);
		std::string s = good[rand_r(&seed) % 4];

		for (int k = rand_r(&seed) % 5; k > 0; k--)
			s[rand_r(&seed) % s.size()] = rand_r(&seed);
		if (rand_r(&seed) % 3 == 0)
			s.resize(rand_r(&seed) % s.size());
		c.send(s);
		for (int k = rand_r(&seed) % 4; k >= 0; k--)
			uv_run(&loop, UV_RUN_NOWAIT);
		if (round % 50 == 0)
			ctl_publish(n.ctl, "port", json_object());
	}
	EXPECT_EQ("{\"result\":[{}]}", call("{\"cmd\":\"echo\"}"));
}

TEST(CtlArgs, TypesAndRanges)
{
	json_t *args = json_pack("{s:s,s:i,s:b,s:n}", "s", "text", "i", 5, "b", 1, "z");
	bool bad = false;

	EXPECT_STREQ("text", ctl_arg_string(args, "s", "d", &bad));
	EXPECT_STREQ("d", ctl_arg_string(args, "none", "d", &bad));
	EXPECT_STREQ("d", ctl_arg_string(args, "z", "d", &bad));
	EXPECT_EQ(5, ctl_arg_int(args, "i", 1, 0, 10, &bad));
	EXPECT_EQ(1, ctl_arg_int(args, "none", 1, 0, 10, &bad));
	EXPECT_TRUE(ctl_arg_bool(args, "b", &bad));
	EXPECT_FALSE(ctl_arg_bool(args, "none", &bad));
	EXPECT_FALSE(bad);
	ctl_arg_int(args, "i", 1, 6, 10, &bad);
	EXPECT_TRUE(bad);
	bad = false;
	ctl_arg_string(args, "i", NULL, &bad);
	EXPECT_TRUE(bad);
	bad = false;
	ctl_arg_bool(args, "s", &bad);
	EXPECT_TRUE(bad);
	json_decref(args);
}

TEST(CtlTime, Rfc3339)
{
	json_t *t = ctl_time(1763636626123ull);

	EXPECT_STREQ("2025-11-20T11:03:46.123Z", json_string_value(t));
	json_decref(t);
	EXPECT_TRUE(json_is_null(ctl_time(0)));
}
