/* SPDX-License-Identifier: GPL-2.0 */
/* netctl version: works without netd, and tells when the two do not fit. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "userland/lib/netdclient.h"
#include "userland/lib/print.h"
#include "userland/lib/version.h"
#include "userland/tools/netctl.h"

static json_t *netd_version(void)
{
	json_t *answer = NULL, *o;

	if (netdclient_call("version", NULL, NULL, NULL, &answer) < 0)
		return NULL;
	o = json_incref(json_array_get(json_object_get(answer, "result"), 0));
	json_decref(answer);
	return o;
}

static int run_version(struct netctl *c)
{
	json_t *netd = netd_version(), *list;
	struct utsname u;

	uname(&u);
	list = json_pack("[{s:s, s:s, s:i, s:s}]", "program", "netctl", "version", SSI_VERSION, "protocol",
			 SSI_CTL_PROTOCOL, "kernel", u.release);
	if (netd)
		json_array_append(list, netd);
	if (!netctl_json(c, list)) {
		printf("netctl %s\n", SSI_VERSION);
		if (netd)
			printf("netd   %s\n", json_string_value(json_object_get(netd, "version")) ?: "?");
		else
			printf("netd   is not running\n");
		printf("kernel %s\n", u.release);
	}
	if (netd && json_integer_value(json_object_get(netd, "protocol")) != SSI_CTL_PROTOCOL)
		fprintf(stderr, "netctl: netctl and netd do not fit; restart netd after an upgrade: "
				"systemctl restart netd\n");
	json_decref(netd);
	json_decref(list);
	return EXIT_OK;
}

const struct netctl_command cmd_version = {
	.name = "version",
	.summary = "the versions of netctl and of the netd that runs",
	.run = run_version,
};
