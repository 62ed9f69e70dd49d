// SPDX-License-Identifier: GPL-2.0
/*
 * What the metrics say, in the text format of Prometheus: one family after the other,
 * each with its help and type, named netssi_*, in base units.
 */
#include "metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl_cluster.h"
#include "datapath_int.h"
#include "member.h"
#include "netd.h"
#include "userland/lib/version.h"

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP netssi_%s %s\n# TYPE netssi_%s %s\n", name, help, name, type);
}

static void gauge(FILE *f, const char *name, const char *help, double value)
{
	family(f, name, "gauge", help);
	fprintf(f, "netssi_%s %.15g\n", name, value);
}

/* A label's value: quotes, backslashes and line ends are escaped. */
static void label(FILE *f, const char *name, const char *value, bool first)
{
	fprintf(f, "%s%s=\"", first ? "" : ",", name);
	for (; value && *value; value++) {
		if (*value == '\n')
			fputs("\\n", f);
		else
			fprintf(f, "%s%c", *value == '"' || *value == '\\' ? "\\" : "", *value);
	}
	fputc('"', f);
}

/* ---- membership ---- */

static void put_state(FILE *f, struct netd *n)
{
	static const enum member_status all[] = {MEMBER_IDLE, MEMBER_JOINING, MEMBER_LIVE, MEMBER_FENCED};

	family(f, "state", "gauge", "Of this node, 1 for the one it is in: idle, joining, up, fenced");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		fprintf(f, "netssi_state{state=\"%s\"} %d\n", member_status_name(all[i]),
			member_status(n->member) == all[i]);
}

struct node_counts {
	unsigned int up, joining, dead, suspect;
};

static void count_node(void *arg, const struct member_node *node)
{
	struct node_counts *c = arg;

	c->up += node->info->state == NODE_UP;
	c->joining += node->info->state == NODE_JOINING;
	c->dead += node->info->state == NODE_DEAD;
	c->suspect += node->suspect > 0;
}

static void put_nodes(FILE *f, struct netd *n)
{
	struct node_counts c = {};

	member_each(n->member, count_node, &c);
	family(f, "nodes", "gauge", "Nodes of the cluster by state, as this node knows them");
	fprintf(f,
		"netssi_nodes{state=\"up\"} %u\nnetssi_nodes{state=\"joining\"} "
		"%u\nnetssi_nodes{state=\"dead\"} %u\n",
		c.up, c.joining, c.dead);
	gauge(f, "nodes_unheard", "Nodes that the leader does not hear; known on the leader", c.suspect);
}

static void put_member(FILE *f, struct netd *n)
{
	struct member_cluster c;

	put_state(f, n);
	if (member_status(n->member) == MEMBER_IDLE)
		return;
	member_cluster(n->member, &c);
	put_nodes(f, n);
	gauge(f, "quorum", "1 when this node holds a lease, 0 when it is cut off and silent", c.quorum);
	gauge(f, "leader", "1 on the node that leads", member_is_leader(n->member));
	gauge(f, "lease_left_seconds", "How long this node may still answer without a renewal",
	      c.lease_left_ms / 1e3);
	gauge(f, "lease_seconds", "A whole lease", c.lease_ms / 1e3);
	gauge(f, "voters", "Members that vote", c.voters);
	gauge(f, "voters_up", "Those of them that are up", c.voters_up);
	gauge(f, "one_death_from_loss", "1 when one more death loses the quorum", c.one_death_from_loss);
	gauge(f, "secure", "0 when the cluster talks in clear text", !c.insecure);
	gauge(f, "raft_term", "Term of the leader", c.term);
	gauge(f, "raft_commit_index", "Last entry known to be committed", c.commit_index);
	gauge(f, "raft_applied_index", "Last entry applied here", c.applied_index);
	gauge(f, "generation", "How often the cluster was rebuilt", c.generation);
}

/* ---- what status says ---- */

static void put_health(FILE *f, json_t *status)
{
	json_t *problem;
	int errors = 0, warnings = 0;
	size_t i;

	json_array_foreach(json_object_get(status, "problems"), i, problem)
	{
		if (!strcmp(json_string_value(json_object_get(problem, "severity")) ?: "", "error"))
			errors++;
		else
			warnings++;
	}
	gauge(f, "healthy", "1 when `netctl status --check` succeeds",
	      json_is_true(json_object_get(status, "healthy")));
	family(f, "problems", "gauge", "What status complains of");
	fprintf(f, "netssi_problems{severity=\"error\"} %d\nnetssi_problems{severity=\"warning\"} %d\n",
		errors, warnings);
}

static void put_objects(FILE *f, struct netd *n)
{
	const struct {
		const char *set;
		struct kddm_set *kddm;
	} sets[] = {
		{"vips", n->sets.vips},	  {"ports", n->sets.ports},   {"apps", n->sets.apps},
		{"moves", n->sets.moves}, {"blocks", n->sets.blocks},
	};

	family(f, "objects", "gauge", "Objects of the replicated sets");
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		fprintf(f, "netssi_objects{set=\"%s\"} %zu\n", sets[i].set, (size_t)kddm_count(sets[i].kddm));
}

/* ---- data path ---- */

static void put_packets(FILE *f, json_t *rows)
{
	static const char *const keys[] = {"dir", "vip", "verdict", "reason"};
	long long lost = 0;
	json_t *row;
	size_t i;

	family(f, "packets_total", "counter", "Packets by the reason of their fate");
	json_array_foreach(rows, i, row)
	{
		long long packets = json_integer_value(json_object_get(row, "packets"));

		if (!*json_string_value(json_object_get(row, "dir"))) {
			lost = packets;
			continue;
		}
		fputs("netssi_packets_total{", f);
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			label(f, keys[k], json_string_value(json_object_get(row, keys[k])), !k);
		fprintf(f, "} %lld\n", packets);
	}
	family(f, "socket_events_lost_total", "counter", "Socket events that found the ring full");
	fprintf(f, "netssi_socket_events_lost_total %lld\n", lost);
}

static void put_port(FILE *f, const char *name, const char *dir, const char *key, json_t *row)
{
	fprintf(f, "netssi_%s{", name);
	label(f, "vip", json_string_value(json_object_get(row, "vip")), true);
	label(f, "proto", json_string_value(json_object_get(row, "proto")), false);
	fprintf(f, ",port=\"%lld\"", (long long)json_integer_value(json_object_get(row, "port")));
	label(f, "app", json_string_value(json_object_get(row, "app")), false);
	label(f, "dir", dir, false);
	fprintf(f, "} %lld\n", (long long)json_integer_value(json_object_get(row, key)));
}

static void put_ports(FILE *f, json_t *rows)
{
	json_t *row;
	size_t i;

	family(f, "port_packets_total", "counter", "Packets of a port that this node answers on");
	json_array_foreach(rows, i, row)
	{
		put_port(f, "port_packets_total", "in", "packets_in", row);
		put_port(f, "port_packets_total", "out", "packets_out", row);
	}
	family(f, "port_bytes_total", "counter", "Bytes of frames of a port that this node answers on");
	json_array_foreach(rows, i, row)
	{
		put_port(f, "port_bytes_total", "in", "bytes_in", row);
		put_port(f, "port_bytes_total", "out", "bytes_out", row);
	}
}

static void put_datapath(FILE *f, struct netd *n)
{
	json_t *reasons = stats_reasons(n->datapath), *ports = stats_ports(n->datapath);
	unsigned int exposed = 0;

	for (int i = 0; i < DATAPATH_VIPS; i++)
		exposed += n->datapath->vips[i].exposed;
	gauge(f, "vips_exposed", "Cluster addresses that this node serves", exposed);
	put_packets(f, reasons);
	put_ports(f, ports);
	json_decref(reasons);
	json_decref(ports);
}

/* ---- all ---- */

static void put_self(FILE *f, struct netd *n)
{
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	family(f, "info", "gauge", "This netd");
	fputs("netssi_info{", f);
	label(f, "node", member_self_name(n->member), true);
	label(f, "version", SSI_VERSION, false);
	fputs("} 1\n", f);
	if (statm && fscanf(statm, "%*u %lu", &pages) == 1)
		gauge(f, "memory_bytes", "Resident memory of netd", (double)pages * sysconf(_SC_PAGESIZE));
	if (statm)
		fclose(statm);
}

char *metrics_text(struct netd *n, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);
	json_t *status;

	if (!f)
		return NULL;
	put_self(f, n);
	put_member(f, n);
	status = ctl_status_object(n);
	put_health(f, status);
	json_decref(status);
	put_objects(f, n);
	if (n->datapath)
		put_datapath(f, n);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
