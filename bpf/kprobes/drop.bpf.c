// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where and why a GRE packet died.
 *
 * Runs where the kernel frees a packet that it did not deliver, so traffic that
 * is accepted never meets it. Equal drops are counted here, in one entry of a
 * table; the bell only tells user space that the table has a new entry.
 */
#include "../compat.bpf.h"
#include "../filter.bpf.h"
#include "../gre.bpf.h"
#include "../gretrace.h"

MAP(HASH, drops, struct drop_key, struct drop_stats, CAPACITY);
MAP(ARRAY, totals, __u32, struct drop_totals, 1);
RING(bell, 4096);

/* The linear part of a packet from some header on. */
struct view {
	const unsigned char *start;
	__u32 size;
};

static __always_inline bool view_from(const struct sk_buff *skb, __u16 offset, struct view *view)
{
	__u32 tail = READ(skb, tail);

	/* An unset header offset is all ones, which lies past every tail. */
	if (offset >= tail)
		return false;
	view->start = READ(skb, head) + offset;
	view->size = tail - offset;
	return true;
}

/*
 * Fills family, protocol, remote and local; returns where the payload begins,
 * or 0 when this is no IP header. A later fragment has no payload of its own.
 */
static __always_inline __u32 parse_ip(const struct view *view, struct gre_tuple *tuple)
{
	__u8 header[40];

	if (view->size < 20 || bpf_probe_read_kernel(header, 20, view->start))
		return 0;
	if (header[0] >> 4 == 4) {
		__u32 size = (header[0] & 0xf) * 4;
		bool later_fragment = (header[6] & 0x1f) || header[7];

		if (size < 20)
			return 0;
		tuple->family = 4;
		if ((header[1] & ECN_MASK) == ECN_CE)
			tuple->marks |= DROP_CE;
		tuple->protocol = header[9];
		__builtin_memcpy(tuple->remote, header + 12, 4);
		__builtin_memcpy(tuple->local, header + 16, 4);
		return later_fragment ? view->size : size;
	}
	if (header[0] >> 4 == 6) {
		if (view->size < 40 || bpf_probe_read_kernel(header, 40, view->start))
			return 0;
		tuple->family = 6;
		if ((header[1] >> 4 & ECN_MASK) == ECN_CE)
			tuple->marks |= DROP_CE;
		tuple->protocol = header[6];
		__builtin_memcpy(tuple->remote, header + 8, 16);
		__builtin_memcpy(tuple->local, header + 24, 16);
		/* ip6gre puts the encapsulation limit (RFC 2473) before GRE unless told not to. */
		if (tuple->protocol == IPV6_DESTINATION_OPTIONS) {
			if (view->size < 48 ||
			    bpf_probe_read_kernel(header, 8, view->start + 40))
				return 0;
			tuple->protocol = header[0];
			return 40 + 8 + header[1] * 8;
		}
		return 40;
	}
	return 0;
}

static __always_inline void parse_gre(const struct view *view, __u32 offset,
				      struct gre_tuple *tuple)
{
	__be16 base[2];
	__be32 gre_key;

	if (offset + sizeof(base) > view->size ||
	    bpf_probe_read_kernel(base, sizeof(base), view->start + offset))
		return;
	tuple->gre_flags = bpf_ntohs(base[0]);
	tuple->gre_protocol = bpf_ntohs(base[1]);
	if (!(tuple->gre_flags & GRE_KEY))
		return;
	offset += sizeof(base) + (tuple->gre_flags & (GRE_CSUM | GRE_ROUTING) ? 4 : 0);
	if (offset + sizeof(gre_key) <= view->size &&
	    !bpf_probe_read_kernel(&gre_key, sizeof(gre_key), view->start + offset))
		tuple->gre_key = bpf_ntohl(gre_key);
}

/*
 * ip_tunnel_rcv() moves the network header to the inner packet before it checks
 * the ECN bits, while the device is still the underlay's. The transport header
 * stays at GRE, so the outer header is the one that ends there. Returns the
 * size of that header, or 0.
 */
static __always_inline __u32 find_pulled(const struct sk_buff *skb, struct view *view,
					 struct gre_tuple *tuple)
{
	__u16 gre = READ(skb, transport_header);

	if (gre >= READ(skb, network_header))
		return 0;
	for (__u32 size = 20; size <= 60; size += 4) {
		if (gre < size || !view_from(skb, gre - size, view))
			return 0;
		*tuple = (struct gre_tuple){};
		if (parse_ip(view, tuple) == size && tuple->protocol == GRE_PROTOCOL)
			return size;
	}
	return 0;
}

static __always_inline void read_sample(__u8 *sample, const struct view *view)
{
	__u32 size = view->size;

	if (size >= SAMPLE_SIZE) {
		bpf_probe_read_kernel(sample, SAMPLE_SIZE, view->start);
		return;
	}
	/*
	 * The mask changes nothing, but not every verifier knows that. The compiler does,
	 * and would leave it out.
	 */
	asm volatile("" : "+r"(size));
	bpf_probe_read_kernel(sample, size & (SAMPLE_SIZE - 1), view->start);
}

static __always_inline void count_overflow(void)
{
	__u32 first = 0;
	struct drop_totals *all = LOOK_UP(totals, &first);

	if (all)
		__sync_fetch_and_add(&all->overflow, 1);
}

static __always_inline void count_again(struct drop_stats *stats, __u64 now)
{
	__sync_fetch_and_add(&stats->count, 1);
	stats->last_ns = now;
}

static __always_inline void count_first(void *ctx, const struct sk_buff *skb,
					const struct view *view, struct drop_key *key, __u64 now)
{
	struct drop_stats fresh = {
		.count = 1,
		.first_ns = now,
		.last_ns = now,
		.length = view->size + READ(skb, data_len),
		.sample_length = view->size < SAMPLE_SIZE ? view->size : SAMPLE_SIZE,
	};
	struct drop_stats *stats;
	__u32 ring = 1;

	read_sample(fresh.sample, view);
	name_place(fresh.place, sizeof(fresh.place), key->location);
	if (!INSERT(drops, key, &fresh)) {
		SEND(ctx, bell, &ring, 0);
		return;
	}
	/* Another processor entered the same drop first, or the table is full. */
	stats = LOOK_UP(drops, key);
	if (stats)
		count_again(stats, now);
	else
		count_overflow();
}

AT_TRACEPOINT(kfree_skb, count_drop)
{
	const struct sk_buff *skb = (const struct sk_buff *)args[0];
	const struct net_device *dev = READ(skb, dev);
	struct drop_key key = {};
	struct gre_tuple *tuple = &key.tuple;
	struct drop_stats *stats;
	struct view view = {};
	__u32 payload = 0;
	__u64 now;

	if (view_from(skb, READ(skb, network_header), &view))
		payload = parse_ip(&view, tuple);
	if (dev && is_gre_device(dev)) {
		/* A device that is made frees an empty buffer: napi_get_frags_check(), v6.1. */
		if (!READ(skb, len))
			return 0;
		tuple->marks |= DROP_ON_TUNNEL;
	} else if (!payload || tuple->protocol != GRE_PROTOCOL) {
		payload = find_pulled(skb, &view, tuple);
		if (!payload)
			return 0;
		tuple->marks |= DROP_PULLED;
	}
	if (payload && tuple->protocol == GRE_PROTOCOL)
		parse_gre(&view, payload, tuple);
	else
		tuple->gre_protocol = bpf_ntohs(READ(skb, protocol));

	if (READ(skb, _skb_refdst))
		tuple->marks |= DROP_ROUTED;
	if (dev) {
		tuple->ifindex = READ(dev, ifindex);
		/* Set at each receive (__netif_receive_skb_core()), zero for what this host made. */
		if ((__u32)READ(skb, skb_iif) != tuple->ifindex)
			tuple->marks |= DROP_SENT;
		tuple->netns = netns_of(dev);
	}
	if (!is_wanted(tuple))
		return 0;
	key.location = args[1];
	key.reason = drop_reason(args);

	now = bpf_ktime_get_ns();
	stats = LOOK_UP(drops, &key);
	if (stats)
		count_again(stats, now);
	else
		count_first(ctx, skb, &view, &key, now);
	return 0;
}
