// SPDX-License-Identifier: GPL-2.0
// The machine that netd runs on, played: what the engine calls of libuv, of libraft's files and sockets, of
// peer.c, secure.c and of the state on disk. The linker takes these before those of the libraries.
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <ctime>

#include "kddm_world.h"

World *the_world;
static Process *cur; // whose code is running

struct secure {
	int none;
};
struct secure_listener {
	int none;
};
struct peers {
	Process *p;
};
// Both ends know it by process and id.
struct secure_conn {
	uint32_t node;
	uint64_t serial, id;
};
struct peer_call {
	uint32_t node;
	uint64_t serial, id;
};
struct kddm_mark {
	Process *p;
};
using Call = struct peer_call;
using Apply = struct raft_apply;
using Barrier = struct raft_barrier;
using Change = struct raft_change;

// ---- time --------------------------------------------------------------------------------------

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

// ---- the network -------------------------------------------------------------------------------

void World::carry(Process *from, uint32_t to, const std::function<void(Process *)> &deliver, bool stream)
{
	Node &t = node(to);
	int copies = chance(loss) ? 0 : !stream && chance(twice) ? 2 : 1;

	if (from->muted || cuts.count({from->node->n, to}) || !t.p || !t.power)
		return;
	for (int i = 0; i < copies; i++) {
		uint64_t delay = 20000 + dice(300000);

		if (chance(slow))
			delay += dice(400) * MS;
		at(t.p.get(), delay, [this, to, from = from->node->n, deliver] {
			if (!cuts.count({from, to})) // cut meanwhile
				deliver(cur);
		});
	}
}

static uint32_t node_of(const char *address)
{
	unsigned int n = 0;

	sscanf(address, "10.0.0.%u:", &n);
	return n;
}

static bool unreachable(uint32_t to)
{
	World *w = the_world;

	return to > w->nodes.size() || !to || w->cuts.count({cur->node->n, to}) || !w->node(to).p;
}

extern "C" {

int peers_new(const struct peers_params *p, struct peers **out)
{
	cur->pp = *p;
	*out = new peers{cur};
	return 0;
}
void peers_start(struct peers *, struct secure *)
{
}
void peers_identify(struct peers *p, uint32_t self)
{
	p->p->self = self;
}
void peers_stop(struct peers *p)
{
	auto calls = std::move(p->p->calls);

	p->p->calls.clear();
	p->p->self = 0;
	for (auto &c : calls)
		c.second.first(c.second.second, -ENOTCONN, nullptr);
}
void peers_free(struct peers *p)
{
	delete p;
}
bool peers_gone(const struct peers *)
{
	return true;
}
void peers_flush(struct peers *)
{
}
void peers_tick(struct peers *)
{
}
void peers_renew(struct peers *)
{
}
void peers_drop(struct peers *, uint32_t)
{
}
int64_t peers_latency_us(struct peers *, uint32_t)
{
	return -1;
}

// Node numbers are given by the cluster, in the order of joining: found by the address.
static uint32_t whom(struct peers *p, uint32_t number)
{
	const char *address = p->p->pp.address(p->p->pp.arg, number);

	return address ? node_of(address) : 0;
}

int peers_send(struct peers *p, uint32_t number, uint8_t type, uint64_t id, const void *data, size_t len)
{
	uint32_t to = whom(p, number), self = p->p->self;
	auto copy = std::make_shared<std::vector<uint64_t>>((len + 7) / 8 + 1);

	if (!self || unreachable(to))
		return -ENOTCONN;
	if (len)
		memcpy(copy->data(), data, len);
	the_world->carry(cur, to, [self, type, id, copy, len](Process *q) {
		q->pp.message(q->pp.arg, self, type, id, copy->data(), len);
	});
	if (type == PEER_LEASE_RENEW)
		the_world->renewed(*cur->node);
	return 0;
}

int peer_handle(struct peers *p, const char *name, peer_handler_fn *fn, void *arg)
{
	p->p->handlers[name] = {fn, arg};
	return 0;
}

static void call_done(Process *p, uint64_t id, int status, json_t *answer)
{
	auto it = p->calls.find(id);

	if (it == p->calls.end())
		return;
	auto done = it->second;

	p->calls.erase(it);
	done.first(done.second, status, answer);
}

void peer_call(struct peers *p, uint32_t number, const char *name, json_t *request, unsigned int timeout_ms,
	       peer_answer_fn *done, void *arg)
{
	uint64_t id = p->p->next_call++, serial = p->p->serial;
	uint32_t to = number == p->p->self ? p->p->node->n : whom(p, number), self = p->p->self;
	std::shared_ptr<json_t> copy(json_deep_copy(request), json_decref);
	Process *me = cur;

	cur->calls[id] = {done, arg};
	the_world->at(cur, static_cast<uint64_t>(timeout_ms) * MS,
		      [me, id] { call_done(me, id, -ETIMEDOUT, nullptr); });
	if (!to || unreachable(to)) {
		the_world->at(cur, MS, [me, id] { call_done(me, id, -EHOSTDOWN, nullptr); });
		return;
	}
	the_world->carry(cur, to,
			 [name = std::string(name), copy, self, from = cur->node->n, serial, id](Process *q) {
				 auto h = q->handlers.find(name);

				 if (h != q->handlers.end())
					 h->second.first(h->second.second, self, copy.get(),
							 new Call{from, serial, id});
			 });
}

void peer_call_answer(struct peer_call *call, json_t *answer)
{
	std::shared_ptr<json_t> copy(answer, json_decref);

	the_world->carry(cur, call->node, [serial = call->serial, id = call->id, copy](Process *q) {
		if (q->serial == serial)
			call_done(q, id, 0, copy.get());
	});
	delete call;
}

void peers_hello_link(struct peers *, struct secure_conn *c, uint32_t)
{
	delete c;
}
void peers_hello_stream(struct peers *, struct secure_conn *c, uint32_t, json_t *)
{
	delete c;
}

// ---- connections of their own: joining ----

int secure_new(const struct secure_params *, struct secure **out)
{
	*out = new secure();
	return 0;
}
static void connect_done(Process *p, uint64_t id, int status, json_t *reply)
{
	auto it = p->connects.find(id);

	if (it == p->connects.end())
		return;
	struct secure_connect c = it->second;

	p->connects.erase(it);
	c.done(c.arg, status, reply, -1);
}
void secure_close(struct secure *s, void (*closed)(void *arg), void *arg)
{
	while (!cur->connects.empty())
		connect_done(cur, cur->connects.begin()->first, -ENOTCONN, nullptr);
	cur->closing.push_back([s, closed, arg] {
		delete s;
		closed(arg);
	});
}
int secure_listen(struct secure *, const char *, struct secure_listener **out)
{
	*out = nullptr;
	return 0;
}
void secure_unlisten(struct secure_listener *)
{
}
void secure_end_key(struct secure *, const uint8_t *)
{
}
void secure_answer(struct secure_conn *c, json_t *reply)
{
	std::shared_ptr<json_t> copy(reply ? reply : json_object(), json_decref);

	the_world->carry(cur, c->node, [serial = c->serial, id = c->id, copy](Process *q) {
		bool error = json_object_get(copy.get(), "error");

		if (q->serial == serial)
			connect_done(q, id, error ? -EREMOTEIO : 0, copy.get());
	});
	delete c;
}
void secure_refuse(struct secure_conn *c, int code, const char *remedy, const char *fmt, ...)
{
	secure_answer(c, json_pack("{ss si ss}", "error", fmt, "code", code, "remedy", remedy));
}
int secure_accept(struct secure_conn *c, json_t *, bool, int *)
{
	delete c;
	return -ENOTSUP;
}
void secure_cancel(struct secure_conn *)
{
}
struct secure_conn *secure_connect(struct secure *, const struct secure_connect *c)
{
	static secure_conn token;
	uint64_t id = cur->next_call++, serial = cur->serial;
	uint32_t to = node_of(c->address);
	std::shared_ptr<json_t> hello(json_deep_copy(c->hello), json_decref);
	Process *me = cur;

	cur->connects[id] = *c;
	the_world->at(cur, SECURE_TIMEOUT_MS * MS, [me, id] { connect_done(me, id, -ETIMEDOUT, nullptr); });
	the_world->carry(cur, to, [hello, from = cur->node->n, serial, id](Process *q) {
		member_hello(q->m, new secure_conn{from, serial, id}, "insecure", hello.get());
	});
	return &token;
}

} // extern "C"

// ---- raft: its disk ----------------------------------------------------------------------------

static void *raft_copy(const void *data, size_t len)
{
	void *copy = raft_malloc(len ? len : 1);

	memcpy(copy, data, len);
	return copy;
}

static std::string conf_bytes(const raft_configuration *c)
{
	raft_buffer b;
	std::string s;

	raft_configuration_encode(c, &b);
	s.assign(static_cast<char *>(b.base), b.len);
	raft_free(b.base);
	return s;
}

static void conf_from(const std::string &bytes, raft_configuration *c)
{
	std::string copy = bytes;
	raft_buffer b = {copy.data(), copy.size()};

	raft_configuration_init(c);
	raft_configuration_decode(&b, c);
}

static void write_next(Process *p)
{
	if (p->writing || p->writes.empty())
		return;
	p->writing = true;
	the_world->at(p, 50000 + the_world->dice(the_world->chance(0.02) ? 80 * MS : 2 * MS), [p] {
		DiskOp op = std::move(p->writes.front());

		p->writes.pop_front();
		p->writing = false;
		op.write(p->node->disk);
		write_next(p);
		if (op.done)
			op.done(0);
	});
}

static void write_later(std::function<void(Disk &)> write, std::function<void(int)> done)
{
	cur->writes.push_back({std::move(write), std::move(done)});
	write_next(cur);
}

static raft_snapshot *snapshot_from(const Snapshot &s)
{
	auto *out = static_cast<raft_snapshot *>(raft_calloc(1, sizeof(raft_snapshot)));

	out->index = s.index;
	out->term = s.term;
	out->configuration_index = s.conf_index;
	conf_from(s.conf, &out->configuration);
	out->bufs = static_cast<raft_buffer *>(raft_malloc(sizeof(raft_buffer)));
	out->n_bufs = 1;
	out->bufs[0] = {raft_copy(s.data.data(), s.data.size()), s.data.size()};
	return out;
}

static int io_init(raft_io *io, raft_id, const char *)
{
	cur->io = io;
	return 0;
}

static int io_load(raft_io *, raft_term *term, raft_id *vote, raft_snapshot **snapshot, raft_index *start,
		   raft_entry **entries, size_t *n)
{
	Disk &d = cur->node->disk;

	*term = d.term;
	*vote = d.vote;
	*snapshot = d.snapshot.index ? snapshot_from(d.snapshot) : nullptr;
	*start = d.first;
	*n = d.log.size();
	*entries = *n ? static_cast<raft_entry *>(raft_calloc(*n, sizeof(raft_entry))) : nullptr;
	for (size_t i = 0; i < *n; i++) {
		const Entry &e = d.log[i];

		(*entries)[i].term = e.term;
		(*entries)[i].type = e.type;
		(*entries)[i].buf = {raft_copy(e.data.data(), e.data.size()), e.data.size()};
		(*entries)[i].batch = (*entries)[i].buf.base;
	}
	return 0;
}

static int io_bootstrap(raft_io *, const raft_configuration *conf)
{
	Disk &d = cur->node->disk;

	d.term = 1;
	d.log.push_back({1, RAFT_CHANGE, conf_bytes(conf)});
	return 0;
}

static int io_set_term(raft_io *, raft_term term)
{
	if (!cur->muted) {
		cur->node->disk.term = term;
		cur->node->disk.vote = 0;
	}
	return 0;
}

static int io_set_vote(raft_io *, raft_id id)
{
	if (!cur->muted)
		cur->node->disk.vote = id;
	return 0;
}

static int io_append(raft_io *, raft_io_append *req, const raft_entry entries[], unsigned n,
		     raft_io_append_cb cb)
{
	std::vector<Entry> copy;

	for (unsigned i = 0; i < n; i++)
		copy.push_back({entries[i].term, static_cast<raft_entry_type>(entries[i].type),
				std::string(static_cast<char *>(entries[i].buf.base), entries[i].buf.len)});
	write_later([copy](Disk &d) { d.log.insert(d.log.end(), copy.begin(), copy.end()); },
		    [req, cb](int status) { cb(req, status); });
	return 0;
}

static int io_truncate(raft_io *, raft_index index)
{
	// Asked before each append, mostly for nothing.
	write_later([index](Disk &d) { d.log.resize(index - d.first); }, nullptr);
	return 0;
}

static int io_snapshot_put(raft_io *, unsigned trailing, raft_io_snapshot_put *req, const raft_snapshot *s,
			   raft_io_snapshot_put_cb cb)
{
	Snapshot copy;

	copy.index = s->index;
	copy.term = s->term;
	copy.conf_index = s->configuration_index;
	copy.conf = conf_bytes(&s->configuration);
	for (unsigned i = 0; i < s->n_bufs; i++)
		copy.data.append(static_cast<char *>(s->bufs[i].base), s->bufs[i].len);
	write_later(
		[copy, trailing](Disk &d) {
			d.snapshot = copy;
			if (!trailing) {
				d.log.clear();
				d.first = copy.index + 1;
			}
			while (!d.log.empty() && d.first + trailing <= copy.index) {
				d.log.pop_front();
				d.first++;
			}
		},
		[req, cb](int status) { cb(req, status); });
	return 0;
}

static int io_snapshot_get(raft_io *, raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb)
{
	Process *p = cur;

	write_later([](Disk &) {},
		    [p, req, cb](int status) {
			    cb(req, status ? nullptr : snapshot_from(p->node->disk.snapshot), status);
		    });
	return 0;
}

// ---- raft: its messages ----

struct Letter {
	raft_message m;
	std::vector<Entry> entries;
	Snapshot snapshot;
	std::string from;
};

static void letter_deliver(const Letter &l, raft_id id, Process *q)
{
	raft_message m = l.m;

	if (!q->recv)
		return;
	m.server_id = id;
	m.server_address = l.from.c_str();
	if (m.type == RAFT_APPEND_ENTRIES && !l.entries.empty()) {
		size_t n = l.entries.size(), bytes = 0, at = 0;
		char *batch;

		for (const Entry &e : l.entries)
			bytes += (e.data.size() + 7) & ~7ul;
		batch = static_cast<char *>(raft_malloc(bytes + 8));
		m.append_entries.entries = static_cast<raft_entry *>(raft_calloc(n, sizeof(raft_entry)));
		for (size_t i = 0; i < n; i++) {
			const Entry &e = l.entries[i];

			memcpy(batch + at, e.data.data(), e.data.size());
			m.append_entries.entries[i].term = e.term;
			m.append_entries.entries[i].type = e.type;
			m.append_entries.entries[i].buf = {batch + at, e.data.size()};
			m.append_entries.entries[i].batch = batch;
			at += (e.data.size() + 7) & ~7ul;
		}
	} else if (m.type == RAFT_APPEND_ENTRIES) {
		m.append_entries.entries = nullptr;
	}
	if (m.type == RAFT_INSTALL_SNAPSHOT) {
		conf_from(l.snapshot.conf, &m.install_snapshot.conf);
		m.install_snapshot.data = {raft_copy(l.snapshot.data.data(), l.snapshot.data.size()),
					   l.snapshot.data.size()};
	}
	q->recv(q->io, &m);
}

static int io_send(raft_io *, raft_io_send *req, const raft_message *message, raft_io_send_cb cb)
{
	uint32_t to = node_of(message->server_address);
	auto l = std::make_shared<Letter>();
	raft_id id = cur->m->id.raft_id;
	uint64_t number = cur->next_send++;
	bool lost = unreachable(to);
	Process *p = cur;

	l->m = *message;
	l->from = cur->node->address();
	if (message->type == RAFT_APPEND_ENTRIES)
		for (unsigned i = 0; i < message->append_entries.n_entries; i++) {
			const raft_entry &e = message->append_entries.entries[i];

			l->entries.push_back({e.term, static_cast<raft_entry_type>(e.type),
					      std::string(static_cast<char *>(e.buf.base), e.buf.len)});
		}
	if (message->type == RAFT_INSTALL_SNAPSHOT) {
		const raft_install_snapshot &s = message->install_snapshot;

		l->snapshot.conf = conf_bytes(&s.conf);
		l->snapshot.data.assign(static_cast<char *>(s.data.base), s.data.len);
	}
	if (!lost)
		the_world->carry(cur, to, [l, id](Process *q) { letter_deliver(*l, id, q); }, true);
	p->sends[number] = [req, cb](int status) { cb(req, status); };
	the_world->at(p, 10000, [p, number, lost] {
		auto it = p->sends.find(number);

		if (it == p->sends.end())
			return;
		auto done = it->second;

		p->sends.erase(it);
		done(lost && the_world->chance(0.5) ? RAFT_NOCONNECTION : 0);
	});
	return 0;
}

static void tick_again(Process *p, unsigned msecs)
{
	the_world->at(p, static_cast<uint64_t>(static_cast<double>(msecs * MS) / p->node->rate), [p, msecs] {
		if (!p->tick)
			return;
		tick_again(p, msecs);
		p->tick(p->io);
	});
}

static int io_start(raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
	cur->tick = tick;
	cur->recv = recv;
	tick_again(cur, msecs);
	return 0;
}

static void io_close(raft_io *io, raft_io_close_cb cb)
{
	Process *p = cur;

	p->tick = nullptr;
	p->recv = nullptr;
	p->io = nullptr;
	p->closing.push_back([p, io, cb] {
		auto sends = std::move(p->sends);
		auto writes = std::move(p->writes);

		p->sends.clear();
		p->writes.clear();
		for (auto &s : sends)
			s.second(RAFT_CANCELED);
		for (auto &op : writes)
			if (op.done)
				op.done(RAFT_CANCELED);
		if (cb)
			cb(io);
	});
}

static raft_time io_time(raft_io *)
{
	return cur->node->clock() / MS;
}

static int io_random(raft_io *, int min, int max)
{
	return min + static_cast<int>(the_world->dice(static_cast<uint64_t>(max - min)));
}

extern "C" {

int raft_uv_init(raft_io *io, uv_loop_s *, const char *, raft_uv_transport *)
{
	memset(io, 0, sizeof(*io));
	io->version = 2;
	io->capacity = UINT16_MAX;
	io->init = io_init;
	io->close = io_close;
	io->load = io_load;
	io->start = io_start;
	io->bootstrap = io_bootstrap;
	io->set_term = io_set_term;
	io->set_vote = io_set_vote;
	io->send = io_send;
	io->append = io_append;
	io->truncate = io_truncate;
	io->snapshot_put = io_snapshot_put;
	io->snapshot_get = io_snapshot_get;
	io->time = io_time;
	io->random = io_random;
	return 0;
}
void raft_uv_close(raft_io *)
{
}
void raft_uv_set_segment_size(raft_io *, size_t)
{
}
void raft_uv_set_connect_retry_delay(raft_io *, unsigned)
{
}
void raft_uv_set_disk_retry(raft_io *, unsigned)
{
}
void raft_uv_set_auto_recovery(raft_io *, bool)
{
}
void raft_uv_set_tracer(raft_io *, raft_tracer *)
{
}

// ---- the state on disk -------------------------------------------------------------------------

// The real file is tested on real disks; here counts what it promises.
int kddm_mark_open(uv_loop_t *, const char *, bool, kddm_mark **out)
{
	Disk &d = cur->node->disk;

	if (!d.has_mark && (d.term || !d.log.empty()))
		return -ENODATA;
	d.has_mark = true;
	*out = new kddm_mark{cur};
	return 0;
}
void kddm_mark_close(kddm_mark *m, void (*closed)(void *arg), void *arg)
{
	cur->closing.push_back([m, closed, arg] {
		delete m;
		if (closed)
			closed(arg);
	});
}
uint64_t kddm_mark_index(const kddm_mark *m)
{
	return the_world->bugs.mark_unread ? 0 : m->p->node->disk.mark.index;
}
bool kddm_mark_agrees(kddm_mark *m, uint64_t term, uint64_t vote)
{
	Mark &k = m->p->node->disk.mark;

	if (term == k.old_term && vote == k.old_vote) {
		k.term = term;
		k.vote = vote;
	}
	k.old_term = k.term;
	k.old_vote = k.vote;
	return term == k.term && vote == k.vote;
}
int kddm_mark_acked(kddm_mark *m, uint64_t index)
{
	Node *n = m->p->node;

	if (m->p->muted || index <= n->disk.mark.index)
		return 0;
	n->disk.mark.index = index;
	the_world->at(m->p, 100 * MS, [n] { n->disk.mark_synced = n->disk.mark; });
	return 0;
}
int kddm_mark_cut(kddm_mark *m, uint64_t index)
{
	Disk &d = m->p->node->disk;

	if (!m->p->muted && index <= d.mark.index) {
		d.mark.index = index - 1;
		d.mark_synced = d.mark;
	}
	return 0;
}
int kddm_mark_vote(kddm_mark *m, uint64_t term, uint64_t vote)
{
	Disk &d = m->p->node->disk;

	if (m->p->muted)
		return 0;
	d.mark.term = term;
	d.mark.vote = vote;
	d.mark_synced = d.mark;
	return 0;
}
void kddm_mark_voted(kddm_mark *m)
{
	Disk &d = m->p->node->disk;

	if (m->p->muted)
		return;
	d.mark.old_term = d.mark.term;
	d.mark.old_vote = d.mark.vote;
	d.mark_synced = d.mark;
}

int member_state_load(struct member *)
{
	return 1;
}
int member_state_save(struct member *)
{
	return 0;
}
void member_state_wipe(struct member *)
{
}
bool member_disk_full(struct member *)
{
	return false;
}
void member_log_set_aside(struct member *)
{
	the_world->wipe(*cur->node);
}
void member_log_forget_aside(struct member *)
{
}

int member_raft_dir(struct member *m, bool fresh)
{
	Disk &d = cur->node->disk;
	Bugs &bugs = the_world->bugs;

	if (!fresh && bugs.old_id && !d.has_id && d.lost_id) {
		d.id = d.lost_id;
		d.has_id = true;
	}
	if (fresh || (bugs.fresh_id && d.has_id)) {
		d.id = (the_world->rng() & INT64_MAX) | 1;
		d.has_id = true;
	}
	m->id.raft_id = d.id;
	return d.has_id ? 0 : -ENODATA;
}
uint64_t member_incarnation(struct member *, bool next)
{
	cur->node->generation += next;
	return (cur->node->boot << 24 | cur->node->n << 16) | (cur->node->generation & 0xffff);
}
int keys_file_write(const char *, const char *text)
{
	std::vector<std::string> &peers = cur->node->disk.peers;

	peers.clear();
	for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
		peers.emplace_back(at, strcspn(at, "\n"));
	return 0;
}
// Whom the machine knew is on its disk.
void member_rotate_start(struct member *m)
{
	m->key_state.n_peers = 0;
	for (const std::string &a : cur->node->disk.peers)
		snprintf(m->key_state.peers[m->key_state.n_peers++], TRANSPORT_ADDRESS_MAX, "%s", a.c_str());
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
