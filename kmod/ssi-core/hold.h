/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hold queue; see ssi/core.h for what it promises.
 */
#ifndef SSI_CORE_HOLD_H
#define SSI_CORE_HOLD_H

#include <linux/in6.h>
#include <linux/types.h>
#include <ssi/core.h>

struct net;
struct net_device;
struct netlink_ext_ack;

struct hold_key {
	struct in6_addr addr; /* IPv4: mapped */
	u16 port;	      /* host order */
	u8 proto;
	u8 pad;
};

/* A port as user space sees it. */
struct hold_info {
	struct hold_key key;
	enum ssi_hold_state state;
	u32 waiting; /* packets */
	u32 held_ms;
	u64 reasons[SSI_HOLD_REASON_COUNT];
};

int __init hold_init(void);
void hold_exit(void);

/*
 * The queue with this index, a reference held (dev_put()); ERR_PTR(-ENODEV), ERR_PTR(-EINVAL)
 * with a text. Any context that may sleep.
 */
struct net_device *hold_dev_get(struct net *net, u32 ifindex, struct netlink_ext_ack *extack);

/*
 * All four may sleep and exclude each other for one queue. -ENODEV: the device is going away;
 * -ENOENT: the port is unknown.
 */
int hold_begin(struct net_device *dev, const struct hold_key *key);
int hold_release(struct net_device *dev, const struct hold_key *key, u32 budget, struct hold_info *out);
int hold_discard(struct net_device *dev, const struct hold_key *key);
int hold_get(struct net_device *dev, const struct hold_key *key, struct hold_info *out);
/* The n-th port, in no particular order; -ENOENT after the last. */
int hold_get_nth(struct net_device *dev, unsigned long n, struct hold_info *out);

#endif
