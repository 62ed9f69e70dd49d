// SPDX-License-Identifier: GPL-2.0
/*
 * ssi_core: the part of netssi that belongs in the kernel. Nothing happens here
 * until netd asks for it; see ssi/core.h.
 */
#include <linux/module.h>
#include <linux/stringify.h>
#include <net/genetlink.h>
#include <net/rtnetlink.h>

#include "claim.h"
#include "hold.h"
#include "netlink.h"

static int __init ssi_core_init(void)
{
	int err;

	err = hold_init();
	if (err)
		return err;
	err = claim_init();
	if (err)
		goto undo_hold;
	err = ssi_netlink_init();
	if (err)
		goto undo_claim;
	return 0;

undo_claim:
	claim_exit();
undo_hold:
	hold_exit();
	return err;
}

static void __exit ssi_core_exit(void)
{
	ssi_netlink_exit();
	claim_exit();
	hold_exit();
}

module_init(ssi_core_init);
module_exit(ssi_core_exit);

MODULE_DESCRIPTION("netssi: hold queue and connections of moving sockets, claims that programs wait for");
MODULE_LICENSE("GPL");
MODULE_VERSION(__stringify(SSI_CORE_VERSION)); /* of its protocol: netctl check compares it */
MODULE_ALIAS_RTNL_LINK(SSI_HOLD_KIND);
MODULE_ALIAS_GENL_FAMILY(SSI_CORE_FAMILY);
