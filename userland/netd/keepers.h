/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections to the keepers of this node's applications (lib/keeper.h): found
 * by their sockets in KEEPER_DIR, at start and as they appear, so an
 * application outlives a restart of netd.
 *
 * A struct keeper is valid from the `hello` callback until `gone` returns.
 */
#ifndef SSI_KEEPERS_H
#define SSI_KEEPERS_H

#include <jansson.h>
#include <stdint.h>

struct keeper;
struct keepers;
struct netd;

struct keeper_events {
	void (*hello)(void *arg, struct keeper *k);
	void (*event)(void *arg, struct keeper *k, const char *kind, json_t *event);
	/* The connection ended: the keeper, and with it what it kept here, is gone. */
	void (*gone)(void *arg, struct keeper *k);
};

int keepers_start(struct netd *n, const struct keeper_events *events, void *arg, struct keepers **out);
void keepers_stop(struct keepers *ks);

/* Connect now instead of when the directory tells. 0 or -errno. */
int keepers_connect(struct keepers *ks, const char *name);
struct keeper *keepers_find(struct keepers *ks, const char *name);
/* How many sockets were found at start and have not said hello yet. */
unsigned int keepers_pending(const struct keepers *ks);

void keepers_each(struct keepers *ks, struct netd *n, void (*fn)(struct netd *n, const char *name));

/* Start a keeper that waits for an image of the application `desc`, the hello
 * of its source. It reports like any other. 0 or -errno. */
int keepers_spawn(struct keepers *ks, json_t *desc);

const char *keeper_name(const struct keeper *k);
/* The hello object, `state` and `pid` kept up to date. Borrowed. */
json_t *keeper_hello(const struct keeper *k);
const char *keeper_state(const struct keeper *k);

/*
 * Ask the keeper. `request` is stolen; `fd` travels with it and stays the
 * caller's (-1: none). `done` runs exactly once: status 0 with `ok`, or with
 * `error` (an object {"error","code","remedy"}); -ETIMEDOUT or -ENOTCONN with
 * both NULL.
 */
typedef void keeper_done_fn(void *arg, int status, json_t *ok, json_t *error);
/* A `done` for requests whose answer changes nothing. */
void keeper_ignore(void *arg, int status, json_t *ok, json_t *error);
void keeper_call(struct keeper *k, json_t *request, int fd, unsigned int timeout_ms, keeper_done_fn *done,
		 void *arg);

#endif
