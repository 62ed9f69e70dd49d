/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Generic netlink over libmnl: one socket, one family, one request in flight.
 * Blocking, but the kernel answers at once. Not for several threads.
 */
#ifndef SSI_GENL_H
#define SSI_GENL_H

#include <libmnl/libmnl.h>
#include <stdint.h>

#define GENL_MESSAGE_MAX 4096

struct genl;

/*
 * The kernel loads the module of the family when it has one. -ENOENT: it has none;
 * -EPROTONOSUPPORT: it speaks another version.
 */
int genl_open(const char *family, uint8_t version, struct genl **out);
void genl_close(struct genl *g);

/* A new request in a buffer of genl's own, for attributes to be added. */
struct nlmsghdr *genl_message(struct genl *g, uint8_t cmd, uint16_t flags);
/*
 * Sends it and hands what is answered to `cb` (may be NULL) until the acknowledgement or
 * the end of the dump. -errno of the kernel; genl_why() then has its text, or "".
 */
int genl_talk(struct genl *g, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);
const char *genl_why(const struct genl *g);

/*
 * For a loop that is told things: sends without waiting for what is answered, and takes
 * what has come, one datagram a call: 0, -EAGAIN when there is none, or the error that
 * the kernel answered (genl_why() has its text). Not to be mixed with genl_talk().
 */
int genl_fd(const struct genl *g);
int genl_send(struct genl *g, struct nlmsghdr *nlh);
int genl_read(struct genl *g, mnl_cb_t cb, void *arg);

#endif
