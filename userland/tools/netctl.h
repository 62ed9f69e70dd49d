/* SPDX-License-Identifier: GPL-2.0 */
/*
 * netctl: one table of commands is the source of dispatch, arguments, --help and
 * completion; a unit test holds the manual page against it. A cmd_*.c file has
 * the commands of one noun: it makes the request's arguments, sends it, and
 * shows the answer, as JSON or as text out of the same JSON.
 */
#ifndef SSI_NETCTL_H
#define SSI_NETCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "userland/lib/table.h"

/* Exit status; netd sends the same codes. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_QUORUM = 3, EXIT_NO_NETD = 4 };

#define NETCTL_ARGS    4
#define NETCTL_OPTIONS 8

/* What a value is: how it is checked and completed. */
enum value_kind {
	VALUE_NONE, /* a flag */
	VALUE_TEXT,
	VALUE_NODE,
	VALUE_SETTING,
	VALUE_APP,
	VALUE_VIP,	/* a cluster address that exists */
	VALUE_ADDR,	/* IP address */
	VALUE_ADDR_LEN, /* ADDR/LEN */
	VALUE_IF,	/* [NODE:]IF, several with commas */
	VALUE_MAC,
	VALUE_PORT, /* [VIP]:PORT[/udp] */
	VALUE_WHAT, /* APP|[VIP]:PORT[/udp]|pid:[NODE/]PID */
	VALUE_PEER, /* ADDR[:PORT] */
	VALUE_FILE,
	VALUE_NUMBER,
	VALUE_TIME,   /* 90, 90s, 15m, 1h, 7d */
	VALUE_PERIOD, /* the same, but not 0 */
	VALUE_SIGNAL,
	VALUE_CHOICE, /* one of `choices` */
};

struct netctl_option {
	const char *name;  /* without "--" */
	const char *value; /* as help calls it, NULL for a flag */
	enum value_kind kind;
	const char *choices; /* "a|b" */
	const char *help;
};

struct netctl_arg {
	const char *value; /* as help calls it */
	enum value_kind kind;
	bool optional;
	const char *keyword; /* the word that stands before it ("node NODE"), or NULL */
	const char *choices;
	bool many; /* the last one: all that remain */
};

struct netctl;

struct netctl_command {
	const char *name; /* one word or two */
	const char *summary;
	struct netctl_arg args[NETCTL_ARGS + 1];
	struct netctl_option options[NETCTL_OPTIONS + 1];
	int (*run)(struct netctl *c);
};

/* All commands, in the order of help. */
/* clang-format off */
#define NETCTL_COMMANDS(C) \
	C(status) C(nodes) C(vips) C(ports) C(apps) C(moves) C(flows) C(explain) C(trace) C(stats) C(sets) C(watch) \
	C(logs) C(migrate) C(checkpoint) C(restart) C(drain) C(resume) C(freeze) C(thaw) C(signal) C(vip_add) C(vip_del) C(port_add) C(port_del) C(init) C(token) \
	C(join) C(leave) C(recover) C(set) C(key_rotate) C(check) C(unit) C(version) C(help)
/* clang-format on */

#define DECLARE_COMMAND(name) extern const struct netctl_command cmd_##name;
NETCTL_COMMANDS(DECLARE_COMMAND)
#undef DECLARE_COMMAND

extern const struct netctl_command *const netctl_commands[]; /* NULL at the end */

/* One run. */
struct netctl {
	const struct netctl_command *command;
	bool json, pretty, help;
	const char *group;		    /* `help`: of the commands that begin with this word */
	const char *arg[NETCTL_ARGS];	    /* NULL: not given */
	const char *option[NETCTL_OPTIONS]; /* by place in command->options; "" for a flag */
	const char *const *rest;	    /* of a `many` argument */
	int n_rest;
};

/* netctl_args.c: fills c from words; 0 or EXIT_USAGE after an error was printed. */
int netctl_parse(struct netctl *c, int argc, const char *const *argv);
const struct netctl_command *netctl_find(const char *first, const char *second);
/* Do commands of two words begin with this one? */
bool netctl_is_group(const char *first);
/* The value of an option, NULL when it is not given. */
const char *netctl_option(const struct netctl *c, const char *name);

/* netctl_values.c: text to arguments. The put functions add fields to `args`;
 * false after an error was printed. */
bool netctl_put_port(json_t *args, const char *text);	  /* vip? port proto */
bool netctl_put_ports(json_t *args, const char *text);	  /* vip? port last? proto */
bool netctl_put_what(json_t *args, const char *text);	  /* app | port vip? proto | pid pid_node? */
bool netctl_put_addr_len(json_t *args, const char *text); /* addr prefix */
bool netctl_put_peer(json_t *args, const char *text);	  /* addr port? */
/* CLIENT[:PORT] VIP:PORT [tcp|udp]: client client_port? vip port proto */
bool netctl_put_flow(json_t *args, const char *const *words);
/* One value of a kind that needs no request; error text or NULL. */
const char *netctl_value_wrong(enum value_kind kind, const char *choices, const char *text);
int netctl_signal_number(const char *text); /* -1: none */
int64_t netctl_seconds(const char *text);   /* -1: none */

/* netctl_talk.c */
typedef void netctl_event_fn(struct netctl *c, json_t *event);
/* Sends a request (`args` stolen, may be NULL) and waits; 0 with *result, an array,
 * or the exit status after the error was printed. */
int netctl_request(struct netctl *c, const char *cmd, json_t *args, netctl_event_fn *event, json_t **result);
/* The next request may take long: after two seconds people are told what goes on. */
__attribute__((format(printf, 2, 3))) void netctl_slow(const struct netctl *c, const char *fmt, ...);
/* The error of a call that got no answer; returns the exit status. */
int netctl_no_answer(int err);
/* Show a result: as JSON, as a table, or, when it is empty, as the words `none`. */
void netctl_show(struct netctl *c, const json_t *result, const struct table_column *columns, size_t n,
		 const char *none);
/* Request and show. */
int netctl_list(struct netctl *c, const char *cmd, json_t *args, const struct table_column *columns, size_t n,
		const char *none);
/* Request a change; text: `done`, or "unchanged". With "%s" in `done` the field `field`. */
int netctl_change(struct netctl *c, const char *cmd, json_t *args, const char *done, const char *field);
/* -j: prints the result and says true. */
bool netctl_json(struct netctl *c, const json_t *result);

/* netctl_help.c */
void netctl_help(void);
void netctl_help_group(const char *first); /* `vip`: add and del */
void netctl_help_command(const struct netctl_command *cmd);
char *netctl_synopsis(const struct netctl_command *cmd);
/* Names that begin with the last word: what completion offers, a line each. */
int netctl_complete(int argc, const char *const *argv);
/* The name nearest to `word` of a list that `next` walks, NULL when none is near. */
const char *netctl_nearest(const char *word, const char *(*next)(void *arg), void *arg);

#define N_COLUMNS(c) (sizeof(c) / sizeof((c)[0]))

#endif
