// SPDX-License-Identifier: GPL-2.0
#include "dip_names.h"

#include <ssi/dip.h>
#include <ssi/dip_reasons.h>

static const struct {
	const char *name, *verdict, *text;
} reasons[DIP_REASON_COUNT] = {[DIP_R_NONE] = {"NONE", "", ""},
#define REASON(n, v, t) [DIP_R_##n] = {#n, #v, t},
			       DIP_REASONS(REASON)
#undef REASON
};

static const char *const verdicts[DIP_VERDICT_COUNT] = {
#define VERDICT(n, t) [DIP_##n] = #n,
	DIP_VERDICTS(VERDICT)
#undef VERDICT
};

static const char *const wheres[DIP_WHERE_COUNT] = {
#define WHERE(n, t, h) [DIP_WHERE_##n] = t,
	DIP_WHERES(WHERE)
#undef WHERE
};

const char *dip_reason_name(long long reason)
{
	return reason >= 0 && reason < DIP_REASON_COUNT ? reasons[reason].name : "";
}

const char *dip_reason_text(long long reason)
{
	return reason >= 0 && reason < DIP_REASON_COUNT ? reasons[reason].text : "";
}

const char *dip_reason_verdict(long long reason)
{
	return reason >= 0 && reason < DIP_REASON_COUNT ? reasons[reason].verdict : "";
}

const char *dip_verdict_name(long long verdict)
{
	return verdict >= 0 && verdict < DIP_VERDICT_COUNT ? verdicts[verdict] : "";
}

const char *dip_where_name(long long where)
{
	return where >= 0 && where < DIP_WHERE_COUNT ? wheres[where] : "";
}
