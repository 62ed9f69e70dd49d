// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of libnetssi from a shell: one that is waited for, or, with -l, from a poll loop. Prints `ok` and the JSON of
 * the result, or `STATUS error; remedy`; progress as `step NAME`.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netssi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int told; /* how often `done` was called */

static void step(void *arg, const struct netssi_result *s)
{
	(void)arg;
	printf("step %s\n", netssi_result_text(s, 0, "step"));
}

static void show(void *arg, int status, const struct netssi_result *r)
{
	char *json = netssi_result_json(r);

	(void)arg;
	told++;
	if (status < 0)
		printf("%s %s; %s\n", strerrorname_np(-status), netssi_result_error(r),
		       netssi_result_remedy(r));
	else
		printf("ok %zu %s\n", netssi_result_count(r), json);
	free(json);
}

static int ask(struct netssi *h, char **a, netssi_done_fn *done)
{
	const char *what = a[0];

	if (!strcmp(what, "claim") && a[1] && a[2])
		return netssi_claim(h, NULL, (unsigned int)atoi(a[1]), IPPROTO_TCP, a[2], done, NULL);
	if (!strcmp(what, "release") && a[1])
		return netssi_release(h, NULL, (unsigned int)atoi(a[1]), IPPROTO_TCP, done, NULL);
	if (!strcmp(what, "migrate") && a[1] && a[2])
		return netssi_migrate(h, a[1], a[2], a[3] ? NETSSI_DRY_RUN : 0, step, done, NULL);
	if (!strcmp(what, "checkpoint") && a[1] && a[2])
		return netssi_checkpoint(h, a[1], a[2], a[3] ? NETSSI_LEAVE_RUNNING : 0, done, NULL);
	if (!strcmp(what, "restart") && a[1])
		return netssi_restart(h, a[1], a[2], done, NULL);
	if (!strcmp(what, "status"))
		return netssi_status(h, a[1], done, NULL);
	return -ENOSYS;
}

static int in_loop(struct netssi *h, char **a)
{
	struct pollfd p = {.fd = netssi_fd(h), .events = POLLIN};
	/* beside others: what is cancelled is not told, what fails at once is told like the rest */
	int other = netssi_status(h, NULL, show, NULL), bad = netssi_claim(h, NULL, 0, 0, NULL, show, NULL);
	int id = ask(h, a, show);

	if (id < 0 || bad < 0 || netssi_cancel(h, other) < 0 || told)
		return 1;
	while (told < 2 && poll(&p, 1, 60000) == 1)
		netssi_dispatch(h);
	return told != 2;
}

int main(int argc, char **argv)
{
	struct netssi_result *r = NULL;
	struct netssi *h;
	int id, status, failed;

	if (argc < 2 || netssi_new(&h) < 0)
		return 2;
	if (!strcmp(argv[1], "-l")) {
		failed = argc < 3 || in_loop(h, argv + 2);
	} else {
		id = ask(h, argv + 1, NULL);
		status = netssi_wait(h, id, 60000, &r);
		show(NULL, status, r);
		netssi_result_free(r);
		failed = status < 0 || netssi_wait(h, id, 0, NULL) != -ENOENT;
	}
	netssi_free(h);
	return failed;
}
