// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which tunnel the kernel chose for each GRE packet that it received.
 *
 * Runs for every such packet, so all that is dear is left to the first packet of
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

char LICENSE[] SEC("license") = "GPL";

const volatile struct lookup_budget budget SEC(".rodata.budget") = {};

/* The packet that this processor is about to look a tunnel up for. */
struct arrival {
	__u32 netns;
	__u32 ifindex;
	__be16 base[2]; /* flags and protocol */
	__u8 family;
	__u8 lookups; /* that may still come for it; 0: there is no packet */
	__u16 padding;
	__u64 tick; /* jiffies when the clock was last read */
	__u64 tick_ns; /* what it said */
	/* Packets come in trains of a kind, and comparing a key is cheaper than hashing it. */
	struct lookup_key last;
	__u32 kind; /* of `last` */
};

/* Sections of their own, so that user space finds them, and without the cost of a lookup. */
struct lookup_totals totals SEC(".data.totals") = {};
/* The number of the present window in the upper half, its events in the lower. */
__u64 window SEC(".data.window") = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct arrival);
} arrivals SEC(".maps");

/* Where in `lookups` each kind of decision is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct lookup_key);
	__type(value, __u32);
} kinds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct lookup_entry);
} lookups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} decisions SEC(".maps");

static const __u32 first;

/*
 * int gre_parse_header(skb, tpi, csum_err, proto, nhs). Receivers ask whether the
 * checksum is wrong; handlers of ICMP errors pass NULL, for IPv4 since v4.20,
 * b0350d51f001 ("ip_gre: fix parsing gre header in ipgre_err").
 *
 * The flags that the lookup is given are a bitmap since v6.10, 5832c4a77d69
 * ("ip_tunnel: convert __be16 tunnel flags to bitmaps"); those of the wire, read where
 * the kernel itself has just read them, are the same everywhere.
 */
SEC("fexit/gre_parse_header")
int note_arrival(unsigned long long *ctx)
{
	struct arrival *arrival = bpf_map_lookup_elem(&arrivals, &first);
	const struct sk_buff *skb = (const struct sk_buff *)ctx[0];
	const struct net_device *dev;
	bool received = ctx[2];
	__be16 link_protocol = ctx[3];
	int status = ctx[5];

	if (!arrival)
		return 0;
	arrival->lookups = 0;
	if (!received || status < 0 ||
	    bpf_probe_read_kernel(arrival->base, sizeof(arrival->base), skb->data))
		return 0;
	dev = skb->dev;
	arrival->netns = dev->nd_net.net->ns.inum;
	arrival->ifindex = dev->ifindex;
	arrival->family = link_protocol == bpf_htons(ETH_P_IPV6) ? 6 : 4;
	/* ipgre_rcv() offers a frame that no gretap tunnel takes to the gre tunnels. */
	arrival->lookups = arrival->base[1] == bpf_htons(ETH_P_TEB) ? 2 : 1;
	return 0;
}

static __always_inline struct arrival *take_arrival(__u8 family, bool found)
{
	struct arrival *arrival = bpf_map_lookup_elem(&arrivals, &first);

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

static __always_inline bool same_key(const struct lookup_key *a, const struct lookup_key *b)
{
	typedef __u64 __attribute__((may_alias)) word;

	for (unsigned int i = 0; i < sizeof(*a) / sizeof(word); i++)
		if (((const word *)a)[i] != ((const word *)b)[i])
			return false;
	return a->tunnel_netns == b->tunnel_netns;
}

/* Gives a new kind a place in the table; false when there is none left. */
static __always_inline bool enter(const struct lookup_key *key, const struct net_device *tunnel,
				  __u64 now, __u32 *kind)
{
	struct lookup_entry *entry;
	__u32 *known;

	*kind = __sync_fetch_and_add(&totals.kinds, 1);
	entry = bpf_map_lookup_elem(&lookups, kind);
	if (!entry)
		return false;
	entry->key = *key;
	entry->stats.first_ns = now;
	read_name(entry->stats.tunnel_name, tunnel);
	if (!bpf_map_update_elem(&kinds, key, kind, BPF_NOEXIST))
		return true;
	/* Another processor entered the same decision first: our place stays empty. */
	known = bpf_map_lookup_elem(&kinds, key);
	if (known)
		*kind = *known;
	return known;
}

static __always_inline void count(struct arrival *arrival, const struct lookup_key *key,
				  const struct net_device *tunnel, __u64 now)
{
	struct lookup_entry *entry;
	__u32 kind = arrival->kind;

	if (!same_key(&arrival->last, key)) {
		__u32 *known = bpf_map_lookup_elem(&kinds, key);

		if (known)
			kind = *known;
		else if (!enter(key, tunnel, now, &kind))
			goto full;
		arrival->last = *key;
		arrival->kind = kind;
	}
	entry = bpf_map_lookup_elem(&lookups, &kind);
	if (!entry)
		goto full;
	__sync_fetch_and_add(&entry->stats.count, 1);
	if (entry->stats.last_ns < now)
		entry->stats.last_ns = now;
	return;
full:
	__sync_fetch_and_add(&totals.overflow, 1);
}

static __always_inline __u64 read_clock(struct arrival *arrival)
{
	arrival->tick = bpf_jiffies64();
	arrival->tick_ns = bpf_ktime_get_ns();
	return arrival->tick_ns;
}

/* In a flood a time that is right to the timer tick does: the clock is dear to read. */
static __always_inline __u64 rough_time(struct arrival *arrival)
{
	return arrival->tick == bpf_jiffies64() ? arrival->tick_ns : read_clock(arrival);
}

static __always_inline bool is_spent(__u64 state)
{
	return budget.events && (__u32)state >= budget.events;
}

/*
 * Takes a place among the events of the present window, counted from 0. Processors
 * may see the end of a window in any order: one of them opens the next, none goes back.
 */
static __always_inline __u32 take_place(__u64 state, __u64 now)
{
	__u32 number = now / LOOKUP_WINDOW_NS;

	if ((__s32)(number - (__u32)(state >> 32)) > 0)
		__sync_val_compare_and_swap(&window, state, (__u64)number << 32);
	return __sync_fetch_and_add(&window, 1);
}

static __always_inline void show(const struct lookup_key *key, const struct net_device *tunnel,
				 __u32 place, __u64 now)
{
	struct lookup_event *event = bpf_ringbuf_reserve(&decisions, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&totals.ring_full, 1);
		return;
	}
	event->time_ns = now;
	event->key = *key;
	event->padding = 0;
	__builtin_memset(event->tunnel_name, 0, NAME_SIZE);
	read_name(event->tunnel_name, tunnel);
	/* To wake the reader costs more than all the rest: once a window is enough. */
	bpf_ringbuf_submit(event, place ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP);
}

static __always_inline void record(struct arrival *arrival, struct lookup_key *key,
				   const struct net_device *tunnel)
{
	__u64 state = *(volatile __u64 *)&window;
	__u32 place = 0;
	__u64 now;

	if (!is_wanted(&key->tuple))
		return;
	if (tunnel) {
		key->tunnel = tunnel->ifindex;
		key->tunnel_netns = tunnel->nd_net.net->ns.inum;
	}
	now = rough_time(arrival);
	if (!is_spent(state) || (__u32)(now / LOOKUP_WINDOW_NS) != (__u32)(state >> 32)) {
		now = read_clock(arrival);
		place = take_place(state, now);
		state = place;
	}
	count(arrival, key, tunnel, now);
	if (is_spent(state))
		__sync_fetch_and_add(&totals.not_shown, 1);
	else
		show(key, tunnel, place, now);
}

/* struct ip_tunnel *ip_tunnel_lookup(itn, link, flags, remote, local, key) */
SEC("fexit/ip_tunnel_lookup")
int count_lookup(unsigned long long *ctx)
{
	const struct ip_tunnel *found = (const struct ip_tunnel *)ctx[6];
	struct arrival *arrival = take_arrival(4, found);
	__be32 remote = ctx[3], local = ctx[4];
	struct lookup_key key __attribute__((aligned(8))) = {};

	if (!arrival)
		return 0;
	describe(&key.tuple, arrival, ctx[5]);
	__builtin_memcpy(key.tuple.remote, &remote, sizeof(remote));
	__builtin_memcpy(key.tuple.local, &local, sizeof(local));
	record(arrival, &key, found ? found->dev : NULL);
	return 0;
}

/* struct ip6_tnl *ip6gre_tunnel_lookup(dev, remote, local, key, gre_proto) */
SEC("fexit/ip6gre_tunnel_lookup")
int count_lookup6(unsigned long long *ctx)
{
	const struct ip6_tnl *found = (const struct ip6_tnl *)ctx[5];
	struct arrival *arrival = take_arrival(6, found);
	struct lookup_key key __attribute__((aligned(8))) = {};

	if (!arrival)
		return 0;
	describe(&key.tuple, arrival, ctx[3]);
	bpf_probe_read_kernel(key.tuple.remote, 16, (const void *)ctx[1]);
	bpf_probe_read_kernel(key.tuple.local, 16, (const void *)ctx[2]);
	record(arrival, &key, found ? found->dev : NULL);
	return 0;
}
