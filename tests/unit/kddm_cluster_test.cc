// SPDX-License-Identifier: GPL-2.0
// Real engines in real processes on loopback addresses: forming a cluster, one
// winner of a race, death, restart, power loss of all, wrong keys, leaving.
#include <gtest/gtest.h>
#include <chrono>
#include <fcntl.h>
#include <filesystem>
#include <fnmatch.h>
#include <fstream>
#include <functional>
#include <memory>
#include <poll.h>
#include <set>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include "kddm_node.h"
}

namespace {

using Clock = std::chrono::steady_clock;
constexpr int PATIENCE_MS = 20000;

// Loopback addresses of this run alone: others may run beside it.
std::string address_of(int number)
{
	static const pid_t pid = getpid();

	return "127." + std::to_string(pid / 250 % 250 + 1) + "." + std::to_string(pid % 250 + 1) + "." +
	       std::to_string(number);
}

int left_ms(Clock::time_point end)
{
	auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());

	return static_cast<int>(std::max<long long>(0, left.count()));
}

// A node: its own process, commands in, one answer line each out.
class Node {
      public:
	std::string name, dir, address;

	Node(const std::string &base, int number, const std::vector<std::string> &options)
	    : name("n" + std::to_string(number)), dir(base + "/" + name), address(address_of(number)),
	      options_(options)
	{
		start();
	}
	~Node()
	{
		kill();
	}
	void start(bool good = true)
	{
		int in[2], out[2];

		ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
		ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
		pid_ = fork();
		if (pid_ == 0)
			be_node(in[0], out[1]);
		close(in[0]);
		close(out[1]);
		to_ = in[1];
		from_ = out[0];
		buffer_.clear();
		events.clear();
		if (good) {
			ASSERT_TRUE(event("started"));
		}
	}
	void kill()
	{
		if (pid_ <= 0)
			return;
		::kill(pid_, SIGKILL);
		reap();
	}
	// End of input: a planned stop. The exit status.
	int stop()
	{
		close(to_);
		to_ = -1;
		while (!read_line(PATIENCE_MS).empty())
			;
		return reap();
	}
	void signal(int sig)
	{
		::kill(pid_, sig);
	}
	void send(const std::string &command)
	{
		std::string line = command + "\n";

		ASSERT_EQ(write(to_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
	}
	std::string answer()
	{
		auto end = Clock::now() + std::chrono::milliseconds(2 * PATIENCE_MS);

		for (;;) {
			std::string line = read_line(left_ms(end));

			if (line.rfind("event", 0) != 0)
				return line.empty() ? "no answer" : line;
			events.push_back(line);
		}
	}
	std::string ask(const std::string &command)
	{
		send(command);
		return answer();
	}
	bool event(const std::string &what)
	{
		auto end = Clock::now() + std::chrono::milliseconds(PATIENCE_MS);

		for (;;) {
			for (size_t i = 0; i < events.size(); i++) {
				if (events[i].find(what) == std::string::npos)
					continue;
				events.erase(events.begin(), events.begin() + i + 1);
				return true;
			}
			std::string line = read_line(left_ms(end));
			if (line.empty())
				return false;
			events.push_back(line);
		}
	}
	std::vector<std::string> events;

      private:
	std::vector<std::string> options_;
	pid_t pid_ = 0;
	int to_ = -1, from_ = -1;
	std::string buffer_;

	[[noreturn]] void be_node(int in, int out)
	{
		std::vector<char *> argv = {const_cast<char *>("kddm_node"), dir.data()};
		int log = open((dir + ".log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(in, 0);
		dup2(out, 1);
		dup2(log, 2);
		/* the pipes of other nodes: held open here they would never end */
		close_range(3, ~0U, 0);
		for (auto &o : options_)
			argv.push_back(const_cast<char *>(o.c_str()));
		argv.push_back(nullptr);
		exit(kddm_node_main(static_cast<int>(argv.size()) - 1, argv.data()));
	}
	int reap()
	{
		int status = -1;

		waitpid(pid_, &status, 0);
		pid_ = 0;
		if (to_ >= 0)
			close(to_);
		close(from_);
		to_ = from_ = -1;
		return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	std::string read_line(int ms)
	{
		auto end = Clock::now() + std::chrono::milliseconds(ms);
		size_t at;

		while ((at = buffer_.find('\n')) == std::string::npos) {
			char chunk[4096];
			pollfd p = {from_, POLLIN, 0};

			if (poll(&p, 1, left_ms(end)) <= 0)
				return "";
			ssize_t n = read(from_, chunk, sizeof(chunk));
			if (n <= 0)
				return "";
			buffer_.append(chunk, static_cast<size_t>(n));
		}
		std::string line = buffer_.substr(0, at);
		buffer_.erase(0, at + 1);
		return line;
	}
};

struct Cluster : testing::Test {
	std::string base;
	std::vector<std::unique_ptr<Node>> nodes;

	void SetUp() override
	{
		char path[] = "/tmp/kddm-test-XXXXXX";

		base = mkdtemp(path);
	}
	void TearDown() override
	{
		nodes.clear();
		if (HasFailure())
			show_logs();
		EXPECT_EQ(system(("rm -rf " + base).c_str()), 0);
	}
	void show_logs()
	{
		std::string command = "tail -n 200 " + base + "/*.log >&2";

		if (system(command.c_str()))
			return;
	}
	Node &operator[](size_t number)
	{
		return *nodes[number - 1];
	}
	Node &add(const std::vector<std::string> &options = {})
	{
		nodes.push_back(std::make_unique<Node>(base, static_cast<int>(nodes.size()) + 1, options));
		return *nodes.back();
	}
	std::string secret(const std::string &name, const std::string &content)
	{
		std::ofstream(base + "/" + name) << content << "\n";
		return base + "/" + name;
	}
	std::string join(Node &n, size_t via, const std::string &file)
	{
		return n.ask("join " + n.name + " " + n.address + " " + (*this)[via].address + " " + file);
	}
	void form(size_t n, const std::string &lease_ms = "1000")
	{
		Node &first = add();

		ASSERT_EQ(first.ask("init " + first.name + " " + first.address), "ok");
		ASSERT_EQ(first.ask("set lease_ms " + lease_ms), "ok");
		std::string file = secret("token", first.ask("token 600").substr(3));
		while (nodes.size() < n) {
			Node &next = add();

			ASSERT_EQ(join(next, nodes.size() - 1, file), "ok");
		}
		if (n >= 3) {
			EXPECT_TRUE(soon([&] { return voters((*this)[1]) == 3; }));
		}
	}
	static bool soon(const std::function<bool()> &condition)
	{
		auto end = Clock::now() + std::chrono::milliseconds(PATIENCE_MS);

		while (!condition()) {
			if (Clock::now() > end)
				return false;
			poll(nullptr, 0, 5);
		}
		return true;
	}
	static size_t occurrences(const std::string &text, const std::string &what)
	{
		size_t n = 0;

		for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at++)
			n++;
		return n;
	}
	static size_t voters(Node &n)
	{
		return occurrences(n.ask("nodes"), ":voter");
	}
	size_t leader(Node &asked)
	{
		std::string text = asked.ask("nodes");
		size_t end = text.find(":leader");

		if (end == std::string::npos)
			return 0;
		return std::stoul(text.substr(text.rfind(' ', end) + 2));
	}
	bool agree()
	{
		return soon([&] {
			std::set<std::string> digests;

			for (auto &n : nodes)
				digests.insert(n->ask("digest"));
			return digests.size() == 1;
		});
	}
};

TEST_F(Cluster, RacesHaveOneWinnerAndAllAgree)
{
	form(3);
	for (int i = 0; i < 30; i++) {
		std::string key = "race" + std::to_string(i);
		int won = 0;

		for (auto &n : nodes)
			n->send("claim " + key + " " + n->name);
		for (auto &n : nodes)
			won += n->answer().rfind("ok", 0) == 0;
		EXPECT_EQ(won, 1) << key;
	}
	EXPECT_TRUE(agree());
}

TEST_F(Cluster, BigBatchIsOneEntryAndIsAppliedEverywhere)
{
	form(3);
	std::string done = (*this)[3].ask("many m 5000");

	ASSERT_EQ(done.rfind("ok ", 0), 0u) << done;
	EXPECT_EQ((*this)[3].ask("wait " + done.substr(3)), "ok 0");
	for (auto &n : nodes)
		EXPECT_EQ(n->ask("count"), "ok 5000");
}

TEST_F(Cluster, DeadNodeIsPurgedAndComesBackAsANewLife)
{
	form(3);
	Node &n1 = (*this)[1], &n3 = (*this)[3];

	ASSERT_EQ(n3.ask("many m 100").substr(0, 2), "ok");
	ASSERT_EQ(n1.ask("claim mine x").substr(0, 2), "ok");
	ASSERT_TRUE(soon([&] { return n1.ask("count") == "ok 101"; }));
	n3.kill();
	EXPECT_TRUE(soon([&] { return n1.ask("count") == "ok 1"; }));
	EXPECT_NE(n1.ask("nodes").find("n3:3:dead:voter"), std::string::npos);
	n3.start();
	EXPECT_TRUE(n3.event("fenced"));
	EXPECT_TRUE(n3.event("ready"));
	EXPECT_EQ(n3.ask("count"), "ok 1");
	EXPECT_TRUE(agree());
}

TEST_F(Cluster, RestartWithinTheLeaseLosesNothing)
{
	form(3, "5000");
	Node &n1 = (*this)[1], &n2 = (*this)[2];

	ASSERT_EQ(n2.ask("many m 10").substr(0, 2), "ok");
	n2.kill();
	n2.start();
	EXPECT_TRUE(n2.event("ready"));
	EXPECT_EQ(n2.ask("count"), "ok 10");
	EXPECT_EQ(n1.ask("nodes").find("dead"), std::string::npos);
}

TEST_F(Cluster, PlannedStopGetsALongLeaseFirst)
{
	form(3);
	Node &n1 = (*this)[1], &n2 = (*this)[2];

	ASSERT_EQ(n2.ask("many m 10").substr(0, 2), "ok");
	ASSERT_TRUE(soon([&] { return n1.ask("count") == "ok 10"; }));
	ASSERT_EQ(n2.stop(), 0);
	poll(nullptr, 0, 2500); // longer than a lease
	EXPECT_EQ(n1.ask("count"), "ok 10");
	n2.start();
	EXPECT_TRUE(n2.event("ready"));
	EXPECT_EQ(n2.ask("count"), "ok 10");
}

TEST_F(Cluster, LeaderIsReplacedAndNoAcknowledgedClaimIsLost)
{
	form(3, "3000");
	for (int round = 0; round < 2; round++) {
		size_t who = leader((*this)[1]);

		ASSERT_NE(who, 0u);
		Node &old = (*this)[who], &other = (*this)[who % 3 + 1];
		std::string key = "k" + std::to_string(round);
		ASSERT_EQ(other.ask("claim " + key + " x").substr(0, 2), "ok");
		old.kill();
		EXPECT_EQ(other.ask("claim " + key + "b x").substr(0, 2), "ok");
		EXPECT_EQ(other.ask("get " + key).substr(0, 4), "ok x");
		old.start();
		EXPECT_TRUE(old.event("ready"));
		EXPECT_TRUE(soon([&] { return occurrences((*this)[1].ask("nodes"), ":up:") == 3; }));
	}
	EXPECT_TRUE(agree());
}

TEST_F(Cluster, StoppedNodeIsFencedWhenItWakes)
{
	form(3);
	size_t who = leader((*this)[1]) % 3 + 1;
	Node &frozen = (*this)[who], &other = (*this)[who % 3 + 1];

	ASSERT_EQ(frozen.ask("claim f x").substr(0, 2), "ok");
	ASSERT_TRUE(soon([&] { return other.ask("get f") != "error absent"; }));
	frozen.signal(SIGSTOP);
	EXPECT_TRUE(soon([&] { return other.ask("get f") == "error absent"; }));
	frozen.signal(SIGCONT);
	EXPECT_TRUE(frozen.event("fenced"));
	EXPECT_TRUE(frozen.event("ready"));
	EXPECT_EQ(frozen.ask("get f"), "error absent");
}

TEST_F(Cluster, MinorityLosesItsLeaseAndRefuses)
{
	form(3);
	(*this)[2].kill();
	(*this)[3].kill();
	Node &alone = (*this)[1];

	EXPECT_TRUE(alone.event("status fenced"));
	EXPECT_EQ(alone.ask("put a 1").substr(0, 17), "error status -11 ");
	(*this)[2].start();
	EXPECT_TRUE(alone.event("status up"));
	EXPECT_EQ(alone.ask("put a 1").substr(0, 2), "ok");
}

TEST_F(Cluster, AllPowerLostAtOnce)
{
	form(3);
	ASSERT_EQ((*this)[2].ask("put kept 1").substr(0, 2), "ok");
	for (auto &n : nodes)
		n->kill();
	for (auto &n : nodes)
		n->start(); // each is alone until a quorum is back
	for (auto &n : nodes)
		EXPECT_TRUE(n->event("ready"));
	for (auto &n : nodes)
		EXPECT_EQ(n->ask("get kept").substr(0, 4), "ok 1");
	EXPECT_TRUE(agree());
}

TEST_F(Cluster, StandbyReplacesADeadVoter)
{
	form(4);
	Node &n1 = (*this)[1], &n4 = (*this)[4];

	EXPECT_NE(n1.ask("nodes").find("n4:4:up:standby"), std::string::npos);
	(*this)[leader(n1) == 2 ? 3 : 2].kill();
	EXPECT_TRUE(soon([&] { return n1.ask("nodes").find("n4:4:up:voter") != std::string::npos; }));
	EXPECT_EQ(n4.ask("put a 1").substr(0, 2), "ok");
	EXPECT_TRUE(soon([&] { return voters(n1) == 3; }));
}

TEST_F(Cluster, SnapshotBringsALateNodeUpToDate)
{
	form(1);
	EXPECT_EQ((*this)[1].ask("serial k 6000").substr(0, 2), "ok"); // past the threshold
	Node &late = add();
	EXPECT_EQ(join(late, 1, base + "/token"), "ok");
	EXPECT_EQ(late.ask("get k").substr(0, 4), "ok x");
	EXPECT_TRUE(agree());
	late.kill();
	late.start();
	EXPECT_TRUE(late.event("ready"));
	EXPECT_EQ(late.ask("get k").substr(0, 4), "ok x");
}

TEST_F(Cluster, MachineMadeAnewTakesItsPlaceAgain)
{
	form(3);
	Node &n1 = (*this)[1], &n3 = (*this)[3];

	ASSERT_EQ(n3.ask("put a 1").substr(0, 2), "ok");
	n3.kill();
	ASSERT_EQ(system(("rm -rf " + n3.dir).c_str()), 0);
	ASSERT_TRUE(soon([&] { return n1.ask("nodes").find("n3:3:dead") != std::string::npos; }));
	n3.start();
	EXPECT_EQ(join(n3, 1, base + "/token"), "ok");
	EXPECT_EQ(n3.ask("get a").substr(0, 4), "ok 1");
	EXPECT_TRUE(soon([&] { return n1.ask("nodes").find("n3:3:up:voter") != std::string::npos; }));
}

// A byte in the middle of each file of n's log whose name is like this.
int spoil(const Node &n, const std::string &pattern)
{
	int spoiled = 0;

	for (auto &e : std::filesystem::directory_iterator(n.dir + "/raft")) {
		if (fnmatch(pattern.c_str(), e.path().filename().c_str(), 0))
			continue;
		std::fstream f(e.path(), std::ios::in | std::ios::out | std::ios::binary);
		auto middle = static_cast<std::streamoff>(e.file_size() / 2);

		f.seekg(middle);
		int c = f.get();
		f.seekp(middle);
		f.put(static_cast<char>(c ^ 1));
		spoiled++;
	}
	return spoiled;
}

std::string raft_id(const Node &n)
{
	std::string id;

	std::ifstream(n.dir + "/raft/id") >> id;
	return id;
}

TEST_F(Cluster, DamagedLogsAreNeverUsedAgain)
{
	form(3);
	Node &n1 = (*this)[1], &n3 = (*this)[3];

	ASSERT_EQ(n1.ask("serial k 6000").substr(0, 2), "ok"); // past the threshold of snapshots
	for (const char *file : {"snapshot-*[0-9]", "snapshot-*.meta", "0000*", "metadata?"}) {
		std::string old = raft_id(n3);

		ASSERT_EQ(n1.ask(std::string("put a ") + file).substr(0, 2), "ok");
		ASSERT_TRUE(agree());
		n3.kill();
		ASSERT_GT(spoil(n3, file), 0) << file;
		n3.start();
		EXPECT_TRUE(n3.event("fenced")) << file; // what ran under the old log ends
		EXPECT_TRUE(n3.event("ready")) << file;
		EXPECT_NE(raft_id(n3), old) << file;
		EXPECT_NE(n3.ask("get a").find(std::string("ok ") + file), std::string::npos);
		EXPECT_TRUE(soon([&] { return n1.ask("nodes").find("n3:3:up:voter") != std::string::npos; }));
		// The next round has the same files again.
		ASSERT_EQ(n1.ask("serial k 5000").substr(0, 2), "ok");
		n3.kill();
		n3.start();
		ASSERT_TRUE(n3.event("ready"));
	}
}

TEST_F(Cluster, ClearTextOnlyWhenAskedFor)
{
	Node &n1 = add({"--insecure"}), &n2 = add(), &n3 = add({"--insecure"});
	std::string none = secret("none", "");

	ASSERT_EQ(n1.ask("init n1 " + n1.address), "ok");
	EXPECT_EQ(n1.ask("token 60"), "error no token");
	EXPECT_EQ(join(n2, 1, secret("key", std::string(64, '1'))).substr(0, 7), "error 1");
	EXPECT_EQ(join(n3, 1, none), "ok");
	EXPECT_EQ(n3.ask("put a 1").substr(0, 2), "ok");
	EXPECT_EQ(n1.ask("get a").substr(0, 4), "ok 1");
}

TEST_F(Cluster, StrangersStayOutside)
{
	form(1);
	Node &n2 = add();
	std::string expired = secret("expired", (*this)[1].ask("token 0").substr(3));
	std::string wrong = secret("wrong", std::string(64, 'a'));
	std::string junk = secret("junk", "no secret at all");

	EXPECT_NE(join(n2, 1, wrong).find("error 1 the node at " + address_of(1) + ":7946 refuses this key"),
		  std::string::npos);
	EXPECT_NE(join(n2, 1, expired).find("refuses this key or token"), std::string::npos);
	EXPECT_EQ(join(n2, 1, junk).substr(0, 7), "error 2");
	EXPECT_NE(n2.ask("join n1 " + n2.address + " " + address_of(1) + " " + base + "/token")
			  .find("a node named n1 is up"),
		  std::string::npos);
	EXPECT_NE(n2.ask("join n2 " + n2.address + " " + address_of(9) + " " + base + "/token")
			  .find("no netd listens at " + address_of(9) + ":7946"),
		  std::string::npos);
	EXPECT_EQ(n2.ask("join n2 192.0.2.1 " + address_of(1) + " " + base + "/token").substr(0, 7),
		  "error 1");
	// Nothing is left of all that, and the right way still works.
	EXPECT_EQ((*this)[1].ask("nodes"), "ok n1:1:up:voter:leader");
	EXPECT_EQ(join(n2, 1, base + "/token"), "ok");
	EXPECT_EQ(join(n2, 1, base + "/token").substr(0, 7), "error 1");
}

TEST_F(Cluster, LeavingOneByOneAndReturning)
{
	form(3);
	Node &n1 = (*this)[1], &n2 = (*this)[2], &n3 = (*this)[3];

	EXPECT_EQ(n1.ask("put a 1").substr(0, 2), "ok");
	EXPECT_EQ(n1.ask("leave 3").substr(0, 7), "error 1"); // it is up
	EXPECT_EQ(n1.ask("leave"), "ok");
	EXPECT_EQ(n3.ask("get a").substr(0, 4), "ok 1");
	EXPECT_EQ(n2.ask("leave"), "ok");
	EXPECT_EQ(n3.ask("nodes"), "ok n3:3:up:voter:leader");
	EXPECT_EQ(join(n1, 3, base + "/token"), "ok");
	EXPECT_EQ(n1.ask("get a").substr(0, 4), "ok 1");
	n1.kill();
	EXPECT_EQ(n3.ask("leave 1 force"), "ok");
	EXPECT_EQ(n3.ask("nodes"), "ok n3:3:up:voter:leader");
	EXPECT_EQ(n3.ask("leave").substr(0, 7), "error 1"); // the last one
	EXPECT_EQ(n3.ask("leave 3 force"), "ok");
	EXPECT_EQ(n3.ask("status").substr(0, 7), "ok idle");
}

} // namespace
