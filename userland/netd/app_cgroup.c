// SPDX-License-Identifier: GPL-2.0
/*
 * The control group of an application whose supervisor was killed. Where systemd
 * runs it sees by itself that the scope is empty. The processes are still on
 * their way out, so it is tried for a while; a new supervisor keeps it.
 */
#include "app_cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "apps.h"
#include "datapath_int.h"
#include "keepers.h"
#include "userland/lib/keeper.h"

#define AGAIN_MS 50
#define TRIES	 200

struct drop {
	uv_timer_t timer;
	struct netd *netd;
	char name[APP_NAME_MAX];
	int tries;
};

static void drop_free(uv_handle_t *h)
{
	free(h->data);
}

static void drop_again(uv_timer_t *t)
{
	struct drop *d = t->data;
	const char *root = datapath_cgroup_root();
	char dir[PATH_MAX + 128];

	if (d->netd->apps && root && !keepers_find(apps_keepers(d->netd->apps), d->name)) {
		snprintf(dir, sizeof(dir), "%s/" NETD_CGROUP "/ssi-%s.scope/" KEEPER_FROZEN_GROUP, root,
			 d->name);
		rmdir(dir);
		snprintf(dir, sizeof(dir), "%s/" NETD_CGROUP "/ssi-%s.scope", root, d->name);
		if (rmdir(dir) < 0 && errno == EBUSY && ++d->tries < TRIES)
			return;
	}
	uv_close((uv_handle_t *)t, drop_free);
}

void app_cgroup_drop(struct netd *n, const char *name)
{
	struct drop *d = sd_booted() > 0 ? NULL : calloc(1, sizeof(*d));

	if (!d)
		return;
	d->netd = n;
	snprintf(d->name, sizeof(d->name), "%s", name);
	uv_timer_init(n->loop, &d->timer);
	d->timer.data = d;
	uv_timer_start(&d->timer, drop_again, 0, AGAIN_MS);
	uv_unref((uv_handle_t *)&d->timer);
}
