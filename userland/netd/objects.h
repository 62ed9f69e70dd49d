/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The typed objects of netd's KDDM sets: keys and values as they stand in the
 * log and on the wire. Little endian, fixed width, no pointers. A value may
 * grow at its end only: a reader takes what it knows of a longer value and
 * sees zeros behind a shorter one (object_read()).
 * The set `nodes` belongs to member.h.
 */
#ifndef SSI_OBJECTS_H
#define SSI_OBJECTS_H

#include <assert.h>
#include <stdint.h>

#include "kddm.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "objects are little endian");

enum object_type {
	OBJECT_NODES = 1,
	OBJECT_CONF = 2,
	OBJECT_TOKENS = 3,
	OBJECT_VIPS = 16,
	OBJECT_PORTS = 17,
	OBJECT_APPS = 18,
	OBJECT_MOVES = 19,
	OBJECT_BLOCKS = 20,
	OBJECT_FLOWS = 21,
};

#define APP_NAME_MAX  64 /* NUL included */
#define NODE_NAME_MAX 64 /* NUL included */

/* vips: owner 0 (a VIP belongs to the cluster). */
struct vip_key {
	uint8_t family; /* 4 or 6 */
	uint8_t pad[3];
	uint8_t addr[16]; /* IPv4 in the first four bytes */
};

enum vip_mode { VIP_AUTO, VIP_SHARED, VIP_FRONT };

struct vip_value {
	uint8_t index; /* row of the port table, 0..15 */
	uint8_t prefix;
	uint8_t mode;	  /* enum vip_mode */
	uint8_t datapath; /* 0 ebpf, 1 netfilter */
	uint8_t mac[6];
	uint8_t pad[6];
	uint64_t since_ms; /* Unix time */
	char devs[256];	   /* "eth1" or "n1:eth1,n2:eth2,eth0"; "" = by address */
};

/* ports: one claim; owner = the node that answers. */
#define PORT_VIP_LOCAL 0xff /* not on a VIP: a loopback listener, for display */

struct port_key {
	uint8_t vip;   /* vip_value.index or PORT_VIP_LOCAL */
	uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port; /* host order */
	uint16_t node; /* PORT_VIP_LOCAL: whose loopback; else 0 */
	uint16_t pad;
};

enum port_state { PORT_OWNED = 1, PORT_HOLD = 2 };
#define PORT_PINNED 0x01 /* by `netctl port add`, not by a socket; without owner while `node` is dead */
#define PORT_SOURCE 0x02 /* the application calls from there, and moved */

struct port_value {
	uint16_t node; /* equals the object's owner, see PORT_PINNED */
	uint16_t next; /* PORT_HOLD: the node the port moves to */
	uint8_t state; /* enum port_state */
	uint8_t flags;
	uint16_t share;	 /* weight in a group, 0 none */
	uint32_t pid;	 /* on `node`, in its first pid namespace */
	uint8_t addr[4]; /* IPv4 address of the listener; zero: all */
	uint64_t since_ms;
	char comm[16];
	char app[APP_NAME_MAX]; /* "" when pinned */
	uint8_t addr6[16];	/* IPv6 address of the listener; zero: all */
};

/* apps: key is the name without NUL; owner = the node it runs on. */
enum app_state { APP_STARTING = 1, APP_RUNNING = 2, APP_MOVING = 3 };
#define APP_DETACHED 0x01
#define APP_STANDBY  0x02 /* started by a --standby supervisor */
#define APP_FROZEN   0x04 /* APP_RUNNING, but stands still by `netctl freeze` */

struct app_value {
	uint16_t node;
	uint16_t origin; /* node whose ssi-run started it */
	uint8_t state;
	uint8_t flags;
	uint8_t pad[2];
	uint32_t pid; /* of the application's root process on `node` */
	uint32_t uid;
	uint64_t since_ms;
	char cmd[256]; /* shortened, for display */
};

/*
 * moves: key is the application's name; owner = source node. There is a record
 * from "prepared" until the source has cleaned up; its step decides who may run
 * the application:
 *   PREPARED, IMAGE_COMPLETE   the source (frozen or running)
 *   FLIPPED                    the target
 *   ABORTED                    the source
 */
enum move_step { MOVE_PREPARED = 1, MOVE_IMAGE_COMPLETE, MOVE_FLIPPED, MOVE_ABORTED };

struct move_value {
	uint64_t id; /* unique, chosen by the source */
	uint16_t src, dst;
	uint8_t step;
	uint8_t round;	    /* while it is prepared: the last that was sent */
	uint16_t round_mib; /* and how much that was */
	uint64_t since_ms;
	char reason[160]; /* why aborted */
};

/*
 * blocks: source ports. Key: which BLOCK_PORTS of them (number * BLOCK_PORTS and on), of TCP and UDP and on
 * all cluster addresses; owner = the node that has leased them. Ports that somebody has a claim for
 * (set `ports`) are left out, whoever has the block.
 */
#define BLOCK_PORTS 64
#define BLOCKS	    (65536 / BLOCK_PORTS)

struct block_key {
	uint32_t number; /* below BLOCKS */
};

struct block_value {
	uint16_t node; /* equals the object's owner */
	uint8_t pad[6];
	uint64_t since_ms; /* Unix time */
};

/*
 * flows: a TCP connection that stays with the node that has its socket while the port belongs to another: no program
 * has it any more, so it did not move. Owner = that node.
 */
struct flow_key {
	uint8_t vip;	       /* vip_value.index */
	uint8_t family;	       /* 4 or 6 */
	uint16_t lport, rport; /* of the VIP, of the peer; host order */
	uint16_t pad;
	uint8_t raddr[16]; /* the peer; IPv4 in the first four bytes */
};

struct flow_value {
	uint16_t node; /* equals the object's owner; 0: kept for a checkpoint, nobody answers */
	uint8_t pad[6];
	uint64_t since_ms;	/* Unix time */
	char app[APP_NAME_MAX]; /* whose it was */
	uint64_t until_ms;	/* kept: Unix time */
};

/* Copy a value of any version into *dst, zero-filled. */
void object_read(const struct kddm_object *obj, void *dst, size_t size);

struct objects {
	struct kddm_set *vips, *ports, *apps, *moves, *blocks, *flows;
};
/* Register these sets with their rules on death. Before kddm_start(). */
int objects_register(struct kddm *k, struct objects *out);

#endif
