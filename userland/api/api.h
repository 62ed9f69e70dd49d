/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libnetssi: what its files share. include/netssi.h has the contract.
 *
 *   request.c   struct netssi: requests to netd, each on a connection of its own, and their ends
 *   commands.c  the requests that there are
 *   result.c    what came of them
 *   watch.c     struct netssi_watch: notices from the keeper of the application (lib/notice.h)
 *
 * Only what netssi.map names is seen from outside.
 */
#ifndef SSI_API_H
#define SSI_API_H

#include <jansson.h>

#pragma GCC visibility push(default) /* all else is hidden */
#include <netssi.h>
#pragma GCC visibility pop

struct netssi_result {
	json_t *objects; /* NULL: an error */
	char *error, *remedy;
};

/* Steals; NULL: out of memory. */
struct netssi_result *result_new(json_t *objects);

struct request_call {
	const char *cmd;
	json_t *args; /* stolen; NULL: an argument was wrong */
	/* Looks at a result before it is told, and may change it: 0 or what the status is to be. NULL: none. */
	int (*look)(struct netssi_result *r, const char *app);
	const char *app; /* for look */
	netssi_progress_fn *progress;
	netssi_done_fn *done;
	void *arg;
};

/* request.c: the request's number or -errno. */
int request_make(struct netssi *h, struct request_call call);
/* Turns the result into an error. Returns `status`. */
int result_fail(struct netssi_result *r, int status, const char *error, const char *remedy);

#endif
