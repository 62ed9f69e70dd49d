// SPDX-License-Identifier: GPL-2.0
/*
 * Generic netlink; see genl.h.
 */
#include "genl.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

struct genl {
	struct mnl_socket *nl;
	uint32_t seq;
	uint16_t family;
	uint8_t version;
	uint32_t spoken; /* the kernel's version */
	char why[128];
	_Alignas(struct nlmsghdr) char out[GENL_MESSAGE_MAX];
	_Alignas(struct nlmsghdr) char in[32768];
};

static struct nlmsghdr *message(struct genl *g, uint16_t type, uint8_t cmd, uint8_t version, uint16_t flags)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(g->out);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nlh->nlmsg_seq = ++g->seq;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = version;
	return nlh;
}

struct nlmsghdr *genl_message(struct genl *g, uint8_t cmd, uint16_t flags)
{
	return message(g, g->family, cmd, g->version, flags);
}

/* The kernel's own words, at the end of a message. */
static void take_why(struct genl *g, const struct nlmsghdr *nlh, unsigned int skip)
{
	const struct nlattr *a;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	mnl_attr_for_each(a, nlh, skip)
	{
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
			snprintf(g->why, sizeof(g->why), "%s", mnl_attr_get_str(a));
	}
}

/* An acknowledgement repeats the request before the text, unless it is capped. */
static void take_ack(struct genl *g, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	unsigned int skip = sizeof(*err);

	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		skip += mnl_nlmsg_get_payload_len(&err->msg);
	take_why(g, nlh, skip);
}

/* What mnl_cb_run() keeps to itself: texts, and how a dump ended (0 or -errno). */
static int read_why(struct genl *g, size_t len)
{
	int left = (int)len, end = 0;

	for (const struct nlmsghdr *nlh = (void *)g->in; mnl_nlmsg_ok(nlh, left);
	     nlh = mnl_nlmsg_next(nlh, &left)) {
		if (nlh->nlmsg_seq != g->seq && nlh->nlmsg_type != NLMSG_ERROR)
			continue;
		if (nlh->nlmsg_type == NLMSG_ERROR)
			take_ack(g, nlh);
		if (nlh->nlmsg_type != NLMSG_DONE || mnl_nlmsg_get_payload_len(nlh) < sizeof(end))
			continue;
		memcpy(&end, mnl_nlmsg_get_payload(nlh), sizeof(end));
		take_why(g, nlh, sizeof(end));
	}
	return end;
}

int genl_talk(struct genl *g, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	unsigned int portid = mnl_socket_get_portid(g->nl);
	ssize_t n;
	int rc, end;

	g->why[0] = '\0';
	if (mnl_socket_sendto(g->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(g->nl, g->in, sizeof(g->in));
		if (n < 0)
			return -errno;
		end = read_why(g, (size_t)n);
		if (end < 0)
			return end;
		rc = mnl_cb_run(g->in, (size_t)n, nlh->nlmsg_seq, portid, cb, arg);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

int genl_fd(const struct genl *g)
{
	return mnl_socket_get_fd(g->nl);
}

int genl_send(struct genl *g, struct nlmsghdr *nlh)
{
	return mnl_socket_sendto(g->nl, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

int genl_read(struct genl *g, mnl_cb_t cb, void *arg)
{
	ssize_t n = recv(genl_fd(g), g->in, sizeof(g->in), MSG_DONTWAIT);

	g->why[0] = '\0';
	if (n < 0)
		return -errno;
	read_why(g, (size_t)n);
	return mnl_cb_run(g->in, (size_t)n, 0, 0, cb, arg) < 0 ? -errno : 0;
}

const char *genl_why(const struct genl *g)
{
	return g->why;
}

static int family_attr(const struct nlattr *attr, void *data)
{
	struct genl *g = data;

	switch (mnl_attr_get_type(attr)) {
	case CTRL_ATTR_FAMILY_ID:
		g->family = mnl_attr_get_u16(attr);
		break;
	case CTRL_ATTR_VERSION:
		g->spoken = mnl_attr_get_u32(attr);
		break;
	}
	return MNL_CB_OK;
}

static int family_cb(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), family_attr, data);
}

static int open_socket(struct genl *g, const char *family)
{
	struct nlmsghdr *nlh;
	int on = 1;

	g->nl = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!g->nl || mnl_socket_bind(g->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Kernels without them give the number alone. */
	mnl_socket_setsockopt(g->nl, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(g->nl, NETLINK_CAP_ACK, &on, sizeof(on));
	nlh = message(g, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, 0);
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, family);
	return genl_talk(g, nlh, family_cb, g);
}

int genl_open(const char *family, uint8_t version, struct genl **out)
{
	struct genl *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->version = version;
	err = open_socket(g, family);
	if (!err && !g->family)
		err = -ENOENT;
	if (!err && g->spoken != version)
		err = -EPROTONOSUPPORT;
	if (err) {
		genl_close(g);
		return err;
	}
	*out = g;
	return 0;
}

void genl_close(struct genl *g)
{
	if (!g)
		return;
	if (g->nl)
		mnl_socket_close(g->nl);
	explicit_bzero(g->out, sizeof(g->out)); /* it may have been a key */
	free(g);
}
