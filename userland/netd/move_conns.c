// SPDX-License-Identifier: GPL-2.0
#include "move_conns.h"

#include <stdio.h>
#include <string.h>

#include "netd.h"
#include "userland/lib/conns.h"

static bool switched_off(const struct netd *n)
{
	return strcmp(n->conf.connections, "criu") == 0;
}

int move_conns_reads(const struct netd *n)
{
	return switched_off(n) ? 0 : conns_format();
}

void move_conns_choose(struct move_conns *c, const struct netd *n, json_t *here, json_t *there,
		       const char *node)
{
	json_int_t writes = json_integer_value(json_object_get(here, "conns"));
	json_int_t reads = json_integer_value(json_object_get(there, "conns"));
	const char *why = json_string_value(json_object_get(here, "conns_why")) ?: "its supervisor is older";

	c->apart = writes && writes == reads && !switched_off(n);
	if (c->apart)
		c->why[0] = '\0';
	else if (switched_off(n))
		snprintf(c->why, sizeof(c->why), "netd.conf says so");
	else if (!writes)
		snprintf(c->why, sizeof(c->why), "%s", why);
	else if (!reads)
		snprintf(c->why, sizeof(c->why), "%s has no module ssi_core, or is not to use it", node);
	else
		snprintf(c->why, sizeof(c->why), "the module ssi_core on %s is of another release", node);
}

void move_conns_confirm(struct move_conns *c, json_t *here, json_t *there)
{
	if (!c->apart ||
	    (json_is_true(json_object_get(here, "conns")) && json_is_true(json_object_get(there, "conns"))))
		return;
	c->apart = false;
	snprintf(c->why, sizeof(c->why), "a supervisor of it is older");
}

void move_conns_show(const struct move_conns *c, json_t *o)
{
	json_object_set_new(o, "connections_by", json_string(c->apart ? "ssi_core" : "criu"));
	json_object_set_new(o, "connections_why", json_string(c->why));
}
