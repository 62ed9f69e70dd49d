/* SPDX-License-Identifier: GPL-2.0 */
/* netctl: the values that people write, checked and turned into arguments of requests. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/print.h"
#include "userland/tools/netctl.h"

static bool is_addr(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1;
}

/* A decimal number and nothing else; -1 otherwise. */
static int64_t number(const char *text, int64_t max)
{
	char *end;
	long long v;

	if (!isdigit((unsigned char)*text))
		return -1;
	errno = 0;
	v = strtoll(text, &end, 10);
	return *end || errno || v > max ? -1 : v;
}

int64_t netctl_seconds(const char *text)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t len = strlen(text), i;
	int64_t factor = 1, v;
	_free_ char *digits = strdup(text);

	if (!digits || !len)
		return -1;
	for (i = 0; i < 4; i++) {
		if (text[len - 1] == units[i].unit) {
			factor = units[i].s;
			digits[len - 1] = '\0';
		}
	}
	v = number(digits, INT32_MAX);
	return v < 0 ? -1 : v * factor;
}

int netctl_signal_number(const char *text)
{
	int64_t n = number(text, SIGRTMAX);
	int i;

	if (n > 0)
		return (int)n;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);

		if (name && !strcasecmp(name, text))
			return i;
	}
	return -1;
}

static bool is_name(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
			return false;
	return len > 0 && len < 64 && isalnum((unsigned char)text[0]);
}

/* ---- [VIP]:PORT[/udp] ---- */

struct port_text {
	char vip[64];	/* "" when there is none */
	int port, last; /* last: 0, or the end of a range */
	const char *proto;
};

/* Text behind the host's colon: PORT[-LAST][/tcp|/udp]. */
static bool split_port(const char *text, struct port_text *out)
{
	const char *slash = strchr(text, '/');
	char digits[16], *dash;
	size_t len = slash ? (size_t)(slash - text) : strlen(text);

	out->proto = slash ? slash + 1 : "tcp";
	if (len >= sizeof(digits) || (strcmp(out->proto, "tcp") && strcmp(out->proto, "udp")))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	dash = strchr(digits, '-');
	out->last = dash ? number(dash + 1, 65535) : 0;
	if (dash)
		*dash = '\0';
	out->port = number(digits, 65535);
	return out->port > 0 && (!dash || out->last > 0);
}

static bool split_service(const char *text, struct port_text *out)
{
	const char *host = text, *colon = strrchr(text, ':');
	size_t len;

	if (!colon)
		return false;
	len = colon - host;
	if (len >= 2 && host[0] == '[' && colon[-1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return false; /* IPv6 needs its brackets */
	}
	if (len >= sizeof(out->vip))
		return false;
	memcpy(out->vip, host, len);
	out->vip[len] = '\0';
	return (!len || is_addr(out->vip)) && split_port(colon + 1, out);
}

static bool put_port(json_t *args, const struct port_text *p)
{
	if (*p->vip)
		json_object_set_new(args, "vip", json_string(p->vip));
	json_object_set_new(args, "port", json_integer(p->port));
	if (p->last)
		json_object_set_new(args, "last", json_integer(p->last));
	json_object_set_new(args, "proto", json_string(p->proto));
	return true;
}

bool netctl_put_port(json_t *args, const char *text)
{
	struct port_text p;

	if (split_service(text, &p) && !p.last)
		return put_port(args, &p);
	print_error(EXIT_USAGE, "write :PORT, VIP:PORT or [VIP6]:PORT, with /udp for UDP", "bad port '%s'",
		    text);
	return false;
}

bool netctl_put_ports(json_t *args, const char *text)
{
	struct port_text p;

	if (!split_service(text, &p) || !p.last)
		return netctl_put_port(args, text);
	if (p.last >= p.port)
		return put_port(args, &p);
	print_error(EXIT_USAGE, "write the smaller port first", "the range %d-%d is upside down", p.port,
		    p.last);
	return false;
}

/* ---- APP|[VIP]:PORT[/udp]|pid:[NODE/]PID ---- */

static bool split_pid(const char *text, char node[64], int64_t *pid)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : 0;

	if (slash && !is_name(text, len))
		return false;
	memcpy(node, text, len);
	node[len] = '\0';
	*pid = number(slash ? slash + 1 : text, INT32_MAX);
	return *pid > 0;
}

bool netctl_put_what(json_t *args, const char *text)
{
	struct port_text p;
	char node[64];
	int64_t pid;

	if (!strncmp(text, "pid:", 4) && split_pid(text + 4, node, &pid)) {
		json_object_set_new(args, "pid", json_integer(pid));
		if (*node)
			json_object_set_new(args, "pid_node", json_string(node));
		return true;
	}
	if (is_name(text, strlen(text))) {
		json_object_set_new(args, "app", json_string(text));
		return true;
	}
	if (split_service(text, &p) && !p.last)
		return put_port(args, &p);
	print_error(EXIT_USAGE, "write APP, [VIP]:PORT[/udp] or pid:[NODE/]PID",
		    "'%s' names nothing that can move", text);
	return false;
}

/* ---- addresses ---- */

bool netctl_put_addr_len(json_t *args, const char *text)
{
	const char *slash = strchr(text, '/');
	_free_ char *addr = strndup(text, slash ? (size_t)(slash - text) : strlen(text));
	int64_t len = slash ? number(slash + 1, addr && strchr(addr, ':') ? 128 : 32) : -1;

	if (!addr || !is_addr(addr) || len < 0) {
		print_error(EXIT_USAGE, "write ADDR/LEN, for example 10.77.0.100/24", "bad address '%s'",
			    text);
		return false;
	}
	json_object_set_new(args, "addr", json_string(addr));
	json_object_set_new(args, "prefix", json_integer(len));
	return true;
}

bool netctl_put_peer(json_t *args, const char *text)
{
	struct port_text p = {.port = 0};
	bool plain = is_addr(text);

	if (!plain && (!split_service(text, &p) || !*p.vip || strchr(text, '/'))) {
		print_error(EXIT_USAGE, "write ADDR, ADDR:PORT or [ADDR6]:PORT", "bad address '%s'", text);
		return false;
	}
	json_object_set_new(args, "addr", json_string(plain ? text : p.vip));
	if (p.port)
		json_object_set_new(args, "port", json_integer(p.port));
	return true;
}

/* ---- one value ---- */

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	const char *p = choices;

	while (p && *p) {
		size_t n = strcspn(p, "|");

		if (n == len && !strncmp(p, text, n))
			return true;
		p += n + (p[n] == '|');
	}
	return false;
}

static bool is_interface(const char *text)
{
	const char *colon = strchr(text, ':'), *dev = colon ? colon + 1 : text;
	size_t len = strlen(dev);

	return (!colon || is_name(text, colon - text)) && len > 0 && len < 16 && !strpbrk(dev, "/ \t\n:");
}

/* [NODE:]IF, several with commas */
static bool is_interfaces(const char *text)
{
	_free_ char *copy = strdup(text);
	char *part, *rest = copy;

	while ((part = strsep(&rest, ",")))
		if (!is_interface(part))
			return false;
	return copy != NULL;
}

static bool is_mac(const char *text)
{
	unsigned int b[6];
	char end;

	return strlen(text) == 17 &&
	       sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) == 6;
}

const char *netctl_value_wrong(enum value_kind kind, const char *choices, const char *text)
{
	static char remedy[160];

	switch (kind) {
	case VALUE_NODE:
		return is_name(text, strlen(text))
			       ? NULL
			       : "use letters, digits, '.', '_' and '-', as `netctl nodes` shows";
	case VALUE_APP:
		return is_name(text, strlen(text)) ? NULL
						   : "give the name of an application, see `netctl apps`";
	case VALUE_VIP:
	case VALUE_ADDR:
		return is_addr(text) ? NULL : "give an IP address";
	case VALUE_IF:
		return is_interfaces(text) ? NULL : "give an interface, or NODE:INTERFACE";
	case VALUE_MAC:
		return is_mac(text) ? NULL : "write it like 02:00:5e:00:00:01";
	case VALUE_NUMBER:
		return number(text, INT64_MAX) >= 0 ? NULL : "give a number";
	case VALUE_TIME:
		return netctl_seconds(text) >= 0 ? NULL : "give a time like 90s, 15m, 1h or 7d";
	case VALUE_PERIOD:
		return netctl_seconds(text) > 0 ? NULL
						: "give a time of 1s and more, like 90s, 15m, 1h or 7d";
	case VALUE_SIGNAL:
		return netctl_signal_number(text) > 0 ? NULL : "give a signal like TERM or 15, see `kill -l`";
	case VALUE_CHOICE:
		if (is_choice(choices, text))
			return NULL;
		snprintf(remedy, sizeof(remedy), "it is one of %s", choices);
		return remedy;
	default:
		return *text ? NULL : "it must not be empty";
	}
}

static bool put_client(json_t *args, const char *text)
{
	json_t *peer;

	if (is_addr(text)) {
		json_object_set_new(args, "client", json_string(text));
		return true;
	}
	peer = json_object();
	if (!netctl_put_peer(peer, text)) {
		json_decref(peer);
		return false;
	}
	json_object_set(args, "client", json_object_get(peer, "addr"));
	json_object_set(args, "client_port", json_object_get(peer, "port"));
	json_decref(peer);
	return true;
}

bool netctl_put_flow(json_t *args, const char *const *words)
{
	if (!put_client(args, words[0]) || !netctl_put_port(args, words[1]))
		return false;
	if (!json_object_get(args, "vip")) {
		print_error(EXIT_USAGE, "write VIP:PORT", "'%s' names no cluster address", words[1]);
		return false;
	}
	if (words[2])
		json_object_set_new(args, "proto", json_string(words[2]));
	return true;
}
