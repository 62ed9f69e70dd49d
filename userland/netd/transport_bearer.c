// SPDX-License-Identifier: GPL-2.0
/*
 * The TIPC bearer of this node, by the kernel's generic netlink family TIPCv2:
 * enabled on the cluster's interface, with a link tolerance that notices a
 * dead node in time. Blocking, but the kernel answers at once.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/tipc_netlink.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "transport.h"
#include "userland/lib/log.h"

#define TOLERANCE_MS 500

static int family_attr(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
		*(uint16_t *)data = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int family_cb(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), family_attr, data);
}

static struct nlmsghdr *message(char *buf, uint16_t family, uint8_t cmd)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = (uint32_t)time(NULL);
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = 1;
	return nlh;
}

static int talk(struct mnl_socket *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	char buf[8192];
	unsigned int seq = nlh->nlmsg_seq;
	int n;

	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t len = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (len < 0)
			return -errno;
		n = mnl_cb_run(buf, (size_t)len, seq, mnl_socket_get_portid(nl), cb, data);
	} while (n > MNL_CB_STOP);
	return n < 0 ? -errno : 0;
}

static int find_family(struct mnl_socket *nl, uint16_t *family)
{
	char buf[512];
	struct nlmsghdr *nlh = message(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, TIPC_GENL_V2_NAME);
	return talk(nl, nlh, family_cb, family);
}

static int enable(struct mnl_socket *nl, uint16_t family, const char *name, uint8_t cmd)
{
	char buf[512];
	struct nlmsghdr *nlh = message(buf, family, cmd);
	struct nlattr *bearer = mnl_attr_nest_start(nlh, TIPC_NLA_BEARER), *prop;

	mnl_attr_put_strz(nlh, TIPC_NLA_BEARER_NAME, name);
	if (cmd == TIPC_NL_BEARER_SET) {
		prop = mnl_attr_nest_start(nlh, TIPC_NLA_BEARER_PROP);
		mnl_attr_put_u32(nlh, TIPC_NLA_PROP_TOL, TOLERANCE_MS);
		mnl_attr_nest_end(nlh, prop);
	}
	mnl_attr_nest_end(nlh, bearer);
	return talk(nl, nlh, NULL, NULL);
}

static int bearer_up(const char *interface)
{
	struct mnl_socket *nl = mnl_socket_open(NETLINK_GENERIC);
	uint16_t family = 0;
	char name[64];
	int r;

	if (!nl)
		return -errno;
	snprintf(name, sizeof(name), "eth:%s", interface);
	r = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : find_family(nl, &family);
	if (!r)
		r = enable(nl, family, name, TIPC_NL_BEARER_ENABLE);
	/* EINVAL is also what an enabled bearer gives: then it can be set. */
	if (!r || r == -EEXIST || r == -EINVAL)
		r = enable(nl, family, name, TIPC_NL_BEARER_SET);
	mnl_socket_close(nl);
	return r;
}

int transport_prepare(const char *transport, const char *bearer)
{
	int r;

	if (strcmp(transport, "tipc"))
		return 0;
	if (!transport_tipc_available()) {
		log_err("the kernel has no TIPC; load the module tipc");
		return -EAFNOSUPPORT;
	}
	r = bearer_up(bearer);
	if (r < 0)
		log_err("TIPC cannot use interface %s: %s", bearer, strerror(-r));
	return r;
}
