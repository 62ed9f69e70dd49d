// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family "ssi_core": turns messages into calls of the hold queue, of the claims and of
 * what moves connections, and what these have to say into messages. Holds no state and no locks of its own.
 */
#include <linux/in.h>
#include <linux/netdevice.h>
#include <net/genetlink.h>
#include <net/ipv6.h>

#include "claim.h"
#include "conn.h"
#include "hold.h"
#include "netlink.h"

static const struct netlink_range_validation port_range = {.min = 1, .max = 65535};

static const struct netlink_range_validation limit_range = {.min = SSI_CLAIM_LIMIT_MS_MIN,
							    .max = SSI_CLAIM_LIMIT_MS_MAX};

/* Each command takes what it needs and refuses the rest. */
#define POLICY_IFINDEX [SSI_CORE_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1)
#define POLICY_TARGET                                                                       \
	POLICY_IFINDEX, [SSI_CORE_A_ADDR4] = NLA_POLICY_EXACT_LEN(sizeof(struct in_addr)),  \
			[SSI_CORE_A_ADDR6] = NLA_POLICY_EXACT_LEN(sizeof(struct in6_addr)), \
			[SSI_CORE_A_PROTO] = {.type = NLA_U8},                              \
			[SSI_CORE_A_PORT] = NLA_POLICY_FULL_RANGE(NLA_U16, &port_range)

static const struct nla_policy target_policy[SSI_CORE_A_PORT + 1] = {POLICY_TARGET};

static const struct nla_policy release_policy[SSI_CORE_A_BUDGET + 1] = {
	POLICY_TARGET,
	[SSI_CORE_A_BUDGET] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy dump_policy[SSI_CORE_A_IFINDEX + 1] = {POLICY_IFINDEX};

static const struct nla_policy serve_policy[SSI_CORE_A_LIMIT_MS + 1] = {
	[SSI_CORE_A_LIMIT_MS] = NLA_POLICY_FULL_RANGE(NLA_U32, &limit_range),
};

static const struct nla_policy answer_policy[SSI_CORE_A_ERROR + 1] = {
	[SSI_CORE_A_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[SSI_CORE_A_ERROR] = {.type = NLA_U32},
};

#define POLICY_TASKS \
	[SSI_CORE_A_TASKS] = {.type = NLA_BINARY, .len = SSI_CONN_TASKS_MAX * sizeof(struct ssi_conn_task)}

static const struct nla_policy export_policy[SSI_CORE_A_TRY + 1] = {
	POLICY_TASKS,
	[SSI_CORE_A_FD] = {.type = NLA_U32},
	[SSI_CORE_A_TRY] = {.type = NLA_FLAG},
};

static const struct nla_policy import_policy[SSI_CORE_A_FD + 1] = {
	POLICY_TASKS,
	[SSI_CORE_A_FD] = {.type = NLA_U32},
};

static const struct nla_policy run_policy[SSI_CORE_A_ADVANCE + 1] = {
	POLICY_TASKS,
	[SSI_CORE_A_ADVANCE] = {.type = NLA_U32},
};

static const struct nla_policy empty_policy[SSI_CORE_A_PAD + 1];

static struct genl_family ssi_core_family;

/* ---- what is asked -------------------------------------------------------------- */
static int read_addr(const struct genl_info *info, struct hold_key *key)
{
	const struct nlattr *v4 = info->attrs[SSI_CORE_A_ADDR4], *v6 = info->attrs[SSI_CORE_A_ADDR6];

	if (!v4 == !v6) {
		GENL_SET_ERR_MSG(info, "a port needs one address: ADDR4 or ADDR6");
		return -EINVAL;
	}
	if (v6)
		key->addr = nla_get_in6_addr(v6);
	else
		ipv6_addr_set_v4mapped(nla_get_in_addr(v4), &key->addr);
	return 0;
}

static int read_key(const struct genl_info *info, struct hold_key *key)
{
	memset(key, 0, sizeof(*key));
	if (GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_PROTO) || GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_PORT)) {
		GENL_SET_ERR_MSG(info, "a port needs PROTO and PORT");
		return -EINVAL;
	}
	key->proto = nla_get_u8(info->attrs[SSI_CORE_A_PROTO]);
	key->port = nla_get_u16(info->attrs[SSI_CORE_A_PORT]);
	if (key->proto != IPPROTO_TCP && key->proto != IPPROTO_UDP) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[SSI_CORE_A_PROTO], "TCP and UDP can be held");
		return -EOPNOTSUPP;
	}
	return read_addr(info, key);
}

/* Queue and port of a request. The device is to be put. */
static struct net_device *read_target(const struct genl_info *info, struct hold_key *key)
{
	int err = read_key(info, key);

	if (err)
		return ERR_PTR(err);
	if (GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_IFINDEX)) {
		GENL_SET_ERR_MSG(info, "IFINDEX of the hold queue is missing");
		return ERR_PTR(-EINVAL);
	}
	return hold_dev_get(genl_info_net(info), nla_get_u32(info->attrs[SSI_CORE_A_IFINDEX]), info->extack);
}

static int refuse(const struct genl_info *info, int err)
{
	switch (err) {
	case -ENOENT:
		GENL_SET_ERR_MSG(info, "this port is not held; HOLD it first");
		break;
	case -ENOSPC:
		GENL_SET_ERR_MSG(info, "too many ports are held; RELEASE or DISCARD some");
		break;
	case -ENODEV:
		GENL_SET_ERR_MSG(info, "the hold queue is going away");
		break;
	}
	return err;
}

/* ---- what is answered ------------------------------------------------------------ */
static int put_addr(struct sk_buff *msg, const struct in6_addr *addr)
{
	if (ipv6_addr_v4mapped(addr))
		return nla_put_in_addr(msg, SSI_CORE_A_ADDR4, addr->s6_addr32[3]);
	return nla_put_in6_addr(msg, SSI_CORE_A_ADDR6, addr);
}

static int put_reasons(struct sk_buff *msg, const u64 *reasons, int n)
{
	struct nlattr *nest = nla_nest_start(msg, SSI_CORE_A_REASONS);
	int i;

	if (!nest)
		return -EMSGSIZE;
	for (i = 0; i < n; i++)
		if (nla_put_u64_64bit(msg, i + 1, reasons[i], n + 1))
			return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

static int put_port(struct sk_buff *msg, u32 portid, u32 seq, int flags, u8 cmd, u32 ifindex,
		    const struct hold_info *port)
{
	void *hdr = genlmsg_put(msg, portid, seq, &ssi_core_family, flags, cmd);

	if (!hdr)
		return -EMSGSIZE;
	if (nla_put_u32(msg, SSI_CORE_A_IFINDEX, ifindex) || put_addr(msg, &port->key.addr) ||
	    nla_put_u8(msg, SSI_CORE_A_PROTO, port->key.proto) ||
	    nla_put_u16(msg, SSI_CORE_A_PORT, port->key.port) ||
	    nla_put_u8(msg, SSI_CORE_A_STATE, port->state) ||
	    nla_put_u32(msg, SSI_CORE_A_WAITING, port->waiting) ||
	    nla_put_u32(msg, SSI_CORE_A_HELD_MS, port->held_ms) ||
	    put_reasons(msg, port->reasons, SSI_HOLD_REASON_COUNT)) {
		genlmsg_cancel(msg, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return 0;
}

/* Takes `msg`. */
static int reply_port(struct genl_info *info, struct sk_buff *msg, u32 ifindex, const struct hold_info *port)
{
	int err = put_port(msg, info->snd_portid, info->snd_seq, 0, info->genlhdr->cmd, ifindex, port);

	if (err) {
		nlmsg_free(msg);
		return err;
	}
	return genlmsg_reply(msg, info);
}

/* ---- requests -------------------------------------------------------------------- */
/* HOLD and DISCARD: no answer but the acknowledgement. */
static int cmd_begin_or_end(struct sk_buff *skb, struct genl_info *info)
{
	struct net_device *dev;
	struct hold_key key;
	int err;

	dev = read_target(info, &key);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	if (info->genlhdr->cmd == SSI_CORE_CMD_HOLD)
		err = hold_begin(dev, &key);
	else
		err = hold_discard(dev, &key);
	dev_put(dev);
	return refuse(info, err);
}

static u32 read_budget(const struct genl_info *info)
{
	const struct nlattr *budget = info->attrs[SSI_CORE_A_BUDGET];

	return budget ? nla_get_u32(budget) : SSI_HOLD_BUDGET;
}

/* RELEASE, and GET of one port. */
static int cmd_port(struct sk_buff *skb, struct genl_info *info)
{
	struct net_device *dev;
	struct hold_info port;
	struct hold_key key;
	struct sk_buff *msg;
	u32 ifindex;
	int err;

	dev = read_target(info, &key);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	ifindex = dev->ifindex;
	/* First: what is released cannot be taken back when there is no memory to say so. */
	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		err = -ENOMEM;
	else if (info->genlhdr->cmd == SSI_CORE_CMD_RELEASE)
		err = hold_release(dev, &key, read_budget(info), &port);
	else
		err = hold_get(dev, &key, &port);
	dev_put(dev);
	if (!err)
		return reply_port(info, msg, ifindex, &port);
	nlmsg_free(msg);
	return refuse(info, err);
}

static int cmd_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	const struct genl_info *info = genl_info_dump(cb);
	struct nlattr *ifindex = info->attrs[SSI_CORE_A_IFINDEX];
	struct net_device *dev;
	struct hold_info port;

	if (!ifindex) {
		NL_SET_ERR_MSG(cb->extack, "IFINDEX of the hold queue is missing");
		return -EINVAL;
	}
	dev = hold_dev_get(genl_info_net(info), nla_get_u32(ifindex), cb->extack);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	while (!hold_get_nth(dev, cb->args[0], &port)) {
		if (put_port(msg, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, NLM_F_MULTI,
			     SSI_CORE_CMD_GET, dev->ifindex, &port))
			break;
		cb->args[0]++;
	}
	dev_put(dev);
	return msg->len;
}

/* ---- claims ------------------------------------------------------------------------ */
static int cmd_serve(struct sk_buff *skb, struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_LIMIT_MS)) {
		GENL_SET_ERR_MSG(info, "LIMIT_MS is missing: how long a program waits");
		return -EINVAL;
	}
	return claim_serve(genl_info_net(info), info->snd_portid,
			   nla_get_u32(info->attrs[SSI_CORE_A_LIMIT_MS]), info->extack);
}

static int cmd_answer(struct sk_buff *skb, struct genl_info *info)
{
	u32 err;

	if (GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_ID) || GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_ERROR)) {
		GENL_SET_ERR_MSG(info, "an answer needs ID and ERROR");
		return -EINVAL;
	}
	err = nla_get_u32(info->attrs[SSI_CORE_A_ERROR]);
	if (err && err != EADDRINUSE) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[SSI_CORE_A_ERROR], "ERROR is 0 or EADDRINUSE");
		return -EINVAL;
	}
	return claim_answer(genl_info_net(info), info->snd_portid, nla_get_u32(info->attrs[SSI_CORE_A_ID]),
			    -(int)err, info->extack);
}

static int put_claims(struct sk_buff *msg, const struct claims_info *claims)
{
	if (nla_put_u32(msg, SSI_CORE_A_LIMIT_MS, claims->limit_ms) ||
	    nla_put_u32(msg, SSI_CORE_A_SERVER, claims->server) ||
	    nla_put_u32(msg, SSI_CORE_A_WAITING, claims->waiting))
		return -EMSGSIZE;
	return put_reasons(msg, claims->reasons, SSI_CLAIM_REASON_COUNT);
}

static int cmd_claims(struct sk_buff *skb, struct genl_info *info)
{
	struct claims_info claims;
	struct sk_buff *msg;
	void *hdr;

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	claims_get(genl_info_net(info), &claims);
	hdr = genlmsg_put_reply(msg, info, &ssi_core_family, 0, SSI_CORE_CMD_CLAIMS);
	if (!hdr || put_claims(msg, &claims)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int put_claim(struct sk_buff *msg, const struct claim *claim)
{
	if (nla_put_u32(msg, SSI_CORE_A_ID, claim->id) || put_addr(msg, &claim->addr) ||
	    nla_put_u8(msg, SSI_CORE_A_PROTO, claim->proto) ||
	    nla_put_u16(msg, SSI_CORE_A_PORT, claim->port) ||
	    nla_put_u64_64bit(msg, SSI_CORE_A_COOKIE, claim->cookie, SSI_CORE_A_PAD) ||
	    nla_put_u64_64bit(msg, SSI_CORE_A_CGROUP, claim->cgroup, SSI_CORE_A_PAD) ||
	    nla_put_u32(msg, SSI_CORE_A_PID, claim->pid) ||
	    nla_put_string(msg, SSI_CORE_A_COMM, claim->comm) ||
	    (claim->only6 && nla_put_flag(msg, SSI_CORE_A_ONLY6)))
		return -EMSGSIZE;
	return 0;
}

int ssi_netlink_claim(struct net *net, u32 portid, const struct claim *claim)
{
	struct sk_buff *msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	void *hdr = msg ? genlmsg_put(msg, 0, 0, &ssi_core_family, 0, SSI_CORE_CMD_CLAIM) : NULL;

	if (!hdr || put_claim(msg, claim)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_unicast(net, msg, portid);
}

void ssi_netlink_ended(struct net *net, u32 portid, u32 id, enum ssi_claim_reason reason)
{
	struct sk_buff *msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	void *hdr = msg ? genlmsg_put(msg, 0, 0, &ssi_core_family, 0, SSI_CORE_CMD_ENDED) : NULL;

	if (!hdr || nla_put_u32(msg, SSI_CORE_A_ID, id) || nla_put_u8(msg, SSI_CORE_A_REASON, reason)) {
		nlmsg_free(msg);
		return;
	}
	genlmsg_end(msg, hdr);
	/* A server that does not hear of it sees no listener, and gives the port up. */
	genlmsg_unicast(net, msg, portid);
}

/* ---- connections ------------------------------------------------------------------- */
/* `msg` is taken. */
static int reply_u32(struct genl_info *info, struct sk_buff *msg, int attr, u32 value)
{
	void *hdr = genlmsg_put_reply(msg, info, &ssi_core_family, 0, info->genlhdr->cmd);

	if (!hdr || nla_put_u32(msg, attr, value)) {
		nlmsg_free(msg);
		return -EMSGSIZE;
	}
	genlmsg_end(msg, hdr);
	return genlmsg_reply(msg, info);
}

static int cmd_format(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);

	return msg ? reply_u32(info, msg, SSI_CORE_A_FORMAT, SSI_CONN_FORMAT) : -ENOMEM;
}

static int read_tasks(const struct genl_info *info, struct conn_request *rq)
{
	const struct nlattr *tasks = info->attrs[SSI_CORE_A_TASKS];

	if (!tasks || !nla_len(tasks) || nla_len(tasks) % sizeof(*rq->tasks)) {
		GENL_SET_ERR_MSG(info, "TASKS is missing: whose connections, struct ssi_conn_task each");
		return -EINVAL;
	}
	rq->tasks = nla_data(tasks);
	rq->ntasks = nla_len(tasks) / sizeof(*rq->tasks);
	return 0;
}

static int do_conns(const struct genl_info *info, struct conn_request *rq)
{
	const struct nlattr *advance = info->attrs[SSI_CORE_A_ADVANCE];

	if (info->genlhdr->cmd == SSI_CORE_CMD_RUN)
		return conn_run(rq, advance ? nla_get_u32(advance) : 0);
	if (nla_get_flag(info->attrs[SSI_CORE_A_TRY]))
		return conn_try(rq);
	if (GENL_REQ_ATTR_CHECK(info, SSI_CORE_A_FD)) {
		GENL_SET_ERR_MSG(info, "FD is missing: the file of the connections");
		return -EINVAL;
	}
	rq->fd = nla_get_u32(info->attrs[SSI_CORE_A_FD]);
	return info->genlhdr->cmd == SSI_CORE_CMD_EXPORT ? conn_export(rq) : conn_import(rq);
}

/* EXPORT, IMPORT, RUN. */
static int cmd_conns(struct sk_buff *skb, struct genl_info *info)
{
	struct conn_request rq = {.skb = skb, .net = genl_info_net(info), .extack = info->extack};
	struct sk_buff *msg;
	int ret;

	ret = read_tasks(info, &rq);
	if (ret)
		return ret;
	/* First: what is done cannot be taken back when there is no memory to say so. */
	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;
	ret = do_conns(info, &rq);
	if (ret >= 0)
		return reply_u32(info, msg, SSI_CORE_A_COUNT, ret);
	nlmsg_free(msg);
	return ret;
}

#define SSI_CORE_OP(name, how, does, takes)                 \
	{.cmd = SSI_CORE_CMD_##name,                        \
	 .flags = GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_##how, \
	 does,                                              \
	 .policy = takes,                                   \
	 .maxattr = ARRAY_SIZE(takes) - 1}

static const struct genl_split_ops ssi_core_ops[] = {
	SSI_CORE_OP(HOLD, DO, .doit = cmd_begin_or_end, target_policy),
	SSI_CORE_OP(RELEASE, DO, .doit = cmd_port, release_policy),
	SSI_CORE_OP(DISCARD, DO, .doit = cmd_begin_or_end, target_policy),
	SSI_CORE_OP(GET, DO, .doit = cmd_port, target_policy),
	SSI_CORE_OP(GET, DUMP, .dumpit = cmd_dump, dump_policy),
	SSI_CORE_OP(SERVE, DO, .doit = cmd_serve, serve_policy),
	SSI_CORE_OP(ANSWER, DO, .doit = cmd_answer, answer_policy),
	SSI_CORE_OP(CLAIMS, DO, .doit = cmd_claims, empty_policy),
	SSI_CORE_OP(FORMAT, DO, .doit = cmd_format, empty_policy),
	SSI_CORE_OP(EXPORT, DO, .doit = cmd_conns, export_policy),
	SSI_CORE_OP(IMPORT, DO, .doit = cmd_conns, import_policy),
	SSI_CORE_OP(RUN, DO, .doit = cmd_conns, run_policy),
};

static struct genl_family ssi_core_family __ro_after_init = {
	.name = SSI_CORE_FAMILY,
	.version = SSI_CORE_VERSION,
	.maxattr = SSI_CORE_A_MAX,
	.netnsok = true,
	.parallel_ops = true, /* other families do not wait while a queue is given back */
	.module = THIS_MODULE,
	.split_ops = ssi_core_ops,
	.n_split_ops = ARRAY_SIZE(ssi_core_ops),
	.resv_start_op = SSI_CORE_CMD_HOLD,
};

int __init ssi_netlink_init(void)
{
	return genl_register_family(&ssi_core_family);
}

void ssi_netlink_exit(void)
{
	genl_unregister_family(&ssi_core_family);
}
