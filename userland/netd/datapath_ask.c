// SPDX-License-Identifier: GPL-2.0
/* One question to every living node of the data path; the answers come back together. */
#include "datapath_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ask {
	ask_done_fn *done;
	void *arg;
	json_t *answers;
	unsigned int pending;
};

struct ask_one {
	struct ask *ask;
	char name[NODES_NAME_SIZE];
};

static const char *why(int status)
{
	switch (status) {
	case -EHOSTDOWN:
		return "the node cannot be reached";
	case -ETIMEDOUT:
		return "the node did not answer in time";
	case -ENOMEM:
		return "out of memory";
	}
	return "the node could not be asked";
}

static void ask_put(struct ask *ask)
{
	if (--ask->pending)
		return;
	ask->done(ask->arg, ask->answers);
	json_decref(ask->answers);
	free(ask);
}

static void answered(void *arg, int status, json_t *answer)
{
	struct ask_one *one = arg;
	struct ask *ask = one->ask;

	if (!status && json_is_object(answer))
		json_object_set(ask->answers, one->name, answer);
	else
		json_object_set_new(ask->answers, one->name,
				    json_pack("{ss,ss}", "error", why(status), "remedy",
					      "see `netctl nodes` and the log of netd there"));
	free(one);
	ask_put(ask);
}

void datapath_ask(struct datapath *dp, uint32_t only, const char *name, json_t *request,
		  unsigned int timeout_ms, ask_done_fn *done, void *arg)
{
	struct kddm_set *nodes = kddm_set_by_id(dp->netd->kddm, NODES_TYPE_ID);
	struct ask *ask = calloc(1, sizeof(*ask));
	const struct kddm_object *obj;
	uint32_t number[NODES_MAX];
	size_t n = 0;

	if (!ask) {
		done(arg, NULL);
		return;
	}
	*ask = (struct ask){.done = done, .arg = arg, .answers = json_object(), .pending = 1};
	kddm_for_each(nodes, obj)
	{
		const struct node_info *info = nodes_get(nodes, *(const uint32_t *)obj->key);

		if (info && (only ? info->number == only : nodes_in_datapath(info)))
			number[n++] = info->number;
	}
	for (size_t i = 0; i < n; i++) {
		struct ask_one *one = calloc(1, sizeof(*one));

		if (!one)
			continue;
		one->ask = ask;
		/* in the order of the nodes, not of their answers */
		json_object_set_new(ask->answers, datapath_node_name(dp, number[i]), json_object());
		strcpy(one->name, datapath_node_name(dp, number[i]));
		ask->pending++;
		peer_call(dp->netd->peers, number[i], name, request, timeout_ms, answered, one);
	}
	ask_put(ask);
}
