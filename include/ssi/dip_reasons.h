/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why a packet met its fate: the one list behind the enum, the counters, the
 * texts of `netctl stats --explain`, traces and docs/REASONS.
 *
 * R(NAME, VERDICT, "sentence").  New reasons go to the end of their block and
 * the numbers may change between versions: nothing stores them.
 */
#ifndef SSI_DIP_REASONS_H
#define SSI_DIP_REASONS_H

/* Verdicts: what the adapters translate into XDP_*, TC_ACT_*, NF_*. */
#define DIP_VERDICTS(V)                                                    \
	V(PASS, "not the cluster's: the stack or another program decides") \
	V(ACCEPT, "this node takes it")                                    \
	V(DROP, "another node takes it, or nobody")                        \
	V(FORWARD, "sent on, once, to the node named")                     \
	V(HOLD, "queued until the move in progress is decided")

#define DIP_REASONS(R)                                                                           \
	/* not ours */                                                                           \
	R(NOT_IP, PASS, "neither IPv4 nor IPv6")                                                 \
	R(NOT_VIP, PASS, "the address is no cluster IP")                                         \
	R(ETH_SHORT, PASS, "frame ends inside the Ethernet or VLAN header")                      \
	R(VLAN_DEEP, PASS, "more than two VLAN tags")                                            \
	R(IP_SHORT, PASS, "frame ends inside the IP header")                                     \
	R(IP_VERSION, PASS, "IP version does not match the Ethernet type")                       \
	/* to a VIP, but malformed: silence, or several nodes would complain */                  \
	R(IP_HLEN, DROP, "IPv4 header length below 20 bytes")                                    \
	R(IP_LEN, DROP, "IP length shorter than its own header")                                 \
	R(IP_TRUNCATED, DROP, "frame shorter than the IP length says")                           \
	R(TCP_SHORT, DROP, "TCP header does not fit into the packet")                            \
	R(TCP_OFFSET, DROP, "TCP data offset is impossible")                                     \
	R(UDP_SHORT, DROP, "UDP header does not fit into the packet")                            \
	R(ICMP_SHORT, DROP, "ICMP header does not fit into the packet")                          \
	R(QUOTE_SHORT, DROP, "ICMP error quotes too little to tell the connection")              \
	R(QUOTE_FOREIGN, DROP, "ICMP error quotes a packet that is not the VIP's")               \
	R(FRAG_TINY, DROP, "first fragment too small to hold the ports")                         \
	R(EXT_DEEP, DROP, "too many IPv6 extension headers")                                     \
	/* the decision */                                                                       \
	R(LEASE_EXPIRED, DROP, "this node holds no lease and keeps silent")                      \
	R(OWNED, ACCEPT, "this node owns the port")                                              \
	R(REMOTE, DROP, "another node owns the port and received it too")                        \
	R(HOLD, HOLD, "the port is moving from or to this node")                                 \
	R(HOLD_OTHER, DROP, "the port is moving between two other nodes, which queue it")        \
	R(RELEASING, HOLD, "the queue of the port is being written back first")                  \
	R(HOME, ACCEPT, "nobody owns the port, this node answers (RST, unreachable)")            \
	R(NOT_HOME, DROP, "nobody owns the port, another node answers")                          \
	R(NO_HOME, DROP, "nobody owns the port and no node is known to be alive")                \
	R(ICMP_HOME, ACCEPT, "this node answers ICMP from this address")                         \
	R(ICMP_NOT_HOME, DROP, "another node answers ICMP from this address")                    \
	R(PROTO_HOME, ACCEPT, "not TCP, UDP or ICMP, this node answers")                         \
	R(PROTO_NOT_HOME, DROP, "not TCP, UDP or ICMP, another node answers")                    \
	R(NEIGHBOUR, ACCEPT, "neighbour discovery reaches every node")                           \
	R(FLOW_HERE, ACCEPT, "this connection was moved to this node")                           \
	R(FLOW_ELSEWHERE, DROP, "this connection was moved to another node")                     \
	R(FLOW_HOLD, HOLD, "this connection is moving")                                          \
	R(FLOW_DROP, DROP, "this connection is moving between two other nodes")                  \
	R(FRAG_UNKNOWN, ACCEPT, "later fragment before its first: harmless, reassembly decides") \
	R(FRAG_HERE, ACCEPT, "later fragment, the first was accepted here")                      \
	R(FRAG_ELSEWHERE, DROP, "later fragment, the first belonged to another node")            \
	R(FRAG_HOLD, HOLD, "later fragment, the first is queued")                                \
	R(FRAG_FORWARD, FORWARD, "later fragment, the first was sent on")                        \
	R(FORWARD, FORWARD, "came by unicast but another node has it: sent on once")             \
	R(FORWARD_AGAIN, DROP, "came from another node of the cluster and is not ours either")   \
	R(NO_PEER, DROP, "should be sent on, but the MAC of that node is unknown")               \
	/* said by the adapters */                                                               \
	R(NO_QUEUE, DROP, "must be queued, but this node has no hold queue")                     \
	R(RELEASED, ACCEPT, "out of the hold queue, decided before")                             \
	R(ARP_VIP, ACCEPT, "ARP of the VIP leaves with the VIP's MAC")                           \
	R(ARP_LEASE, DROP, "no ARP for the VIP without a lease")                                 \
	R(ND_VIP, ACCEPT, "neighbour discovery of the VIP leaves with the VIP's MAC")            \
	R(ND_LEASE, DROP, "no neighbour discovery for the VIP without a lease")                  \
	R(ND_OTHER, DROP, "another node of the cluster tells where the VIP is")

enum dip_verdict {
#define DIP_V_ENUM(name, text) DIP_##name,
	DIP_VERDICTS(DIP_V_ENUM)
#undef DIP_V_ENUM
		DIP_VERDICT_COUNT,
};

/* DIP_R_NONE: nothing wrong so far */
enum dip_reason {
	DIP_R_NONE,
#define DIP_R_ENUM(name, verdict, text) DIP_R_##name,
	DIP_REASONS(DIP_R_ENUM)
#undef DIP_R_ENUM
		DIP_REASON_COUNT,
};

#endif /* SSI_DIP_REASONS_H */
