// SPDX-License-Identifier: GPL-2.0
/*
 * The hold queue: of the kernel module where it is, on a TAP device elsewhere.
 */
#include "hold_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <ssi/core.h>

#include "rtnl.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

/* Of `kind` (NULL: of any), which a netd before this one has left. */
static int remove_device(const char *kind)
{
	struct rtnl_link link = {};
	struct rtnl *rtnl;
	int err = rtnl_open(&rtnl);

	if (err)
		return err;
	err = rtnl_link_get(rtnl, 0, HOLD_DEVICE, &link);
	if (!err && (!kind || !strcmp(link.kind, kind)))
		err = rtnl_link_del(rtnl, link.index);
	rtnl_close(rtnl);
	return err == -ENODEV ? 0 : err;
}

int hold_open(struct hold **out, uv_loop_t *loop)
{
	int err = hold_core_open(out, loop);

	if (!err)
		return 0;
	if (err == -EPROTONOSUPPORT)
		log_warn("the module ssi_core that is loaded is of another release, holding in netd "
			 "instead; see netctl check");
	else if (err != -ENOENT)
		log_warn("the hold queue of ssi_core does not work, holding in netd instead: %s",
			 strerror(-err));
	remove_device(SSI_HOLD_KIND);
	return hold_tap_open(out, loop);
}

void hold_close(struct hold *h, bool remove)
{
	if (h)
		h->ops->close(h, remove);
}

int hold_remove(void)
{
	return remove_device(NULL);
}

bool hold_keep(struct hold *h)
{
	return h->ops->keep(h);
}

int hold_ifindex(const struct hold *h)
{
	return h->ifindex;
}

const char *hold_name(const struct hold *h)
{
	return h->ops->name;
}

int hold_begin(struct hold *h, struct hold_key key, const char *app)
{
	return h->ops->begin(h, key, app);
}

void hold_release(struct hold *h, struct hold_key key, hold_opened_fn *opened, void *arg)
{
	h->ops->release(h, key, opened, arg);
}

void hold_discard(struct hold *h, struct hold_key key)
{
	h->ops->discard(h, key);
}

void hold_stats(const struct hold *h, const char *app, struct hold_stats *out)
{
	*out = (struct hold_stats){};
	h->ops->stats(h, app, out);
}

void hold_device_quiet(void)
{
	_close_ int fd = open("/proc/sys/net/ipv6/conf/" HOLD_DEVICE "/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "1", 1) != 1)
		log_debug("hold: cannot turn IPv6 off on " HOLD_DEVICE ": %m");
}
