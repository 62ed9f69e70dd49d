/* SPDX-License-Identifier: GPL-2.0 */
/* Options of ssi-run, and the description of an application that travels to other nodes. */
#ifndef SSI_RUN_OPTS_H
#define SSI_RUN_OPTS_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define OPTS_NAME_MAX 63

struct run_opts {
	char name[OPTS_NAME_MAX + 1];
	const char *user; /* NULL: as we are */
	uid_t uid;
	gid_t gid;
	char *groups; /* "4,24" */
	char *home, *shell;
	bool standby, detach, ipc_host, source_node, keeper;
	char **data; /* absolute, ends with NULL */
	int n_data;
	char **cmd; /* ends with NULL */
	char cwd[PATH_MAX];
};

enum opts_result {
	OPTS_RUN,	   /* go on */
	OPTS_DONE,	   /* help or version was printed: exit 0 */
	OPTS_ERROR,	   /* 125, the line is printed */
	OPTS_NOT_FOUND,	   /* 127 */
	OPTS_NOT_RUNNABLE, /* 126 */
};

enum opts_result opts_parse(struct run_opts *o, int argc, char **argv);
/* A name for an application? Else *why says what a name is. */
bool opts_name_ok(const char *name, const char **why);
/* 0 found and executable, 126, 127; as execvp(3) would find it. */
int opts_find_command(const char *cmd);
/* From the hello of the application's keeper. 0 or -EPROTO. */
int opts_from_json(struct run_opts *o, json_t *desc);

#endif
