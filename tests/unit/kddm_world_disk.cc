// SPDX-License-Identifier: GPL-2.0
// The disk: libraft's log, term and vote, and what netd keeps beside it. What a process wrote reaches it later,
// in order, and in part when it is killed.
#include "kddm_world_machine.h"

struct kddm_mark {
	Process *p;
};

static void write_next(Process *p)
{
	if (p->writing || p->writes.empty())
		return;
	uint64_t slow = p->node->disk_ms * MS;

	p->writing = true;
	slow += slow ? the_world->dice(slow) : 0;
	the_world->at(p, 50000 + slow + the_world->dice(the_world->chance(0.02) ? 80 * MS : 2 * MS),
		      [p, life = p->log_life] {
			      if (life != p->log_life)
				      return; // closed meanwhile
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

static int io_recover(raft_io *, const raft_configuration *conf)
{
	Disk &d = cur->node->disk;

	d.log.push_back({d.log.empty() ? d.snapshot.term : d.log.back().term, RAFT_CHANGE, conf_bytes(conf)});
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
		auto writes = std::move(p->writes);

		p->writes.clear();
		p->writing = false;
		p->log_life++;
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
	io->recover = io_recover;
	io->set_term = io_set_term;
	io->set_vote = io_set_vote;
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
void raft_uv_set_disk_retry(raft_io *, unsigned)
{
}
void raft_uv_set_auto_recovery(raft_io *, bool)
{
}
void raft_uv_set_tracer(raft_io *, raft_tracer *)
{
}

// ---- netd's own files ----

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
int member_state_save(struct member *m)
{
	cur->node->disk.generation = m->id.generation;
	cur->node->disk.recover = m->id.recover;
	cur->node->disk.diverged = m->id.diverged;
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
