/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Claims: the sockets of this node's applications, and the objects of the set
 * `ports` that follow from them. A port of a cluster address is ours while at
 * least one socket of an application listens (TCP) or is bound (UDP) there.
 */
#ifndef SSI_CLAIMS_H
#define SSI_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "objects.h"
#include "userland/lib/ipaddr.h"

struct claims;
struct kddm_batch;
struct netd;

int claims_start(struct netd *n); /* fills n->claims; before kddm_start() */
void claims_stop(struct netd *n);

/* Tells that `app` listens on loopback only: the port is not on the cluster
 * addresses. Once for each socket. */
typedef void claims_local_fn(void *arg, const char *app, uint8_t proto, uint16_t port);
void claims_on_local(struct claims *c, claims_local_fn *fn, void *arg);

/* What the listener of a claim is bound to, seen from an address of this family (DIP_INET, DIP_INET6). */
struct ipaddr claims_addr(uint8_t family, const struct port_value *v);

/*
 * An application moves: adds claims, held for `dst`, for the ports that it calls from. 0 or -errno; -EADDRINUSE
 * with a sentence in `why`.
 */
int claims_calls_hold(struct claims *c, struct kddm_batch *b, const char *app, uint32_t dst, char *why,
		      size_t size);
/* It has connections or sockets that this did not see. */
bool claims_calls_unheld(struct claims *c, const char *app);

/* Called by the data path: the home of a port knows of this node's claim. */
void claims_port_open(struct claims *c);
/* Called by the data path: (re)read the kernel's sockets and set claims right. */
void claims_resync(struct claims *c);

#endif
