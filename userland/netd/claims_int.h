/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private to claims*.c.
 *   claims.c        sockets -> objects of the set `ports`
 *   claims_socks.c  the table of sockets, filled by events and by sock_diag
 *   claims_procs.c  whose sockets they are
 *   claims_calls.c  what applications that move call from
 *   claims_ask.c    programs that wait for their claim
 *   claims_cmd.c    ports, port-add, port-del
 */
#ifndef SSI_CLAIMS_INT_H
#define SSI_CLAIMS_INT_H

#include <uv.h>

#include "claims.h"
#include "datapath_int.h"
#include "hooks.h"
#include "source_reserved.h"

#define CLAIMS_CHAINS 1024
#define CLAIMS_ENDED  256

/* A socket of an application that listens or is bound. */
struct claims_sock {
	struct claims_sock *next, *next_port; /* chains by cookie and by port */
	uint64_t cookie, cgroup;
	uint8_t proto;
	bool loopback, only6; /* only6: :: is not IPv4's wildcard, too */
	bool seen;	      /* by the dump that runs */
	bool resolve;	      /* claims_procs.c has still to fill in inode, only6, pid */
	uint64_t expected_ms; /* about to listen or to be bound; given up at this time of the loop. 0: it is */
	uint32_t inode;
	uint16_t port;
	struct ipaddr addr;
	uint32_t pid;
	char comm[16];
	char app[APP_NAME_MAX];
};

struct claims_dirty {
	struct port_key *key;
	size_t n, size;
};

struct claims {
	struct netd *netd;
	struct hooks *hooks;
	struct dip_bpf *bpf; /* what `hooks` reads */
	struct claims_sock *chain[CLAIMS_CHAINS], *by_port[CLAIMS_CHAINS];
	uint64_t ended[CLAIMS_ENDED]; /* cookies of sockets that ended lately */
	unsigned int n_ended;
	struct claims_dirty dirty; /* keys to look at */
	struct claims_dirty busy;  /* keys in the batch that is under way */
	bool rescan;		   /* the sockets must be read anew first */
	bool unresolved;	   /* a socket of which its event did not tell all */
	bool submitting;
	struct {
		struct port_map tcp, udp; /* local ports of sockets */
		bool fresh;		  /* they are as of now */
		uint64_t look_at;	  /* uv_now(): then the claims are looked at */
	} calls;
	struct claims_asks *asks; /* NULL: programs do not wait */
	claims_local_fn *local_fn;
	void *local_arg;
	uv_timer_t soon;
	bool stopped;
	int refs; /* the timer, a batch under way */
};

/* claims_socks.c */
void claims_socks_event(struct claims *c, const struct dip_event *ev);
void claims_socks_scan(struct claims *c);
void claims_socks_clear(struct claims *c);
struct claims_sock *claims_socks_find(struct claims *c, uint64_t cookie);
/* One that will listen or be bound; `probe` but for its address. -EINVAL: nobody can reach it from outside. */
int claims_socks_expect(struct claims *c, const struct claims_sock *probe, bool six, const void *addr);
/* ... will not. */
void claims_socks_forget(struct claims *c, uint64_t cookie);
void claims_socks_expire(struct claims *c, uint64_t now_ms);
#define claims_for_each(c, i, s)            \
	for (i = 0; i < CLAIMS_CHAINS; i++) \
		for (s = (c)->chain[i]; s; s = s->next)

/* claims_procs.c */
/* The application of a control group; false: of none. */
bool claims_procs_app(uint64_t cgroup, char app[APP_NAME_MAX]);
/* Do events name other pids than we do? Then they are looked up. */
bool claims_procs_foreign(void);
/* Fill in what is still unknown of sockets, of all of them at once. */
void claims_procs_resolve(struct claims *c);

/* claims.c */
void claims_sock_changed(struct claims *c, const struct claims_sock *s);
void claims_schedule(struct claims *c, unsigned int ms);
bool claims_sock_covers(const struct claims *c, const struct claims_sock *s, const struct port_key *k);

/* claims_calls.c */
/* Marks claims of this kind from time to time; are there any? */
bool claims_calls_look(struct claims *c, void (*mark)(struct claims *c, const struct port_key *k));
/* Does a socket still have the port? */
bool claims_calls_alive(struct claims *c, const struct port_key *k);
/* 0: the port is ours, or another's who lets us; EADDRINUSE; EINPROGRESS. */
int claims_key_verdict(struct claims *c, const struct port_key *k, const struct claims_sock *s);

/* claims_ask.c */
/* -ENOENT: the kernel has no module ssi_core. */
int claims_ask_open(struct claims *c);
void claims_ask_close(struct claims *c, bool grant); /* grant: who waits need not */
/* Answers whom it can. */
void claims_ask_check(struct claims *c);

/* claims_cmd.c */
void claims_cmd_start(struct claims *c);
json_t *claims_port_json(struct netd *n, const struct kddm_object *obj);

#endif
