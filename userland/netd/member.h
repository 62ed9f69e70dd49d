/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Membership of this node: the cluster's life cycle, its nodes, lease and
 * death. Owns the KDDM engine, the connections between nodes and the state on
 * disk (STATE_DIR/identity, STATE_DIR/raft, the key file).
 *
 * Order of use:
 *   member_new()                 idle; then register sets (kddm_set_register),
 *                                peer handlers, linkers
 *   member_boot()                rejoin when this machine belongs to a cluster,
 *                                else 0 and still idle
 *   member_init / _join / _leave from the control socket, answers later
 *   member_stop()                at the end
 * One thread: the loop's. Callbacks come from the loop, never from within a
 * call of this header.
 */
#ifndef SSI_MEMBER_H
#define SSI_MEMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "kddm.h"
#include "nodes.h"
#include "peer.h"

struct member;

enum member_status {
	MEMBER_IDLE,	/* no cluster: exit code 4 */
	MEMBER_JOINING, /* on the way in or catching up after a start */
	MEMBER_LIVE,	/* holds a lease */
	MEMBER_FENCED,	/* no lease: cut off or no quorum: exit code 3 */
};

struct member_events {
	/*
	 * The lease runs until `expiry_ns` (CLOCK_MONOTONIC); called on each
	 * renewal, and with 0 when it is given up (leaving).
	 */
	void (*lease)(void *arg, uint64_t expiry_ns);
	/*
	 * Caught up with the cluster after start, join or return: the sets can be
	 * trusted; before, they show the past. Make tables agree with them now.
	 */
	void (*ready)(void *arg);
	/*
	 * This life was declared dead: what it owned belongs to others. Destroy
	 * its VIP sockets and claims before returning; afterwards the node comes
	 * back by itself as a new life (then `ready` again).
	 */
	void (*fenced)(void *arg);
	/* status changed; for display and events */
	void (*status)(void *arg, enum member_status status);
	/*
	 * What the cluster has done does not reach this node, its sets show the past,
	 * though its lease goes on: its disk does not take the log. And the end of that.
	 */
	void (*behind)(void *arg, bool behind);
	/* Start this program anew: what it is in the cluster has changed on disk. */
	void (*restart)(void *arg);
};

struct member_params {
	uv_loop_t *loop;
	const char *state_dir; /* /var/lib/netssi */
	const char *key_path;  /* /etc/netssi/key */
	const char *run_dir;   /* /run/netssi: what lasts as long as the boot */
	bool insecure;	       /* clear text, for tests */
	const struct member_events *events;
	void *arg;
	unsigned int election_ms; /* 0: by the lease */
};

int member_new(const struct member_params *p, struct member **out);
void member_free(struct member *m); /* after member_stop() */
struct kddm *member_kddm(struct member *m);
struct peers *member_peers(struct member *m);

/* What is told about a failed call: one clear line and the remedy. */
struct member_error {
	int code; /* exit code of the tool: 1, 2, 3, 4 */
	char text[256];
	char remedy[160];
};
/* `error` is NULL on success. Called exactly once. */
typedef void member_done_fn(void *arg, const struct member_error *error);

/* 0, or a negative errno after a log line; the node then stays idle. */
int member_boot(struct member *m);

/* How this machine takes part; strings may be NULL or "". Kept on disk. */
struct member_machine {
	const char *name;      /* NULL: host name */
	const char *address;   /* "IP" of the cluster interface; NULL: found by route */
	const char *bearer;    /* interface; with transport tipc its TIPC bearer */
	const char *transport; /* "tcp", "tipc", or NULL/"auto" (init only): tipc where
				* a bearer is named and the kernel has TIPC, else tcp */
	uint16_t port;	       /* TCP port, 0: 7946 */
	bool witness;	       /* join only: votes, and nothing else */
};
/* A new cluster of this node. `nodes_min`: 0 or the number of nodes that must
 * be up before `status` calls the cluster healthy. */
void member_init(struct member *m, const struct member_machine *machine, unsigned int nodes_min,
		 member_done_fn *done, void *arg);
/* Enter the cluster that the node at `peer` ("IP[:PORT]") belongs to. `secret` is the
 * content of a token file or of a key file. Success means: caught up and live. */
void member_join(struct member *m, const struct member_machine *machine, const char *peer, const char *secret,
		 member_done_fn *done, void *arg);
/* Take a node (0: this one) out for good. With `force` also one that is up but
 * cannot be asked; without, another node must be dead or ask for itself. */
void member_leave(struct member *m, uint32_t node, bool force, member_done_fn *done, void *arg);
/*
 * Rebuild the cluster from this node's copy when most voters are lost for good.
 * Without `force` only an error that names the risk. `names`: those given up,
 * those that answered and join anew; valid during the call. netd then restarts.
 */
typedef void member_recover_fn(void *arg, const struct member_error *error, json_t *given_up,
			       json_t *rejoining);
void member_recover(struct member *m, bool force, member_recover_fn *done, void *arg);
/* A token for `netctl join`, one line without newline. 0, -ENOTCONN, -ENOTSUP (insecure). */
int member_token(struct member *m, unsigned int ttl_s, char *out, size_t size);
/* Is the content of a token or key file of this cluster: of its key, or the one before? A token: of the present one,
 * whether it has ended or not. */
bool member_secret_ours(struct member *m, const char *text);

/*
 * A new key for the cluster; for `overlap_s` seconds the present one is good, too, so
 * that nodes that are away can come back (0: it opens nothing from then on). Success: every node that is up has it, but
 * for those that member_key_info() names.
 */
void member_key_rotate(struct member *m, unsigned int overlap_s, member_done_fn *done, void *arg);

struct member_key {
	char name[17];		     /* says nothing about the key; "" clear text */
	unsigned int generation;     /* rotations, the first key is 1; 0 unknown */
	uint64_t old_until_ms;	     /* Unix time until when the one before is good; 0 none is */
	uint32_t without[NODES_MAX]; /* members that are not known to have it */
	size_t n_without;
	const char *failure, *remedy; /* this node cannot take part because of its key; or NULL */
};
void member_key_info(struct member *m, struct member_key *out);

/*
 * The end of this netd. `planned`: announce it and get a lease of `hold_ms`
 * first, so that a return within it loses nothing. `stopped` is called when
 * nothing of the engine is left on the loop.
 */
void member_stop(struct member *m, bool planned, unsigned int hold_ms, void (*stopped)(void *arg), void *arg);

/* ---- who is who ---- */

enum member_status member_status(const struct member *m);
const char *member_status_name(enum member_status s);
uint32_t member_self(const struct member *m);	      /* 0 when idle */
const char *member_self_name(const struct member *m); /* "" when idle */
/* Name of any node ever seen; "-" for 0, "?" for unknown. */
const char *member_name(const struct member *m, uint32_t node);
/* Number by name, 0 when there is no such node. */
uint32_t member_find(const struct member *m, const char *name);
bool member_alive(const struct member *m, uint32_t node); /* up, not declared dead */
bool member_is_leader(const struct member *m);
uint64_t member_lease_expiry_ns(const struct member *m);    /* CLOCK_MONOTONIC, 0 none */
bool member_witness(const struct member *m, uint32_t node); /* votes only */
/* This node's data path stands, or not: only then is it home for ports. */
void member_set_serving(struct member *m, bool serving);

struct member_node {
	const struct node_info *info;
	const char *role; /* "voter", "standby", "-" */
	bool leader;
	uint64_t applied;	/* index, as last heard; 0 unknown (known on the leader) */
	uint64_t lease_left_ms; /* known on the leader and for this node */
	int64_t latency_us;	/* -1 unknown */
	int suspect;		/* it is not heard; -1 unknown */
	bool idle;		/* up, no witness, and for a while not home for any port */
};
/* Every node that has not left, by number. */
void member_each(struct member *m, void (*fn)(void *arg, const struct member_node *node), void *arg);

struct member_cluster {
	char id[33]; /* hex, "" when idle */
	const char *transport;
	bool insecure;
	uint32_t leader; /* 0 unknown */
	uint64_t term, last_index, commit_index, applied_index;
	unsigned int nodes, up, voters, voters_up, nodes_min;
	unsigned int lease_ms, generation;
	uint64_t lease_left_ms;
	bool quorum;		  /* this node holds a lease */
	bool leaderless;	  /* ... and for a while there was nobody to renew it */
	bool one_death_from_loss; /* one more death of a voter loses the quorum */
	bool ready;
	const char *failure; /* of log, disk or address, another of our descent or identity; or NULL */
	const char *failure_remedy;
};
void member_cluster(struct member *m, struct member_cluster *out);

/* Called when the MAC or addresses of the cluster interface are known or new. */
void member_set_link(struct member *m, const uint8_t mac[6]);

/* ---- replicated settings: the set `conf` ---- */
/* Text to text; member_setting() lists those that people may set. */
struct member_setting {
	const char *key;
	unsigned long min, max, fallback;
	bool odd;
	const char *help;
};
const struct member_setting *member_setting(size_t i); /* NULL at the end */
const char *member_conf(struct member *m, const char *key, char *buf, size_t size);
unsigned int member_conf_uint(struct member *m, const char *key, unsigned int absent);
void member_conf_set(struct member *m, const char *key, const char *value, member_done_fn *done, void *arg);

#endif
