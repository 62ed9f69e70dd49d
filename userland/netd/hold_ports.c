// SPDX-License-Identifier: GPL-2.0
/*
 * The ports of a hold queue, whichever device it has. Those that have been opened
 * stay for a while: for late packets and for the figures.
 */
#include "hold_int.h"

#include <stdio.h>
#include <stdlib.h>

#define PORTS_KEPT 128

struct hold_port *hold_port_find(const struct hold *h, struct hold_key key)
{
	struct hold_port *p = h->ports;

	while (p && !hold_same_key(p->key, key))
		p = p->next;
	return p;
}

struct hold_port *hold_port_hold(struct hold *h, struct hold_key key, const char *app, size_t size)
{
	struct hold_port *p = hold_port_find(h, key);

	if (!p) {
		p = calloc(1, size);
		if (!p)
			return NULL;
		p->key = key;
		p->next = h->ports;
		h->ports = p;
	}
	p->state = HOLD_HELD;
	p->opened = NULL;
	snprintf(p->app, sizeof(p->app), "%s", app);
	return p;
}

struct hold_port *hold_port_release(struct hold *h, struct hold_key key, hold_opened_fn *opened, void *arg)
{
	struct hold_port *p = hold_port_find(h, key);

	if (!p || p->state == HOLD_OPEN) {
		opened(arg, key);
		return NULL;
	}
	p->state = HOLD_RELEASING;
	p->opened = opened;
	p->opened_arg = arg;
	return p;
}

void hold_port_open(struct hold_port *p)
{
	p->state = HOLD_OPEN;
	p->opened(p->opened_arg, p->key);
}

struct hold_port *hold_port_too_many(struct hold *h)
{
	struct hold_port **at = &h->ports, *p;
	int kept = 0;

	while ((p = *at) && (p->state != HOLD_OPEN || kept++ < PORTS_KEPT))
		at = &p->next;
	if (p)
		*at = p->next;
	return p;
}

bool hold_is_held(const struct hold *h, struct hold_key key)
{
	const struct hold_port *p = hold_port_find(h, key);

	return p && p->state != HOLD_OPEN;
}
