// SPDX-License-Identifier: GPL-2.0
#include "tests/unit/steer_vectors.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "bpf/parse.h"

namespace steer {

using Words = std::vector<std::string>;

static Words split(const std::string &s)
{
	std::istringstream in(s);
	Words w;

	for (std::string x; in >> x;)
		w.push_back(x);
	return w;
}

[[noreturn]] static void bad(const std::string &why)
{
	throw std::runtime_error(why);
}

static unsigned long number(const std::string &s)
{
	char *end;
	unsigned long n = strtoul(s.c_str(), &end, 0);

	if (s.empty() || *end)
		bad("not a number: " + s);
	return n;
}

// ---- names ----

static const char *const verdicts[] = {
#define NAME(name, text) #name,
	DIP_VERDICTS(NAME)
#undef NAME
};

static const char *const reasons[] = {"NONE",
#define NAME(name, verdict, text) #name,
				      DIP_REASONS(NAME)
#undef NAME
};

const char *verdict_name(int v)
{
	return v >= 0 && v < DIP_VERDICT_COUNT ? verdicts[v] : "?";
}

const char *reason_name(int r)
{
	return r >= 0 && r < DIP_REASON_COUNT ? reasons[r] : "?";
}

static int by_name(const char *const *names, int n, const std::string &s)
{
	for (int i = 0; i < n; i++)
		if (s == names[i])
			return i;
	bad("unknown name: " + s);
}

int reason_by_name(const std::string &s)
{
	return by_name(reasons, DIP_REASON_COUNT, s);
}

bool adapter_reason(int r)
{
	return r >= DIP_R_NO_QUEUE;
}

// ---- addresses ----

struct Addr {
	uint8_t family = 0;
	union dip_addr a{};
	uint16_t port = 0;
};

static Addr address(std::string s)
{
	Addr r;
	size_t colon;

	if (s[0] == '[') {
		size_t close = s.find(']');

		if (close != std::string::npos && s.substr(close + 1, 1) == ":")
			r.port = number(s.substr(close + 2));
		s = s.substr(1, close - 1);
	} else if ((colon = s.find(':')) != std::string::npos &&
		   s.find(':', colon + 1) == std::string::npos) {
		r.port = number(s.substr(colon + 1));
		s = s.substr(0, colon);
	}
	if (inet_pton(AF_INET, s.c_str(), &r.a) == 1)
		r.family = DIP_INET;
	else if (inet_pton(AF_INET6, s.c_str(), &r.a) == 1)
		r.family = DIP_INET6;
	else
		bad("not an address: " + s);
	return r;
}

static std::array<uint8_t, 6> mac(const std::string &s)
{
	std::array<uint8_t, 6> m;
	unsigned x[6];

	if (sscanf(s.c_str(), "%x:%x:%x:%x:%x:%x", &x[0], &x[1], &x[2], &x[3], &x[4], &x[5]) != 6)
		bad("not a MAC: " + s);
	std::copy(x, x + 6, m.begin());
	return m;
}

// ---- frames ----

static void put16(Bytes &b, unsigned v)
{
	b.push_back(v >> 8);
	b.push_back(v);
}

static void put32(Bytes &b, uint32_t v)
{
	put16(b, v >> 16);
	put16(b, v & 0xffff);
}

static void put(Bytes &b, const Bytes &x)
{
	b.insert(b.end(), x.begin(), x.end());
}

static void put_addr(Bytes &b, const Addr &a)
{
	b.insert(b.end(), a.a.a8, a.a.a8 + (a.family == DIP_INET ? 4 : 16));
}

struct Spec {
	std::string kind;
	Addr src, dst;
	std::multimap<std::string, std::string> opt;
	std::string quote;

	bool has(const std::string &k) const
	{
		return opt.count(k);
	}
	unsigned long get(const std::string &k, unsigned long dflt) const
	{
		auto i = opt.find(k);

		return i == opt.end() ? dflt : number(i->second);
	}
};

static Spec parse_spec(const std::string &text)
{
	size_t q = text.find(" quote ");
	Words w = split(text.substr(0, q));
	Spec s;

	if (w.size() < 4 || w[2] != ">")
		bad("a packet is: KIND SRC > DST [OPTION...]: " + text);
	s.kind = w[0];
	s.src = address(w[1]);
	s.dst = address(w[3]);
	for (size_t i = 4; i < w.size(); i++) {
		size_t eq = w[i].find('=');

		s.opt.insert({w[i].substr(0, eq), eq == std::string::npos ? "1" : w[i].substr(eq + 1)});
	}
	if (q != std::string::npos)
		s.quote = text.substr(q + 7);
	return s;
}

static Bytes build_ip(const Spec &s);

static uint16_t icmp6_checksum(const Spec &s, const Bytes &b)
{
	uint32_t sum = b.size() + 58;
	Bytes all;

	put_addr(all, s.src);
	put_addr(all, s.dst);
	put(all, b);
	for (size_t i = 0; i + 1 < all.size(); i += 2)
		sum += all[i] << 8 | all[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static std::string option(const Spec &s, const std::string &k, const std::string &dflt);

// Neighbour discovery: asks for, or (tells) says where, `target` is.  Options: a nonce, then the MAC.
static Bytes build_nd(const Spec &s)
{
	bool tells = s.has("tells");
	Bytes b;

	b.push_back(tells ? 136 : 135);
	b.push_back(0);
	put16(b, 0);
	put32(b, tells ? 0x60000000 : 0);
	put_addr(b, address(option(s, "target", "::")));
	if (s.has("nonce"))
		put(b, {14, 1, 1, 2, 3, 4, 5, 6});
	if (s.has("ll")) {
		auto m = mac(option(s, "ll", ""));

		b.push_back(tells ? 2 : 1);
		b.push_back(1);
		b.insert(b.end(), m.begin(), m.end());
	}
	uint16_t sum = icmp6_checksum(s, b);
	b[2] = sum >> 8;
	b[3] = sum;
	return b;
}

static Bytes build_l4(const Spec &s, unsigned *proto)
{
	bool v6 = s.src.family == DIP_INET6;
	Bytes b;

	if (s.kind == "tcp") {
		*proto = 6;
		put16(b, s.src.port);
		put16(b, s.dst.port);
		put32(b, 1);
		put32(b, 1);
		put16(b, s.get("doff", 5) << 12 | 0x10);
		put16(b, 1000);
		put32(b, 0);
	} else if (s.kind == "udp") {
		*proto = 17;
		put16(b, s.src.port);
		put16(b, s.dst.port);
		put16(b, 8 + s.get("payload", 0));
		put16(b, 0);
	} else if (s.kind == "icmp") {
		*proto = v6 ? 58 : 1;
		b.push_back(s.get("type", v6 ? 128 : 8));
		b.push_back(s.get("code", 0));
		put16(b, 0);
		put32(b, 0x12340001);
	} else if (s.kind == "nd") {
		*proto = 58;
		return build_nd(s);
	} else if (s.kind == "icmp-error") {
		*proto = v6 ? 58 : 1;
		b.push_back(s.get("type", v6 ? 1 : 3));
		b.push_back(s.get("code", 0));
		put16(b, 0);
		put32(b, 0);
		Bytes q = build_ip(parse_spec(s.quote));
		q.resize(std::min<size_t>(q.size(), s.get("qcut", q.size())));
		put(b, q);
	} else if (s.kind != "ip") {
		bad("unknown kind of packet: " + s.kind);
	}
	if (s.get("frag", 0))
		b.clear();
	b.resize(b.size() + s.get("payload", s.get("frag", 0) ? 16 : 0));
	return b;
}

static Bytes build_ipv4(const Spec &s)
{
	unsigned proto = 0, opts = s.get("opts", 0), hlen = 20 + opts;
	Bytes l4 = build_l4(s, &proto), b;

	b.push_back(s.get("version", 4) << 4 | s.get("ihl", hlen / 4));
	b.push_back(0);
	put16(b, s.get("iplen", hlen + l4.size()));
	put16(b, s.get("id", 7));
	put16(b, (s.has("mf") ? 0x2000 : 0) | s.get("frag", 0));
	b.push_back(64);
	b.push_back(s.get("proto", proto));
	put16(b, 0);
	put_addr(b, s.src);
	put_addr(b, s.dst);
	b.resize(b.size() + opts, 1);
	put(b, l4);
	return b;
}

// Extension headers, first to last, each of 8 bytes: hbh dst rt frag.
static Bytes build_ext(const Spec &s, unsigned proto, unsigned *first)
{
	static const std::map<std::string, unsigned> number_of = {
		{"hbh", 0}, {"dst", 60}, {"rt", 43}, {"frag", 44}};
	auto it = s.opt.find("ext");
	std::vector<unsigned> chain;
	Bytes b;

	if (it != s.opt.end()) {
		std::string list = it->second;

		std::replace(list.begin(), list.end(), ',', ' ');
		for (auto &name : split(list))
			chain.push_back(number_of.at(name));
	}
	*first = chain.empty() ? proto : chain[0];
	for (size_t i = 0; i < chain.size(); i++) {
		b.push_back(i + 1 < chain.size() ? chain[i + 1] : proto);
		b.push_back(chain[i] == 44 ? 0 : s.get("extlen", 0));
		if (chain[i] == 44) {
			put16(b, s.get("frag", 0) << 3 | s.has("mf"));
			put32(b, s.get("id", 7));
		} else {
			b.resize(b.size() + 6);
		}
	}
	return b;
}

static Bytes build_ipv6(const Spec &s)
{
	unsigned proto = 0, first;
	Bytes l4 = build_l4(s, &proto), b;
	Bytes ext = build_ext(s, s.get("proto", proto), &first);

	put32(b, s.get("version", 6) << 28);
	put16(b, s.get("iplen", ext.size() + l4.size()));
	b.push_back(first);
	b.push_back(64);
	put_addr(b, s.src);
	put_addr(b, s.dst);
	put(b, ext);
	put(b, l4);
	return b;
}

static Bytes build_ip(const Spec &s)
{
	if (s.src.family != s.dst.family)
		bad("addresses of two families");
	return s.src.family == DIP_INET ? build_ipv4(s) : build_ipv6(s);
}

// ARP: sender is SRC, target is DST.
static Bytes build_arp(const Spec &s, const std::array<uint8_t, 6> &sender)
{
	Bytes b;

	put16(b, 1);
	put16(b, 0x0800);
	b.push_back(s.get("hlen", 6));
	b.push_back(4);
	put16(b, s.get("op", 1));
	b.insert(b.end(), sender.begin(), sender.end());
	put_addr(b, s.src);
	b.resize(b.size() + 6);
	put_addr(b, s.dst);
	return b;
}

static Bytes hex(const std::string &text)
{
	std::string s;
	Bytes b;

	for (char c : text)
		if (!isspace(c))
			s += c;
	if (s.size() % 2)
		bad("odd number of hex digits");
	for (size_t i = 0; i < s.size(); i += 2)
		b.push_back(number("0x" + s.substr(i, 2)));
	return b;
}

static std::string option(const Spec &s, const std::string &k, const std::string &dflt)
{
	auto i = s.opt.find(k);

	return i == s.opt.end() ? dflt : i->second;
}

Bytes build_frame(const std::string &text)
{
	if (text.rfind("hex ", 0) == 0)
		return hex(text.substr(4));

	Spec s = parse_spec(text);
	auto dmac = mac(option(s, "dmac", "03:53:53:49:00:64"));
	auto smac = mac(option(s, "smac", "02:00:00:00:00:fa"));
	auto tags = s.opt.equal_range("vlan");
	bool arp = s.kind == "arp";
	Bytes b;

	b.insert(b.end(), dmac.begin(), dmac.end());
	b.insert(b.end(), smac.begin(), smac.end());
	for (auto t = tags.first; t != tags.second; ++t) {
		put16(b, std::next(t) == tags.second ? 0x8100 : 0x88a8);
		put16(b, number(t->second));
	}
	put16(b, s.get("ether", arp ? 0x0806 : s.src.family == DIP_INET ? 0x0800 : 0x86dd));
	put(b, arp ? build_arp(s, smac) : build_ip(s));
	b.resize(b.size() + s.get("pad", 0));
	if (s.has("cut"))
		b.resize(std::min<size_t>(b.size(), s.get("cut", 0)));
	return b;
}

// ---- tables ----

World::World(unsigned flow_bits) : conf_(sizeof(dip_conf) / 8), ports_(DIP_SLOTS), flows_(1u << flow_bits)
{
	mem.conf = reinterpret_cast<dip_conf *>(conf_.data());
	mem.ports = reinterpret_cast<dip_slot *>(ports_.data());
	mem.flows = flows_.data();
	mem.flow_mask = (1u << flow_bits) - 1;
}

struct dip_tables World::view() const
{
	return {mem.conf, mem.ports, mem.flows, mem.flow_mask};
}

static unsigned vip_index(const dip_mem *m, const std::string &s)
{
	Addr a = address(s);
	int i = dip_vip_get(m, a.family, &a.a, nullptr);

	if (i < 0)
		bad("no such VIP: " + s);
	return i;
}

static void set_home(dip_mem *m, const Words &w)
{
	unsigned slot;
	uint16_t node = number(w.back());

	if (w[1] == "icmp") {
		Addr a = address(w[2]);

		slot = dip_home_hash_addr(a.family, &a.a);
	} else if (w[1] == "proto") {
		slot = dip_home_hash(number(w[2]), 0);
	} else {
		slot = dip_home_hash(w[1] == "udp" ? 17 : 6, number(w[2]));
	}
	m->conf->homes[slot] = node;
}

static void set_flow(dip_mem *m, const Words &w)
{
	static const std::map<std::string, dip_flow_state> states = {
		{"node", DIP_FLOW_NODE}, {"hold", DIP_FLOW_HOLD}, {"drop", DIP_FLOW_DROP}};
	Addr remote = address(w.at(4));
	dip_flow_spec f{};

	f.vip = vip_index(m, w.at(1));
	f.udp = w.at(2) == "udp";
	f.lport = number(w.at(3));
	f.family = remote.family;
	f.raddr = remote.a;
	f.rport = remote.port;
	if (dip_flow_put(m, &f, states.at(w.at(5)), w.size() > 6 ? number(w[6]) : 0))
		bad("flow does not fit");
}

static void apply(dip_mem *m, const std::string &line)
{
	Words w = split(line);
	auto arg = [&](size_t i) -> const std::string & { return w.at(i); };
	const std::string &cmd = arg(0);

	if (cmd == "self") {
		dip_tables_set_self(m, number(arg(1)));
	} else if (cmd == "vip") {
		Addr a = address(arg(1));
		dip_vip_spec s{};
		auto x = mac(arg(2));

		s.family = a.family;
		s.addr = a.a;
		s.ifindex = 1;
		std::copy(x.begin(), x.end(), s.mac);
		if (dip_vip_add(m, &s) < 0)
			bad("vip does not fit");
	} else if (cmd == "homes") {
		std::fill_n(m->conf->homes, DIP_HOMES, number(arg(1)));
	} else if (cmd == "home") {
		set_home(m, w);
	} else if (cmd == "peer") {
		if (dip_peer_set(m, number(arg(1)), mac(arg(2)).data()))
			bad("peer does not fit");
	} else if (cmd == "own") {
		dip_slot_own(m, vip_index(m, arg(1)), arg(2) == "udp", number(arg(3)), number(arg(4)), 1,
			     w.size() > 5 && w[5] == "releasing");
	} else if (cmd == "lease" && w.size() > 4) {
		dip_slot_lease(m, vip_index(m, arg(1)), arg(2) == "udp", number(arg(3)), number(arg(4)));
	} else if (cmd == "move") {
		dip_slot_hold(m, vip_index(m, arg(1)), arg(2) == "udp", number(arg(3)), number(arg(4)),
			      number(arg(5)), 1);
	} else if (cmd == "flow") {
		set_flow(m, w);
	} else if (cmd == "queue") {
		dip_tables_set_hold(m, number(arg(1)));
	} else if (cmd != "lease") {
		bad("unknown line of tables: " + line);
	}
}

void setup(dip_mem *m, const Vector &v)
{
	for (auto &line : v.tables)
		apply(m, line);
}

// ---- files ----

static void expect(Step &s, const Words &w)
{
	s.verdict = by_name(verdicts, DIP_VERDICT_COUNT, w.at(1));
	s.reason = reason_by_name(w.at(2));
	s.node = w.size() > 3 ? (int)number(w[3]) : -1;
}

static Step step_of(const std::string &line, const Words &w, int no)
{
	Step s;

	s.line = no;
	s.text = line;
	s.dir = w[0] == "out" ? DIP_OUT : DIP_IN;
	s.released = w[0] == "released";
	s.frame = build_frame(line.substr(line.find(w[0]) + w[0].size() + 1));
	return s;
}

struct Reader {
	std::vector<Vector> all;
	std::map<std::string, Words> named; // tables by name
	Words *tables = nullptr;

	void line(const std::string &file, const std::string &text, int no)
	{
		Words w = split(text);

		if (w.empty() || w[0][0] == '#')
			return;
		if (w[0] == "tables") {
			tables = &named[w.at(1)];
			if (w.size() > 2)
				*tables = named.at(w[2]);
		} else if (w[0] == "test") {
			Vector v;

			v.file = file;
			v.line = no;
			v.tables = named.at(w.at(1));
			v.name = text.substr(text.find(w[1]) + w[1].size() + 1);
			v.lease = std::find(v.tables.begin(), v.tables.end(), "lease none") == v.tables.end();
			all.push_back(v);
			tables = nullptr;
		} else if (tables) {
			size_t b = text.find_first_not_of(" \t"), e = text.find_last_not_of(" \t");

			tables->push_back(text.substr(b, e - b + 1));
		} else if (w[0] == "in" || w[0] == "out" || w[0] == "released") {
			all.back().steps.push_back(step_of(text, w, no));
		} else if (w[0] == "=>") {
			expect(all.back().steps.back(), w);
		} else {
			bad("unknown line: " + text);
		}
	}
};

std::vector<Vector> load_all()
{
	const char *top = getenv("TEST_TOP");
	Reader r;

	for (const char *name : {"ipv4", "ipv6", "malformed", "arp", "nd"}) {
		std::string file = std::string(top ? top : ".") + "/tests/unit/vectors/" + name + ".txt";
		std::ifstream in(file);
		std::string text;
		int no = 0;

		if (!in)
			bad(file + ": cannot be read");
		while (std::getline(in, text)) {
			no++;
			try {
				r.line(file, text, no);
			} catch (const std::exception &e) {
				bad(file + ":" + std::to_string(no) + ": " + e.what());
			}
		}
	}
	return r.all;
}

// ---- adapter ----

static std::string frag_key(const dip_flow &f)
{
	std::string k(reinterpret_cast<const char *>(&f.raddr), 32);

	return k + std::to_string(f.frag_id) + "/" + std::to_string(f.family == DIP_INET ? f.proto : 0);
}

dip_result Adapter::decide(const struct dip_tables &t, dip_dir dir, const uint8_t *frame, size_t len,
			   uint64_t now, dip_flow *out)
{
	// a copy of exactly this size, so that reading past its end is seen
	Bytes exact(frame, frame + len);
	dip_flow f{};
	dip_result r;

	dip_parse(&f, exact.data(), exact.data() + len, len, dir);
	if (f.flags & DIP_F_LATER && dir == DIP_IN) {
		auto known = frags_.find(frag_key(f));

		if (known != frags_.end()) {
			f.frag_known = 1 + known->second.verdict;
			f.frag_node = known->second.node;
		}
	}
	r = dir == DIP_IN ? dip_steer(&t, &f, now) : dip_egress(&t, &f, now);
	if ((f.flags & (DIP_F_FRAG | DIP_F_LATER)) == DIP_F_FRAG && r.verdict != DIP_PASS && dir == DIP_IN)
		frags_[frag_key(f)] = r;
	if (out)
		*out = f;
	return r;
}

} // namespace steer
