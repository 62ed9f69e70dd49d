// SPDX-License-Identifier: GPL-2.0
/*
 * The TIPC bearer of this node; see transport_bearer.h.
 */
#include "transport_bearer.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bearer_filter.h"
#include "keys.h"
#include "tipc_genl.h"
#include "tipc_keys.h"
#include "transport.h"
#include "userland/lib/cleanup.h"
#include "userland/lib/log.h"

#define TICK_MS	   1000
#define LOOK_TICKS 5 /* for bearers of others */

struct bearer {
	char interface[IF_NAMESIZE], run_dir[200];
	struct bearer_filter *filter; /* NULL: clear text */
	uint8_t secret[BEARER_SECRET_BYTES];
	bool key_waits; /* the kernel is not through with the change before */
	bool told_udp;
	unsigned int ticks, tolerance_ms;
	uv_timer_t tick;
};

/* ---- bearers of others ---- */

static void guard_other(void *arg, const char *name)
{
	struct bearer *b = arg;

	if (!strncmp(name, "eth:", 4)) {
		int r = bearer_filter_add(b->filter, name + 4);

		if (r < 0)
			log_err("plain TIPC frames on bearer %s cannot be kept out: %s", name, strerror(-r));
	} else if (!b->told_udp) {
		b->told_udp = true;
		log_warn("TIPC bearer %s is not netssi's: let a firewall keep strangers from its port", name);
	}
}

static void guard_others(struct bearer *b)
{
	if (b->filter)
		tipc_bearer_each(guard_other, b);
}

/* ---- keys ---- */

static int set_key(struct bearer *b)
{
	int r = tipc_keys_set(b->run_dir, b->secret);

	b->key_waits = r == -EBUSY;
	if (r < 0 && r != -EBUSY)
		log_err("TIPC does not take the cluster's key: %s", strerror(-r));
	return r;
}

void bearer_rekey(struct bearer *b, const uint8_t secret[BEARER_SECRET_BYTES])
{
	if (!b || !b->filter)
		return;
	memcpy(b->secret, secret, sizeof(b->secret));
	set_key(b);
}

void bearer_tolerance(struct bearer *b, unsigned int ms)
{
	int r;

	if (!b || b->tolerance_ms == ms)
		return;
	b->tolerance_ms = ms;
	r = tipc_bearer_enable(b->interface, ms);
	if (r < 0)
		log_err("TIPC does not take a tolerance of %u ms: %s", ms, strerror(-r));
}

static void on_tick(uv_timer_t *t)
{
	struct bearer *b = t->data;

	if (b->key_waits)
		set_key(b);
	if (b->filter)
		bearer_filter_check(b->filter);
	if (++b->ticks % LOOK_TICKS == 0)
		guard_others(b);
}

/* ---- life ---- */

struct bearer_search {
	const char *interface; /* NULL: any */
	bool found;
};

static void compare_bearer(void *arg, const char *name)
{
	struct bearer_search *s = arg;

	s->found |= !s->interface || (!strncmp(name, "eth:", 4) && !strcmp(name + 4, s->interface));
}

static bool is_enabled(const char *interface)
{
	struct bearer_search s = {.interface = interface};

	tipc_bearer_each(compare_bearer, &s);
	return s.found;
}

/* The filter first: with a key alone, plain frames are taken still. */
static int secure_up(struct bearer *b, const struct bearer_params *p)
{
	int r = bearer_filter_new(p->loop, true, &b->filter);

	if (!r)
		r = bearer_filter_add(b->filter, b->interface);
	if (r < 0) {
		log_err("plain TIPC frames on %s cannot be kept out by nftables: %s; load the module "
			"nf_tables, "
			"or set transport = tcp",
			b->interface, strerror(-r));
		return r;
	}
	guard_others(b);
	memcpy(b->secret, p->secret, sizeof(b->secret));
	if (!is_enabled(b->interface)) /* what another cluster left; a restart finds its links alive */
		tipc_keys_forget(b->run_dir, b->secret);
	r = set_key(b);
	return r == -EBUSY ? 0 : r;
}

static int clear_up(struct bearer *b)
{
	int r = tipc_keys_drop(b->run_dir);

	bearer_filter_cleanup();
	return r;
}

static int bearer_up(struct bearer *b, const struct bearer_params *p)
{
	int r = p->secret ? secure_up(b, p) : clear_up(b);

	if (r < 0)
		return r;
	r = tipc_bearer_enable(b->interface, b->tolerance_ms);
	if (r < 0)
		log_err("TIPC cannot use interface %s: %s", b->interface, strerror(-r));
	return r;
}

/* RUN_DIR/bearer names ours, for bearer_cleanup(). */
static void bearer_path(const char *run_dir, char out[256])
{
	snprintf(out, 256, "%s/bearer", run_dir);
}

static void bearer_note(const struct bearer *b)
{
	char path[256];

	bearer_path(b->run_dir, path);
	if (keys_file_write(path, b->interface) < 0)
		log_warn("%s cannot be written", path);
}

static int bearer_down(const char *interface, const char *run_dir)
{
	int r = tipc_bearer_disable(interface);
	char path[256];

	bearer_path(run_dir, path);
	unlink(path);
	return r == -ENODEV || r == -EINVAL ? 0 : r; /* it is gone already */
}

int bearer_cleanup(const char *run_dir)
{
	char path[256], interface[IF_NAMESIZE] = "";
	_close_ int fd = -1;
	int r;

	bearer_path(run_dir, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, interface, sizeof(interface) - 1) <= 0)
		return 0;
	r = bearer_down(interface, run_dir);
	if (!r && !is_enabled(NULL))
		r = tipc_keys_drop(run_dir);
	if (!r && !is_enabled(NULL))
		r = bearer_filter_cleanup();
	return r < 0 ? r : 1;
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

int bearer_start(const struct bearer_params *p, struct bearer **out)
{
	struct bearer *b;
	int r;

	if (!transport_tipc_available()) {
		log_err("the kernel has no TIPC; load the module tipc");
		return -EAFNOSUPPORT;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	strncpy(b->interface, p->interface, sizeof(b->interface) - 1);
	b->tolerance_ms = TRANSPORT_TOLERANCE_MS;
	strncpy(b->run_dir, p->run_dir, sizeof(b->run_dir) - 1);
	r = bearer_up(b, p);
	uv_timer_init(p->loop, &b->tick);
	b->tick.data = b;
	uv_timer_start(&b->tick, on_tick, TICK_MS, TICK_MS);
	if (r < 0) {
		bearer_stop(b, false);
		return r;
	}
	bearer_note(b);
	*out = b;
	return 0;
}

void bearer_stop(struct bearer *b, bool leave)
{
	if (!b)
		return;
	if (leave && bearer_down(b->interface, b->run_dir) < 0)
		log_warn("TIPC bearer %s could not be disabled", b->interface);
	bearer_filter_free(b->filter, leave && !is_enabled(NULL));
	explicit_bzero(b->secret, sizeof(b->secret));
	uv_close((uv_handle_t *)&b->tick, on_closed);
}
