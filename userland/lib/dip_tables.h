/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The writer's side of <ssi/dip.h>: netd changes the tables through these.
 * Pure functions on plain memory: no BPF here (dip_bpf.h maps the memory).
 * One writer; callers serialise.  Readers may run at any time.
 * Errors are negative errno; on failure nothing was changed.
 */
#ifndef SSI_DIP_TABLES_H
#define SSI_DIP_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ssi/dip.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The three tables, wherever they lie. */
struct dip_mem {
	struct dip_conf *conf;
	struct dip_slot *ports; /* DIP_SLOTS of them */
	struct dip_bucket *flows;
	uint32_t flow_mask; /* number of buckets - 1 */
	/* waits until no reader is left in what was unpublished; may be NULL */
	void (*grace)(void);
};

/* A VIP as netd knows it.  mac is in wire order. */
struct dip_vip_spec {
	uint8_t family; /* DIP_INET, DIP_INET6 */
	union dip_addr addr;
	uint8_t mac[6];
	uint32_t ifindex;
};

/* An exact flow; ports in host order. */
struct dip_flow_spec {
	uint8_t vip; /* index */
	bool udp;
	uint8_t family;
	union dip_addr raddr; /* the client */
	uint16_t rport, lport;
};

/* Fresh tables: writes abi, secrets, self; no lease, no VIP, nobody alive. */
int dip_tables_init(struct dip_mem *m, uint16_t self);
/* 0 when the memory holds tables of this ABI (written by an earlier netd). */
int dip_tables_check(const struct dip_mem *m);
void dip_tables_set_self(struct dip_mem *m, uint16_t self);
void dip_tables_set_hold(struct dip_mem *m, uint32_t tap_ifindex);
void dip_tables_set_netns(struct dip_mem *m, uint64_t cookie);

/* jiffies64 at which the lease ends; 0: none. */
void dip_lease_set(struct dip_mem *m, uint64_t expiry_jiffies);
uint64_t dip_lease_get(const struct dip_mem *m);

/*
 * Expose a VIP.  Returns its index (0..15); the same index when it stood
 * already (mac and ifindex are brought up to date).  -ENOSPC, -EINVAL.
 * All ports of a new VIP are FREE.
 */
int dip_vip_add(struct dip_mem *m, const struct dip_vip_spec *spec);
int dip_vip_del(struct dip_mem *m, uint8_t family, const union dip_addr *addr);
/* Index of a VIP or -ENOENT; *out may be NULL. */
int dip_vip_get(const struct dip_mem *m, uint8_t family, const union dip_addr *addr, struct dip_vip *out);
/* The VIP of an index; -ENOENT when none has it. */
int dip_vip_at(const struct dip_mem *m, unsigned int index, struct dip_vip *out);

/* Port slots: one 64-bit load, one 64-bit store. */
struct dip_slot dip_slot_get(const struct dip_mem *m, unsigned int vip, bool udp, uint16_t port);
void dip_slot_set(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, struct dip_slot slot);
/* Sets what names; EXCEPTIONS is kept as it stands, epoch is the caller's. */
void dip_slot_free(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port);
void dip_slot_own(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, uint16_t owner,
		  uint16_t epoch, bool releasing);
/* A source port of `owner`'s. */
void dip_slot_lease(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, uint16_t owner);
void dip_slot_hold(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port, uint16_t owner,
		   uint16_t next, uint16_t epoch);

/*
 * Homes by rendezvous hashing: every node that is given the same set computes
 * the same table.  Only entries that change are written.
 */
void dip_homes_set(struct dip_mem *m, const uint16_t *live, size_t n);
/* The home of a port (host order) and of echo requests from addr; 0: nobody. */
uint16_t dip_home_port(const struct dip_mem *m, bool udp, uint16_t port);
uint16_t dip_home_icmp(const struct dip_mem *m, uint8_t family, const union dip_addr *raddr);

/* MAC of a peer, this node too (NULL: forget).  -ENOSPC: cannot be indexed. */
int dip_peer_set(struct dip_mem *m, uint16_t node, const uint8_t mac[6]);
int dip_peer_get(const struct dip_mem *m, uint16_t node, uint8_t mac[6]);

/*
 * Exact-flow exceptions.  put adds or changes; the EXCEPTIONS flag of the port
 * is set with the first and is the caller's to clear (dip_flow_count).
 * -ENOSPC: table full.
 */
int dip_flow_put(struct dip_mem *m, const struct dip_flow_spec *f, enum dip_flow_state state, uint16_t node);
int dip_flow_del(struct dip_mem *m, const struct dip_flow_spec *f);
int dip_flow_get(const struct dip_mem *m, const struct dip_flow_spec *f, enum dip_flow_state *state,
		 uint16_t *node);
/* Remove all flows of a port and its EXCEPTIONS flag; returns how many. */
size_t dip_flow_flush(struct dip_mem *m, unsigned int vip, bool udp, uint16_t port);
size_t dip_flow_count(const struct dip_mem *m);
/* Calls fn for every flow (IPv6 addresses are digests: raddr is zero there). */
void dip_flow_each(const struct dip_mem *m,
		   void (*fn)(const struct dip_flow_spec *f, enum dip_flow_state state, uint16_t node,
			      void *arg),
		   void *arg);

#ifdef __cplusplus
}
#endif
#endif /* SSI_DIP_TABLES_H */
