/* SPDX-License-Identifier: GPL-2.0 */
/* The part of CRIU's RPC (protobuf wire format) that is needed; see criu.c. */
#ifndef SSI_CKPT_CRIU_RPC_H
#define SSI_CKPT_CRIU_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum criu_req_field { CRIU_REQ_TYPE = 1, CRIU_REQ_OPTS = 2, CRIU_REQ_NOTIFY_SUCCESS = 3 };
enum criu_req_type { CRIU_DUMP = 1, CRIU_RESTORE = 2, CRIU_NOTIFY = 6, CRIU_SINGLE_PRE_DUMP = 13 };
enum criu_opts_field {
	CRIU_OPTS_IMAGES_DIR_FD = 1,
	CRIU_OPTS_PID = 2,
	CRIU_OPTS_EXT_UNIX_SK = 4,
	CRIU_OPTS_TCP_ESTABLISHED = 5,
	CRIU_OPTS_FILE_LOCKS = 8,
	CRIU_OPTS_LOG_LEVEL = 9,
	CRIU_OPTS_LOG_FILE = 10,
	CRIU_OPTS_NOTIFY_SCRIPTS = 12,
	CRIU_OPTS_PARENT_IMG = 14,
	CRIU_OPTS_TRACK_MEM = 15,
	CRIU_OPTS_LINK_REMAP = 18,
	CRIU_OPTS_INHERIT_FD = 27,
	CRIU_OPTS_MANAGE_CGROUPS_MODE = 34,
	CRIU_OPTS_GHOST_LIMIT = 35,
	CRIU_OPTS_TCP_SKIP_IN_FLIGHT = 46,
	CRIU_OPTS_TCP_CLOSE = 52,
	CRIU_OPTS_NETWORK_LOCK = 64,
};
enum criu_inherit_field { CRIU_INHERIT_KEY = 1, CRIU_INHERIT_FD = 2 };
#define CRIU_CG_IGNORE	       0
#define CRIU_NETWORK_LOCK_SKIP 3

struct criu_rpc {
	char data[2048];
	size_t len;
	bool failed; /* it did not fit */
};

void rpc_put_int(struct criu_rpc *m, unsigned int field, uint64_t value);
void rpc_put_text(struct criu_rpc *m, unsigned int field, const char *text);
void rpc_put_message(struct criu_rpc *m, unsigned int field, const struct criu_rpc *inner);

struct criu_response {
	uint64_t type;
	bool success;
	char script[32]; /* of a notify */
	uint64_t pid;
};

int rpc_parse(const char *data, size_t len, struct criu_response *out);

#endif
