// SPDX-License-Identifier: GPL-2.0
/* The requests, in the words of the control socket (netd/ctl.h). */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "userland/api/api.h"

static json_t *port_args(const char *vip, unsigned int port, int proto, const char *node)
{
	if (port == 0 || port > 65535 || (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return NULL;
	return json_pack("{ss* si ss ss*}", "vip", vip, "port", (int)port, "proto",
			 proto == IPPROTO_UDP ? "udp" : "tcp", "node", node);
}

int netssi_claim(struct netssi *h, const char *vip, unsigned int port, int proto, const char *node,
		 netssi_done_fn *done, void *arg)
{
	return request_make(h, (struct request_call){
				       .cmd = "port-add",
				       .args = node ? port_args(vip, port, proto, node) : NULL,
				       .done = done,
				       .arg = arg,
			       });
}

int netssi_release(struct netssi *h, const char *vip, unsigned int port, int proto, netssi_done_fn *done,
		   void *arg)
{
	return request_make(h, (struct request_call){
				       .cmd = "port-del",
				       .args = port_args(vip, port, proto, NULL),
				       .done = done,
				       .arg = arg,
			       });
}

int netssi_migrate(struct netssi *h, const char *app, const char *node, unsigned int flags,
		   netssi_progress_fn *progress, netssi_done_fn *done, void *arg)
{
	bool good = app && node && !(flags & ~(unsigned int)NETSSI_DRY_RUN);

	return request_make(h, (struct request_call){
				       .cmd = "migrate",
				       .args = good ? json_pack("{ss ss sb}", "app", app, "node", node,
								"dry_run", (flags & NETSSI_DRY_RUN) != 0)
						    : NULL,
				       .progress = progress,
				       .done = done,
				       .arg = arg,
			       });
}

int netssi_checkpoint(struct netssi *h, const char *app, const char *dir, unsigned int flags,
		      netssi_done_fn *done, void *arg)
{
	bool good = app && dir && !(flags & ~(unsigned int)NETSSI_LEAVE_RUNNING);

	return request_make(h, (struct request_call){
				       .cmd = "checkpoint",
				       .args = good ? json_pack("{ss ss sb}", "app", app, "dir", dir,
								"leave_running",
								(flags & NETSSI_LEAVE_RUNNING) != 0)
						    : NULL,
				       .done = done,
				       .arg = arg,
			       });
}

int netssi_restart(struct netssi *h, const char *dir, const char *node, netssi_done_fn *done, void *arg)
{
	return request_make(h, (struct request_call){
				       .cmd = "restart",
				       .args = dir ? json_pack("{ss ss*}", "dir", dir, "node", node) : NULL,
				       .done = done,
				       .arg = arg,
			       });
}

static int keep_app(struct netssi_result *r, const char *app)
{
	size_t i = json_array_size(r->objects);

	while (i-- > 0)
		if (strcmp(netssi_result_text(r, i, "app") ?: "", app))
			json_array_remove(r->objects, i);
	return netssi_result_count(r)
		       ? 0
		       : result_fail(r, -ENOENT, "there is no such application", "`netctl apps` lists them");
}

int netssi_status(struct netssi *h, const char *app, netssi_done_fn *done, void *arg)
{
	return request_make(h, (struct request_call){
				       .cmd = "apps",
				       .args = json_object(),
				       .look = app ? keep_app : NULL,
				       .app = app,
				       .done = done,
				       .arg = arg,
			       });
}
