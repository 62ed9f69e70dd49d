// SPDX-License-Identifier: GPL-2.0
#include "conns.h"

#include <linux/genetlink.h>
#include <ssi/core.h>

#include "genl.h"

static int format_attr(const struct nlattr *a, void *to)
{
	if (mnl_attr_get_type(a) == SSI_CORE_A_FORMAT && mnl_attr_validate(a, MNL_TYPE_U32) == 0)
		*(int *)to = (int)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int take_format(const struct nlmsghdr *nlh, void *to)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), format_attr, to);
}

int conns_format(void)
{
	struct genl *g;
	int format = 0;

	if (genl_open(SSI_CORE_FAMILY, SSI_CORE_VERSION, &g) < 0)
		return 0;
	if (genl_talk(g, genl_message(g, SSI_CORE_CMD_FORMAT, 0), take_format, &format) < 0)
		format = 0;
	genl_close(g);
	return format;
}
