/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What this machine was told to do: init, join or leave, one at a time. Private to the member_*.c that do it.
 */
#ifndef SSI_MEMBER_JOB_H
#define SSI_MEMBER_JOB_H

#include "member_int.h"

enum job_kind { JOB_INIT, JOB_JOIN, JOB_LEAVE };

struct member_job {
	enum job_kind kind;
	member_done_fn *done;
	void *arg;
	uint64_t deadline_ms, asked_ms;
	/* join */
	char peer[TRANSPORT_ADDRESS_MAX];
	char identity[SECURE_IDENTITY_MAX];
	uint8_t secret[SECURE_KEY_BYTES];
	bool named; /* the cluster gave us our name; catching up */
	/* leave */
	uint32_t node;
	uint64_t raft_id; /* whom we meant: the number may be another's by then */
	bool force;
	bool own;		     /* this machine is to leave */
	bool told;		     /* a member refuses us as one that has left */
	struct member_error failure; /* told when the engine is down */
	bool failed;
};

/* member_job.c */
/* NULL: `done` has heard why not. Ended by exactly one of the next two. */
struct member_job *member_job_new(struct member *m, enum job_kind kind, unsigned int limit_ms,
				  member_done_fn *done, void *arg);
void member_job_end(struct member *m, const struct member_error *error);
/* Nothing half done: what was begun is taken down before the error is told. */
void member_job_fail(struct member *m, int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* ... with what a member answered: {error remedy}, or with -errno. */
void member_job_refused(struct member *m, int status, json_t *reply);
/* Such an answer; the caller's. */
json_t *member_refusal(int code, const char *remedy, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* member_machine.c: what a cluster is to know of this machine, into m->id; -errno: the job has failed. */
int member_set_name(struct member *m, const char *name);
/* `peer`: whom to reach, "IP:PORT" or NULL. */
int member_set_address(struct member *m, const struct member_machine *machine, const char *peer);
int member_choose_transport(struct member *m, const struct member_machine *machine);
int member_make_place(struct member *m); /* the engine's directory, and our address in the transport */
int member_start_engine(struct member *m, bool bootstrap);

/* member_leave.c */
void member_leave_ask(struct member *m); /* again and again, while the job is to leave */

#endif
