/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SSI_FDPASS_H
#define SSI_FDPASS_H

#include <string.h>
#include <sys/socket.h>

/* Room for the descriptors of one message. */
#define FDPASS_BUFFER(name, max)                           \
	union {                                            \
		struct cmsghdr align;                      \
		char buf[CMSG_SPACE(sizeof(int) * (max))]; \
	} name = {0}

/* `n` descriptors ride on the message; `buf` is an FDPASS_BUFFER's. */
static inline void fdpass_put(struct msghdr *msg, char *buf, const int *fds, int n)
{
	struct cmsghdr *c;

	if (n <= 0)
		return;
	msg->msg_control = buf;
	msg->msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
}

#endif
