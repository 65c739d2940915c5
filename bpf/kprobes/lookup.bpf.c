// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which tunnel the kernel chose for each GRE packet that it received.
 *
 * Runs for every such packet, so all that is expensive is left to the first packet of
 * its kind and to the few that get an event. Equal decisions are counted in one
 * entry of a table; the table is exact, the events are a rationed view of it.
 *
 * The lookup is given no packet, and others call it too: ipip and vti, and the
 * handlers of ICMP errors. gre_parse_header() runs on the same processor before
 * every lookup for GRE, and tells a packet from an error by its arguments.
 */
#include "../compat.bpf.h"
#include "../filter.bpf.h"
#include "../gre.bpf.h"
#include "../gretrace.h"

CONSTANT(struct lookup_budget, budget);

/* The packet that this processor is about to look a tunnel up for. */
struct arrival {
	__u32 netns;
	__u32 netns_cookie;
	__u32 ifindex;
	__be16 base[2]; /* flags and protocol */
	__u8 family;
	__u8 lookups; /* that may still come for it; 0: there is no packet */
	__u16 padding;
	__u64 tick; /* jiffies when the clock was last read */
	__u64 tick_ns; /* what it said */
};

struct window {
	__u32 number;
	__u32 events; /* in it so far */
};

MAP(PERCPU_ARRAY, arrivals, __u32, struct arrival, 1);
MAP(HASH, lookups, struct lookup_key, struct lookup_stats, CAPACITY);
MAP(ARRAY, totals, __u32, struct lookup_totals, 1);
MAP(ARRAY, generations, __u32, struct generation, 1);
MAP(ARRAY, windows, __u32, struct window, 1);
RING(decisions, 1 << 20);

/*
 * int gre_parse_header(skb, tpi, csum_err, proto, nhs). Receivers ask whether the
 * checksum is wrong; handlers of ICMP errors pass NULL, for IPv4 since v4.20,
 * b0350d51f001 ("ip_gre: fix parsing gre header in ipgre_err").
 *
 * The flags that the lookup is given are a bitmap since v6.10, 5832c4a77d69
 * ("ip_tunnel: convert __be16 tunnel flags to bitmaps"); those of the wire, read where
 * the kernel itself has just read them, are the same everywhere.
 */
AT_EXIT(gre_parse_header, 5, note_arrival)
{
	const struct sk_buff *skb = (const struct sk_buff *)args[0];
	const struct net_device *dev;
	bool received = args[2];
	__be16 link_protocol = args[3];
	int status = args[5];
	struct arrival *arrival;
	__u32 first = 0;

	arrival = LOOK_UP(arrivals, &first);
	if (!arrival)
		return 0;
	arrival->lookups = 0;
	if (!received || status < 0 ||
	    bpf_probe_read_kernel(arrival->base, sizeof(arrival->base), READ(skb, data)))
		return 0;
	dev = READ(skb, dev);
	arrival->netns = netns_of(dev, &arrival->netns_cookie);
	arrival->ifindex = READ(dev, ifindex);
	arrival->family = link_protocol == bpf_htons(ETH_P_IPV6) ? 6 : 4;
	/* ipgre_rcv() offers a frame that no gretap tunnel takes to the gre tunnels. */
	arrival->lookups = arrival->base[1] == bpf_htons(ETH_P_TEB) ? 2 : 1;
	return 0;
}

static __always_inline struct arrival *take_arrival(__u8 family, bool found)
{
	__u32 first = 0;
	struct arrival *arrival = LOOK_UP(arrivals, &first);

	/*
	 * One of IPv6 can be left over: gre_rcv() of ip6_gre gives up when the header cannot
	 * be pulled. ipip's next lookup must not find it.
	 */
	if (!arrival || !arrival->lookups || arrival->family != family)
		return NULL;
	arrival->lookups--;
	if (arrival->lookups && !found && family == 4)
		return NULL;
	arrival->lookups = 0;
	return arrival;
}

/* gre_parse_header() takes ERSPAN's session id for the key, but not of type I, which has none. */
static __always_inline bool has_session(const struct gre_tuple *tuple)
{
	return tuple->gre_protocol == ETH_P_ERSPAN2 ||
	       (tuple->gre_protocol == ETH_P_ERSPAN &&
		(tuple->gre_flags & (GRE_CSUM | GRE_KEY | GRE_SEQ)));
}

static __always_inline void describe(struct gre_tuple *tuple, const struct arrival *arrival,
				     __be32 gre_key)
{
	tuple->netns = arrival->netns;
	tuple->netns_cookie = arrival->netns_cookie;
	tuple->ifindex = arrival->ifindex;
	tuple->gre_key = bpf_ntohl(gre_key);
	tuple->gre_flags = bpf_ntohs(arrival->base[0]);
	tuple->gre_protocol = bpf_ntohs(arrival->base[1]);
	tuple->family = arrival->family;
	tuple->protocol = GRE_PROTOCOL;
	if (has_session(tuple))
		tuple->marks = LOOKUP_SESSION_KEY;
}

static __always_inline void read_name(char *name, const struct net_device *tunnel)
{
	if (tunnel)
		bpf_probe_read_kernel(name, NAME_SIZE, tunnel->name);
}

/* Processors may give away the last place together: the table has as many to spare. */
static __always_inline bool has_room(struct lookup_totals *all, __u32 generation)
{
	if (all->generation != generation) {
		all->generation = generation;
		all->kinds = 0;
	}
	if (all->kinds >= budget.kinds)
		return false;
	__sync_fetch_and_add(&all->kinds, 1);
	return true;
}

/* The entry of a kind, made if need be; NULL when the table is full. */
static __always_inline struct lookup_stats *enter(struct lookup_totals *all, struct lookup_key *key,
						  const struct net_device *tunnel, __u64 now,
						  __u32 generation)
{
	struct lookup_stats *stats = LOOK_UP(lookups, key);

	if (!stats && has_room(all, generation)) {
		struct lookup_stats fresh = { .first_ns = now, .last_ns = now };

		read_name(fresh.tunnel_name, tunnel);
		/* Another processor may have entered the same decision first, which does as well. */
		INSERT(lookups, key, &fresh);
		stats = LOOK_UP(lookups, key);
	}
	return stats;
}

static __always_inline void count(struct lookup_totals *all, struct lookup_key *key,
				  const struct net_device *tunnel, __u64 now)
{
	__u32 first = 0, generation;
	struct generation *present = LOOK_UP(generations, &first);
	struct lookup_stats *stats;

	if (!present)
		return;
	generation = present->number;
	if (generation & 1)
		key->tuple.marks |= LOOKUP_ODD;
	stats = enter(all, key, tunnel, now, generation);
	if (!stats) {
		__sync_fetch_and_add(&all->overflow, 1);
		return;
	}
	__sync_fetch_and_add(&stats->count, 1);
	if (stats->last_ns < now)
		stats->last_ns = now;
}

static __always_inline __u64 read_clock(struct arrival *arrival)
{
	arrival->tick = bpf_jiffies64();
	arrival->tick_ns = bpf_ktime_get_ns();
	return arrival->tick_ns;
}

/* In a flood a time that is right to the timer tick does: the clock is expensive to read. */
static __always_inline __u64 rough_time(struct arrival *arrival)
{
	return arrival->tick == bpf_jiffies64() ? arrival->tick_ns : read_clock(arrival);
}

static __always_inline __u32 window_of(__u64 now)
{
	return now / LOOKUP_WINDOW_NS;
}

/* Whether the present window has had all its events, as far as a rough time can tell. */
static __always_inline bool is_spent(const struct window *window, __u64 now)
{
	return budget.events && window->number == window_of(now) && window->events >= budget.events;
}

/*
 * Takes a place among the events of the present window, counted from 0. Processors may
 * see the end of a window in any order: none goes back. They may also take one place
 * twice, and then an event more is shown than was asked for: before v5.12, 5ca419f2864a
 * ("bpf: Add BPF_FETCH field / create atomic_fetch_add instruction"), nothing could keep
 * them from it.
 */
static __always_inline __u32 take_place(struct window *window, __u64 now)
{
	__u32 number = window_of(now);

	if ((__s32)(number - window->number) > 0) {
		window->number = number;
		window->events = 0;
	}
	return window->events++;
}

static __always_inline void show(void *ctx, struct lookup_totals *all, const struct lookup_key *key,
				 const struct net_device *tunnel, __u32 place, __u64 now)
{
	struct lookup_event event = { .time_ns = now, .key = *key };

	event.key.tuple.marks &= ~LOOKUP_ODD;
	read_name(event.tunnel_name, tunnel);
	/* To wake the reader costs more than all the rest: once a window is enough. */
	if (SEND(ctx, decisions, &event, place ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP))
		__sync_fetch_and_add(&all->ring_full, 1);
}

static __always_inline void record(void *ctx, struct arrival *arrival, struct lookup_key *key,
				   const struct net_device *tunnel)
{
	struct lookup_totals *all;
	struct window *window;
	__u32 first = 0, place, cookie;
	__u64 now;

	if (!is_wanted(&key->tuple))
		return;
	all = LOOK_UP(totals, &first);
	window = LOOK_UP(windows, &first);
	if (!all || !window)
		return;
	if (tunnel) {
		key->tunnel = READ(tunnel, ifindex);
		key->tunnel_netns = netns_of(tunnel, &cookie);
	}
	now = rough_time(arrival);
	if (is_spent(window, now)) {
		count(all, key, tunnel, now);
		__sync_fetch_and_add(&all->not_shown, 1);
		return;
	}
	now = read_clock(arrival);
	place = take_place(window, now);
	count(all, key, tunnel, now);
	if (budget.events && place >= budget.events)
		__sync_fetch_and_add(&all->not_shown, 1);
	else
		show(ctx, all, key, tunnel, place, now);
}

/* struct ip_tunnel *ip_tunnel_lookup(itn, link, flags, remote, local, key) */
AT_EXIT(ip_tunnel_lookup, 6, count_lookup)
{
	const struct ip_tunnel *found = (const struct ip_tunnel *)args[6];
	struct arrival *arrival = take_arrival(4, found);
	__be32 remote = args[3], local = args[4];
	struct lookup_key key = {};

	if (!arrival)
		return 0;
	describe(&key.tuple, arrival, args[5]);
	__builtin_memcpy(key.tuple.remote, &remote, sizeof(remote));
	__builtin_memcpy(key.tuple.local, &local, sizeof(local));
	record(ctx, arrival, &key, found ? READ(found, dev) : NULL);
	return 0;
}

/* struct ip6_tnl *ip6gre_tunnel_lookup(dev, remote, local, key, gre_proto) */
AT_EXIT(ip6gre_tunnel_lookup, 5, count_lookup6)
{
	const struct ip6_tnl *found = (const struct ip6_tnl *)args[5];
	struct arrival *arrival = take_arrival(6, found);
	struct lookup_key key = {};

	if (!arrival)
		return 0;
	describe(&key.tuple, arrival, args[3]);
	bpf_probe_read_kernel(key.tuple.remote, 16, (const void *)args[1]);
	bpf_probe_read_kernel(key.tuple.local, 16, (const void *)args[2]);
	record(ctx, arrival, &key, found ? READ(found, dev) : NULL);
	return 0;
}
