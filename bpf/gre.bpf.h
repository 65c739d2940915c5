/* SPDX-License-Identifier: GPL-2.0-only */
/* GRE on the wire (RFC 2784, RFC 2890) and the devices that speak it. */
#ifndef GRE_BPF_H
#define GRE_BPF_H

#include "compat.bpf.h"

#define GRE_PROTOCOL 47
#define IPV6_DESTINATION_OPTIONS 60

#define GRE_CSUM 0x8000
#define GRE_ROUTING 0x4000
#define GRE_KEY 0x2000
#define GRE_SEQ 0x1000
#define GRE_VERSION 0x0007

/* RFC 3168 section 5 */
#define ECN_MASK 3
#define ECN_CE 3

/* uapi/linux/if_ether.h; net/erspan.h has ERSPAN II as 0x88be too, and III as 0x22eb. */
#define ETH_P_IPV6 0x86dd
#define ETH_P_TEB 0x6558
#define ETH_P_ERSPAN 0x88be
#define ETH_P_ERSPAN2 0x22eb

/* uapi/linux/if_arp.h */
#define ARPHRD_ETHER 1
#define ARPHRD_IPGRE 778
#define ARPHRD_IP6GRE 823

/*
 * gretap and erspan look like Ethernet; only the link's kind tells them apart.
 * Seven letters and the terminator are one register, and enough: no other kind begins so.
 */
static __always_inline bool is_gre_device(const struct net_device *dev)
{
	unsigned short type = READ(dev, type);
	const struct rtnl_link_ops *link;
	char kind[8] = {};

	if (type == ARPHRD_IPGRE || type == ARPHRD_IP6GRE)
		return true;
	if (type != ARPHRD_ETHER)
		return false;
	link = READ(dev, rtnl_link_ops);
	if (!link)
		return false;
	bpf_probe_read_kernel_str(kind, sizeof(kind), READ(link, kind));
	return !__builtin_memcmp(kind, "gretap\0", 8) || !__builtin_memcmp(kind, "erspan\0", 8) ||
	       !__builtin_memcmp(kind, "ip6gret", 8) || !__builtin_memcmp(kind, "ip6ersp", 8);
}

#endif
