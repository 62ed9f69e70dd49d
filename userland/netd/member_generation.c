// SPDX-License-Identifier: GPL-2.0
/*
 * Which life of the cluster a node belongs to. Each `netctl recover --force` begins
 * a *generation*: a number for people, and 16 random bytes, because two halves that are
 * cut from each other may both be rebuilt and count alike. A node knows the bytes of
 * its last generations (`lineage`), and says them in its hellos.
 *
 * A node whose generation is an ancestor of another's is given up: it ends what it
 * runs, drops its log and joins anew under its name. Of two that have only an ancestor
 * in common neither is: nobody but a person knows which one to keep. They
 * do not talk to each other, and `status` says so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "member_int.h"
#include "userland/lib/log.h"

#define DIGITS	   (2 * GENERATION_BYTES)
#define REJOIN_MS  3000
#define DIAL_MS	   2000
#define OTHER_MS   60000 /* so long another one is remembered that says nothing */
#define OTHER_TEXT "the cluster was rebuilt twice, on both sides of a cut; the other one answers at %s"
#define OTHER_REMEDY                                                                                   \
	"end one of the two: `netctl leave --force` on each of its nodes, then `netctl join ADDRESS` " \
	"of the other"

/* ---- lineages ---- */

/* The bytes of generation `number`, NULL when not known. */
static const char *bytes_of(const struct generation *g, uint32_t number)
{
	size_t known = strlen(g->lineage) / DIGITS;

	if (!number || number > g->number || g->number - number >= known)
		return NULL;
	return g->lineage + (known - 1 - (g->number - number)) * DIGITS;
}

enum generation_is generation_compare(const struct generation *theirs, const struct generation *ours)
{
	uint32_t common = theirs->number < ours->number ? theirs->number : ours->number;
	const char *a = bytes_of(theirs, common), *b = bytes_of(ours, common);

	if (a && b && strncmp(a, b, DIGITS) != 0)
		return GENERATION_OTHER;
	if (theirs->number == ours->number)
		return GENERATION_SAME;
	return theirs->number < ours->number ? GENERATION_OLDER : GENERATION_NEWER;
}

int generation_next(struct generation *g)
{
	uint8_t bytes[GENERATION_BYTES];
	size_t len = strlen(g->lineage);

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	if (len + DIGITS >= sizeof(g->lineage)) {
		memmove(g->lineage, g->lineage + DIGITS, len - DIGITS + 1);
		len -= DIGITS;
	}
	member_hex(bytes, sizeof(bytes), g->lineage + len);
	g->number++;
	return 0;
}

void generation_pack(json_t *obj, const struct generation *g)
{
	json_object_set_new(obj, "generation", json_integer(g->number));
	if (g->lineage[0])
		json_object_set_new(obj, "lineage", json_string(g->lineage));
}

/* A netd that knows only numbers says no lineage. */
void generation_unpack(json_t *obj, struct generation *g)
{
	const char *lineage = json_string_value(json_object_get(obj, "lineage"));
	json_int_t number = json_integer_value(json_object_get(obj, "generation"));
	size_t len = lineage ? strlen(lineage) : 0;

	memset(g, 0, sizeof(*g));
	g->number = number > 0 && number <= INT32_MAX ? (uint32_t)number : 0;
	if (len % DIGITS == 0 && len < sizeof(g->lineage) && len / DIGITS <= g->number &&
	    (!lineage || strspn(lineage, "0123456789abcdef") == len))
		memcpy(g->lineage, lineage ?: "", len + 1);
}

/* ---- nodes of another one ---- */

static void superseded(struct member *m, const char *by)
{
	if (by && *by)
		snprintf(m->superseded_by, sizeof(m->superseded_by), "%s", by);
}

static void note_other(struct member *m, const char *address)
{
	snprintf(m->other.text, sizeof(m->other.text), OTHER_TEXT, address ?: "an unknown address");
	m->other.seen_ms = member_now_ms();
	if (member_says_anew(m, m->other.text))
		log_err("%s; " OTHER_REMEDY, m->other.text);
}

const char *member_generation_failure(const struct member *m, const char **remedy)
{
	if (!m->other.seen_ms || member_now_ms() - m->other.seen_ms > OTHER_MS)
		return NULL;
	*remedy = OTHER_REMEDY;
	return m->other.text;
}

static void refuse(struct member *m, struct secure_conn *c, int code, const char *remedy, const char *text)
{
	json_t *reply = json_pack("{ss si ss ss}", "error", text, "code", code, "remedy", remedy, "rejoin",
				  m->id.tcp);

	generation_pack(reply, &m->id.generation);
	secure_answer(c, reply);
}

bool member_generation_differs(struct member *m, struct secure_conn *c, json_t *hello)
{
	const char *tcp = json_string_value(json_object_get(hello, "tcp"));
	struct generation theirs;

	generation_unpack(hello, &theirs);
	switch (generation_compare(&theirs, &m->id.generation)) {
	case GENERATION_SAME:
		return false;
	case GENERATION_OLDER:
		refuse(m, c, 4, "it joins anew by itself", "the cluster was rebuilt without this node");
		return true;
	case GENERATION_NEWER:
		superseded(m, tcp);
		member_refuse(m, c, "wait", "this node was given up and joins anew");
		return true;
	case GENERATION_OTHER:
		break;
	}
	note_other(m, tcp);
	refuse(m, c, 1, OTHER_REMEDY, "the cluster was rebuilt twice, on both sides of a cut");
	return true;
}

bool member_generation_refused(struct member *m, json_t *reply)
{
	const char *tcp = json_string_value(json_object_get(reply, "rejoin"));
	struct generation theirs;
	enum generation_is is;

	generation_unpack(reply, &theirs);
	is = generation_compare(&theirs, &m->id.generation);
	if (!json_object_get(reply, "generation") || is == GENERATION_SAME || is == GENERATION_OLDER)
		return false;
	if (is == GENERATION_NEWER)
		superseded(m, tcp);
	else
		note_other(m, tcp);
	return true;
}

/* ---- those that were given up may live ---- */

static void on_dialed(void *arg, int status, json_t *reply, int fd)
{
	struct member *m = arg;

	(void)fd;
	m->other.dialing = false;
	if (status == -EREMOTEIO)
		member_generation_refused(m, reply);
}

static const struct node_info *next_dead(struct member *m)
{
	const struct node_info *first = NULL, *next = NULL;
	const struct kddm_object *obj;

	kddm_for_each(m->nodes, obj)
	{
		const struct node_info *info = obj->value;

		if (info->state != NODE_DEAD)
			continue;
		if (!first || info->number < first->number)
			first = info;
		if (info->number > m->other.dialed && (!next || info->number < next->number))
			next = info;
	}
	return next ?: first;
}

/* Nodes talk to those that are up: two halves that hold each other for dead would never meet. */
static void dial_the_dead(struct member *m, uint64_t now)
{
	struct secure_connect c = {.done = on_dialed, .arg = m};
	const struct node_info *info;

	if (!m->id.generation.number || !m->running || !m->leads || m->other.dialing ||
	    now - m->other.dialed_ms < DIAL_MS)
		return;
	m->other.dialed_ms = now;
	info = next_dead(m);
	if (!info)
		return;
	m->other.dialed = info->number;
	c.address = info->address;
	c.hello = member_make_hello(m, "generation");
	m->other.dialing = secure_connect(m->secure, &c);
	json_decref(c.hello);
}

/* ---- joining anew ---- */

/* What this life held belongs to others: end it, then begin as a newcomer. */
static void give_up(struct member *m)
{
	char by[TRANSPORT_ADDRESS_MAX];

	strcpy(by, m->superseded_by);
	m->superseded_by[0] = 0;
	if (!m->running || m->stopping || m->id.rejoin[0])
		return;
	log_err("the cluster was rebuilt without %s; giving up what it held and joining anew at %s",
		m->id.name, by);
	strcpy(m->id.rejoin, by);
	if (member_state_save(m) < 0) {
		m->id.rejoin[0] = 0;
		return;
	}
	m->params.events->lease(m->params.arg, 0);
	m->params.events->fenced(m->params.arg);
	member_incarnation(m, true);
	m->params.events->restart(m->params.arg);
}

static void on_rejoined(void *arg, const struct member_error *error)
{
	struct member *m = arg;

	if (!error) {
		log_notice("%s has joined anew", m->id.name);
		return;
	}
	log_warn("cannot join anew: %s; %s; trying again", error->text, error->remedy);
	m->id = m->again;
	member_key_load(m);
	member_state_save(m);
}

static void rejoin(struct member *m)
{
	char ip[TRANSPORT_ADDRESS_MAX], *end, secret[2 * SECURE_KEY_BYTES + 1];
	struct member_machine machine = {.name = m->again.name, .address = ip};

	m->again = m->id;
	snprintf(ip, sizeof(ip), "%s", m->id.tcp[0] == '[' ? m->id.tcp + 1 : m->id.tcp);
	end = m->id.tcp[0] == '[' ? strchr(ip, ']') : strrchr(ip, ':');
	if (!end)
		return;
	machine.port = (uint16_t)strtoul(strrchr(m->id.tcp, ':') + 1, NULL, 10);
	*end = 0;
	machine.bearer = m->again.bearer;
	machine.witness = m->again.witness;
	member_hex(m->keys.key, sizeof(m->keys.key), secret);
	member_join(m, &machine, m->again.rejoin, secret, on_rejoined, m);
	explicit_bzero(secret, sizeof(secret));
}

void member_generation_tick(struct member *m)
{
	uint64_t now = member_now_ms();

	if (m->superseded_by[0])
		give_up(m);
	dial_the_dead(m, now);
	if (!m->id.rejoin[0] || m->in_cluster || m->job || m->stopping || now - m->rejoin_ms < REJOIN_MS)
		return;
	m->rejoin_ms = now;
	rejoin(m);
}
