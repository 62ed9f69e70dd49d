/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside member*.c: the state of membership.
 *
 *   member.c        life, the loop's hooks, this node's own state, lease holder
 *   member_lead.c   the leader's duties: leases of all, deaths, raft membership
 *   member_change.c which raft configuration the members need
 *   member_job.c    what this machine was told to do: init, join or leave
 *   member_machine.c  this machine as a node: name, address, transport
 *   member_join.c   init and join: the conversations
 *   member_leave.c  leaving, and being let go
 *   member_key.c    the cluster's key and tokens as identities of connections
 *   member_rotate.c a new key for all
 *   member_state.c  what is on disk: identity, log directory, generation
 *   member_link.c   dispatch of what comes in
 *   member_raft.c   raft's messages between nodes
 *   member_ask.c    queries and settings
 *   member_suspect.c  who is not heard, before its death is declared
 *   member_recover.c  rebuilding from survivors
 *   member_generation.c  which of these rebuilt clusters is ours, and what nodes of another one do
 *   member_twin.c   two machines with one identity
 *   member_disk.c   the disk fails, or the log on it is damaged
 */
#ifndef SSI_MEMBER_INT_H
#define SSI_MEMBER_INT_H

#include <jansson.h>

#include "kddm_core.h"
#include "kddm_raft.h"
#include "keys.h"
#include "lease.h"
#include "member.h"
#include "member_change.h"
#include "member_version.h"
#include "peer_int.h"
#include "secure.h"
#include "transport.h"
#include "transport_topology.h"
#include "transport_bearer.h"

#define MEMBER_PORT	    7946
#define MEMBER_TICK_MS	    50
#define MEMBER_HEARTBEAT_MS 100 /* commits do not wait for it, see kddm_tell.h */
#define MEMBER_ELECTION_MS  500
#define MEMBER_UP_RETRY_MS  300
#define N_SAID		    8

/* Of a cluster that was rebuilt from survivors (member_generation.c). */
#define GENERATION_BYTES 16
#define GENERATIONS_KEPT 16
struct generation {
	uint32_t number;					   /* how often it was rebuilt */
	char lineage[2 * GENERATION_BYTES * GENERATIONS_KEPT + 1]; /* hex, of the last ones, oldest first */
};
enum generation_is { GENERATION_SAME, GENERATION_OLDER, GENERATION_NEWER, GENERATION_OTHER };

/* STATE_DIR/identity: which cluster, and how we take part. */
struct member_identity {
	char cluster[33];
	char name[NODES_NAME_SIZE];
	char tcp[TRANSPORT_ADDRESS_MAX];     /* where we listen for TCP */
	char address[TRANSPORT_ADDRESS_MAX]; /* transport address of raft and peers */
	char bearer[16];
	char transport[8];
	uint64_t raft_id; /* lives beside the log */
	bool witness;	  /* votes only */
	struct generation generation;
	bool recover;			    /* the next start makes us the only voter */
	char rejoin[TRANSPORT_ADDRESS_MAX]; /* the next start joins anew there */
	char diverged[320]; /* why what it knows is not what the cluster knows: it takes no part */
};

struct member_rotation;

#define ENDED_KEYS_MAX 4

/* Rotation of the cluster's key (member_rotate.c). */
struct member_key_state {
	struct member_rotation *rotation; /* asked for here */
	unsigned int has[NODES_MAX + 1];  /* generation that a node has, as it said */
	uint64_t unknown_ms;		  /* somebody used a key that we do not know; 0 never */
	uint64_t alone_ms;		  /* the last time we had a lease, or the start */
	struct secure_conn *asking;	  /* another node for the key of now */
	uint64_t asked_ms, retry_ms, told_ms;
	size_t next;  /* whom */
	bool refused; /* our key is good no more */
	bool nodes_changed;
	char peers[NODES_MAX][TRANSPORT_ADDRESS_MAX]; /* TCP addresses of the other members */
	size_t n_peers;
	uint8_t ended[ENDED_KEYS_MAX][SECURE_KEY_BYTES]; /* connections made with them are to end */
	size_t n_ended;
	uint64_t ended_ms; /* the last of them */
};

struct member_job; /* init, join or leave under way (member_job.h) */

struct member {
	struct member_params params;
	char state_dir[200], run_dir[200];
	struct kddm *kddm;
	struct kddm_set *nodes, *conf;
	struct peers *peers;
	struct secure *secure;
	struct secure_listener *listen_tcp, *listen_transport;
	struct kddm_raft *raft;
	struct raft_link *raft_links;	  /* to other nodes' raft (member_raft.c) */
	struct raft_source *raft_sources; /* from theirs */
	uv_timer_t tick;
	uv_prepare_t prepare;
	uv_check_t check;

	bool in_cluster, running, stopping, insecure;
	struct member_identity id;
	struct keyring keys;
	struct bearer *bearer; /* over TIPC */
	struct member_key_state key_state;
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
	char up_refused[80];		     /* what the leader said last, logged */
	uint64_t leaving_ms, leave_asked_ms; /* since when we are out, 0 not */
	uint64_t silent_ns;		     /* the last time we wanted no lease */
	bool drop[NODES_MAX + 1], drops;     /* links to be ended */
	struct topology *topology;	     /* with TIPC */
	bool gone[NODES_MAX + 1];	     /* it says so */
	uint64_t owed_index, owed_ms; /* entry that the leader has applied and we not, and since when */
	bool behind;		      /* for too long */
	int serving;		      /* the data path: 1 stands, 0 not, -1 not known yet */

	/* leadership, as seen from here */
	uint64_t leader_id; /* raft id */
	uint32_t leader;    /* number */
	bool leads;
	uint64_t lead_index; /* end of the log at our election */
	struct asker {	     /* a node whose request is on its way to the disk */
		uint32_t node;
		uint64_t told; /* how far we have it */
	} askers[2];
	bool finds_out[NODES_MAX + 1]; /* that it is agreed on, see kddm_raft_settle() */
	uint64_t elected_ms;
	struct lease_keeper keeper;
	bool changing; /* one raft membership change at a time */
	uint64_t deaths_asked_ms[NODES_MAX + 1];
	uint64_t joining_ms[NODES_MAX + 1], joining_id[NODES_MAX + 1];
	uint64_t out_ms[NODES_MAX + 1]; /* when somebody last asked to take it out */
	uint64_t out_id[NODES_MAX + 1]; /* ... whom: its raft id */
	uint64_t lease_asked_ms;
	uint32_t held_ms; /* a former, longer lease that may still run */
	uint64_t held_since_ms;
	uint64_t handed_ms;	      /* a witness gives leadership away */
	bool recovered;		      /* this start: all others are given up first */
	uint64_t rejoin_ms;	      /* last attempt */
	struct member_identity again; /* when it fails */
	char superseded_by[TRANSPORT_ADDRESS_MAX];
	struct { /* another cluster of our descent, beside this one */
		char text[200];
		uint64_t seen_ms, dialed_ms;
		uint32_t dialed; /* the last of the dead that was asked whether it lives */
		bool dialing;
	} other;
	uint64_t instance;	   /* of this start of netd */
	struct member_twin *twins; /* who runs under which raft id (member_twin.c) */
	struct {
		char text[200], failure[240]; /* another node, this one */
		uint64_t seen_ms;
		bool end; /* as soon as the loop is here */
	} twin;
	uint64_t said[N_SAID]; /* refusals that stand in the log already */
	unsigned int said_next;

	struct { /* member_disk.c */
		bool damaged, rejoining, asking, stalled, uncommitted;
		uint64_t writes, progress_ms;
		uint64_t commit, commit_ms; /* where the log stands while we lead in vain, since when */
		uint64_t retry_ms, restart_ms, asked_ms, reminded_ms, noted_ms;
		uint64_t forgot, forgot_term, forgot_ms; /* entry that we stored, as its leader says */
		uint64_t forgot_told_ms;
		size_t next; /* whom to ask */
		char why[320], failure[512], remedy[160];
	} disk;

	struct member_job *job;
	void (*halted)(struct member *m);
	int hooks;
	void (*stopped)(void *arg);
	void *stopped_arg;
	uint64_t stop_deadline_ms;
	uint32_t stop_hold_ms;
	int stop_step;
	uint64_t away_ms;   /* somebody was last seen to be about to stop */
	uint64_t orphan_ms; /* since when nobody leads, 0 */
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
enum member_status member_status_due(const struct member *m);
void member_fill_own(struct member *m, struct node_info *info);
uint32_t member_lease_ms(struct member *m);	 /* that is granted */
uint32_t member_lease_held_ms(struct member *m); /* that somebody may still hold */
void member_lease_settle(struct member *m);	 /* leader: a former lease has run out */
void member_leave_now(struct member *m);	 /* stop, wipe, be idle */
void member_disown(struct member *m); /* this life ends: it serves nothing, and what it ran is ended */
void member_take_grant(struct member *m, const struct lease_grant *g);

/* member_lead.c */
void member_lead_tick(struct member *m);
void member_lead_check(struct member *m); /* each loop iteration */
void member_lead_renew(struct member *m, uint32_t from, const struct lease_renew *r);
void member_lead_ack(struct member *m, uint32_t from, uint64_t round, uint64_t term);
void member_lead_asked(struct member *m, uint32_t node); /* it waits for what we write */
void member_lead_stored(struct member *m);		 /* each loop iteration */
/* Leader: out for good. `silent`: it answers for nothing any more; else when its lease must be over. */
void member_lead_take_out(struct member *m, const struct node_info *info, bool silent);

/* member_job.c */
void member_job_tick(struct member *m);
void member_job_left(struct member *m);		/* this machine is out of the cluster */
bool member_job_undone(const struct member *m); /* leaving because a join or init failed */
void member_fail(member_done_fn *done, void *arg, int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* member_join.c */
void member_join_handlers(struct member *m);
void member_hello_query(struct member *m, struct secure_conn *c, const char *identity, json_t *hello);
void member_hello_join(struct member *m, struct secure_conn *c, json_t *hello);

/* member_leave.c */
void member_leave_handlers(struct member *m);
void member_leave_told(struct member *m);	 /* another node says that we are out */
bool member_leave_asked(const struct member *m); /* this machine wants to leave and may have left unheard */
void member_leave_silence(struct member *m);	 /* ... so it answers for nothing any more */
void member_leave_progress(struct member *m);	 /* we are LEFT: see to it that we may go */

/* member_suspect.c */
void member_suspect_start(struct member *m);
void member_suspect_stop(struct member *m);
int member_suspected(struct member *m, const struct node_info *info); /* 1, 0, -1 not known here */

/* member_recover.c */
void member_recover_handlers(struct member *m);
/* The leader after a recovery: false while others still count as up. */
bool member_recover_settled(struct member *m);

/* member_generation.c */
/* What theirs is to ours. */
enum generation_is generation_compare(const struct generation *theirs, const struct generation *ours);
int generation_next(struct generation *g);
void generation_pack(json_t *obj, const struct generation *g);
void generation_unpack(json_t *obj, struct generation *g);
/* A hello of a node of another generation: true, it was answered. */
bool member_generation_differs(struct member *m, struct secure_conn *c, json_t *hello);
/* We were refused: true, because of that. */
bool member_generation_refused(struct member *m, json_t *reply);
/* There is another cluster of our descent: the text, or NULL. */
const char *member_generation_failure(const struct member *m, const char **remedy);
void member_generation_tick(struct member *m);

/* member_twin.c */
void member_twin_pack(const struct member *m, json_t *obj);
/* A hello from a machine that is one too many, or may be: true, it was answered. */
bool member_twin_differs(struct member *m, struct secure_conn *c, json_t *hello);
void member_twin_answer(const struct member *m, struct secure_conn *c); /* to who wants to know who is here */
/* We were refused, perhaps because of that. */
void member_twin_refused(struct member *m, json_t *reply);
/* Two machines have the identity of one node, perhaps of this one: the text, or NULL. */
const char *member_twin_failure(const struct member *m, const char **remedy);
void member_twin_tick(struct member *m);
void member_twin_forget(struct member *m);

/* member_link.c */
/* Refuse a hello that comes again and again: logged once. */
void member_refuse(struct member *m, struct secure_conn *c, const char *remedy, const char *text);
bool member_says_anew(struct member *m, const char *text);
/* A connection of ours was refused. */
void member_refused(struct member *m, json_t *reply);

/* member_key.c */
int member_key_load(struct member *m); /* 1, 0 none, negative */
int member_key_create(struct member *m);
int member_key_store(struct member *m, const uint8_t key[SECURE_KEY_BYTES], unsigned int generation);
void member_identity(void *arg, char identity[SECURE_IDENTITY_MAX]);
int member_find_key(void *arg, const char *identity, uint8_t key[SECURE_KEY_BYTES]);
bool member_is_token(const char *identity);
/* Content of a token or key file -> identity and secret, and the address hint if any. */
int member_secret_parse(const char *text, char identity[SECURE_IDENTITY_MAX], uint8_t key[SECURE_KEY_BYTES],
			char hint[TRANSPORT_ADDRESS_MAX]);

/* member_rotate.c */
void member_rotate_new(struct member *m);
void member_rotate_start(struct member *m);
void member_rotate_tick(struct member *m);
void member_rotate_stop(struct member *m);
void member_rotate_unknown(struct member *m); /* somebody used a key that we do not know */
void member_hello_key(struct member *m, struct secure_conn *c);

/* member_state.c */
int member_state_load(struct member *m); /* 1 loaded, 0 none, negative */
int member_state_save(struct member *m);
void member_state_wipe(struct member *m);
int member_raft_dir(struct member *m, bool fresh); /* make it, read or choose the raft id */
bool member_disk_full(struct member *m);
void member_log_set_aside(struct member *m);
void member_log_forget_aside(struct member *m);
uint64_t member_incarnation(struct member *m, bool next);
void member_hex(const void *data, size_t len, char *out);
int member_unhex(const char *text, void *out, size_t len);

/* member_disk.c */
int member_disk_boot(struct member *m); /* this machine belongs to a cluster: go on */
void member_disk_handlers(struct member *m);
/* Leader: a node does not have what it acknowledged. */
void member_disk_tell_forgot(struct member *m, uint64_t raft_id, uint64_t stored);
/* member_run() or what comes before it failed. 0: taken care of. */
int member_disk_failed(struct member *m, int r);
void member_disk_tick(struct member *m);
const char *member_disk_failure(const struct member *m, const char **remedy);

/* member_raft.c */
void member_raft_send(struct member *m, const struct raft_message *message);
void member_raft_hello(struct member *m, struct secure_conn *c, uint64_t id, const char *address);
void member_raft_prefer(struct member *m, uint32_t node);     /* it waits for an outcome: it hears first */
void member_raft_flush(struct member *m);		      /* before the loop sleeps */
bool member_raft_linked(const struct member *m, uint64_t id); /* a node has a connection to us */
void member_raft_drop(struct member *m, uint64_t id);
void member_raft_tick(struct member *m);
void member_raft_stop(struct member *m);

/* member_link.c */
void member_hello(void *arg, struct secure_conn *c, const char *identity, json_t *hello);
json_t *member_make_hello(void *arg, const char *purpose);
/* "" or why no protocol is common. */
const char *member_version_differs(json_t *hello);
extern const struct kddm_type member_conf_type;

#endif
