/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract with user space: every record and enum that crosses the border.
 * src/gretrace/contract.py mirrors it; tests/contract holds the mirror against
 * the BTF of the built objects.
 *
 * Addresses are 16 bytes in network order, an IPv4 address in the first four.
 * All other numbers are in host byte order.
 */
#ifndef GRETRACE_H
#define GRETRACE_H

/* Outer IPv4 (20) or IPv6 (40), the longest GRE header (16), the inner IP header and its ports. */
#define SAMPLE_SIZE 128
/* KSYM_NAME_LEN is 512, but no function that frees a packet has a name this long. */
#define PLACE_SIZE 64

enum drop_mark {
	/* The device is itself a GRE tunnel: the packet was decapsulated, or is on its way out. */
	DROP_ON_TUNNEL = 1,
	/* The network header stood past the GRE header already; the sample starts at the outer one. */
	DROP_PULLED = 2,
	/* The kernel had found a route for the packet: it was past prerouting. */
	DROP_ROUTED = 8,
	/* The device is not the one that the packet came in by: it was on its way out. */
	DROP_SENT = 16,
	/* The outer header says "congestion experienced" (RFC 3168), which not every inner packet bears. */
	DROP_CE = 32,
	/* The checksum is still to be filled in by a device, and the kernel takes it for right. */
	DROP_UNSUMMED = 64,
	/* A UDP header, and maybe one of GUE, comes between the IP header and GRE. */
	DROP_IN_UDP = 128,
	/*
	 * The device is a bridge, which handed up a frame of a tunnel: remote, local, gre_flags and
	 * gre_key are the outer header's, which still lay before the frame, the sample is inside.
	 */
	DROP_BRIDGED = 256,
	/* Freed by design, whoever it was for: no address, so that all are one kind. */
	DROP_ALIKE = 512,
	/* Counted in a generation of odd number. */
	DROP_ODD = 1024,
};

/* The marks of a lookup; those of a drop never meet them. */
enum lookup_mark {
	/* gre_key is ERSPAN's session id, which the kernel looks up in place of a key field. */
	LOOKUP_SESSION_KEY = 4,
	/* Counted in a generation of odd number; no event has it. */
	LOOKUP_ODD = 1024,
};

/* What a GRE packet says of itself, and where it was. */
struct gre_tuple {
	__u32 netns; /* inode of the network namespace */
	__u32 netns_cookie; /* low half of SO_NETNS_COOKIE: an inode is used again; 0: none here */
	__u32 ifindex;
	/* Valid with the K bit of gre_flags or LOOKUP_SESSION_KEY; of MPLS the label, of a frame its VLAN. */
	__u32 gre_key;
	__u8 remote[16]; /* source of the IP header */
	__u8 local[16]; /* its destination */
	__u16 gre_flags; /* first 16 bits of the GRE header, 0 where there is none */
	__u16 gre_protocol; /* on a tunnel that of the packet itself, unless that is GRE too */
	__u8 family; /* 4 or 6 */
	__u8 protocol; /* what the IP header carries; 47 is GRE */
	__u16 marks; /* enum drop_mark or lookup_mark */
};

enum filter_match {
	MATCH_NETNS = 1,
	MATCH_IFINDEX = 2,
	MATCH_REMOTE = 4,
	MATCH_LOCAL = 8,
	MATCH_KEY = 16,
	MATCH_NO_KEY = 32,
};

/* What the user asked to see; fields count only where `match` has their bit. */
struct tuple_filter {
	__u32 match; /* enum filter_match */
	__u32 netns;
	__u32 ifindex;
	__u32 gre_key;
	__u8 remote[16];
	__u8 local[16];
};

/*
 * User space takes kinds out of a table while packets come. A kind that another
 * processor counts in at that moment must not be taken, so each entry belongs to a
 * generation: user space begins a new one, waits until no program runs that saw the
 * old one, and then has the old entries to itself.
 */
struct generation {
	__u32 number;
};

/* --- drops ---------------------------------------------------------------------- */

/* What makes two drops the same drop. */
struct drop_key {
	__u64 location; /* return address in the function that freed the packet */
	__u32 reason; /* enum skb_drop_reason of the running kernel, 0 where it has none */
	struct gre_tuple tuple;
	__u32 leaving_by; /* ifindex: received by the tuple's tunnel, it died on its way out by this */
};

struct drop_stats {
	__u64 count; /* in its generation */
	__u64 first_ns; /* CLOCK_MONOTONIC */
	__u64 last_ns;
	__u32 length; /* bytes of the packet from the first byte of the sample on */
	__u32 sample_length;
	__u8 sample[SAMPLE_SIZE]; /* of the first packet, from its IP header */
};

/* Drops of one place and reason, whatever the packet. */
struct death_key {
	__u64 location;
	__u32 reason;
	__u32 padding;
};

struct death {
	__u64 overflow; /* drops that found no room: counted, not kept apart */
	__u32 generation; /* the latest in which it had a new kind */
	__u32 kinds; /* that it was given of its own room in that generation */
	char place[PLACE_SIZE]; /* location as the kernel names it, "gre_rcv+0x12d/0x560 [ip_gre]" */
};

/*
 * How many kinds a generation has room for: so many of each death, and then, of
 * whichever comes first, so many in all.
 */
struct drop_room {
	__u32 own;
	__u32 shared;
};

struct drop_totals {
	__u64 overflow; /* as that of a death, where the table of deaths itself is full */
	__u32 generation; /* the latest in which shared room was given */
	__u32 kinds; /* that were given of it in that generation */
};

/* --- lookups -------------------------------------------------------------------- */

/* IFNAMSIZ */
#define NAME_SIZE 16
/* Events are rationed by windows of this length, and the first of each wakes the reader. */
#define LOOKUP_WINDOW_NS 100000000

/* What makes two decisions of the tunnel lookup the same. */
struct lookup_key {
	struct gre_tuple tuple; /* the namespace and device are those that received the packet */
	__u32 tunnel; /* ifindex of the chosen tunnel, 0: none */
	__u32 tunnel_netns; /* where the tunnel is now; it may have been moved */
};

struct lookup_stats {
	__u64 count; /* in its generation */
	__u64 first_ns; /* CLOCK_MONOTONIC */
	__u64 last_ns;
	char tunnel_name[NAME_SIZE]; /* at the first decision */
};

struct lookup_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	struct lookup_key key;
	char tunnel_name[NAME_SIZE];
};

struct lookup_totals {
	__u64 overflow; /* decisions that found the table full: counted, not kept apart */
	__u64 not_shown; /* without an event: over the budget */
	__u64 ring_full; /* without an event: the ring had no room */
	__u32 generation; /* the latest in which there was a new kind */
	__u32 kinds; /* that were given room in it */
};

struct lookup_budget {
	__u32 events; /* at most so many in a window; 0: all */
	__u32 kinds; /* at most so many in a generation */
};

/* --- the keepalive responder ---------------------------------------------------- */

#define HEADER_SIZE 64
/* Peers ask once in 1 to 60 seconds: a thousand of them and more on a device without a remote. */
#define RESPONDER_RATE 1000
/* So much of the rate may come at once. */
#define RESPONDER_BURST_NS 1000000000

enum responder_dialect {
	/* The peer's inner destination may be anything: it is behind NAT and uses its own address. */
	DIALECT_NAT = 1,
	/* The inner addresses may be those of the tunnel's inside. */
	DIALECT_INSIDE = 2,
};

/* What a keepalive of this tunnel looks like; all zeros when nobody filled it. */
struct responder_config {
	__u8 local[16]; /* of the outer header; zeros: any */
	__u8 remote[16];
	__u8 inside_local[16]; /* the device's own address, for DIALECT_INSIDE */
	__u8 inside_remote[16];
	__u32 dialects; /* enum responder_dialect */
	__u32 underlay; /* ifindex of the device that leads to the remote; 0: not known */
	__u32 rate; /* answers a second at most, in the long run; 0: RESPONDER_RATE */
	__u8 family; /* 4 or 6 of the outer header; 0: not filled */
	__u8 verbose; /* an event for every packet */
	__u8 outer_size; /* of the IP and GRE headers that an NBMA device takes from a packet */
	__u8 padding;
};

enum responder_outcome {
	OUTCOME_PASSED, /* no keepalive */
	OUTCOME_ANSWERED,
	OUTCOME_FOREIGN, /* the inner addresses are not the tunnel's */
	OUTCOME_OWN_ANSWER, /* what the peer sends back to us */
	OUTCOME_TRUNCATED,
	OUTCOME_FRAGMENT,
	OUTCOME_MALFORMED, /* header length, version, routing bit, checksum or what is behind them */
	OUTCOME_LIMITED, /* a keepalive, but over the rate */
	OUTCOMES,
};

struct responder_counters {
	__u64 packets[OUTCOMES]; /* by enum responder_outcome; passed ones are not counted */
	__u64 last_answered_ns; /* CLOCK_MONOTONIC */
	__u64 last_refused_ns;
	__u64 due_ns; /* when the answers given are paid off; lags behind by what may come at once */
};

struct responder_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 outcome;
	__u32 header_length;
	__u8 header[HEADER_SIZE]; /* as the program saw the packet */
};

#endif
