// SPDX-License-Identifier: GPL-2.0
/*
 * The one thing that this machine was told to do, init, join or leave: its beginning, its end, its time limit.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "member_job.h"

/* ---- errors ---- */

static void fill_error(struct member_error *e, int code, const char *remedy, const char *fmt, va_list ap)
{
	e->code = code;
	snprintf(e->remedy, sizeof(e->remedy), "%s", remedy ? remedy : "");
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
}

void member_fail(member_done_fn *done, void *arg, int code, const char *remedy, const char *fmt, ...)
{
	struct member_error e;
	va_list ap;

	va_start(ap, fmt);
	fill_error(&e, code, remedy, fmt, ap);
	va_end(ap);
	done(arg, &e);
}

struct member_job *member_job_new(struct member *m, enum job_kind kind, unsigned int limit_ms,
				  member_done_fn *done, void *arg)
{
	struct member_job *j;

	if (m->job || m->stopping || (m->secure && !m->running)) {
		member_fail(done, arg, 1, "wait for it", "another init, join or leave is under way");
		return NULL;
	}
	j = calloc(1, sizeof(*j));
	if (!j)
		abort();
	j->kind = kind;
	j->done = done;
	j->arg = arg;
	j->deadline_ms = member_now_ms() + limit_ms;
	m->job = j;
	return j;
}

void member_job_end(struct member *m, const struct member_error *error)
{
	struct member_job *j = m->job;

	m->job = NULL;
	explicit_bzero(j->secret, sizeof(j->secret));
	j->done(j->arg, error);
	free(j);
}

void member_job_fail(struct member *m, int code, const char *remedy, const char *fmt, ...)
{
	struct member_job *j = m->job;
	va_list ap;

	if (j->failed)
		return;
	va_start(ap, fmt);
	fill_error(&j->failure, code, remedy, fmt, ap);
	va_end(ap);
	j->failed = true;
	if (j->kind != JOB_LEAVE && m->running) {
		member_leave_now(m); /* member_job_left() ends the job */
		return;
	}
	if (j->kind != JOB_LEAVE)
		member_state_wipe(m);
	member_job_end(m, &m->job->failure);
}

bool member_job_undone(const struct member *m)
{
	return m->job && m->job->failed;
}

void member_job_left(struct member *m)
{
	if (!m->job)
		return;
	if (m->job->failed)
		member_job_end(m, &m->job->failure);
	else if (m->job->kind == JOB_LEAVE && m->job->own)
		member_job_end(m, NULL);
	else if (m->job->kind == JOB_LEAVE)
		member_job_fail(m, 1, "ask another member", "this machine was taken out itself meanwhile");
}

void member_job_refused(struct member *m, int status, json_t *reply)
{
	const char *error = json_string_value(json_object_get(reply, "error"));
	const char *remedy = json_string_value(json_object_get(reply, "remedy"));

	member_job_fail(m, 1, remedy ? remedy : "see netd's log there", "%s",
			error ? error : strerror(-status));
}

json_t *member_refusal(int code, const char *remedy, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_pack("{ss si ss}", "error", text, "code", code, "remedy", remedy);
}

/* ---- time ---- */

static void set_nodes_min(struct member *m, unsigned int n)
{
	struct kddm_batch *b;
	char text[16];

	if (!n)
		return;
	snprintf(text, sizeof(text), "%u", n);
	b = kddm_batch_new(m->kddm, false);
	kddm_put(b, m->conf, "nodes_min", strlen("nodes_min"), text, strlen(text), KDDM_ANY);
	kddm_submit(b, NULL, NULL);
}

void member_job_tick(struct member *m)
{
	struct member_job *j = m->job;

	if (!j || j->failed)
		return;
	if (j->kind != JOB_LEAVE && m->status == MEMBER_LIVE) {
		if (j->kind == JOB_INIT)
			set_nodes_min(m, j->node);
		member_job_end(m, NULL);
		return;
	}
	if (j->told && m->running) {
		member_leave_now(m);
		return;
	}
	if (j->kind == JOB_LEAVE && m->running && !m->leaving_ms)
		member_leave_ask(m);
	if (m->job != j || member_now_ms() < j->deadline_ms)
		return;
	if (j->kind == JOB_JOIN)
		member_job_fail(m, 1, "open the port there and here, then try again",
				j->named ? "the cluster accepted this node but cannot reach it at %s"
					 : "no answer from the cluster to this node at %s",
				m->id.tcp);
	else if (j->kind == JOB_INIT)
		member_job_fail(m, 1, "see netd's log", "the new cluster does not come up");
	else if (j->node == m->self && j->force)
		member_leave_now(m); /* to the others this is a death */
	else if (j->node != m->self)
		member_job_fail(
			m, 3,
			"bring back enough voters, see `netctl nodes`; if they are lost for good: `netctl "
			"recover`",
			"no quorum confirms that %s has left", member_name(m, j->node));
	else if (m->leaving_ms)
		member_job_fail(m, 3, "it goes by itself when they are back; --force if they are lost",
				"this node has left, but the others cannot do without its vote yet");
	else
		member_job_fail(m, 3, "look at `netctl status`; --force if the others are lost",
				"no quorum confirms that this node has left");
}
