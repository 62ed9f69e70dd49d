// SPDX-License-Identifier: GPL-2.0
/* The protocols that the next release would speak: for tests. */
#include "userland/netd/member_version.h"

const unsigned int member_protocol = MEMBER_PROTOCOL + 1;
const unsigned int member_protocol_min = MEMBER_PROTOCOL + 0;
