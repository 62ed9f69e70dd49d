/* SPDX-License-Identifier: GPL-2.0 */
/* Words for the numbers of the decision, out of the lists in <ssi/dip_reasons.h> and <ssi/dip.h>. */
#ifndef SSI_DIP_NAMES_H
#define SSI_DIP_NAMES_H

/* "" for a number that is none, "NONE" for DIP_R_NONE. */
const char *dip_reason_name(long long reason);
const char *dip_reason_text(long long reason); /* a sentence */
const char *dip_reason_verdict(long long reason);
const char *dip_verdict_name(long long verdict);
const char *dip_where_name(long long where); /* enum dip_where */

#endif
