/* SPDX-License-Identifier: GPL-2.0 */
// A world of nodes on simulated time, without sockets or disks: membership, leases, requests, state
// machine and libraft are the real ones; only what touches the machine is played (kddm_world_machine.h): clocks,
// the event loop, connections, files. Everything happens in one thread and follows from the seed.
#ifndef KDDM_WORLD_H
#define KDDM_WORLD_H

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

// raft.h asserts in a way that C++ does not know.
#include <uv.h>
#define static_assert(...)
extern "C" {
#include <raft.h>
}
#undef static_assert

extern "C" {
#include "userland/netd/member_int.h"
}

constexpr uint64_t MS = 1000000;
constexpr uint32_t PORTS = 6;

struct World;
struct Node;

// What a planted bug changes; the two in the engine's code are builds of their own, see kddm.mk.
struct Bugs {
	bool fresh_id = false;	  // a new raft id on each boot
	bool old_id = false;	  // the old raft id though the log was wiped
	bool mark_unread = false; // a log that lost its end is taken for a shorter one
};

struct Entry {
	raft_term term;
	raft_entry_type type;
	std::string data;
};

struct Snapshot {
	raft_index index = 0, conf_index = 0;
	raft_term term = 0;
	std::string conf, data;
};

struct Mark {
	uint64_t index = 0, term = 0, vote = 0, old_term = 0, old_vote = 0;
};

// Outlives the process and the power.
struct Disk {
	bool has_id = false, has_mark = false;
	raft_term term = 0;
	raft_id vote = 0, id = 0, lost_id = 0;
	raft_index first = 1; // of the log
	std::deque<Entry> log;
	Snapshot snapshot;
	Mark mark, mark_synced;
	std::vector<std::string> peers;
	struct generation generation = {}; // of STATE_DIR/identity
	bool recover = false;
	std::string diverged;
};

struct Timer {
	void (*cb)(uv_timer_t *);
	uint64_t repeat_ms, turn;
};

struct DiskOp {
	std::function<void(Disk &)> write;
	std::function<void(int)> done;
};

// A netd.
struct Process {
	Node *node;
	uint64_t serial;
	bool muted = false; // it was killed: nothing of it has an effect any more
	struct member *m = nullptr;
	struct kddm_set *set = nullptr;
	bool synced = false;
	std::map<uv_timer_t *, Timer> timers;
	std::map<uv_handle_t *, void (*)(void *)> hooks;
	uv_prepare_t *prepare = nullptr;
	uv_prepare_cb on_prepare = nullptr;
	uv_check_t *check = nullptr;
	uv_check_cb on_check = nullptr;
	std::deque<std::function<void()>> closing;
	// raft
	raft_io *io = nullptr;
	raft_io_tick_cb tick = nullptr;
	raft_io_recv_cb recv = nullptr;
	std::deque<DiskOp> writes;
	bool writing = false;
	uint64_t log_life = 0; // how often it was closed
	// peers
	peers_params pp = {};
	uint32_t self = 0;
	std::map<std::string, std::pair<peer_handler_fn *, void *>> handlers;
	std::map<uint64_t, std::pair<peer_answer_fn *, void *>> calls;
	std::map<uint64_t, struct secure_connect> connects;
	uint64_t next_call = 1;
};

struct Socket {
	uint64_t id;
	bool acked = false, asking = false;
};

struct Node {
	World *w;
	uint32_t n; // and its address is 10.0.0.n
	Disk disk;
	std::unique_ptr<Process> p;
	bool power = true, stopped = false;
	bool out = false;     // it was asked to leave
	uint64_t stop_ms = 0; // to be stopped with its next renewal under way, for so long
	uint64_t disk_ms = 0; // its disk takes as long for a write, and longer
	std::deque<std::function<void()>> deferred;
	double rate = 1;
	uint64_t offset_ns = 0, boot = 1, generation = 1;
	int64_t unix_ms = 0;
	// The kernel's: survives netd, not the power
	uint64_t lease_ns = 0;
	std::map<uint32_t, uint32_t> table; // port -> node
	std::map<uint32_t, Socket> sockets;

	uint64_t clock() const;
	std::string address() const;
	bool answers(uint32_t port) const;
};

// Asked for: this life of the machine is to be out.
struct Leave {
	Node *n;
	raft_id id;
};

struct Event {
	uint64_t at, order;
	std::function<void()> run;
	bool operator<(const Event &o) const
	{
		return at != o.at ? at > o.at : order > o.order;
	}
};

struct World {
	std::mt19937_64 rng;
	Bugs bugs;
	uint64_t now = 1000000000, order = 0, serial = 0, next_id = 1;
	std::priority_queue<Event> events;
	std::deque<Node> nodes; // nodes[i].n == i + 1
	std::deque<Leave> leaves;
	std::set<std::pair<uint32_t, uint32_t>> cuts, late;
	std::deque<std::function<void()>> waiting; // what is on its way where the network is late
	bool greedy = false;			   // no port is left free
	double loss = 0, twice = 0, slow = 0;
	bool whole = true; // since the last disk was lost, or a node left, all were well at once
	std::vector<std::string> violations;
	std::map<raft_index, uint64_t> entries;			  // what was applied there
	std::map<uint64_t, raft_index> effects;			  // id of a write -> where it took effect
	std::map<std::pair<uint32_t, uint64_t>, uint32_t> owners; // port, epoch -> node
	std::map<std::string, unsigned> did;

	World(uint64_t seed, unsigned n_nodes, Bugs bugs);
	~World();
	uint64_t dice(uint64_t n)
	{
		return rng() % n;
	}
	bool chance(double p)
	{
		return static_cast<double>(rng() % 1000000) < p * 1e6;
	}
	Node &node(uint32_t n)
	{
		return nodes[n - 1];
	}
	void at(uint64_t delay_ns, std::function<void()> run);
	// For this process; later while it is stopped, never when it is gone.
	void at(Process *p, uint64_t delay_ns, std::function<void()> run);
	// From one process to another, if the network lets it through. A stream (libraft's) may lose and delay
	// with its connection, but says nothing twice.
	void carry(Process *from, uint32_t to, const std::function<void(Process *)> &deliver,
		   bool stream = false);
	void run(uint64_t ms);
	void inside(Process *p, const std::function<void()> &run);
	enum member_status status(Node &n); // what its process would say now; it must have one
	void start(Node &n);
	void kill(Node &n); // the process
	void power_off(Node &n);
	void wipe(Node &n);
	void lose_end(Node &n);
	void forget(Node &n, size_t lost); // its last entries, and that it had them
	void leave_somehow();
	void enter_anew(Node &n, raft_id was);
	void look_for_left();
	void leave(Node &n, Node &by); // out for good, asked for by itself or by another; then it enters anew
	void stop(Node &n, bool stopped);
	void renewed(Node &n);
	void look();
	void act(Node &n);
	void fault();
	void late_answers();
	void slow_disks(uint64_t ms);
	void arrive();
	void lose_disk(Node &n, Node &late);
	void cut(Node &a, Node &b, bool cut);
	void heal();
	bool settled();
	unsigned voters();
	std::string state();
	void violation(const char *fmt, ...) __attribute__((format(printf, 2, 3)));
};

// A whole life of one seed: faults, then healing. Empty: nothing was wrong.
std::vector<std::string> world_run(uint64_t seed, Bugs bugs, std::map<std::string, unsigned> *did);
extern World *the_world;

#endif
