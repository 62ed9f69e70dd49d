// SPDX-License-Identifier: GPL-2.0
#include "ipaddr.h"

#include <arpa/inet.h>

bool ipaddr_parse(const char *text, struct ipaddr *out)
{
	*out = (struct ipaddr){.family = strchr(text, ':') ? DIP_INET6 : DIP_INET};
	return inet_pton(ipaddr_af(out), text, out->addr) == 1;
}

const char *ipaddr_text(const struct ipaddr *a)
{
	static char text[4][INET6_ADDRSTRLEN];
	static unsigned int next;

	return inet_ntop(ipaddr_af(a), a->addr, text[next++ % 4], INET6_ADDRSTRLEN);
}

struct ipaddr ipaddr_network(const struct ipaddr *a, unsigned int prefix)
{
	struct ipaddr net = *a;

	for (unsigned int i = 0; i < sizeof(net.addr); i++)
		net.addr[i] &= prefix >= 8 * (i + 1) ? 0xff
			       : prefix <= 8 * i     ? 0
						     : 0xff00 >> (prefix - 8 * i);
	return net;
}

static bool host_kind(const struct ipaddr *a)
{
	const struct in6_addr *six = (const struct in6_addr *)a->addr;

	if (a->family == DIP_INET)
		return a->addr[0] && a->addr[0] != 127 && a->addr[0] < 224;
	return !IN6_IS_ADDR_MULTICAST(six) && !IN6_IS_ADDR_LINKLOCAL(six) && !IN6_IS_ADDR_LOOPBACK(six) &&
	       !IN6_IS_ADDR_UNSPECIFIED(six) && !IN6_IS_ADDR_V4MAPPED(six);
}

bool ipaddr_is_host(const struct ipaddr *a, unsigned int prefix)
{
	struct ipaddr net = ipaddr_network(a, prefix), all = net;

	if (!host_kind(a) || prefix >= ipaddr_bits(a) - 1)
		return host_kind(a);
	for (unsigned int i = prefix; i < 32; i++)
		all.addr[i / 8] |= 0x80 >> i % 8;
	return !ipaddr_equal(a, &net) && (a->family == DIP_INET6 || !ipaddr_equal(a, &all));
}

void ipaddr_group_mac(const struct ipaddr *group, uint8_t mac[6])
{
	mac[0] = mac[1] = 0x33;
	memcpy(mac + 2, group->addr + 12, 4);
}

struct ipaddr ipaddr_solicited(const struct ipaddr *a)
{
	struct ipaddr group = {DIP_INET6, {0xff, 0x02, [11] = 1, 0xff}};

	memcpy(group.addr + 13, a->addr + 13, 3);
	return group;
}
