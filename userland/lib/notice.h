/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Notices: how an application hears that it is about to be moved or written to a checkpoint, and where it is after.
 * Between a program (libnetssi) and the keeper of its application, on whatever node the two are.
 *
 * What a process holds open towards the outside would stand against its move, so nothing is: the program has an
 * eventfd and a memfd with a struct notice_page, which go with it like the rest of it. When there is something to say
 * the keeper borrows both (pidfd_getfd), writes the one and wakes the program by the other. The program
 * says what it has to say in single datagrams, by a socket that it opens for the moment, to the path in its environment
 * variable NOTICE_ENV, which is the same on every node. Only processes of the application are heard.
 *
 * The page is of the keeper's writing but for magic and token, which the program clears before it closes the two, the
 * page first: who has the eventfd and then finds the token has the right one. `head` counts what was ever
 * written; notice number n is in slot n % NOTICE_SLOTS, and is there before `head` is.
 */
#ifndef SSI_NOTICE_H
#define SSI_NOTICE_H

#include <stdint.h>

#define NOTICE_DIR   "/run/netssi/notice"
#define NOTICE_ENV   "NETSSI_NOTICE"
#define NOTICE_MAGIC 0x6e65747373690001ULL
#define NOTICE_SLOTS 8
#define NOTICE_NODE  64

#define NOTICE_LIMIT_MS	    1000  /* a move waits no longer, unless `netctl set notice_ms` says so */
#define NOTICE_LIMIT_MS_MAX 30000 /* what a move has made ready before does not wait for ever */

enum notice_what {
	NOTICE_HERE = 1,  /* heard: the program is registered, on this node */
	NOTICE_MOVING,	  /* to this node, soon */
	NOTICE_SAVING,	  /* into a checkpoint, soon */
	NOTICE_MOVED,	  /* here it runs now */
	NOTICE_RESTARTED, /* the same, from a checkpoint */
	NOTICE_STAYED,	  /* what was to come is over: it runs on where it was */
};

struct notice_slot {
	uint32_t what;
	uint32_t zero;
	char node[NOTICE_NODE]; /* ends with NUL; of NOTICE_SAVING the node where it is */
};

struct notice_page {
	uint64_t magic;
	uint64_t token; /* the program's choice, below 2^63: says that the page is still what it was */
	uint64_t head;
	struct notice_slot slot[NOTICE_SLOTS];
};

enum notice_op {
	NOTICE_REGISTER = 1, /* answered by NOTICE_HERE; again: changes limit_ms */
	NOTICE_READY,	     /* for what is soon to come */
	NOTICE_LEAVE,
};

/* One datagram. The process is the one that sends it. */
struct notice_message {
	uint64_t magic;
	uint64_t token;
	uint32_t op;
	int32_t page, wake; /* the fds' numbers */
	uint32_t limit_ms;  /* how long to wait for NOTICE_READY, 0: not at all */
};

#endif
