// SPDX-License-Identifier: GPL-2.0
/*
 * The hold queue: a network device whose transmit side queues packets by port
 * and whose receive side gives them back. See ssi/core.h for the states.
 *
 * Locking: hold_dev.lock (BH off) guards ports, queues and figures; packets take
 * it on their way in. hold_dev.control (sleeps, outside of lock) makes the four
 * operations of user space exclude each other and teardown; with it held a port
 * stays in the table. Packets are given back with neither lock but control held,
 * so that the stack may send into the queue again.
 */
#include <linux/etherdevice.h>
#include <linux/hashtable.h>
#include <linux/if_arp.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jhash.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/random.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/user_namespace.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/rtnetlink.h>

#include "hold.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define HOLD_MTU	65500 /* whatever the interfaces have */
#define HOLD_TICK	(HZ / 2)
#define HOLD_PORTS_BITS 6
#define HOLD_SEEN_BITS	14 /* for the segments that fit into a queue: some eighty thousand */

/* Whose memory a packet takes. */
enum hold_share { HOLD_KNOWN, HOLD_STRANGER, HOLD_SHARES };
static const size_t hold_share_max[HOLD_SHARES] = {SSI_HOLD_BYTES_MAX, SSI_HOLD_STRANGERS_MAX};

struct hold_port;

/* What makes a TCP segment of a port the same as another one. */
struct hold_segment {
	u32 source; /* hash of the address */
	__be32 seq;
	__be16 sport;
	u16 len;
	u32 flags; /* SYN, FIN */
};

/* In skb->cb while it waits. */
struct hold_cb {
	struct hlist_node seen; /* unhashed: no segment */
	const struct hold_port *port;
	struct hold_segment segment;
	u32 since; /* jiffies */
	u8 share;
	bool users; /* counts in hold_users_bytes */
};

struct hold_port {
	struct hlist_node node;
	struct list_head passing; /* in state PASSING: hold_dev.passing */
	struct hold_key key;
	enum ssi_hold_state state;
	struct sk_buff_head queue; /* its own lock is not used */
	u32 held_max;		   /* jiffies */
	u64 reasons[SSI_HOLD_REASON_COUNT];
};

struct hold_dev {
	struct net_device *dev;
	struct mutex control;
	bool dead; /* control */
	spinlock_t lock;
	DECLARE_HASHTABLE(ports, HOLD_PORTS_BITS);
	DECLARE_HASHTABLE(seen, HOLD_SEEN_BITS); /* segments that wait, of all ports */
	struct list_head passing;		 /* oldest first */
	unsigned int nports;
	size_t bytes[HOLD_SHARES];
	struct delayed_work tick;
};

/*
 * What waits in all queues of namespaces that belong to users: nobody is charged for it, and who may make
 * one queue may make any number.
 */
static atomic_long_t hold_users_bytes;

/* Who sends chooses what is hashed, and must not choose where it lands. */
static u32 hold_seed __ro_after_init;

static struct hold_cb *hold_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct hold_cb) > sizeof_field(struct sk_buff, cb));
	return (struct hold_cb *)skb->cb;
}

/* ---- what a packet is ------------------------------------------------------ */
static bool classify_tcp(const struct sk_buff *skb, unsigned int at, unsigned int wire, u32 source,
			 struct hold_cb *cb)
{
	struct tcphdr buf, *th = skb_header_pointer(skb, at, sizeof(buf), &buf);
	unsigned int payload;

	if (!th)
		return false;
	payload = wire > th->doff * 4u ? wire - th->doff * 4u : 0;
	cb->share = th->syn ? HOLD_STRANGER : HOLD_KNOWN;
	cb->segment = (struct hold_segment){
		.source = source,
		.seq = th->seq,
		.sport = th->source,
		.len = payload,
		.flags = th->syn << 1 | th->fin,
	};
	return true;
}

/* Bare acknowledgements may well look alike: each counts. */
static bool is_segment(const struct hold_cb *cb)
{
	return cb->segment.len || cb->segment.flags;
}

static bool classify_l4(const struct sk_buff *skb, unsigned int at, unsigned int wire, u32 source,
			struct hold_key *key, struct hold_cb *cb)
{
	__be16 ports[2], *p = skb_header_pointer(skb, at, sizeof(ports), ports);

	if (!p || wire < sizeof(ports))
		return false;
	key->port = ntohs(p[1]);
	if (key->proto == IPPROTO_TCP)
		return classify_tcp(skb, at, wire, source, cb);
	cb->share = HOLD_STRANGER;
	return key->proto == IPPROTO_UDP;
}

static bool classify_v4(const struct sk_buff *skb, struct hold_key *key, struct hold_cb *cb)
{
	struct iphdr buf, *ip = skb_header_pointer(skb, ETH_HLEN, sizeof(buf), &buf);
	unsigned int ihl, len;

	if (!ip || ip->version != 4 || ip->frag_off & htons(IP_OFFSET))
		return false;
	ihl = ip->ihl * 4u;
	/* A packet too large for the field is of the stack's own making (BIG TCP). */
	len = ntohs(ip->tot_len) ?: skb->len - ETH_HLEN;
	if (ihl < sizeof(*ip) || len < ihl)
		return false;
	ipv6_addr_set_v4mapped(ip->daddr, &key->addr);
	key->proto = ip->protocol;
	return classify_l4(skb, ETH_HLEN + ihl, len - ihl, jhash_1word((__force u32)ip->saddr, hold_seed),
			   key, cb);
}

static bool classify_v6(const struct sk_buff *skb, struct hold_key *key, struct hold_cb *cb)
{
	struct ipv6hdr buf, *ip = skb_header_pointer(skb, ETH_HLEN, sizeof(buf), &buf);
	__be16 frag = 0;
	u8 proto;
	int at;

	if (!ip || ip->version != 6)
		return false;
	proto = ip->nexthdr;
	at = ipv6_skip_exthdr(skb, ETH_HLEN + sizeof(*ip), &proto, &frag);
	if (at < 0 || at > skb->len || frag & htons(IP6_OFFSET))
		return false;
	key->addr = ip->daddr;
	key->proto = proto;
	return classify_l4(skb, at, skb->len - at, jhash(&ip->saddr, sizeof(ip->saddr), hold_seed), key, cb);
}

/* To whom the packet goes; false: it is nothing that can be held. */
static bool classify(const struct sk_buff *skb, struct hold_key *key, struct hold_cb *cb)
{
	memset(key, 0, sizeof(*key));
	memset(cb, 0, sizeof(*cb));
	switch (skb->protocol) {
	case htons(ETH_P_IP):
		return classify_v4(skb, key, cb);
	case htons(ETH_P_IPV6):
		return classify_v6(skb, key, cb);
	}
	return false;
}

/* ---- ports ------------------------------------------------------------------ */
static u32 hold_hash(const struct hold_key *key)
{
	return jhash(key, sizeof(*key), hold_seed);
}

static struct hold_port *port_find(struct hold_dev *d, const struct hold_key *key)
{
	struct hold_port *p;

	lockdep_assert_held(&d->lock);
	hash_for_each_possible(d->ports, p, node,
			       hold_hash(key)) if (!memcmp(&p->key, key, sizeof(*key))) return p;
	return NULL;
}

static void port_count(struct hold_dev *d, struct hold_port *p, unsigned int len, enum ssi_hold_reason reason)
{
	lockdep_assert_held(&d->lock);
	p->reasons[reason]++;
	trace_ssi_hold(d->dev, &p->key, len, reason);
}

static void port_set_state(struct hold_dev *d, struct hold_port *p, enum ssi_hold_state state)
{
	lockdep_assert_held(&d->lock);
	list_del_init(&p->passing);
	p->state = state;
	if (state == SSI_HOLD_PASSING)
		list_add_tail(&p->passing, &d->passing);
}

/* ---- a port's queue ----------------------------------------------------------- */
static u32 segment_hash(const struct hold_port *p, const struct hold_segment *s)
{
	return jhash(s, sizeof(*s), hold_seed + p->key.port);
}

static bool queue_has(const struct hold_dev *d, const struct hold_port *p, const struct hold_segment *s)
{
	struct hold_cb *cb;

	lockdep_assert_held(&d->lock);
	hash_for_each_possible(d->seen, cb, seen, segment_hash(p, s))
	{
		if (cb->port == p && !memcmp(&cb->segment, s, sizeof(*s)))
			return true;
	}
	return false;
}

static void queue_put(struct hold_dev *d, struct hold_port *p, struct sk_buff *skb)
{
	struct hold_cb *cb = hold_cb(skb);

	lockdep_assert_held(&d->lock);
	cb->since = (u32)jiffies;
	cb->port = p;
	INIT_HLIST_NODE(&cb->seen);
	if (is_segment(cb))
		hash_add(d->seen, &cb->seen, segment_hash(p, &cb->segment));
	d->bytes[cb->share] += skb->truesize;
	if (cb->users)
		atomic_long_add(skb->truesize, &hold_users_bytes);
	__skb_queue_tail(&p->queue, skb);
}

static struct sk_buff *queue_take(struct hold_dev *d, struct hold_port *p)
{
	struct sk_buff *skb = __skb_dequeue(&p->queue);
	struct hold_cb *cb;

	lockdep_assert_held(&d->lock);
	if (!skb)
		return NULL;
	cb = hold_cb(skb);
	hash_del(&cb->seen);
	d->bytes[cb->share] -= skb->truesize;
	if (cb->users)
		atomic_long_sub(skb->truesize, &hold_users_bytes);
	p->held_max = max(p->held_max, (u32)jiffies - cb->since);
	return skb;
}

/* Takes out all that waits, to be freed when the lock is free. */
static void queue_clear(struct hold_dev *d, struct hold_port *p, struct sk_buff_head *freed)
{
	struct sk_buff *skb;

	while ((skb = queue_take(d, p))) {
		port_count(d, p, skb->len, SSI_HOLD_R_DISCARDED);
		__skb_queue_tail(freed, skb);
	}
}

static void port_remove(struct hold_dev *d, struct hold_port *p, struct sk_buff_head *freed)
{
	lockdep_assert_held(&d->lock);
	queue_clear(d, p, freed);
	hash_del(&p->node);
	list_del(&p->passing);
	d->nports--;
	kfree(p);
}

/* ---- packets in ------------------------------------------------------------------ */
static bool has_room(const struct hold_dev *d, const struct hold_cb *cb, unsigned int truesize)
{
	if (cb->users && atomic_long_read(&hold_users_bytes) + truesize > SSI_HOLD_BYTES_MAX)
		return false;
	return d->bytes[cb->share] + truesize <= hold_share_max[cb->share];
}

static enum ssi_hold_reason admit(const struct hold_dev *d, const struct hold_port *p,
				  const struct hold_cb *cb, unsigned int truesize)
{
	lockdep_assert_held(&d->lock);
	if (p->state == SSI_HOLD_PASSING)
		return SSI_HOLD_R_PASSED;
	if (is_segment(cb) && queue_has(d, p, &cb->segment))
		return SSI_HOLD_R_DUPLICATE;
	if (!has_room(d, cb, truesize))
		return cb->share == HOLD_STRANGER ? SSI_HOLD_R_STRANGERS_FULL : SSI_HOLD_R_FULL;
	return SSI_HOLD_R_QUEUED;
}

/* Back out of the device, as if received by it: what is still to be done is to hand it to the stack. */
static struct sk_buff *given_back(struct hold_dev *d, struct sk_buff *skb)
{
	memset(skb->cb, 0, sizeof(skb->cb));
	skb->protocol = eth_type_trans(skb, d->dev);
	dev_sw_netstats_rx_add(d->dev, skb->len);
	return skb;
}

/*
 * What the way here has left on the packet means nothing on the way back; memory that
 * somebody waits for does not wait here.
 */
static int scrub(struct sk_buff *skb)
{
	skb_orphan(skb);
	skb_scrub_packet(skb, true);
	skb->priority = 0;
	return skb_orphan_frags_rx(skb, GFP_ATOMIC);
}

static netdev_tx_t hold_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct hold_dev *d = netdev_priv(dev);
	enum ssi_hold_reason reason;
	unsigned int len = skb->len;
	struct hold_port *p = NULL;
	struct hold_key key;
	struct hold_cb cb;

	if (!classify(skb, &key, &cb))
		goto drop;
	cb.users = dev_net(dev)->user_ns != &init_user_ns;
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb || scrub(skb))
		goto drop;
	spin_lock_bh(&d->lock);
	p = port_find(d, &key);
	if (!p)
		goto drop_unlock;
	reason = admit(d, p, &cb, skb->truesize);
	port_count(d, p, len, reason);
	if (reason == SSI_HOLD_R_QUEUED) {
		*hold_cb(skb) = cb;
		queue_put(d, p, skb);
	}
	spin_unlock_bh(&d->lock);
	switch (reason) {
	case SSI_HOLD_R_QUEUED:
		dev_sw_netstats_tx_add(dev, 1, len);
		if (!delayed_work_pending(&d->tick))
			schedule_delayed_work(&d->tick, HOLD_TICK);
		return NETDEV_TX_OK;
	case SSI_HOLD_R_PASSED:
		dev_sw_netstats_tx_add(dev, 1, len);
		netif_rx(given_back(d, skb));
		return NETDEV_TX_OK;
	default:
		goto drop;
	}

drop_unlock:
	spin_unlock_bh(&d->lock);
drop:
	dev_core_stats_tx_dropped_inc(dev);
	kfree_skb(skb);
	return NETDEV_TX_OK;
}

/* ---- what waited too long --------------------------------------------------------- */
static void port_age(struct hold_dev *d, struct hold_port *p, struct sk_buff_head *freed)
{
	struct sk_buff *skb;

	while ((skb = skb_peek(&p->queue))) {
		if ((u32)jiffies - hold_cb(skb)->since < msecs_to_jiffies(SSI_HOLD_AGE_MS))
			return;
		port_count(d, p, skb->len, SSI_HOLD_R_AGED);
		__skb_queue_tail(freed, queue_take(d, p));
	}
}

static void hold_tick(struct work_struct *work)
{
	struct hold_dev *d = container_of(work, struct hold_dev, tick.work);
	struct sk_buff_head freed;
	struct hold_port *p;
	bool waiting;
	int i;

	__skb_queue_head_init(&freed);
	spin_lock_bh(&d->lock);
	hash_for_each(d->ports, i, p, node) port_age(d, p, &freed);
	waiting = d->bytes[HOLD_KNOWN] || d->bytes[HOLD_STRANGER];
	spin_unlock_bh(&d->lock);
	__skb_queue_purge(&freed);
	/* What came since is late by one tick at most: the next packet starts it again. */
	if (waiting)
		schedule_delayed_work(&d->tick, HOLD_TICK);
}

/* ---- what user space asks ------------------------------------------------------------ */
/* Makes room by forgetting the port that passes for the longest time. */
static int port_add(struct hold_dev *d, struct hold_port *p, struct sk_buff_head *freed)
{
	if (d->nports >= SSI_HOLD_PORTS_MAX) {
		if (list_empty(&d->passing))
			return -ENOSPC;
		port_remove(d, list_first_entry(&d->passing, struct hold_port, passing), freed);
	}
	hash_add(d->ports, &p->node, hold_hash(&p->key));
	d->nports++;
	return 0;
}

static struct hold_port *port_alloc(const struct hold_key *key)
{
	struct hold_port *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);

	if (!p)
		return NULL;
	p->key = *key;
	__skb_queue_head_init(&p->queue);
	INIT_LIST_HEAD(&p->passing);
	return p;
}

int hold_begin(struct net_device *dev, const struct hold_key *key)
{
	struct hold_port *p, *spare = port_alloc(key);
	struct hold_dev *d = netdev_priv(dev);
	struct sk_buff_head freed;
	int err = 0;

	if (!spare)
		return -ENOMEM;
	__skb_queue_head_init(&freed);
	mutex_lock(&d->control);
	spin_lock_bh(&d->lock);
	p = port_find(d, key);
	if (d->dead) {
		err = -ENODEV;
	} else if (p) {
		if (p->state == SSI_HOLD_PASSING) {
			memset(p->reasons, 0, sizeof(p->reasons));
			p->held_max = 0;
		}
		port_set_state(d, p, SSI_HOLD_HELD);
	} else {
		err = port_add(d, spare, &freed);
		if (!err)
			spare = NULL;
	}
	spin_unlock_bh(&d->lock);
	mutex_unlock(&d->control);
	__skb_queue_purge(&freed);
	kfree(spare);
	return err;
}

static void port_info(const struct hold_port *p, struct hold_info *out)
{
	out->key = p->key;
	out->state = p->state;
	out->waiting = skb_queue_len(&p->queue);
	out->held_ms = jiffies_to_msecs(p->held_max);
	memcpy(out->reasons, p->reasons, sizeof(out->reasons));
}

/* The next packet of a port that is being released; NULL: none waits, the port passes. */
static struct sk_buff *release_next(struct hold_dev *d, struct hold_port *p)
{
	struct sk_buff *skb;

	spin_lock_bh(&d->lock);
	skb = queue_take(d, p);
	if (skb)
		port_count(d, p, skb->len, SSI_HOLD_R_RELEASED);
	else if (p->state == SSI_HOLD_RELEASING)
		port_set_state(d, p, SSI_HOLD_PASSING);
	spin_unlock_bh(&d->lock);
	return skb;
}

int hold_release(struct net_device *dev, const struct hold_key *key, u32 budget, struct hold_info *out)
{
	struct hold_dev *d = netdev_priv(dev);
	struct hold_port *p;
	struct sk_buff *skb;

	mutex_lock(&d->control);
	spin_lock_bh(&d->lock);
	p = port_find(d, key);
	if (p && p->state == SSI_HOLD_HELD)
		port_set_state(d, p, SSI_HOLD_RELEASING);
	/* And one to find it empty. It ends however fast more arrives: others wait for control. */
	if (p)
		budget = min(budget, skb_queue_len(&p->queue) + 1);
	spin_unlock_bh(&d->lock);
	if (!p) {
		mutex_unlock(&d->control);
		return -ENOENT;
	}
	while (budget-- && (skb = release_next(d, p))) {
		/* The stack takes it before the next one: its backlog is not for thousands, nor shared with a flood. */
		local_bh_disable();
		netif_receive_skb(given_back(d, skb));
		local_bh_enable();
		cond_resched();
	}
	spin_lock_bh(&d->lock);
	port_info(p, out);
	spin_unlock_bh(&d->lock);
	mutex_unlock(&d->control);
	return 0;
}

int hold_discard(struct net_device *dev, const struct hold_key *key)
{
	struct hold_dev *d = netdev_priv(dev);
	struct sk_buff_head freed;
	struct hold_port *p;

	__skb_queue_head_init(&freed);
	mutex_lock(&d->control);
	spin_lock_bh(&d->lock);
	p = port_find(d, key);
	if (p)
		port_remove(d, p, &freed);
	spin_unlock_bh(&d->lock);
	mutex_unlock(&d->control);
	__skb_queue_purge(&freed);
	return 0;
}

int hold_get(struct net_device *dev, const struct hold_key *key, struct hold_info *out)
{
	struct hold_dev *d = netdev_priv(dev);
	struct hold_port *p;

	spin_lock_bh(&d->lock);
	p = port_find(d, key);
	if (p)
		port_info(p, out);
	spin_unlock_bh(&d->lock);
	return p ? 0 : -ENOENT;
}

int hold_get_nth(struct net_device *dev, unsigned long n, struct hold_info *out)
{
	struct hold_dev *d = netdev_priv(dev);
	struct hold_port *p;
	int i, err = -ENOENT;

	spin_lock_bh(&d->lock);
	hash_for_each(d->ports, i, p, node)
	{
		if (n--)
			continue;
		port_info(p, out);
		err = 0;
		break;
	}
	spin_unlock_bh(&d->lock);
	return err;
}

/* ---- the device ------------------------------------------------------------------------ */
static int hold_dev_init(struct net_device *dev)
{
	struct hold_dev *d = netdev_priv(dev);

	/* A queue in use keeps the module. */
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	d->dev = dev;
	mutex_init(&d->control);
	spin_lock_init(&d->lock);
	hash_init(d->ports);
	hash_init(d->seen);
	INIT_LIST_HEAD(&d->passing);
	INIT_DELAYED_WORK(&d->tick, hold_tick);
	return 0;
}

static void hold_dev_uninit(struct net_device *dev)
{
	struct hold_dev *d = netdev_priv(dev);
	struct sk_buff_head freed;
	struct hlist_node *next;
	struct hold_port *p;
	int i;

	__skb_queue_head_init(&freed);
	mutex_lock(&d->control);
	d->dead = true;
	spin_lock_bh(&d->lock);
	hash_for_each_safe(d->ports, i, next, p, node) port_remove(d, p, &freed);
	spin_unlock_bh(&d->lock);
	mutex_unlock(&d->control);
	/* No packet comes any more, so nothing starts it again. */
	cancel_delayed_work_sync(&d->tick);
	__skb_queue_purge(&freed);
}

static void hold_dev_free(struct net_device *dev)
{
	module_put(THIS_MODULE);
}

static const struct net_device_ops hold_netdev_ops = {
	.ndo_init = hold_dev_init,
	.ndo_uninit = hold_dev_uninit,
	.ndo_start_xmit = hold_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static void hold_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &hold_netdev_ops;
	dev->needs_free_netdev = true;
	dev->priv_destructor = hold_dev_free;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	dev->flags |= IFF_NOARP;
	dev->flags &= ~(IFF_MULTICAST | IFF_BROADCAST);
	dev->priv_flags |= IFF_NO_QUEUE;
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->lltx = true;
	/* Packets wait as they came: merged, scattered, without checksum. */
	dev->features |= NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA |
			 NETIF_F_GSO_SOFTWARE | NETIF_F_GSO_ENCAP_ALL;
	dev->hw_features |= dev->features;
	dev->mtu = HOLD_MTU;
	dev->max_mtu = ETH_MAX_MTU;
	eth_hw_addr_random(dev);
}

static struct rtnl_link_ops hold_link_ops = {
	.kind = SSI_HOLD_KIND,
	.priv_size = sizeof(struct hold_dev),
	.setup = hold_setup,
};

struct net_device *hold_dev_get(struct net *net, u32 ifindex, struct netlink_ext_ack *extack)
{
	struct net_device *dev = dev_get_by_index(net, ifindex);

	if (!dev) {
		NL_SET_ERR_MSG(extack,
			       "no such device; make the queue first: ip link add NAME type ssi_hold");
		return ERR_PTR(-ENODEV);
	}
	if (dev->netdev_ops != &hold_netdev_ops) {
		NL_SET_ERR_MSG(extack,
			       "the device is no hold queue; make one: ip link add NAME type ssi_hold");
		dev_put(dev);
		return ERR_PTR(-EINVAL);
	}
	return dev;
}

int __init hold_init(void)
{
	hold_seed = get_random_u32();
	return rtnl_link_register(&hold_link_ops);
}

void hold_exit(void)
{
	rtnl_link_unregister(&hold_link_ops);
}
