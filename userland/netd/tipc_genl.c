// SPDX-License-Identifier: GPL-2.0
/*
 * Requests to the kernel's TIPC; see tipc_genl.h.
 */
#include "tipc_genl.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/tipc.h>
#include <linux/tipc_netlink.h>
#include <stdio.h>
#include <string.h>

#include "userland/lib/genl.h"

/* Something is added to the message by `fill`, then it is sent. */
static int ask(uint8_t cmd, void (*fill)(struct nlmsghdr *nlh, const void *arg), const void *arg,
	       uint16_t flags, mnl_cb_t cb, void *data)
{
	struct nlmsghdr *nlh;
	struct genl *g;
	int r = genl_open(TIPC_GENL_V2_NAME, TIPC_GENL_V2_VERSION, &g);

	if (r < 0)
		return r;
	nlh = genl_message(g, cmd, flags);
	if (fill)
		fill(nlh, arg);
	r = genl_talk(g, nlh, cb, data);
	genl_close(g);
	return r;
}

/* ---- bearers ---- */

struct bearer_request {
	const char *interface;
	unsigned int tolerance_ms; /* 0: not said */
};

static void fill_bearer(struct nlmsghdr *nlh, const void *arg)
{
	struct nlattr *bearer = mnl_attr_nest_start(nlh, TIPC_NLA_BEARER), *prop;
	const struct bearer_request *b = arg;
	char name[64];

	snprintf(name, sizeof(name), "eth:%s", b->interface);
	mnl_attr_put_strz(nlh, TIPC_NLA_BEARER_NAME, name);
	if (b->tolerance_ms) {
		prop = mnl_attr_nest_start(nlh, TIPC_NLA_BEARER_PROP);
		mnl_attr_put_u32(nlh, TIPC_NLA_PROP_TOL, b->tolerance_ms);
		mnl_attr_nest_end(nlh, prop);
	}
	mnl_attr_nest_end(nlh, bearer);
}

int tipc_bearer_enable(const char *interface, unsigned int tolerance_ms)
{
	struct bearer_request b = {.interface = interface};
	int r = ask(TIPC_NL_BEARER_ENABLE, fill_bearer, &b, 0, NULL, NULL);

	/* EINVAL is also what an enabled bearer gives: then it can be set. */
	if (r < 0 && r != -EEXIST && r != -EINVAL)
		return r;
	b.tolerance_ms = tolerance_ms;
	return ask(TIPC_NL_BEARER_SET, fill_bearer, &b, 0, NULL, NULL);
}

int tipc_bearer_disable(const char *interface)
{
	struct bearer_request b = {.interface = interface};

	return ask(TIPC_NL_BEARER_DISABLE, fill_bearer, &b, 0, NULL, NULL);
}

struct bearer_walk {
	void (*fn)(void *arg, const char *name);
	void *arg;
};

static int name_attr(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == TIPC_NLA_BEARER_NAME &&
	    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
		*(const char **)data = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static int bearer_attr(const struct nlattr *attr, void *data)
{
	const struct bearer_walk *w = data;
	const char *name = NULL;

	if (mnl_attr_get_type(attr) != TIPC_NLA_BEARER)
		return MNL_CB_OK;
	mnl_attr_parse_nested(attr, name_attr, &name);
	if (name)
		w->fn(w->arg, name);
	return MNL_CB_OK;
}

static int bearer_cb(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), bearer_attr, data);
}

int tipc_bearer_each(void (*fn)(void *arg, const char *name), void *arg)
{
	struct bearer_walk w = {fn, arg};

	return ask(TIPC_NL_BEARER_GET, NULL, NULL, NLM_F_DUMP, bearer_cb, &w);
}

/* ---- identity and keys ---- */

static void fill_id(struct nlmsghdr *nlh, const void *arg)
{
	struct nlattr *net = mnl_attr_nest_start(nlh, TIPC_NLA_NET);
	uint64_t half[2];

	memcpy(half, arg, sizeof(half));
	mnl_attr_put_u64(nlh, TIPC_NLA_NET_NODEID, half[0]);
	mnl_attr_put_u64(nlh, TIPC_NLA_NET_NODEID_W1, half[1]);
	mnl_attr_nest_end(nlh, net);
}

int tipc_id_set(const uint8_t id[TIPC_ID_BYTES])
{
	return ask(TIPC_NL_NET_SET, fill_id, id, 0, NULL, NULL);
}

static void fill_key(struct nlmsghdr *nlh, const void *arg)
{
	struct nlattr *node = mnl_attr_nest_start(nlh, TIPC_NLA_NODE);
	char room[sizeof(struct tipc_aead_key) + TIPC_KEY_BYTES] = "";
	struct tipc_aead_key *key = (void *)room;

	strcpy(key->alg_name, "gcm(aes)");
	key->keylen = TIPC_KEY_BYTES;
	memcpy(key->key, arg, TIPC_KEY_BYTES);
	mnl_attr_put(nlh, TIPC_NLA_NODE_KEY, sizeof(room), room);
	/* Else the kernel takes a random key of its own a day later, and who comes after that has no
	 * way to learn it. */
	mnl_attr_put_u32(nlh, TIPC_NLA_NODE_REKEYING, 0);
	mnl_attr_nest_end(nlh, node);
	explicit_bzero(room, sizeof(room));
}

int tipc_key_set(const uint8_t key[TIPC_KEY_BYTES])
{
	return ask(TIPC_NL_KEY_SET, fill_key, key, 0, NULL, NULL);
}

int tipc_key_flush(void)
{
	return ask(TIPC_NL_KEY_FLUSH, NULL, NULL, 0, NULL, NULL);
}
