/* SPDX-License-Identifier: GPL-2.0-only */
/* Which devices carry GRE, and through which of them a packet came. */
#ifndef DEVICES_BPF_H
#define DEVICES_BPF_H

#include "compat.bpf.h"

/* uapi/linux/if_arp.h */
#define ARPHRD_ETHER 1
#define ARPHRD_IPGRE 778
#define ARPHRD_IP6GRE 823
#define ARPHRD_NONE 0xfffe

/* NETDEV_HASHENTRIES; with 16,384 devices in a namespace all are found. */
#define DEVICE_BUCKETS 256
#define DEVICES_PER_BUCKET 64

enum device_kind {
	DEVICE_OTHER,
	DEVICE_TUNNEL, /* of GRE */
	DEVICE_MONITOR, /* of ERSPAN: what it receives is for whoever watches */
	DEVICE_VRF,
	DEVICE_BRIDGE,
};

/*
 * gretap and erspan look like Ethernet, and an external gre tunnel like nothing: only the
 * link's kind tells them apart. Seven letters and the terminator are one register, and enough:
 * no other kind begins so. `is_typed`: the verifier knows what the pointer points to.
 */
static __always_inline enum device_kind kind_of(const struct net_device *dev, const bool is_typed)
{
	unsigned short type = is_typed ? READ(dev, type) : PEEK(dev, type);
	const struct rtnl_link_ops *link;
	char kind[8] = {};

	if (type == ARPHRD_IPGRE || type == ARPHRD_IP6GRE)
		return DEVICE_TUNNEL;
	if (type != ARPHRD_ETHER && type != ARPHRD_NONE)
		return DEVICE_OTHER;
	link = is_typed ? READ(dev, rtnl_link_ops) : PEEK(dev, rtnl_link_ops);
	if (!link)
		return DEVICE_OTHER;
	bpf_probe_read_kernel_str(kind, sizeof(kind), is_typed ? READ(link, kind) : PEEK(link, kind));
	if (!__builtin_memcmp(kind, "gretap\0", 8) || !__builtin_memcmp(kind, "ip6gret", 8) ||
	    !__builtin_memcmp(kind, "gre\0\0\0\0", 8))
		return DEVICE_TUNNEL;
	if (!__builtin_memcmp(kind, "erspan\0", 8) || !__builtin_memcmp(kind, "ip6ersp", 8))
		return DEVICE_MONITOR;
	if (!__builtin_memcmp(kind, "vrf\0\0\0\0", 8))
		return DEVICE_VRF;
	return __builtin_memcmp(kind, "bridge\0", 8) ? DEVICE_OTHER : DEVICE_BRIDGE;
}

static __always_inline bool carries_gre(enum device_kind kind)
{
	return kind == DEVICE_TUNNEL || kind == DEVICE_MONITOR;
}

/*
 * The address of a device by its index, as dev_get_by_index_rcu() finds it; 0 where there is none.
 * Verified by itself: as part of the program, it would be for each way that leads here.
 */
OUT_OF_LINE(__u64, device_of, __u64 netns, __u32 ifindex)
{
	const struct net *net = (const void *)netns;
	const struct hlist_head *buckets = PEEK(net, dev_index_head);
	const struct hlist_head *bucket = buckets + (ifindex & (DEVICE_BUCKETS - 1));
	const struct hlist_node *node;

	bpf_probe_read_kernel(&node, sizeof(node), &bucket->first);
	for (int i = 0; node && i < DEVICES_PER_BUCKET; i++) {
		const struct net_device *dev = (const void *)node - OFFSET(net_device, index_hlist);

		if ((__u32)PEEK(dev, ifindex) == ifindex)
			return (__u64)dev;
		bpf_probe_read_kernel(&node, sizeof(node), &node->next);
	}
	return 0;
}

/*
 * The tunnel that a packet came in by, if it died on another device: of a VRF, which takes the
 * place of those enslaved to it (l3mdev_l3_rcv()), or that it was to leave by. 0: it came by none.
 */
static __always_inline __u32 came_by(const struct sk_buff *skb, const struct net_device *dev,
				     enum device_kind kind, __u32 ifindex, __u32 received_by)
{
	const struct net_device *tunnel;
	__u32 origin = received_by;

	if (kind == DEVICE_VRF && received_by == ifindex)
		origin = first_device(skb);
	else if (received_by == ifindex)
		return 0;
	if (!origin)
		return 0;
	tunnel = (const void *)device_of((__u64)PEEK(dev, nd_net.net), origin);
	return tunnel && carries_gre(kind_of(tunnel, false)) ? origin : 0;
}

#endif
