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

STRUCT(ns_common,
	FIELD(ns_common, unsigned int, inum)
);

STRUCT(net,
	FIELD(net, struct ns_common, ns)
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
);

STRUCT(sk_buff,
	FIELD(sk_buff, struct net_device *, dev)
	FIELD(sk_buff, unsigned long, _skb_refdst)
	FIELD(sk_buff, unsigned char *, head)
	FIELD(sk_buff, unsigned char *, data)
	FIELD(sk_buff, int, skb_iif)
	FIELD(sk_buff, __be16, protocol)
	FIELD(sk_buff, __u16, transport_header)
	FIELD(sk_buff, __u16, network_header)
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

enum skb_drop_reason {
	SKB_NOT_DROPPED_YET = 0,
};

static __always_inline __u32 netns_of(const struct net_device *dev)
{
	const struct net *net = READ(dev, nd_net.net);

	return READ(net, ns.inum);
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

#endif
