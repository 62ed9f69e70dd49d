/* SPDX-License-Identifier: GPL-2.0 */
/* What becomes of a packet in the hold queue and of a claim, with the reason. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ssi_core

#if !defined(SSI_CORE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SSI_CORE_TRACE_H

#include <linux/tracepoint.h>

#include "claim.h"
#include "hold.h"

#define R(name, text) TRACE_DEFINE_ENUM(SSI_HOLD_R_##name);
SSI_HOLD_REASONS(R)
#undef R
#define R(name, text) TRACE_DEFINE_ENUM(SSI_CLAIM_R_##name);
SSI_CLAIM_REASONS(R)
#undef R
#define SSI_HOLD_SYMBOL(name, text)  {SSI_HOLD_R_##name, #name},
#define SSI_CLAIM_SYMBOL(name, text) {SSI_CLAIM_R_##name, #name},

TRACE_EVENT(ssi_hold,
	    TP_PROTO(const struct net_device *dev, const struct hold_key *key, unsigned int len,
		     enum ssi_hold_reason reason),
	    TP_ARGS(dev, key, len, reason),
	    TP_STRUCT__entry(__field(int, ifindex) __array(u8, addr, 16) __field(u16, port) __field(u8, proto)
				     __field(u8, reason) __field(unsigned int, len)),
	    TP_fast_assign(__entry->ifindex = dev->ifindex; memcpy(__entry->addr, &key->addr, 16);
			   __entry->port = key->port; __entry->proto = key->proto; __entry->reason = reason;
			   __entry->len = len;),
	    TP_printk("ifindex=%d [%pI6c]:%u proto=%u len=%u reason=%s", __entry->ifindex, __entry->addr,
		      __entry->port, __entry->proto, __entry->len,
		      __print_symbolic(__entry->reason, SSI_HOLD_REASONS(SSI_HOLD_SYMBOL){-1, NULL})));

TRACE_EVENT(ssi_claim, TP_PROTO(const struct claim *claim, enum ssi_claim_reason reason),
	    TP_ARGS(claim, reason),
	    TP_STRUCT__entry(__field(u64, cookie) __array(u8, addr, 16) __field(u32, id) __field(u32, pid)
				     __field(u16, port) __field(u8, proto) __field(u8, reason)),
	    TP_fast_assign(__entry->cookie = claim->cookie; memcpy(__entry->addr, &claim->addr, 16);
			   __entry->id = claim->id; __entry->pid = claim->pid; __entry->port = claim->port;
			   __entry->proto = claim->proto; __entry->reason = reason;),
	    TP_printk("id=%u [%pI6c]:%u proto=%u pid=%u cookie=%llu reason=%s", __entry->id, __entry->addr,
		      __entry->port, __entry->proto, __entry->pid, __entry->cookie,
		      __print_symbolic(__entry->reason, SSI_CLAIM_REASONS(SSI_CLAIM_SYMBOL){-1, NULL})));

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
