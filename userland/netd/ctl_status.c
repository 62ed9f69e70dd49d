/* SPDX-License-Identifier: GPL-2.0 */
/*
 * `status`: one sentence whether all is well and, where not, what to do about
 * it, the worst first; then how this node and the cluster stand. One thread.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/version.h"
#include "userland/netd/ctl.h"
#include "userland/netd/ctl_cluster.h"
#include "userland/netd/datapath.h"
#include "userland/netd/drain.h"
#include "userland/netd/member.h"
#include "userland/netd/netd.h"

__attribute__((format(printf, 4, 5))) static void problem(json_t *list, const char *severity,
							  const char *remedy, const char *fmt, ...)
{
	_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "severity", severity, "problem",
						      text, "remedy", remedy));
	va_end(ap);
}

static void check_member(struct netd *n, const struct member_cluster *c, json_t *problems)
{
	enum member_status s = member_status(n->member);
	struct member_key key;

	if (c->failure)
		problem(problems, "error", c->failure_remedy, "%s", c->failure);
	member_key_info(n->member, &key);
	if (key.failure)
		problem(problems, "error", key.remedy, "%s", key.failure);
	if (s == MEMBER_JOINING && !c->failure && !key.failure)
		problem(problems, "warning", "wait; when it lasts, check the network to the other nodes",
			"this node is still catching up with the cluster");
	if (s == MEMBER_FENCED && !c->failure && !key.failure) /* else that is why */
		problem(problems, "error",
			"bring back the missing nodes or the network to them, `netctl nodes` shows what this "
			"node last heard; if they are lost for good: `netctl recover`",
			"no quorum as seen from this node: it holds no lease and is silent on the cluster "
			"addresses");
	else if (c->leaderless && !c->failure)
		problem(problems, "warning",
			"when it lasts: bring back the missing nodes or the network to them",
			"no leader is heard: nothing can be changed, and this node is silent when its lease "
			"ends");
	if (c->nodes_min > c->up)
		problem(problems, "warning", "start the missing nodes", "%u %s up, at least %u are wanted",
			c->up, c->up == 1 ? "node is" : "nodes are", c->nodes_min);
}

static void check_node(void *arg, const struct member_node *node)
{
	json_t *problems = arg;
	char remedy[160];

	if (node->info->state == NODE_UP && (node->info->flags & NODE_AWAY))
		problem(problems, "warning",
			"wait while it restarts; else `systemctl start netd` there before it is declared "
			"dead",
			"netd on %s was stopped: the node goes on without it for a while", node->info->name);
	else if (node->idle)
		problem(problems, "warning", "`netctl status` there says why",
			"node %s takes no part in the data path", node->info->name);
	else if (node->suspect > 0)
		problem(problems, "warning",
			"look at its power, its network and its netd; when its lease is over it is declared "
			"dead",
			"node %s is not heard", node->info->name);
	if (node->info->state != NODE_DEAD)
		return;
	snprintf(remedy, sizeof(remedy), "start it again, or take it out with `netctl leave %s`",
		 node->info->name);
	problem(problems, "warning", remedy, "node %s is dead", node->info->name);
}

static void check_drained(struct netd *n, json_t *problems)
{
	const struct kddm_object *obj;
	char remedy[NODES_NAME_SIZE + 64];

	kddm_for_each(kddm_set_by_id(n->kddm, NODES_TYPE_ID), obj)
	{
		const struct node_info *info = obj->value;

		if (info->state == NODE_LEFT || !drain_is(n, info->number))
			continue;
		snprintf(remedy, sizeof(remedy), "`netctl resume %s` when its maintenance is over",
			 info->name);
		problem(problems, "warning", remedy, "node %s is drained: it takes no applications",
			info->name);
	}
}

static void check_safety(struct netd *n, const struct member_cluster *c, json_t *problems)
{
	if (c->voters == 1 && c->nodes > 1)
		problem(problems, "warning", "add a third, which may be a witness: `netctl join --witness`",
			"only %s votes: its death loses the quorum", member_name(n->member, c->leader));
	else if (c->voters == 1)
		problem(problems, "warning", "add nodes: `netctl token` here, `netctl join` there",
			"the cluster is this one node and dies with it");
	else if (c->one_death_from_loss)
		problem(problems, "warning",
			"start dead nodes, or add some: `netctl token` here, `netctl join` there (with "
			"--witness if it shall only vote)",
			"one more death loses the quorum: %u of %u voters are up", c->voters_up, c->voters);
	if (c->insecure)
		problem(problems, "warning", "start netd without --insecure on all nodes",
			"the cluster's traffic is neither authenticated nor encrypted");
}

/* Takes the data path's own words: one problem, or problems each with a remedy. */
static void check_datapath(struct netd *n, json_t *datapath, json_t *problems)
{
	json_t *p = json_object_get(datapath, "problem");
	const char *remedy = json_string_value(json_object_get(datapath, "remedy"));

	if (json_is_string(p) && json_string_length(p))
		problem(problems, "error", remedy ?: "see `netctl vips` and `journalctl -u netd`",
			"data path: %s", json_string_value(p));
	json_array_extend(problems, json_object_get(datapath, "problems"));
	json_object_del(datapath, "problems");
}

static void add_counts(struct netd *n, json_t *o)
{
	json_object_set_new(o, "vips", json_integer(kddm_count(n->sets.vips)));
	json_object_set_new(o, "ports", json_integer(kddm_count(n->sets.ports)));
	json_object_set_new(o, "apps", json_integer(kddm_count(n->sets.apps)));
	json_object_set_new(o, "moves", json_integer(kddm_count(n->sets.moves)));
}

static void add_cluster(struct netd *n, const struct member_cluster *c, json_t *o)
{
	json_t *cluster = json_pack("{s:s, s:s, s:b, s:b, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I}",
				    "cluster", c->id, "transport", c->transport ?: "", "secure", !c->insecure,
				    "quorum", c->quorum, "leader", member_name(n->member, c->leader), "term",
				    (json_int_t)c->term, "nodes", (int)c->nodes, "nodes_up", (int)c->up,
				    "voters", (int)c->voters, "voters_up", (int)c->voters_up, "lease_ms",
				    (int)c->lease_ms, "lease_left_ms", (json_int_t)c->lease_left_ms,
				    "log_index", (json_int_t)c->commit_index, "applied_index",
				    (json_int_t)c->applied_index);

	json_object_set_new(o, "generation", json_integer(c->generation));

	json_object_update_new(o, cluster);
}

/* "healthy", "degraded" or "failed", and the first reason. */
static void judge(json_t *o, json_t *problems)
{
	bool errors = false;
	json_t *p;
	size_t i;

	json_array_foreach(problems, i, p)
		errors |= !strcmp(json_string_value(json_object_get(p, "severity")) ?: "", "error");
	json_object_set_new(o, "healthy", json_boolean(json_array_size(problems) == 0));
	json_object_set_new(o, "condition",
			    json_string(errors			    ? "failed"
					: json_array_size(problems) ? "degraded"
								    : "healthy"));
	json_object_set_new(o, "problems", problems);
}

json_t *ctl_status_object(struct netd *n)
{
	enum member_status s = member_status(n->member);
	json_t *o = json_pack("{s:b, s:s, s:[]}", "healthy", 1, "condition", "healthy", "problems");
	json_t *problems = json_array(), *datapath;
	struct member_cluster c;

	json_object_set_new(o, "node",
			    s == MEMBER_IDLE ? json_null() : json_string(member_self_name(n->member)));
	json_object_set_new(o, "state", json_string(member_status_name(s)));
	json_object_set_new(o, "version", json_string(SSI_VERSION));
	if (s == MEMBER_IDLE) {
		problem(problems, "error",
			"make a cluster with `netctl init` or enter one with `netctl join ADDR`",
			"this node is not a member of a cluster");
		judge(o, problems);
		return o;
	}
	member_cluster(n->member, &c);
	add_cluster(n, &c, o);
	add_counts(n, o);
	check_member(n, &c, problems);
	datapath = n->datapath ? datapath_status(n->datapath) : NULL;
	if (datapath) {
		check_datapath(n, datapath, problems);
		json_object_set_new(o, "datapath", datapath);
	}
	if (s != MEMBER_FENCED && c.voters) { /* else all that is old news */
		member_each(n->member, check_node, problems);
		check_safety(n, &c, problems);
		check_drained(n, problems);
	}
	judge(o, problems);
	return o;
}
