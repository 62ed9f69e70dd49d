/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * TCP connections in a file: what ssi_core writes for SSI_CORE_CMD_EXPORT and reads
 * for SSI_CORE_CMD_IMPORT, on this kernel or another.
 *
 *   struct ssi_conn_head
 *   part SSI_CONN_CONNECTION, which consists of parts:
 *     SSI_CONN_IDENT  SSI_CONN_STREAM  SSI_CONN_OPTIONS  [SSI_CONN_PATH]  [SSI_CONN_SETTINGS]
 *     [SSI_CONN_RECEIVED]  [SSI_CONN_SENT]  [SSI_CONN_UNSENT]
 *   ... the others ...
 *   part SSI_CONN_END
 *
 * Each part starts at a multiple of 8 bytes and is a struct ssi_conn_part followed by
 * `len` bytes.  A struct grows at its end only.  A reader takes what it knows of a
 * longer one, and of a shorter one zeros for what is missing; zero always means what a
 * fresh connection has.  Parts of an unknown type are skipped unless they are marked
 * SSI_CONN_NEEDED.  SSI_CONN_FORMAT is raised when an old reader would be wrong.
 *
 * All in the byte order of the machine except ports and addresses.
 */
#ifndef _UAPI_SSI_CONN_H
#define _UAPI_SSI_CONN_H

#include <linux/types.h>

#define SSI_CONN_MAGIC	0x6e637373 /* "sscn" */
#define SSI_CONN_FORMAT 1

/* Bounds of what is read. */
#define SSI_CONN_QUEUE_MAX   (64u << 20) /* bytes that wait, each way */
#define SSI_CONN_RECORD_MAX  (2 * SSI_CONN_QUEUE_MAX + 65536u)
#define SSI_CONN_SOCKETS_MAX (1u << 20)
#define SSI_CONN_TASKS_MAX   4096

struct ssi_conn_head {
	__u32 magic;
	__u32 format;
};

/* In SSI_CORE_A_TASKS: a process, and its name in the file. */
struct ssi_conn_task {
	__u32 pid; /* as the caller's pid namespace counts */
	__u32 name;
};

enum ssi_conn_type {
	SSI_CONN_CONNECTION = 1,
	SSI_CONN_END,	   /* struct ssi_conn_end */
	SSI_CONN_IDENT,	   /* struct ssi_conn_ident */
	SSI_CONN_STREAM,   /* struct ssi_conn_stream */
	SSI_CONN_OPTIONS,  /* struct ssi_conn_options */
	SSI_CONN_PATH,	   /* struct ssi_conn_path */
	SSI_CONN_SETTINGS, /* struct ssi_conn_settings */
	SSI_CONN_RECEIVED, /* bytes that the program has not read */
	SSI_CONN_SENT,	   /* bytes that the peer has not acknowledged */
	SSI_CONN_UNSENT,   /* bytes after these */
	__SSI_CONN_TYPES,
};

#define SSI_CONN_NEEDED 1 /* refuse the file when the type is unknown */

struct ssi_conn_part {
	__u16 type; /* enum ssi_conn_type */
	__u16 flags;
	__u32 len; /* without this struct and what fills up to 8 bytes */
};

struct ssi_conn_end {
	__u32 connections;
	__u32 pad;
};

/* Which one. A socket that several fds share stands here once, by any of them. */
struct ssi_conn_ident {
	__u32 task;
	__u32 fd;
	__u16 family; /* of the socket; its addresses are mapped when they are of IPv4 */
	__u16 pad;
	__be16 sport;
	__be16 dport;
	__u8 saddr[16];
	__u8 daddr[16];
};

#define SSI_CONN_FIN_SENT 1 /* a FIN of ours was sent (and not acknowledged, unless FIN_WAIT2) */
#define SSI_CONN_EOF_READ 2 /* the program has seen the peer's FIN */

struct ssi_conn_stream {
	__u8 state; /* TCP_ESTABLISHED ... of linux/tcp_states.h, with two open or half-closed ends */
	__u8 flags;
	__u16 pad;
	__u32 rcv_seq; /* of the first byte not read, or after the last one */
	__u32 snd_seq; /* of the first byte not acknowledged, or after the last one */
	__u32 snd_wl1;
	__u32 snd_wnd;
	__u32 max_window;
	__u32 rcv_wnd;
	__u32 rcv_wup;
};

#define SSI_CONN_TIMESTAMPS 1
#define SSI_CONN_WSCALE	    2
#define SSI_CONN_SACK	    4
#define SSI_CONN_USEC	    8 /* timestamps count microseconds */
#define SSI_CONN_ECN	    16

struct ssi_conn_options {
	__u16 flags;
	__u8 snd_wscale;
	__u8 rcv_wscale;
	__u16 mss_clamp;
	__u16 user_mss;
	__u32 tsval;	 /* at the export */
	__u32 ts_recent; /* of the peer */
	__u32 ts_age;	 /* seconds since that one came */
};

#define SSI_CONN_CA_MAX 16

struct ssi_conn_path {
	__u32 srtt_us; /* times 8 */
	__u32 mdev_us; /* times 4 */
	__u32 mdev_max_us;
	__u32 rttvar_us;
	__u32 rto_us;
	__u32 rtt_min_us;
	__u32 cwnd;
	__u32 ssthresh;
	__u32 reordering;
	char congestion[SSI_CONN_CA_MAX]; /* algorithm; the node's own when it has not got this one */
};

#define SSI_CONN_SNDBUF_LOCK 1
#define SSI_CONN_RCVBUF_LOCK 2
#define SSI_CONN_NODELAY     4
#define SSI_CONN_CORK	     8
#define SSI_CONN_PLAIN	     16 /* no option was set that is not in here; for who would ask for each */

struct ssi_conn_settings {
	__u32 flags;
	__u32 sndbuf;
	__u32 rcvbuf;
	__u32 window_clamp;
	__u32 rcv_ssthresh;
	__u32 rcvq_space;
	__u32 keep_time;  /* seconds */
	__u32 keep_intvl; /* seconds */
	__u32 keep_probes;
	__u32 user_timeout; /* ms */
	__s32 linger2;	    /* seconds, negative: no FIN_WAIT2 */
	__u32 notsent_lowat;
	__u8 tos; /* or traffic class */
	__u8 ttl; /* or hop limit */
	__u8 pad[2];
};

#endif
