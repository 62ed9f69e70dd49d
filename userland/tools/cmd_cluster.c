/* SPDX-License-Identifier: GPL-2.0 */
/* netctl init, token, join, leave: the life of a cluster. Secrets come from files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

#define SECRET_MAX 8192

static void put_option(struct netctl *c, json_t *args, const char *option, const char *field)
{
	const char *value = netctl_option(c, option);

	if (value)
		json_object_set_new(args, field, json_string(value));
}

/* ---- init ---- */

static int run_init(struct netctl *c)
{
	const char *nodes_min = netctl_option(c, "nodes-min");
	json_t *args = json_object();

	put_option(c, args, "name", "name");
	put_option(c, args, "addr", "addr");
	put_option(c, args, "bearer", "bearer");
	if (nodes_min)
		json_object_set_new(args, "nodes_min", json_integer(atoll(nodes_min)));
	return netctl_change(c, "init", args, "this machine is a cluster of one node now:", "node");
}

const struct netctl_command cmd_init = {
	.name = "init",
	.summary = "make a new cluster of this machine",
	.options = {{"name", "NAME", VALUE_NODE, NULL, "this node's name, default: the host name"},
		    {"addr", "IP", VALUE_ADDR, NULL, "this node's address on the cluster's network"},
		    {"bearer", "IF", VALUE_IF, NULL, "the interface of the cluster's own traffic"},
		    {"nodes-min", "N", VALUE_NUMBER, NULL, "status warns when fewer nodes are up"}},
	.run = run_init,
};

/* ---- token ---- */

static int run_token(struct netctl *c)
{
	const char *ttl = netctl_option(c, "ttl");
	json_t *args = json_object(), *result = NULL, *o;
	int r;

	if (ttl)
		json_object_set_new(args, "ttl_s", json_integer(netctl_seconds(ttl)));
	r = netctl_request(c, "token", args, NULL, &result);
	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	if (!netctl_json(c, result)) {
		printf("%s\n", json_string_value(json_object_get(o, "token")) ?: "");
		if (print_is_tty())
			fprintf(stderr, "Until %s; on the new machine: netctl join ADDR --token-file FILE\n",
				json_string_value(json_object_get(o, "expires")) ?: "it expires");
	}
	json_decref(result);
	return EXIT_OK;
}

const struct netctl_command cmd_token = {
	.name = "token",
	.summary = "a secret that lets machines join for a while",
	.options = {{"ttl", "TIME", VALUE_PERIOD, NULL, "how long it is good: 90s, 15m, 1h (default), 7d"}},
	.run = run_token,
};

/* ---- join ---- */

/* The content of a file, or of stdin for "-", without the last newline; NULL after
 * an error was printed. */
static char *read_secret(const char *path)
{
	bool is_stdin = !strcmp(path, "-");
	_close_ int file = is_stdin ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, SECRET_MAX + 2);
	size_t len = 0;
	ssize_t got;

	if (!text || (!is_stdin && file < 0)) {
		print_error(EXIT_FAILED, "name a file that can be read, or - for standard input", "%s: %s",
			    path, strerror(errno));
		free(text);
		return NULL;
	}
	while ((got = read(is_stdin ? STDIN_FILENO : file, text + len, SECRET_MAX + 1 - len)) > 0)
		len += got;
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (got == 0 && len > 0 && len <= SECRET_MAX && strlen(text) == len)
		return text;
	print_error(EXIT_FAILED, "give the output of `netctl token`, or the cluster's key file",
		    len ? "%s is not a token or key" : "%s is empty", is_stdin ? "standard input" : path);
	explicit_bzero(text, SECRET_MAX);
	free(text);
	return NULL;
}

static int run_join(struct netctl *c)
{
	const char *token = netctl_option(c, "token-file"), *key = netctl_option(c, "key-file");
	json_t *args = json_object();
	char *secret;
	int r;

	if (token && key) {
		json_decref(args);
		return print_error(EXIT_USAGE, "give one of them",
				   "join: --token-file and --key-file exclude each other");
	}
	if (!netctl_put_peer(args, c->arg[0])) {
		json_decref(args);
		return EXIT_USAGE;
	}
	if (token || key) {
		secret = read_secret(token ?: key);
		if (!secret) {
			json_decref(args);
			return EXIT_FAILED;
		}
		json_object_set_new(args, token ? "token" : "key", json_string(secret));
		explicit_bzero(secret, SECRET_MAX);
		free(secret);
	}
	put_option(c, args, "name", "name");
	put_option(c, args, "addr", "my_addr");
	put_option(c, args, "bearer", "bearer");
	if (netctl_option(c, "witness"))
		json_object_set_new(args, "witness", json_true());
	netctl_slow(c, "netctl: asking %s to let this machine in ...", c->arg[0]);
	r = netctl_change(c, "join", args, "this machine is a node of the cluster now:", "node");
	return r;
}

const struct netctl_command cmd_join = {
	.name = "join",
	.summary = "enter a cluster that another machine belongs to",
	.args = {{.value = "ADDR[:PORT]", .kind = VALUE_PEER}},
	.options = {{"token-file", "FILE", VALUE_FILE, NULL,
		     "the output of `netctl token`; - is standard input"},
		    {"key-file", "FILE", VALUE_FILE, NULL, "a copy of the cluster's /etc/netssi/key"},
		    {"name", "NAME", VALUE_NODE, NULL, "this node's name, default: the host name"},
		    {"addr", "IP", VALUE_ADDR, NULL, "this node's address on the cluster's network"},
		    {"bearer", "IF", VALUE_IF, NULL, "the interface of the cluster's own traffic"},
		    {"witness", NULL, VALUE_NONE, NULL, "only vote: no cluster address, no applications"}},
	.run = run_join,
};

/* ---- leave ---- */

static int run_leave(struct netctl *c)
{
	json_t *args = json_object();

	if (c->arg[0])
		json_object_set_new(args, "node", json_string(c->arg[0]));
	if (netctl_option(c, "force"))
		json_object_set_new(args, "force", json_true());
	netctl_slow(c, "netctl: waiting for the cluster to confirm it ...");
	return netctl_change(c, "leave", args, "left the cluster:", "node");
}

const struct netctl_command cmd_leave = {
	.name = "leave",
	.summary = "take this node, or a dead one, out of the cluster",
	.args = {{.value = "NODE", .kind = VALUE_NODE, .optional = true}},
	.options = {{"force", NULL, VALUE_NONE, NULL,
		     "end what runs here, or the cluster with its last node; also take out a node that is up "
		     "but cannot be asked"}},
	.run = run_leave,
};

/* ---- recover ---- */

static void print_names(const char *before, json_t *names)
{
	json_t *name;
	size_t i;

	if (json_array_size(names))
		printf("%s", before);
	json_array_foreach(names, i, name) printf(" %s", json_string_value(name) ?: "?");
	if (json_array_size(names))
		printf("\n");
}

static int run_recover(struct netctl *c)
{
	json_t *args = json_object(), *result = NULL, *o;
	int r;

	if (netctl_option(c, "force"))
		json_object_set_new(args, "force", json_true());
	r = netctl_request(c, "recover", args, NULL, &result);
	if (r != EXIT_OK)
		return r;
	o = json_array_get(result, 0);
	if (!netctl_json(c, result)) {
		printf("the cluster begins again from this node's copy\n");
		print_names("given up:", json_object_get(o, "given_up"));
		print_names("joining anew by themselves:", json_object_get(o, "rejoining"));
	}
	json_decref(result);
	return EXIT_OK;
}

const struct netctl_command cmd_recover = {
	.name = "recover",
	.summary = "rebuild the cluster from this node when most voters are lost for good",
	.options = {{"force", NULL, VALUE_NONE, NULL, "do it; without, only the risk is named"}},
	.run = run_recover,
};

/* ---- set ---- */

static int list_settings(struct netctl *c)
{
	static const struct table_column columns[] = {
		{"SETTING", "key", TABLE_BOLD, NULL},
		{"VALUE", "value", TABLE_RIGHT, NULL},
		{"DEFAULT", "default", TABLE_RIGHT, NULL},
		{"WHAT", "text", 0, NULL},
	};

	return netctl_list(c, "settings", NULL, columns, N_COLUMNS(columns), "no settings");
}

static int run_set(struct netctl *c)
{
	if (!c->arg[0])
		return list_settings(c);
	if (!c->arg[1])
		return print_error(EXIT_USAGE, "netctl set KEY VALUE", "set: %s to what?", c->arg[0]);
	return netctl_change(c, "set", json_pack("{s:s, s:s}", "key", c->arg[0], "value", c->arg[1]),
			     "changed:", "key");
}

const struct netctl_command cmd_set = {
	.name = "set",
	.summary = "change a setting of the cluster, or list them",
	.args = {{.value = "KEY", .kind = VALUE_SETTING, .optional = true},
		 {.value = "VALUE", .kind = VALUE_NUMBER, .optional = true}},
	.run = run_set,
};
