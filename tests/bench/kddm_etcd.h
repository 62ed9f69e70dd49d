/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The little of gRPC that a claim by etcd needs: unary calls, one after the other, on one HTTP/2 connection
 * in clear text. No library between: the baseline shall not be slower than it can be.
 */
#ifndef SSI_BENCH_KDDM_ETCD_H
#define SSI_BENCH_KDDM_ETCD_H

#include <stdint.h>

struct etcd;

struct etcd *etcd_connect(const char *address, uint16_t port); /* NULL with errno */
/* The same through its JSON gateway, by HTTP/1.1 on one connection. */
struct etcd *etcd_connect_json(const char *address, uint16_t port);
void etcd_close(struct etcd *e);
/* A transaction: create `key` unless it exists. 1 created, 0 it exists, -1 with errno. */
int etcd_create(struct etcd *e, const char *key, const char *value);

#endif
