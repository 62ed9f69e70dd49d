// SPDX-License-Identifier: GPL-2.0
/*
 * Which sockets of applications listen or are bound. Events keep the table up
 * to date; a dump by sock_diag sets it right at the start, after lost events
 * and before a claim is given up. A socket belongs to the application whose
 * control group made it: ssi.slice/ssi-NAME.scope or below.
 */
#include "claims_int.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define SCOPE_PREFIX "ssi-"
#define SCOPE_SUFFIX ".scope"
#define DEPTH_MAX    8

static struct claims_sock **sock_at(struct claims *c, uint64_t cookie)
{
	struct claims_sock **at = &c->chain[cookie % CLAIMS_CHAINS];

	while (*at && (*at)->cookie != cookie)
		at = &(*at)->next;
	return at;
}

/* ---- control groups -------------------------------------------------------------- */
static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* A directory at or below `path` whose inode, which is the group's id, is `id`. */
static bool group_below(const char *path, uint64_t id, int depth)
{
	_cleanup_(close_dir) DIR *dir = NULL;
	char sub[PATH_MAX];
	struct dirent *e;
	struct stat st;

	if (!stat(path, &st) && st.st_ino == id)
		return true;
	dir = depth < DEPTH_MAX ? opendir(path) : NULL;
	while (dir && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) < (int)sizeof(sub) &&
		    group_below(sub, id, depth + 1))
			return true;
	}
	return false;
}

static bool scope_name(const char *dir, char app[APP_NAME_MAX])
{
	size_t len = strlen(dir), fix = strlen(SCOPE_PREFIX) + strlen(SCOPE_SUFFIX);

	if (len <= fix || len - fix >= APP_NAME_MAX || strncmp(dir, SCOPE_PREFIX, strlen(SCOPE_PREFIX)) ||
	    strcmp(dir + len - strlen(SCOPE_SUFFIX), SCOPE_SUFFIX))
		return false;
	snprintf(app, APP_NAME_MAX, "%.*s", (int)(len - fix), dir + strlen(SCOPE_PREFIX));
	return true;
}

/* The application of a control group; `path` gets its scope's directory. */
static bool app_of_group(uint64_t id, char app[APP_NAME_MAX], char *path, size_t size)
{
	const char *root = datapath_cgroup_root();
	_cleanup_(close_dir) DIR *dir = NULL;
	char slice[PATH_MAX];
	struct dirent *e;

	if (!root || !id)
		return false;
	snprintf(slice, sizeof(slice), "%.4000s/" NETD_CGROUP, root);
	dir = opendir(slice);
	while (dir && (e = readdir(dir))) {
		if (!scope_name(e->d_name, app))
			continue;
		if (snprintf(path, size, "%s/%s", slice, e->d_name) < (int)size && group_below(path, id, 0))
			return true;
	}
	return false;
}

/* ---- sockets ----------------------------------------------------------------------- */
static bool ended_lately(const struct claims *c, uint64_t cookie)
{
	for (int i = 0; i < CLAIMS_ENDED; i++)
		if (c->ended[i] == cookie)
			return true;
	return false;
}

static void sock_end(struct claims *c, uint64_t cookie)
{
	struct claims_sock **at = sock_at(c, cookie), *s = *at;

	c->ended[c->n_ended++ % CLAIMS_ENDED] = cookie;
	if (!s)
		return;
	*at = s->next;
	claims_sock_changed(c, s);
	free(s);
}

/* Did the kernel say IPV6_V6ONLY? An event does not tell. */
struct only6 {
	uint64_t cookie;
	bool found;
};

static void only6_fn(void *arg, const struct sockdiag_sock *s)
{
	struct only6 *o = arg;

	if (s->cookie == o->cookie)
		o->found = s->only6;
}

static bool is_only6(struct claims *c, int proto, uint64_t cookie)
{
	struct only6 o = {.cookie = cookie};

	sockdiag_dump(c->netd->datapath->diag, AF_INET6, proto,
		      proto == IPPROTO_TCP ? SOCKDIAG_LISTEN : SOCKDIAG_UDP, only6_fn, &o);
	return o.found;
}

static void set_addr(struct claims_sock *s, bool six, const void *addr)
{
	static const uint8_t any[16];
	static const uint8_t loopback6[16] = {[15] = 1};

	if (six && memcmp(addr, any, 16)) {
		s->ipv6 = true;
		s->loopback = !memcmp(addr, loopback6, 16);
		return;
	}
	memcpy(&s->addr, addr, 4);
	s->loopback = ntohl(s->addr) >> 24 == 127;
}

static struct claims_sock *sock_insert(struct claims *c, struct claims_sock probe)
{
	struct claims_sock **at = sock_at(c, probe.cookie), *s = *at;

	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		*at = s;
	} else {
		probe.next = s->next;
	}
	*s = probe;
	claims_sock_changed(c, s);
	return s;
}

/* Events name processes as the first pid namespace does; when netd is in
 * another one, the process is looked for. */
static bool foreign_pids(void)
{
	static int foreign = -1;
	struct stat st;

	if (foreign < 0) /* PROC_PID_INIT_INO */
		foreign = !stat("/proc/self/ns/pid", &st) && st.st_ino != 0xEFFFFFFC;
	return foreign;
}

struct inode_of {
	uint64_t cookie;
	uint32_t inode;
};

static void inode_fn(void *arg, const struct sockdiag_sock *s)
{
	struct inode_of *i = arg;

	if (s->cookie == i->cookie)
		i->inode = s->inode;
}

static void find_holder(struct claims *c, struct claims_sock *s, const char *group)
{
	uint32_t states = s->proto == IPPROTO_TCP ? SOCKDIAG_LISTEN : SOCKDIAG_UDP;
	struct sockdiag *diag = c->netd->datapath->diag;
	struct inode_of i = {.cookie = s->cookie};

	sockdiag_dump(diag, AF_INET, s->proto, states, inode_fn, &i);
	if (!i.inode)
		sockdiag_dump(diag, AF_INET6, s->proto, states, inode_fn, &i);
	s->pid = i.inode ? sockdiag_holder(group, i.inode, s->comm) : 0;
}

static void sock_begin(struct claims *c, const struct dip_event *ev)
{
	bool six = ev->family == DIP_INET6, fresh = !*sock_at(c, ev->cookie);
	struct claims_sock s = {
		.cookie = ev->cookie,
		.cgroup = ev->cgroup,
		.proto = ev->proto,
		.port = ev->port,
		.pid = ev->pid,
	};
	char path[PATH_MAX];

	memcpy(s.comm, ev->comm, sizeof(s.comm) - 1);
	set_addr(&s, six, &ev->addr);
	/* A client's socket: nobody outside knows the port. */
	if (ev->proto == IPPROTO_UDP && ev->flags & DIP_EV_EPHEMERAL && !s.addr)
		return;
	if (!app_of_group(ev->cgroup, s.app, path, sizeof(path)))
		return;
	if (foreign_pids())
		find_holder(c, &s, path);
	if (six && !s.ipv6)
		s.only6 = is_only6(c, ev->proto, ev->cookie);
	/* CRIU tries what the kernel can with sockets of its own. */
	if (sock_insert(c, s) && fresh && s.loopback && ev->proto == IPPROTO_TCP && c->local_fn &&
	    strcmp(s.comm, "criu"))
		c->local_fn(c->local_arg, s.app, s.proto, s.port);
}

void claims_socks_event(struct claims *c, const struct dip_event *ev)
{
	char app[APP_NAME_MAX], path[PATH_MAX];

	switch (ev->type) {
	case DIP_EV_LISTEN:
	case DIP_EV_BIND:
		sock_begin(c, ev);
		break;
	case DIP_EV_UNLISTEN:
	case DIP_EV_UNBIND:
		sock_end(c, ev->cookie);
		break;
	case DIP_EV_REFUSED:
		if (!app_of_group(ev->cgroup, app, path, sizeof(path)))
			strcpy(app, "?");
		log_notice("%s (pid %u, %.16s) asked for %s port %u, which node %s has: address in use", app,
			   ev->pid, ev->comm, ev->proto == IPPROTO_TCP ? "TCP" : "UDP", ev->port,
			   datapath_node_name(c->netd->datapath, ev->owner));
		break;
	}
}

/* ---- the dump ------------------------------------------------------------------------ */
static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static bool is_ephemeral(uint16_t port)
{
	_cleanup_(close_file) FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned int low = 32768, high = 60999;

	if (f && fscanf(f, "%u %u", &low, &high) != 2)
		low = 32768;
	return port >= low && port <= high;
}

/* Whether port 0 was asked for is not known of a socket that is found, but what
 * had a claim before was no client's. */
static bool has_claim(const struct claims *c, const struct claims_sock *s)
{
	struct port_key k = {.proto = s->proto, .port = s->port};
	const struct kddm_object *obj;
	struct port_value v;

	for (k.vip = 0; k.vip < DATAPATH_VIPS; k.vip++) {
		obj = kddm_find(c->netd->sets.ports, &k, sizeof(k));
		if (!obj)
			continue;
		object_read(obj, &v, sizeof(v));
		if (!strcmp(v.app, s->app))
			return true;
	}
	return false;
}

static void scan_fn(void *arg, const struct sockdiag_sock *d)
{
	struct claims *c = arg;
	struct claims_sock *known = *sock_at(c, d->cookie);
	struct claims_sock s = {
		.cookie = d->cookie,
		.cgroup = d->cgroup,
		.proto = d->proto,
		.port = d->port,
		.only6 = d->only6,
		.seen = true,
	};
	char path[PATH_MAX];

	if (known) {
		known->seen = true;
		return;
	}
	if (!d->port || ended_lately(c, d->cookie) || !app_of_group(d->cgroup, s.app, path, sizeof(path)))
		return;
	set_addr(&s, d->family == AF_INET6 && !d->mapped, d->addr);
	if (d->proto == IPPROTO_UDP && !s.addr && is_ephemeral(d->port) && !has_claim(c, &s))
		return;
	s.pid = sockdiag_holder(path, d->inode, s.comm);
	sock_insert(c, s);
}

void claims_socks_scan(struct claims *c)
{
	static const struct {
		int family, proto;
		uint32_t states;
	} what[] = {
		{AF_INET, IPPROTO_TCP, SOCKDIAG_LISTEN},
		{AF_INET6, IPPROTO_TCP, SOCKDIAG_LISTEN},
		{AF_INET, IPPROTO_UDP, SOCKDIAG_UDP},
		{AF_INET6, IPPROTO_UDP, SOCKDIAG_UDP},
	};
	struct sockdiag *diag = c->netd->datapath->diag;
	struct claims_sock *s;
	int i, err = 0;

	claims_for_each(c, i, s) s->seen = false;
	for (i = 0; i < 4 && !err; i++)
		err = sockdiag_dump(diag, what[i].family, what[i].proto, what[i].states, scan_fn, c);
	if (err) {
		log_err("cannot read the sockets: %s", strerror(-err));
		return;
	}
	for (i = 0; i < CLAIMS_CHAINS; i++) {
		struct claims_sock **at = &c->chain[i];

		while ((s = *at)) {
			if (s->seen) {
				at = &s->next;
				continue;
			}
			*at = s->next;
			claims_sock_changed(c, s);
			free(s);
		}
	}
}

void claims_socks_clear(struct claims *c)
{
	struct claims_sock *s;

	for (int i = 0; i < CLAIMS_CHAINS; i++) {
		while ((s = c->chain[i])) {
			c->chain[i] = s->next;
			free(s);
		}
	}
}
