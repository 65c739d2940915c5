/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel as the programs see it: only the fields that are read, and one accessor
 * for each thing that differs between kernels, with the change that made it differ.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

#ifdef FOR_BCC
#include "bcc.bpf.h"
#else
#include "core.bpf.h"
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

/* linux/skbuff.h */
#define CHECKSUM_PARTIAL 3
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define IP_SUMMED_SHIFT 5
#else
#define IP_SUMMED_SHIFT 1
#endif
#define SKB_DST_NOREF 1UL

STRUCT(ns_common,
	FIELD(ns_common, unsigned int, inum)
);

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

STRUCT(net,
	FIELD(net, struct ns_common, ns)
	FIELD(net, __u64, net_cookie)
	FIELD(net, struct hlist_head *, dev_index_head)
);

typedef struct {
	struct net *net;
} RELOCATED possible_net_t;

STRUCT(rtnl_link_ops,
	FIELD(rtnl_link_ops, const char *, kind)
);

STRUCT(net_device,
	FIELD(net_device, char, name, [16])
	FIELD(net_device, int, ifindex)
	FIELD(net_device, unsigned short, type)
	FIELD(net_device, const struct rtnl_link_ops *, rtnl_link_ops)
	FIELD(net_device, possible_net_t, nd_net)
	FIELD(net_device, struct hlist_node, index_hlist)
);

STRUCT(dst_entry,
	FIELD(dst_entry, struct net_device *, dev)
);

STRUCT(sk_buff,
	FIELD(sk_buff, struct net_device *, dev)
	FIELD(sk_buff, unsigned long, _skb_refdst)
	FIELD(sk_buff, unsigned char *, head)
	FIELD(sk_buff, unsigned char *, data)
	FIELD(sk_buff, int, skb_iif)
	FIELD(sk_buff, __be16, protocol)
	FIELD(sk_buff, __u16, vlan_tci) /* before v6.2 it may be left over from the outer frame */
	FIELD(sk_buff, __u16, transport_header)
	FIELD(sk_buff, __u16, network_header)
	FIELD(sk_buff, __u16, mac_header)
	FIELD(sk_buff, char, cb, [48])
	/* Named by an empty array, as bit fields have no address of their own. */
	FIELD(sk_buff, __u8, __pkt_type_offset, [1])
	FIELD(sk_buff, __u32, tail) /* an offset: sk_buff_data_t on every 64-bit kernel */
	FIELD(sk_buff, unsigned int, len)
	FIELD(sk_buff, unsigned int, data_len)
);

STRUCT(ip_tunnel,
	FIELD(ip_tunnel, struct net_device *, dev)
);

STRUCT(ip6_tnl,
	FIELD(ip6_tnl, struct net_device *, dev)
);

/* The values are the running kernel's: see ENUM_VALUE. */
enum skb_drop_reason {
	SKB_NOT_DROPPED_YET = 0,
	SKB_DROP_REASON_OTHERHOST,
	SKB_DROP_REASON_UNHANDLED_PROTO,
	SKB_DROP_REASON_NO_SOCKET,
};

/*
 * The inode of a device's network namespace, and the low half of its cookie, which tells it
 * from those that had the inode before. Before v5.12, 3d368ab87cf6 ("net: initialize
 * net->net_cookie at netns setup"), most have none, and the field is no plain number.
 */
static __always_inline __u32 netns_of(const struct net_device *dev, __u32 *cookie)
{
	const struct net *net = READ(dev, nd_net.net);

	*cookie = KERNEL_HAS_FIELD(net, net_cookie) ? READ(net, net_cookie) : 0;
	return READ(net, ns.inum);
}

/* The same of a device that the verifier does not know. */
static __always_inline __u32 netns_towards(const struct net_device *dev, __u32 *cookie)
{
	const struct net *net = PEEK(dev, nd_net.net);

	*cookie = KERNEL_HAS_FIELD(net, net_cookie) ? PEEK(net, net_cookie) : 0;
	return PEEK(net, ns.inum);
}

/*
 * The reason is the third argument of the tracepoint since it came to be, v5.17
 * c504e5c2f964 ("net: skb: introduce kfree_skb_reason()"); before, there is none.
 */
static __always_inline __u32 drop_reason(const unsigned long long *args)
{
	if (KERNEL_HAS_ENUM(skb_drop_reason))
		return args[2];
	return 0;
}

/*
 * Whether a checksum of the packet is still to be filled in, by the device that sends it
 * (CHECKSUM_PARTIAL). The bits of ip_summed have not moved since v5.4; those of the byte
 * before them have changed their names.
 */
static __always_inline bool is_unsummed(const struct sk_buff *skb)
{
	const __u8 *at = (const __u8 *)&skb->__pkt_type_offset;
	__u8 bits = 0;

	bpf_probe_read_kernel(&bits, sizeof(bits), at);
	return ((bits >> IP_SUMMED_SHIFT) & 3) == CHECKSUM_PARTIAL;
}

/*
 * Where the packet was received first. The control block begins with it from ip_rcv_core()
 * and ip6_rcv_core() on (struct inet_skb_parm and inet6_skb_parm, iif).
 */
static __always_inline __u32 first_device(const struct sk_buff *skb)
{
	__u32 ifindex = 0;

	bpf_probe_read_kernel(&ifindex, sizeof(ifindex), (const void *)&skb->cb);
	return ifindex;
}

/* The device that a packet was routed to, where it has none of its own yet. */
static __always_inline const struct net_device *routed_device(const struct sk_buff *skb)
{
	const struct dst_entry *dst = (const void *)(READ(skb, _skb_refdst) & ~SKB_DST_NOREF);

	return dst ? PEEK(dst, dev) : NULL;
}

#endif
