/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the public face (kddm.h) and the engine below: requests on their way
 * to the leader, retries, outcomes, waiting for application. Pure: time and
 * I/O come through struct kddm_env, so a simulation can drive many of them.
 * One thread. `done` callbacks run in kddm_reap() only, never inside another
 * call.
 */
#ifndef SSI_KDDM_CORE_H
#define SSI_KDDM_CORE_H

#include "kddm.h"
#include "kddm_fsm.h"

#define KDDM_UNSENT_MS	  2000 /* no leader for so long: -EAGAIN */
#define KDDM_UNKNOWN_MS	  8000 /* sent, no outcome for so long: -ETIMEDOUT */
#define KDDM_INFLIGHT_MAX 8    /* entries proposed and not yet committed */

#define KDDM_LEADER_UNNUMBERED UINT32_MAX

struct kddm_env {
	uint64_t (*now_ms)(void *arg); /* monotonic */
	/* Who leads: our own number when we do (KDDM_LEADER_UNNUMBERED before
	 * kddm_identify() named us), 0 when nobody is known. */
	uint32_t (*leader)(void *arg);
	/* False when our lease has run out: nothing is sent. */
	bool (*has_quorum)(void *arg);
	/* Requests to the leader. Negative: certainly not sent. */
	int (*forward)(void *arg, uint32_t leader, const void *entry, size_t len);
	/* Leader only: into the log. The data is copied. kddm_proposed() is called
	 * when its fate is known. */
	int (*propose)(void *arg, const void *entry, size_t len);
	/* Ask `node` to tell when it has applied `index`; and the answer. */
	int (*ask_applied)(void *arg, uint32_t node, uint64_t index, uint64_t id);
	int (*tell_applied)(void *arg, uint32_t node, uint64_t id);
};

struct kddm *kddm_new(const struct kddm_env *env, void *env_arg);
void kddm_free(struct kddm *k);
/* Back to empty sets (linkers are told): this machine left its cluster. */
void kddm_forget(struct kddm *k);
struct kddm_fsm *kddm_fsm_of(struct kddm *k);
struct kddm_set *kddm_nodes(struct kddm *k);

/* From now on sets cannot be registered. */
void kddm_start(struct kddm *k);
/* Who we are in requests; incarnation 0: not (or no longer) a live member, all
 * that waits ends with -ENOTCONN or -ETIMEDOUT. */
void kddm_identify(struct kddm *k, uint32_t node, uint64_t incarnation);

/* A membership operation, on the leader; idempotent, so it needs no name.
 * `done` as in kddm_submit(). */
void kddm_submit_node_op(struct kddm *k, uint8_t kind, const struct node_info *info, kddm_done_fn *done,
			 void *arg);

/* Leadership was lost or won: what we decided as the leader of before is not said any more, but for newcomers who
 * wait for their name. */
void kddm_resigned(struct kddm *k);

/* Events. */
int kddm_receive(struct kddm *k, uint32_t from, const void *entry, size_t len); /* on the leader */
void kddm_proposed(struct kddm *k); /* one proposed entry is done with */
void kddm_resend(struct kddm *k);   /* the leader or the way to it is new */
int kddm_apply(struct kddm *k, uint64_t index, const void *data, size_t len);
int kddm_restore(struct kddm *k, const void *data, size_t len);
void kddm_asked_applied(struct kddm *k, uint32_t from, uint64_t index, uint64_t id);
void kddm_told_applied(struct kddm *k, uint32_t from, uint64_t id);

void kddm_flush(struct kddm *k); /* before the loop sleeps: send what was collected */
void kddm_reap(struct kddm *k);	 /* run `done` callbacks */
void kddm_tick(struct kddm *k);	 /* about every 50 ms */
bool kddm_idle(struct kddm *k);	 /* leader: nothing to propose, nothing in flight */

struct kddm_stats {
	uint64_t applied_index, applied_entries, applied_ops;
	uint64_t submitted, forwarded, resent, timed_out;
	size_t pending, in_flight;
};
void kddm_stats_get(struct kddm *k, struct kddm_stats *out);
/* Registered sets, in the order of their ids; NULL at the end. */
struct kddm_set *kddm_set_at(struct kddm *k, uint16_t *id);

#endif
