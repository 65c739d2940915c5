// SPDX-License-Identifier: GPL-2.0-only
/*
 * Encapsulates IPv4 in GRE on the way in, and forwards it by the kernel's own routes.
 *
 * An example, and a naive one: whatever IPv4 comes in by the device goes to one peer.
 * It shows what becomes of a packet that a program has encapsulated when the kernel
 * does not know the peer's link-layer address yet. The program cannot ask for it, so it
 * passes the packet up, for the kernel to ask. There the packet looks as if it had come
 * from the wire with this host's own address as its source. IPv6 forwards it all the
 * same; IPv4 asks accept_local and rp_filter of the device (fib_validate_source()), and
 * as long as they say no, nobody asks for the address, and no packet ever leaves.
 *
 * (From v5.10 on tc has bpf_redirect_neigh(), which spares the packet the way up.)
 */
#include "../compat.bpf.h"
#include "../gre.bpf.h"

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#define AF_INET 2
#define AF_INET6 10
#define ETH_P_IP 0x0800
#define IPV4_DONT_FRAGMENT 0x4000
#define OUTER_TTL 64
#define ETHERNET_GROUP 1

/* Written by user space, byte by byte; of an IPv4 address the first four count. */
struct encap_config {
	__u8 local[16]; /* of the outer header: an address of this host */
	__u8 remote[16];
	__u8 family; /* 4 or 6 of the outer header; 0: not filled, everything passes */
	__u8 padding[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct encap_config);
} encap_config SEC(".maps");

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 protocol;
} __attribute__((packed));

struct gre_base {
	__be16 flags;
	__be16 protocol;
} __attribute__((packed));

/* What stands before the inner packet when it leaves. */
struct headers4 {
	struct ethernet ethernet;
	struct iphdr ip;
	struct gre_base gre;
} __attribute__((packed));

struct headers6 {
	struct ethernet ethernet;
	struct ipv6hdr ip;
	struct gre_base gre;
} __attribute__((packed));

#define GROWTH4 (sizeof(struct headers4) - sizeof(struct ethernet))
#define GROWTH6 (sizeof(struct headers6) - sizeof(struct ethernet))

enum way {
	LEAVE, /* not ours to send: the kernel gets the packet as it came */
	PASS_UP, /* the kernel gets it encapsulated, and finds the neighbour */
	FORWARD,
};

struct plan {
	const struct encap_config *our;
	struct bpf_fib_lookup fib;
	struct ethernet ethernet;
	__u32 inner_size;
	__u8 tos;
};

static __always_inline bool can_be_encapsulated(const struct ethernet *ethernet,
						const struct iphdr *ip, __u32 size)
{
	__u32 total = bpf_ntohs(ip->tot_len);

	/* What is sent to all is for this host's link, and GRE in GRE would be a loop. */
	if (ethernet->protocol != bpf_htons(ETH_P_IP) || ethernet->destination[0] & ETHERNET_GROUP)
		return false;
	if (ip->version != 4 || ip->ihl < 5 || ip->protocol == GRE_PROTOCOL)
		return false;
	/* The kernel answers that the time is exceeded. */
	if (ip->ttl <= 1)
		return false;
	return total >= ip->ihl * 4 && total <= size && total + GROWTH6 <= 0xffff;
}

/* The route from here to the peer, as for a packet that came in by this device. */
static __always_inline enum way find_way(void *context, __u32 ifindex, bool is_aggregate,
					 struct plan *plan)
{
	const struct encap_config *our = plan->our;
	struct bpf_fib_lookup *fib = &plan->fib;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = ifindex;
	fib->l4_protocol = GRE_PROTOCOL;
	if (our->family == 6) {
		fib->family = AF_INET6;
		fib->tot_len = plan->inner_size + GROWTH6;
		__builtin_memcpy(fib->ipv6_src, our->local, 16);
		__builtin_memcpy(fib->ipv6_dst, our->remote, 16);
	} else {
		fib->family = AF_INET;
		fib->tot_len = plan->inner_size + GROWTH4;
		__builtin_memcpy(&fib->ipv4_src, our->local, 4);
		__builtin_memcpy(&fib->ipv4_dst, our->remote, 4);
	}
	/* What will be cut to size is not too long for the path. */
	if (is_aggregate)
		fib->tot_len = 0;
	switch (bpf_fib_lookup(context, fib, sizeof(*fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		return FORWARD;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return PASS_UP;
	default:
		return LEAVE;
	}
}

/* Reads what must be known before the packet is changed. */
static __always_inline enum way make_plan(void *context, __u32 ifindex, bool is_aggregate,
					  __u32 size, const void *data, const void *end,
					  struct plan *plan)
{
	const struct ethernet *ethernet = data;
	const struct iphdr *ip = (const void *)(ethernet + 1);
	__u32 first = 0;

	if ((const void *)(ip + 1) > end ||
	    !can_be_encapsulated(ethernet, ip, size - sizeof(*ethernet)))
		return LEAVE;
	plan->our = bpf_map_lookup_elem(&encap_config, &first);
	if (!plan->our || (plan->our->family != 4 && plan->our->family != 6))
		return LEAVE;
	plan->ethernet = *ethernet;
	plan->inner_size = bpf_ntohs(ip->tot_len);
	plan->tos = ip->tos;
	return find_way(context, ifindex, is_aggregate, plan);
}

/* A router's part in the inner packet (RFC 1624 for the checksum). */
static __always_inline void decrease_ttl(struct iphdr *ip)
{
	__u32 sum = ip->check + bpf_htons(0x0100);

	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
}

static __always_inline __u16 checksum(const struct iphdr *ip)
{
	const __u16 *words = (const void *)ip;
	__u32 sum = 0;

	for (__u32 i = 0; i < sizeof(*ip) / sizeof(*words); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static __always_inline void write_ethernet(struct ethernet *to, const struct plan *plan,
					   enum way way, __u16 protocol)
{
	*to = plan->ethernet;
	to->protocol = bpf_htons(protocol);
	if (way == FORWARD) {
		__builtin_memcpy(to->destination, plan->fib.dmac, 6);
		__builtin_memcpy(to->source, plan->fib.smac, 6);
	}
}

/* False when the room that was made is not there, which would be the kernel's fault. */
static __always_inline bool write_headers4(void *data, const void *end, const struct plan *plan,
					   enum way way)
{
	struct headers4 *headers = data;
	struct iphdr *inner = (void *)(headers + 1);
	struct iphdr outer = {
		.version = 4,
		.ihl = sizeof(outer) / 4,
		.tos = plan->tos,
		.tot_len = bpf_htons(plan->inner_size + GROWTH4),
		.frag_off = bpf_htons(IPV4_DONT_FRAGMENT),
		.ttl = OUTER_TTL,
		.protocol = GRE_PROTOCOL,
	};

	if ((const void *)(inner + 1) > end)
		return false;
	__builtin_memcpy(&outer.saddr, plan->our->local, 4);
	__builtin_memcpy(&outer.daddr, plan->our->remote, 4);
	outer.check = checksum(&outer);
	write_ethernet(&headers->ethernet, plan, way, ETH_P_IP);
	headers->ip = outer;
	headers->gre = (struct gre_base){ .protocol = bpf_htons(ETH_P_IP) };
	decrease_ttl(inner);
	return true;
}

static __always_inline bool write_headers6(void *data, const void *end, const struct plan *plan,
					   enum way way)
{
	struct headers6 *headers = data;
	struct iphdr *inner = (void *)(headers + 1);
	struct ipv6hdr outer = {
		.version = 6,
		.priority = plan->tos >> 4,
		.flow_lbl = { plan->tos << 4 },
		.payload_len = bpf_htons(plan->inner_size + sizeof(struct gre_base)),
		.nexthdr = GRE_PROTOCOL,
		.hop_limit = OUTER_TTL,
	};

	if ((const void *)(inner + 1) > end)
		return false;
	__builtin_memcpy(&outer.saddr, plan->our->local, 16);
	__builtin_memcpy(&outer.daddr, plan->our->remote, 16);
	write_ethernet(&headers->ethernet, plan, way, ETH_P_IPV6);
	headers->ip = outer;
	headers->gre = (struct gre_base){ .protocol = bpf_htons(ETH_P_IP) };
	decrease_ttl(inner);
	return true;
}

SEC("xdp")
int encap_xdp(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct plan plan = {};
	enum way way;
	bool written;

	way = make_plan(xdp, xdp->ingress_ifindex, false, end - data, data, end, &plan);
	if (way == LEAVE)
		return XDP_PASS;
	if (bpf_xdp_adjust_head(xdp, plan.our->family == 6 ? -(int)GROWTH6 : -(int)GROWTH4))
		return XDP_PASS;
	data = (void *)(long)xdp->data;
	end = (void *)(long)xdp->data_end;
	if (plan.our->family == 6)
		written = write_headers6(data, end, &plan, way);
	else
		written = write_headers4(data, end, &plan, way);
	if (!written)
		return XDP_ABORTED;
	return way == FORWARD ? bpf_redirect(plan.fib.ifindex, 0) : XDP_PASS;
}

SEC("tc")
int encap_tc(struct __sk_buff *skb)
{
	const __u32 headers = sizeof(struct ethernet) + sizeof(struct iphdr);
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	struct plan plan = {};
	__u32 growth;
	enum way way;
	bool written;

	if (skb->vlan_present || bpf_skb_pull_data(skb, headers))
		return TC_ACT_UNSPEC;
	way = make_plan(skb, skb->ifindex, skb->gso_segs > 1, skb->len,
			(void *)(long)skb->data, (void *)(long)skb->data_end, &plan);
	if (way == LEAVE)
		return TC_ACT_UNSPEC;
	growth = plan.our->family == 6 ? GROWTH6 : GROWTH4;
	flags |= plan.our->family == 6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 :
					 BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	if (bpf_skb_adjust_room(skb, growth, BPF_ADJ_ROOM_MAC, flags))
		return TC_ACT_UNSPEC;
	if (bpf_skb_pull_data(skb, headers + growth))
		return TC_ACT_SHOT;
	if (plan.our->family == 6)
		written = write_headers6((void *)(long)skb->data, (void *)(long)skb->data_end,
					 &plan, way);
	else
		written = write_headers4((void *)(long)skb->data, (void *)(long)skb->data_end,
					 &plan, way);
	if (!written)
		return TC_ACT_SHOT;
	return way == FORWARD ? bpf_redirect(plan.fib.ifindex, 0) : TC_ACT_OK;
}
