// SPDX-License-Identifier: GPL-2.0
/* Dumped by address, the kernel filters; deleted one by one. A machine that tracks nothing is left alone. */
#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <unistd.h>

#include "userland/lib/grow.h"

#define IN_USE "/proc/sys/net/netfilter/nf_conntrack_count"
#define BUF    32768

/* CTA_FILTER_*_FLAGS; the kernel's header keeps them to itself. */
#define FILTER_IP_SRC 0x01
#define FILTER_IP_DST 0x02

struct forgetting {
	bool theirs; /* the address called, else it was called */
	bool (*forget)(void *arg, uint8_t proto, uint16_t port);
	void *arg;
	char *found; /* CTA_TUPLE_ORIG attributes, one behind the other */
	size_t len, size;
};

static struct nlmsghdr *begin(char *buf, uint8_t family, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));

	nlh->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nfg->nfgen_family = family;
	return nlh;
}

static int talk(struct mnl_socket *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	char buf[BUF];
	ssize_t n;
	int rc;

	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		rc = n < 0 ? -1 : mnl_cb_run(buf, n, 0, mnl_socket_get_portid(nl), cb, arg);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

static const struct nlattr *nested(const struct nlattr *nest, int type)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, nest) if (mnl_attr_get_type(a) == type) return a;
	return NULL;
}

static void take(struct forgetting *f, const struct nlattr *orig)
{
	const struct nlattr *proto = nested(orig, CTA_TUPLE_PROTO), *num, *port;
	size_t len = MNL_ALIGN(orig->nla_len);

	num = proto ? nested(proto, CTA_PROTO_NUM) : NULL;
	port = proto ? nested(proto, f->theirs ? CTA_PROTO_SRC_PORT : CTA_PROTO_DST_PORT) : NULL;
	if (!num || !port || !f->forget(f->arg, mnl_attr_get_u8(num), ntohs(mnl_attr_get_u16(port))))
		return;
	f->found = grow(f->found, &f->size, f->len, len);
	memset(f->found + f->len, 0, len);
	memcpy(f->found + f->len, orig, orig->nla_len);
	f->len += len;
}

static int dump_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
		take(arg, a);
	return MNL_CB_OK;
}

static int dump(struct mnl_socket *nl, const struct ipaddr *vip, struct forgetting *f)
{
	bool six = vip->family == DIP_INET6;
	uint16_t attr = f->theirs ? (six ? CTA_IP_V6_SRC : CTA_IP_V4_SRC)
				  : (six ? CTA_IP_V6_DST : CTA_IP_V4_DST);
	char buf[512] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = begin(buf, (uint8_t)ipaddr_af(vip), IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	struct nlattr *tuple = mnl_attr_nest_start(nlh, CTA_TUPLE_ORIG), *ip;

	ip = mnl_attr_nest_start(nlh, CTA_TUPLE_IP);
	mnl_attr_put(nlh, attr, ipaddr_len(vip), vip->addr);
	mnl_attr_nest_end(nlh, ip);
	mnl_attr_nest_end(nlh, tuple);
	tuple = mnl_attr_nest_start(nlh, CTA_FILTER);
	mnl_attr_put_u32(nlh, CTA_FILTER_ORIG_FLAGS, f->theirs ? FILTER_IP_SRC : FILTER_IP_DST);
	mnl_attr_nest_end(nlh, tuple);
	return talk(nl, nlh, dump_cb, f);
}

static int forget_found(struct mnl_socket *nl, const struct ipaddr *vip, const struct forgetting *f)
{
	int n = 0;

	for (size_t at = 0; at < f->len;) {
		const struct nlattr *orig = (const void *)(f->found + at);
		char buf[1024] __attribute__((aligned(8)));
		struct nlmsghdr *nlh = begin(buf, (uint8_t)ipaddr_af(vip), IPCTNL_MSG_CT_DELETE, NLM_F_ACK);

		if (orig->nla_len < sizeof(buf) / 2) {
			memcpy(mnl_nlmsg_get_payload_tail(nlh), orig, MNL_ALIGN(orig->nla_len));
			nlh->nlmsg_len += MNL_ALIGN(orig->nla_len);
			n += !talk(nl, nlh, NULL, NULL);
		}
		at += MNL_ALIGN(orig->nla_len);
	}
	return n;
}

int conntrack_forget(const struct ipaddr *vip, bool (*forget)(void *arg, uint8_t proto, uint16_t port),
		     void *arg)
{
	struct forgetting f = {.forget = forget, .arg = arg};
	struct mnl_socket *nl;
	int err = 0, n = 0;

	if (access(IN_USE, F_OK)) /* asking would load it */
		return 0;
	nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
	for (int i = 0; i < 2 && !err; i++) {
		f.theirs = i;
		err = dump(nl, vip, &f);
	}
	if (!err)
		n = forget_found(nl, vip, &f);
	mnl_socket_close(nl);
	free(f.found);
	return err ?: n;
}
