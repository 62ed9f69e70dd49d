/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Small things that handlers of the control socket need: arguments, times.
 */
#include <stdio.h>
#include <time.h>

#include "userland/netd/ctl.h"

const char *ctl_arg_string(json_t *args, const char *name, const char *missing, bool *bad)
{
	json_t *v = json_object_get(args, name);

	if (!v || json_is_null(v))
		return missing;
	if (json_is_string(v))
		return json_string_value(v);
	*bad = true;
	return missing;
}

int64_t ctl_arg_int(json_t *args, const char *name, int64_t missing, int64_t min, int64_t max, bool *bad)
{
	json_t *v = json_object_get(args, name);
	int64_t value;

	if (!v || json_is_null(v))
		return missing;
	value = json_integer_value(v);
	if (json_is_integer(v) && value >= min && value <= max)
		return value;
	*bad = true;
	return missing;
}

bool ctl_arg_bool(json_t *args, const char *name, bool *bad)
{
	json_t *v = json_object_get(args, name);

	if (v && !json_is_boolean(v) && !json_is_null(v))
		*bad = true;
	return json_is_true(v);
}

json_t *ctl_time(uint64_t unix_ms)
{
	time_t t = unix_ms / 1000;
	char day[32], text[64];
	struct tm tm;

	if (!unix_ms || !gmtime_r(&t, &tm))
		return json_null();
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03uZ", day, (unsigned int)(unix_ms % 1000));
	return json_string(text);
}

void ctl_time_set(json_t *o, const char *key, uint64_t unix_ms)
{
	json_object_set_new(o, key, ctl_time(unix_ms));
}
