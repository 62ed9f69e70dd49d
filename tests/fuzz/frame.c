// SPDX-License-Identifier: GPL-2.0
/*
 * Frames from the network, as the data path sees them: the parser and the decision, the XDP program around them
 * (which must come to the same), the hold queue's and the address probe's own reading of frames. Each frame ends
 * where its memory does. The first byte says what the tables know.
 */
#include <linux/bpf.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <ssi/dip_steer.h>

#include "userland/lib/dip_tables.h"

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline	__attribute__((noinline))

/* What dip_maps.h and dip_trace.h give to the programs. */
#define SSI_BPF_DIP_MAPS_H
#define SSI_BPF_DIP_TRACE_H
#define DIP_WHERE_XDP	     0
#define TRACE_WHAT(r, where) 0
#define trace_on(conf)	     0
#define trace_xdp(...)
static struct dip_mem mem;
static __u64 now = 1000;
static unsigned int counted;

static struct dip_tables dip_tables(void)
{
	return (struct dip_tables){mem.conf, mem.ports, mem.flows, mem.flow_mask};
}

static void dip_count(enum dip_dir dir, __u32 reason, __u32 vip)
{
	counted = reason;
}

static __u64 bpf_jiffies64(void)
{
	return now;
}

#include "bpf/dip_xdp.h"
#include "userland/netd/hold_tap.c"
#include "userland/netd/vips_frame.h"

void hold_device_quiet(void)
{
}

#define FLOWS 16

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void add_vip(const char *text, int shared)
{
	struct dip_vip_spec s = {.mac = {shared ? 3 : 2, 0x53, 0x53, 0x49, 0, 0x64}, .ifindex = 1};
	struct ipaddr a;

	expect(ipaddr_parse(text, &a));
	s.family = a.family;
	s.addr = ipaddr_dip(&a);
	expect(dip_vip_add(&mem, &s) >= 0);
}

/* Ports below 64 in all states, on all addresses. */
static void fill_tables(void)
{
	static const uint16_t live[] = {1, 2, 3};

	for (unsigned int vip = 0; vip < 4; vip++) {
		for (unsigned int port = 0; port < 64; port++) {
			if (port % 4 == 1)
				dip_slot_own(&mem, vip, port & 8, port, 1 + port % 3, 1, port & 16);
			else if (port % 4 == 2)
				dip_slot_hold(&mem, vip, port & 8, port, 1 + port % 3, 1 + port / 4 % 3, 1);
		}
	}
	dip_homes_set(&mem, live, 3);
	dip_tables_set_hold(&mem, 1);
}

static void make_tables(void)
{
	if (mem.conf)
		return;
	mem.conf = calloc(1, sizeof(*mem.conf));
	mem.ports = calloc(DIP_SLOTS, sizeof(*mem.ports));
	mem.flows = calloc(FLOWS, sizeof(*mem.flows));
	mem.flow_mask = FLOWS - 1;
	expect(mem.conf && mem.ports && mem.flows && !dip_tables_init(&mem, 2));
	add_vip("10.77.0.100", 1);
	add_vip("fd77::100", 1);
	add_vip("10.77.0.101", 0);
	add_vip("fd77::101", 0);
	fill_tables();
}

/* A copy at whose end nothing can be read, where a program's context can point to: below 4 GB. */
static uint8_t *at_the_edge(const uint8_t *data, size_t size)
{
	static uint8_t *room;
	static const size_t page = 4096, pages = 17;

	if (!room) {
		room = mmap(NULL, (pages + 1) * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		expect(room != MAP_FAILED && !mprotect(room + pages * page, page, PROT_NONE));
	}
	return memcpy(room + pages * page - size, data, size);
}

static struct dip_result decide(const uint8_t *frame, size_t size, enum dip_dir dir, struct dip_flow *f)
{
	struct dip_tables t = dip_tables();
	struct dip_result r;

	*f = (struct dip_flow){0};
	dip_parse(f, frame, frame + size, size, dir);
	r = dir == DIP_IN ? dip_steer(&t, f, now) : dip_egress(&t, f, now);
	expect(r.verdict < DIP_VERDICT_COUNT && r.reason < DIP_REASON_COUNT && r.reason != DIP_R_NONE);
	return r;
}

/* XDP drops what is another node's, for the same reason, and leaves the rest to tc. */
static void same_by_xdp(const uint8_t *frame, size_t size, const struct dip_flow *f, struct dip_result r)
{
	struct xdp_md ctx = {.data = (__u32)(uintptr_t)frame, .data_end = (__u32)(uintptr_t)(frame + size)};
	bool drops = r.verdict == DIP_DROP && !(f->flags & DIP_F_FRAG) && r.reason != f->malformed;

	counted = DIP_R_NONE;
	expect(xdp_steer(&ctx) == (drops ? XDP_DROP : XDP_PASS));
	expect(counted == (drops ? r.reason : DIP_R_NONE));
}

/* What is held finds its port's queue. */
static void same_by_queue(const uint8_t *frame, size_t size, const struct dip_flow *f, struct dip_result r)
{
	bool known, tagged = frame[12] == 0x81 || (frame[12] == 0x88 && frame[13] == 0xa8);
	struct frame probe = {};
	struct hold_key key;

	known = classify(frame, size, &key, &probe);
	if (r.verdict != DIP_HOLD || tagged || f->flags & (DIP_F_LATER | DIP_F_ERROR))
		return;
	expect(known && key.proto == f->proto && key.port == ntohs(f->lport) &&
	       key.addr.family == f->family && !memcmp(key.addr.addr, &f->laddr, ipaddr_len(&key.addr)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ipaddr addr[2] = {{DIP_INET, {10, 77, 0, 100}},
					      {DIP_INET6, {0xfd, 0x77, [14] = 1}}};
	struct dip_result r;
	struct dip_flow f;
	uint8_t *frame;

	if (size < 2 || size > 65536)
		return 0;
	make_tables();
	dip_lease_set(&mem, data[0] & 1 ? 0 : 2000);
	dip_tables_set_self(&mem, 1 + (data[0] >> 1 & 3));
	frame = at_the_edge(data + 1, --size);
	r = decide(frame, size, DIP_OUT, &f);
	expect(r.verdict != DIP_HOLD && r.verdict != DIP_FORWARD);
	r = decide(frame, size, DIP_IN, &f);
	same_by_xdp(frame, size, &f, r);
	if (size >= ETH_HLEN)
		same_by_queue(frame, size, &f, r);
	for (int i = 0; i < 2; i++)
		vips_frame_says(frame, size, &addr[i]);
	return 0;
}
