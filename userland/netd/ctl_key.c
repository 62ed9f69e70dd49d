/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Commands about the cluster's key, on top of member.h. No key ever passes here,
 * only its name. One thread: the loop.
 */
#include <stdlib.h>

#include "userland/netd/ctl.h"
#include "userland/netd/ctl_cluster.h"
#include "userland/netd/member.h"
#include "userland/netd/netd.h"

#define OVERLAP_S     86400
#define OVERLAP_MIN_S 10
#define OVERLAP_MAX_S (30 * 86400)

struct rotation {
	struct netd *n;
	struct ctl_request *r;
};

static json_t *key_json(struct netd *n)
{
	json_t *without = json_array(), *o;
	struct member_key key;

	member_key_info(n->member, &key);
	for (size_t i = 0; i < key.n_without; i++)
		json_array_append_new(without, json_string(member_name(n->member, key.without[i])));
	o = json_pack("{s:b, s:s, s:i, s:o}", "changed", 1, "key", key.name, "generation",
		      (int)key.generation, "without", without);
	ctl_time_set(o, "old_until", key.old_until_ms);
	return json_pack("[o]", o);
}

static void rotated(void *arg, const struct member_error *error)
{
	struct rotation *rot = arg;

	if (error)
		ctl_fail(rot->r, error->code, error->remedy, "%s", error->text);
	else
		ctl_ok(rot->r, key_json(rot->n));
	free(rot);
}

static void cmd_key_rotate(void *arg, struct ctl_request *r, json_t *args)
{
	bool bad = false;
	int64_t overlap = ctl_arg_int(args, "overlap_s", OVERLAP_S, 0, OVERLAP_MAX_S, &bad);
	struct rotation *rot;

	if (bad || (overlap && overlap < OVERLAP_MIN_S)) {
		ctl_fail(r, CTL_USAGE, "give 10s to 30d with --overlap, or 0",
			 "the key before cannot be good for so short or so long a time");
		return;
	}
	rot = malloc(sizeof(*rot));
	if (!rot) {
		ctl_fail(r, CTL_FAILED, "free some memory", "out of memory");
		return;
	}
	*rot = (struct rotation){arg, r};
	member_key_rotate(rot->n->member, (unsigned int)overlap, rotated, rot);
}

int ctl_key_start(struct netd *n)
{
	ctl_register(n->ctl, "key-rotate", CTL_ROOT | CTL_QUORUM, cmd_key_rotate, n);
	return 0;
}
