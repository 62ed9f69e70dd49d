/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ssi_core: what netd asks of its kernel module, and what the module answers.
 *
 * The hold queue
 * ==============
 *
 * A network device of kind "ssi_hold" (RTM_NEWLINK with IFLA_INFO_KIND, no data)
 * is one queue, of the network namespace that it lies in.  The tc programs
 * redirect into it what arrives for a held port; what is released comes back as
 * received by it, and its ingress program hands it to the interface of the VIP.
 * The device ends with its namespace or by RTM_DELLINK; what waits is dropped.
 *
 * A port is known by family, address, protocol and port:
 *
 *   (unknown) --HOLD--> HELD --RELEASE--> RELEASING --(empty)--> PASSING
 *                        ^ \--DISCARD--> (unknown)                  |
 *                        \------------------HOLD--------------------/
 *
 * HELD       what arrives waits.
 * RELEASING  RELEASE gives back what waits, oldest first, BUDGET packets a call;
 *            what arrives meanwhile joins the end.
 * PASSING    what still arrives is given back at once: it was on its way when
 *            the port's table entry was opened.  Ports that pass are forgotten,
 *            oldest first, when SSI_HOLD_PORTS_MAX is reached.
 * unknown    what arrives is dropped.
 *
 * Bounds, in bytes of truesize and for the whole queue: SSI_HOLD_BYTES_MAX for
 * known connections, SSI_HOLD_STRANGERS_MAX for handshakes and datagrams, which
 * therefore never crowd out connections; all queues of network namespaces that belong to
 * users hold SSI_HOLD_BYTES_MAX together.  A TCP segment that already waits is
 * dropped, and so is what waited for SSI_HOLD_AGE_MS; nothing is ever given back
 * out of order.
 *
 * Claims that programs wait for
 * =============================
 *
 * A BPF LSM program on socket_listen and socket_bind calls bpf_ssi_claim_listen()
 * or bpf_ssi_claim_bind(), and the program that listens waits there:
 *
 *   caller                      server (netd)
 *     |                           SERVE (LIMIT_MS)
 *     | ------ CLAIM: ID, what -->  claims the port
 *     | <----- ANSWER: ID, ERROR    0 or EADDRINUSE
 *     | ------ ENDED: ID, REASON --> (instead, when the caller no longer waits)
 *
 * Each network namespace has one server: the socket that said SERVE, until it is
 * closed.  The next one is asked again for everybody who still waits.  After
 * LIMIT_MS without an answer the caller gets EAGAIN, with or without a server; a
 * signal ends the wait before, and a frozen control group asks again when it is
 * thawed.  Loopback addresses and ports that the kernel chooses are never asked for.
 *
 * TCP connections that move
 * =========================
 *
 * Of processes that are stopped, and whose packets are held:
 *
 *   running --EXPORT--> silent: in a file, and closed without a packet
 *      ^------RUN---------/
 *   fresh sockets --IMPORT--> silent --RUN--> running
 *
 * EXPORT   writes the connections behind all fds of the processes to a file
 *          (ssi/conn.h) and makes them silent: all or none.  Listeners and sockets
 *          without a connection are no matter of it.  With TRY, of processes that run:
 *          only says whether it would.
 * IMPORT   makes the connections in the file, in the TCP sockets without a connection that
 *          are at the same fds of the processes of the same names.  After an error
 *          some of them are connections, silent ones: end the processes.
 * RUN      silent connections go on: what waits to be sent is sent.  ADVANCE sets their
 *          timestamps ahead first, for a time in which another copy may have sent.
 *
 * The file is a regular one, read and written from its beginning.  Beside CAP_NET_ADMIN
 * these need CAP_SYS_PTRACE over the processes, and the sockets to be of the same
 * network namespace.
 *
 * Requests need CAP_NET_ADMIN over the network namespace.  Unknown attributes
 * are refused.  Every refusal carries a text (NLMSGERR_ATTR_MSG).
 */
#ifndef _UAPI_SSI_CORE_H
#define _UAPI_SSI_CORE_H

#include <linux/types.h>

#define SSI_CORE_FAMILY	 "ssi_core"
#define SSI_CORE_VERSION 1 /* raised when a meaning changes; additions leave it */

#define SSI_HOLD_KIND	       "ssi_hold"
#define SSI_HOLD_BYTES_MAX     (64u << 20)
#define SSI_HOLD_STRANGERS_MAX (4u << 20)
#define SSI_HOLD_AGE_MS	       15000
#define SSI_HOLD_PORTS_MAX     1024
#define SSI_HOLD_BUDGET	       512 /* of a RELEASE without BUDGET */

#define SSI_CLAIM_LIMIT_MS     10000 /* before the first SERVE */
#define SSI_CLAIM_LIMIT_MS_MIN 100
#define SSI_CLAIM_LIMIT_MS_MAX 60000 /* the caller holds up the removal of BPF programs */

enum ssi_core_cmd {
	SSI_CORE_CMD_UNSPEC,
	SSI_CORE_CMD_HOLD,    /* IFINDEX, key */
	SSI_CORE_CMD_RELEASE, /* IFINDEX, key [, BUDGET]: answers like GET */
	SSI_CORE_CMD_DISCARD, /* IFINDEX, key: 0 for an unknown port, too */
	SSI_CORE_CMD_GET,     /* IFINDEX, key: the port; a dump: IFINDEX, all ports */
	SSI_CORE_CMD_SERVE,   /* LIMIT_MS: this socket is asked; again: another limit */
	SSI_CORE_CMD_ANSWER,  /* ID, ERROR */
	SSI_CORE_CMD_CLAIMS,  /* answers LIMIT_MS, SERVER, WAITING, REASONS */
	/* to the server */
	SSI_CORE_CMD_CLAIM, /* ID, key, COOKIE, CGROUP, PID, COMM [, ONLY6] */
	SSI_CORE_CMD_ENDED, /* ID, REASON: the caller went without an answer */
	/* connections */
	SSI_CORE_CMD_FORMAT, /* answers FORMAT; unknown to a module that moves no connections */
	SSI_CORE_CMD_EXPORT, /* TASKS, FD or TRY: answers COUNT */
	SSI_CORE_CMD_IMPORT, /* TASKS, FD: answers COUNT */
	SSI_CORE_CMD_RUN,    /* TASKS [, ADVANCE]: answers COUNT */
	__SSI_CORE_CMD_MAX,
};
#define SSI_CORE_CMD_MAX (__SSI_CORE_CMD_MAX - 1)

enum ssi_core_attr {
	SSI_CORE_A_UNSPEC,
	SSI_CORE_A_PAD,
	SSI_CORE_A_IFINDEX, /* u32 */
	/* the key: one of the addresses, and both others */
	SSI_CORE_A_ADDR4, /* be32 */
	SSI_CORE_A_ADDR6, /* 16 bytes */
	SSI_CORE_A_PROTO, /* u8: IPPROTO_TCP, IPPROTO_UDP */
	SSI_CORE_A_PORT,  /* u16, host order, not 0 */
	/* asked */
	SSI_CORE_A_BUDGET, /* u32, packets, not 0 */
	/* answered */
	SSI_CORE_A_STATE,   /* u8: enum ssi_hold_state */
	SSI_CORE_A_WAITING, /* u32, packets */
	SSI_CORE_A_HELD_MS, /* u32, the longest that a packet waited */
	SSI_CORE_A_REASONS, /* nest of u64: attribute = reason + 1, packets since the last HOLD of an open port */
	/* of claims */
	SSI_CORE_A_LIMIT_MS, /* u32 */
	SSI_CORE_A_ID,	     /* u32, not 0 */
	SSI_CORE_A_ERROR,    /* u32: 0 or EADDRINUSE */
	SSI_CORE_A_SERVER,   /* u32: its netlink port, 0 for none */
	SSI_CORE_A_REASON,   /* u8: enum ssi_claim_reason */
	SSI_CORE_A_COOKIE,   /* u64: of the socket */
	SSI_CORE_A_CGROUP,   /* u64: what made the socket */
	SSI_CORE_A_PID,	     /* u32: who waits, as the first pid namespace counts */
	SSI_CORE_A_COMM,     /* string */
	SSI_CORE_A_ONLY6,    /* flag: of ADDR6, no IPv4 */
	/* of connections */
	SSI_CORE_A_FORMAT,  /* u32: SSI_CONN_FORMAT */
	SSI_CORE_A_TASKS,   /* array of struct ssi_conn_task */
	SSI_CORE_A_FD,	    /* u32: of the caller, the file */
	SSI_CORE_A_COUNT,   /* u32: connections */
	SSI_CORE_A_TRY,	    /* flag */
	SSI_CORE_A_ADVANCE, /* u32: ms */
	__SSI_CORE_A_MAX,
};
#define SSI_CORE_A_MAX (__SSI_CORE_A_MAX - 1)

enum ssi_hold_state { SSI_HOLD_HELD, SSI_HOLD_RELEASING, SSI_HOLD_PASSING };

/* Why a packet was or was not queued: enum, counters, trace text. */
#define SSI_HOLD_REASONS(R)                                                              \
	R(QUEUED, "waits")                                                               \
	R(RELEASED, "given back in order")                                               \
	R(PASSED, "came after the port was opened, given back at once")                  \
	R(DUPLICATE, "a segment that already waits, dropped")                            \
	R(FULL, "the queue has no room for connections, dropped")                        \
	R(STRANGERS_FULL, "the queue has no room for handshakes and datagrams, dropped") \
	R(AGED, "waited too long, dropped")                                              \
	R(DISCARDED, "another node answers, dropped")

enum ssi_hold_reason {
#define R(name, text) SSI_HOLD_R_##name,
	SSI_HOLD_REASONS(R)
#undef R
		SSI_HOLD_REASON_COUNT
};

/* What became of a claim: enum, counters, trace text. */
#define SSI_CLAIM_REASONS(R)                                     \
	R(ASKED, "a program waits")                              \
	R(GRANTED, "the port is this node's")                    \
	R(IN_USE, "another node has the port, EADDRINUSE")       \
	R(TIME_OUT, "no answer within the limit, EAGAIN")        \
	R(INTERRUPTED, "a signal or the freezer ended the wait") \
	R(ASKED_AGAIN, "asked of another server")

enum ssi_claim_reason {
#define R(name, text) SSI_CLAIM_R_##name,
	SSI_CLAIM_REASONS(R)
#undef R
		SSI_CLAIM_REASON_COUNT
};

#endif
