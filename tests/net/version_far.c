// SPDX-License-Identifier: GPL-2.0
/* The protocols that the release after the next would speak: for tests. */
#include "userland/netd/member_version.h"

const unsigned int member_protocol = MEMBER_PROTOCOL + 2;
const unsigned int member_protocol_min = MEMBER_PROTOCOL + 1;
