/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What netd's parts share. main.c builds it in the order of the fields and
 * tears it down in reverse; a part sees only those above it. One thread, one
 * libuv loop; nothing here is touched from elsewhere.
 */
#ifndef SSI_NETD_H
#define SSI_NETD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "conf.h"
#include "objects.h"

struct ctl;	 /* ctl.h: the control socket */
struct kddm;	 /* kddm.h: replicated sets */
struct member;	 /* member.h: membership, death, lease */
struct peers;	 /* peer.h: calls and streams between nodes */
struct datapath; /* datapath.h: tables, programs, addresses, routes */
struct claims;	 /* claims.h: sockets <-> the set `ports` */
struct apps;	 /* apps.h: applications of this node */
struct moves;	 /* moves.h: migrations */
struct metrics;	 /* metrics.h: HTTP for a monitoring system */

struct netd {
	uv_loop_t *loop;
	struct netd_conf conf;
	struct ctl *ctl;
	struct kddm *kddm;
	struct objects sets;
	struct member *member;
	struct peers *peers;
	struct datapath *datapath;
	struct claims *claims;
	struct apps *apps;
	struct moves *moves;
	struct metrics *metrics; /* NULL: off */
};

#define NETD_RUN_DIR   "/run/netssi"
#define NETD_STATE_DIR "/var/lib/netssi"
#define NETD_ETC_DIR   "/etc/netssi"
#define NETD_BPF_DIR   "/sys/fs/bpf/netssi"
#define NETD_CGROUP    "ssi.slice"

#endif
