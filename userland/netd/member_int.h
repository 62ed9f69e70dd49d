/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside member*.c: the state of membership.
 *
 *   member.c        life, the loop's hooks, this node's own state, lease holder
 *   member_lead.c   the leader's duties: leases of all, deaths, raft membership
 *   member_change.c which raft configuration the members need
 *   member_join.c   init, join, leave: the conversations
 *   member_state.c  what is on disk: identity, key, tokens, generation
 *   member_link.c   raft's transport and dispatch of what comes in
 *   member_ask.c    queries and settings
 */
#ifndef SSI_MEMBER_INT_H
#define SSI_MEMBER_INT_H

#include <jansson.h>

#include "kddm_core.h"
#include "kddm_raft.h"
#include "lease.h"
#include "member.h"
#include "member_change.h"
#include "peer_int.h"
#include "secure.h"
#include "transport.h"

#define MEMBER_PORT	    7946
#define MEMBER_TICK_MS	    50
#define MEMBER_HEARTBEAT_MS 100 /* commits do not wait for it, see kddm_raft_kick() */
#define MEMBER_ELECTION_MS  500
#define MEMBER_UP_RETRY_MS  300
#define MEMBER_PROTOCOL	    1

/* STATE_DIR/identity: which cluster, and how we take part. */
struct member_identity {
	char cluster[33];
	char name[NODES_NAME_SIZE];
	char tcp[TRANSPORT_ADDRESS_MAX];     /* where we listen for TCP */
	char address[TRANSPORT_ADDRESS_MAX]; /* transport address of raft and peers */
	char bearer[16];
	char transport[8];
	uint64_t raft_id; /* lives beside the log */
};

struct member_job; /* init, join or leave under way (member_join.c) */

struct member {
	struct member_params params;
	char state_dir[200], key_path[200], run_dir[200];
	struct kddm *kddm;
	struct kddm_set *nodes, *conf;
	struct peers *peers;
	struct secure *secure;
	struct secure_listener *listen_tcp, *listen_transport;
	struct kddm_raft *raft;
	struct raft_uv_transport raft_transport;
	struct raft_link *raft_links; /* being connected */
	raft_uv_accept_cb raft_accept;
	uv_timer_t tick;
	uv_prepare_t prepare;
	uv_check_t check;

	bool in_cluster, running, stopping, insecure;
	struct member_identity id;
	uint8_t key[SECURE_KEY_BYTES];
	bool has_key;
	uint8_t mac[6];
	bool has_mac;

	/* this node's own life */
	uint32_t self;	/* number, 0 before the sets know us */
	uint32_t named; /* as the request core knows us, else KDDM_LEADER_UNNUMBERED */
	uint64_t incarnation;
	struct lease_holder holder;
	bool ready;
	uint64_t ready_index; /* applied by the leader at our first grant; 0 none yet */
	bool has_grant;
	enum member_status status;
	uint64_t up_asked_ms, ticked_ms, waiting_ms;
	uint64_t leaving_ms, leave_asked_ms; /* since when we are out, 0 not */
	bool drop[NODES_MAX + 1], drops;     /* links to be ended */

	/* leadership, as seen from here */
	uint64_t leader_id; /* raft id */
	uint32_t leader;    /* number */
	bool leads;
	uint64_t kicked_index;
	uint64_t lead_index; /* end of the log at our election */
	struct lease_keeper keeper;
	bool changing; /* one raft membership change at a time */
	uint64_t deaths_asked_ms[NODES_MAX + 1];
	uint64_t joining_ms[NODES_MAX + 1], joining_id[NODES_MAX + 1];
	uint64_t lease_asked_ms;

	struct member_job *job;
	void (*halted)(struct member *m);
	int hooks;
	void (*stopped)(void *arg);
	void *stopped_arg;
	uint64_t stop_deadline_ms;
	uint32_t stop_hold_ms;
	int stop_step;
};

static inline uint64_t member_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static inline uint64_t member_now_ms(void)
{
	return member_now_ns() / 1000000u;
}
uint64_t member_unix_ms(void);

/* member.c */
int member_run(struct member *m, bool bootstrap);		      /* identity is set: start all parts */
void member_halt(struct member *m, void (*halted)(struct member *m)); /* stop them */
const struct node_info *member_own(struct member *m);
void member_fill_own(struct member *m, struct node_info *info);
uint32_t member_lease_ms(struct member *m);
void member_leave_now(struct member *m); /* stop, wipe, be idle */
void member_take_grant(struct member *m, const struct lease_grant *g);

/* member_lead.c */
void member_lead_tick(struct member *m);
void member_lead_check(struct member *m); /* each loop iteration */
void member_lead_renew(struct member *m, uint32_t from, const struct lease_renew *r);
void member_lead_ack(struct member *m, uint32_t from, uint64_t round, uint64_t term);

/* member_join.c */
void member_join_handlers(struct member *m);
void member_join_tick(struct member *m);
void member_join_left(struct member *m);	 /* this machine is out of the cluster */
bool member_join_undone(const struct member *m); /* leaving because a join or init failed */
void member_leave_progress(struct member *m);	 /* we are LEFT: see to it that we may go */
void member_hello_query(struct member *m, struct secure_conn *c, const char *identity, json_t *hello);
void member_hello_join(struct member *m, struct secure_conn *c, json_t *hello);
void member_fail(member_done_fn *done, void *arg, int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* member_state.c */
int member_state_load(struct member *m); /* 1 loaded, 0 none, negative */
int member_state_save(struct member *m);
void member_state_wipe(struct member *m);
int member_raft_dir(struct member *m, bool fresh); /* make it, read or choose the raft id */
int member_key_load(struct member *m);		   /* 1, 0 none, negative */
int member_key_create(struct member *m);
int member_key_store(struct member *m, const uint8_t key[SECURE_KEY_BYTES]);
uint64_t member_incarnation(struct member *m, bool next);
int member_find_key(void *arg, const char *identity, uint8_t key[SECURE_KEY_BYTES]);
/* Content of a token or key file -> identity and secret, and the address hint if any. */
int member_secret_parse(const char *text, char identity[SECURE_IDENTITY_MAX], uint8_t key[SECURE_KEY_BYTES],
			char hint[TRANSPORT_ADDRESS_MAX]);
void member_hex(const void *data, size_t len, char *out);
int member_unhex(const char *text, void *out, size_t len);

/* member_link.c */
int member_link_init(struct member *m);
void member_hello(void *arg, struct secure_conn *c, const char *identity, json_t *hello);
json_t *member_make_hello(void *arg, const char *purpose);
extern const struct kddm_type member_conf_type;

#endif
