// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where and why a GRE packet died.
 *
 * Runs where the kernel frees a packet that it did not deliver, so traffic that
 * is accepted never meets it. Equal drops are counted here, in one entry of a
 * table; the ring "wakeup" only tells user space that the table has a new entry.
 *
 * Strangers can make kinds of drop as fast as packets, so the table will be full at
 * times. What finds no room is counted by its place and reason, at less cost than what
 * does, and no flood of one place and reason takes the room that others are kept.
 */
#include "../compat.bpf.h"
#include "../devices.bpf.h"
#include "../filter.bpf.h"
#include "../gre.bpf.h"
#include "../gretrace.h"
#include "../headers.bpf.h"

/* More places and reasons than the kernel has for packets of GRE. */
#define DEATHS 256

CONSTANT(struct drop_room, room);

MAP(HASH, drops, struct drop_key, struct drop_stats, CAPACITY);
MAP(HASH, deaths, struct death_key, struct death, DEATHS);
MAP(ARRAY, generations, __u32, struct generation, 1);
MAP(ARRAY, totals, __u32, struct drop_totals, 1);
RING(wakeup, 4096);

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

static __always_inline void count_again(struct drop_stats *stats, __u64 now)
{
	__sync_fetch_and_add(&stats->count, 1);
	stats->last_ns = now;
}

/* The entry of a place and reason, made if need be; NULL when there is no room for it. */
static __always_inline struct death *death_of(const struct drop_key *key)
{
	struct death_key where = { .location = key->location, .reason = key->reason };
	struct death *death = LOOK_UP(deaths, &where);

	if (!death) {
		struct death fresh = {};

		name_place(fresh.place, sizeof(fresh.place), where.location);
		/* Another processor may have entered it first, which does as well. */
		INSERT(deaths, &where, &fresh);
		death = LOOK_UP(deaths, &where);
	}
	return death;
}

/*
 * Whether a new kind may have an entry. Processors may give away the last place
 * together: the table, which is the limit, has as many to spare for each death.
 */
static __always_inline bool has_room(struct death *death, struct drop_totals *all,
				     __u32 generation)
{
	if (death->generation != generation) {
		death->generation = generation;
		death->kinds = 0;
	}
	if (death->kinds < room.own) {
		__sync_fetch_and_add(&death->kinds, 1);
		return true;
	}
	if (all->generation != generation) {
		all->generation = generation;
		all->kinds = 0;
	}
	if (all->kinds >= room.shared)
		return false;
	__sync_fetch_and_add(&all->kinds, 1);
	return true;
}

static __always_inline void count_first(void *ctx, const struct sk_buff *skb,
					const struct view *view, struct drop_key *key,
					__u32 generation, __u64 now)
{
	__u32 first = 0;
	struct drop_totals *all = LOOK_UP(totals, &first);
	struct death *death = death_of(key);
	struct drop_stats *stats;
	struct drop_stats fresh = {
		.count = 1,
		.first_ns = now,
		.last_ns = now,
	};
	__u32 new_entry = 1;

	if (!all)
		return;
	if (!death) {
		__sync_fetch_and_add(&all->overflow, 1);
		return;
	}
	if (!has_room(death, all, generation)) {
		__sync_fetch_and_add(&death->overflow, 1);
		return;
	}
	fresh.length = view->size + READ(skb, data_len);
	fresh.sample_length = view->size < SAMPLE_SIZE ? view->size : SAMPLE_SIZE;
	read_sample(fresh.sample, view);
	if (!INSERT(drops, key, &fresh)) {
		SEND(ctx, wakeup, &new_entry, 0);
		return;
	}
	/* Another processor entered the same drop first, or the generation before fills the table. */
	stats = LOOK_UP(drops, key);
	if (stats)
		count_again(stats, now);
	else
		__sync_fetch_and_add(&death->overflow, 1);
}

/* Notes what a packet is that has no GRE header. */
static __always_inline void note_protocol(const struct sk_buff *skb, const struct net_device *dev,
					  const struct view *view, struct gre_tuple *tuple)
{
	__be32 entry;

	tuple->gre_protocol = bpf_ntohs(READ(skb, protocol));
	if ((tuple->marks & DROP_ON_TUNNEL) && dev && READ(dev, type) == ARPHRD_ETHER)
		tuple->gre_key = READ(skb, vlan_tci) & VLAN_ID;
	if (tuple->gre_protocol != ETH_P_MPLS_UC && tuple->gre_protocol != ETH_P_MPLS_MC)
		return;
	/* A label may look like the beginning of an IP header. */
	__builtin_memset(tuple->remote, 0, sizeof(tuple->remote));
	__builtin_memset(tuple->local, 0, sizeof(tuple->local));
	tuple->family = tuple->protocol = 0;
	if (view->size >= sizeof(entry) &&
	    !bpf_probe_read_kernel(&entry, sizeof(entry), view->start))
		tuple->gre_key = bpf_ntohl(entry) & MPLS_LABEL;
}

/* Whether a packet had come to UDP, and there was nobody who had opened its port. */
static __always_inline bool is_unclaimed(__u32 reason)
{
	__u32 no_socket = ENUM_VALUE(skb_drop_reason, SKB_DROP_REASON_NO_SOCKET);

	return reason && reason == no_socket;
}

/*
 * Finds what a packet has to do with a tunnel, and fills the key with it; returns whether it has
 * anything. `view` then begins at the outermost header that is left.
 */
static __always_inline bool describe(const struct sk_buff *skb, const struct net_device *dev,
				     struct view *view, struct drop_key *key)
{
	struct gre_tuple *tuple = &key->tuple;
	const struct net_device *towards = NULL;
	enum device_kind kind = DEVICE_OTHER;
	__u32 payload = 0, received_by = 0, origin, inside;

	if (view_from(skb, READ(skb, network_header), view))
		payload = parse_ip(view, tuple);
	if (dev) {
		kind = kind_of(dev, true);
		tuple->ifindex = READ(dev, ifindex);
		/* Set at each receive (__netif_receive_skb_core()), zero for what this host made. */
		received_by = READ(skb, skb_iif);
	} else if ((towards = routed_device(skb))) {
		/* At the output hook of netfilter it has a route and no device yet. */
		kind = kind_of(towards, false);
		tuple->ifindex = PEEK(towards, ifindex);
	}
	if (carries_gre(kind)) {
		/* A device that is made frees an empty buffer: napi_get_frags_check(), v6.1. */
		if (!READ(skb, len))
			return false;
		tuple->marks |= DROP_ON_TUNNEL;
		if (kind == DEVICE_MONITOR && received_by == tuple->ifindex)
			tuple->marks |= DROP_ALIKE;
	} else if (payload && tuple->protocol == GRE_PROTOCOL) {
		/* Nothing of ours has happened to it yet. */
	} else if (payload && tuple->protocol == UDP_PROTOCOL &&
		   ((inside = find_in_udp(skb, view, payload)) ||
		    ((!received_by || is_unclaimed(key->reason)) &&
		     (inside = find_unclaimed(view, payload))))) {
		tuple->protocol = GRE_PROTOCOL;
		tuple->marks |= DROP_IN_UDP;
		payload = inside;
	} else if (received_by && (origin = came_by(skb, dev, kind, tuple->ifindex, received_by))) {
		tuple->marks |= DROP_ON_TUNNEL;
		if (kind != DEVICE_VRF)
			key->leaving_by = tuple->ifindex;
		tuple->ifindex = received_by = origin;
	} else if (kind == DEVICE_BRIDGE && received_by == tuple->ifindex &&
		   find_before_frame(skb, tuple)) {
		tuple->marks |= DROP_ON_TUNNEL | DROP_BRIDGED;
	} else {
		payload = find_pulled(skb, view, tuple);
		if (!payload)
			return false;
		tuple->marks |= DROP_PULLED;
	}
	if (payload && tuple->protocol == GRE_PROTOCOL)
		parse_gre(view, payload, tuple);
	else if (!(tuple->marks & DROP_BRIDGED))
		note_protocol(skb, dev, view, tuple);
	if ((tuple->gre_flags & GRE_CSUM) && is_unsummed(skb))
		tuple->marks |= DROP_UNSUMMED;
	if (READ(skb, _skb_refdst))
		tuple->marks |= DROP_ROUTED;
	if (tuple->ifindex && received_by != tuple->ifindex)
		tuple->marks |= DROP_SENT;
	if (dev)
		tuple->netns = netns_of(dev, &tuple->netns_cookie);
	else if (towards)
		tuple->netns = netns_towards(towards, &tuple->netns_cookie);
	return true;
}

/*
 * What is freed because it is for somebody else, as flooding switches and monitor ports have it
 * without end, is one kind whoever it was for; so is, in frames, what nothing here speaks.
 */
static __always_inline void join_alike(const struct net_device *dev, struct drop_key *key)
{
	struct gre_tuple *tuple = &key->tuple;
	__u32 for_others = ENUM_VALUE(skb_drop_reason, SKB_DROP_REASON_OTHERHOST);
	__u32 unspoken = ENUM_VALUE(skb_drop_reason, SKB_DROP_REASON_UNHANDLED_PROTO);

	if (key->reason && key->reason == for_others)
		tuple->marks |= DROP_ALIKE;
	else if (key->reason && key->reason == unspoken && (tuple->marks & DROP_ON_TUNNEL) && dev &&
		 READ(dev, type) == ARPHRD_ETHER)
		tuple->marks |= DROP_ALIKE;
	if (!(tuple->marks & DROP_ALIKE))
		return;
	__builtin_memset(tuple->remote, 0, sizeof(tuple->remote));
	__builtin_memset(tuple->local, 0, sizeof(tuple->local));
	tuple->gre_key = tuple->gre_flags = tuple->protocol = 0;
}

AT_TRACEPOINT(kfree_skb, count_drop)
{
	const struct sk_buff *skb = (const struct sk_buff *)args[0];
	const struct net_device *dev = READ(skb, dev);
	struct drop_key key = {};
	struct generation *present;
	struct drop_stats *stats;
	struct view view = {};
	__u32 first = 0, generation;
	__u64 now;

	key.reason = drop_reason(args);
	if (!describe(skb, dev, &view, &key) || !is_wanted(&key.tuple))
		return 0;
	present = LOOK_UP(generations, &first);
	if (!present)
		return 0;
	generation = present->number;
	if (generation & 1)
		key.tuple.marks |= DROP_ODD;
	key.location = args[1];
	join_alike(dev, &key);

	now = bpf_ktime_get_ns();
	stats = LOOK_UP(drops, &key);
	if (stats)
		count_again(stats, now);
	else
		count_first(ctx, skb, &view, &key, generation, now);
	return 0;
}
