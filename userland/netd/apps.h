/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Applications: the set `apps` and the keepers of this node brought together.
 * A name is claimed in the set before its keeper may start it; when the keeper
 * reports the end, or vanishes, the claim goes. Commands: app-start, apps,
 * signal, logs, freeze, thaw.
 */
#ifndef SSI_APPS_H
#define SSI_APPS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "objects.h"

struct apps;
struct keeper;
struct keepers;
struct netd;

int apps_start(struct netd *n);
void apps_stop(struct netd *n);

/* After a rejoin or a start: bring set and keepers in line. */
void apps_reconcile(struct netd *n);
/* This node was declared dead: its applications may have been taken over, so
 * they end here before the node speaks again. */
void apps_fence(struct netd *n);

/* Give the name back if it is still this node's; another's is left alone. */
void apps_release(struct netd *n, const char *name);

/* The object of an application; false: no such. `out` and `obj` may be NULL. */
bool apps_find(struct netd *n, const char *name, struct app_value *out, const struct kddm_object **obj);
struct keepers *apps_keepers(struct apps *a);

/* Tell the user of an application something once (for instance: it listens on
 * the loopback only). */
void apps_say(struct netd *n, const char *name, const char *text);

#endif
