// SPDX-License-Identifier: GPL-2.0
/* The protocols between nodes that this netd speaks; a file of its own, so that tests link others. */
#include "member_version.h"

const unsigned int member_protocol = MEMBER_PROTOCOL;
const unsigned int member_protocol_min = MEMBER_PROTOCOL_MIN;
