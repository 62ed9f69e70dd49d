/* SPDX-License-Identifier: GPL-2.0 */
/*
 * netctl's table of commands and what is made of it: arguments, suggestions,
 * completion, tables; and that the manual page says the same as the table.
 */
#include <algorithm>
#include <fstream>
#include <gtest/gtest.h>
#include <locale.h>
#include <map>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern "C" {
#include "userland/lib/jsonline.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"
}

static std::string top()
{
	const char *t = getenv("TEST_TOP");

	return t ? t : ".";
}

/* ---- the manual page ---- */

/* ".It Cm vip add Ar ADDR/LEN Oo Fl -mac Ar MAC Oc" as people read it. */
static std::string plain(const std::string &line)
{
	std::istringstream in(line);
	std::string out, word;
	bool glue = true;

	while (in >> word) {
		if (word == ".It" || word == "Cm" || word == "Ar")
			continue;
		if (word == "Oc") {
			out += "]";
			continue;
		}
		if (word == "Fl") {
			in >> word;
			word = "-" + word;
		}
		if (word == "Oo") {
			out += " [";
			glue = true;
			continue;
		}
		out += (glue ? "" : " ") + word;
		glue = false;
	}
	return out;
}

TEST(Netctl, ManualPageAndTableSayTheSame)
{
	std::ifstream man(top() + "/docs/man/netctl.8");
	std::map<std::string, bool> pages;
	std::string line;
	bool commands = false;

	ASSERT_TRUE(man.good());
	while (std::getline(man, line)) {
		if (line.rfind(".Sh ", 0) == 0)
			commands = line == ".Sh COMMANDS";
		else if (commands && line.rfind(".It Cm ", 0) == 0)
			pages[plain(line)] = false;
	}
	for (const struct netctl_command *const *p = netctl_commands; *p; p++) {
		char *synopsis = netctl_synopsis(*p);

		EXPECT_EQ(1u, pages.count(synopsis)) << "not in netctl.8: " << synopsis;
		if (pages.count(synopsis))
			pages[synopsis] = true;
		free(synopsis);
	}
	for (auto &p : pages)
		EXPECT_TRUE(p.second) << "in netctl.8 only: " << p.first;
}

TEST(Netctl, EveryCommandIsComplete)
{
	for (const struct netctl_command *const *p = netctl_commands; *p; p++) {
		EXPECT_NE(nullptr, (*p)->run);
		EXPECT_NE(nullptr, (*p)->summary);
		EXPECT_NE('.', (*p)->summary[strlen((*p)->summary) - 1]);
		for (const struct netctl_option *o = (*p)->options; o->name; o++) {
			EXPECT_NE(nullptr, o->help);
			EXPECT_EQ(o->kind == VALUE_NONE, o->value == NULL) << (*p)->name << " --" << o->name;
			EXPECT_EQ(o->kind == VALUE_CHOICE, o->choices != NULL);
		}
		for (const struct netctl_arg *a = (*p)->args; a->value; a++)
			EXPECT_FALSE(a->many && a[1].value) << "only the last takes all";
	}
}

/* ---- words to arguments ---- */

struct Parsed {
	struct netctl c = {};
	int r;
	std::vector<const char *> argv;
	std::string err;

	Parsed(std::initializer_list<const char *> words) : argv(words)
	{
		testing::internal::CaptureStderr();
		r = netctl_parse(&c, argv.size(), argv.data());
		err = testing::internal::GetCapturedStderr();
	}
	~Parsed()
	{
		if (c.rest)
			free((void *)(c.rest));
	}
};

TEST(NetctlParse, NothingIsStatus)
{
	Parsed p({});

	EXPECT_EQ(EXIT_OK, p.r);
	EXPECT_EQ(&cmd_status, p.c.command);
	EXPECT_FALSE(p.c.json);
}

TEST(NetctlParse, CommonOptionsAnywhere)
{
	for (auto words : {std::initializer_list<const char *>{"-j", "nodes"},
			   std::initializer_list<const char *>{"nodes", "-j"},
			   std::initializer_list<const char *>{"nodes", "--json"}}) {
		Parsed p(words);

		EXPECT_EQ(EXIT_OK, p.r);
		EXPECT_EQ(&cmd_nodes, p.c.command);
		EXPECT_TRUE(p.c.json);
		EXPECT_FALSE(p.c.pretty);
	}
	Parsed p({"vip", "add", "-p", "10.0.0.1/24"});
	EXPECT_EQ(EXIT_OK, p.r);
	EXPECT_TRUE(p.c.json && p.c.pretty);
	EXPECT_STREQ("10.0.0.1/24", p.c.arg[0]);
}

TEST(NetctlParse, KeywordsAndOptions)
{
	Parsed a({"vip", "add", "10.0.0.1/24", "dev", "n1:eth1", "--mode=shared", "--mac",
		  "02:00:00:00:00:01"});

	EXPECT_EQ(EXIT_OK, a.r) << a.err;
	EXPECT_EQ(&cmd_vip_add, a.c.command);
	EXPECT_STREQ("n1:eth1", a.c.arg[1]);
	EXPECT_STREQ("shared", netctl_option(&a.c, "mode"));
	EXPECT_STREQ("02:00:00:00:00:01", netctl_option(&a.c, "mac"));
	Parsed b({"port", "add", ":80/udp", "node", "n2"});
	EXPECT_EQ(EXIT_OK, b.r) << b.err;
	EXPECT_STREQ("n2", b.c.arg[1]);
	Parsed c({"migrate", "redis", "n3", "--dry-run"});
	EXPECT_EQ(EXIT_OK, c.r);
	EXPECT_NE(nullptr, netctl_option(&c.c, "dry-run"));
	Parsed d({"watch", "port", "move", "--since", "7"});
	EXPECT_EQ(EXIT_OK, d.r);
	ASSERT_EQ(2, d.c.n_rest);
	EXPECT_STREQ("move", d.c.rest[1]);
	Parsed e({"join", "10.0.0.1", "--token-file", "-"});
	EXPECT_EQ(EXIT_OK, e.r);
	EXPECT_STREQ("-", netctl_option(&e.c, "token-file"));
}

TEST(NetctlParse, MistakesAreNamed)
{
	static const struct {
		std::vector<const char *> words;
		const char *says;
	} cases[] = {
		{{"stauts"}, "did you mean 'status'?"},
		{{"prots"}, "did you mean 'ports'?"},
		{{"vip"}, "netctl vip add|del"},
		{{"vip", "ad", "x"}, "did you mean 'vip add'?"},
		{{"xyzzy"}, "`netctl help`"},
		{{"ports", "--nod", "n1"}, "did you mean '--node'?"},
		{{"ports", "--prety"}, "did you mean '--pretty'?"},
		{{"ports", "-x"}, "--help"},
		{{"--bogus"}, "--help"},
		{{"nodes", "--node=n1"}, "unknown option '--node'"},
		{{"ports", "--node"}, "missing"},
		{{"status", "--check=1"}, "no value"},
		{{"migrate"}, "usage: netctl migrate"},
		{{"migrate", "redis"}, "missing: 'NODE'"},
		{{"migrate", "redis", "n1", "n2"}, "not understood: 'n2'"},
		{{"migrate", "redis", "no/node"}, "netctl nodes"},
		{{"port", "add", ":80", "n1"}, "usage: netctl port add"},
		{{"port", "add", ":80", "node"}, "behind 'node'"},
		{{"vip", "add", "10.0.0.1/24", "eth0"}, "not understood: 'eth0'"},
		{{"vip", "add", "10.0.0.1/24", "dev", "an/interface"}, "interface"},
		{{"vip", "add", "10.0.0.1/24", "--mode", "fast"}, "auto|shared"},
		{{"vip", "del", "nowhere"}, "IP address"},
		{{"token", "--ttl", "soon"}, "1h"},
		{{"init", "--nodes-min", "-1"}, "number"},
		{{"init", "--name", ""}, "name"},
		{{"signal", "redis", "SIGNOPE"}, "kill -l"},
		{{"signal", "re dis", "TERM"}, "netctl apps"},
		{{"explain", "1.2.3.4", "1.2.3.4:80", "sctp"}, "tcp|udp"},
	};

	for (auto &k : cases) {
		struct netctl c = {};

		testing::internal::CaptureStderr();
		int r = netctl_parse(&c, k.words.size(), k.words.data());
		std::string err = testing::internal::GetCapturedStderr();
		EXPECT_EQ(EXIT_USAGE, r) << k.words[0];
		EXPECT_NE(std::string::npos, err.find(k.says)) << k.words[0] << ": " << err;
		EXPECT_EQ(1, std::count(err.begin(), err.end(), '\n')) << err;
	}
}

TEST(NetctlParse, HelpNeedsNothingElse)
{
	Parsed p({"migrate", "--help"});

	EXPECT_EQ(EXIT_OK, p.r);
	EXPECT_TRUE(p.c.help);
	EXPECT_EQ(&cmd_migrate, p.c.command);
}

TEST(NetctlParse, NoiseNeverCrashes)
{
	unsigned int seed = 99;
	static const char *const words[] = {"vip", "add",	  "--mode", "=",       "--",	"-",
					    "",	   "10.0.0.1/24", "dev",    "node",    "-j",	"ports",
					    ":1",  "--node=",	  "watch",  "migrate", "pid:1", "\xff"};

	testing::internal::CaptureStderr();
	for (int i = 0; i < 5000; i++) {
		const char *argv[6];
		struct netctl c = {};
		int n = rand_r(&seed) % 7;

		for (int k = 0; k < n; k++)
			argv[k] = words[rand_r(&seed) % (sizeof(words) / sizeof(words[0]))];
		netctl_parse(&c, n, argv);
		free((void *)c.rest);
	}
	testing::internal::GetCapturedStderr();
}

/* ---- values ---- */

typedef bool put_fn(json_t *args, const char *text);

static std::string put(put_fn *fn, const char *text)
{
	json_t *args = json_object();

	testing::internal::CaptureStderr();
	bool ok = fn(args, text);
	testing::internal::GetCapturedStderr();
	char *s = json_dumps(args, JSON_COMPACT | JSON_SORT_KEYS);
	std::string out = ok ? s : "error";
	free(s);
	json_decref(args);
	return out;
}

TEST(NetctlValues, Ports)
{
	EXPECT_EQ("{\"port\":6379,\"proto\":\"tcp\"}", put(netctl_put_port, ":6379"));
	EXPECT_EQ("{\"port\":53,\"proto\":\"udp\",\"vip\":\"10.0.0.1\"}",
		  put(netctl_put_port, "10.0.0.1:53/udp"));
	EXPECT_EQ("{\"port\":80,\"proto\":\"tcp\",\"vip\":\"fd77::100\"}",
		  put(netctl_put_port, "[fd77::100]:80/tcp"));
	for (const char *bad :
	     {"", ":", "80", ":0", ":65536", ":80/sctp", ":80/", "x:80", "fd77::100:80", "[fd77::100]80",
	      ":+80", ": 80", ":80x", "10.0.0.256:80", ":99999999999999999999", "[10.0.0.1:80"})
		EXPECT_EQ("error", put(netctl_put_port, bad)) << bad;
}

TEST(NetctlValues, WhatToMigrate)
{
	EXPECT_EQ("{\"app\":\"redis-server\"}", put(netctl_put_what, "redis-server"));
	EXPECT_EQ("{\"port\":6379,\"proto\":\"tcp\"}", put(netctl_put_what, ":6379"));
	EXPECT_EQ("{\"pid\":12}", put(netctl_put_what, "pid:12"));
	EXPECT_EQ("{\"pid\":12,\"pid_node\":\"n2\"}", put(netctl_put_what, "pid:n2/12"));
	for (const char *bad :
	     {"", "pid:", "pid:0", "pid:n2/", "pid:/3", "pid:n 2/3", "a b", "-x", "a/b", "pid:99999999999"})
		EXPECT_EQ("error", put(netctl_put_what, bad)) << bad;
	std::string longest = "pid:" + std::string(70, 'n') + "/1";
	EXPECT_EQ("error", put(netctl_put_what, longest.c_str()));
}

TEST(NetctlValues, Addresses)
{
	EXPECT_EQ("{\"addr\":\"10.77.0.100\",\"prefix\":24}", put(netctl_put_addr_len, "10.77.0.100/24"));
	EXPECT_EQ("{\"addr\":\"fd77::100\",\"prefix\":64}", put(netctl_put_addr_len, "fd77::100/64"));
	for (const char *bad : {"10.77.0.100", "10.77.0.100/", "10.77.0.100/33", "10.77.0.100/-1",
				"10.77.0/24", "/24", "fd77::1/129", "10.0.0.1/24/1"})
		EXPECT_EQ("error", put(netctl_put_addr_len, bad)) << bad;
	EXPECT_EQ("{\"addr\":\"10.0.0.1\"}", put(netctl_put_peer, "10.0.0.1"));
	EXPECT_EQ("{\"addr\":\"fd77::1\"}", put(netctl_put_peer, "fd77::1"));
	EXPECT_EQ("{\"addr\":\"10.0.0.1\",\"port\":99}", put(netctl_put_peer, "10.0.0.1:99"));
	EXPECT_EQ("{\"addr\":\"fd77::1\",\"port\":99}", put(netctl_put_peer, "[fd77::1]:99"));
	for (const char *bad : {"", "host", ":99", "10.0.0.1:99/udp", "10.0.0.1:"})
		EXPECT_EQ("error", put(netctl_put_peer, bad)) << bad;
}

TEST(NetctlValues, TimesAndSignals)
{
	EXPECT_EQ(90, netctl_seconds("90"));
	EXPECT_EQ(90, netctl_seconds("90s"));
	EXPECT_EQ(900, netctl_seconds("15m"));
	EXPECT_EQ(3600, netctl_seconds("1h"));
	EXPECT_EQ(7 * 86400, netctl_seconds("7d"));
	for (const char *bad : {"", "h", "1w", "-1h", "1 h", "1h1m", "99999999999d"})
		EXPECT_EQ(-1, netctl_seconds(bad)) << bad;
	EXPECT_EQ(15, netctl_signal_number("TERM"));
	EXPECT_EQ(15, netctl_signal_number("sigterm"));
	EXPECT_EQ(9, netctl_signal_number("9"));
	EXPECT_EQ(10, netctl_signal_number("USR1"));
	for (const char *bad : {"", "SIG", "0", "99", "TERMINATE", "-9"})
		EXPECT_EQ(-1, netctl_signal_number(bad)) << bad;
}

/* ---- completion ---- */

static std::string complete(std::initializer_list<const char *> words)
{
	std::vector<const char *> argv(words);

	testing::internal::CaptureStdout();
	netctl_complete(argv.size(), argv.data());
	std::string out = testing::internal::GetCapturedStdout();
	std::replace(out.begin(), out.end(), '\n', ' ');
	return out;
}

TEST(NetctlComplete, CommandsOptionsValues)
{
	setenv("NETSSI_SOCKET", "/nonexistent/socket", 1);
	EXPECT_EQ("nodes ", complete({"no"}));
	EXPECT_EQ("vips vip version ", complete({"v"}));
	EXPECT_EQ("add del ", complete({"vip", ""}));
	EXPECT_EQ("del ", complete({"port", "d"}));
	EXPECT_EQ("--mode --mac ", complete({"vip", "add", "--m"}));
	EXPECT_EQ("auto shared ", complete({"vip", "add", "10.0.0.1/8", "--mode", ""}));
	EXPECT_EQ("dev ", complete({"vip", "add", "10.0.0.1/8", ""}));
	EXPECT_EQ("node ", complete({"port", "add", ":80", ""}));
	EXPECT_EQ("TERM ", complete({"signal", "redis", "TE"}));
	EXPECT_EQ("udp ", complete({"explain", "1.2.3.4", "1.2.3.5:80", "u"}));
	EXPECT_EQ("", complete({"nodes", ""}));
	EXPECT_EQ("", complete({"xyzzy", "a", ""}));
	EXPECT_EQ("", complete({}));
	for (const struct netctl_command *const *p = netctl_commands; *p; p++) {
		std::string all = complete({""});
		std::string first = std::string((*p)->name).substr(0, strcspn((*p)->name, " "));

		EXPECT_NE(std::string::npos, (" " + all).find(" " + first + " ")) << first;
	}
	unsetenv("NETSSI_SOCKET");
}

/* ---- against a netd that answers with what it is told ---- */

class NetctlTalk : public ::testing::Test {
      protected:
	char dir[32] = "/tmp/netctl-test-XXXXXX";
	std::string path;
	int fd;
	std::thread server;
	std::string request;

	void SetUp() override
	{
		struct sockaddr_un addr = {};

		ASSERT_NE(nullptr, mkdtemp(dir));
		path = std::string(dir) + "/sock";
		addr.sun_family = AF_UNIX;
		strcpy(addr.sun_path, path.c_str());
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		ASSERT_EQ(0, bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
		ASSERT_EQ(0, listen(fd, 4));
		setenv("NETSSI_SOCKET", path.c_str(), 1);
	}
	void TearDown() override
	{
		if (server.joinable())
			server.join();
		close(fd);
		unlink(path.c_str());
		rmdir(dir);
		unsetenv("NETSSI_SOCKET");
		print_init("netctl", false);
	}
	void answer(const std::string &lines)
	{
		server = std::thread([this, lines] {
			struct jsonline j;
			json_t *got = NULL;

			jsonline_init(&j, accept(fd, NULL, NULL));
			if (jsonline_recv(&j, &got) == 1) {
				char *s = json_dumps(got, JSON_COMPACT | JSON_SORT_KEYS);
				request = s;
				free(s);
				json_decref(got);
				ssize_t n = send(j.fd, lines.data(), lines.size(), MSG_NOSIGNAL);
				(void)n;
			}
			jsonline_close(&j);
		});
	}
	int run(std::initializer_list<const char *> words, std::string *out, std::string *err)
	{
		std::vector<const char *> argv(words);
		struct netctl c = {};
		bool json = false;

		for (const char *w : words)
			json |= !strcmp(w, "-j") || !strcmp(w, "-p");
		print_init("netctl", json);
		testing::internal::CaptureStdout();
		testing::internal::CaptureStderr();
		int r = netctl_parse(&c, argv.size(), argv.data());
		if (r == EXIT_OK)
			r = c.command->run(&c);
		*out = testing::internal::GetCapturedStdout();
		*err = testing::internal::GetCapturedStderr();
		free((void *)c.rest);
		if (server.joinable())
			server.join();
		return r;
	}
};

TEST_F(NetctlTalk, TableAndJsonShowTheSame)
{
	std::string out, err;
	const char *port =
		"{\"proto\":\"tcp\",\"vip\":\"10.77.0.100\",\"addr\":\"0.0.0.0\",\"port\":6379,\"node\":"
		"\"n2\","
		"\"app\":\"redis\",\"pid\":12,\"comm\":\"redis-server\",\"state\":\"owned\",\"share\":0,"
		"\"epoch\":3,\"since\":\"2026-01-01T00:00:00Z\"}";

	answer("{\"event\":{}}\n{\"result\":[" + std::string(port) + "]}\n");
	EXPECT_EQ(EXIT_OK, run({"ports", ":6379", "--node", "n2"}, &out, &err));
	EXPECT_EQ("{\"args\":{\"node\":\"n2\",\"port\":6379},\"cmd\":\"ports\"}", request);
	EXPECT_NE(std::string::npos, out.find("10.77.0.100:6379  n2    redis  redis-server (12)  owned"))
		<< out;
	EXPECT_EQ(std::string::npos, out.find('\033')) << "no colour without a terminal";
	answer("{\"result\":[" + std::string(port) + "]}\n");
	EXPECT_EQ(EXIT_OK, run({"ports", "-j"}, &out, &err));
	EXPECT_EQ("[" + std::string(port) + "]\n", out);
	answer("{\"result\":[" + std::string(port) + "]}\n");
	EXPECT_EQ(EXIT_OK, run({"ports", ":6379/udp", "-j"}, &out, &err));
	EXPECT_EQ("[]\n", out);
}

TEST_F(NetctlTalk, PartsBecomeOneResult)
{
	std::string out, err;

	answer("{\"part\":[{\"a\":1}]}\n{\"part\":[{\"a\":2}]}\n{\"result\":[{\"a\":3}]}\n");
	EXPECT_EQ(EXIT_OK, run({"apps", "-j"}, &out, &err));
	EXPECT_EQ("[{\"a\":1},{\"a\":2},{\"a\":3}]\n", out);
}

TEST_F(NetctlTalk, ErrorsKeepTheirCode)
{
	std::string out, err;

	answer("{\"error\":\"the cluster has no quorum\",\"code\":3,\"remedy\":\"bring back nodes\"}\n");
	EXPECT_EQ(EXIT_NO_QUORUM, run({"vip", "add", "10.0.0.1/24"}, &out, &err));
	EXPECT_EQ("netctl: the cluster has no quorum; bring back nodes\n", err);
	EXPECT_EQ("", out);
	answer("{\"error\":\"the cluster has no quorum\",\"code\":3,\"remedy\":\"bring back nodes\"}\n");
	EXPECT_EQ(EXIT_NO_QUORUM, run({"vip", "add", "10.0.0.1/24", "-j"}, &out, &err));
	EXPECT_EQ("{\"error\":\"the cluster has no quorum\",\"code\":3,\"remedy\":\"bring back nodes\"}\n",
		  err);
	answer("{\"error\":\"odd\",\"code\":77}\n");
	EXPECT_EQ(EXIT_FAILED, run({"nodes"}, &out, &err));
	EXPECT_EQ("netctl: odd\n", err);
}

TEST_F(NetctlTalk, NetdGoneOrSilly)
{
	std::string out, err;

	answer("");
	EXPECT_EQ(EXIT_NO_NETD, run({"nodes"}, &out, &err));
	answer("garbage\n");
	EXPECT_EQ(EXIT_FAILED, run({"nodes"}, &out, &err));
	answer("{\"other\":1}\n");
	EXPECT_EQ(EXIT_FAILED, run({"nodes"}, &out, &err));
	answer("{\"result\":3}\n");
	EXPECT_EQ(EXIT_FAILED, run({"nodes"}, &out, &err));
	answer("{\"result\":[1,null,{\"node\":[{}]}]}\n");
	EXPECT_EQ(EXIT_OK, run({"nodes"}, &out, &err));
	setenv("NETSSI_SOCKET", "/nonexistent/socket", 1);
	EXPECT_EQ(EXIT_NO_NETD, run({"nodes"}, &out, &err));
	EXPECT_NE(std::string::npos, err.find("systemctl start netd"));
	EXPECT_EQ(EXIT_OK, run({"version"}, &out, &err)) << "works without netd";
	EXPECT_NE(std::string::npos, out.find("is not running"));
}

TEST_F(NetctlTalk, ChangesSayUnchanged)
{
	std::string out, err;

	answer("{\"result\":[{\"changed\":true,\"addr\":\"10.0.0.1\"}]}\n");
	EXPECT_EQ(EXIT_OK, run({"vip", "add", "10.0.0.1/24", "dev", "eth1"}, &out, &err));
	EXPECT_EQ("{\"args\":{\"addr\":\"10.0.0.1\",\"dev\":\"eth1\",\"prefix\":24},\"cmd\":\"vip-add\"}",
		  request);
	EXPECT_EQ("exposed on all nodes: 10.0.0.1\n", out);
	answer("{\"result\":[{\"changed\":false,\"addr\":\"10.0.0.1\"}]}\n");
	EXPECT_EQ(EXIT_OK, run({"vip", "add", "10.0.0.1/24"}, &out, &err));
	EXPECT_EQ("unchanged\n", out);
}

TEST_F(NetctlTalk, StatusVerdictAndExit)
{
	std::string out, err;
	const std::string healthy =
		"{\"result\":[{\"healthy\":true,\"condition\":\"healthy\",\"problems\":[],\"node\":\"n1\","
		"\"state\":\"live\",\"quorum\":true,\"nodes\":3,\"nodes_up\":3,\"leader\":\"n2\"}]}\n";
	const std::string cut = "{\"result\":[{\"healthy\":false,\"condition\":\"failed\",\"problems\":[{"
				"\"problem\":\"no lease\","
				"\"remedy\":\"check the "
				"network\"}],\"node\":\"n1\",\"state\":\"fenced\",\"quorum\":false}]}\n";
	const std::string idle = "{\"result\":[{\"healthy\":false,\"condition\":\"failed\",\"problems\":[{"
				 "\"problem\":\"no member\","
				 "\"remedy\":\"netctl init\"}],\"node\":null,\"state\":\"idle\"}]}\n";

	answer(healthy);
	EXPECT_EQ(EXIT_OK, run({"status", "--check"}, &out, &err));
	EXPECT_EQ("healthy: 3 of 3 nodes up, n2 leads\n", out);
	answer(cut);
	EXPECT_EQ(EXIT_NO_QUORUM, run({"status", "--check"}, &out, &err));
	EXPECT_EQ("failed: no lease; check the network\n", out);
	answer(cut);
	EXPECT_EQ(EXIT_NO_QUORUM, run({}, &out, &err));
	answer(idle);
	EXPECT_EQ(EXIT_NO_NETD, run({}, &out, &err));
	EXPECT_EQ("failed: no member; netctl init\n", out);
}

TEST_F(NetctlTalk, MigrateTellsHowItWent)
{
	std::string out, err;

	answer("{\"event\":{\"what\":\"move\",\"step\":\"prepared\"}}\n{\"event\":{\"what\":\"image\","
	       "\"bytes\":2000000,"
	       "\"of\":4000000}}\n{\"result\":[{\"app\":\"redis\",\"node\":\"n3\",\"frozen_ms\":34.21,"
	       "\"stall_ms\":41,"
	       "\"total_ms\":912.5,\"sockets\":1,\"bytes\":4000000,\"rounds\":2,\"held_packets\":5}]}\n");
	EXPECT_EQ(EXIT_OK, run({"migrate", ":6379", "n3"}, &out, &err));
	EXPECT_EQ("{\"args\":{\"node\":\"n3\",\"port\":6379,\"proto\":\"tcp\"},\"cmd\":\"migrate\"}",
		  request);
	EXPECT_EQ("  prepared\n  image: 2.0 MB of 4.0 MB\n", err);
	EXPECT_EQ("redis moved to n3: frozen 34 ms, stall 41 ms, total 912 ms, 1 socket, 4.0 MB, 2 rounds, "
		  "5 packets held\n",
		  out);
}

TEST_F(NetctlTalk, SecretsComeFromFilesOnly)
{
	std::string out, err, file = std::string(dir) + "/token";
	FILE *f = fopen(file.c_str(), "w");

	fputs("sesame\n", f);
	fclose(f);
	answer("{\"result\":[{\"changed\":true,\"node\":\"n2\"}]}\n");
	EXPECT_EQ(EXIT_OK,
		  run({"join", "10.0.0.1", "--token-file", file.c_str(), "--addr", "10.0.0.2"}, &out, &err))
		<< err;
	EXPECT_EQ("{\"args\":{\"addr\":\"10.0.0.1\",\"my_addr\":\"10.0.0.2\",\"token\":\"sesame\"},\"cmd\":"
		  "\"join\"}",
		  request);
	EXPECT_EQ(EXIT_USAGE,
		  run({"join", "10.0.0.1", "--token-file", file.c_str(), "--key-file", file.c_str()}, &out,
		      &err));
	f = fopen(file.c_str(), "w");
	fclose(f);
	EXPECT_EQ(EXIT_FAILED, run({"join", "10.0.0.1", "--token-file", file.c_str()}, &out, &err));
	EXPECT_NE(std::string::npos, err.find("is empty"));
	unlink(file.c_str());
	EXPECT_EQ(EXIT_FAILED, run({"join", "10.0.0.1", "--token-file", file.c_str()}, &out, &err));
}

/* ---- tables ---- */

TEST(Table, AlignsAndHides)
{
	static const struct table_column columns[] = {
		{"NAME", "name", 0, NULL},
		{"N", "n", TABLE_RIGHT, NULL},
		{"EMPTY", "empty", TABLE_HIDE, NULL},
		{"LIST", "list", 0, NULL},
	};
	json_t *list = json_pack("[{s:s,s:i,s:[s,s]},{s:s,s:i,s:[]}]", "name", "caf\xc3\xa9", "n", 5, "list",
				 "a", "b", "name", "b", "n", 12345, "list");
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	setlocale(LC_ALL, "C.UTF-8");
	table_print(f, list, columns, 4);
	fclose(f);
	EXPECT_STREQ("NAME      N  LIST\n"
		     "caf\xc3\xa9      5  a,b\n"
		     "b     12345  -\n",
		     text);
	free(text);
	json_decref(list);
}

TEST(Print, BytesAndAges)
{
	char buf[32];

	print_bytes(812, buf, sizeof(buf));
	EXPECT_STREQ("812 B", buf);
	print_bytes(3400000, buf, sizeof(buf));
	EXPECT_STREQ("3.4 MB", buf);
	print_age("not a time", buf, sizeof(buf));
	EXPECT_STREQ("-", buf);
	print_age(NULL, buf, sizeof(buf));
	EXPECT_STREQ("-", buf);
}
