// SPDX-License-Identifier: GPL-2.0
// Connections between nodes: netd's (peer.c) and those of joining (secure.c).
#include "kddm_world_machine.h"

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
using Call = struct peer_call;

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
		auto arrive = [this, to, from = from->node->n, deliver] {
			if (!cuts.count({from, to})) // cut meanwhile
				deliver(cur);
		};
		if (late.count({from->node->n, to}))
			waiting.push_back([this, &t, serial = t.p->serial, delay, arrive] {
				if (t.p && t.p->serial == serial)
					at(t.p.get(), delay, arrive);
			});
		else
			at(t.p.get(), delay, arrive);
	}
}

// The network is late no more.
void World::arrive()
{
	auto now_there = std::move(waiting);

	waiting.clear();
	for (auto &each : now_there)
		each();
}

uint32_t node_of(const char *address)
{
	unsigned int n = 0;

	sscanf(address, "10.0.0.%u:", &n);
	return n;
}

bool unreachable(uint32_t to)
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
void peers_flush(struct peers *)
{
}
void peers_tick(struct peers *)
{
}
void peers_renew(struct peers *)
{
}
bool peers_linked(const struct peers *, uint32_t)
{
	return false;
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
void member_raft_hello(struct member *, struct secure_conn *c, uint64_t, const char *)
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
const char *secure_peer(const struct secure_conn *c)
{
	static char address[32];

	snprintf(address, sizeof(address), "10.0.0.%u:50000", c->node);
	return address;
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
