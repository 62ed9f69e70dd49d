// SPDX-License-Identifier: GPL-2.0
/*
 * This machine as a node: its name, its address, its transport, the place of its log. Each that cannot be had ends
 * the job.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "member_job.h"
#include "userland/lib/cleanup.h"

static bool ip_text(const struct sockaddr *sa, char out[INET6_ADDRSTRLEN])
{
	const void *ip = sa && sa->sa_family == AF_INET
				 ? (const void *)&((const struct sockaddr_in *)sa)->sin_addr
			 : sa && sa->sa_family == AF_INET6
				 ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
				 : NULL;

	return ip && inet_ntop(sa->sa_family, ip, out, INET6_ADDRSTRLEN);
}

static bool is_usable(const struct ifaddrs *i)
{
	const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;

	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
		return false;
	return i->ifa_addr->sa_family == AF_INET ||
	       (i->ifa_addr->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr));
}

/* The interface that has `ip`. */
static void find_interface(const char *ip, char bearer[16])
{
	struct ifaddrs *all, *i;
	char text[INET6_ADDRSTRLEN];
	bool found = false;

	if (getifaddrs(&all) < 0)
		return;
	for (i = all; i && !found; i = i->ifa_next) {
		if (!ip_text(i->ifa_addr, text) || strcmp(text, ip))
			continue;
		snprintf(bearer, 16, "%s", i->ifa_name);
		found = true;
	}
	freeifaddrs(all);
}

/* First address of the interface, or of any when it is "". IPv4 is preferred. */
static bool find_address(const char *bearer, char ip[INET6_ADDRSTRLEN])
{
	struct ifaddrs *all, *i;
	int found = 0;

	if (getifaddrs(&all) < 0)
		return false;
	for (i = all; i; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : 0;

		if (!is_usable(i) || (bearer[0] && strcmp(bearer, i->ifa_name)))
			continue;
		if (!found || (found == AF_INET6 && family == AF_INET)) {
			ip_text(i->ifa_addr, ip);
			found = family;
		}
	}
	freeifaddrs(all);
	return found;
}

/* Which of our addresses the packets to `peer` ("IP:PORT") come from. */
static bool find_source(const char *peer, char ip[INET6_ADDRSTRLEN])
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	_close_ int fd = transport_udp_route(peer);

	return fd >= 0 && !getsockname(fd, (struct sockaddr *)&a, &len) && ip_text((struct sockaddr *)&a, ip);
}

int member_set_name(struct member *m, const char *name)
{
	char host[NODES_NAME_SIZE] = "";

	if (!name || !name[0]) {
		gethostname(host, sizeof(host) - 1);
		host[strcspn(host, ".")] = 0;
		name = host;
	}
	if (!nodes_name_valid(name)) {
		member_job_fail(m, 2, "use letters, digits, '-', '.', '_', at most 63",
				"\"%s\" is no node name", name);
		return -EINVAL;
	}
	snprintf(m->id.name, sizeof(m->id.name), "%s", name);
	return 0;
}

int member_set_address(struct member *m, const struct member_machine *machine, const char *peer)
{
	uint16_t port = machine->port ? machine->port : MEMBER_PORT;
	char ip[INET6_ADDRSTRLEN] = "";

	snprintf(m->id.bearer, sizeof(m->id.bearer), "%s", machine->bearer ? machine->bearer : "");
	if (m->id.bearer[0] && !if_nametoindex(m->id.bearer)) {
		member_job_fail(m, 2, "name one of `ip link`", "there is no interface %s here", m->id.bearer);
		return -ENODEV;
	}
	if (machine->address && machine->address[0])
		snprintf(ip, sizeof(ip), "%s", machine->address);
	else if (!(peer && find_source(peer, ip)) && !find_address(m->id.bearer, ip)) {
		member_job_fail(m, 1, "give one with --addr", "no address found for this node");
		return -EADDRNOTAVAIL;
	}
	if (transport_tcp_address(ip, port, m->id.tcp) < 0) {
		member_job_fail(m, 2, "give an IPv4 or IPv6 address", "\"%s\" is no address", ip);
		return -EINVAL;
	}
	if (!m->id.bearer[0])
		find_interface(ip, m->id.bearer);
	if (!transport_is_local(m->id.tcp)) {
		member_job_fail(m, 1, "give one of `ip addr`", "%s is not an address of this machine", ip);
		return -EADDRNOTAVAIL;
	}
	return 0;
}

int member_choose_transport(struct member *m, const struct member_machine *machine)
{
	const char *want = machine->transport && machine->transport[0] ? machine->transport : "auto";
	bool bearer = machine->bearer && machine->bearer[0];

	if (!strcmp(want, "auto"))
		want = bearer && transport_tipc_available() ? "tipc" : "tcp";
	if (strcmp(want, "tcp") && strcmp(want, "tipc")) {
		member_job_fail(m, 2, "use tcp, tipc or auto", "unknown transport \"%s\"", want);
		return -EINVAL;
	}
	snprintf(m->id.transport, sizeof(m->id.transport), "%s", want);
	return 0;
}

int member_make_place(struct member *m)
{
	int r = member_raft_dir(m, true);

	if (r < 0) {
		member_job_fail(m, 1, "make the directory writable", "%s: %s", m->state_dir, strerror(-r));
		return r;
	}
	if (!strcmp(m->id.transport, "tipc")) {
		if (!transport_tipc_available()) {
			member_job_fail(m, 1, "modprobe tipc",
					"the kernel has no TIPC, which this cluster uses");
			return -EAFNOSUPPORT;
		}
		transport_tipc_address(transport_tipc_instance(m->id.raft_id), m->id.address);
	} else {
		snprintf(m->id.address, sizeof(m->id.address), "%s", m->id.tcp);
	}
	return 0;
}

int member_start_engine(struct member *m, bool bootstrap)
{
	int r = member_run(m, bootstrap);

	if (!r)
		r = member_state_save(m);
	if (r == -EADDRINUSE)
		member_job_fail(m, 1, "stop what listens there, or set another port in netd.conf",
				"%s is in use", m->id.tcp);
	else if (r < 0)
		member_job_fail(m, 1, "see netd's log", "cannot start: %s", strerror(-r));
	return r;
}
