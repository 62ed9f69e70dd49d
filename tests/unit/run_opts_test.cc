/* SPDX-License-Identifier: GPL-2.0 */
/* ssi-run's options and the description that travels between nodes. */
#include <cerrno>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <vector>

extern "C" {
#include "userland/lib/log.h"
#include "userland/run/opts.h"
}

static std::vector<std::string> kept;

static enum opts_result parse(struct run_opts *o, std::vector<std::string> args)
{
	static std::vector<char *> argv;

	kept = args;
	kept.insert(kept.begin(), "ssi-run");
	argv.clear();
	for (auto &a : kept)
		argv.push_back(a.data());
	argv.push_back(nullptr);
	*o = {};
	return opts_parse(o, (int)kept.size(), argv.data());
}

static void release(struct run_opts *o)
{
	for (int i = 0; i < o->n_data; i++)
		free(o->data[i]);
	free(o->data);
	free(o->groups);
	free(o->home);
	free(o->shell);
	*o = {};
}

TEST(RunOpts, NameIsTheLastPartOfTheCommand)
{
	struct run_opts o;

	ASSERT_EQ(OPTS_RUN, parse(&o, {"/bin/sh", "-c", "exit"}));
	EXPECT_STREQ("sh", o.name);
	EXPECT_STREQ("-c", o.cmd[1]);
	EXPECT_FALSE(o.standby || o.detach || o.ipc_host);
	ASSERT_EQ(OPTS_RUN,
		  parse(&o, {"--name", "web.1", "--standby", "--ipc", "host", "--detach", "--", "sh"}));
	EXPECT_STREQ("web.1", o.name);
	EXPECT_TRUE(o.standby && o.detach && o.ipc_host);
}

TEST(RunOpts, OptionsBehindTheCommandAreTheCommands)
{
	struct run_opts o;

	ASSERT_EQ(OPTS_RUN, parse(&o, {"sh", "--name", "x"}));
	EXPECT_STREQ("sh", o.name);
	EXPECT_STREQ("--name", o.cmd[1]);
}

TEST(RunOpts, Refusals)
{
	struct run_opts o;

	EXPECT_EQ(OPTS_ERROR, parse(&o, {}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {""}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--nmae", "x", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--name"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--name", "", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--name", "a/b", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--name", ".hidden", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--name", "-x", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--name", std::string(64, 'a'), "sh"}));
	EXPECT_EQ(OPTS_RUN, parse(&o, {"--name", std::string(63, 'a'), "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--standby", "--name", std::string(63, 'a'), "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--ipc", "some", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--user", "no-such-user", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--data", "/no/such/dir", "sh"}));
	EXPECT_EQ(OPTS_ERROR, parse(&o, {"--data", "/etc/passwd", "sh"}));
	EXPECT_EQ(OPTS_NOT_FOUND, parse(&o, {"no-such-command"}));
	EXPECT_EQ(OPTS_NOT_FOUND, parse(&o, {"/no/such/command"}));
	EXPECT_EQ(OPTS_NOT_RUNNABLE, parse(&o, {"/etc/passwd"}));
	EXPECT_EQ(OPTS_NOT_RUNNABLE, parse(&o, {"/etc"}));
	EXPECT_EQ(OPTS_DONE, parse(&o, {"--help"}));
	EXPECT_EQ(OPTS_DONE, parse(&o, {"--version"}));
}

TEST(RunOpts, DataAndUser)
{
	struct run_opts o;

	ASSERT_EQ(OPTS_RUN, parse(&o, {"--data", "/etc/../etc", "--data", "/usr", "--user", "root", "sh"}));
	EXPECT_EQ(2, o.n_data);
	EXPECT_STREQ("/etc", o.data[0]);
	EXPECT_EQ(nullptr, o.data[2]);
	EXPECT_STREQ("/root", o.home);
	EXPECT_EQ('0', o.groups[0]);
	release(&o);
}

TEST(RunOpts, PathSearch)
{
	setenv("PATH", "/no/such:/etc:/usr/bin:/bin", 1);
	EXPECT_EQ(0, opts_find_command("sh"));
	EXPECT_EQ(127, opts_find_command("a-command-that-is-not-there"));
	setenv("PATH", "/etc", 1);
	EXPECT_EQ(126, opts_find_command("passwd"));
	EXPECT_EQ(127, opts_find_command("sh"));
	setenv("PATH", "/usr/bin:/bin", 1);
}

TEST(RunOpts, Description)
{
	json_t *d = json_pack("{ss s[ss] ss s[s] s[sss] si si}", "name", "redis", "cmd", "redis-server", "x",
			      "cwd", "/srv", "data", "/var/lib/redis", "flags", "detached", "ipc-host",
			      "later", "uid", 7, "gid", 8);
	struct run_opts o = {};

	ASSERT_EQ(0, opts_from_json(&o, d));
	EXPECT_STREQ("redis", o.name);
	EXPECT_STREQ("x", o.cmd[1]);
	EXPECT_STREQ("/srv", o.cwd);
	EXPECT_EQ(7u, o.uid);
	EXPECT_TRUE(o.detach && o.ipc_host && !o.standby);
	for (char **s = o.cmd; *s; s++)
		free(*s);
	free(o.cmd);
	release(&o);
	json_object_set_new(d, "name", json_string("../x"));
	EXPECT_EQ(-EPROTO, opts_from_json(&o, d));
	json_object_del(d, "name");
	EXPECT_EQ(-EPROTO, opts_from_json(&o, d));
	json_decref(d);
}
