// SPDX-License-Identifier: GPL-2.0
// Clocks that run apart, and the event loop.
#include <ctime>

#include "kddm_world_machine.h"

World *the_world;
Process *cur;

using Apply = struct raft_apply;
using Barrier = struct raft_barrier;
using Change = struct raft_change;

uint64_t Node::clock() const
{
	return offset_ns + static_cast<uint64_t>(static_cast<double>(w->now) * rate);
}

std::string Node::address() const
{
	return "10.0.0." + std::to_string(n) + ":7946";
}

extern "C" int __real_clock_gettime(clockid_t id, struct timespec *t);
extern "C" int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	uint64_t ns;

	if (!cur)
		return __real_clock_gettime(id, t);
	ns = cur->node->clock();
	if (id == CLOCK_REALTIME)
		ns = static_cast<uint64_t>(static_cast<int64_t>(ns) +
					   (cur->node->unix_ms + 1700000000000) * static_cast<int64_t>(MS));
	t->tv_sec = static_cast<time_t>(ns / 1000000000);
	t->tv_nsec = static_cast<long>(ns % 1000000000);
	return 0;
}

extern "C" uint64_t world_mutant_now(void);
extern "C" uint64_t world_mutant_now(void)
{
	return cur->node->clock();
}

void World::at(uint64_t delay_ns, std::function<void()> run)
{
	events.push({now + delay_ns, ++order, std::move(run)});
}

void World::at(Process *p, uint64_t delay_ns, std::function<void()> run)
{
	uint64_t wanted = p->serial;
	Node *n = p->node;

	at(delay_ns, [this, n, wanted, run = std::move(run)] {
		if (!n->p || n->p->serial != wanted)
			return;
		if (n->stopped)
			n->deferred.push_back([this, n, wanted, run] {
				if (n->p && n->p->serial == wanted)
					inside(n->p.get(), run);
			});
		else
			inside(n->p.get(), run);
	});
}

// libraft tells of finished requests from the event loop; its own way there is not open to others.
static void raft_fire(Process *p)
{
	while (p->io) {
		auto *r = static_cast<raft *>(p->io->data);
		auto **head = r->legacy.requests;
		auto **q = static_cast<void **>(head[0]);

		if (!q || q == head)
			return;
		auto *req = reinterpret_cast<Apply *>(reinterpret_cast<char *>(q) - offsetof(Apply, queue));
		auto **next = static_cast<void **>(q[0]), **prev = static_cast<void **>(q[1]);
		prev[0] = next;
		next[1] = prev;
		if (req->type == RAFT_COMMAND)
			req->cb(req, req->status, req->result);
		else if (req->type == RAFT_BARRIER)
			reinterpret_cast<Barrier *>(req)->cb(reinterpret_cast<Barrier *>(req), req->status);
		else if (req->type == RAFT_CHANGE)
			reinterpret_cast<Change *>(req)->cb(reinterpret_cast<Change *>(req), req->status);
	}
}

// One turn of the event loop.
void World::inside(Process *p, const std::function<void()> &run)
{
	Process *before = cur;

	cur = p;
	run();
	raft_fire(p);
	do {
		while (!p->closing.empty()) {
			auto close = std::move(p->closing.front());

			p->closing.pop_front();
			close();
		}
		if (p->on_check && !p->muted)
			p->on_check(p->check);
		if (p->on_prepare && !p->muted)
			p->on_prepare(p->prepare);
	} while (!p->closing.empty());
	cur = before;
}

enum member_status World::status(Node &n)
{
	Process *before = cur;
	enum member_status s;

	cur = n.p.get(); // not inside(): to look must not let the process go on
	s = member_status(n.p->m);
	cur = before;
	return s;
}

static void timer_arm(Process *p, uv_timer_t *t, uint64_t ms)
{
	uint64_t turn = ++p->timers[t].turn;

	p->node->w->at(p, static_cast<uint64_t>(static_cast<double>(ms * MS) / p->node->rate), [p, t, turn] {
		auto it = p->timers.find(t);

		if (it == p->timers.end() || it->second.turn != turn)
			return;
		if (it->second.repeat_ms)
			timer_arm(p, t, it->second.repeat_ms);
		it->second.cb(t);
	});
}

extern "C" {

int uv_timer_init(uv_loop_t *, uv_timer_t *t)
{
	t->type = UV_TIMER;
	cur->timers[t] = {};
	return 0;
}
int uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t ms, uint64_t repeat)
{
	cur->timers[t].cb = cb;
	cur->timers[t].repeat_ms = repeat;
	timer_arm(cur, t, ms);
	return 0;
}
int uv_timer_stop(uv_timer_t *t)
{
	cur->timers[t].turn++;
	return 0;
}
int uv_prepare_init(uv_loop_t *, uv_prepare_t *h)
{
	h->type = UV_PREPARE;
	return 0;
}
int uv_prepare_start(uv_prepare_t *h, uv_prepare_cb cb)
{
	cur->prepare = h;
	cur->on_prepare = cb;
	return 0;
}
int uv_check_init(uv_loop_t *, uv_check_t *h)
{
	h->type = UV_CHECK;
	return 0;
}
int uv_check_start(uv_check_t *h, uv_check_cb cb)
{
	cur->check = h;
	cur->on_check = cb;
	return 0;
}
void uv_close(uv_handle_t *h, uv_close_cb cb)
{
	if (h->type == UV_TIMER)
		cur->timers.erase(reinterpret_cast<uv_timer_t *>(h));
	if (h->type == UV_PREPARE)
		cur->on_prepare = nullptr;
	if (h->type == UV_CHECK)
		cur->on_check = nullptr;
	if (cb)
		cur->closing.push_back([h, cb] { cb(h); });
}

} // extern "C"

void World::violation(const char *fmt, ...)
{
	char text[2000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (violations.size() < 20)
		violations.push_back(std::to_string(now / MS) + " ms: " + text);
}
