/* SPDX-License-Identifier: GPL-2.0 */
// What the tests of ssi_core share: frames to held ports, and processes that are somebody else.
#ifndef SSI_TESTS_HOLD_FRAME_H
#define SSI_TESTS_HOLD_FRAME_H

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>

#define VIP4 "10.77.0.100"
#define VIP6 "fd77::100"

struct Key {
	const char *addr = VIP4;
	uint8_t proto = IPPROTO_TCP;
	uint16_t port = 80;
};

struct Frame {
	Key to;
	const char *from = "192.0.2.9";
	uint16_t sport = 40000;
	uint32_t seq = 1;
	size_t payload = 100;
	bool syn = false;
	uint16_t frag_off = 0;
};

static void put(std::string &out, const void *p, size_t n)
{
	out.append((const char *)p, n);
}

static std::string transport(const Frame &f)
{
	std::string out;

	if (f.to.proto == IPPROTO_UDP) {
		udphdr u = {};
		u.source = htons(f.sport);
		u.dest = htons(f.to.port);
		u.len = htons(sizeof(u) + f.payload);
		put(out, &u, sizeof(u));
	} else {
		tcphdr t = {};
		t.source = htons(f.sport);
		t.dest = htons(f.to.port);
		t.seq = htonl(f.seq);
		t.doff = 5;
		t.ack = 1;
		t.syn = f.syn;
		put(out, &t, sizeof(t));
	}
	out.append(f.payload, 'x');
	return out;
}

static std::string frame(const Frame &f)
{
	std::string l4 = transport(f), out("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	bool v6 = strchr(f.to.addr, ':');
	uint16_t type = htons(v6 ? ETH_P_IPV6 : ETH_P_IP);

	put(out, &type, 2);
	if (v6) {
		ip6_hdr h = {};
		h.ip6_vfc = 0x60;
		h.ip6_plen = htons(l4.size());
		h.ip6_nxt = f.to.proto;
		inet_pton(AF_INET6, "2001:db8::9", &h.ip6_src);
		inet_pton(AF_INET6, f.to.addr, &h.ip6_dst);
		put(out, &h, sizeof(h));
	} else {
		iphdr h = {};
		h.version = 4;
		h.ihl = 5;
		h.tot_len = htons(sizeof(h) + l4.size());
		h.frag_off = htons(f.frag_off);
		h.protocol = f.to.proto;
		inet_pton(AF_INET, f.from, &h.saddr);
		inet_pton(AF_INET, f.to.addr, &h.daddr);
		put(out, &h, sizeof(h));
	}
	return out + l4;
}

// In a process of its own, which ends with what `fn` says: 0, or it failed.
static inline void in_child(const std::function<int()> &fn)
{
	pid_t pid = fork();
	int status = 0;

	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(fn());
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

#endif
