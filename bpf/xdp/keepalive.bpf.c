// SPDX-License-Identifier: GPL-2.0-only
/*
 * Answers the GRE keepalives of a peer.
 *
 * A keepalive is a GRE packet that carries its own answer: an IP packet from us to
 * the peer with a GRE header of protocol 0 (over IPv6 also 0x86dd) and nothing in it.
 * To send that packet back through the tunnel is to answer.
 *
 * One parser, three programs. The one of tc is for tunnels with a fixed remote: a redirect
 * to the device itself encapsulates anew what is inside. A device without one is NBMA:
 * it shows the outer headers and takes the tunnel's from the packet, and only XDP_TX
 * leaves them in place; so the one of XDP swaps the outer addresses. The third is
 * for one kind of tunnel on older kernels.
 */
#include "../compat.bpf.h"
#include "../gre.bpf.h"
#include "../gretrace.h"

#include <linux/pkt_cls.h>

#define ETH_P_IPV6 0x86dd
#define ETHERNET_SIZE 14
#define IPV4_SIZE 20
#define IPV6_SIZE 40
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
/* The longest keepalive has 60 bytes of IP and 16 of GRE. */
#define LONGEST 128
/* With all outer headers in view. Whatever is longer is traffic, and is not even looked at. */
#define LONGEST_FRAME 256
#define DEFAULT_TTL 64
/* Uptime, a random number and a hash of both: what gre(4) of OpenBSD looks for in the answer. */
#define OPENBSD_SIZE 16
#define SECOND_NS 1000000000

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct responder_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct responder_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

/* Where a packet's bytes come from: one of the two contexts. */
struct source {
	void *context;
	bool is_xdp; /* else the context is an __sk_buff */
};

/* The first `size` bytes of an IP header and the GRE header behind it. */
struct headers {
	__u64 source[2]; /* an IPv4 address in the first four bytes */
	__u64 destination[2];
	__u32 ip_size;
	__u32 ip_total;
	__u32 gre_size;
	__u16 gre_flags;
	__u16 gre_protocol;
	__u8 family;
	bool fragment;
	bool sound; /* IP header length and checksum, GRE version */
	bool whole; /* all that the headers announce is there */
	bool ends; /* with the headers, or with OpenBSD's own bytes, and nothing lies behind */
};

static __always_inline bool load(const struct source *from, __u32 offset, void *to, __u32 size)
{
	const struct xdp_md *xdp = from->context;
	void *data, *end;

	/* The network header is the inner packet's, whatever the data begins with: v5.10
	 * shows tc the outer headers too, later kernels do not. */
	if (!from->is_xdp)
		return !bpf_skb_load_bytes_relative(from->context, offset, to, size,
						    BPF_HDR_START_NET);
	data = (void *)(long)xdp->data;
	end = (void *)(long)xdp->data_end;
	if (offset > 2 * LONGEST || data + offset + size > end)
		return false;
	__builtin_memcpy(to, data + offset, size);
	return true;
}

/* From the first byte that the program was given. */
static __always_inline bool load_raw(const struct source *from, __u32 offset, void *to, __u32 size)
{
	if (!from->is_xdp)
		return !bpf_skb_load_bytes(from->context, offset, to, size);
	return load(from, offset, to, size);
}

static __always_inline __u32 sum_words(const __u8 *bytes, __u32 size)
{
	__u32 sum = 0;

	for (__u32 i = 0; i < size; i += 2)
		sum += bytes[i] << 8 | bytes[i + 1];
	return sum;
}

/* RFC 1071 over a header with its checksum in it, options included. */
static __always_inline bool checksum_is_right(const struct source *from, __u32 base,
					      const __u8 *header, __u32 size)
{
	__u32 sum = sum_words(header, IPV4_SIZE);
	__u8 option[4];

	for (__u32 i = IPV4_SIZE; i < 60 && i < size; i += 4) {
		if (!load(from, base + i, option, sizeof(option)))
			return false;
		sum += sum_words(option, sizeof(option));
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return sum + (sum >> 16) == 0xffff;
}

/* False when this is no IP packet with GRE in it; most packets end here, at once. */
static __always_inline bool parse_ip(const struct source *from, __u32 base, struct headers *h)
{
	__u8 ip[IPV6_SIZE];
	__u16 fragment;

	if (!load(from, base, ip, IPV4_SIZE))
		return false;
	if (ip[0] >> 4 == 4 ? ip[9] != GRE_PROTOCOL : ip[6] != GRE_PROTOCOL)
		return false;
	__builtin_memset(h, 0, sizeof(*h));
	if (ip[0] >> 4 == 4) {
		fragment = ip[6] << 8 | ip[7];
		if (fragment & IPV4_FRAGMENT_OFFSET)
			return false;
		h->family = 4;
		h->ip_size = (ip[0] & 0xf) * 4;
		h->ip_total = ip[2] << 8 | ip[3];
		h->fragment = fragment & IPV4_MORE_FRAGMENTS;
		h->sound = h->ip_size >= IPV4_SIZE &&
			   checksum_is_right(from, base, ip, h->ip_size);
		__builtin_memcpy(h->source, ip + 12, 4);
		__builtin_memcpy(h->destination, ip + 16, 4);
		return true;
	}
	if (ip[0] >> 4 == 6) {
		h->family = 6;
		h->ip_size = IPV6_SIZE;
		h->ip_total = IPV6_SIZE + (ip[4] << 8 | ip[5]);
		h->sound = true;
		if (!load(from, base, ip, IPV6_SIZE))
			return true;
		__builtin_memcpy(h->source, ip + 8, 16);
		__builtin_memcpy(h->destination, ip + 24, 16);
		return true;
	}
	return false;
}

static __noinline bool parse(const struct source *from, __u32 base, struct headers *h)
{
	__u8 gre[4], last;

	if (!parse_ip(from, base, h))
		return false;
	if (h->ip_size < IPV4_SIZE)
		return true;
	if (!load(from, base + h->ip_size, gre, sizeof(gre)))
		return true;
	h->gre_flags = gre[0] << 8 | gre[1];
	h->gre_protocol = gre[2] << 8 | gre[3];
	h->gre_size = 4 + (h->gre_flags & GRE_CSUM ? 4 : 0) + (h->gre_flags & GRE_KEY ? 4 : 0) +
		      (h->gre_flags & GRE_SEQ ? 4 : 0);
	if (h->gre_flags & (GRE_ROUTING | GRE_VERSION))
		h->sound = false;
	h->whole = h->ip_size + h->gre_size <= h->ip_total && h->ip_total <= LONGEST &&
		   load(from, base + h->ip_total - 1, &last, 1);
	h->ends = (h->ip_total == h->ip_size + h->gre_size ||
		   h->ip_total == h->ip_size + h->gre_size + OPENBSD_SIZE) &&
		  !load(from, base + h->ip_total, &last, 1);
	return true;
}

static __always_inline bool same(const void *one, const void *other)
{
	const __u64 *a = one, *b = other;

	return a[0] == b[0] && a[1] == b[1];
}

static __always_inline bool is_any(const void *address)
{
	const __u64 *a = address;

	return !a[0] && !a[1];
}

static __always_inline bool is_between(const struct headers *h, const void *source,
				       const void *destination)
{
	return same(h->source, source) && same(h->destination, destination);
}

/* The packet that a keepalive carries: is it our answer to that peer? */
static __noinline enum responder_outcome judge(const struct headers *h,
					       const struct responder_config *our,
					       const void *local, const void *remote)
{
	/* A GRE packet with something in it is traffic, as is IPv6's when it has a payload. */
	if (h->gre_size && h->gre_protocol &&
	    !(h->family == 6 && h->gre_protocol == ETH_P_IPV6 &&
	      h->ip_total == h->ip_size + h->gre_size))
		return OUTCOME_PASSED;
	if (!h->gre_size)
		return h->ip_size < IPV4_SIZE ? OUTCOME_MALFORMED : OUTCOME_TRUNCATED;
	if (h->fragment)
		return OUTCOME_FRAGMENT;
	if (!h->sound)
		return OUTCOME_MALFORMED;
	if (!h->whole)
		return OUTCOME_TRUNCATED;
	if (is_between(h, remote, local))
		return OUTCOME_OWN_ANSWER;
	/* What carries more is no keepalive, and nobody is to have it sent anywhere. */
	if (!h->ends)
		return OUTCOME_MALFORMED;
	if (is_between(h, local, remote))
		return OUTCOME_ANSWERED;
	if ((our->dialects & DIALECT_NAT) && same(h->source, local))
		return OUTCOME_ANSWERED;
	if ((our->dialects & DIALECT_INSIDE) &&
	    is_between(h, our->inside_local, our->inside_remote))
		return OUTCOME_ANSWERED;
	return OUTCOME_FOREIGN;
}

static __noinline void note(const struct source *from, enum responder_outcome outcome,
			    const struct responder_config *our)
{
	struct responder_counters *all;
	struct responder_event *event;
	__u32 first = 0;

	if (outcome != OUTCOME_PASSED) {
		all = bpf_map_lookup_elem(&counters, &first);
		if (!all || outcome >= OUTCOMES)
			return;
		__sync_fetch_and_add(&all->packets[outcome], 1);
		if (outcome == OUTCOME_ANSWERED)
			all->last_answered_ns = bpf_ktime_get_ns();
		else
			all->last_refused_ns = bpf_ktime_get_ns();
	} else if (!our->verbose) {
		return;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->outcome = outcome;
	for (__u32 i = 0; i < HEADER_SIZE; i += 4)
		if (load_raw(from, i, event->header + i, 4))
			event->header_length = i + 4;
	bpf_ringbuf_submit(event, 0);
}

/*
 * A bucket of tokens, kept as the time at which those that were taken are paid off. Processors
 * may take one token together, but each pays for its own, so the rate holds in the long run.
 */
static __noinline enum responder_outcome ration(const struct responder_config *our)
{
	struct responder_counters *all;
	__u64 now = bpf_ktime_get_ns();
	__u32 first = 0;

	all = bpf_map_lookup_elem(&counters, &first);
	if (!all)
		return OUTCOME_LIMITED;
	if (all->due_ns + RESPONDER_BURST_NS < now)
		all->due_ns = now - RESPONDER_BURST_NS;
	if (all->due_ns > now)
		return OUTCOME_LIMITED;
	__sync_fetch_and_add(&all->due_ns, SECOND_NS / (our->rate ? our->rate : RESPONDER_RATE));
	return OUTCOME_ANSWERED;
}

/* How both tc programs begin; NULL when the packet is not even looked at. */
static __always_inline const struct responder_config *
judge_skb(const struct __sk_buff *skb, const struct source *from, enum responder_outcome *outcome)
{
	const struct responder_config *our;
	struct headers inner;
	__u32 first = 0;

	our = bpf_map_lookup_elem(&config, &first);
	if (!our || (skb->len > LONGEST_FRAME && !our->verbose))
		return NULL;
	if (parse(from, 0, &inner))
		*outcome = judge(&inner, our, our->local, our->remote);
	return our;
}

SEC("tc")
int gretrace_tc(struct __sk_buff *skb)
{
	struct source from = { .context = skb };
	enum responder_outcome outcome = OUTCOME_PASSED;
	const struct responder_config *our = judge_skb(skb, &from, &outcome);

	if (!our)
		return TC_ACT_UNSPEC;
	if (outcome == OUTCOME_ANSWERED)
		outcome = ration(our);
	note(&from, outcome, our);
	if (outcome == OUTCOME_ANSWERED)
		return bpf_redirect(skb->ifindex, 0);
	return TC_ACT_UNSPEC;
}

/*
 * For ip6gre on v5.10, where tc is given the packet as it came from the wire and a redirect
 * to the tunnel would wrap all of it (until "net: handle ARPHRD_IP6GRE in
 * dev_is_mac_header_xmit()"). So it goes back to the wire, with both pairs of addresses
 * swapped; what is inside is the answer already. No xfrm policy is asked, so user space
 * attaches this one to no tunnel that IPsec protects; and what came by ESP in transport mode
 * has its outer header elsewhere, so that is told by its addresses.
 */
SEC("tc")
int gretrace_wire(struct __sk_buff *skb)
{
	struct source from = { .context = skb };
	enum responder_outcome outcome = OUTCOME_PASSED;
	const struct responder_config *our = judge_skb(skb, &from, &outcome);
	__u8 ip[IPV6_SIZE] __attribute__((aligned(8)));
	__u8 ethernet[12], hop_limit = DEFAULT_TTL;

	if (!our)
		return TC_ACT_UNSPEC;
	if (outcome == OUTCOME_ANSWERED &&
	    (!our->underlay || bpf_skb_load_bytes(skb, 0, ethernet, sizeof(ethernet)) ||
	     bpf_skb_load_bytes(skb, ETHERNET_SIZE, ip, sizeof(ip)) || ip[0] >> 4 != 6 ||
	     !same(ip + 8, our->remote) || !same(ip + 24, our->local)))
		outcome = OUTCOME_MALFORMED;
	if (outcome == OUTCOME_ANSWERED)
		outcome = ration(our);
	note(&from, outcome, our);
	if (outcome != OUTCOME_ANSWERED)
		return TC_ACT_UNSPEC;
	bpf_skb_store_bytes(skb, 0, ethernet + 6, 6, 0);
	bpf_skb_store_bytes(skb, 6, ethernet, 6, 0);
	bpf_skb_store_bytes(skb, ETHERNET_SIZE + 7, &hop_limit, 1, 0);
	bpf_skb_store_bytes(skb, ETHERNET_SIZE + 8, ip + 24, 16, 0);
	bpf_skb_store_bytes(skb, ETHERNET_SIZE + 24, ip + 8, 16, 0);
	return bpf_redirect(our->underlay, 0);
}

/*
 * The outer headers stand before the inner packet on an NBMA device. They are told from
 * a tunnel in a tunnel by their addresses, which are this tunnel's own.
 */
static __always_inline bool is_our_outer(const struct headers *h,
					 const struct responder_config *our)
{
	if (h->family != 4 || h->ip_size != IPV4_SIZE || !h->gre_size || !h->gre_protocol ||
	    !h->sound || h->fragment)
		return false;
	if (our->family && our->outer_size != h->ip_size + h->gre_size)
		return false;
	if (!is_any(our->local) && !same(our->local, h->destination))
		return false;
	return is_any(our->remote) || same(our->remote, h->source);
}

/*
 * Nobody has told the program the tunnel's addresses: it was attached by iproute2. On a device
 * with a remote the outer header that the kernel has pulled still stands before the inner one.
 * That is no promise of the kernel's, so it is only ever a reason to pass a packet: one that
 * does not mirror it. Without it the packet begins with the outer header, or is not answered.
 */
static __always_inline bool find_pulled_outer(struct xdp_md *xdp, struct headers *outer)
{
	bool found = false;

	__builtin_memset(outer, 0, sizeof(*outer));
	for (int size = IPV4_SIZE + 4; size <= IPV4_SIZE + 16 && !found; size += 4) {
		__u8 ip[IPV4_SIZE] = {};
		void *data, *end;

		if (bpf_xdp_adjust_head(xdp, -size))
			return false;
		data = (void *)(long)xdp->data;
		end = (void *)(long)xdp->data_end;
		if (data + IPV4_SIZE <= end)
			__builtin_memcpy(ip, data, IPV4_SIZE);
		if (bpf_xdp_adjust_head(xdp, size))
			return false;
		found = ip[0] == 0x45 && ip[9] == GRE_PROTOCOL;
		__builtin_memcpy(outer->source, ip + 12, 4);
		__builtin_memcpy(outer->destination, ip + 16, 4);
	}
	return found;
}

static __always_inline int send_back(struct xdp_md *xdp, const struct headers *outer)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	__u8 *ip = data;

	if (data + IPV4_SIZE > end)
		return XDP_PASS;
	/* ipgre_xmit() reads what it needs and builds the header anew, checksum included. */
	ip[8] = DEFAULT_TTL;
	__builtin_memcpy(ip + 12, outer->destination, 4);
	__builtin_memcpy(ip + 16, outer->source, 4);
	return XDP_TX;
}

/* Most packets are no GRE in GRE; XDP sees that without a call. */
static __always_inline bool may_be_keepalive(const struct xdp_md *xdp)
{
	const __u8 *ip = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;

	if (end - ip > LONGEST_FRAME || ip + IPV4_SIZE > end)
		return false;
	return (ip[0] >> 4 == 4 ? ip[9] : ip[6]) == GRE_PROTOCOL;
}

SEC("xdp")
int gretrace_xdp(struct xdp_md *xdp)
{
	struct source from = { .context = xdp, .is_xdp = true };
	struct headers first_headers, inner, pulled;
	enum responder_outcome outcome = OUTCOME_PASSED;
	struct responder_config *our;
	bool outer_in_view = false;
	__u32 first = 0;

	our = bpf_map_lookup_elem(&config, &first);
	if (!our || (!may_be_keepalive(xdp) && !our->verbose))
		return XDP_PASS;
	if (!parse(&from, 0, &first_headers)) {
		outcome = OUTCOME_PASSED;
	} else if (!our->family && find_pulled_outer(xdp, &pulled)) {
		/* What looks like an outer header is inside: a tunnel of others in this one. */
		outcome = judge(&first_headers, our, pulled.destination, pulled.source);
	} else if (is_our_outer(&first_headers, our)) {
		outer_in_view = true;
		if (parse(&from, first_headers.ip_size + first_headers.gre_size, &inner))
			outcome = judge(&inner, our, first_headers.destination,
					first_headers.source);
	} else {
		outcome = judge(&first_headers, our, our->local, our->remote);
	}
	if (outcome == OUTCOME_ANSWERED)
		outcome = ration(our);
	note(&from, outcome, our);
	if (outcome != OUTCOME_ANSWERED)
		return XDP_PASS;
	return outer_in_view ? send_back(xdp, &first_headers) : XDP_TX;
}
